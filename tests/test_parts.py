"""Detections that show one thing between them."""

from __future__ import annotations

import numpy as np
from fakes import instances
from numpy.typing import NDArray
from synth import as_frames, texture

from vidrase.frames import Instances
from vidrase.motion import Motion
from vidrase.track.parts import Parts

HEIGHT, WIDTH = 120, 160


def box(y0: int, y1: int, x0: int, x1: int) -> NDArray[np.bool_]:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y0:y1, x0:x1] = True
    return mask


BODY = box(20, 100, 60, 90)
TOP, LEGS = box(20, 55, 60, 90), box(55, 100, 60, 90)
BESIDE = box(20, 100, 95, 125)


def joined(*looks: tuple[list[NDArray[np.bool_]], list[int], list[float]]) -> list[Instances]:
    """What comes out for each look of (masks, the tracker's ids, scores); nothing moves."""
    motion = Motion(None, reach=8)
    parts = Parts(motion)
    out = []
    for place, frame in enumerate(as_frames([texture(HEIGHT, WIDTH)] * len(looks))):
        motion.add(place, frame)
        masks, ids, scores = looks[place]
        out.append(parts.join(place, instances(masks, scores=scores), np.array(ids, np.int64)))
    return out


def test_a_weak_second_look_adds_to_the_mask() -> None:
    arm = box(40, 50, 65, 110)
    (found,) = joined(([BODY, BODY & ~arm | arm], [1, 0], [0.9, 0.12]))
    assert found.ids.tolist() == [1]
    assert np.array_equal(found.mask(0), BODY | arm)


def test_a_weak_look_at_much_more_adds_nothing() -> None:
    (found,) = joined(([BODY, box(0, 120, 20, 150)], [1, 0], [0.9, 0.12]))
    assert np.array_equal(found.mask(0), BODY)


def test_what_is_weak_and_nobodys_goes() -> None:
    (found,) = joined(([BODY, BESIDE], [1, 0], [0.9, 0.12]))
    assert found.ids.tolist() == [1]


def test_the_whole_under_another_id_is_given_back() -> None:
    found = joined(([BODY], [1], [0.9]), ([LEGS, BODY], [1, 7], [0.4, 0.6]))[1]
    assert found.ids.tolist() == [1]
    assert np.array_equal(found.mask(0), BODY)
    assert found.scores[0] == np.float32(0.6)


def test_pieces_of_a_thing_are_put_together() -> None:
    found = joined(([BODY], [1], [0.9]), ([LEGS, TOP], [1, 0], [0.4, 0.15]))[1]
    assert found.ids.tolist() == [1]
    assert np.array_equal(found.mask(0), BODY)
    missed = joined(([BODY], [1], [0.9]), ([TOP, LEGS], [5, 6], [0.4, 0.3]))[1]
    assert missed.ids.tolist() == [1]
    assert np.array_equal(missed.mask(0), BODY)


def test_a_thing_in_its_own_place_is_nobodys_part() -> None:
    two = [BODY, TOP | box(20, 55, 90, 100)]  # a child before an adult
    found = joined((two, [1, 2], [0.9, 0.8]), ([LEGS, two[1]], [1, 2], [0.4, 0.8]))[1]
    assert sorted(found.ids.tolist()) == [1, 2]
    assert np.array_equal(found.mask(found.ids.tolist().index(1)), LEGS)


def test_who_is_complete_takes_nobody_in() -> None:
    found = joined(([BODY], [1], [0.9]), ([BODY, box(30, 60, 75, 100)], [1, 2], [0.9, 0.5]))[1]
    assert sorted(found.ids.tolist()) == [1, 2]


def test_what_is_new_and_lies_within_a_thing_is_that_thing_again() -> None:
    found = joined(([BODY], [1], [0.9]), ([BODY, box(30, 60, 70, 92)], [1, 2], [0.9, 0.5]))[1]
    assert found.ids.tolist() == [1]


def test_a_swollen_detection_is_not_the_thing() -> None:
    swollen = box(0, 120, 20, 150)
    found = joined(([BODY], [1], [0.9]), ([LEGS, swollen], [1, 7], [0.4, 0.6]))[1]
    assert np.array_equal(found.mask(found.ids.tolist().index(1)), LEGS)


def test_pieces_do_not_make_a_thing_grow_from_look_to_look() -> None:
    looks = [([BODY], [1], [0.9])]
    for step in range(1, 20):
        looks.append(([LEGS, box(20, 55, 60 + step, 90 + 3 * step)], [1, 0], [0.4, 0.15]))
    found = joined(*looks)[-1]
    assert found.mask(found.ids.tolist().index(1)).sum() <= BODY.sum()


def test_nothing_is_expected_across_a_cut() -> None:
    motion = Motion(None, reach=8)
    parts = Parts(motion)
    pictures = [texture(HEIGHT, WIDTH), 255 - texture(HEIGHT, WIDTH, seed=5)[::-1]]
    for place, frame in enumerate(as_frames(pictures)):
        if motion.add(place, frame):
            parts.new_shot()
        masks, ids = ([BODY], [1]) if place == 0 else ([LEGS, TOP], [2, 3])
        found = parts.join(place, instances(masks), np.array(ids, np.int64))
    assert found.ids.tolist() == [2, 3]
