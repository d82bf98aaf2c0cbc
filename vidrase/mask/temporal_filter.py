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
from vidrase.flow import FlowModel, for_masks
from vidrase.frames import Box, Frame, Instances
from vidrase.mask.morphology import dilate
from vidrase.mask.motion_residual import MotionResidual
from vidrase.motion import Motion, SoftMask, hard, soft_of

# Evidence for mask.*: `rules.py`. Values of constants without a figure have no record yet.
VOTE_REACH = 1  # frames to either side whose propagated masks are united with a frame's own, where the frames agree
VOTES = 1  # how many of those must hold a pixel that the frame's own mask lacks
MAX_EXTRAPOLATION = 4  # frames by which a mask is propagated past the last (or before the first) detection
MIN_DETECTIONS = 3  # detections needed to propagate a mask past them, and frames needed to reject a single one
MIN_SCORE = 0.45  # confidence: a single detection below it counts as false
INSIDE = 224  # of 255: share of a reduced pixel from which on it lies inside a propagated mask, not on its edge
EDGE_PX = 1  # px of the reduced frame: width of that edge
MAX_GROWTH = 1.4  # times the larger of an object's masks before and after: a larger mask is checked against them
SUPPORT_SHARE = 0.02  # of the frame's short side: how far beyond those a mask that is too large may extend
CHECK_REACH = 4  # frames to either side that are searched for those
MIN_KEPT_SHARE = 0.7  # of their area that a cut mask must keep; otherwise the flow is wrong and the mask stays as it is
FAST = 0.3  # of an object's shorter side per frame: for faster objects masks are interpolated as well
MIN_OVERLAP = 0.5  # share of a propagated mask that must overlap an interpolated one, for a hidden or fast object
BORDER_REACH = 6  # frames to either side that are searched for a larger mask of an object at the border
BORDER_BAND = 0.05  # of the frame's long side: band along the border that is completed from such a mask
BORDER_DISTANCE = 0.012  # of the frame's short side: a mask this near to the border touches it
LARGER_FACTOR = 1.25  # times the area of the current mask: from there on another one is larger
MAX_MISSED = 3  # frames between two detections: after more the object was occluded rather than missed


class ObjectMask(NamedTuple):
    """Detected mask of one object in one frame."""

    mask: NDArray[np.bool_]
    corner: tuple[int, int]
    score: float
    soft: SoftMask
    """The same mask at the reduced size of `Motion`."""

    @property
    def crop(self) -> Crop:
        """(mask, corner)."""
        return self.mask, self.corner

    @property
    def reduced(self) -> Crop:
        """(mask, corner) in the reduced frame."""
        return hard(self.soft)


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
    """False for moving parts beside the masks of objects."""


