"""Smooth interpolation of known values into the unknown: the membrane (Laplace's equation), coarse to fine.

Invariant: known values come back unchanged; unknown ones lie within the range of the known.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

RELAXATIONS = 4  # sweeps a level; the pyramid already carries the far influence
_NEIGHBOURS = np.array([[0, 0.25, 0], [0.25, 0, 0.25], [0, 0.25, 0]], np.float32)


def membrane(
    values: NDArray[np.float32], known: NDArray[np.bool_] | NDArray[np.float32], *, sweeps: int = RELAXATIONS
) -> NDArray[np.float32]:
    """`values` with the unknown ones interpolated from the known around them.

    values: float32 [H, W, C].
    known:  bool [H, W], or float32 weights in [0, 1]: how far a value is to be believed.
    Returns float32 [H, W, C]; zeros when nothing is known.
    """
    weight = known.astype(np.float32)
    return _solve(values * weight[..., None], weight, sweeps)


def _solve(weighted: NDArray[np.float32], weight: NDArray[np.float32], sweeps: int) -> NDArray[np.float32]:
    """Pull-push (Gortler et al., "The Lumigraph", SIGGRAPH 1996, section 3.4) with Jacobi sweeps on the way up."""
    height, width = weight.shape
    own = weighted / np.maximum(weight, 1e-6)[..., None]
    if weight.min() >= 1.0 or min(height, width) <= 2:
        mean = weighted.sum((0, 1)) / max(float(weight.sum()), 1e-6)
        return np.where(weight[..., None] > 0, own, mean).astype(np.float32)
    size = ((width + 1) // 2, (height + 1) // 2)
    below_weight = _quarter(weight, size)
    below = _channels(_quarter(weighted, size))
    # saturate: a cell that is known is known, however many pixels say so
    excess = np.maximum(below_weight, 1.0).astype(np.float32, copy=False)
    below /= excess[..., None]
    below_weight /= excess
    coarse = _solve(below, below_weight, sweeps)
    doubled = cv2.resize(coarse, (size[0] * 2, size[1] * 2), interpolation=cv2.INTER_LINEAR)[:height, :width]
    doubled = _channels(doubled)
    # as many channels as the values have: products along one of length 1 are slow
    share = _channels(cv2.merge([np.minimum(weight, 1.0)] * own.shape[2]))
    fixed, rest = own * share, 1 - share
    doubled *= rest
    doubled += fixed
    for _ in range(sweeps):
        doubled = _channels(cv2.filter2D(doubled, -1, _NEIGHBOURS, borderType=cv2.BORDER_REPLICATE))
        doubled *= rest
        doubled += fixed
    return doubled


def _quarter(array: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Sums of 2 x 2 cells; nothing counts beyond the border."""
    height, width = array.shape[:2]
    if height % 2 or width % 2:
        array = cv2.copyMakeBorder(array, 0, height % 2, 0, width % 2, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0))
    return (cv2.resize(array, size, interpolation=cv2.INTER_AREA) * 4).astype(np.float32, copy=False)


def _channels(array: NDArray[np.float32]) -> NDArray[np.float32]:
    return array if array.ndim == 3 else array[..., None]
