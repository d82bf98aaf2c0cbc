"""Choose the frames in which to detect: every n-th, or depending on the motion."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.camera import fit_camera
from vidrase.flow import DisFlow
from vidrase.motion import Motion

# frames from one detection to the next by default; an object that appears is detected one frame late at most
MAX_INTERVAL = 2
LONG_SIDE = 192  # px: long side of the image on which motion is measured
# motion relative to the camera's, per frame, as a share of `LONG_SIDE`; above it every frame is detected
FAST_MOTION_SHARE = 0.005
# percentile over the image of the motion that is compared; it is high because a fast hand covers few pixels
MOTION_PERCENTILE = 99


class DetectionScheduler:
    """Takes frames in order and says in which ones to detect."""

    def __init__(self, motion: Motion, every: int | None) -> None:
        """every: frames from one detection to the next; None: one, or two where little moves besides the camera."""
        self._motion, self._every = motion, every
        self._flow = DisFlow(finest_scale=1, iterations=12, refinements=0)
        self._start = 0
        self._previous: NDArray[np.uint8] | None = None

    @property
    def max_interval(self) -> int:
        """Maximum number of frames from one detection to the next."""
        return self._every or MAX_INTERVAL

    def due(self, index: int, *, start: bool) -> set[int]:
        """Frames to detect in, after frame `index` was added to `Motion`; frames named earlier may be named again.

        start: whether `index` begins a shot. Frames on both sides of a cut are always detected.
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
        """Whether something moves too fast from `a` to `b` for interpolated masks."""
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