class TemporalMaskFilter:
    """Filters masks of a stream: `add` takes frames in order, `objects` gives the masks of a frame within its window."""

    def __init__(self, flow: FlowModel | None, *, reach: int, shots: Shots | None = None) -> None:
        self._reach = reach
        self._motion = Motion(None if flow is None else for_masks(flow), reach=reach, shots=shots)
        self._motion_residual = MotionResidual(self._motion, reach=reach)
        # (id, source, target) -> (mask in source, warped to target): used by a frame and its neighbours
        self._warped: dict[tuple[int, int, int], tuple[ObjectMask, SoftMask | None]] = {}
        self._checked: dict[tuple[int, int], ObjectMask] = {}  # (frame, id) -> mask after the check of `_checked_mask`

    def add(self, index: int, frame: Frame, instances: Instances, others: Instances | None = None) -> MaskFrame:
        """Add the next frame of the stream, with its chosen instances and all others."""
        crops = _crops(instances)
        self._motion.add(index, frame, _region(crops))
        object_masks: dict[int, ObjectMask] = {}
        for k, (number, crop) in enumerate(zip(instances.ids.tolist(), crops, strict=True)):
            # untracked instances have no other frames; each gets an id of its own
            object_masks[number or -1 - k - 100_000 * (index + 1)] = ObjectMask(
                *crop, float(instances.scores[k]), self._motion.reduce(crop, index)
            )
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
            parts = self._motion_residual.parts(current.index, window, crops)
            if parts is not None:
                yield FrameObject(*parts, whole=False)

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
                own = own_mask if exact else self._checked_mask(number, current.index, window)
                crops = [own.crop]
                if not exact and rules.enabled("mask.union"):
                    crops.append(self._confirmed(number, own, current.index, window, detected))
                if not exact and rules.enabled("mask.leaving"):
                    crops += self._completed_at_border(number, current, window, detected)
            merged = union([crop for crop in crops if crop is not None])
            if merged is not None:
                yield FrameObject(*merged)

    def _confirmed(
        self, number: int, own: ObjectMask, current: int, window: dict[int, MaskFrame], detected: list[int]
    ) -> Crop | None:
        """What neighbours show of an object next to its own mask, where the frames agree; None when they add nothing."""
        votes: list[Crop] = []
        for index in [index for index in detected if 0 < abs(index - current) <= VOTE_REACH]:
            warped = self._warp(number, self._checked_mask(number, index, window), index, current)
            if warped is not None:
                # at the rim lies background with another motion: only the inside tells that something is missing
                inside, (y, x) = warped[0] >= INSIDE, warped[1]
                agreed = self._motion.agreement(current, index)[y : y + inside.shape[0], x : x + inside.shape[1]]
                votes.append((inside & agreed, (y, x)))
        more = _adjacent(own.reduced, _majority(votes))
        if more is None or intersection_area(more, own.reduced) == area(more):
            return None
        return self._motion.enlarge(soft_of(more), current)

    def _filled_in(
        self, number: int, current: MaskFrame, window: dict[int, MaskFrame], detected: list[int]
    ) -> list[Crop | None]:
        """Masks of an object that was not detected in `current`, propagated or interpolated from the frames `detected`."""
        ends = _ends(detected, current.index)
        propagated: list[Crop | None] = []
        for index in ends:
            warped = self._warp(number, self._checked_mask(number, index, window), index, current.index)
            propagated.append(None if warped is None else self._motion.enlarge(warped, current.index))
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
        own = current.object_masks[number]
        (top, left), (rows, columns) = own.corner, own.mask.shape
        reach = BORDER_DISTANCE * min(height, width)
        touches = top <= reach, left <= reach, top + rows >= height - reach, left + columns >= width - reach
        if not any(touches):
            return []
        larger = [
            index
            for index in detected
            if 0 < abs(index - current.index) <= BORDER_REACH
            and area(window[index].object_masks[number].crop) > LARGER_FACTOR * area(own.crop)
        ]
        if not larger:
            return []
        best = min(
            larger, key=lambda index: (abs(index - current.index), -area(window[index].object_masks[number].crop))
        )
        warped = self._warp(number, window[best].object_masks[number], best, current.index)
        if warped is None:
            return []
        mask, (y, x) = self._motion.enlarge(warped, current.index)
        band = round(BORDER_BAND * max(height, width))
        strip = np.zeros(mask.shape, bool)
        strip[: max(band - y, 0) if touches[0] else 0] = True
        strip[:, : max(band - x, 0) if touches[1] else 0] = True
        strip[max(height - band - y, 0) if touches[2] else mask.shape[0] :] = True
        strip[:, max(width - band - x, 0) if touches[3] else mask.shape[1] :] = True
        return [trim((mask & strip, (y, x)))]

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
            reduced, corner = object_mask.reduced
            kept = object_mask.mask
            too_large = area(object_mask.crop) > MAX_GROWTH * max(area(neighbour.crop) for neighbour in neighbours)
            if too_large and rules.enabled("mask.swollen"):
                inside = _within(
                    support, object_mask.soft, round(SUPPORT_SHARE * min(self._motion.reduced_size(index))) + 1
                )
                if np.count_nonzero(reduced & inside) >= MIN_KEPT_SHARE * area(support):
                    kept = kept & self._placed(inside, object_mask, index)
            if after - before == 2 and rules.enabled("mask.static"):
                # both neighbours show the same static background there without the object
                (y, x), (rows, columns) = corner, reduced.shape
                static = self._motion.agreement(index, before)[y : y + rows, x : x + columns]
                static = static & self._motion.agreement(index, after)[y : y + rows, x : x + columns]
                static &= ~_within(support, object_mask.soft, EDGE_PX)
                if (static & reduced).any():
                    kept = kept & ~self._placed(static, object_mask, index)
            crop = trim((kept, object_mask.corner))
            if crop is not None and np.count_nonzero(kept) < np.count_nonzero(object_mask.mask):
                object_mask = ObjectMask(*crop, object_mask.score, self._motion.reduce(crop, index))
        self._checked[index, number] = object_mask
        return object_mask

    def _placed(self, reduced: NDArray[np.bool_], object_mask: ObjectMask, index: int) -> NDArray[np.bool_]:
        """bool [h, w] of the crop of `object_mask`: an area of its reduced crop, at full size."""
        full = self._motion.enlarge(soft_of((reduced, object_mask.soft[1])), index)
        return paste_crop(full, object_mask.corner, object_mask.mask.shape)

    def _propagated(self, number: int, object_mask: ObjectMask, source: int, target: int) -> Crop | None:
        """A mask of frame `source` propagated to `target`, in the reduced frame."""
        warped = self._warp(number, object_mask, source, target)
        return None if warped is None else hard(warped)

    def _warp(self, number: int, object_mask: ObjectMask, source: int, target: int) -> SoftMask | None:
        key = number, source, target
        if key not in self._warped or self._warped[key][0] is not object_mask:
            self._warped[key] = object_mask, self._motion.warp(object_mask.soft, source, target)
        return self._warped[key][1]


