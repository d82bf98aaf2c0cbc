"""Scene cuts: is the next picture another shot?

Invariant: decides from two tiny pictures and the recent past only, so the answer does not depend on what comes later.
"""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np
from numpy.typing import NDArray

THUMB = (36, 64)  # height, width: small enough that motion of a few per cent of the frame hardly shows


class CutDetector:
    """Looks at every frame once, in order. Hard cuts only; a dissolve is left to the forward-backward check of the flow."""

    STEP = 18.0
    """Least mean |difference| of thumbnails, grey levels: below it nothing is a cut."""
    LEAP = 1.8
    """A cut also differs this many times more than the recent frames did (fast pans differ, but all along)."""
    CORRELATION = 0.55
    """Above this the structure is the same: a flash or a change of exposure, no cut."""

    def __init__(self) -> None:
        self._last: NDArray[np.float32] | None = None
        self._steps: deque[float] = deque(maxlen=8)

    def __call__(self, luma: NDArray[np.uint8]) -> bool:
        """Whether `luma` uint8 [H, W] (any size) starts another shot than the picture before it."""
        now = cv2.resize(luma, THUMB[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
        last, self._last = self._last, now
        if last is None:
            return False
        step = float(np.abs(now - last).mean())
        usual = float(np.median(self._steps)) if self._steps else 0.0
        cut = step > self.STEP and step > self.LEAP * usual and _correlation(now, last) < self.CORRELATION
        if cut:
            self._steps.clear()
        else:
            self._steps.append(step)
        return cut


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / (np.sqrt((a * a).sum() * (b * b).sum()) + 1e-6))
