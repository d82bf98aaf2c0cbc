"""Which frames the detector looks at: every n-th, or as the picture's own motion asks for."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.camera import fit_camera
from vidrase.flow import DisFlow
from vidrase.motion import Motion

MAX_INTERVAL = (
    2  # frames between two looks when nothing is asked for: what comes into the picture is seen a frame later at most
)
LONG_SIDE = 192  # px: long side of the picture on which motion is judged
FAST_MOTION_SHARE = 0.005  # of that side a frame: motion against the camera's, beyond which every frame is looked at
MOTION_PERCENTILE = 99  # percentile of the picture's motion that counts: a hand is not much of it


class DetectionScheduler:
    """Told of each frame in turn, says which have to be looked at."""

    def __init__(self, motion: Motion, every: int | None) -> None:
        """every: frames between two looks; None: one, or two where nothing moves much but the camera."""
        self._motion, self._every = motion, every
        self._flow = DisFlow(finest_scale=1, iterations=12, refinements=0)
        self._start = 0
        self._previous: NDArray[np.uint8] | None = None

    @property
    def max_interval(self) -> int:
        """Most frames between two looks."""
        return self._every or MAX_INTERVAL

    def due(self, index: int, *, start: bool) -> set[int]:
        """Frames to be looked at, now that frame `index` is known to `Motion`; some may have been named before.

        start: whether it begins a shot; both sides of a cut are looked at.
        """
        if self._every is not None:
            return {index - 1, index} if start else {index} if index % self._every == 0 else set()
        if start:
            self._start = index
        previous, self._previous = self._previous, _downscaled(self._motion.picture(index))
        fast = start or previous is None or self._moves_fast(previous, self._previous)
        scheduled = (index - self._start) % MAX_INTERVAL == 0
        return ({index} if scheduled or fast else set()) | ({index - 1} if fast else set())

    def _moves_fast(self, a: NDArray[np.uint8], b: NDArray[np.uint8]) -> bool:
        """Whether anything moves so much from `a` to `b` that carrying masks over it would show."""
        if a.shape != b.shape:
            return True
        flow = self._flow(a[None], b[None])[0]
        camera = fit_camera(flow, np.ones(a.shape, bool)).flow(0, 0, *a.shape)
        residual = np.hypot(flow[..., 0] - camera[..., 0], flow[..., 1] - camera[..., 1])
        return bool(np.percentile(residual, MOTION_PERCENTILE) > FAST_MOTION_SHARE * max(a.shape))


def _downscaled(luma: NDArray[np.uint8]) -> NDArray[np.uint8]:
    scale = min(LONG_SIDE / max(luma.shape), 1.0)
    size = max(round(luma.shape[1] * scale), 1), max(round(luma.shape[0] * scale), 1)
    return np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.uint8)
