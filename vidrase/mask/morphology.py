"""Morphology of mask crops: dilation radius, dilation, erosion, closing, filling of holes, extension to the border."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase import rules

FRAME_SHARE = 0.0025  # of the frame's geometric mean side: 1.6 px at 854x480; the detector's masks are large already
OBJECT_SHARE = 0.005  # of the object's shorter side: a near person's edge is softer than a far one's
MIN_RADIUS, MAX_RADIUS = 2.0, 48.0  # px: limits of the radius

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


def dilate(mask: Crop, radius: float) -> Crop:
    """`mask`, bool [h, w], dilated by `radius` px; same shape, so the crop must leave room."""
    steps = round(radius)
    if steps < 1:
        return mask
    return cv2.dilate(mask.view(np.uint8), _disc(steps)).view(np.bool_)


def erode(mask: Crop, radius: float) -> Crop:
    """`mask`, bool [h, w], eroded by `radius` px; pixels beyond the crop count as outside."""
    steps = round(radius)
    if steps < 1:
        return mask
    return cv2.erode(mask.view(np.uint8), _disc(steps), borderType=cv2.BORDER_CONSTANT, borderValue=0).view(np.bool_)


def close_gaps(mask: Crop, radius: float) -> Crop:
    """`mask` with gaps narrower than about twice `radius` px closed; same shape, so the crop must leave room."""
    steps = round(radius)
    if steps < 1:
        return mask
    return mask | cv2.morphologyEx(mask.view(np.uint8), cv2.MORPH_CLOSE, _disc(steps)).view(np.bool_)


def fill_holes(mask: Crop, largest: float) -> Crop:
    """`mask` with holes of up to `largest` px² filled."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((~mask).view(np.uint8), connectivity=4)
    if count <= 2:
        return mask
    height, width = mask.shape
    x, y, w, h, area = stats.T
    # a component that reaches the crop's edge is the outside, not a hole
    inner = (x > 0) & (y > 0) & (x + w < width) & (y + h < height) & (area <= largest)
    inner[0] = False
    return mask | inner[labels] if inner.any() else mask


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
