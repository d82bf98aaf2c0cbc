"""Some consecutive frames of a clip, with the indices they have in the whole of it.

Invariant: these are the frames that a reading from the start gives, by their times and by a checksum of their samples.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Protocol

from vidrase.closable import Closable
from vidrase.errors import DecodeError
from vidrase.frames import Frame, SourceInfo
from vidrase.source.losses import Damage

STEP = 8  # px from one sample of the checksum to the next


class Changed(DecodeError):
    """A clip does not give the frames that it gave before."""


class _RandomAccess(Protocol):
    info: SourceInfo

    @property
    def seeks(self) -> bool: ...

    def __len__(self) -> int: ...

    def frame(self, index: int) -> Frame: ...


class _InOrder(Protocol):
    def __iter__(self) -> Iterator[Frame]: ...


@dataclass(slots=True)
class FrameTable:
    """What identifies every frame of a clip: twelve bytes each."""

    pts: array[int] = field(default_factory=lambda: array("q"))
    checksums: array[int] = field(default_factory=lambda: array("I"))
    """CRC-32 of every eighth sample of every eighth row of the first plane."""

    def add(self, frame: Frame) -> None:
        """Add the next frame."""
        self.pts.append(frame.pts)
        self.checksums.append(_checksum(frame))

    def holds(self, frame: Frame) -> bool:
        """Whether `frame` is the frame of its index."""
        at = frame.index
        return at < len(self.pts) and self.pts[at] == frame.pts and self.checksums[at] == _checksum(frame)


def _checksum(frame: Frame) -> int:
    return zlib.crc32(frame.planes[0][::STEP, ::STEP].tobytes())


class Stretch(Closable):
    """Frames `first` to `stop` (half-open) of a clip, as a source. Reads once; the clip stays open."""

    def __init__(
        self, clip: _RandomAccess, whole: _InOrder, first: int, stop: int, table: FrameTable | None = None
    ) -> None:
        """clip: for a start in the middle; whole: the same clip, for where that does not work.

        table: what the frames have to be; None: they are not checked, and `whole` is not used.
        """
        self.info = clip.info
        self.damage = Damage()  # told by who reads the whole
        self._clip, self._whole, self._first, self._stop, self._table = clip, whole, first, stop, table

    def __iter__(self) -> Iterator[Frame]:
        return self._frames()

    def _frames(self) -> Generator[Frame, None, None]:
        given = self._first
        if self._clip.seeks and len(self._clip) >= self._stop:
            for index in range(self._first, self._stop):
                frame = self._clip.frame(index)
                if self._table is not None and not self._table.holds(frame):
                    break  # a clip that cannot be entered in its middle, as with some broadcast streams
                given = index + 1
                yield replace(frame)  # `clip` holds on to its last frame
                del frame
        if given < self._stop:
            yield from self._counted(given)

    def _counted(self, first: int) -> Generator[Frame, None, None]:
        with closing(_generator(self._whole)) as frames:
            for frame in frames:
                if frame.index >= self._stop:
                    return
                if frame.index >= first:
                    if self._table is not None and not self._table.holds(frame):
                        raise Changed(f"{self.info.url} changed while it was read; leave it as it is and start again")
                    first += 1
                    yield frame
                del frame
        if first < self._stop:
            raise Changed(f"{self.info.url} ends at frame {first} of {self._stop} that it had; start again")

    def close(self) -> None:
        """Nothing is held open."""


def _generator(whole: _InOrder) -> Generator[Frame, None, None]:
    frames = iter(whole)
    try:
        yield from frames
    finally:
        close = getattr(frames, "close", None)
        if close is not None:
            close()
