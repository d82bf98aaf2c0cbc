"""Scene cuts: is the next picture another shot? And the one answer to it that all stages of a run share.

Invariant: decides from two tiny pictures and the recent past only, so the answer does not depend on what comes later.
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


class Shots:
    """The number of the shot that a frame belongs to, 0, 1, ...

    Decided once: by whoever asks first for a frame, which has to be in order; all who ask for it later, from any thread, hear the
    same. Frames of another size are another shot.
    """

    def __init__(self, starts: Sequence[int] | None = None) -> None:
        """starts: indices of the frames that shots begin with, in order, where a first pass has decided; None: nobody has."""
        self._starts = starts
        self._cut, self._size, self._now = CutDetector(), (0, 0), 0
        self._numbers: WeakKeyDictionary[Frame, int] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def __call__(self, frame: Frame) -> int:
        """The number of the shot of `frame`."""
        if self._starts is not None:
            return max(bisect_right(self._starts, frame.index) - 1, 0)
        with self._lock:
            if frame not in self._numbers:
                cut = self._cut(frame.luma(size=THUMB))
                self._now += cut or self._size not in ((0, 0), frame.size)
                self._size, self._numbers[frame] = frame.size, self._now
            return self._numbers[frame]


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / (np.sqrt((a * a).sum() * (b * b).sum()) + 1e-6))
