"""Associate detections with objects by predicted masks.

A tracker compares boxes. When a dancer raises an arm or turns upside down, the detector may give two detections (the legs under
her own id, the whole body under the id of a lost track) or only a weak one of the whole body. The last mask of each object,
warped to this frame along the motion, decides which detection belongs to which object.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vidrase.crops import Crop, area, intersection_area, union
from vidrase.frames import Instances
from vidrase.labels import GROUP_OF
from vidrase.motion import Motion
from vidrase.track.interpolate import bounding_region

# IoU of a detection with its own object's predicted mask; above it no other object may claim the detection
OWN_IOU = 0.4
# IoU of a detection with its object's last mask; above it the object has not moved and no prediction is needed
UNMOVED_IOU = 0.7
# share of a detection inside an object's predicted mask; from here on the detection is part of that object
PART_SHARE = 0.6
# share of an object's predicted mask inside a larger detection; from here on the detection shows the whole object
WHOLE_SHARE = 0.75
MIN_AREA_RATIO = 0.8  # detection area / predicted area; below it the detection misses a part of the object
MAX_AREA_RATIO = 1.6  # detection area / predicted area; above it the detection contains more than the object
DUPLICATE_SHARE = 0.5  # share of the smaller mask inside the larger one; above it both are the same object
# object's mean confidence / detection's confidence; below it the object may not claim the detection
MIN_CONFIDENCE_RATIO = 0.6
MAX_MISSED_DETECTIONS = 3  # detections; a last mask older than this is not used any more


class LastMask(NamedTuple):
    """The last detection that showed a whole object."""

    frame: int
    crop: Crop
    label: str
    missed: int
    """Number of detected frames since then."""


class MaskAssociation:
    """`associate` corrects the tracker's ids of one frame's detections. Frames come in order; `new_shot` resets."""

    def __init__(self, motion: Motion) -> None:
        self._motion = motion
        self.new_shot()

    def new_shot(self) -> None:
        """Forget all objects."""
        self._last: dict[int, LastMask] = {}
        self._predicted: dict[int, Crop | None] = {}
        self._confidence: dict[int, float] = {}  # mean confidence of each object over recent detections

    def associate(self, index: int, detections: Instances, ids: NDArray[np.int64]) -> Instances:
        """Instances of frame `index`: detections of the same object merged; weak detections that belong to no object are removed.

        ids: [K] of the tracker, 0 for weak detections.
        """
        self._predicted = {}
        corners = [(int(y), int(x)) for y, x in detections.corners]
        crops: list[Crop] = list(zip(detections.masks, corners, strict=True))
        self._motion.focus(index, bounding_region([detections]))
        ids = self._drop_doubtful(index, detections, ids, crops)
        owner = ids.copy()
        for k, number in self._claims(index, detections, ids, crops).items():
            owner[k] = number
        self._attach_weak(detections, owner, crops)
        self._update_last_masks(index, detections, owner, crops)
        joined = _merge_detections(detections, ids, owner, crops)
        for number, score in zip(joined.ids.tolist(), joined.scores.tolist(), strict=True):
            self._confidence[number] = (self._confidence.get(number, score) + score) / 2
        return joined

    def _drop_doubtful(
        self, index: int, detections: Instances, ids: NDArray[np.int64], crops: list[Crop]
    ) -> NDArray[np.int64]:
        """`ids` with 0 for detections much larger than their object and much less confident, such as a tree behind it."""
        ids = ids.copy()
        for k in np.flatnonzero(ids).tolist():
            number = int(ids[k])
            last = self._last.get(number)
            if (
                last is None
                or detections.scores[k] >= MIN_CONFIDENCE_RATIO * self._confidence[number]
                or area(crops[k]) <= MAX_AREA_RATIO * area(last.crop)
            ):
                continue
            predicted = self.predicted_mask(number, index)
            if predicted is not None and area(crops[k]) > MAX_AREA_RATIO * area(predicted):
                ids[k] = 0
        return ids

    def predicted_mask(self, number: int, index: int) -> Crop | None:
        """Predicted mask of object `number` in frame `index`; None when it is unknown."""
        if number not in self._predicted:
            last = self._last.get(number)
            self._predicted[number] = None
            if last is not None and self._motion.same_shot(last.frame, index):
                moved = self._motion.carry(last.crop, last.frame, index)
                if moved is not None and moved[0].any():
                    self._predicted[number] = moved
        return self._predicted[number]

    def _claims(self, index: int, detections: Instances, ids: NDArray[np.int64], crops: list[Crop]) -> dict[int, int]:
        """Map detection -> the object that it belongs to, where this differs from the tracker's id.

        Only an object whose own detection is missing or incomplete claims others.
        """
        areas = [area(crop) for crop in crops]
        groups = [GROUP_OF.get(label, label) for label in detections.labels]
        claims: dict[int, tuple[int, int]] = {}  # detection -> (overlap in px, object)
        own = {int(number): k for k, number in enumerate(ids) if number}
        for k in [k for k in range(len(crops)) if ids[k] and int(ids[k]) not in self._confidence]:  # new ids
            for number, other in own.items():
                known = number in self._confidence and groups[other] == groups[k]
                if known and intersection_area(crops[k], crops[other]) >= WHOLE_SHARE * areas[k]:
                    claims[k] = areas[k], number
        for number, last in self._last.items():
            group, own_detection = GROUP_OF.get(last.label, last.label), own.get(number)
            if own_detection is not None and areas[own_detection] >= area(last.crop):
                continue
            near = [
                k
                for k in range(len(crops))
                if k != own_detection
                and groups[k] == group
                and not self._unmoved(int(ids[k]), crops[k])
                and _near(crops[k], last.crop)
            ]
            predicted = self.predicted_mask(number, index) if near else None
            if predicted is None:
                continue
            size = area(predicted)
            if (
                own_detection is not None
                and intersection_area(crops[own_detection], predicted) >= MIN_AREA_RATIO * size
            ):
                continue
            for k in near:
                if self._confidence[number] < MIN_CONFIDENCE_RATIO * detections.scores[k]:
                    continue
                if ids[k] and _iou(crops[k], self.predicted_mask(int(ids[k]), index)) > OWN_IOU:
                    continue
                common = intersection_area(crops[k], predicted)
                if (
                    common >= PART_SHARE * areas[k]
                    or _shows_whole(crops[k], predicted, None if own_detection is None else crops[own_detection])
                ) and (k not in claims or claims[k][0] < common):
                    claims[k] = common, number
        return {k: number for k, (_, number) in claims.items()}

    def _unmoved(self, number: int, crop: Crop) -> bool:
        """Whether a detection overlaps its object's last mask. This test is cheaper than a prediction."""
        last = self._last.get(number)
        return last is not None and _iou(crop, last.crop) > UNMOVED_IOU

    def _attach_weak(self, detections: Instances, owner: NDArray[np.int64], crops: list[Crop]) -> None:
        """Assign each weak detection to the object of the same class that contains most of it.

        A weak second detection often shows an arm or a shoe that the strong one misses.
        """
        areas = [area(crop) for crop in crops]
        strong = np.flatnonzero(owner).tolist()
        for weak in np.flatnonzero(owner == 0).tolist():
            best, share = 0, DUPLICATE_SHARE
            for k in strong:
                if detections.labels[k] == detections.labels[weak] and areas[weak] <= MAX_AREA_RATIO * areas[k]:
                    on = intersection_area(crops[k], crops[weak]) / max(min(areas[k], areas[weak]), 1)
                    if on > share:
                        best, share = int(owner[k]), on
            owner[weak] = best

    def _update_last_masks(
        self, index: int, detections: Instances, owner: NDArray[np.int64], crops: list[Crop]
    ) -> None:
        """Store masks of single detections. Merged masks would grow into the background from frame to frame."""
        largest: dict[int, tuple[int, int]] = {}
        for k in np.flatnonzero(owner).tolist():
            largest[int(owner[k])] = max(largest.get(int(owner[k]), (0, -1)), (area(crops[k]), k))
        before = self._last
        self._last = {
            n: last._replace(missed=last.missed + 1)
            for n, last in before.items()
            if last.missed < MAX_MISSED_DETECTIONS
        }
        for number, (size, k) in largest.items():
            last = self._last.get(number)
            if last is not None and _similar_area(size, area(last.crop)):
                is_whole = True  # no prediction needed, which costs time
            elif last is not None and (predicted := self.predicted_mask(number, index)) is not None:
                is_whole = _similar_area(size, area(predicted))
            else:
                others = [
                    intersection_area(crops[k], crop)
                    for n, one in before.items()
                    if n != number and _near(crops[k], one.crop) and (crop := self.predicted_mask(n, index))
                ]
                is_whole = max(others, default=0) < PART_SHARE * size
            if is_whole:
                self._last[number] = LastMask(index, crops[k], detections.labels[k], 1)


