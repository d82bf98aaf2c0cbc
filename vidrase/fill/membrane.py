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
    padded = ((0, height % 2), (0, width % 2))
    below_weight = cv2.resize(np.pad(weight, padded), size, interpolation=cv2.INTER_AREA) * 4
    below = _channels(cv2.resize(np.pad(weighted, (*padded, (0, 0))), size, interpolation=cv2.INTER_AREA)) * 4
    excess = np.maximum(below_weight, 1.0)  # saturate: a cell that is known is known, however many pixels say so
    coarse = _solve(below / excess[..., None], below_weight / excess, sweeps)
    doubled = cv2.resize(coarse, (size[0] * 2, size[1] * 2), interpolation=cv2.INTER_LINEAR)[:height, :width]
    doubled = _channels(doubled)
    share = np.minimum(weight, 1.0)[..., None]
    fixed = own * share
    out = fixed + doubled * (1 - share)
    for _ in range(sweeps):
        out = fixed + _channels(cv2.filter2D(out, -1, _NEIGHBOURS, borderType=cv2.BORDER_REPLICATE)) * (1 - share)
    return out


def _channels(array: NDArray[np.float32]) -> NDArray[np.float32]:
    return array if array.ndim == 3 else array[..., None]
