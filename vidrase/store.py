"""What the first pass found, on disk: read again frame by frame in the second, and summed up as tracks.

Memory holds eight bytes a frame and one summary a track, whatever the length of the clip. The file deletes itself.
"""

from __future__ import annotations

import struct
import tempfile
import threading
import zlib
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vidrase.closable import Closable
from vidrase.crops import touching
from vidrase.errors import ShapeError
from vidrase.frames import Frame, Instances
from vidrase.heal import Trace, heal
from vidrase.labels import CARRIED
from vidrase.summary import TrackSummary

__all__ = ["InstanceStore", "TrackSummary"]

THUMBNAIL = 128  # px, long side
BETTER = 1.3  # a new picture of a thing is taken only when it is this much better
SURE = 0.2  # confidence below which a box says little of where a thing is: half hidden, it runs into its neighbours
REACH = 0.03  # of the frame's diagonal: how near a carried thing lies to who carries it


class _Sums:
    """A track while it is being seen."""

    def __init__(self, id: int, frame: Frame) -> None:
        self.summary = TrackSummary(id, "", frame.index, frame.index, frame.seconds, frame.seconds)
        self.labels: Counter[str] = Counter()
        self.area = self.score = self.best = 0.0
        self.summary.best_score = 0.0
        self.place = np.zeros(4)
        self.trace = Trace()

    def add(self, frame: Frame, found: Instances, k: int) -> None:
        height, width = found.size
        box = found.boxes[k]
        summary = self.summary
        summary.last_index, summary.last_seconds = frame.index, frame.seconds
        summary.frames += 1
        if found.scores[k] >= SURE:
            self.trace.add(frame.index, box)
        area = float(np.count_nonzero(found.masks[k]))
        self.labels[found.labels[k]] += float(found.scores[k])  # type: ignore[assignment]  # a weighted vote
        self.area += area / (height * width)
        self.score += float(found.scores[k])
        summary.best_score = max(summary.best_score, float(found.scores[k]))
        middle = (box[:2] + box[2:]) / 2 / (width, height)
        self.place += np.concatenate([middle, (box[2:] - box[:2]) / (width, height)])
        inside = box[0] > 1 and box[1] > 1 and box[2] < width - 1 and box[3] < height - 1
        worth = float(found.scores[k]) * area**0.5 * (1.0 if inside else 0.5)
        if worth > self.best * BETTER:
            self.best = worth
            summary.best_index = frame.index
            summary.best_box = (float(box[0]), float(box[1]), float(box[2]), float(box[3]))
            summary.thumbnail = _thumbnail(frame, box)

    @property
    def label(self) -> str:
        return self.labels.most_common(1)[0][0]


def _summed(parts: Sequence[_Sums], names: Mapping[int, int]) -> TrackSummary:
    """One summary of the pieces of a track, in order; names: id -> id of the whole track."""
    best = max(parts, key=lambda part: part.best)
    n = max(sum(part.summary.frames for part in parts), 1)
    labels: Counter[str] = Counter()
    met: dict[int, int] = {}
    for part in parts:
        labels.update(part.labels)
        for other, times in part.summary.with_others.items():
            met[names.get(other, other)] = met.get(names.get(other, other), 0) + times
    x, y, width, height = (np.sum([part.place for part in parts], axis=0) / n).tolist()
    return replace(
        best.summary,
        id=parts[0].summary.id,
        label=labels.most_common(1)[0][0],
        first_index=parts[0].summary.first_index,
        first_seconds=parts[0].summary.first_seconds,
        last_index=parts[-1].summary.last_index,
        last_seconds=parts[-1].summary.last_seconds,
        frames=n,
        area_share=sum(part.area for part in parts) / n,
        score=sum(part.score for part in parts) / n,
        best_score=max(part.summary.best_score for part in parts),
        centre=(x, y),
        extent=(width, height),
        with_others=met,
        called=frozenset(labels),
    )


