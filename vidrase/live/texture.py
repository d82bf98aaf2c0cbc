"""Texture synthesis for pixels that were never visible: slow, so in a thread and only now and then.

Coordinates are those of the anchor frame, reduced to `LONG_SIDE` px. One thread per job, at low priority.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.inpaint import can_shift, load_inpainter
from vidrase.live.background import Rect

LONG_SIDE = 224  # px; long side of the synthesized image: two seconds of one core
INTERVAL_SECONDS = 4.0  # seconds between two jobs
MIN_NEW_SHARE = 0.25  # unknown pixels without texture / all unknown pixels; above it a new job starts
MIN_DETAIL = 3.5  # grey levels of detail around the hole; below it (a wall) the smooth fill is better
FADE_VIEWS = 40  # calls of `view` during which a new result fades in
# unknown px that are synthesized at full `LONG_SIDE`; with more the image is reduced, which bounds the time
MAX_UNKNOWN_PX = 4000
CLOSE_TIMEOUT = 1.5  # seconds that `close` waits for a running job; its result is discarded
NICENESS = 5  # at 15 the job would never finish on a busy machine


class Texture:
    """Synthesized texture for frames of one size (height, width). threaded: False works inside `request`: repeatable."""

    def __init__(self, size: tuple[int, int], *, threaded: bool = True) -> None:
        scale = min(LONG_SIDE / max(size), 1.0)
        self.size = size
        self.small = max(round(size[0] * scale), 2), max(round(size[1] * scale), 2)
        self._threaded = threaded
        self._inpaint = load_inpainter("shifts" if can_shift() else "telea")
        self._result: tuple[NDArray[np.float32], NDArray[np.bool_]] | None = None
        self._earliest = 0.0
        self._generation = 0
        self._views = 0
        self._thread: threading.Thread | None = None

    def reset(self) -> None:
        """Discard the texture and running jobs after a change of scene."""
        self._generation += 1
        self._result = None
        self._earliest = 0.0

    def request(self, picture: NDArray[np.float32], unknown: NDArray[np.bool_]) -> None:
        """Synthesize `unknown` bool [h, w] of the reduced `picture` float32 [h, w, 3], unless done or running."""
        if self._thread is not None:
            if self._thread.is_alive():
                return
            self._thread.join()
            self._thread = None
        if time.monotonic() < self._earliest or unknown.all():
            return
        missing = unknown if self._result is None else unknown & ~self._result[1]
        if np.count_nonzero(missing) <= MIN_NEW_SHARE * np.count_nonzero(unknown) or not _has_detail(picture, unknown):
            return
        if not self._threaded:
            self._run(picture, unknown, self._generation)
            return
        self._earliest = time.monotonic() + INTERVAL_SECONDS
        self._thread = threading.Thread(
            target=self._run, args=(picture, unknown, self._generation), name="vidrase-live-texture", daemon=True
        )
        self._thread.start()

    def view(self, rect: Rect) -> tuple[NDArray[np.float32], NDArray[np.bool_]] | None:
        """(colour float32 [h, w, 3], valid bool [h, w]) within `rect` of the frame; None when there is none."""
        if self._result is None:
            return None
        colour, valid = self._result
        y0, y1, x0, x1 = rect
        sy, sx = self.small[0] / self.size[0], self.small[1] / self.size[1]
        warp = np.array([[sx, 0, (x0 + 0.5) * sx - 0.5], [0, sy, (y0 + 0.5) * sy - 0.5]])
        size, flags = (x1 - x0, y1 - y0), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        self._views += 1
        shown = cv2.warpAffine(colour, warp, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return shown, cv2.warpAffine(valid.view(np.uint8) * np.uint8(255), warp, size, flags=flags) > 127

    @property
    def fading_in(self) -> bool:
        """Whether a new texture is still fading in."""
        return self._result is not None and self._views < FADE_VIEWS

    def close(self) -> None:
        """Wait shortly for a running job; may be called again."""
        self._generation += 1
        if self._thread is not None:
            self._thread.join(CLOSE_TIMEOUT)
            self._thread = None

    def _run(self, picture: NDArray[np.float32], unknown: NDArray[np.bool_], generation: int) -> None:
        if self._threaded and sys.platform == "linux":
            with suppress(OSError):  # on Linux priorities are per thread
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        scale = min((MAX_UNKNOWN_PX / max(int(np.count_nonzero(unknown)), 1)) ** 0.5, 1.0)
        size = (round(unknown.shape[1] * scale), round(unknown.shape[0] * scale))
        small_picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        hole = cv2.resize(unknown.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA) > 0
        pixels = (np.ascontiguousarray(small_picture.transpose(2, 0, 1))[None] / 255).astype(np.float32)
        inpainted = self._inpaint(pixels, hole[None, None])[0].transpose(1, 2, 0) * np.float32(255)
        inpainted = cv2.resize(inpainted, unknown.shape[::-1], interpolation=cv2.INTER_CUBIC)
        inpainted = cv2.GaussianBlur(inpainted, (0, 0), 0.7)  # hides the reduced image's pixel grid
        if generation == self._generation:
            self._result, self._views = (inpainted, unknown), 0


def _has_detail(picture: NDArray[np.float32], hole: NDArray[np.bool_]) -> bool:
    """Whether there is texture around `hole` that a smooth fill would lack."""
    gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    detail = cv2.absdiff(gray, cv2.blur(gray, (5, 5)))
    surroundings = (cv2.dilate(hole.astype(np.uint8), np.ones((25, 25))) > 0) & (
        cv2.dilate(hole.astype(np.uint8), np.ones((5, 5))) == 0
    )
    return bool(surroundings.any() and detail[surroundings].mean() > MIN_DETAIL)
