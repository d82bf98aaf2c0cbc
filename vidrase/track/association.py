"""Which detections show one thing: told by where each thing was a moment ago.

A tracker compares boxes. A dancer whose arm goes up, or who turns upside down, is then found twice (legs under her own id, all of
her under that of somebody lost), or all of her only weakly. Carried along the motion, the mask of the last look says who is who.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vidrase.crops import Crop, area, shared, united
from vidrase.frames import Instances
from vidrase.labels import GROUP_OF
from vidrase.motion import Motion
from vidrase.track.interpolate import bounding_region

OWN_IOU = 0.4  # IoU of a detection with where its id is expected, above which nobody else may claim it
UNMOVED_IOU = 0.7  # IoU with where it lay at the last look, above which that need not be worked out
PART_SHARE = 0.6  # share of a detection that has to lie where a thing is expected for it to be part of that thing
WHOLE_SHARE = 0.75  # share of what is known of a thing that a larger detection of it holds
MIN_AREA_RATIO = 0.8  # of the area expected, below which a detection has missed some of the thing
MAX_AREA_RATIO = 1.6  # times the area expected, beyond which a detection is of more than the thing
DUPLICATE_SHARE = 0.5  # share of the smaller mask that has to lie on the other for the two to be one thing
MIN_CONFIDENCE_RATIO = 0.6  # times its own confidence, below which a thing's is too low to claim a detection
MAX_MISSED_DETECTIONS = 3  # looks for which the last whole mask of a thing says where it is
MIN_MASK_SHARE = 0.5  # share of a carried pixel that has to be mask


class LastMask(NamedTuple):
    """A thing as one detection last showed all of it."""

    frame: int
    crop: Crop
    label: str
    missed: int
    """How long ago."""


class MaskAssociation:
    """One shot after another: `associate` takes a frame's detections with the tracker's ids and says what they show."""

    def __init__(self, motion: Motion) -> None:
        self._motion = motion
        self.new_shot()

    def new_shot(self) -> None:
        """Forget what was seen."""
        self._last: dict[int, LastMask] = {}
        self._predicted: dict[int, Crop | None] = {}
        self._confidence: dict[int, float] = {}  # confidence of each thing over the last few looks

    def associate(self, index: int, detections: Instances, ids: NDArray[np.int64]) -> Instances:
        """What is in frame `index`: detections of one thing as one, with its id; what is nobody's part and has no id goes.

        ids: [K], 0 for detections too weak to count on their own.
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
        """`ids` with 0 for what is much larger than its thing and much less sure: a tree that the thing goes by."""
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
        """Where a thing seen a moment ago should be in frame `index`; None when that is not known."""
        if number not in self._predicted:
            last = self._last.get(number)
            self._predicted[number] = None
            if last is not None and self._motion.same_shot(last.frame, index):
                moved = self._motion.carry(*last.crop, last.frame, index)
                if moved is not None and (mask := moved[0] >= MIN_MASK_SHARE).any():
                    self._predicted[number] = mask, moved[1]
        return self._predicted[number]

    def _claims(self, index: int, detections: Instances, ids: NDArray[np.int64], crops: list[Crop]) -> dict[int, int]:
        """Detection -> the thing that it is part of, where that is another than the tracker says.

        Only things whose own detection is missing or lacks something take others in.
        """
        areas = [area(crop) for crop in crops]
        groups = [GROUP_OF.get(label, label) for label in detections.labels]
        claims: dict[int, tuple[int, int]] = {}  # detection -> (shared px, thing)
        own = {int(number): k for k, number in enumerate(ids) if number}
        for k in [
            k for k in range(len(crops)) if ids[k] and int(ids[k]) not in self._confidence
        ]:  # seen for the first time
            for number, other in own.items():
                known = number in self._confidence and groups[other] == groups[k]
                if known and shared(crops[k], crops[other]) >= WHOLE_SHARE * areas[k]:
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
            if own_detection is not None and shared(crops[own_detection], predicted) >= MIN_AREA_RATIO * size:
                continue
            for k in near:
                if self._confidence[number] < MIN_CONFIDENCE_RATIO * detections.scores[k]:
                    continue
                if ids[k] and _iou(crops[k], self.predicted_mask(int(ids[k]), index)) > OWN_IOU:
                    continue
                common = shared(crops[k], predicted)
                if (
                    common >= PART_SHARE * areas[k]
                    or _shows_whole(crops[k], predicted, None if own_detection is None else crops[own_detection])
                ) and (k not in claims or claims[k][0] < common):
                    claims[k] = common, number
        return {k: number for k, (_, number) in claims.items()}

    def _unmoved(self, number: int, crop: Crop) -> bool:
        """Whether a detection lies where the thing with its id lay: seen without carrying anything, which takes its time."""
        last = self._last.get(number)
        return last is not None and _iou(crop, last.crop) > UNMOVED_IOU

    def _attach_weak(self, detections: Instances, owner: NDArray[np.int64], crops: list[Crop]) -> None:
        """Give weak detections to one of the same class that they mostly lie on: a second look at it.

        A weak detection of a thing that has a strong one often shows the arm or the shoe that the other lacks.
        """
        areas = [area(crop) for crop in crops]
        strong = np.flatnonzero(owner).tolist()
        for weak in np.flatnonzero(owner == 0).tolist():
            best, share = 0, DUPLICATE_SHARE
            for k in strong:
                if detections.labels[k] == detections.labels[weak] and areas[weak] <= MAX_AREA_RATIO * areas[k]:
                    on = shared(crops[k], crops[weak]) / max(min(areas[k], areas[weak]), 1)
                    if on > share:
                        best, share = int(owner[k]), on
            owner[weak] = best

    def _update_last_masks(
        self, index: int, detections: Instances, owner: NDArray[np.int64], crops: list[Crop]
    ) -> None:
        """Keep the masks of single detections: pieces put together would take in a little more of the surroundings each time."""
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
                is_whole = True  # seen without carrying anything, which takes its time
            elif last is not None and (predicted := self.predicted_mask(number, index)) is not None:
                is_whole = _similar_area(size, area(predicted))
            else:
                others = [
                    shared(crops[k], crop)
                    for n, one in before.items()
                    if n != number and _near(crops[k], one.crop) and (crop := self.predicted_mask(n, index))
                ]
                is_whole = max(others, default=0) < PART_SHARE * size
            if is_whole:
                self._last[number] = LastMask(index, crops[k], detections.labels[k], 1)


