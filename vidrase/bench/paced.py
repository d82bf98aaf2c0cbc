"""A long recording as `vidrase live` makes it, through the command line: a file played at its own rate, up to an hour."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from vidrase.bench.case import Rgb
from vidrase.bench.clipfile import read_rgb_frames, write_clip
from vidrase.bench.peers import OURS
from vidrase.bench.results import Results, Row
from vidrase.bench.spawn import ChildFailed

SIZE = (240, 320)
RATE = 8  # pictures a second: an hour beside other work on two cores
SETTLED = (
    180.0  # seconds after which memory has to stay: by then detector, encoder and buffers are as large as they get
)
SEGMENT = 300  # seconds of each file of the recording


VIDRASE = (sys.executable, "-m", "vidrase")


def run_paced(
    results: Results, minutes: float, folder: Path, device: str = "auto", program: Sequence[str] = VIDRASE
) -> None:
    """One row: how far resident memory moves after the first minutes, as a share of its median, and its curve.

    folder: samples/. program: what is called with `live` and its options. Raises ChildFailed with its last line.
    """
    with tempfile.TemporaryDirectory(prefix="vidrase-paced-") as made:
        found = record(make_clip(folder, Path(made), minutes), Path(made), minutes, device, program)
    results.add(Row("live", "paced", f"a file of {minutes:g} min", OURS, numbers_of(found, minutes)))
    for point in found["series"][:: max(len(found["series"]) // 120, 1)]:
        results.rows.append(Row("live", "paced curve", f"{point['seconds']:.0f} s", OURS, dict(point)))


def make_clip(samples: Path, made: Path, minutes: float) -> Path:
    """A file in the folder `made` that plays for a little longer than `minutes`: the walker there and back, with a tone."""
    clip = made / "camera.mkv"
    write_repeated(_turn(samples, made / "turn.mp4"), clip, minutes * 60 + 5)
    return clip


def record(
    clip: Path, made: Path, minutes: float, device: str, program: Sequence[str], more: Sequence[str] = ()
) -> dict[str, Any]:
    """The report of `vidrase live clip --pace`, recording into the folder `made` for `minutes`.

    more: further options. "recorded" is added: how many frames the files hold. Raises ChildFailed.
    """
    report = made / "report.json"
    command = [*program, "live", str(clip), "--pace", "--remove", "person", "-q", "-y"]
    command += ["--device", device, "--for", f"{minutes * 60:g}", "--segment", str(SEGMENT)]
    command += ["-o", str(made / "out.ts"), "--report", str(report), *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=minutes * 60 + 300, check=False)
    if done.returncode:
        raise ChildFailed((done.stderr.strip().splitlines() or [""])[-1] or f"code {done.returncode}")
    pieces = list(made.glob("out-*.ts"))
    found = json.loads(report.read_text(encoding="utf-8")) | {"recorded": sum(map(_frames, pieces))}
    for piece in pieces:
        piece.unlink()
    return found


def write_repeated(turn: Path, to: Path, seconds: float) -> None:
    """The packets of `turn`, an MP4, again and again until `to` lasts `seconds` or a little more. Nothing is encoded."""
    with av.open(str(turn)) as first:
        times = [
            (packet.dts * packet.time_base, (packet.dts + (packet.duration or 0)) * packet.time_base)
            for packet in first.demux()
            if packet.dts is not None
        ]
    length = max(end for _, end in times) - min(start for start, _ in times)  # sound begins before 0
    with av.open(str(to), "w") as out, av.open(str(turn)) as first:
        copies = {stream.index: out.add_stream_from_template(stream) for stream in first.streams}
        for count in range(int(seconds / length) + 1):
            with av.open(str(turn)) as source:
                for packet in source.demux():
                    if packet.dts is None or packet.pts is None:
                        continue
                    shift = round(count * length / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = copies[packet.stream.index]
                    out.mux(packet)


def _turn(folder: Path, to: Path) -> Path:
    pictures = [_small(picture) for picture in read_rgb_frames(folder / "walk.mp4")]
    write_clip(to, pictures + pictures[::-1], crf=20, rate=RATE)
    return to


def _small(picture: Rgb) -> Rgb:
    return cv2.resize(picture, SIZE[::-1], interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def numbers_of(found: dict[str, Any], minutes: float) -> dict[str, float]:
    """What a record keeps of the report of `minutes`."""
    late = [p["memory_mib"] for p in found["series"] if p["seconds"] >= min(SETTLED, minutes * 30)]
    middle = float(np.median(late)) if late else found["peak_memory_mib"]
    return {
        "minutes": minutes,
        "fps": found["fps"],
        "memory_mib": middle,
        "memory_moves": (max(late) - min(late)) / middle if late else 0.0,
        "memory_growth": (float(np.median(late[-len(late) // 4 :])) / float(np.median(late[: len(late) // 4 + 1])) - 1)
        if late
        else 0.0,
        "dropped": found["dropped"],
        "frames": found["frames"],
        "recorded": found["recorded"],
        "share_real": found["share_real"],
        "level_changes": found["level_changes"],
        **{f"latency_ms_{name}": value for name, value in found["latency_ms"].items()},
    }


def _frames(path: Path) -> int:
    with av.open(str(path)) as source:
        return sum(1 for packet in source.demux(video=0) if packet.size)
