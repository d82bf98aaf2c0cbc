"""Assign constant ids to the objects in view, so that a key can select one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidrase.frames import Instances

MIN_IOU = 0.2  # IoU of boxes in consecutive detections, from which they are the same object
MAX_MISSED = 30  # detections; an object missing for longer gets a new id


class IdAssigner:
    """Assigns ids. Uses the lowest free numbers, so that they fit the number keys."""

    def __init__(self) -> None:
        self.kept: set[int] = set()
        """Ids of objects that are not removed."""
        self._known: dict[int, tuple[NDArray[np.float32], int]] = {}

    def assign(self, instances: Instances) -> Instances:
        """`instances` with constant ids >= 1."""
        ids = np.zeros(len(instances), np.int64)
        scale = np.array([instances.size[1], instances.size[0]] * 2, np.float32)
        boxes = instances.boxes / np.maximum(scale, 1)
        pairs = sorted(
            (
                (_iou(box, known), k, number)
                for k, box in enumerate(boxes)
                for number, (known, _) in self._known.items()
            ),
            reverse=True,
        )
        assigned: set[int] = set()
        for overlap, k, number in pairs:
            if overlap >= MIN_IOU and not ids[k] and number not in assigned:
                ids[k] = number
                assigned.add(number)
        self._known = {n: (box, age + 1) for n, (box, age) in self._known.items() if age < MAX_MISSED}
        self.kept &= set(self._known)
        for k in range(len(instances)):
            if not ids[k]:
                ids[k] = next(n for n in range(1, len(self._known) + len(instances) + 2) if n not in self._known)
            self._known[int(ids[k])] = boxes[k], 0
        return Instances(
            ids, instances.labels, instances.scores, instances.boxes, instances.masks, instances.corners, instances.size
        )

    def without_kept(self, instances: Instances) -> Instances:
        """The instances whose ids are not in `kept`."""
        return (
            instances.where(np.array([int(number) not in self.kept for number in instances.ids], bool))
            if self.kept
            else instances
        )


def _iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    shared = float(np.prod(np.maximum(high - low, 0)))
    both = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - shared
    return shared / both if both > 0 else 0.0
