"""Which frames the detector looks at: every n-th, or as the picture's own motion asks for."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.camera import fit_camera
from vidrase.flow import DisFlow
from vidrase.motion import Motion

LONGEST = (
    2  # frames between two looks when nothing is asked for: what comes into the picture is seen a frame later at most
)
SIDE = 192  # px: long side of the picture on which motion is judged
SWIFT_SHARE = 0.005  # of that side a frame: motion against the camera's, beyond which every frame is looked at
MOVING = 99  # percentile of the picture's motion that counts: a hand is not much of it


class Pace:
    """Told of each frame in turn, says which have to be looked at."""

    def __init__(self, motion: Motion, every: int | None) -> None:
        """every: frames between two looks; None: one, or two where nothing moves much but the camera."""
        self._motion, self._every = motion, every
        self._flow = DisFlow(finest_scale=1, iterations=12, refinements=0)
        self._start = 0
        self._small: NDArray[np.uint8] | None = None

    @property
    def longest(self) -> int:
        """Most frames between two looks."""
        return self._every or LONGEST

    def due(self, place: int, *, start: bool) -> set[int]:
        """Frames to be looked at, now that frame `place` is known to `Motion`; some may have been named before.

        start: whether it begins a shot; both sides of a cut are looked at.
        """
        if self._every is not None:
            return {place - 1, place} if start else {place} if place % self._every == 0 else set()
        if start:
            self._start = place
        before, self._small = self._small, _reduced(self._motion.picture(place))
        swift = start or before is None or self._swift(before, self._small)
        looked = (place - self._start) % LONGEST == 0
        return ({place} if looked or swift else set()) | ({place - 1} if swift else set())

    def _swift(self, a: NDArray[np.uint8], b: NDArray[np.uint8]) -> bool:
        """Whether anything moves so much from `a` to `b` that carrying masks over it would show."""
        if a.shape != b.shape:
            return True
        flow = self._flow(a[None], b[None])[0]
        camera = fit_camera(flow, np.ones(a.shape, bool)).flow(0, 0, *a.shape)
        moved = np.hypot(flow[..., 0] - camera[..., 0], flow[..., 1] - camera[..., 1])
        return bool(np.percentile(moved, MOVING) > SWIFT_SHARE * max(a.shape))


def _reduced(luma: NDArray[np.uint8]) -> NDArray[np.uint8]:
    scale = min(SIDE / max(luma.shape), 1.0)
    size = max(round(luma.shape[1] * scale), 1), max(round(luma.shape[0] * scale), 1)
    return np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.uint8)
