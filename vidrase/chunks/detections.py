"""A detector whose findings are kept on disk as they come: what it found before a kill it does not look for again."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

from vidrase.closable import Closable
from vidrase.frames import Frame, Instances
from vidrase.instancefile import pack, unpack
from vidrase.segment import Segmenter

_RECORD = struct.Struct("<III")  # frame, bytes, CRC-32 of them


class RecordedSegmenter(Closable):
    """A `Segmenter` in front of another. A context manager."""

    def __init__(self, segmenter: Segmenter, path: Path) -> None:
        """path: where the findings are, or will be; what was written only in part is cut off."""
        self._segmenter, self._file = segmenter, path.open("a+b")
        self._places: dict[int, tuple[int, int]] = {}
        self.names, self.description = segmenter.names, segmenter.description
        self.recommended_conf = segmenter.recommended_conf
        self._file.seek(0)
        end = 0
        while len(head := self._file.read(_RECORD.size)) == _RECORD.size:
            index, length, checksum = _RECORD.unpack(head)
            data = self._file.read(length)
            if len(data) < length or zlib.crc32(data) != checksum:
                break
            self._places[index] = (end + _RECORD.size, length)
            end += _RECORD.size + length
        self._file.truncate(end)
        self.known = len(self._places)
        """Frames whose findings were there at the start."""

    def __call__(self, frames: Sequence[Frame]) -> list[Instances]:
        """See `Segmenter`."""
        new = [frame for frame in frames if frame.index not in self._places]
        found = {frame.index: one for frame, one in zip(new, self._segmenter(new) if new else [], strict=True)}
        for index, one in found.items():
            data = pack(one)
            self._places[index] = (self._file.seek(0, 2) + _RECORD.size, len(data))
            self._file.write(_RECORD.pack(index, len(data), zlib.crc32(data)) + data)
        if found:
            self._file.flush()  # into the hands of the system, which outlives this process
        return [found[frame.index] if frame.index in found else self._read(frame.index) for frame in frames]

    def _read(self, index: int) -> Instances:
        at, length = self._places[index]
        self._file.seek(at)
        return unpack(self._file.read(length))

    def close(self) -> None:
        """Close the file; it stays."""
        self._file.close()
