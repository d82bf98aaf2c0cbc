"""Texture for what nobody has seen yet: a slow, better invention made once beside the running picture, never for each one.

Coordinates are those of the anchor picture, `LONG_SIDE` px long. One thread for each invention, at low priority.
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

LONG_SIDE = 224  # px: long side of what is invented; two seconds of one core, once
INTERVAL_SECONDS = 4.0  # seconds from one invention to the next
MIN_NEW_SHARE = 0.25  # share of the unknown that has none yet from which another one is worth its time
MIN_DETAIL = 3.5  # grey levels of detail round the hole below which a smooth fill is the better one: a wall
FADE_VIEWS = 40  # views that a new invention is taken over in
# unknown px that are invented at full `LONG_SIDE`; more of them are made smaller, so that the time has a bound
MAX_UNKNOWN_PX = 4000
CLOSE_TIMEOUT = 1.5  # seconds that closing waits; what is still being invented then is thrown away
NICENESS = 5  # 15 would wait for ever on a busy machine


class Texture:
    """What was invented for frames of one size (height, width). threaded: False invents at once, in `request`: repeatable."""

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
        """Another place: what was invented, or is being invented, fits nowhere."""
        self._generation += 1
        self._result = None
        self._earliest = 0.0

    def request(self, picture: NDArray[np.float32], unknown: NDArray[np.bool_]) -> None:
        """Have `unknown` bool [h, w] of the small `picture` float32 [h, w, 3] invented, unless that is done or being done."""
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
        """(colour float32 [h, w, 3], where bool [h, w]) within `rect` of the frame; None when there is nothing."""
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
        """Whether what was invented is so new that it still has to be taken over, picture by picture."""
        return self._result is not None and self._views < FADE_VIEWS

    def close(self) -> None:
        """Wait a moment for an invention that is under way; may be called again."""
        self._generation += 1
        if self._thread is not None:
            self._thread.join(CLOSE_TIMEOUT)
            self._thread = None

    def _run(self, picture: NDArray[np.float32], unknown: NDArray[np.bool_], generation: int) -> None:
        if self._threaded and sys.platform == "linux":
            with suppress(OSError):  # on Linux a priority belongs to a thread
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        scale = min((MAX_UNKNOWN_PX / max(int(np.count_nonzero(unknown)), 1)) ** 0.5, 1.0)
        size = (round(unknown.shape[1] * scale), round(unknown.shape[0] * scale))
        small_picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        hole = cv2.resize(unknown.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA) > 0
        pixels = (np.ascontiguousarray(small_picture.transpose(2, 0, 1))[None] / 255).astype(np.float32)
        inpainted = self._inpaint(pixels, hole[None, None])[0].transpose(1, 2, 0) * np.float32(255)
        inpainted = cv2.resize(inpainted, unknown.shape[::-1], interpolation=cv2.INTER_CUBIC)
        inpainted = cv2.GaussianBlur(inpainted, (0, 0), 0.7)  # whole small pixels are steps when they are made large
        if generation == self._generation:
            self._result, self._views = (inpainted, unknown), 0


def _has_detail(picture: NDArray[np.float32], hole: NDArray[np.bool_]) -> bool:
    """Whether there is texture round `hole` that a smooth fill would lack."""
    gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    detail = cv2.absdiff(gray, cv2.blur(gray, (5, 5)))
    surroundings = (cv2.dilate(hole.astype(np.uint8), np.ones((25, 25))) > 0) & (
        cv2.dilate(hole.astype(np.uint8), np.ones((5, 5))) == 0
    )
    return bool(surroundings.any() and detail[surroundings].mean() > MIN_DETAIL)
