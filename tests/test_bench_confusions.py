"""Judging what is taken for people: animals on which a person is found, pictures with nobody, classes against the truth."""

from __future__ import annotations

import numpy as np
from fakes import instances

from vidrase.bench.confusions import ANIMALS, Judged, held_out, rows_of


def square(x: int, y: int, side: int) -> np.ndarray:
    mask = np.zeros((60, 100), bool)
    mask[y : y + side, x : x + side] = True
    return mask


def test_an_animal_on_which_a_person_is_found_is_taken_for_one() -> None:
    bear, bird, man = square(10, 10, 40), square(70, 5, 12), square(12, 12, 36)
    judged = Judged()
    truth = instances([bear, bird], labels=["bear", "bird"], scores=[0.9, 0.8])
    judged.judge("animal", instances([man], labels=["person"], scores=[0.3]), truth)
    judged.judge("animal", instances([square(0, 0, 8)], labels=["person"], scores=[0.3]), truth)  # beside both
    judged.judge("animal", instances([bear], labels=["bear"], scores=[0.3]), truth)
    judged.judge("thing", instances([man], labels=["car"]), instances([man], labels=["car"], scores=[0.2]))
    rows = {row.case: row.numbers for row in rows_of(judged, "ours")}
    assert rows["nobody/animal"] == {
        "people found": 0.6667, "pictures": 3, "taken for people": round(1 / 6, 4), "animals": 6
    }  # fmt: skip
    assert rows["nobody/thing"] == {"people found": 0, "pictures": 1}


def test_classes_are_compared_with_a_sure_truth() -> None:
    judged = Judged()
    here, there = square(0, 0, 30), square(60, 10, 30)
    for _ in range(10):
        truth = instances([here, there], labels=["dog", "dog"], scores=[0.9, 0.2])  # doubtful ones need not be found
        judged.judge("any", instances([here, there, square(40, 0, 10)], labels=["dog"] * 3), truth)
    (row,) = rows_of(judged, "ours")
    assert row.case == "classes/dog"
    assert row.numbers == {"found": 1, "right": 0.6667, "cases": 10}
    assert not judged.nobody  # there may be people in such a picture


def test_the_held_out_pictures_are_many_and_named_once() -> None:
    kinds, names = zip(*held_out(), strict=True)
    assert len(names) == len(set(names))
    assert kinds.count("animal") + kinds.count("vehicle") >= 150
    assert {"cow", "elephant", "bear", "bird", "dog"} <= ANIMALS