def _shows_whole(crop: Crop, predicted: Crop, own_detection: Crop | None) -> bool:
    """Whether a detection shows the whole object with mask `predicted`; `own_detection`: the object's own detection, if any."""
    size = area(crop)
    if size > MAX_AREA_RATIO * area(predicted):
        return False
    if intersection_area(crop, predicted) >= WHOLE_SHARE * area(predicted):
        return True
    return (
        own_detection is not None
        and intersection_area(crop, own_detection) >= WHOLE_SHARE * area(own_detection)
        and _iou(crop, predicted) > OWN_IOU
    )


def _iou(a: Crop, b: Crop | None) -> float:
    """Intersection over union, 0..1."""
    if b is None:
        return 0.0
    common = intersection_area(a, b)
    return common / max(area(a) + area(b) - common, 1)


def _similar_area(size: int, before: int) -> bool:
    """Whether `size` fits the object's area `before`, both in px²: neither incomplete nor merged with something else."""
    return MIN_AREA_RATIO * before <= size <= MAX_AREA_RATIO * before


def _near(a: Crop, b: Crop) -> bool:
    """Whether `a` overlaps `b` enlarged by half its size on each side, the distance that it may have moved."""
    (rows, columns), (y, x) = b[0].shape, b[1]
    return (
        a[1][0] < y + 1.5 * rows
        and a[1][0] + a[0].shape[0] > y - 0.5 * rows
        and a[1][1] < x + 1.5 * columns
        and a[1][1] + a[0].shape[1] > x - 0.5 * columns
    )


