"""High resolution for what was invented small: fine detail from the known surroundings that look most alike.

A network invents structure at the scale it knows. What is lost by that is the band between its scale and the picture's;
it is put back by finding, for every block of the invention, the known block most like it, and overlapping their fine parts.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]  # [H, W, 3]
Mask = NDArray[np.bool_]  # [H, W], True = invented

BLOCK = 8  # px of the small picture
TARGET_STEP = 4
SOURCE_STEP = 3
MOST_SOURCES = 6000


def with_detail(picture: Picture, hole: Mask, small: Picture, small_hole: Mask) -> Picture:
    """`small` enlarged to `picture`'s size, with detail in the hole; outside the hole without meaning.

    picture: float32 [H, W, 3], known outside `hole`; small: float32 [h, w, 3], whole, known outside `small_hole`.
    """
    height, width = hole.shape
    rows, columns = small_hole.shape
    out = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    if (rows, columns) == (height, width) or min(rows, columns) < BLOCK:
        return out
    known = cv2.resize(small_hole.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) == 0
    fine = np.where((known & ~hole)[..., None], picture - out, 0).astype(np.float32)
    pairs = _alike(small, small_hole)
    if pairs is None:
        return out
    scale_y, scale_x = height / rows, width / columns
    tall, wide = round(BLOCK * scale_y), round(BLOCK * scale_x)
    window = np.outer(np.hanning(tall + 2)[1:-1], np.hanning(wide + 2)[1:-1]).astype(np.float32)[..., None]
    sums, weights = np.zeros_like(out), np.zeros((height, width, 1), np.float32)
    for (to_y, to_x), (from_y, from_x) in zip(*pairs, strict=True):
        y, x = min(round(to_y * scale_y), height - tall), min(round(to_x * scale_x), width - wide)
        v, u = min(round(from_y * scale_y), height - tall), min(round(from_x * scale_x), width - wide)
        sums[y : y + tall, x : x + wide] += window * fine[v : v + tall, u : u + wide]
        weights[y : y + tall, x : x + wide] += window**2  # independent parts: their variances add, not their sizes
    return out + sums / np.sqrt(np.maximum(weights, 1e-4))


def _alike(small: Picture, hole: Mask) -> tuple[NDArray[np.intp], NDArray[np.intp]] | None:
    """((y, x) [N, 2] of blocks that touch the hole, (y, x) [N, 2] of the wholly known block most like each)."""
    rows, columns = hole.shape
    windows = np.lib.stride_tricks.sliding_window_view(small, (BLOCK, BLOCK), axis=(0, 1))  # [h', w', 3, 8, 8]
    covered = cv2.boxFilter(hole.astype(np.float32), -1, (BLOCK, BLOCK), anchor=(0, 0), normalize=False)
    covered = covered[: rows - BLOCK + 1, : columns - BLOCK + 1]
    grid = np.zeros(covered.shape, bool)
    grid[::TARGET_STEP, ::TARGET_STEP] = True
    targets = np.argwhere(grid & (covered > 0.5))
    grid[:] = False
    grid[::SOURCE_STEP, ::SOURCE_STEP] = True
    sources = np.argwhere(grid & (covered < 0.5))
    if not len(targets) or not len(sources):
        return None
    sources = sources[:: -(-len(sources) // MOST_SOURCES)]
    wanted = windows[targets[:, 0], targets[:, 1]].reshape(len(targets), -1)
    there = windows[sources[:, 0], sources[:, 1]].reshape(len(sources), -1)
    distance = np.square(there).sum(1) - 2 * wanted @ there.T  # [N, S], less a constant of each row
    return targets, sources[distance.argmin(1)]
