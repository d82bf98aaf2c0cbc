"""Edges of detected masks brought to where the picture has its own: detectors make masks at a quarter of the resolution or less.

Source: He, Sun, Tang, "Guided Image Filtering", ECCV 2010, equations 14 to 16 (colour); for large things its coefficients
are computed on fewer samples: He, Sun, "Fast Guided Filter", arXiv 1505.00996.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.mask.morphology import dilate, erode

BAND = 0.1
"""Half the width of the band in which an edge may move, as a share of the mask's lesser side. At equal coverage of six annotated
clips with people the area was 1.45 times the annotation without, 1.40 at 0.06, 1.39 at 0.1 and 1.44 at 0.15; GrabCut, at four
times the cost, 1.36."""
LEAST = 3  # px: thinner bands are left alone
SMOOTHNESS = 1e-4  # epsilon of the filter, of full scale squared
WINDOW = 6  # samples: larger windows are computed on a smaller picture

Crop = NDArray[np.bool_]


def refine_edge(picture: NDArray[np.uint8], mask: Crop, corner: tuple[int, int]) -> tuple[Crop, tuple[int, int]]:
    """(mask, corner) with its edge moved to edges of `picture`, at most by a share of its size.

    picture: uint8 [H, W, 3] RGB, the whole frame as displayed. mask: bool [h, w] crop at `corner` (y, x).
    """
    band = int(BAND * min(mask.shape))
    if band < LEAST or not mask.any():
        return mask, corner
    height, width = picture.shape[:2]
    spare = 2 * band
    top, left = max(corner[0] - spare, 0), max(corner[1] - spare, 0)
    bottom, right = min(corner[0] + mask.shape[0] + spare, height), min(corner[1] + mask.shape[1] + spare, width)
    roomy = np.zeros((bottom - top, right - left), bool)
    inner = np.s_[
        corner[0] - top : corner[0] - top + mask.shape[0], corner[1] - left : corner[1] - left + mask.shape[1]
    ]
    roomy[inner] = mask
    # beyond the frame's border the thing goes on: there is no edge to move
    padded = np.pad(roomy, band, mode="edge")
    free = np.s_[band : band + roomy.shape[0], band : band + roomy.shape[1]]
    movable = dilate(padded, band)[free] & ~erode(padded, band)[free]
    share = _filtered(picture[top:bottom, left:right], roomy, band)
    return np.where(movable, share > 0.5, roomy), (top, left)


def _filtered(guide: NDArray[np.uint8], mask: Crop, radius: int) -> NDArray[np.float32]:
    """float32 [h, w]: `mask` as a locally linear function of the colours of `guide` uint8 [h, w, 3], windows of `radius` px."""
    shape = guide.shape[1::-1]
    factor = min(1.0, WINDOW / radius)
    size = max(round(shape[0] * factor), 1), max(round(shape[1] * factor), 1)
    side = 2 * max(round(radius * factor), 1) + 1

    def mean(array: NDArray[np.float32]) -> NDArray[np.float32]:
        return cv2.boxFilter(array, -1, (side, side)).astype(np.float32, copy=False)

    small = cv2.resize(guide, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    wanted = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA).astype(np.float32)
    colour = [np.ascontiguousarray(small[..., c]) for c in range(3)]
    middle, level = [mean(c) for c in colour], mean(wanted)
    pull = [mean(c * wanted) - m * level for c, m in zip(colour, middle, strict=True)]
    pairs = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
    rr, rg, rb, gg, gb, bb = (mean(colour[i] * colour[j]) - middle[i] * middle[j] for i, j in pairs)
    rr, gg, bb = rr + SMOOTHNESS, gg + SMOOTHNESS, bb + SMOOTHNESS
    # Cramer's rule for the symmetric 3 x 3 system of every window
    c_rr, c_rg, c_rb = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
    c_gg, c_gb, c_bb = rr * bb - rb * rb, rg * rb - rr * gb, rr * gg - rg * rg
    over = 1 / np.maximum(rr * c_rr + rg * c_rg + rb * c_rb, 1e-18)
    slope = [
        (c_rr * pull[0] + c_rg * pull[1] + c_rb * pull[2]) * over,
        (c_rg * pull[0] + c_gg * pull[1] + c_gb * pull[2]) * over,
        (c_rb * pull[0] + c_gb * pull[1] + c_bb * pull[2]) * over,
    ]
    offset = level - sum(a * m for a, m in zip(slope, middle, strict=True))
    fields = [mean(field) for field in (*slope, offset)]
    if factor < 1:
        fields = [cv2.resize(field, shape, interpolation=cv2.INTER_LINEAR).astype(np.float32) for field in fields]
    full = guide.astype(np.float32) / 255
    share = fields[0] * full[..., 0] + fields[1] * full[..., 1] + fields[2] * full[..., 2] + fields[3]
    return share.astype(np.float32, copy=False)
