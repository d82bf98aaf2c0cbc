"""Temporal filter of object masks: missed detections are filled by masks propagated along the flow, and edges do not flicker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.crops import Crop, area, intersection_area, paste_crop, trim, union
from vidrase.cuts import Shots
from vidrase.flow import FlowModel
from vidrase.frames import Frame, Instances
from vidrase.mask.morphology import dilate, erode
from vidrase.mask.motion_residual import MotionResidual
from vidrase.motion import Motion

VOTE_REACH = 1  # frames to either side whose propagated masks are united with a frame's own, where the frames agree
VOTES = 1  # how many of those must hold a pixel that the frame's own mask lacks
MAX_EXTRAPOLATION = 4  # frames by which a mask is propagated past the last (or before the first) detection
MIN_DETECTIONS = 3  # detections needed to propagate a mask past them, and frames needed to reject a single one
MIN_SCORE = 0.45  # confidence: a single detection below it counts as false
ERODE_SHARE = 0.004
"""Of the frame's short side: a propagated mask is eroded by this before it is united with a frame's own."""
MAX_GROWTH = 1.4  # times the larger of an object's masks before and after: a larger mask is checked against them
SUPPORT_SHARE = 0.02  # of the frame's short side: how far beyond those a checked mask may extend
CHECK_REACH = 4  # frames to either side that are searched for those
MIN_KEPT_SHARE = 0.7  # of their area that a cut mask must keep; otherwise the flow is wrong and the mask stays as it is
FAST = 0.3  # of an object's shorter side per frame: for faster objects masks are interpolated as well
MIN_OVERLAP = 0.5  # share of a propagated mask that must overlap an interpolated one, for a hidden or fast object
BORDER_REACH = 6  # frames to either side that are searched for a larger mask of an object at the border
BORDER_BAND = 0.05  # of the frame's long side: band along the border that is completed from such a mask
BORDER_DISTANCE = 0.012  # of the frame's short side: a mask this near to the border touches it
LARGER_FACTOR = 1.25  # times the area of the current mask: from there on another one is larger
MAX_MISSED = 3  # frames between two detections: after more the object was occluded rather than missed
MASK_THRESHOLD = 0.5  # threshold of a warped mask


class ObjectMask(NamedTuple):
    """Detected mask of one object in one frame."""

    mask: NDArray[np.bool_]
    corner: tuple[int, int]
    score: float

    @property
    def crop(self) -> Crop:
        """(mask, corner)."""
        return self.mask, self.corner


@dataclass(frozen=True, slots=True, eq=False)
class MaskFrame:
    """A frame and the masks of the chosen objects in it, by id."""

    index: int
    frame: Frame
    object_masks: dict[int, ObjectMask]


@dataclass(frozen=True, slots=True, eq=False)
class FrameObject:
    """Filtered mask of one object in one frame."""

    mask: NDArray[np.bool_]
    """bool [h, w] crop, displayed."""
    corner: tuple[int, int]
    """(y, x) of the crop."""
    whole: bool = True
    """False for a moving part beside the mask of an object."""


class TemporalMaskFilter:
    """Filters masks of a stream: `add` takes frames in order, `objects` gives the masks of a frame within its window."""

    def __init__(self, flow: FlowModel | None, *, reach: int, shots: Shots | None = None) -> None:
        self._reach = reach
        self._motion = Motion(flow, reach=reach, shots=shots)
        self._motion_residual = MotionResidual(self._motion, reach=reach)
        # (id, source, target) -> (mask in source, warped to target): used by a frame and its neighbours
        self._warped: dict[
            tuple[int, int, int], tuple[ObjectMask, tuple[NDArray[np.float32], tuple[int, int]] | None]
        ] = {}
        self._checked: dict[tuple[int, int], ObjectMask] = {}  # (frame, id) -> mask after the check of `_checked_mask`

    def add(self, index: int, frame: Frame, instances: Instances, others: Instances | None = None) -> MaskFrame:
        """Add the next frame of the stream, with its chosen instances and all others."""
        object_masks: dict[int, ObjectMask] = {}
        for k, number in enumerate(instances.ids.tolist()):
            y, x = instances.corners[k].tolist()
            # untracked instances have no other frames; each gets an id of its own
            crop = (instances.masks[k], (y, x))
            object_masks[number or -1 - k - 100_000 * (index + 1)] = ObjectMask(*crop, float(instances.scores[k]))
        self._motion.add(index, frame, _region(object_masks))
        for key in [key for key in self._checked if key[0] < index - 2 * self._reach]:
            del self._checked[key]
        for warped in [warped for warped in self._warped if min(warped[1:]) < index - self._reach - 2]:
            del self._warped[warped]
        if others is None:
            others = Instances.none(frame.displayed_size)
        is_similar = np.array([label in instances.labels for label in others.labels], bool)
        other_classes = _crops(others.where(~is_similar))
        self._motion_residual.add(index, frame, _crops(others.where(is_similar)), other_classes)
        return MaskFrame(index, frame, object_masks)

    def objects(
        self, before: tuple[MaskFrame, ...], current: MaskFrame, after: tuple[MaskFrame, ...], *, exact: bool = False
    ) -> Iterator[FrameObject]:
        """Masks of the objects in frame `current`. exact: keep detected masks as they are, only fill in missed detections."""
        objects = list(self._filtered_objects(before, current, after, exact=exact))
        yield from objects
        if not exact and rules.enabled("mask.motion_residual"):
            window = {frame.index for frame in (*before, *after) if self._motion.same_shot(frame.index, current.index)}
            crops = [(found.mask, found.corner) for found in objects]
            for object_mask in self._motion_residual.parts(current.index, window, crops, current.frame.displayed_size):
                yield FrameObject(*object_mask, whole=False)

    def _filtered_objects(
        self, before: tuple[MaskFrame, ...], current: MaskFrame, after: tuple[MaskFrame, ...], *, exact: bool
    ) -> Iterator[FrameObject]:
        window = {
            frame.index: frame
            for frame in (*before, current, *after)
            if self._motion.same_shot(frame.index, current.index)
        }
        ids = {number: None for frame in window.values() for number in frame.object_masks}
        for number in ids:
            detected = [index for index in sorted(window) if number in window[index].object_masks]
            own_mask = current.object_masks.get(number)
            if own_mask is None:
                crops = self._filled_in(number, current, window, detected) if rules.enabled("mask.bridge") else []
            elif _is_false_detection(own_mask, detected, window) and number > 0 and rules.enabled("mask.flash"):
                continue
            else:
                unite = not exact and rules.enabled("mask.union")
                neighbours = [i for i in detected if unite and 0 < abs(i - current.index) <= VOTE_REACH]
                votes = [
                    self._propagated(
                        number, self._checked_mask(number, index, window), index, current.index, agreeing=True
                    )
                    for index in neighbours
                ]
                own = own_mask.crop if exact else self._checked_mask(number, current.index, window).crop
                crops = [own, _adjacent(own, _majority([crop for crop in votes if crop is not None]))]
                if not exact and rules.enabled("mask.leaving"):
                    crops += self._completed_at_border(number, current, window, detected)
            merged = union([crop for crop in crops if crop is not None])
            if merged is not None:
                yield FrameObject(*merged)

    def _filled_in(
        self, number: int, current: MaskFrame, window: dict[int, MaskFrame], detected: list[int]
    ) -> list[Crop | None]:
        """Masks of an object that was not detected in `current`, propagated or interpolated from the frames `detected`."""
        ends = _ends(detected, current.index)
        propagated = [
            self._propagated(number, self._checked_mask(number, index, window), index, current.index) for index in ends
        ]
        if len(ends) < 2 or not rules.enabled("mask.between"):
            return propagated
        first, second = (self._checked_mask(number, index, window) for index in ends)
        is_fast = _distance(first, second) > FAST * (ends[1] - ends[0]) * min(*first.mask.shape, *second.mask.shape)
        if not is_fast and ends[1] - ends[0] <= MAX_MISSED:
            return propagated
        fraction = (current.index - ends[0]) / (ends[1] - ends[0])
        interpolated = _interpolated(first, second, fraction, current.frame.displayed_size)
        # the flow may be the occluder's: a propagated mask counts only where it overlaps an interpolated one
        crops = [crop for crop in propagated if crop is not None]
        overlaps = [max(intersection_area(crop, other) for other in interpolated) for crop in crops]
        overlapping = [
            crop for crop, overlap in zip(crops, overlaps, strict=True) if overlap >= MIN_OVERLAP * area(crop)
        ]
        return [*interpolated, *overlapping]

    def _completed_at_border(
        self, number: int, current: MaskFrame, window: dict[int, MaskFrame], detected: list[int]
    ) -> list[Crop | None]:
        """Complete a mask at the frame's border, from a larger mask of a near frame, in a band along the borders it touches.

        Of an object that is half outside the frame detectors see a shoe and miss the coat.
        """
        height, width = current.frame.displayed_size
        band = round(BORDER_BAND * max(height, width))
        strip = np.zeros((height, width), bool)
        own = current.object_masks[number]
        (top, left), (rows, columns) = own.corner, own.mask.shape
        reach = BORDER_DISTANCE * min(height, width)
        strip[: band if top <= reach else 0] = True
        strip[:, : band if left <= reach else 0] = True
        strip[height - band if top + rows >= height - reach else height :] = True
        strip[:, width - band if left + columns >= width - reach else width :] = True
        larger = [
            index
            for index in detected
            if 0 < abs(index - current.index) <= BORDER_REACH
            and area(window[index].object_masks[number].crop) > LARGER_FACTOR * area(own.crop)
        ]
        if not larger or not strip.any():
            return []
        best = min(
            larger, key=lambda index: (abs(index - current.index), -area(window[index].object_masks[number].crop))
        )
        warped = self._propagated(number, window[best].object_masks[number], best, current.index)
        if warped is None:
            return []
        mask, (y, x) = warped
        return [trim((mask & paste_crop((strip, (0, 0)), (y, x), mask.shape), (y, x)))]

    def _checked_mask(self, number: int, index: int, window: dict[int, MaskFrame]) -> ObjectMask:
        """An object's mask in frame `index`, checked against its masks before and after.

        A mask that is much larger than both is cut to their surroundings. Static background in it is removed.
        """
        object_mask = window[index].object_masks[number]
        if (index, number) in self._checked:
            return self._checked[index, number]
        before = _first_with(number, range(index - 1, index - CHECK_REACH - 1, -1), window)
        after = _first_with(number, range(index + 1, index + CHECK_REACH + 1), window)
        if before is None or after is None:
            return object_mask
        neighbours = [window[other].object_masks[number] for other in (before, after)]
        propagated = [
            self._propagated(number, neighbour, other, index)
            for neighbour, other in zip(neighbours, (before, after), strict=True)
        ]
        support = union([crop for crop in propagated if crop is not None])
        if support is not None:
            kept = object_mask.mask
            too_large = area(object_mask.crop) > MAX_GROWTH * max(area(neighbour.crop) for neighbour in neighbours)
            if too_large and rules.enabled("mask.swollen"):
                cut = kept & self._within(support, object_mask, SUPPORT_SHARE)
                kept = cut if np.count_nonzero(cut) >= MIN_KEPT_SHARE * area(support) else kept
            if after - before == 2 and rules.enabled("mask.static"):
                # both neighbours show the same static background there without the object
                static = [
                    self._motion.agreed(object_mask.corner, kept.shape, index, other) for other in (before, after)
                ]
                kept = kept & ~(static[0] & static[1] & ~self._within(support, object_mask, ERODE_SHARE))
            crop = trim((kept, object_mask.corner))
            if crop is not None and np.count_nonzero(kept) < np.count_nonzero(object_mask.mask):
                object_mask = ObjectMask(*crop, object_mask.score)
        self._checked[index, number] = object_mask
        return object_mask

    def _within(self, support: Crop, object_mask: ObjectMask, share: float) -> NDArray[np.bool_]:
        """bool [h, w] of the crop of `piece`: pixels within `share` of the frame's short side of `support`."""
        radius = round(share * self._motion.short_side) + 1
        (y, x), (rows, columns) = object_mask.corner, object_mask.mask.shape
        padded = paste_crop(support, (y - radius, x - radius), (rows + 2 * radius, columns + 2 * radius))
        return dilate(padded, radius)[radius : radius + rows, radius : radius + columns]

    def _propagated(
        self, number: int, object_mask: ObjectMask, source: int, target: int, *, agreeing: bool = False
    ) -> Crop | None:
        """A mask of frame `source` propagated to `target`. agreeing: eroded, and only where the two frames agree."""
        key = number, source, target
        if key not in self._warped or self._warped[key][0] is not object_mask:
            self._warped[key] = object_mask, self._motion.carry(object_mask.mask, object_mask.corner, source, target)
        warped = self._warped[key][1]
        if warped is None:
            return None
        mask, corner = warped[0] >= MASK_THRESHOLD, warped[1]
        if agreeing:
            mask &= self._motion.agreed(corner, mask.shape, target, source)
            # at the rim lies background with another motion: only the inside tells that something is missing
            mask = erode(mask, ERODE_SHARE * self._motion.short_side)
        return mask, corner


