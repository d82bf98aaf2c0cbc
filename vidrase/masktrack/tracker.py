"""Track one mask from image to image: warp it along the motion, then refine its border in each image."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.flow import FlowModel
from vidrase.masktrack.segment import MIN_AREA_PX, Mask, Picture, bounds, luma_of, padded_box, refit, remove_small_parts

LONG_SIDE = 640  # px, of the images in which the object is tracked
# around the object, px and share of its sides, where motion is estimated
SEARCH_MARGIN_PX, SEARCH_MARGIN_SHARE = 24, 0.5
JUMP_MARGIN_SHARE = 1.0  # search margin / object's sides, when the object jumps further than the flow reaches
EDGE_BAND_SHARE = 0.06  # width of the refined border band / square root of the object's area
MIN_BAND_PX, MAX_BAND_PX = 2, 9  # limits of that width
MAX_ROUND_TRIP_PX = 1.5  # px; forward-backward flow error; above it a pixel is occluded
MIN_IOU = 0.55  # IoU of refined and warped mask; below it the colours are ambiguous and the warped mask is used
# grey levels between a warped and a current pixel (mean of 5x5); above it they show different surfaces
MAX_COLOUR_DIFFERENCE = 20
# consistent share of the warped mask; below it the object is occluded or the motion is wrong
MIN_CONSISTENT_SHARE = 0.4
MIN_SIZE_SHARE = 0.05  # mask area / typical area; below it the object is lost


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """The object in one image."""

    mask: Mask
    """bool [h, w] of the image."""
    confidence: float
    """IoU of the warped and the refined mask, 0..1."""


class MaskTracker:
    """Tracks one object through consecutive images, forwards or backwards.

    picture: uint8 [h, w, 3] RGB of the start; mask: bool [h, w] of the object in it.
    """

    def __init__(self, picture: Picture, mask: Mask, flow: FlowModel) -> None:
        self._flow = flow
        self._picture, self._mask = picture, mask
        self._typical_area = float(mask.sum())
        self._speed = np.zeros(2)  # (x, y) px per image
        self.left_frame = False
        """After tracking ended: whether the object left the image; False: it was lost inside it."""

    def update(self, picture: Picture) -> Observation | None:
        """The object in the next image; None once it is lost or outside."""
        return (
            self._match_near(picture, np.rint(self._speed).astype(int))
            or self._match_near(picture, self._match_template(picture))  # a jump beyond the flow's reach
            or self._end()
        )

    def _match_near(self, picture: Picture, shift: NDArray) -> Observation | None:
        """The object in the next image, if it has moved by about `shift` (x, y) px."""
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
        # an uncovered background pixel has no correspondence
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
        """(x, y) px motion of the whole object, by template matching."""
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
        """bool of the window: which of its pixels lie in the image after the shift."""
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
    """`window` moved by `shift` (x, y) px, with the image border replicated."""
    matrix = np.array([[1, 0, window[2] + shift[0]], [0, 1, window[0] + shift[1]]], np.float64)
    size = (window[3] - window[2], window[1] - window[0])
    return cv2.warpAffine(array, matrix, size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP, borderMode=border)