def _shows_whole(crop: Crop, predicted: Crop, own_detection: Crop | None) -> bool:
    """Whether a detection shows all of the thing expected in `predicted`, of which its own detection shows `own_detection`."""
    size = area(crop)
    if size > MAX_AREA_RATIO * area(predicted):
        return False
    if shared(crop, predicted) >= WHOLE_SHARE * area(predicted):
        return True
    return (
        own_detection is not None
        and shared(crop, own_detection) >= WHOLE_SHARE * area(own_detection)
        and _iou(crop, predicted) > OWN_IOU
    )


def _iou(a: Crop, b: Crop | None) -> float:
    """Intersection over union, 0..1."""
    if b is None:
        return 0.0
    common = shared(a, b)
    return common / max(area(a) + area(b) - common, 1)


def _similar_area(size: int, before: int) -> bool:
    """Whether a mask may be all of a thing and nothing else, by its area in px²."""
    return MIN_AREA_RATIO * before <= size <= MAX_AREA_RATIO * before


def _near(a: Crop, b: Crop) -> bool:
    """Whether two crops overlap, or would with half of the second one's size round it: so far it may have moved."""
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
    """One instance for each thing of `owner` (0: nobody's), in the order of their first detections."""
    members: dict[int, list[int]] = {}
    for k in np.flatnonzero(owner):
        members.setdefault(int(owner[k]), []).append(int(k))
    objects = []
    for number, members_of in members.items():
        # the tracker's own choice speaks for the thing, else the surest
        first = next((k for k in members_of if ids[k] == number), max(members_of, key=lambda k: detections.scores[k]))
        objects.append((number, first, members_of))
    whole = {number: united([crops[k] for k in members_of]) for number, _, members_of in objects}
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
    )


def _box(crop: Crop | None) -> tuple[int, int, int, int]:
    assert crop is not None
    (y, x), (rows, columns) = crop[1], crop[0].shape
    return x, y, x + columns, y + rows
