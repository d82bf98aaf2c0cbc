"""Motion residual: moving parts of an object that the detector left out (hands, shoes, flying cloth, a racket in full swing).

Neighbouring frames are registered by the camera's motion. A pixel that differs from both neighbours shows something that moves.
If it is connected to an object's mask, and no farther from it than a limb, it belongs to the object.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.camera import CameraMotion, fit_camera
from vidrase.crops import Crop, paste_crop, trim
from vidrase.frames import Frame
from vidrase.mask.morphology import dilate
from vidrase.motion import Motion

MIN_DIFFERENCE = 18.0  # grey levels of the most different channel (3x3 mean): a pixel that differs by more has moved
BACKGROUND_PERCENTILE = 95
"""Percentile of that over the background: if it is higher it is the threshold (leaves move, the camera fit has errors)."""
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
        self._images: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        self._other_objects: dict[int, NDArray[np.bool_]] = {}
        self._cameras: dict[tuple[int, int], CameraMotion] = {}
        self._similar: dict[int, list[NDArray[np.bool_]]] = {}

    def add(self, index: int, frame: Frame, similar: Sequence[Crop], others: Sequence[Crop]) -> None:
        """Add the next frame, after it was added to `Motion`, with the objects that stay in it.

        similar: objects of the classes that are removed, whose masks may be confused with them. others: objects of other classes.
        """
        size = self._motion.reduced
        self._images[index] = frame.rgb(size=size)
        self._similar[index] = [self._reduced([other], frame.displayed_size) for other in similar]
        self._other_objects[index] = self._reduced(others, frame.displayed_size)
        while self._images and next(iter(self._images)) < index - 2 * self._reach - 1:
            oldest, _ = self._images.popitem(last=False)
            del self._similar[oldest], self._other_objects[oldest]
        for pair in [pair for pair in self._cameras if min(pair) < index - self._reach - 2]:
            del self._cameras[pair]

    def parts(self, index: int, near: Collection[int], objects: Sequence[Crop], size: tuple[int, int]) -> list[Crop]:
        """Moving parts beside the masks `objects` of frame `index`: one crop for each connected part.

        near: indices of frames of the same shot in the window. size: (height, width) of the displayed frame.
        """
        neighbours = [other for other in (index - 1, index + 1) if other in near and other in self._images]
        if not objects or not neighbours:
            return []
        masks = [self._reduced([crop], size) for crop in objects]
        object_mask, similar, others = np.logical_or.reduce(masks), self._similar[index], self._other_objects[index]
        allowed = np.logical_or.reduce([_reachable(mask) for mask in masks])
        static = ~dilate(np.logical_or.reduce([object_mask, others, *similar]), OBJECT_MARGIN)
        differences = [pair for other in neighbours if (pair := self._difference(index, other, static)) is not None]
        if not differences:
            return []
        smallest = np.minimum.reduce([difference for difference, _ in differences])
        valid = np.logical_or.reduce([mask for _, mask in differences])
        background = smallest[static & ~allowed & valid]
        threshold = MIN_DIFFERENCE
        if len(background) > MIN_BACKGROUND:
            threshold = max(threshold, float(np.percentile(background, BACKGROUND_PERCENTILE)))
        changed = (valid & (smallest > threshold)).view(np.uint8)
        moving = cv2.morphologyEx(changed, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8)) > 0
        moving &= allowed & ~dilate(others, 1)
        for other in similar:
            only_other = other & ~object_mask
            if np.count_nonzero(moving & only_other) > MAX_MOVING_SHARE * np.count_nonzero(only_other):
                moving &= ~dilate(other, 1)
        _, labels = cv2.connectedComponents((moving | object_mask).view(np.uint8), connectivity=8)
        attached = np.isin(labels, np.unique(labels[object_mask])) & moving & ~object_mask
        if not attached.any() or np.count_nonzero(attached) > MOST_SHARE * np.count_nonzero(object_mask):
            return []
        return self._parts_at_frame_size(attached, object_mask, size)

    def _difference(
        self, index: int, other: int, static: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]] | None:
        """Difference of frame `index` to frame `other` registered by the camera motion; None when that is unclear.

        Returns (float32 [h, w] grey levels, bool [h, w] where it is known; elsewhere it is infinite).
        """
        rows, columns = self._motion.part(index, other)
        part = np.zeros_like(static)
        part[rows, columns] = True
        camera = self._camera(index, other, static & part)
        if camera is None:
            return None
        image, height, width = self._images[other], *static.shape
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        registered = cv2.warpPerspective(
            image, camera.homography, (width, height), flags=flags, borderMode=cv2.BORDER_CONSTANT
        )
        inside = cv2.warpPerspective(
            np.ones((height, width), np.uint8), camera.homography, (width, height), flags=flags
        )
        difference = cv2.blur(cv2.absdiff(registered, self._images[index]).max(2).astype(np.float32), (3, 3))
        known = part & (inside > 0)
        return np.where(known, difference, np.float32(np.inf)), known

    def _camera(self, index: int, other: int, static: NDArray[np.bool_]) -> CameraMotion | None:
        """Camera motion from frame `index` to `other`, or the inverse of the opposite one if known; None when it is unclear."""
        if (index, other) not in self._cameras:
            opposite = self._cameras.get((other, index))
            camera = fit_camera(self._motion.between(index, other), static) if opposite is None else opposite.inverse()
            self._cameras[index, other] = camera
        camera = self._cameras[index, other]
        return camera if camera.support >= MIN_SUPPORT else None

    def _reduced(self, crops: Sequence[Crop], size: tuple[int, int]) -> NDArray[np.bool_]:
        """bool [h, w] of the reduced frame: the union of the crops."""
        out = np.zeros(self._motion.reduced, bool)
        scale_y, scale_x = out.shape[0] / size[0], out.shape[1] / size[1]
        for mask, (y, x) in crops:
            y0, x0 = int(y * scale_y), int(x * scale_x)
            y1 = min(int(np.ceil((y + mask.shape[0]) * scale_y)), out.shape[0])
            x1 = min(int(np.ceil((x + mask.shape[1]) * scale_x)), out.shape[1])
            if y1 > y0 and x1 > x0:
                window = (round(y0 / scale_y), round(x0 / scale_x))
                extent = (max(round((y1 - y0) / scale_y), 1), max(round((x1 - x0) / scale_x), 1))
                padded = paste_crop((mask, (y, x)), window, extent)
                small = cv2.resize(padded.view(np.uint8) * 255, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
                out[y0:y1, x0:x1] |= small >= 128
        return out

    def _parts_at_frame_size(
        self, attached: NDArray[np.bool_], object_mask: NDArray[np.bool_], size: tuple[int, int]
    ) -> list[Crop]:
        """Each connected part at frame size; it overlaps the masks by a pixel so that no gap is left."""
        count, labels, stats, _ = cv2.connectedComponentsWithStats(
            (dilate(attached, 1) & (attached | object_mask)).view(np.uint8), connectivity=8
        )
        height, width = attached.shape
        scale_y, scale_x = size[0] / height, size[1] / width
        out = []
        for number in range(1, count):
            x, y, w, h, _ = stats[number].tolist()
            y0, x0, y1, x1 = max(y - 1, 0), max(x - 1, 0), min(y + h + 1, height), min(x + w + 1, width)
            soft = (labels[y0:y1, x0:x1] == number).astype(np.float32)
            top, left = round(y0 * scale_y), round(x0 * scale_x)
            rows, columns = round(y1 * scale_y) - top, round(x1 * scale_x) - left
            fine = cv2.resize(soft, (columns, rows), interpolation=cv2.INTER_LINEAR) >= 0.5
            piece = trim((fine, (top, left)))
            if piece is not None:
                out.append(piece)
        return out


def _reachable(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """bool [h, w]: where parts of the object in `mask` may be."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return mask
    extent = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    return dilate(mask, max(REACH_SHARE * extent, MIN_REACH))
