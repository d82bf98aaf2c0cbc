"""Smooth interpolation of unknown values from known ones: the membrane (Laplace's equation), solved coarse to fine.

Invariant: known values are returned unchanged; unknown ones lie within the range of the known ones.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

RELAXATIONS = 4  # Jacobi sweeps per level; few are enough, because coarse levels carry distant values
_NEIGHBOURS = np.array([[0, 0.25, 0], [0.25, 0, 0.25], [0, 0.25, 0]], np.float32)


def membrane(
    values: NDArray[np.float32], known: NDArray[np.bool_] | NDArray[np.float32], *, sweeps: int = RELAXATIONS
) -> NDArray[np.float32]:
    """Interpolate the unknown `values` from the known ones around them.

    values: float32 [H, W, C].
    known:  bool [H, W], or float32 [H, W] weights in [0, 1]: the confidence of each value.
    sweeps: Jacobi sweeps per level.
    Returns float32 [H, W, C]; zeros when nothing is known.
    """
    weight = known.astype(np.float32)
    return _solve(values * weight[..., None], weight, sweeps)


def _solve(weighted: NDArray[np.float32], weight: NDArray[np.float32], sweeps: int) -> NDArray[np.float32]:
    """Pull-push (Gortler et al., "The Lumigraph", SIGGRAPH 1996, section 3.4) with Jacobi sweeps on the way up."""
    height, width = weight.shape
    value = weighted / np.maximum(weight, 1e-6)[..., None]
    if weight.min() >= 1.0 or min(height, width) <= 2:
        mean = weighted.sum((0, 1)) / max(float(weight.sum()), 1e-6)
        return np.where(weight[..., None] > 0, value, mean).astype(np.float32)
    size = ((width + 1) // 2, (height + 1) // 2)
    coarse_weight = _quarter(weight, size)
    coarse_values = _channels(_quarter(weighted, size))
    # clamp the weight to 1: a coarse cell is known, whether one or four of its pixels are
    excess = np.maximum(coarse_weight, 1.0).astype(np.float32, copy=False)
    coarse_values /= excess[..., None]
    coarse_weight /= excess
    coarse = _solve(coarse_values, coarse_weight, sweeps)
    fine = cv2.resize(coarse, (size[0] * 2, size[1] * 2), interpolation=cv2.INTER_LINEAR)[:height, :width]
    fine = _channels(fine)
    # repeat the weight for every channel: broadcasting an axis of length 1 is slow
    known_share = _channels(cv2.merge([np.minimum(weight, 1.0)] * value.shape[2]))
    known_part, unknown_share = value * known_share, 1 - known_share
    fine *= unknown_share
    fine += known_part
    for _ in range(sweeps):
        fine = _channels(cv2.filter2D(fine, -1, _NEIGHBOURS, borderType=cv2.BORDER_REPLICATE))
        fine *= unknown_share
        fine += known_part
    return fine


def _quarter(array: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Sum 2 x 2 cells; beyond the border the array counts as 0. size: (width, height) of the result."""
    height, width = array.shape[:2]
    if height % 2 or width % 2:
        array = cv2.copyMakeBorder(array, 0, height % 2, 0, width % 2, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0))
    return (cv2.resize(array, size, interpolation=cv2.INTER_AREA) * 4).astype(np.float32, copy=False)


def _channels(array: NDArray[np.float32]) -> NDArray[np.float32]:
    return array if array.ndim == 3 else array[..., None]
