"""Where the things are, in every picture, from looks at only some of them.

Everything here is small (`SMALL` px long): masks are carried from picture to picture by dense flow, a look in the past is carried
forward, one in the near future backward, and what was hidden once stays hidden for a while: a hole too large is the true
background all the same, a hole too small is a flash of a person.
"""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.flow import DisFlow
from vidrase.live.detect import Detection

SMALL = 384
PAST = 16  # pictures that a late look may be carried over
HOLD_PART = 0.62  # of the memory of a pixel, at each look that does not confirm it though the thing itself is found
HOLD_LOST = 0.93  # when the whole thing is not found any more
LEAST = 100  # of 255


@dataclass(slots=True, eq=False)
class Moment:
    """One picture on its way."""

    index: int
    rgb: NDArray[np.uint8] | None
    seconds: float
    arrived: float
    """Monotonic seconds."""
    gray: NDArray[np.uint8]
    """uint8 [h, w], small."""
    small: NDArray[np.uint8] | None = None
    """uint8 [h, w, 3]."""
    back: NDArray[np.float32] | None = None
    """Flow to the picture before, float32 [h, w, 2] small px; None until somebody needs it."""
    look: NDArray[np.uint8] | None = None
    """What the detector saw in this very picture, 0 or 255 [h, w]."""


def small_size(size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of the small picture for a frame of `size`."""
    scale = min(SMALL / max(size), 1.0)
    return max(round(size[0] * scale), 2), max(round(size[1] * scale), 2)


class Masks:
    """The masks of a run of pictures; `step` once for each, in order, however many later ones have arrived."""

    def __init__(self, small: tuple[int, int]) -> None:
        self.small = small
        self.anyone = False
        """Whether anything is to be hidden at present."""
        self.speed = 0.0
        """How fast what is hidden moves, small px a picture."""
        self._flow = DisFlow(finest_scale=2, iterations=12, refinements=2)
        self._held = np.zeros(small, np.uint8)
        self._past: deque[Moment] = deque(maxlen=PAST)
        grid = np.meshgrid(np.arange(small[1], dtype=np.float32), np.arange(small[0], dtype=np.float32))
        self._grid = np.stack(grid, axis=2)

    def forget(self) -> None:
        """Another place: nothing that was held is there any more."""
        self._held[:] = 0
        self._past.clear()

    def step(self, now: Moment, ahead: list[Moment], late: list[Detection], flow_px: int) -> NDArray[np.bool_]:
        """bool [h, w]: what is to be hidden in `now`.

        ahead: later pictures that have arrived, in order.  late: looks at pictures before `now` that came only now, with
        `found` already reduced to what is to go.  flow_px: long side at which motion is estimated.
        """
        before = self._past[-1] if self._past else None
        seen_ahead = next((k for k, moment in enumerate(ahead) if moment.look is not None and moment.look.any()), None)
        need = bool(self._held.any()) or seen_ahead is not None
        if need and before is not None:
            self._motion(now, before, flow_px)
            if self._held.any():
                assert now.back is not None
                self.speed = self._speed(now.back)
                self._held = self._carry(self._held, now.back)
        for look in late:
            self._merge(self._forward(paint(look, self.small), look.index, now, flow_px))
        if now.look is not None:
            self._merge(now.look)
        mask = self._held >= LEAST
        if seen_ahead is not None:
            mask |= self._backward(now, ahead[: seen_ahead + 1], flow_px)
        self._past.append(Moment(now.index, None, now.seconds, now.arrived, now.gray, None, now.back))
        self.anyone = bool(mask.any())
        if not self.anyone:
            self.speed = 0.0
        return mask

    def _merge(self, look: NDArray[np.uint8]) -> None:
        """Believe a look: what it shows is hidden, what it does not confirm fades."""
        if not self._held.any():
            self._held = look.copy()
            return
        found = cv2.dilate(look, np.ones((9, 9), np.uint8))
        count, parts = cv2.connectedComponents((self._held >= LEAST).astype(np.uint8), connectivity=4)
        confirmed = np.zeros(count, bool)
        confirmed[np.unique(parts[found > 0])] = True
        keep = np.where(confirmed[parts], HOLD_PART, HOLD_LOST).astype(np.float32)
        self._held = np.maximum(look, (self._held * keep).astype(np.uint8))
        self._held[self._held < LEAST] = 0

    def _motion(self, now: Moment, before: Moment, flow_px: int) -> None:
        """Have `now.back`."""
        if now.back is not None:
            return
        scale = flow_px / max(self.small)
        if scale < 0.99:
            size = (round(self.small[1] * scale), round(self.small[0] * scale))
            a, b = (cv2.resize(gray, size, interpolation=cv2.INTER_AREA) for gray in (now.gray, before.gray))
            flow = self._flow(a[None], b[None])[0]
            now.back = cv2.resize(flow, self.small[::-1]) / np.float32(scale)
        else:
            now.back = self._flow(now.gray[None], before.gray[None])[0]

    def _carry(self, mask: NDArray[np.uint8], back: NDArray[np.float32]) -> NDArray[np.uint8]:
        """`mask` of the picture before, in this one."""
        # nearest, and what comes from outside is empty: a linear carry would gnaw at the rim picture by picture
        return cv2.remap(mask, self._grid + back, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)

    def _forward(self, look: NDArray[np.uint8], index: int, now: Moment, flow_px: int) -> NDArray[np.uint8]:
        """A look at picture `index`, in `now`."""
        chain = [moment for moment in self._past if moment.index >= index] + [now]
        if chain[0].index != index or not look.any():
            return look  # older than the past reaches: better there than nowhere
        for a, b in itertools.pairwise(chain):
            self._motion(b, a, flow_px)
            assert b.back is not None
            look = self._carry(look, b.back)
        return look

    def _backward(self, now: Moment, ahead: list[Moment], flow_px: int) -> NDArray[np.bool_]:
        """What a later picture shows, in `now`; the way back is the way there turned round, near enough for a step or two."""
        mask = ahead[-1].look
        assert mask is not None
        for a, b in zip(reversed([now, *ahead[:-1]]), reversed(ahead), strict=True):
            self._motion(b, a, flow_px)
            assert b.back is not None
            spread = cv2.dilate(mask, np.ones((3, 3), np.uint8))
            inside = spread > 0
            step = np.median(b.back[inside], axis=0) if inside.any() else np.zeros(2)
            # the median keeps still background out of the vector; the thing's own motion is what matters
            moved = np.where(inside[..., None], b.back, step.astype(np.float32))
            mask = cv2.remap(mask, self._grid - moved, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
        return mask > 127

    def _speed(self, back: NDArray[np.float32]) -> float:
        inside = self._held >= LEAST
        if not inside.any():
            return 0.0
        return float(np.percentile(np.abs(back[inside]).max(1)[::7], 90))


def paint(look: Detection, small: tuple[int, int]) -> NDArray[np.uint8]:
    """All that `look` found as one mask, 0 or 255 [h, w]."""
    found = look.found
    if not len(found):
        return np.zeros(small, np.uint8)
    whole = np.zeros(found.size, np.uint8)
    for mask, (y, x) in zip(found.masks, found.corners, strict=True):
        rows, columns = mask.shape
        whole[y : y + rows, x : x + columns][mask] = 255
    scaled = cv2.resize(
        whole, small[::-1], interpolation=cv2.INTER_AREA if found.size[0] > small[0] else cv2.INTER_LINEAR
    )
    return np.where(scaled > 90, 255, 0).astype(np.uint8)
