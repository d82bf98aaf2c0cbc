"""What a chunk has filled: the samples inside the holes of its frames, exact, in one file.

The rest of every frame is the source's own and is not stored. A file has its name only when it is complete.
"""

from __future__ import annotations

import errno
import json
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vidrase.closable import Closable
from vidrase.errors import SinkError
from vidrase.fill.composite import plane_areas
from vidrase.frames import Frame, Hole, HoleFrame
from vidrase.part import Part

MAGIC = b"vidrase-chunk-1\n"
_HOLE = struct.Struct("<iiiiii")  # y, x, rows, columns, height, width
_END = struct.Struct("<Q")  # where the list of contents begins


class Damaged(SinkError):
    """A chunk's file is not what was written."""


class ChunkWriter:
    """Writes one chunk. A context manager: the file appears on a clean exit only."""

    def __init__(self, path: Path) -> None:
        self._part = Part(path, overwrite=True)
        self._path = path
        self._file = self._part.path.open("wb")
        self._entries: dict[int, tuple[int, int]] = {}
        self._file.write(MAGIC)
        self.meta: dict[str, Any] = {}
        """What else is to be kept, plain types."""

    def add(self, found: HoleFrame, filled: Frame) -> None:
        """Add a frame: its hole, and what is in it now. A frame without a hole takes no space."""
        hole = None if found.passes else found.hole
        if hole is None:
            return
        data = zlib.compress(_hole_bytes(hole) + _samples(hole, filled), 1)
        self._entries[found.frame.index] = (self._file.tell(), len(data))
        self._file.write(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                contents = {"frames": {str(n): entry for n, entry in self._entries.items()}, "meta": self.meta}
                at = self._file.tell()
                self._file.write(zlib.compress(json.dumps(contents).encode()) + _END.pack(at))
            self._file.close()
        except OSError as failed:
            kind, error = type(failed), failed
        if kind is None:
            self._part.keep()
            return
        self._part.drop()
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SinkError(f"cannot write {self._path}: the disk is full") from error
        if trace is None and error is not None:
            raise error


class ChunkReader(Closable):
    """Reads one chunk. Raises Damaged."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb")
        try:
            if self._file.read(len(MAGIC)) != MAGIC:
                raise ValueError("no chunk")
            self._file.seek(-_END.size, 2)
            (at,) = _END.unpack(self._file.read(_END.size))
            end = self._file.seek(0, 2) - _END.size
            self._file.seek(at)
            contents = json.loads(zlib.decompress(self._file.read(end - at)))
            self._entries = {int(n): entry for n, entry in contents["frames"].items()}
            self.meta: Mapping[str, Any] = contents["meta"]
        except (OSError, ValueError, KeyError, struct.error, zlib.error) as error:
            self._file.close()
            raise Damaged(f"{path} is damaged ({error}); give --restart to begin anew") from error

    def hole(self, index: int) -> Hole | None:
        """The hole of frame `index`; None: it has none."""
        return None if index not in self._entries else _hole_of(self._read(index))[0]

    def applied(self, frame: Frame) -> tuple[HoleFrame, Frame]:
        """(`frame` and its hole, the filled frame: the same object where there is no hole)."""
        if frame.index not in self._entries:
            return HoleFrame(frame), frame
        try:
            raw = self._read(frame.index)
            hole, offset = _hole_of(raw)
            planes = _with_samples(hole, frame, raw[offset:])
        except (ValueError, struct.error) as error:
            raise Damaged(f"{self._path} is damaged ({error}); give --restart to begin anew") from error
        return HoleFrame(frame, hole), frame.with_planes(planes)

    def _read(self, index: int) -> bytes:
        at, length = self._entries[index]
        self._file.seek(at)
        try:
            return zlib.decompress(self._file.read(length))
        except zlib.error as error:
            raise Damaged(f"{self._path} is damaged ({error}); give --restart to begin anew") from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def blended(a: tuple[HoleFrame, Frame], b: tuple[HoleFrame, Frame], weight: float) -> Frame:
    """The filled frame `a` with `b`, another filling of the same frame, mixed in where both have a hole. weight: of `b`, 0..1."""
    (found, one), (other_found, other) = a, b
    if found.hole is None or other_found.hole is None:
        return one
    common = Hole.of(found.hole.full_area() & other_found.hole.full_area())
    if common is None:
        return one
    planes = []
    for old, new, (span, inside) in zip(one.planes, other.planes, plane_areas(common, one.layout), strict=True):
        mixed = old.copy()
        values = old[span][inside].astype(np.float32)
        values += weight * (new[span][inside] - values)
        mixed[span][inside] = np.rint(values)
        planes.append(mixed)
    return one.with_planes(tuple(planes))


def _hole_bytes(hole: Hole) -> bytes:
    head = _HOLE.pack(hole.y, hole.x, *hole.area.shape, *hole.size)
    return head + np.packbits(hole.core).tobytes() + np.packbits(hole.area).tobytes()


def _hole_of(raw: bytes) -> tuple[Hole, int]:
    """(the hole, where the samples begin)."""
    y, x, rows, columns, height, width = _HOLE.unpack_from(raw)
    length = (rows * columns + 7) // 8
    masks = [
        np.unpackbits(np.frombuffer(raw, np.uint8, length, _HOLE.size + k * length), count=rows * columns)
        .reshape(rows, columns)
        .astype(bool)
        for k in range(2)
    ]
    return Hole(y, x, masks[0], masks[1], (height, width)), _HOLE.size + 2 * length


def _samples(hole: Hole, filled: Frame) -> bytes:
    """The samples inside the hole, plane by plane, as differences from one to the next: they compress better."""
    parts = []
    for plane, (span, inside) in zip(filled.planes, plane_areas(hole, filled.layout), strict=True):
        values = plane[span][inside]
        parts.append(np.diff(values, prepend=values.dtype.type(0)).tobytes())
    return b"".join(parts)


def _with_samples(hole: Hole, frame: Frame, raw: bytes) -> tuple[NDArray, ...]:
    """The planes of `frame` with the samples that `_samples` stored."""
    offset, planes = 0, []
    for plane, (span, inside) in zip(frame.planes, plane_areas(hole, frame.layout), strict=True):
        steps = np.frombuffer(raw, plane.dtype, int(np.count_nonzero(inside)), offset)
        offset += steps.nbytes
        new = plane.copy()
        new[span][inside] = np.cumsum(steps, dtype=plane.dtype)
        planes.append(new)
    return tuple(planes)
