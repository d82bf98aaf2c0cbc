"""Stamps that increase go through; those that do not go on from where the clock was."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest

from vidrase.clock import Clock

TICK, STEP = Fraction(1, 1000), 40


def placed(stamps: list[int]) -> tuple[list[int], Clock]:
    clock = Clock(TICK)
    return [clock.place(stamp, STEP) for stamp in stamps], clock


def test_what_increases_stays() -> None:
    stamps = [-80, 0, 40, 41, 5000, 5040]
    assert placed(stamps)[0] == stamps


@pytest.mark.parametrize("back", [100, 500, 999, 1001, 60_000])
def test_a_clock_set_back_goes_on(back: int) -> None:
    stamps = [*range(0, 2000, STEP), *range(2000 - back, 4000 - back, STEP)]
    out, clock = placed(stamps)
    assert out == list(range(0, 4000, STEP))
    assert (clock.set_back, clock.moved) == (1, 0)


def test_a_leap_of_a_day_is_undone() -> None:
    far = 30 * 3600 * 1000
    out, clock = placed([0, 40, far, 120, 160, 200])
    assert out == [0, 40, 80, 120, 160, 200]
    assert (clock.leapt, clock.set_back) == (1, 1)
    assert placed([0, far // 2, far])[0] == [0, far // 2, far]


def test_a_few_in_a_wrong_order_move_nothing_after_them() -> None:
    out, clock = placed([0, 40, 80, 80, 70, 200, 240, 160, 400, 440])
    assert out == [0, 40, 80, 81, 82, 200, 240, 280, 400, 440]
    assert (clock.set_back, clock.moved) == (0, 3)


def test_decoding_order_stays_near_the_clock() -> None:
    shown = [k * STEP for group in range(20) for k in (3 * group + 3, 3 * group + 1, 3 * group + 2)]
    out, clock = placed(shown)
    assert all(a < b for a, b in itertools.pairwise(out))
    assert abs(out[-1] - shown[-1]) <= 4 * STEP
    assert clock.set_back <= 1
