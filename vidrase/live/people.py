"""Lasting numbers for the things in view, so that a key can pick one of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidrase.frames import Instances

OVERLAP = 0.2  # IoU from which two boxes are the same thing
FORGET = 30  # looks after which somebody who left gets a new number


class Roll:
    """Who is in view. Numbers are the lowest free ones, so that they stay on the keyboard."""

    def __init__(self) -> None:
        self.kept: set[int] = set()
        """Numbers that stay in the picture."""
        self._known: dict[int, tuple[NDArray[np.float32], int]] = {}

    def call(self, found: Instances) -> Instances:
        """`found` with lasting ids >= 1."""
        ids = np.zeros(len(found), np.int64)
        scale = np.array([found.size[1], found.size[0]] * 2, np.float32)
        boxes = found.boxes / np.maximum(scale, 1)
        pairs = sorted(
            (
                (_iou(box, known), k, number)
                for k, box in enumerate(boxes)
                for number, (known, _) in self._known.items()
            ),
            reverse=True,
        )
        taken: set[int] = set()
        for overlap, k, number in pairs:
            if overlap >= OVERLAP and not ids[k] and number not in taken:
                ids[k] = number
                taken.add(number)
        self._known = {n: (box, age + 1) for n, (box, age) in self._known.items() if age < FORGET}
        self.kept &= set(self._known)
        for k in range(len(found)):
            if not ids[k]:
                ids[k] = next(n for n in range(1, len(self._known) + len(found) + 2) if n not in self._known)
            self._known[int(ids[k])] = boxes[k], 0
        return Instances(ids, found.labels, found.scores, found.boxes, found.masks, found.corners, found.size)

    def leaving(self, found: Instances) -> Instances:
        """Those of `found` that are not kept."""
        return (
            found.where(np.array([int(number) not in self.kept for number in found.ids], bool)) if self.kept else found
        )


def _iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    shared = float(np.prod(np.maximum(high - low, 0)))
    both = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - shared
    return shared / both if both > 0 else 0.0
