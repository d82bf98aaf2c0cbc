"""Residual foreground: pixels outside the background bounds that are connected to the hole.

The mask may have cut off a limb or a bag, or the detector lost a person behind another one. Left there it would be copied into
the fill of every frame. Where the camera is still, `background_subtraction` replaces this.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.fill.background_bounds import BackgroundBounds
from vidrase.fill.flow_completion import dilate

# Evidence for residual.foreign: `rules.py`. Values of constants without a figure have no record yet.
STRONG, WEAK = 24.0, 12.0
"""Grey levels outside the background bounds: the two thresholds of a hysteresis. Beside the true masks of six DAVIS clips 16 and
10 found 1.6 times as much."""
OPENING = 3  # px of the reduced frame: narrower parts are removed (errors of the registration)
TOUCHING = 2  # px of the reduced frame: a part this near to the object touches it
MIN_AREA, MAX_AREA = 0.004, 0.6  # of the hole's area: a smaller part is noise, a larger one another object


def detect_residual_foreground(
    rgb: NDArray[np.float32], visible: NDArray[np.bool_], bounds: BackgroundBounds
) -> NDArray[np.bool_] | None:
    """bool [h, w]: foreground that touches the object; None: none.

    rgb: float32 [h, w, 3] the region in this frame, grey levels. visible: bool [h, w] outside the hole and its margin.
    """
    beyond = cv2.max(cv2.subtract(bounds.dim, rgb), cv2.subtract(rgb, bounds.rgb))
    beyond = cv2.max(cv2.max(*cv2.split(beyond)[:2]), cv2.extractChannel(beyond, 2))
    beyond[~(bounds.sure & visible)] = 0
    strong = _opened(beyond > STRONG)
    if not strong.any():
        return None
    _, labels, stats, _ = cv2.connectedComponentsWithStats(_opened(beyond > WEAK))
    hole_size = np.count_nonzero(~visible)
    sizes = stats[:, cv2.CC_STAT_AREA]
    accepted = (sizes >= MIN_AREA * hole_size) & (sizes <= MAX_AREA * hole_size)
    for seeds in (strong > 0, dilate(~visible, TOUCHING)):
        touched = np.zeros(len(sizes), bool)
        touched[labels[seeds]] = True
        accepted &= touched
    accepted[0] = False
    return np.asarray(accepted[labels]) if accepted.any() else None


def _opened(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """uint8 [h, w]: `mask` after morphological opening."""
    return np.asarray(cv2.morphologyEx(mask.view(np.uint8), cv2.MORPH_OPEN, np.ones((OPENING, OPENING), np.uint8)))
