"""A thing from picture to picture: carried along the motion, its edge found anew in each."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.flow import FlowModel
from vidrase.thing.cutout import LEAST_PX, Mask, Picture, bounds, luma_of, refit, window, without_specks

LONG_SIDE = 640  # px of the pictures it is followed in
ROOM_PX, ROOM_SHARE = 24, 0.5  # round the thing, in which its motion is estimated
LEAP_SHARE = 1.0  # of its sides: how far it may have leapt
BAND = 0.06  # of the thing's geometric mean side: how far its edge may lie from where the motion takes it
LEAST_BAND, MOST_BAND = 2, 9  # px
ASTRAY_PX = 1.5  # by which a pixel carried there and back may miss its start
AGREES = 0.55  # IoU of the edge found with the edge carried; below it the colours tell nothing here
UNLIKE = 20  # grey levels between a carried and a seen pixel (5x5 mean), above which they are not the same thing
ALIKE = 0.4  # share of it that has to look as it did: below, something is before it or the motion is not understood
DWINDLED = 0.05  # of its usual size: that is no more the thing


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """The thing in one picture."""

    mask: Mask
    """bool [h, w] of the picture."""
    sure: float
    """How well its motion and its edge agree, 0..1."""


class Follower:
    """Follows one thing through pictures that come in order, forwards or backwards.

    picture: uint8 [h, w, 3] RGB, the one it was found in; mask: bool [h, w] of it there.
    """

    def __init__(self, picture: Picture, mask: Mask, flow: FlowModel) -> None:
        self._flow = flow
        self._picture, self._mask = picture, mask
        self._usual = float(mask.sum())
        self._speed = np.zeros(2)  # (x, y) px a picture
        self.left = False
        """After the end: whether it went out of the picture rather than out of sight."""

    def next(self, picture: Picture) -> Sight | None:
        """Where it is in the next picture; None once it cannot be seen any more."""
        return (
            self._near(picture, np.rint(self._speed).astype(int))
            or self._near(picture, self._matched(picture))  # a leap further than motion estimation reaches
            or self._ended()
        )

    def _near(self, picture: Picture, shift: NDArray) -> Sight | None:
        """Where it is in the next picture, when it has moved by about `shift` (x, y) px."""
        part = window(bounds(self._mask), self._mask.shape, ROOM_PX, ROOM_SHARE)
        old, was = _crop(self._picture, part), _crop(self._mask, part)
        new = _shifted(picture, part, shift)
        pair = np.stack([luma_of(new), luma_of(old)])
        flow, back = self._flow(pair, pair[::-1])
        rows, columns = np.indices(was.shape, np.float32)
        x, y = columns + flow[..., 0], rows + flow[..., 1]
        carried = cv2.remap(was.astype(np.float32), x, y, cv2.INTER_LINEAR) >= 0.5
        carried &= self._within(part, shift)
        if carried.sum() < max(LEAST_PX, DWINDLED * self._usual):
            return None
        seen = cv2.remap(old, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        alike = cv2.blur(cv2.absdiff(seen, new).max(2), (5, 5)) <= UNLIKE
        again = flow + cv2.remap(back, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        alike &= np.linalg.norm(again, axis=-1) <= ASTRAY_PX  # what comes into sight behind it has nowhere to come from
        if alike[carried].mean() < ALIKE:
            return None
        band = int(np.clip(BAND * np.sqrt(carried.sum()), LEAST_BAND, MOST_BAND))
        found = without_specks(refit(new, carried, carried & ~alike, band) & self._within(part, shift))
        agrees = float((found & carried).sum() / max((found | carried).sum(), 1))
        if agrees < AGREES:
            found = carried
        self._speed = shift - np.median(flow[carried], axis=0)
        mask = self._placed(found, part, shift)
        if mask.sum() < max(LEAST_PX, DWINDLED * self._usual):
            return None
        self._usual = max(0.98 * self._usual, float(mask.sum()))
        self._picture, self._mask = picture, mask
        return Sight(mask, agrees)

    def _matched(self, picture: Picture) -> NDArray[np.int64]:
        """(x, y) px by which the thing as a whole has moved, were it to look as before."""
        box = bounds(self._mask)
        wide = window(box, self._mask.shape, ROOM_PX, LEAP_SHARE)
        thing, where = luma_of(_crop(self._picture, box)), _crop(self._mask, box).view(np.uint8)
        unlike = cv2.matchTemplate(luma_of(_crop(picture, wide)), thing, cv2.TM_SQDIFF, mask=where)
        y, x = np.unravel_index(int(np.argmin(unlike)), unlike.shape)
        return np.array([wide[2] + x - box[2], wide[0] + y - box[0]])

    def _ended(self) -> Sight | None:
        y0, y1, x0, x1 = bounds(self._mask)
        height, width = self._mask.shape
        self.left = y0 <= 2 or x0 <= 2 or y1 >= height - 2 or x1 >= width - 2
        return None

    def _within(self, part: tuple[int, int, int, int], shift: NDArray) -> Mask:
        """bool of the window: what of it lies in the picture once shifted."""
        return _shifted(np.ones(self._mask.shape, np.uint8), part, shift, cv2.BORDER_CONSTANT) > 0

    def _placed(self, crop: Mask, part: tuple[int, int, int, int], shift: NDArray) -> Mask:
        full = np.zeros(self._mask.shape, bool)
        height, width = self._mask.shape
        y0, x0 = part[0] + int(shift[1]), part[2] + int(shift[0])
        inner = crop[max(-y0, 0) : max(height - y0, 0), max(-x0, 0) : max(width - x0, 0)]
        top, left = max(y0, 0), max(x0, 0)
        full[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
        return full


def _crop(array: NDArray, part: tuple[int, int, int, int]) -> NDArray:
    return np.ascontiguousarray(array[part[0] : part[1], part[2] : part[3]])


def _shifted(
    array: NDArray, part: tuple[int, int, int, int], shift: NDArray, border: int = cv2.BORDER_REPLICATE
) -> NDArray:
    """The window `part` moved by `shift` (x, y) px; beyond the picture its border goes on."""
    matrix = np.array([[1, 0, part[2] + shift[0]], [0, 1, part[0] + shift[1]]], np.float64)
    size = (part[3] - part[2], part[1] - part[0])
    return cv2.warpAffine(array, matrix, size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP, borderMode=border)
