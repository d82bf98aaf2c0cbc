"""Noise of the filled area like that of its surroundings: a clean patch in a noisy picture shows in motion.

Invariant: the same frame of a shot always gets the same grain, whatever comes before.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase import rules

SOFTNESS = 0.6  # px: codecs leave noise a little coarser than one pixel


def measured_grain(
    plane: NDArray, clean: NDArray, rim: tuple[NDArray[np.intp], NDArray[np.intp]], valid: NDArray[np.bool_]
) -> float:
    """Standard deviation of the noise of `plane` against a `clean` picture of the same, at the rim's samples."""
    rows, columns = rim[0][valid], rim[1][valid]
    if len(rows) < 64:
        return 0.0
    gap = plane[rows, columns].astype(np.float32) - clean[rows, columns].astype(np.float32)
    # differences of neighbours in the list are mostly neighbours in the picture: slow changes of light drop out
    steps = np.diff(gap)
    return float(1.4826 * np.median(np.abs(steps - np.median(steps))) / np.sqrt(2))


def grain(area: NDArray[np.bool_], strength: float, nth: int, plane: int) -> NDArray[np.float32]:
    """float32 [N]: noise of standard deviation `strength` for the True samples of `area`, new for each frame, which is
    the `nth` of its shot."""
    if strength < 0.3 or not rules.enabled("blend.grain"):
        return np.zeros(int(area.sum()), np.float32)
    random = np.random.default_rng((nth, plane))
    field = cv2.GaussianBlur(random.standard_normal(area.shape, np.float32), (0, 0), SOFTNESS)
    return strength / max(float(field.std()), 1e-6) * field[area]
