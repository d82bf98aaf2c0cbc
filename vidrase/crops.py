"""Masks stored as crops: the bounding part of a mask and its position in the frame."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Crop = tuple[NDArray[np.bool_], tuple[int, int]]
"""bool [h, w] and the (y, x) of its top left pixel in the frame."""


def intersection_area(a: Crop, b: Crop) -> int:
    """Number of pixels that are True in both."""
    y0, x0 = max(a[1][0], b[1][0]), max(a[1][1], b[1][1])
    y1 = min(a[1][0] + a[0].shape[0], b[1][0] + b[0].shape[0])
    x1 = min(a[1][1] + a[0].shape[1], b[1][1] + b[0].shape[1])
    if y1 <= y0 or x1 <= x0:
        return 0
    mask_a, mask_b = (mask[y0 - y : y1 - y, x0 - x : x1 - x] for mask, (y, x) in (a, b))
    return int(np.count_nonzero(mask_a & mask_b))


def is_near(a: Crop, b: Crop, reach: float) -> bool:
    """Whether a pixel of `b` is within `reach` px of the bounding box of `a`."""
    padding = math.ceil(reach)
    top, left = a[1][0] - b[1][0], a[1][1] - b[1][1]
    (rows, columns), other = a[0].shape, b[0]
    if top + rows + padding <= 0 or left + columns + padding <= 0:
        return False
    return bool(
        other[max(top - padding, 0) : top + rows + padding, max(left - padding, 0) : left + columns + padding].any()
    )


def union(parts: Sequence[Crop], min_count: int = 1) -> Crop | None:
    """Pixels that are True in at least `min_count` crops, as one trimmed crop; None when there are none."""
    if not parts:
        return None
    y0, x0 = min(corner[0] for _, corner in parts), min(corner[1] for _, corner in parts)
    y1 = max(corner[0] + mask.shape[0] for mask, corner in parts)
    x1 = max(corner[1] + mask.shape[1] for mask, corner in parts)
    counts = np.zeros((y1 - y0, x1 - x0), np.uint8)
    for mask, (y, x) in parts:
        counts[y - y0 : y - y0 + mask.shape[0], x - x0 : x - x0 + mask.shape[1]] += mask.view(np.uint8)
    return trim((counts >= min_count, (y0, x0)))


def bounds(mask: NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    """(y0, y1, x0, x1) of the True pixels of bool [h, w], half-open; None when there are none."""
    x, y, width, height = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8)) if mask.size else (0, 0, 0, 0)
    return (y, y + height, x, x + width) if width else None


def trim(crop: Crop) -> Crop | None:
    """The crop without empty border rows and columns; None when it is empty."""
    mask, (y, x) = crop
    box = bounds(mask)
    if box is None:
        return None
    y0, y1, x0, x1 = box
    return np.ascontiguousarray(mask[y0:y1, x0:x1]), (y + y0, x + x0)


def area(crop: Crop) -> int:
    """Number of True pixels."""
    return int(np.count_nonzero(crop[0]))


def paste_crop(crop: Crop, corner: tuple[int, int], size: tuple[int, int]) -> NDArray[np.bool_]:
    """bool `size`: the part of the crop inside the window of the frame whose top left pixel is `corner`."""
    out = np.zeros(size, bool)
    (rows, columns), top, left = crop[0].shape, crop[1][0] - corner[0], crop[1][1] - corner[1]
    y0, x0, y1, x1 = max(top, 0), max(left, 0), min(top + rows, size[0]), min(left + columns, size[1])
    if y1 > y0 and x1 > x0:
        out[y0:y1, x0:x1] = crop[0][y0 - top : y1 - top, x0 - left : x1 - left]
    return out