def _first_with(number: int, indices: range, window: dict[int, MaskFrame]) -> int | None:
    """The first of the frames `indices` in which object `number` was detected; None: in none of them."""
    return next((index for index in indices if index in window and number in window[index].object_masks), None)


def _is_false_detection(own_mask: ObjectMask, detected: list[int], window: dict[int, MaskFrame]) -> bool:
    """Whether an object was detected with low confidence, and in one frame of the window only."""
    return len(detected) == 1 and len(window) >= MIN_DETECTIONS and own_mask.score < MIN_SCORE


def _crops(found: Instances) -> list[Crop]:
    """(mask, corner) of all instances."""
    return [(mask, (int(y), int(x))) for mask, (y, x) in zip(found.masks, found.corners, strict=True)]


def _region(object_masks: dict[int, ObjectMask]) -> tuple[int, int, int, int] | None:
    """Rows and columns around all masks; None when there are none: a propagated mask may lie anywhere."""
    if not object_masks:
        return None
    corners = np.array([object_mask.corner for object_mask in object_masks.values()])
    ends = corners + np.array([object_mask.mask.shape for object_mask in object_masks.values()])
    (y0, x0), (y1, x1) = corners.min(0).tolist(), ends.max(0).tolist()
    return y0, y1, x0, x1


