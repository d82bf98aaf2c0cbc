"""Store the instances of the first pass on disk, to be read frame by frame in the second pass; summarise them as tracks.

Memory use is eight bytes per frame and one summary per track. The file is deleted on close, unless it was given a name.
"""

from __future__ import annotations

import json
import struct
import tempfile
import threading
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from vidrase.closable import Closable
from vidrase.crops import Crop, area, intersection_area, is_near
from vidrase.errors import ShapeError
from vidrase.frames import Frame, Instances
from vidrase.instancefile import pack, unpack
from vidrase.labels import CARRIED, GROUP_OF
from vidrase.summary import TrackSummary
from vidrase.tracklets import Tracklet, merge_tracklets, merge_wavering

__all__ = ["InstanceStore", "TrackSummary"]

THUMBNAIL_PX = 128  # px, long side
MIN_IMPROVEMENT = 1.3  # new quality / quality of the current thumbnail; above it the thumbnail is replaced
# confidence; a box below it is unreliable (an occluded object runs into its neighbours) and is left out of the tracklet
MIN_BOX_CONFIDENCE = 0.2
RECENT = 2  # frames; a mask is compared with those of the last ones too, for a detector that says this and that in turn
SAME_IOU = 0.6  # of two masks; above it they are of the same object
_PLAIN = (
    "id",
    "first_index",
    "last_index",
    "first_seconds",
    "last_seconds",
    "frames",
    "best_score",
    "best_index",
    "best_box",
)
_SUMS = ("area", "score", "best_quality", "certain")
CARRIER_GAP_SHARE = 0.03  # distance / frame diagonal; a carriable object within it of a person counts as carried


class _TrackAccumulator:
    """Statistics of a track that is still growing."""

    def __init__(self, id: int, frame: Frame) -> None:
        self.summary = TrackSummary(id, "", frame.index, frame.index, frame.seconds, frame.seconds)
        self.labels: Counter[str] = Counter()
        # sums of confidences too, in the frames where the detector said what else it may be
        self.rivals: Counter[str] = Counter()
        self.certain = 0.0  # the confidence in the same frames
        self.area = self.score = self.best_quality = 0.0
        self.summary.best_score = 0.0
        self.box_sum = np.zeros(4)
        self.size_sum = np.zeros(2)
        self.tracklet = Tracklet()

    def add(self, frame: Frame, instances: Instances, k: int) -> None:
        height, width = instances.size
        box = instances.boxes[k]
        summary = self.summary
        summary.last_index, summary.last_seconds = frame.index, frame.seconds
        summary.frames += 1
        if instances.scores[k] >= MIN_BOX_CONFIDENCE:
            self.tracklet.add(frame.index, box)
        area = float(np.count_nonzero(instances.masks[k]))
        self.labels[instances.labels[k]] += float(instances.scores[k])  # type: ignore[assignment]  # a weighted vote
        if instances.rivals:
            rival, confidence = instances.rivals[k]
            self.rivals[rival] += confidence  # type: ignore[assignment]
            self.certain += float(instances.scores[k])
        self.area += area / (height * width)
        self.score += float(instances.scores[k])
        summary.best_score = max(summary.best_score, float(instances.scores[k]))
        centre = (box[:2] + box[2:]) / 2 / (width, height)
        self.box_sum += np.concatenate([centre, (box[2:] - box[:2]) / (width, height)])
        self.size_sum += box[2:] - box[:2]
        inside = box[0] > 1 and box[1] > 1 and box[2] < width - 1 and box[3] < height - 1
        quality = float(instances.scores[k]) * area**0.5 * (1.0 if inside else 0.5)
        if quality > self.best_quality * MIN_IMPROVEMENT:
            self.best_quality = quality
            summary.best_index = frame.index
            summary.best_box = (float(box[0]), float(box[1]), float(box[2]), float(box[3]))
            summary.thumbnail = _thumbnail(frame, box)

    @property
    def label(self) -> str:
        return self.labels.most_common(1)[0][0]

    def as_dict(self) -> dict[str, Any]:
        """Everything except the thumbnail, as plain types."""
        ends = {
            name: [[index, box.tolist()] for index, box in getattr(self.tracklet, name)] for name in ("first", "last")
        }
        plain = {name: getattr(self.summary, name) for name in _PLAIN}
        sums = {name: getattr(self, name) for name in _SUMS}
        carriers = list(self.summary.carriers.items())
        return {
            **plain,
            "sums": sums,
            "labels": list(self.labels.items()),
            "rivals": list(self.rivals.items()),
            "carriers": carriers,
            "box_sum": self.box_sum.tolist(),
            "size_sum": self.size_sum.tolist(),
            "boxes": self.tracklet.frames,
            **ends,
        }

    @classmethod
    def of(cls, saved: Mapping[str, Any], thumbnail: NDArray[np.uint8] | None) -> _TrackAccumulator:
        """What `as_dict` was made of."""
        made = cls.__new__(cls)
        plain = {name: saved[name] for name in _PLAIN} | {"best_box": tuple(saved["best_box"])}
        made.summary = TrackSummary(
            label="", thumbnail=thumbnail, carriers={int(a): int(b) for a, b in saved["carriers"]}, **plain
        )
        made.labels, made.rivals = (Counter(dict(map(tuple, saved[name]))) for name in ("labels", "rivals"))
        for name in _SUMS:
            setattr(made, name, saved["sums"][name])
        made.box_sum, made.size_sum = np.array(saved["box_sum"]), np.array(saved["size_sum"])
        made.tracklet = Tracklet(frames=saved["boxes"])
        for name in ("first", "last"):
            getattr(made.tracklet, name).extend((index, np.array(box, np.float32)) for index, box in saved[name])
        return made


