"""What two video files have in common besides their pixels: times of the frames, packets of the other tracks.

For tests, the benchmark and anyone who doubts that the sound came through untouched.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.stream import Stream

from vidrase.avtracks import file_url, moving
from vidrase.errors import UnsupportedSource


@dataclass(frozen=True, slots=True)
class Track:
    """One track of a file, as its packets are."""

    index: int
    kind: str
    """"audio", "video", "subtitle", "data", "attachment"."""
    codec: str
    packets: int
    size: int
    """Bytes of all packets, or of the attachment."""
    digest: str
    """SHA-256 over the bytes of the packets, in file order."""
    times: tuple[Fraction | None, ...]
    """Presentation time of every packet, seconds."""


def tracks(path: str | Path) -> list[Track]:
    """Every track of the file but its pictures, packet by packet. Raises UnsupportedSource when it cannot be read."""
    with _opened(path) as container:
        others = [stream for stream in container.streams if stream.type != "video"]
        found = {stream.index: _Sum() for stream in others}
        read = [stream for stream in others if stream.type != "attachment"]
        for packet in container.demux(*read) if read else ():
            if packet.size:
                base = Fraction(packet.stream.time_base or 1)
                found[packet.stream.index].add(bytes(packet), None if packet.pts is None else packet.pts * base)
        for stream in others:
            if stream.type == "attachment":
                found[stream.index].add(bytes(getattr(stream, "data", b"") or b""), None)
        return [found[stream.index].track(stream) for stream in others]


def frame_times(path: str | Path) -> list[Fraction]:
    """Presentation time of every decoded frame of the film, seconds, exact."""
    with _opened(path) as container:
        shown = moving(container)
        if not shown:
            raise UnsupportedSource(f"{path} holds no video")
        shown[0].thread_type = "AUTO"
        return [Fraction(frame.pts or 0) * Fraction(frame.time_base or 1) for frame in container.decode(shown[0])]


def same_times(a: str | Path, b: str | Path) -> bool:
    """True when both files show the same number of frames at exactly the same times."""
    return frame_times(a) == frame_times(b)


def differing_tracks(a: str | Path, b: str | Path, *, kind: str | None = None) -> list[str]:
    """What is not alike in the tracks of two files, one line each; empty when every packet is the same at the same time.

    kind: compare only "audio", "subtitle", "data" or "attachment".
    """
    mine = [track for track in tracks(a) if kind in (None, track.kind)]
    theirs = [track for track in tracks(b) if kind in (None, track.kind)]
    if [track.kind for track in mine] != [track.kind for track in theirs]:
        held = [", ".join(track.kind for track in side) or "none" for side in (mine, theirs)]
        return [f"tracks: {held[0]} and {held[1]}"]
    found = []
    for one, other in zip(mine, theirs, strict=True):
        called = f"{one.kind} track {one.index}"
        whole = one.digest == other.digest and one.times[:1] == other.times[:1]
        if whole and one.codec.startswith("pcm_"):
            continue  # every container cuts bare samples into packets of its own
        if one.packets != other.packets:
            found.append(f"{called}: {one.packets} and {other.packets} packets")
        elif one.digest != other.digest:
            found.append(f"{called}: the bytes differ")
        elif one.times != other.times:
            pairs = zip(one.times, other.times, strict=True)
            first = next(n for n, (mine_, theirs_) in enumerate(pairs) if mine_ != theirs_)
            found.append(f"{called}: packet {first} at {one.times[first]} s and {other.times[first]} s")
    return found


class _Sum:
    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._size = 0
        self._times: list[Fraction | None] = []

    def add(self, data: bytes, when: Fraction | None) -> None:
        self._hash.update(data)
        self._size += len(data)
        self._times.append(when)

    def track(self, stream: Stream) -> Track:
        codec = getattr(getattr(stream, "codec_context", None), "name", None) or ""
        digest = self._hash.hexdigest()
        return Track(stream.index, stream.type, codec, len(self._times), self._size, digest, tuple(self._times))


class _opened:  # noqa: N801 - reads as a verb in a with statement
    def __init__(self, path: str | Path) -> None:
        self._path = path

    def __enter__(self) -> av.container.InputContainer:
        try:
            self._container = av.open(file_url(Path(self._path)), metadata_errors="replace")
        except (av.FFmpegError, OSError) as error:
            raise UnsupportedSource(f"{self._path} is not a video that can be read ({error})") from error
        return self._container

    def __exit__(self, *_: object) -> None:
        self._container.close()
