"""Presentation times as a file has them, made strictly increasing where a file is broken."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from vidrase.clock import Clock


class Timeline:
    """Gives every frame its pts; counts what it had to repair."""

    def __init__(self, time_base: Fraction, frame_rate: Fraction | None) -> None:
        self._time_base = time_base
        rate = frame_rate if frame_rate and frame_rate > 0 else Fraction(25)
        self._step = max(1, round(1 / (rate * time_base)))
        self._clock = Clock(time_base)
        self.missing = 0

    def place(self, pts: int | None, dts: int | None) -> int:
        """The frame's pts in ticks, after every one given before.

        pts, dts: as the decoder has them, None when it has none.
        """
        if pts is None:
            self.missing += 1
            pts = dts
        if pts is None:  # the clock's own next moment
            self._clock.last = 0 if self._clock.last is None else self._clock.last + self._step
            return self._clock.last
        return self._clock.place(pts, self._step)

    def report(self, note: Callable[[str], None]) -> None:
        """Say what was repaired."""
        if self.missing:
            note(f"{_frames(self.missing)} without a time stamp: times derived from their neighbours")
        if self._clock.moved:
            note(f"{_frames(self._clock.moved)} with a time stamp not after the one before: moved to the next tick")
        if self._clock.set_back:
            note(
                f"the clock of the video was set back {self._clock.set_back}x: times go on from there, sound may be apart"
            )
        if self._clock.leapt:
            note(f"the clock of the video leapt by more than a day {self._clock.leapt}x: times go on from where it was")


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"