def _merge_summaries(pieces: Sequence[_TrackAccumulator], merged_ids: Mapping[int, int]) -> TrackSummary:
    """One summary of a track's pieces, given in order; merged_ids: id -> id of the merged track."""
    best = max(pieces, key=lambda piece: piece.best_quality)
    n = max(sum(piece.summary.frames for piece in pieces), 1)
    labels: Counter[str] = Counter()
    rivals: Counter[str] = Counter()
    carriers: dict[int, int] = {}
    for piece in pieces:
        labels.update(piece.labels)
        rivals.update(piece.rivals)
        for other, times in piece.summary.carriers.items():
            carriers[merged_ids.get(other, other)] = carriers.get(merged_ids.get(other, other), 0) + times
    last = max((piece.summary for piece in pieces), key=lambda one: one.last_index)
    label = labels.most_common(1)[0][0]
    rival, doubt = _doubt(label, labels, rivals, sum(piece.certain for piece in pieces))
    wide, tall = np.sum([piece.size_sum for piece in pieces], axis=0).tolist()
    x, y, width, height = (np.sum([piece.box_sum for piece in pieces], axis=0) / n).tolist()
    return replace(
        best.summary,
        id=merged_ids.get(pieces[0].summary.id, pieces[0].summary.id),
        label=label,
        first_index=pieces[0].summary.first_index,
        first_seconds=pieces[0].summary.first_seconds,
        last_index=last.last_index,
        last_seconds=last.last_seconds,
        frames=min(n, last.last_index - pieces[0].summary.first_index + 1),  # pieces of two classes share frames
        area_share=sum(piece.area for piece in pieces) / n,
        score=sum(piece.score for piece in pieces) / n,
        best_score=max(piece.summary.best_score for piece in pieces),
        centre=(x, y),
        extent=(width, height),
        carriers=carriers,
        labels=frozenset(labels),
        aspect=wide / max(tall, 1e-6),
        rival=rival,
        doubt=doubt,
    )


def _doubt(label: str, labels: Counter[str], rivals: Counter[str], certain: float) -> tuple[str, float]:
    """(what else a track may be, evidence for that over evidence for `label`)."""
    group = GROUP_OF.get(label, label)
    shares = {name: value / certain for name, value in rivals.items() if certain > 0}
    for name, value in labels.items():
        shares[name] = shares.get(name, 0.0) + value / max(labels[label], 1e-6)
    shares = {name: share for name, share in shares.items() if name and GROUP_OF.get(name, name) != group}
    best = max(shares, key=lambda name: shares[name], default="")
    return best, min(shares.get(best, 0.0), 1.0)


