"""Whether an output kept the input's frames, times and sound."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av


def compare(clip: Path, to: Path) -> dict[str, float]:
    """frames_equal, times_equal, audio_equal, each 1.0 or 0.0; times in exact fractions of a second, from the file's zero."""
    (times, sound), (times_out, sound_out) = _read(clip), _read(to)
    return {
        "frames_equal": float(len(times) == len(times_out)),
        "times_equal": float(times == times_out),
        "audio_equal": float(sound == sound_out),
    }


def _read(path: Path) -> tuple[list[Fraction], list[bytes]]:
    """(presentation times of the video packets in order, payloads of the first sound track)."""
    times: list[Fraction] = []
    sound: list[bytes] = []
    with av.open(str(path)) as source:
        audio = source.streams.audio[:1]
        for packet in source.demux(source.streams.video[0], *audio):
            if packet.pts is None or packet.time_base is None:
                continue
            if packet.stream.type == "audio":
                sound.append(bytes(packet))
            else:
                times.append(packet.pts * packet.time_base)
    return sorted(times), sound
