"""Assign ids to detections from frame to frame.

ByteTrack or BoT-SORT of ultralytics associate the detections. Every detection above the confidence threshold gets an id, also one
that the tracker has not confirmed yet: otherwise it would remain visible in the result.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidrase.frames import Instances
from vidrase.labels import GROUP_OF
from vidrase.weights.quiet import import_ultralytics

MAX_LOST_SECONDS = 1.5  # seconds; a track lost for longer ends
# share of the confidence threshold; detections above it may continue a track but not start one
LOW_CONFIDENCE_SHARE = 0.4
SAME_OBJECT_IOU = 0.5  # IoU of two unconfirmed detections in consecutive frames; above it they are the same object
# IoU of a weak detection with the predicted box of a lost track; above it the detection continues the track
LOST_TRACK_IOU = 0.4


class _Boxes:
    """Detections in the form that ultralytics' trackers expect."""

    def __init__(self, xyxy: NDArray[np.float32], conf: NDArray[np.float32], cls: NDArray[np.float32]) -> None:
        self.xyxy, self.conf, self.cls = xyxy, conf, cls

    @property
    def xywh(self) -> NDArray[np.float32]:
        return np.concatenate([(self.xyxy[:, :2] + self.xyxy[:, 2:]) / 2, self.xyxy[:, 2:] - self.xyxy[:, :2]], axis=1)

    def __len__(self) -> int:
        return len(self.conf)

    def __getitem__(self, which: Any) -> _Boxes:
        return _Boxes(self.xyxy[which], self.conf[which], self.cls[which])


class Tracker:
    """`step` returns the ids of one frame's detections. Frames come in order; `new_shot` resets."""

    def __init__(self, kind: str, conf: float, frame_rate: float) -> None:
        self._kind, self._conf = kind, conf
        self._buffer = int(np.clip(round(MAX_LOST_SECONDS * frame_rate), 8, 180))
        self._next = itertools.count(1)
        self._groups: dict[str, int] = {}
        self.new_shot()

    def new_shot(self) -> None:
        """Forget all tracks; ids keep counting up."""
        self._tracker = _tracker(self._kind, self._conf, self._buffer)
        self._ids: dict[int, int] = {}  # ultralytics' track id -> our id
        self._unconfirmed: list[tuple[int, str, NDArray[np.float32]]] = []  # our id, label, box, in the previous frame

    def step(self, detections: Instances, luma: NDArray[np.uint8] | None = None) -> NDArray[np.int64]:
        """Ids [K] >= 1 of the detections; 0 for a weak one that continues no track. `luma`: uint8 [H, W] displayed."""
        ids = np.zeros(len(detections), np.int64)
        for track in self._update_tracker(detections, luma):
            ids[int(track.idx)] = self._ids.setdefault(track.track_id, 0) or self._new(track.track_id)
        self._recover_lost(detections, ids)
        unconfirmed = []
        for k in np.flatnonzero((ids == 0) & (detections.scores >= self._conf)):
            box, label = detections.boxes[k], detections.labels[k]
            matching = [
                one
                for one, previous_label, previous_box in self._unconfirmed
                if previous_label == label and _iou(previous_box, box) > SAME_OBJECT_IOU
            ]
            ids[k] = matching[0] if matching else next(self._next)
            unconfirmed.append((int(ids[k]), label, box))
        self._unconfirmed = unconfirmed
        return ids

    def _new(self, tracker_id: int) -> int:
        self._ids[tracker_id] = next(self._next)
        return self._ids[tracker_id]

    def _recover_lost(self, detections: Instances, ids: NDArray[np.int64]) -> None:
        """Give a weak detection the id of the lost track predicted there: a partly occluded object has low confidence."""
        unassigned = set(np.flatnonzero((ids == 0) & (detections.scores < self._conf)).tolist())
        for lost in self._tracker.lost_stracks:
            number = self._ids.get(lost.track_id)
            if number is None or number in ids:
                continue
            overlaps = {k: _iou(lost.xyxy, self._boxes[k]) for k in unassigned}
            best = max(overlaps, key=lambda k: overlaps[k], default=-1)
            if best >= 0 and overlaps[best] > LOST_TRACK_IOU:
                ids[best] = number
                unassigned.discard(best)

    def _update_tracker(self, detections: Instances, luma: NDArray[np.uint8] | None) -> list[Any]:
        """Ultralytics' tracks that this frame's detections were assigned to, including unconfirmed ones."""
        boxes = detections.boxes.copy()
        names = [GROUP_OF.get(label, label) for label in detections.labels]
        groups = np.array([self._groups.setdefault(name, len(self._groups)) for name in names], np.float32)
        picture = None
        if self._kind == "botsort":
            picture = None if luma is None else luma[..., None]
        elif len(detections):
            # shift each group of classes apart, so that their boxes never overlap
            boxes[:, ::2] += (groups * 4 * max(detections.size))[:, None]
        self._boxes = boxes
        self._tracker.update(_Boxes(boxes, detections.scores, groups), picture)
        now = self._tracker.frame_id
        return [
            track for track in self._tracker.tracked_stracks if track.frame_id == now and track.idx < len(detections)
        ]


def _tracker(kind: str, conf: float, buffer: int) -> Any:
    import_ultralytics()
    from ultralytics.trackers.bot_sort import BOTSORT
    from ultralytics.trackers.byte_tracker import BYTETracker
    from ultralytics.utils import IterableSimpleNamespace

    settings = {
        "tracker_type": kind,
        "track_high_thresh": conf,
        "track_low_thresh": LOW_CONFIDENCE_SHARE * conf,
        "new_track_thresh": conf,
        "track_buffer": buffer,
        "match_thresh": 0.8,
        # overlap alone: weighted by the score, objects with low confidence would get a new id in every frame
        "fuse_score": False,
        "gmc_method": "sparseOptFlow",
        "proximity_thresh": 0.5,
        "appearance_thresh": 0.8,
        "with_reid": False,
        "model": "auto",
    }
    return (BOTSORT if kind == "botsort" else BYTETracker)(IterableSimpleNamespace(**settings))


def _iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(float(width), 0.0) * max(float(height), 0.0)
    return shared / (float((a[2] - a[0]) * (a[3] - a[1])) + float((b[2] - b[0]) * (b[3] - b[1])) - shared + 1e-6)
