"""Time stamps of a broken file, made to go on.

Invariant: stamps that already increase go through unchanged, whatever their gaps and start.
"""

from __future__ import annotations

from fractions import Fraction

JUMP_SECONDS = 1  # a step back by more than this is a clock that was set back, not something in a wrong order

LEAP_SECONDS = 86400  # a step ahead by more than this is one of a damaged clock: no film waits for a day


class Clock:
    """Places stamp after stamp, each after the one before; counts what it had to move.

    A stamp that lies back by less than one step goes to the next tick. From one step on, what follows goes on from here:
    a clock that was set back stays so, and so does one that leapt ahead by more than a day. Where the
    stamps themselves are soon ahead again, it was only a few in a wrong order.
    """

    def __init__(self, time_base: Fraction) -> None:
        self.last: int | None = None
        """Where the last one was placed, ticks."""
        self.moved = 0
        """Stamps that came before their predecessors, not counting those after a clock that was set back."""
        self.set_back = 0
        """How often the clock was set back."""
        self.leapt = 0
        """How often the clock leapt ahead by more than a day."""
        self._time_base = time_base
        self._offset = 0  # of clocks set back or ahead for good
        self._slip = 0  # of a small step back, for as long as the stamps are not ahead again
        self._slipped = 0  # stamps placed with it

    def place(self, stamp: int, step: int, *, twice: bool = False) -> int:
        """`stamp` in ticks, or what it becomes. step: ticks to the next one. twice: two may have one time."""
        chosen, last = stamp + self._offset, self.last
        if self._slip and last is not None and chosen > last:
            self.moved += self._slipped
            self.set_back -= 1
            self._slip = self._slipped = 0
        chosen += self._slip
        if last is not None and (chosen < last or (chosen == last and not twice)):
            behind = last - chosen
            if behind < step:
                self.moved += 1
                chosen = last + 1
            else:
                if behind * self._time_base > JUMP_SECONDS:
                    self._offset += behind + step
                    self.set_back += 1
                else:
                    self.set_back += not self._slip
                    self._slip += behind + step
                chosen = last + step
        elif last is not None and (chosen - last) * self._time_base > LEAP_SECONDS:
            self._offset -= chosen - last - step
            self.leapt += 1
            chosen = last + step
        self._slipped += bool(self._slip)
        self.last = chosen
        return chosen
