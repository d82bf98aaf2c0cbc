"""Shot boundary detection, and the shot numbers that all stages of a run share.

A hard cut, a dissolve and a fade through black or white to another place end a shot. A fade, a flash and a lamp do not.

Invariant: a decision uses thumbnails of this frame and of frames before only, so it does not depend on later frames. A
dissolve is known when it is over.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.frames import Frame

THUMB = (36, 64)  # (height, width) px: so small that motion of a few per cent of the frame hardly shows
STRUCTURE_SIGMA = 3.0  # px of the thumbnail: surroundings against which structure is measured
DISSOLVES = range(6, 21, 2)  # frames of a dissolve that are looked for
EVEN_BEND = 0.06  # deviation of the shares of a mix from those that grow evenly, up to which they do
MIXED = 0.3  # step of the mix beyond an end of a dissolve, as a share of one within it, from which on that end is mixed as well
SMOOTH_SIGMA = 2.0  # px of the thumbnail
SETTLED = 2  # frames before and after a dissolve that tell that it has not begun, and is over
MAX_TRANSITION = DISSOLVES[-1] + 4 + 2 * SETTLED  # thumbnails that tell a dissolve
ENLARGED = 3  # times: thumbnails between which motion is measured

Thumb = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Transition:
    """The end of a shot, in frames before the frame at which it is known."""

    began: int
    """Frames from the first frame of the new shot to this one."""
    mixed: int = 0
    """Frames of the dissolve before it, which show both shots; 0: there was none."""


class CutDetector:
    """Detects where shots end, from every frame once, in order."""

    MIN_DIFFERENCE = 18.0
    """Smallest mean absolute difference of thumbnails at a cut, grey levels."""
    MIN_RATIO = 1.8
    """Smallest ratio of that difference to its median over recent frames (in a fast pan all frames differ)."""
    MAX_CORRELATION = 0.55
    """Correlation of the thumbnails from which on there is no cut: same structure, a flash or a change of exposure."""
    MAX_STRUCTURE = 0.28
    """The same of the thumbnails' structure, which bands of mains light and lamps leave (.37 with bands of a quarter; .02 to
    .17 over pairs of 22 clips)."""
    MIN_SPREAD = 7.0
    """Standard deviation of a thumbnail, grey levels, below which it shows nothing: a picture faded to black or white."""
    MAX_BURNT = 0.5
    """Share of a thumbnail that is burnt out, above which it shows nothing: a flash."""
    MAX_EMPTY = 12
    """Frames that show nothing until they are a shot of their own, if they began with a jump."""
    MAX_MIX_ERROR = 0.29
    """Error of the frames of a dissolve as mixes of the frames before and after it, as a share of the difference of these two.
    Over 22 clips of moving cameras it was .30 and more, in 60 dissolves between them .04 to .2, with fast motion up to .5."""
    MAX_MIX_BEND = 0.2
    """Largest difference of the shares in the mix from those that grow evenly."""

    MIN_EVEN = 0.62
    """Correlation of the change in the first half of a dissolve with that in the second: they are one change. Where a fine
    texture moves it is .58 and less, in nine of ten dissolves more."""
    MAX_MOTION = 0.63
    """Difference of two frames of a dissolve after motion between them is undone, as a share of that before, up to which it is
    motion and no dissolve: .59 at most in moving cameras that pass for one otherwise, .65 to .99 in 160 dissolves."""

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._pending: tuple[float, Transition] | None = None  # a dissolve that may turn out to be longer, and its bend
        self._thumbs: deque[Thumb] = deque(maxlen=MAX_TRANSITION)
        self._differences: deque[float] = deque(maxlen=8)
        self._shown: Thumb | None = None  # the last thumbnail that showed something
        self._empty: list[float] = []  # standard deviations of those since then
        self._jumped = False  # whether these began with a jump

    def __call__(self, luma: NDArray[np.uint8]) -> bool:
        """Whether a new shot is known to have begun with `luma`, uint8 [H, W] of any size, or shortly before."""
        return self.transition(luma) is not None

    def transition(self, luma: NDArray[np.uint8]) -> Transition | None:
        """The end of a shot that is known with this frame; None: there is none."""
        current = cv2.resize(luma, THUMB[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
        previous = self._thumbs[-1] if self._thumbs else None
        self._thumbs.append(current)
        if previous is None:
            self._shown = current
            return None
        found = self._cut(current, previous) or self._settled(self._dissolves())
        if found is not None:
            self._pending = None
            kept = list(self._thumbs)[-found.began - 1 :]
            self._thumbs.clear()
            self._thumbs.extend(kept)
            self._differences.clear()
        return found

    def _cut(self, current: Thumb, previous: Thumb) -> Transition | None:
        """A hard cut, or a fade through frames that show nothing."""
        difference = float(np.abs(current - previous).mean())
        shows, empty = self._shows(current), len(self._empty)
        if not shows and self._shown is not None and (empty or self._shows(previous)):
            self._jumped = self._jumped if empty else difference > self.MIN_DIFFERENCE
            self._empty.append(float(current.std()))
            if not (self._jumped and len(self._empty) > self.MAX_EMPTY):
                return None
            self._shown, self._empty = None, []
            return Transition(self.MAX_EMPTY)
        before = self._shown if empty and self._shown is not None else previous
        median = float(np.median(self._differences)) if self._differences else 0.0
        jumps = difference > self.MIN_DIFFERENCE and difference > self.MIN_RATIO * median
        is_cut = (jumps or bool(empty)) and self._unlike(current, before)
        self._differences.append(difference)
        # the darkest frame is neither's: it may as well begin the new shot
        began = 0 if jumps or not empty else min(empty - int(np.argmin(self._empty)), MAX_TRANSITION)
        self._shown, self._empty = (current if shows else None), []
        return Transition(began) if is_cut else None

    def _dissolves(self) -> list[tuple[float, Transition]]:
        """Dissolves that may have ended `SETTLED` frames before this one, each with the largest deviation of its shares."""
        thumbs, found = self._thumbs, []
        for frames in DISSOLVES:
            if len(thumbs) < frames + 2 + 2 * SETTLED:
                break
            after, before = thumbs[-1 - SETTLED], thumbs[-frames - 2 - SETTLED]
            apart = after - before
            size = float((apart * apart).mean())
            if size < self.MIN_DIFFERENCE**2 or not (self._shows(before) and self._shows(after)):
                continue
            run = [thumbs[k] for k in range(-frames - 2 - 2 * SETTLED, 0)]
            shares = np.array([float(((thumb - before) * apart).mean()) / size for thumb in run])
            step = 1 / (frames + 1)
            if shares[0] < -SETTLED * step / 3 or shares[-1] > 1 + SETTLED * step / 3:
                continue  # it began earlier, or goes on
            is_mixed = (
                shares[SETTLED - 1] < -MIXED * step,
                shares[-SETTLED] > 1 + MIXED * step,
            )  # the frames at its ends
            between, shares = run[SETTLED + 1 : -SETTLED - 1], shares[SETTLED + 1 : -SETTLED - 1]
            bend = float(np.abs(shares - step * np.arange(1, frames + 1)).max())
            if bend > self.MAX_MIX_BEND:
                continue
            middle = slice(frames // 4, frames - frames // 4)
            errors = [_smooth(t - before - w * apart) for t, w in zip(between[middle], shares[middle], strict=True)]
            error = max(float((e * e).mean()) for e in errors)
            if error > self.MAX_MIX_ERROR**2 * float((_smooth(apart) ** 2).mean()) or not self._unlike(after, before):
                continue
            half = _smooth(between[(frames - 1) // 2])
            if _correlation(half - _smooth(before), _smooth(after) - half) < self.MIN_EVEN:
                continue
            if self._moves(between[frames // 3], between[-1 - frames // 3]):
                continue
            found.append((bend, Transition(SETTLED - is_mixed[1], frames + sum(is_mixed))))
        return found

    def _settled(self, dissolves: Sequence[tuple[float, Transition]]) -> Transition | None:
        """A dissolve once no better one has been found for `SETTLED` frames: a part of a long one looks like a short one, so
        of those whose shares grow evenly the longest is the best."""
        pending = self._pending
        if pending is not None:
            pending = self._pending = pending[0], Transition(pending[1].began + 1, pending[1].mixed)
        better = False
        for bend, found in dissolves:
            if pending is None or (-max(bend, EVEN_BEND), found.mixed) > (
                -max(pending[0], EVEN_BEND),
                pending[1].mixed,
            ):
                pending, better = (bend, found), True
        self._pending = pending
        return pending[1] if pending is not None and not better and pending[1].began >= 2 * SETTLED else None

    def _moves(self, a: Thumb, b: Thumb) -> bool:
        """Whether motion explains the difference of two thumbnails."""
        size = (ENLARGED * THUMB[1], ENLARGED * THUMB[0])
        one, two = (
            cv2.resize(np.clip(thumb, 0, 255).astype(np.uint8), size, interpolation=cv2.INTER_CUBIC) for thumb in (a, b)
        )
        flow = self._flow.calc(one, two, None)
        x, y = np.meshgrid(np.arange(size[0], dtype=np.float32), np.arange(size[1], dtype=np.float32))
        warped = cv2.remap(two, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        rest, whole = cv2.absdiff(warped, one).mean(), cv2.absdiff(two, one).mean()
        return bool(rest < self.MAX_MOTION * whole)

    def _unlike(self, a: Thumb, b: Thumb) -> bool:
        """Whether two thumbnails show different places."""
        return (
            _correlation(a, b) < self.MAX_CORRELATION
            and _correlation(_structure(a), _structure(b)) < self.MAX_STRUCTURE
        )

    def _shows(self, thumb: Thumb) -> bool:
        return float(thumb.std()) >= self.MIN_SPREAD and float((thumb > 245).mean()) < self.MAX_BURNT


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


def _structure(thumb: Thumb) -> Thumb:
    """[h, w] what differs from the surroundings, as a multiple of how much they vary: the same under any light, in bands, too."""
    rows = thumb.mean(1, keepdims=True) + 1
    even = thumb * (rows.mean() / rows)
    detail = even - cv2.GaussianBlur(even, (0, 0), STRUCTURE_SIGMA)
    spread = cv2.GaussianBlur(detail * detail, (0, 0), STRUCTURE_SIGMA)
    return np.asarray(detail / np.sqrt(spread + 1.0), np.float32)


def _smooth(thumb: Thumb) -> Thumb:
    """Blurred by a pixel, so that motion counts less."""
    return np.asarray(cv2.GaussianBlur(thumb, (0, 0), SMOOTH_SIGMA), np.float32)


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Pearson correlation of two arrays of one shape."""
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / (np.sqrt((a * a).sum() * (b * b).sum()) + 1e-6))
