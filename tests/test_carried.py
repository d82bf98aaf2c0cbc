"""Carried objects keep their ids."""

from __future__ import annotations

import numpy as np
from fakes import instances
from numpy.typing import NDArray

from vidrase.track.carried import CarriedObject, CarriedObjectReId


def box(y: int, x: int, side: int = 14) -> NDArray[np.bool_]:
    mask = np.zeros((120, 200), bool)
    mask[y : y + side, x : x + side] = True
    return mask


def person(x: int = 60) -> NDArray[np.bool_]:
    mask = np.zeros((120, 200), bool)
    mask[20:110, x : x + 30] = True
    return mask


def reidentify(reid: CarriedObjectReId, labels: list[str], masks: list[NDArray[np.bool_]], ids: list[int]) -> list[int]:
    detections = instances(masks, labels=labels, scores=[0.8 if number else 0.15 for number in ids])
    return reid.reidentify(detections, np.array(ids, np.int64)).tolist()


def test_a_swung_racket_keeps_its_id() -> None:
    reid = CarriedObjectReId()
    labels = ["person", "tennis racket"]
    assert reidentify(reid, labels, [person(), box(25, 90)], [1, 2]) == [1, 2]
    assert reidentify(reid, labels, [person(), box(90, 46)], [1, 3]) == [1, 2]
    assert reidentify(reid, labels, [person(), box(92, 46)], [1, 3]) == [1, 2]  # the tracker keeps its own id
    assert reidentify(reid, labels, [person(), box(25, 90)], [1, 0]) == [1, 2]  # a weak detection
    assert reidentify(reid, ["person", "frisbee"], [person(), box(25, 90)], [1, 9]) == [
        1,
        2,
    ]  # or as another class of the same group


def test_an_object_of_another_person_is_another_object() -> None:
    reid = CarriedObjectReId()
    labels = ["person", "person", "handbag"]
    assert reidentify(reid, labels, [person(), person(130), box(60, 90)], [1, 2, 3]) == [1, 2, 3]
    assert reidentify(reid, labels, [person(), person(130), box(60, 161)], [1, 2, 4]) == [1, 2, 4]


def test_two_bags_keep_two_ids() -> None:
    reid = CarriedObjectReId()
    labels = ["person", "handbag", "handbag"]
    assert reidentify(reid, labels, [person(), box(60, 90), box(60, 46)], [1, 2, 3]) == [1, 2, 3]
    assert reidentify(reid, labels, [person(), box(70, 90), box(70, 46)], [1, 2, 4]) == [1, 2, 3]


def test_an_object_away_from_people_is_not_reidentified() -> None:
    reid = CarriedObjectReId()
    assert reidentify(reid, ["person", "handbag"], [person(), box(60, 150)], [1, 2]) == [1, 2]
    assert reidentify(reid, ["person", "handbag"], [person(), box(10, 5)], [1, 3]) == [1, 3]


def test_size_and_time_limits() -> None:
    reid = CarriedObjectReId()
    assert reidentify(reid, ["person", "kite"], [person(), box(25, 90)], [1, 2]) == [1, 2]
    assert reidentify(reid, ["person", "kite"], [person(), box(25, 90, 40)], [1, 3]) == [1, 3]
    reid.new_shot()
    assert reidentify(reid, ["person", "kite"], [person(), box(25, 90)], [4, 5]) == [4, 5]
    assert CarriedObject("kite", 1, 10).missed == 0