def _merge_detections(
    detections: Instances, ids: NDArray[np.int64], owner: NDArray[np.int64], crops: list[Crop]
) -> Instances:
    """One instance per object in `owner` (0: no object), ordered by first detection."""
    members: dict[int, list[int]] = {}
    for k in np.flatnonzero(owner):
        members.setdefault(int(owner[k]), []).append(int(k))
    objects = []
    for number, members_of in members.items():
        # the detection with the tracker's own id represents the object, otherwise the most confident one
        first = next((k for k in members_of if ids[k] == number), max(members_of, key=lambda k: detections.scores[k]))
        objects.append((number, first, members_of))
    whole = {number: union([crops[k] for k in members_of]) for number, _, members_of in objects}
    objects = [one for one in objects if whole[one[0]] is not None]
    masks = [whole[number] for number, _, _ in objects]
    firsts = [first for _, first, _ in objects]
    boxes = [
        detections.boxes[first] if len(members_of) == 1 else _box(crop)
        for (_, first, members_of), crop in zip(objects, masks, strict=True)
    ]
    return Instances(
        np.array([number for number, _, _ in objects], np.int64),
        tuple(detections.labels[k] for k in firsts),
        np.array([max(detections.scores[k] for k in members_of) for _, _, members_of in objects], np.float32),
        np.array(boxes, np.float32).reshape(-1, 4),
        tuple(crop[0] for crop in masks if crop is not None),
        np.array([crop[1] for crop in masks if crop is not None], np.int32).reshape(-1, 2),
        detections.size,
        tuple(detections.rivals[k] for k in firsts) if detections.rivals else (),
    )


def _box(crop: Crop | None) -> tuple[int, int, int, int]:
    assert crop is not None
    (y, x), (rows, columns) = crop[1], crop[0].shape
    return x, y, x + columns, y + rows
