"""A thing from picture to picture: carried along the motion, its edge found anew in each."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.flow import FlowModel
from vidrase.masktrack.segment import MIN_AREA_PX, Mask, Picture, bounds, luma_of, padded_box, refit, remove_small_parts

LONG_SIDE = 640  # px of the pictures it is followed in
SEARCH_MARGIN_PX, SEARCH_MARGIN_SHARE = 24, 0.5  # round the thing, in which its motion is estimated
JUMP_MARGIN_SHARE = 1.0  # of its sides: how far it may have leapt
EDGE_BAND_SHARE = 0.06  # of the thing's geometric mean side: how far its edge may lie from where the motion takes it
MIN_BAND_PX, MAX_BAND_PX = 2, 9  # px
MAX_ROUND_TRIP_PX = 1.5  # by which a pixel carried there and back may miss its start
MIN_IOU = 0.55  # IoU of the edge found with the edge carried; below it the colours tell nothing here
# grey levels between a carried and a seen pixel (5x5 mean), above which they are not the same thing
MAX_COLOUR_DIFFERENCE = 20
# share that has to look as it did: below, something is before it or the motion is not understood
MIN_CONSISTENT_SHARE = 0.4
MIN_SIZE_SHARE = 0.05  # of its usual size: that is no more the thing


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """The thing in one picture."""

    mask: Mask
    """bool [h, w] of the picture."""
    confidence: float
    """How well its motion and its edge agree, 0..1."""


class MaskTracker:
    """Follows one thing through pictures that come in order, forwards or backwards.

    picture: uint8 [h, w, 3] RGB, the one it was found in; mask: bool [h, w] of it there.
    """

    def __init__(self, picture: Picture, mask: Mask, flow: FlowModel) -> None:
        self._flow = flow
        self._picture, self._mask = picture, mask
        self._typical_area = float(mask.sum())
        self._speed = np.zeros(2)  # (x, y) px a picture
        self.left_frame = False
        """After the end: whether it went out of the picture rather than out of sight."""

    def update(self, picture: Picture) -> Observation | None:
        """Where it is in the next picture; None once it cannot be seen any more."""
        return (
            self._match_near(picture, np.rint(self._speed).astype(int))
            or self._match_near(picture, self._match_template(picture))  # a leap further than motion estimation reaches
            or self._end()
        )

    def _match_near(self, picture: Picture, shift: NDArray) -> Observation | None:
        """Where it is in the next picture, when it has moved by about `shift` (x, y) px."""
        window = padded_box(bounds(self._mask), self._mask.shape, SEARCH_MARGIN_PX, SEARCH_MARGIN_SHARE)
        previous, previous_mask = _crop(self._picture, window), _crop(self._mask, window)
        current = _shifted(picture, window, shift)
        pair = np.stack([luma_of(current), luma_of(previous)])
        flow, back = self._flow(pair, pair[::-1])
        rows, columns = np.indices(previous_mask.shape, np.float32)
        x, y = columns + flow[..., 0], rows + flow[..., 1]
        warped = cv2.remap(previous_mask.astype(np.float32), x, y, cv2.INTER_LINEAR) >= 0.5
        warped &= self._in_frame(window, shift)
        if warped.sum() < max(MIN_AREA_PX, MIN_SIZE_SHARE * self._typical_area):
            return None
        resampled = cv2.remap(previous, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        consistent = cv2.blur(cv2.absdiff(resampled, current).max(2), (5, 5)) <= MAX_COLOUR_DIFFERENCE
        round_trip = flow + cv2.remap(back, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        # what comes into sight behind it has nowhere to come from
        consistent &= np.linalg.norm(round_trip, axis=-1) <= MAX_ROUND_TRIP_PX
        if consistent[warped].mean() < MIN_CONSISTENT_SHARE:
            return None
        band = int(np.clip(EDGE_BAND_SHARE * np.sqrt(warped.sum()), MIN_BAND_PX, MAX_BAND_PX))
        refined = remove_small_parts(refit(current, warped, warped & ~consistent, band) & self._in_frame(window, shift))
        iou = float((refined & warped).sum() / max((refined | warped).sum(), 1))
        if iou < MIN_IOU:
            refined = warped
        self._speed = shift - np.median(flow[warped], axis=0)
        mask = self._paste(refined, window, shift)
        if mask.sum() < max(MIN_AREA_PX, MIN_SIZE_SHARE * self._typical_area):
            return None
        self._typical_area = max(0.98 * self._typical_area, float(mask.sum()))
        self._picture, self._mask = picture, mask
        return Observation(mask, iou)

    def _match_template(self, picture: Picture) -> NDArray[np.int64]:
        """(x, y) px by which the thing as a whole has moved, were it to look as before."""
        box = bounds(self._mask)
        search_box = padded_box(box, self._mask.shape, SEARCH_MARGIN_PX, JUMP_MARGIN_SHARE)
        template, template_mask = luma_of(_crop(self._picture, box)), _crop(self._mask, box).view(np.uint8)
        distance = cv2.matchTemplate(luma_of(_crop(picture, search_box)), template, cv2.TM_SQDIFF, mask=template_mask)
        y, x = np.unravel_index(int(np.argmin(distance)), distance.shape)
        return np.array([search_box[2] + x - box[2], search_box[0] + y - box[0]])

    def _end(self) -> Observation | None:
        y0, y1, x0, x1 = bounds(self._mask)
        height, width = self._mask.shape
        self.left_frame = y0 <= 2 or x0 <= 2 or y1 >= height - 2 or x1 >= width - 2
        return None

    def _in_frame(self, window: tuple[int, int, int, int], shift: NDArray) -> Mask:
        """bool of the window: what of it lies in the picture once shifted."""
        return _shifted(np.ones(self._mask.shape, np.uint8), window, shift, cv2.BORDER_CONSTANT) > 0

    def _paste(self, crop: Mask, window: tuple[int, int, int, int], shift: NDArray) -> Mask:
        full = np.zeros(self._mask.shape, bool)
        height, width = self._mask.shape
        y0, x0 = window[0] + int(shift[1]), window[2] + int(shift[0])
        inner = crop[max(-y0, 0) : max(height - y0, 0), max(-x0, 0) : max(width - x0, 0)]
        top, left_frame = max(y0, 0), max(x0, 0)
        full[top : top + inner.shape[0], left_frame : left_frame + inner.shape[1]] = inner
        return full


def _crop(array: NDArray, window: tuple[int, int, int, int]) -> NDArray:
    return np.ascontiguousarray(array[window[0] : window[1], window[2] : window[3]])


def _shifted(
    array: NDArray, window: tuple[int, int, int, int], shift: NDArray, border: int = cv2.BORDER_REPLICATE
) -> NDArray:
    """The window `window` moved by `shift` (x, y) px; beyond the picture its border goes on."""
    matrix = np.array([[1, 0, window[2] + shift[0]], [0, 1, window[0] + shift[1]]], np.float64)
    size = (window[3] - window[2], window[1] - window[0])
    return cv2.warpAffine(array, matrix, size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP, borderMode=border)
