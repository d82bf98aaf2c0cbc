"""What masks leave of a thing beside a hole: what looks as the place does at no other moment, and hangs together with the hole.

A cut-off limb, a bag, somebody whom the detector lost behind another one: copied into the rest it would be seen in every frame.
Where the camera stands still, `traces` knows the background better.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.fill.background_bounds import BackgroundBounds
from vidrase.fill.flow_completion import dilate

STRONG, WEAK = 24.0, 12.0
"""Grey levels beyond everything that lasts there: by which it is found, and by which it goes on. Beside the true masks of six
DAVIS clips 16 and 10 found 1.6 times as much."""
SOLID = 3  # px of such a picture: what is narrower is a misfit
TOUCHING = 2  # px of such a picture
LEAST, MOST = 0.004, 0.6  # of the hole: less is noise, more is somebody else


def detect_residual_foreground(
    own: NDArray[np.float32], free: NDArray[np.bool_], lit: BackgroundBounds
) -> NDArray[np.bool_] | None:
    """bool [h, w]: what is foreign to the place and touches what is not `free`, bool [h, w]; None: nothing.

    own: float32 [h, w, 3] the region as it is.
    """
    beyond = np.maximum(lit.dim - own, own - lit.rgb).max(2) * (lit.sure & free)
    strong, weak = (_solid(beyond > gap) for gap in (STRONG, WEAK))
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(weak)
    size = np.count_nonzero(~free)
    sizes = boxes[:, cv2.CC_STAT_AREA]
    held = (sizes >= LEAST * size) & (sizes <= MOST * size)
    held &= np.isin(np.arange(count), labels[strong > 0]) & np.isin(np.arange(count), labels[dilate(~free, TOUCHING)])
    held[0] = False
    return np.asarray(held[labels]) if held.any() else None


def _solid(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.asarray(cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((SOLID, SOLID), np.uint8)))
