"""Connected components of a mask that touch something."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def touching(mask: NDArray[np.bool_], *seeds: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """bool [h, w]: the components of `mask`, bool [h, w], that touch each of the `seeds`, bool [h, w]."""
    found, pixels = np.zeros(mask.shape, bool), np.flatnonzero(mask)
    if len(pixels):
        count, labels = cv2.connectedComponents(mask.view(np.uint8))
        numbers, kept = labels.ravel()[pixels], np.ones(count, bool)
        for seed in seeds:
            touched = np.zeros(count, bool)
            touched[numbers[seed.ravel()[pixels]]] = True
            kept &= touched
        found.ravel()[pixels[kept[numbers]]] = True
    return found


def within(mask: NDArray[np.bool_], *distances: float) -> list[NDArray[np.bool_]]:
    """bool [h, w] for each of the `distances`, px: pixels at most so far from `mask`, bool [h, w]; to 5 %."""
    if not mask.any():
        return [mask for _ in distances]
    away = cv2.distanceTransform((~mask).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_3)
    return [np.asarray(away <= distance) for distance in distances]


def any_in_cells(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """`mask`, bool [H, W], reduced to bool [h, w] of `size`: True where any pixel of a cell is, or one right beside it."""
    if mask.shape == size:
        return mask
    cell = [-(-side // small) + 1 for side, small in zip(mask.shape, size, strict=True)]
    grown = cv2.dilate(mask.view(np.uint8), np.ones(cell, np.uint8), anchor=(0, 0))
    return cv2.resize(grown, size[::-1], interpolation=cv2.INTER_NEAREST) > 0