def _distance(first: ObjectMask, second: ObjectMask) -> float:
    """Distance between the centers of two crops, px."""
    centers = [np.add(object_mask.corner, np.divide(object_mask.mask.shape, 2)) for object_mask in (first, second)]
    return float(np.hypot(*(centers[1] - centers[0])))


def _ends(detected: list[int], current: int) -> list[int]:
    """Frames from which a missed object is propagated to frame `current`: the nearest detections before and after it."""
    past, future = [index for index in detected if index < current], [index for index in detected if index > current]
    if past and future:
        return [past[-1], future[0]]
    if len(detected) < MIN_DETECTIONS:
        return []
    nearest = past[-1] if past else future[0]
    return [nearest] if abs(nearest - current) <= MAX_EXTRAPOLATION else []


def _majority(parts: list[Crop]) -> Crop | None:
    """The pixels that at least `VOTES` of the crops hold, as one crop."""
    return union(parts, VOTES if len(parts) > VOTES else 1)


def _interpolated(first: ObjectMask, second: ObjectMask, fraction: float, size: tuple[int, int]) -> list[Crop]:
    """Both masks moved to the position at `fraction` (0..1) between them, by uniform motion: the flow there is the occluder's."""
    centers = [np.add(object_mask.corner, np.divide(object_mask.mask.shape, 2)) for object_mask in (first, second)]
    center = centers[0] + (centers[1] - centers[0]) * fraction
    out: list[Crop] = []
    for object_mask in (first, second):
        y, x = np.rint(center - np.divide(object_mask.mask.shape, 2)).astype(int).tolist()
        mask = object_mask.mask[max(-y, 0) : max(size[0] - y, 0), max(-x, 0) : max(size[1] - x, 0)]
        out.append((mask, (max(y, 0), max(x, 0))))
    return out


def _adjacent(own: Crop, more: Crop | None) -> Crop | None:
    """The connected parts of `more` that touch `own`: isolated parts are errors of the flow."""
    if more is None:
        return None
    mask, (y, x) = more
    count, labels, _, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    margin = 2
    own_mask = np.zeros((mask.shape[0] + 2 * margin, mask.shape[1] + 2 * margin), np.uint8)
    top, left = own[1][0] - y + margin, own[1][1] - x + margin
    rows = slice(max(top, 0), max(top + own[0].shape[0], 0))
    columns = slice(max(left, 0), max(left + own[0].shape[1], 0))
    part = own[0][max(-top, 0) :, max(-left, 0) :]
    target = own_mask[rows, columns]
    target[:] = part[: target.shape[0], : target.shape[1]]
    near = cv2.dilate(own_mask, np.ones((2 * margin + 1, 2 * margin + 1), np.uint8))[margin:-margin, margin:-margin] > 0
    touching = np.zeros(count, bool)
    touching[np.unique(labels[near])] = True
    touching[0] = False
    return touching[labels], more[1]
