"""Shot boundary detection, and the shot numbers that all stages of a run share.

Invariant: a decision uses two thumbnails and the frames before only, so it does not depend on later frames.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.frames import Frame

THUMB = (36, 64)  # (height, width) px: so small that motion of a few per cent of the frame hardly shows


class CutDetector:
    """Detects hard cuts, from every frame once, in order. Dissolves are left to the forward-backward check of the flow."""

    MIN_DIFFERENCE = 18.0
    """Smallest mean absolute difference of thumbnails at a cut, grey levels."""
    MIN_RATIO = 1.8
    """Smallest ratio of that difference to its median over recent frames (in a fast pan all frames differ)."""
    MAX_CORRELATION = 0.55
    """Correlation of the thumbnails from which on there is no cut: same structure, a flash or a change of exposure."""

    def __init__(self) -> None:
        self._previous: NDArray[np.float32] | None = None
        self._differences: deque[float] = deque(maxlen=8)

    def __call__(self, luma: NDArray[np.uint8]) -> bool:
        """Whether `luma`, uint8 [H, W] of any size, starts a new shot."""
        current = cv2.resize(luma, THUMB[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
        previous, self._previous = self._previous, current
        if previous is None:
            return False
        difference = float(np.abs(current - previous).mean())
        median = float(np.median(self._differences)) if self._differences else 0.0
        is_cut = (
            difference > self.MIN_DIFFERENCE
            and difference > self.MIN_RATIO * median
            and _correlation(current, previous) < self.MAX_CORRELATION
        )
        if is_cut:
            self._differences.clear()
        else:
            self._differences.append(difference)
        return is_cut


class Shots:
    """Shot number of a frame, 0, 1, ...

    The first call for each frame decides, and these calls have to come in order. Later calls, from any thread, return the same
    number. A change of the frame size starts a new shot.
    """

    def __init__(self, starts: Sequence[int] | None = None) -> None:
        """starts: indices of the first frames of all shots, in order, if a first pass has found them; None: detect cuts."""
        self._starts = starts
        self._cut_detector, self._size, self._current = CutDetector(), (0, 0), 0
        self._numbers: WeakKeyDictionary[Frame, int] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def __call__(self, frame: Frame) -> int:
        """Shot number of `frame`."""
        if self._starts is not None:
            return max(bisect_right(self._starts, frame.index) - 1, 0)
        with self._lock:
            if frame not in self._numbers:
                is_cut = self._cut_detector(frame.luma(size=THUMB))
                self._current += is_cut or self._size not in ((0, 0), frame.size)
                self._size, self._numbers[frame] = frame.size, self._current
            return self._numbers[frame]


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Pearson correlation of two arrays of one shape."""
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / (np.sqrt((a * a).sum() * (b * b).sum()) + 1e-6))
