"""Presentation times as a file has them, made strictly increasing where a file is broken.

Invariant: times that already increase go through unchanged, whatever their gaps and start.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

JUMP_SECONDS = 1  # a step back by more than this is a clock that was reset, not frames in a wrong order


class Timeline:
    """Gives every frame its pts; counts what it had to repair."""

    def __init__(self, time_base: Fraction, frame_rate: Fraction | None) -> None:
        self._time_base = time_base
        rate = frame_rate if frame_rate and frame_rate > 0 else Fraction(25)
        self._step = max(1, round(1 / (rate * time_base)))
        self._last: int | None = None
        self._offset = 0
        self.missing = 0
        self.repeated = 0
        self.resets = 0

    def place(self, pts: int | None, dts: int | None) -> int:
        """The frame's pts in ticks, after every one given before.

        pts, dts: as the decoder has them, None when it has none.
        """
        if pts is None:
            self.missing += 1
            pts = dts
        if pts is None:
            chosen = 0 if self._last is None else self._last + self._step
        else:
            chosen = pts + self._offset
        if self._last is not None and chosen <= self._last:
            if (self._last - chosen) * self._time_base > JUMP_SECONDS:
                self.resets += 1
                self._offset += self._last + self._step - chosen
                chosen = self._last + self._step
            else:
                self.repeated += 1
                chosen = self._last + 1
        self._last = chosen
        return chosen

    def report(self, note: Callable[[str], None]) -> None:
        """Say what was repaired."""
        if self.missing:
            note(f"{_frames(self.missing)} without a time stamp: times derived from their neighbours")
        if self.repeated:
            note(f"{_frames(self.repeated)} with a time stamp not after the one before: moved to the next tick")
        if self.resets:
            note(f"the clock of the video was set back {self.resets}x: times go on from there, sound may be apart")


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"