def _within(support: Crop, soft: SoftMask, radius: int) -> NDArray[np.bool_]:
    """bool [h, w] of the crop `soft`: pixels within `radius` px of `support`."""
    (y, x), (rows, columns) = soft[1], soft[0].shape
    padded = paste_crop(support, (y - radius, x - radius), (rows + 2 * radius, columns + 2 * radius))
    return dilate(padded, radius)[radius : radius + rows, radius : radius + columns]


def _first_with(number: int, indices: range, window: dict[int, MaskFrame]) -> int | None:
    """The first of the frames `indices` in which object `number` was detected; None: in none of them."""
    return next((index for index in indices if index in window and number in window[index].object_masks), None)


def _is_false_detection(own_mask: ObjectMask, detected: list[int], window: dict[int, MaskFrame]) -> bool:
    """Whether an object was detected with low confidence, and in one frame of the window only."""
    return len(detected) == 1 and len(window) >= MIN_DETECTIONS and own_mask.score < MIN_SCORE


def _crops(found: Instances) -> list[Crop]:
    """(mask, corner) of all instances."""
    return [(mask, (int(y), int(x))) for mask, (y, x) in zip(found.masks, found.corners, strict=True)]


def _region(crops: list[Crop]) -> Box | None:
    """Rows and columns around all masks; None when there are none: a propagated mask may lie anywhere."""
    if not crops:
        return None
    corners = np.array([corner for _, corner in crops])
    ends = corners + np.array([mask.shape for mask, _ in crops])
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
    count, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
    near = dilate(paste_crop(own, (y - 1, x - 1), (mask.shape[0] + 2, mask.shape[1] + 2)), 1)[1:-1, 1:-1]
    touching = np.zeros(count, bool)
    touching[labels[near]] = True
    touching[0] = False
    return touching[labels], more[1]
