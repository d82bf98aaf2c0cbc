"""Noise (grain) for the filled area, as strong as that of its surroundings: a clean patch in a noisy picture is visible in
motion.

Invariant: the same frame of a shot always gets the same grain, independent of earlier frames.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase import rules

# Evidence for blend.grain: `rules.py`. Values of constants without a figure have no record yet.
SOFTNESS = 0.6  # px, standard deviation of the blur: codecs leave noise a little coarser than one pixel


def measured_grain(
    plane: NDArray, clean: NDArray, rim: tuple[NDArray[np.intp], NDArray[np.intp]], valid: NDArray[np.bool_]
) -> float:
    """Standard deviation of the noise of `plane` against a `clean` picture of the same background, in sample values, at the
    `valid` samples of the `rim` (rows, columns). 0 for fewer than 64 samples."""
    rows, columns = rim[0][valid], rim[1][valid]
    if len(rows) < 64:
        return 0.0
    difference = plane[rows, columns].astype(np.float32) - clean[rows, columns].astype(np.float32)
    # Neighbours in the list are mostly neighbours in the picture, so their differences cancel slow changes of exposure.
    steps = np.diff(difference)
    return float(1.4826 * np.median(np.abs(steps - np.median(steps))) / np.sqrt(2))


def grain(area: NDArray[np.bool_], strength: float, nth: int, plane: int) -> NDArray[np.float32]:
    """float32 [N]: noise of standard deviation `strength` (sample values) for the True samples of `area`. It differs from frame
    to frame; nth: number of the frame in its shot. Zeros for a strength below 0.3."""
    if strength < 0.3 or not rules.enabled("blend.grain"):
        return np.zeros(int(area.sum()), np.float32)
    random = np.random.default_rng((nth, plane))
    field = cv2.GaussianBlur(random.standard_normal(area.shape, np.float32), (0, 0), SOFTNESS)
    return strength / max(float(field.std()), 1e-6) * field[area]
