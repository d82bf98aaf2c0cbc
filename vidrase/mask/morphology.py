"""Morphology of mask crops: dilation radius, dilation, erosion, closing, filling of holes, extension to the border."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.crops import bounds

# Evidence for mask.dilate: `rules.py`. Values of constants without a figure have no record yet.
FRAME_SHARE = 0.0025  # of the frame's geometric mean side: 1.6 px at 854x480; the detector's masks are large already
OBJECT_SHARE = 0.005  # of the object's shorter side: a near person's edge is softer than a far one's
MIN_RADIUS, MAX_RADIUS = 2.0, 48.0  # px: limits of the radius
STEP = 4  # px: larger discs are sums of smaller ones, because the cost of one grows with the square of its radius

Crop = NDArray[np.bool_]


def dilation_radius(frame: tuple[int, int], mask: tuple[int, int]) -> float:
    """Radius in px by which a mask is dilated. frame, mask: (height, width) px."""
    if not rules.enabled("mask.dilate"):
        return 0.0
    base = FRAME_SHARE * (frame[0] * frame[1]) ** 0.5 + OBJECT_SHARE * min(mask)
    return float(np.clip(base, MIN_RADIUS, MAX_RADIUS))


@lru_cache(maxsize=128)
def _disc(radius: int) -> NDArray[np.uint8]:
    """uint8 [2 * radius + 1, 2 * radius + 1]: a disc as structuring element."""
    side = 2 * radius + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)


def _steps(radius: float) -> list[int]:
    """Radii in px, of at most `STEP` each, that add up to `radius`."""
    total = round(radius)
    count = -(-total // STEP)
    return [total * (k + 1) // count - total * k // count for k in range(count)]


def dilate(mask: Crop, radius: float) -> Crop:
    """`mask`, bool [h, w], dilated by `radius` px; same shape, so the crop must leave room."""
    out = mask.view(np.uint8)
    for step in _steps(radius):
        out = cv2.dilate(out, _disc(step))
    return out.view(np.bool_)


def erode(mask: Crop, radius: float) -> Crop:
    """`mask`, bool [h, w], eroded by `radius` px; pixels beyond the crop count as outside."""
    out = mask.view(np.uint8)
    for step in _steps(radius):
        out = cv2.erode(out, _disc(step), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return out.view(np.bool_)


def close_gaps(mask: Crop, radius: float) -> Crop:
    """`mask` with gaps narrower than about twice `radius` px closed; same shape, so the crop must leave room."""
    steps, out = _steps(radius), mask.view(np.uint8)
    if not steps:
        return mask
    for step in steps:
        out = cv2.dilate(out, _disc(step))
    for step in steps:
        out = cv2.erode(out, _disc(step))
    return mask | out.view(np.bool_)


def fill_holes(mask: Crop, largest: float) -> Crop:
    """`mask` with holes of up to `largest` px² filled."""
    # a flood from outside is much cheaper than labels, and mostly finds that there is no hole
    outside = cv2.copyMakeBorder((~mask).view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    cv2.floodFill(outside, None, (0, 0), 0, flags=4)
    holes = bounds(outside[1:-1, 1:-1].view(np.bool_))
    if holes is None:
        return mask
    y0, y1, x0, x1 = holes
    _, labels, stats, _ = cv2.connectedComponentsWithStats(outside[1 + y0 : 1 + y1, 1 + x0 : 1 + x1], connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] <= largest
    small[0] = False
    out = mask.copy()
    out[y0:y1, x0:x1] |= small[labels]
    return out


def extend_to_border(mask: Crop, corner: tuple[int, int], frame: tuple[int, int], reach: int) -> Crop:
    """Extend a mask that comes within `reach` px of the frame's border to the border: detectors stop a little short of it.

    mask: bool [h, w] crop at `corner` (y, x) of a frame (height, width). Returns a crop of the same shape.
    """
    (y, x), (rows, columns) = corner, mask.shape
    out = mask
    for transpose, start, stop, side in (
        (False, y, y + rows, frame[0]),
        (True, x, x + columns, frame[1]),
    ):
        low, high = reach - start, stop - (side - reach)
        if low <= 0 and high <= 0:
            continue
        out = (out if out is not mask else mask.copy()).T if transpose else (out if out is not mask else mask.copy())
        if low > 0:
            strip = out[:low][::-1]
            out[:low] = _filled_outwards(strip)[::-1]
        if high > 0:
            out[-high:] = _filled_outwards(out[-high:])
        out = out.T if transpose else out
    return np.ascontiguousarray(out)


def _filled_outwards(strip: Crop) -> Crop:
    """`strip` with every column filled from its first True row on."""
    return np.logical_or.accumulate(strip, axis=0)