class InstanceStore(Closable):
    """Instances by frame, in order. A context manager; `get` may be called from any thread."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="vidrase-")  # noqa: SIM115 - closed by close()
        self._starts = array("q")
        self._sums: dict[int, _Sums] = {}
        self._labels: dict[str, int] = {}
        self._names: dict[int, int] | None = None  # of tracks that broke off: id -> the id they had before
        self._rate = 25.0
        self._lock = threading.Lock()

    def close(self) -> None:
        """Delete what was stored."""
        self._file.close()

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[Instances]:
        for index in range(len(self)):
            yield self.get(index)

    def append(self, frame: Frame, instances: Instances) -> None:
        """Add what is in `frame`; frames come in order of their index, from 0 without gaps."""
        if frame.index != len(self._starts):
            raise ShapeError(f"expected frame {len(self._starts)} next, got {frame.index}")
        self._starts.append(0)
        self._write(frame.index, instances)
        for k, number in enumerate(instances.ids.tolist()):
            self._sums.setdefault(number, _Sums(number, frame)).add(frame, instances, k)
        self._note_bearers(instances)
        self._names = None
        if frame.seconds > 0 and frame.index:
            self._rate = frame.index / frame.seconds

    def extend(self, frame: Frame, more: Instances) -> None:
        """Add to what is in a frame that was appended before; for each thing, frames come in order of their index."""
        found = self._read(frame.index)
        joined = Instances(
            np.concatenate([found.ids, more.ids]),
            found.labels + more.labels,
            np.concatenate([found.scores, more.scores]),
            np.concatenate([found.boxes, more.boxes]),
            found.masks + more.masks,
            np.concatenate([found.corners, more.corners]),
            found.size,
        )
        self._write(frame.index, joined)
        for k, number in enumerate(more.ids.tolist()):
            self._sums.setdefault(number, _Sums(number, frame)).add(frame, more, k)
        self._names = None

    @property
    def unused_id(self) -> int:
        """The least number above those of all things here."""
        return max(self._sums, default=0) + 1

    def _write(self, index: int, instances: Instances) -> None:
        data = self._pack(instances)
        with self._lock:
            self._file.seek(0, 2)
            self._starts[index] = self._file.tell()
            self._file.write(struct.pack("<I", len(data)) + data)

    def _read(self, index: int) -> Instances:
        with self._lock:
            self._file.seek(self._starts[index])
            (length,) = struct.unpack("<I", self._file.read(4))
            data = self._file.read(length)
        return self._unpack(data)

    def get(self, index: int) -> Instances:
        """What was found in frame `index`; ids as in the last `tracks()`. Raises IndexError beyond the last."""
        found = self._read(index)
        for k, number in enumerate(found.ids.tolist()):
            found.ids[k] = (self._names or {}).get(number, number)
        return found

    def tracks(self) -> list[TrackSummary]:
        """Everything that was seen, by id; a thing that was out of sight for a moment has one id from now on."""
        if self._names is None:
            traces = {number: sums.trace for number, sums in self._sums.items()}
            self._names = heal(traces, {number: sums.label for number, sums in self._sums.items()}, self._rate)
        parts: dict[int, list[_Sums]] = {}
        for number in sorted(self._sums, key=lambda n: (self._sums[n].summary.first_index, n)):
            parts.setdefault(self._names.get(number, number), []).append(self._sums[number])
        return [_summed(parts[number], self._names) for number in sorted(parts)]

    def _note_bearers(self, found: Instances) -> None:
        things = [k for k, label in enumerate(found.labels) if label in CARRIED]
        if not things:
            return
        reach = REACH * float(np.hypot(*found.size))
        parts = [(mask, (int(y), int(x))) for mask, (y, x) in zip(found.masks, found.corners, strict=True)]
        for k in things:
            for other, label in enumerate(found.labels):
                if label == "person" and touching(parts[k], parts[other], reach):
                    met = self._sums[int(found.ids[k])].summary.with_others
                    met[int(found.ids[other])] = met.get(int(found.ids[other]), 0) + 1

    def _pack(self, found: Instances) -> bytes:
        labels = [self._labels.setdefault(label, len(self._labels)) for label in found.labels]
        shapes = np.array([mask.shape for mask in found.masks], np.int32).reshape(-1, 2)
        bits = b"".join(np.packbits(mask).tobytes() for mask in found.masks)
        head = struct.pack("<III", len(found), *found.size)
        arrays = (found.ids, np.array(labels, np.int32), found.scores, found.boxes, found.corners, shapes)
        return zlib.compress(head + b"".join(np.ascontiguousarray(part).tobytes() for part in arrays) + bits, 1)

    def _unpack(self, data: bytes) -> Instances:
        raw = zlib.decompress(data)
        count, height, width = struct.unpack_from("<III", raw)
        place = 12

        def take(dtype: type, *shape: int) -> NDArray:
            nonlocal place
            size = int(np.prod(shape))
            part: NDArray = np.frombuffer(raw, dtype, size, place).reshape(shape).copy()
            place += part.nbytes
            return part

        ids, labels = take(np.int64, count), take(np.int32, count)
        scores, boxes = take(np.float32, count), take(np.float32, count, 4)
        corners, shapes = take(np.int32, count, 2), take(np.int32, count, 2)
        masks = []
        for rows, columns in shapes.tolist():
            packed = take(np.uint8, (rows * columns + 7) // 8)
            masks.append(np.unpackbits(packed, count=rows * columns).reshape(rows, columns).view(np.bool_))
        names = list(self._labels)
        return Instances(
            ids, tuple(names[label] for label in labels), scores, boxes, tuple(masks), corners, (height, width)
        )


def _thumbnail(frame: Frame, box: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The box with a little round it, scaled so that its long side is THUMBNAIL px."""
    height, width = frame.displayed_size
    spare = 0.08 * max(box[2] - box[0], box[3] - box[1])
    low = np.floor(np.maximum(box[:2] - spare, 0)).astype(int)
    high = np.ceil(np.minimum(box[2:] + spare, (width, height))).astype(int)
    scale = min(THUMBNAIL / max(int((high - low).max()), 1), 1.0)
    size = max(round(height * scale), 1), max(round(width * scale), 1)
    (x0, y0), (x1, y1) = np.floor(low * scale).astype(int), np.ceil(high * scale).astype(int)
    return frame.rgb(size=size)[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)].copy()
