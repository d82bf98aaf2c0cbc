"""Motion residual: moving parts of an object that the detector left out (hands, shoes, flying cloth, a racket in full swing).

Neighbouring frames are registered by the camera's motion. A pixel that differs from both neighbours shows something that moves.
If it is connected to an object's mask, and no farther from it than a limb, it belongs to the object.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.camera import CameraMotion, fit_camera
from vidrase.colour import PixelLayout, to_rgb8
from vidrase.crops import Crop, bounds, trim
from vidrase.frames import Box, Frame
from vidrase.mask.morphology import dilate
from vidrase.motion import Motion, hard, reduced_planes, soft_of

# Evidence for mask.motion_residual: `rules.py`. Values of constants without a figure have no record yet.
MIN_DIFFERENCE = 18  # grey levels of the most different channel (3x3 mean): a pixel that differs by more has moved
BACKGROUND_SHARE = 0.95
"""Share of the background that differs by less than the threshold: it rises where leaves move or the camera fit has errors."""
REACH_SHARE = 0.2  # of an object's longer side: how far from its mask a moving part may extend
MIN_REACH = 3.0  # px of the reduced frame: smallest such distance
MIN_BACKGROUND = 200  # px²: with less background the percentile is not used
MOST_SHARE = 0.3  # of the objects' area: a larger residual is discarded, it is no limb
MAX_MOVING_SHARE = 0.25
"""Share of a similar object: if more of it has moved, it is that object that moves, and its area is left out."""
OBJECT_MARGIN = 2  # px of the reduced frame: margin around objects that does not count as background
MIN_SUPPORT = 0.3  # share of the background flow that must agree with the camera motion


class MotionResidual:
    """Detects moving parts in a stream, frame by frame, at the reduced size of `Motion`."""

    def __init__(self, motion: Motion, *, reach: int) -> None:
        self._motion, self._reach = motion, reach
        self._frames: OrderedDict[int, _ReducedFrame] = OrderedDict()
        self._cameras: dict[tuple[int, int], CameraMotion] = {}

    def add(self, index: int, frame: Frame, similar: Sequence[Crop], others: Sequence[Crop]) -> None:
        """Add the next frame, after it was added to `Motion`, with the objects that stay in it.

        similar: objects of the classes that are removed, whose masks may be confused with them. others: objects of other classes.
        """
        self._frames[index] = _ReducedFrame(self._motion, index, *reduced_planes(frame), similar, others)
        while self._frames and next(iter(self._frames)) < index - 2 * self._reach - 1:
            self._frames.popitem(last=False)
        for pair in [pair for pair in self._cameras if min(pair) < index - self._reach - 2]:
            del self._cameras[pair]

    def parts(self, index: int, near: Collection[int], objects: Sequence[Crop]) -> Crop | None:
        """Moving parts beside the masks `objects` of frame `index`, as displayed, in one crop; None when there are none.

        near: indices of frames of the same shot in the window.
        """
        neighbours = [other for other in (index - 1, index + 1) if other in near and other in self._frames]
        if not objects or not neighbours:
            return None
        # all that follows happens in the box in which the flow to a neighbour is known
        spans = [self._motion.part(index, other) for other in neighbours]
        y0, y1 = min(rows.start for rows, _ in spans), max(rows.stop for rows, _ in spans)
        x0, x1 = min(columns.start for _, columns in spans), max(columns.stop for _, columns in spans)
        box, current = (y0, y1, x0, x1), self._frames[index]
        masks = [hard(self._motion.reduce(crop, index)) for crop in objects]
        object_mask, others, similar = _pasted(masks, box), _pasted(current.others(box), box), current.similar(box)
        allowed = _reachable(masks, box)
        static = ~dilate(object_mask | others | _pasted(similar, box), OBJECT_MARGIN)
        differences = [pair for other in neighbours if (pair := self._difference(index, other, box, static))]
        if not differences:
            return None
        (smallest, valid), *more = differences
        for difference, known in more:
            smallest, valid = cv2.min(smallest, difference), valid | known
        background = smallest[static & ~allowed & valid]
        threshold = MIN_DIFFERENCE
        if len(background) > MIN_BACKGROUND:
            shares = np.cumsum(np.bincount(background, minlength=256)) / len(background)
            threshold = max(threshold, int(np.searchsorted(shares, BACKGROUND_SHARE)))
        changed = (valid & (smallest > threshold)).view(np.uint8)
        moving = cv2.morphologyEx(changed, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8)) > 0
        moving &= allowed & ~dilate(others, 1)
        for other in similar:
            there = _pasted([other], box)
            only_other = there & ~object_mask
            if np.count_nonzero(moving & only_other) > MAX_MOVING_SHARE * np.count_nonzero(only_other):
                moving &= ~dilate(there, 1)
        count, labels = cv2.connectedComponents((moving | object_mask).view(np.uint8), connectivity=8)
        touches = np.zeros(count, bool)
        touches[labels[object_mask]] = True
        attached = touches[labels] & moving & ~object_mask
        if not attached.any() or np.count_nonzero(attached) > MOST_SHARE * np.count_nonzero(object_mask):
            return None
        # it overlaps the masks by a pixel so that no gap is left
        found = trim((dilate(attached, 1) & (attached | object_mask), (y0, x0)))
        return None if found is None else trim(self._motion.enlarge(soft_of(found), index))

    def _difference(
        self, index: int, other: int, box: Box, static: NDArray[np.bool_]
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]] | None:
        """Difference of frame `index` to frame `other` registered by the camera motion; None when that is unclear.

        Returns, in the box, (uint8 [h, w] grey levels, bool [h, w] where it is known; elsewhere it is 255).
        """
        y0, y1, x0, x1 = box
        rows, columns = self._motion.part(index, other)
        part = np.s_[rows.start - y0 : rows.stop - y0, columns.start - x0 : columns.stop - x0]
        camera = self._camera(index, other, static[part], (rows.start, columns.start))
        if camera is None:
            return None
        size = columns.stop - columns.start, rows.stop - rows.start
        to_other = camera.homography @ np.array([[1.0, 0, columns.start], [0, 1, rows.start], [0, 0, 1]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        image, target = self._frames[other].rgb, self._frames[index].rgb[rows, columns]
        registered = cv2.warpPerspective(image, to_other, size, flags=flags, borderMode=cv2.BORDER_CONSTANT)
        first, second, third = cv2.split(cv2.absdiff(registered, target))
        largest = cv2.blur(cv2.max(cv2.max(first, second), third), (3, 3))
        known = np.zeros((y1 - y0, x1 - x0), bool)
        known[part] = _inside(to_other, size, image.shape[:2])
        difference = np.full(known.shape, 255, np.uint8)
        np.copyto(difference[part], largest, where=known[part])
        return difference, known

    def _camera(
        self, index: int, other: int, static: NDArray[np.bool_], corner: tuple[int, int]
    ) -> CameraMotion | None:
        """Camera motion from frame `index` to `other`, or the inverse of the opposite one if known; None when it is unclear.

        static: bool [h, w], background in the part of the frame at `corner` (y, x) in which flow is known.
        """
        if (index, other) not in self._cameras:
            opposite = self._cameras.get((other, index))
            if opposite is None:
                flow = self._motion.between(index, other)[self._motion.part(index, other)]
                self._cameras[index, other] = fit_camera(flow, static, origin=corner)
            else:
                self._cameras[index, other] = opposite.inverse()
        camera = self._cameras[index, other]
        return camera if camera.support >= MIN_SUPPORT else None


class _ReducedFrame:
    """A frame at reduced size, as displayed, with the objects that stay in it; both are made when they are asked for."""

    def __init__(
        self,
        motion: Motion,
        index: int,
        planes: tuple[NDArray, ...],
        layout: PixelLayout,
        similar: Sequence[Crop],
        others: Sequence[Crop],
    ) -> None:
        self._motion, self._index, self._planes, self._layout = motion, index, planes, layout
        self._similar, self._others = similar, others

    @cached_property
    def rgb(self) -> NDArray[np.uint8]:
        """uint8 [h, w, 3]."""
        return to_rgb8(self._planes, self._layout)

    def similar(self, box: Box) -> list[Crop]:
        """Objects in a box that may be confused with those that are removed."""
        return self._reduced(self._similar, box)

    def others(self, box: Box) -> list[Crop]:
        """All other objects in a box."""
        return self._reduced(self._others, box)

    def _reduced(self, crops: Sequence[Crop], box: Box) -> list[Crop]:
        (y0, y1, x0, x1), (scale_y, scale_x) = box, self._motion.scale(self._index)
        y0, y1, x0, x1 = int(y0 * scale_y), int(y1 * scale_y) + 1, int(x0 * scale_x), int(x1 * scale_x) + 1
        inside = [
            (mask, (y, x))
            for mask, (y, x) in crops
            if y < y1 and x < x1 and y + mask.shape[0] > y0 and x + mask.shape[1] > x0
        ]
        return [hard(self._motion.reduce(crop, self._index)) for crop in inside]


def _inside(homography: NDArray[np.float64], size: tuple[int, int], shape: tuple[int, ...]) -> NDArray[np.bool_] | bool:
    """bool [h, w]: where a region of `size` (width, height) px is mapped into an image of `shape`; True: everywhere."""
    corners = np.array([[0, 0], [size[0] - 1, 0], [0, size[1] - 1], [size[0] - 1, size[1] - 1]], np.float64)
    x, y = cv2.perspectiveTransform(corners[None], homography)[0].T
    if x.min() >= 0 and y.min() >= 0 and x.max() <= shape[1] - 1 and y.max() <= shape[0] - 1:
        return True
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpPerspective(np.ones(shape, np.uint8), homography, size, flags=flags) > 0)


def _pasted(crops: Sequence[Crop], box: Box) -> NDArray[np.bool_]:
    """bool [h, w] of a box: the union of the crops."""
    y0, y1, x0, x1 = box
    out = np.zeros((y1 - y0, x1 - x0), bool)
    for mask, (y, x) in crops:
        top, left = max(y, y0), max(x, x0)
        bottom, right = min(y + mask.shape[0], y1), min(x + mask.shape[1], x1)
        if bottom > top and right > left:
            out[top - y0 : bottom - y0, left - x0 : right - x0] |= mask[top - y : bottom - y, left - x : right - x]
    return out


def _reachable(masks: Sequence[Crop], box: Box) -> NDArray[np.bool_]:
    """bool [h, w] of a box: where parts of the objects may be."""
    crops = []
    for mask, (y, x) in masks:
        within = bounds(mask)
        if within is None:
            continue
        extent = max(within[1] - within[0], within[3] - within[2])
        radius = round(max(REACH_SHARE * extent, MIN_REACH))
        padded = cv2.copyMakeBorder(mask.view(np.uint8), radius, radius, radius, radius, cv2.BORDER_CONSTANT, value=0)
        crops.append((dilate(padded.view(np.bool_), radius), (y - radius, x - radius)))
    return _pasted(crops, box)