class InstanceStore(Closable):
    """Instances by frame index, in order. A context manager; `get` may be called from any thread."""

    def __init__(self, path: Path | None = None) -> None:
        """path: a new file that stays after `close`; None: a temporary one."""
        self._file: IO[bytes]
        if path is None:
            self._file = tempfile.TemporaryFile(prefix="vidrase-")  # noqa: SIM115 - closed by close()
        else:
            self._file = path.open("w+b")
        self._starts = array("q")
        self._accumulators: dict[int, _TrackAccumulator] = {}
        self._merged_ids: dict[int, int] | None = None  # id of a continuing track -> its first id
        # ids of a person and of something else -> frames on each other
        self._together: Counter[tuple[int, int]] = Counter()
        self._recent: dict[int, tuple[int, bool, Crop]] = {}  # id -> last frame, whether a person, mask
        self._rate = 25.0
        self._lock = threading.Lock()

    def close(self) -> None:
        """Delete the stored data, unless it has a file of its own."""
        self._file.close()

    def save(self, path: Path) -> None:
        """Write to `path` what is not in the file of the instances, so that `load` finds all of it."""
        with self._lock:
            self._file.flush()
        thumbnails = {str(number): one.summary.thumbnail for number, one in self._accumulators.items()}
        together = [[*pair, count] for pair, count in self._together.items()]
        saved = {"rate": self._rate, "together": together}
        tracks = json.dumps(saved | {"tracks": [one.as_dict() for one in self._accumulators.values()]})
        arrays: dict[str, Any] = {name: one for name, one in thumbnails.items() if one is not None}
        arrays |= {"starts": np.array(self._starts, np.int64), "tracks": np.frombuffer(tracks.encode(), np.uint8)}
        with path.open("wb") as file:
            np.savez(file, **arrays)

    @classmethod
    def load(cls, instances: Path, rest: Path) -> InstanceStore:
        """The store of a file of instances and of what `save` wrote beside it. Raises OSError, ValueError, KeyError."""
        made = cls.__new__(cls)
        made._file, made._lock, made._merged_ids = instances.open("rb"), threading.Lock(), None
        with np.load(rest, allow_pickle=False) as arrays:
            made._starts = array("q", arrays["starts"].tobytes())
            saved = json.loads(arrays["tracks"].tobytes())
            thumbnails = {track["id"]: arrays.get(str(track["id"])) for track in saved["tracks"]}
        made._rate, made._recent = saved["rate"], {}
        made._together = Counter({(a, b): count for a, b, count in saved["together"]})
        made._accumulators = {
            track["id"]: _TrackAccumulator.of(track, thumbnails[track["id"]]) for track in saved["tracks"]
        }
        return made

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[Instances]:
        for index in range(len(self)):
            yield self.get(index)

    def append(self, frame: Frame, instances: Instances) -> None:
        """Add the instances of `frame`; frame indices must start at 0 and have no gaps."""
        if frame.index != len(self._starts):
            raise ShapeError(f"expected frame {len(self._starts)} next, got {frame.index}")
        self._starts.append(0)
        self._write(frame.index, instances)
        for k, number in enumerate(instances.ids.tolist()):
            self._accumulators.setdefault(number, _TrackAccumulator(number, frame)).add(frame, instances, k)
        self._count_carriers(instances)
        self._count_together(frame.index, instances)
        self._merged_ids = None
        if frame.seconds > 0 and frame.index:
            self._rate = frame.index / frame.seconds

    def extend(self, frame: Frame, more: Instances) -> None:
        """Add instances to a stored frame; for each object, frames must come in order."""
        instances = self._read(frame.index)
        joined = Instances(
            np.concatenate([instances.ids, more.ids]),
            instances.labels + more.labels,
            np.concatenate([instances.scores, more.scores]),
            np.concatenate([instances.boxes, more.boxes]),
            instances.masks + more.masks,
            np.concatenate([instances.corners, more.corners]),
            instances.size,
        )
        self._write(frame.index, joined)
        for k, number in enumerate(more.ids.tolist()):
            self._accumulators.setdefault(number, _TrackAccumulator(number, frame)).add(frame, more, k)
        self._merged_ids = None

    @property
    def unused_id(self) -> int:
        """The smallest id above all ids in use."""
        return max(self._accumulators, default=0) + 1

    def _write(self, index: int, instances: Instances) -> None:
        data = pack(instances)
        with self._lock:
            self._file.seek(0, 2)
            self._starts[index] = self._file.tell()
            self._file.write(struct.pack("<I", len(data)) + data)

    def _read(self, index: int) -> Instances:
        with self._lock:
            self._file.seek(self._starts[index])
            (length,) = struct.unpack("<I", self._file.read(4))
            data = self._file.read(length)
        return unpack(data)

    def get(self, index: int) -> Instances:
        """Instances of frame `index`, with ids as in the last `tracks()`. Raises IndexError beyond the last frame."""
        instances = self._read(index)
        for k, number in enumerate(instances.ids.tolist()):
            instances.ids[k] = (self._merged_ids or {}).get(number, number)
        if len(set(instances.ids.tolist())) == len(instances):
            return instances
        first = np.zeros(len(instances), bool)  # of an object that was found as two classes: the surer find
        order = np.argsort(-instances.scores, kind="stable")
        first[order[np.unique(instances.ids[order], return_index=True)[1]]] = True
        return instances.where(first)

    def tracks(self) -> list[TrackSummary]:
        """Summaries of all tracks, by id. Merges the tracklets of an object: `get` returns merged ids from now on."""
        if self._merged_ids is None:
            tracklets = {number: sums.tracklet for number, sums in self._accumulators.items()}
            self._merged_ids = merge_tracklets(
                tracklets, {number: sums.label for number, sums in self._accumulators.items()}, self._rate
            )
            self._merge_wavering()
        pieces: dict[int, list[_TrackAccumulator]] = {}
        for number in sorted(self._accumulators, key=lambda n: (self._accumulators[n].summary.first_index, n)):
            pieces.setdefault(self._merged_ids.get(number, number), []).append(self._accumulators[number])
        return [_merge_summaries(pieces[number], self._merged_ids) for number in sorted(pieces)]

    def _merge_wavering(self) -> None:
        """Decide what was found as a person here and as an animal there by the sum of evidence, over all its tracklets."""
        assert self._merged_ids is not None
        merged = self._merged_ids
        frames: Counter[int] = Counter()
        evidence: dict[int, float] = {}
        for number, sums in self._accumulators.items():
            main = merged.get(number, number)
            frames[main] += sums.summary.frames
            evidence[main] = evidence.get(main, 0.0) + sums.score
        together: Counter[tuple[int, int]] = Counter()
        for (a, b), count in self._together.items():
            together[merged.get(a, a), merged.get(b, b)] += count
        also = merge_wavering(together, frames, evidence)
        for number in self._accumulators:
            main = merged.get(number, number)
            if main in also:
                merged[number] = also[main]

    def _count_together(self, index: int, instances: Instances) -> None:
        """Note where a person's mask lies on that of something else, now or in one of the last frames."""
        pairs: set[tuple[int, int]] = set()
        for k, number in enumerate(instances.ids.tolist()):
            y, x = instances.corners[k].tolist()
            crop, person = (instances.masks[k], (y, x)), instances.labels[k] == "person"
            for other, (last, was_person, mask) in self._recent.items():
                if was_person != person and index - last <= RECENT and _overlap(crop, mask) >= SAME_IOU:
                    pairs.add((number, other) if person else (other, number))
            self._recent[number] = index, person, crop
        self._together.update(pairs)
        self._recent = {number: one for number, one in self._recent.items() if index - one[0] <= RECENT}

    def _count_carriers(self, instances: Instances) -> None:
        carried = [k for k, label in enumerate(instances.labels) if label in CARRIED]
        if not carried:
            return
        reach = CARRIER_GAP_SHARE * float(np.hypot(*instances.size))
        crops = [(mask, (int(y), int(x))) for mask, (y, x) in zip(instances.masks, instances.corners, strict=True)]
        for k in carried:
            for other, label in enumerate(instances.labels):
                if label == "person" and is_near(crops[k], crops[other], reach):
                    carriers = self._accumulators[int(instances.ids[k])].summary.carriers
                    carriers[int(instances.ids[other])] = carriers.get(int(instances.ids[other]), 0) + 1


def _overlap(a: Crop, b: Crop) -> float:
    """Intersection over union, 0..1."""
    common = intersection_area(a, b)
    return common / (area(a) + area(b) - common) if common else 0.0


def _thumbnail(frame: Frame, box: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The box with a margin, scaled to a long side of THUMBNAIL_PX px."""
    height, width = frame.displayed_size
    padding = 0.08 * max(box[2] - box[0], box[3] - box[1])
    low = np.floor(np.maximum(box[:2] - padding, 0)).astype(int)
    high = np.ceil(np.minimum(box[2:] + padding, (width, height))).astype(int)
    scale = min(THUMBNAIL_PX / max(int((high - low).max()), 1), 1.0)
    size = max(round(height * scale), 1), max(round(width * scale), 1)
    (x0, y0), (x1, y1) = np.floor(low * scale).astype(int), np.ceil(high * scale).astype(int)
    return frame.rgb(size=size)[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)].copy()
