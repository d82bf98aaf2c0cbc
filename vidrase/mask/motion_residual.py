"""What moves with a thing and hangs on it, though the detector left it out: hands, shoes, flying cloth, a racket in full swing.

A picture that differs from both its neighbours, once the camera's motion is taken out, shows something that was elsewhere before
and will be elsewhere after. Where that touches a thing's mask and goes no farther than a limb, it is the thing's.
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

UNLIKE = 18.0  # grey levels of the most different channel (3x3 mean) from which a pixel is not what was there before
RESTLESS = 95  # percentile of that over the background; where it is higher, leaves or the fit of the camera make the difference
REACH_SHARE = 0.2  # of a thing's size: how far from its mask a trace may go
LEAST_REACH = 3.0  # px of the reduced picture
ENOUGH = 200  # px of background that tell how restless it is
MOST_SHARE = 0.3  # of the things' area; more than that is no limb
LIVELY = 0.25  # share of somebody else, above which it is they that move there, not a hand before them
RIM = 2  # px of the reduced picture round a thing that are as doubtful as the mask's edge
LEAST_SUPPORT = 0.3  # share of the background that has to follow one camera


class MotionResidual:
    """Reads a stream frame by frame, beside `Motion`, at whose reduced size it works."""

    def __init__(self, motion: Motion, *, reach: int) -> None:
        self._motion, self._reach = motion, reach
        self._pictures: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        self._apart: dict[int, NDArray[np.bool_]] = {}
        self._cameras: dict[tuple[int, int], CameraMotion] = {}
        self._others: dict[int, list[NDArray[np.bool_]]] = {}

    def add(self, place: int, frame: Frame, others: Sequence[Crop], apart: Sequence[Crop]) -> None:
        """The next frame, after `Motion` has seen it, and what stays in it.

        others: things like those that go, which the detector does not always tell from them; apart: things of other classes.
        """
        size = self._motion.reduced
        self._pictures[place] = frame.rgb(size=size)
        self._others[place] = [self._small([other], frame.displayed_size) for other in others]
        self._apart[place] = self._small(apart, frame.displayed_size)
        while self._pictures and next(iter(self._pictures)) < place - 2 * self._reach - 1:
            oldest, _ = self._pictures.popitem(last=False)
            del self._others[oldest], self._apart[oldest]
        for pair in [pair for pair in self._cameras if min(pair) < place - self._reach - 2]:
            del self._cameras[pair]

    def parts(self, place: int, near: Collection[int], things: Sequence[Crop], size: tuple[int, int]) -> list[Crop]:
        """What belongs to the `things` of frame `place` beside their masks, piece by piece.

        near: frames of the same shot at hand; size: (height, width) of the displayed frame.
        """
        beside = [other for other in (place - 1, place + 1) if other in near and other in self._pictures]
        if not things or not beside:
            return []
        masks = [self._small([thing], size) for thing in things]
        own, others, apart = np.logical_or.reduce(masks), self._others[place], self._apart[place]
        allowed = np.logical_or.reduce([_reached(mask) for mask in masks])
        still = ~dilate(np.logical_or.reduce([own, apart, *others]), RIM)
        known = [one for other in beside if (one := self._unlike(place, other, still)) is not None]
        if not known:
            return []
        least = np.minimum.reduce([unlike for unlike, _ in known])
        seen = np.logical_or.reduce([where for _, where in known])
        background = least[still & ~allowed & seen]
        level = max(UNLIKE, float(np.percentile(background, RESTLESS))) if len(background) > ENOUGH else UNLIKE
        moving = (
            cv2.morphologyEx((seen & (least > level)).view(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8)) > 0
        )
        moving &= allowed & ~dilate(apart, 1)
        for other in others:
            alone = other & ~own
            if np.count_nonzero(moving & alone) > LIVELY * np.count_nonzero(alone):
                moving &= ~dilate(other, 1)
        _, labels = cv2.connectedComponents((moving | own).view(np.uint8), connectivity=8)
        hanging = np.isin(labels, np.unique(labels[own])) & moving & ~own
        if not hanging.any() or np.count_nonzero(hanging) > MOST_SHARE * np.count_nonzero(own):
            return []
        return self._pieces(hanging, own, size)

    def _unlike(
        self, place: int, other: int, still: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]] | None:
        """By how much frame `place` differs from `other` moved with the camera; None when the camera's motion is unclear.

        Returns (float32 [h, w] grey levels, bool [h, w] where they are known; elsewhere they are infinite).
        """
        rows, columns = self._motion.part(place, other)
        part = np.zeros_like(still)
        part[rows, columns] = True
        camera = self._camera(place, other, still & part)
        if camera is None:
            return None
        picture, height, width = self._pictures[other], *still.shape
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        moved = cv2.warpPerspective(
            picture, camera.homography, (width, height), flags=flags, borderMode=cv2.BORDER_CONSTANT
        )
        seen = cv2.warpPerspective(np.ones((height, width), np.uint8), camera.homography, (width, height), flags=flags)
        unlike = cv2.blur(cv2.absdiff(moved, self._pictures[place]).max(2).astype(np.float32), (3, 3))
        known = part & (seen > 0)
        return np.where(known, unlike, np.float32(np.inf)), known

    def _camera(self, place: int, other: int, still: NDArray[np.bool_]) -> CameraMotion | None:
        """How the camera moved from `place` to `other`; None when that is unclear. The way there is the way back, once known."""
        if (place, other) not in self._cameras:
            back = self._cameras.get((other, place))
            camera = fit_camera(self._motion.between(place, other), still) if back is None else back.inverse()
            self._cameras[place, other] = camera
        camera = self._cameras[place, other]
        return camera if camera.support >= LEAST_SUPPORT else None

    def _small(self, crops: Sequence[Crop], size: tuple[int, int]) -> NDArray[np.bool_]:
        """bool of the reduced picture: where any of the crops is."""
        out = np.zeros(self._motion.reduced, bool)
        scale_y, scale_x = out.shape[0] / size[0], out.shape[1] / size[1]
        for mask, (y, x) in crops:
            y0, x0 = int(y * scale_y), int(x * scale_x)
            y1 = min(int(np.ceil((y + mask.shape[0]) * scale_y)), out.shape[0])
            x1 = min(int(np.ceil((x + mask.shape[1]) * scale_x)), out.shape[1])
            if y1 > y0 and x1 > x0:
                window = (round(y0 / scale_y), round(x0 / scale_x))
                extent = (max(round((y1 - y0) / scale_y), 1), max(round((x1 - x0) / scale_x), 1))
                room = paste_crop((mask, (y, x)), window, extent)
                small = cv2.resize(room.view(np.uint8) * 255, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
                out[y0:y1, x0:x1] |= small >= 128
        return out

    def _pieces(self, hanging: NDArray[np.bool_], own: NDArray[np.bool_], size: tuple[int, int]) -> list[Crop]:
        """Each connected piece at frame size, with the px by which it overlaps the masks so that no gap is left."""
        count, labels, stats, _ = cv2.connectedComponentsWithStats(
            (dilate(hanging, 1) & (hanging | own)).view(np.uint8), connectivity=8
        )
        height, width = hanging.shape
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


def _reached(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """bool: where a limb of the thing in `mask` may be."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return mask
    extent = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    return dilate(mask, max(REACH_SHARE * extent, LEAST_REACH))
