"""Things in somebody's hands keep their ids."""

from __future__ import annotations

import numpy as np
from fakes import instances
from numpy.typing import NDArray

from vidrase.track.held import Held, InHand


def box(y: int, x: int, side: int = 14) -> NDArray[np.bool_]:
    mask = np.zeros((120, 200), bool)
    mask[y : y + side, x : x + side] = True
    return mask


def person(x: int = 60) -> NDArray[np.bool_]:
    mask = np.zeros((120, 200), bool)
    mask[20:110, x : x + 30] = True
    return mask


def same(inhand: InHand, labels: list[str], masks: list[NDArray[np.bool_]], ids: list[int]) -> list[int]:
    found = instances(masks, labels=labels, scores=[0.8 if number else 0.15 for number in ids])
    return inhand.same(found, np.array(ids, np.int64)).tolist()


def test_a_racket_that_is_swung_keeps_its_id() -> None:
    inhand = InHand()
    labels = ["person", "tennis racket"]
    assert same(inhand, labels, [person(), box(25, 90)], [1, 2]) == [1, 2]
    assert same(inhand, labels, [person(), box(90, 46)], [1, 3]) == [1, 2]
    assert same(inhand, labels, [person(), box(92, 46)], [1, 3]) == [1, 2]  # the tracker goes on with its own
    assert same(inhand, labels, [person(), box(25, 90)], [1, 0]) == [1, 2]  # seen weakly
    assert same(inhand, ["person", "frisbee"], [person(), box(25, 90)], [1, 9]) == [1, 2]  # or for something like it


def test_what_another_has_is_another_thing() -> None:
    inhand = InHand()
    labels = ["person", "person", "handbag"]
    assert same(inhand, labels, [person(), person(130), box(60, 90)], [1, 2, 3]) == [1, 2, 3]
    assert same(inhand, labels, [person(), person(130), box(60, 161)], [1, 2, 4]) == [1, 2, 4]


def test_two_bags_stay_two() -> None:
    inhand = InHand()
    labels = ["person", "handbag", "handbag"]
    assert same(inhand, labels, [person(), box(60, 90), box(60, 46)], [1, 2, 3]) == [1, 2, 3]
    assert same(inhand, labels, [person(), box(70, 90), box(70, 46)], [1, 2, 4]) == [1, 2, 3]


def test_what_lies_about_is_nobodys() -> None:
    inhand = InHand()
    assert same(inhand, ["person", "handbag"], [person(), box(60, 150)], [1, 2]) == [1, 2]
    assert same(inhand, ["person", "handbag"], [person(), box(10, 5)], [1, 3]) == [1, 3]


def test_size_and_time_have_bounds() -> None:
    inhand = InHand()
    assert same(inhand, ["person", "kite"], [person(), box(25, 90)], [1, 2]) == [1, 2]
    assert same(inhand, ["person", "kite"], [person(), box(25, 90, 40)], [1, 3]) == [1, 3]
    inhand.new_shot()
    assert same(inhand, ["person", "kite"], [person(), box(25, 90)], [4, 5]) == [4, 5]
    assert Held("kite", 1, 10).looks == 0
