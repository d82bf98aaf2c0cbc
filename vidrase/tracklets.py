"""Merge tracklets of the same object: a track that was lost and continued under another id."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

END_BOXES = 5  # boxes at each end of a tracklet from which its velocity is estimated
MAX_GAP_SECONDS = 1.5  # seconds; a longer gap is not bridged
MIN_FRAMES = 3  # frames; a shorter tracklet has no reliable velocity and is not merged
MIN_IOU = 0.3  # IoU of a tracklet's extrapolated box with the other's box; above it they may be the same object
ON_EACH_OTHER = 0.5  # share of the frames
MAX_SIZE_RATIO = 1.8  # larger area / smaller area of the two boxes; above it they are different objects


@dataclass(slots=True)
class Tracklet:
    """The first and last boxes of a tracklet: (frame index, x0 y0 x1 y1 px)."""

    first: list[tuple[int, NDArray[np.float32]]] = field(default_factory=list)
    last: deque[tuple[int, NDArray[np.float32]]] = field(default_factory=lambda: deque(maxlen=END_BOXES))
    frames: int = 0

    def add(self, index: int, box: NDArray[np.float32]) -> None:
        """Add the box of one more frame."""
        if len(self.first) < END_BOXES:
            self.first.append((index, box))
        self.last.append((index, box))
        self.frames += 1


def merge_tracklets(tracklets: Mapping[int, Tracklet], labels: Mapping[int, str], frame_rate: float) -> dict[int, int]:
    """Map each continuing track's id to the first id of its object, by class, position, velocity and size.

    The gap must be at least one frame: adjacent tracks are separated by a cut or overlap by chance.
    """
    max_gap = max(MAX_GAP_SECONDS * frame_rate, 2.0)
    candidates = sorted(
        (number for number, tracklet in tracklets.items() if tracklet.frames >= MIN_FRAMES),
        key=lambda n: tracklets[n].first[0][0],
    )
    pairs = []
    for before in candidates:
        end = tracklets[before].last[-1][0]
        for after in candidates:
            gap = tracklets[after].first[0][0] - end
            if 2 <= gap <= max_gap and labels[before] == labels[after]:
                overlap = _predicted_iou(tracklets[before], tracklets[after])
                if overlap > MIN_IOU:
                    pairs.append((overlap, before, after))
    predecessor: dict[int, int] = {}
    continued: set[int] = set()
    for _, before, after in sorted(pairs, reverse=True):
        if after not in predecessor and before not in continued:
            predecessor[after] = before
            continued.add(before)
    merged: dict[int, int] = {}
    for number in sorted(predecessor, key=lambda n: tracklets[n].first[0][0]):
        merged[number] = merged.get(predecessor[number], predecessor[number])
    return merged


def merge_wavering(
    together: Mapping[tuple[int, int], int], frames: Mapping[int, int], evidence: Mapping[int, float]
) -> dict[int, int]:
    """Map tracks of one object that was found as two classes: the id with less evidence to the id with more.

    together: (id, id) -> frames in which both masks cover the same; frames, evidence: of each track, the latter the sum of its
    confidences. Two tracks are one object when they lie on each other in `ON_EACH_OTHER` of the shorter one's frames.
    """
    merged: dict[int, int] = {}
    for (a, b), count in sorted(together.items(), key=lambda pair: -pair[1]):
        if count >= ON_EACH_OTHER * min(frames[a], frames[b]) and a not in merged and b not in merged:
            less, more = sorted((a, b), key=lambda number: (evidence[number], -number))
            if more not in merged and less not in merged.values():
                merged[less] = more
    return merged


def _predicted_iou(before: Tracklet, after: Tracklet) -> float:
    """Larger IoU of two extrapolations: `before` forwards to the start of `after`, and `after` backwards."""
    (end, box_a), (start, box_b) = before.last[-1], after.first[0]
    size_a, size_b = (float((box[2:] - box[:2]).prod()) for box in (box_a, box_b))
    if max(size_a, size_b) > MAX_SIZE_RATIO * min(size_a, size_b):
        return 0.0
    gap = start - end
    predicted = box_a + np.tile(_velocity(list(before.last)) * gap, 2)
    backward = box_b - np.tile(_velocity(after.first) * gap, 2)
    return max(iou(predicted, box_b), iou(backward, box_a))


def _velocity(ends: list[tuple[int, NDArray[np.float32]]]) -> NDArray[np.float32]:
    """Velocity of the box centre, (x, y) px per frame."""
    (start, first), (stop, last) = ends[0], ends[-1]
    if stop == start:
        return np.zeros(2, np.float32)
    return np.asarray(((last[:2] + last[2:]) - (first[:2] + first[2:])) / 2 / (stop - start), np.float32)


def iou(a: NDArray, b: NDArray) -> float:
    """Intersection over union of two boxes x0 y0 x1 y1, 0..1."""
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    shared = float(np.clip(high - low, 0, None).prod())
    return shared / max(float((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod()) - shared, 1e-6)
