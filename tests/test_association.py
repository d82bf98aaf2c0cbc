"""Several detections of one object."""

from __future__ import annotations

import numpy as np
from fakes import instances
from numpy.typing import NDArray
from synth import as_frames, texture

from vidrase.frames import Instances
from vidrase.motion import Motion
from vidrase.track.association import MaskAssociation

HEIGHT, WIDTH = 120, 160


def box(y0: int, y1: int, x0: int, x1: int) -> NDArray[np.bool_]:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y0:y1, x0:x1] = True
    return mask


BODY = box(20, 100, 60, 90)
TOP, LEGS = box(20, 55, 60, 90), box(55, 100, 60, 90)
BESIDE = box(20, 100, 95, 125)


def associated(*detections: tuple[list[NDArray[np.bool_]], list[int], list[float]]) -> list[Instances]:
    """Output for each frame of (masks, tracker's ids, scores); nothing moves."""
    motion = Motion(None, reach=8)
    association = MaskAssociation(motion)
    out = []
    for index, frame in enumerate(as_frames([texture(HEIGHT, WIDTH)] * len(detections))):
        motion.add(index, frame)
        masks, ids, scores = detections[index]
        out.append(association.associate(index, instances(masks, scores=scores), np.array(ids, np.int64)))
    return out


def test_a_weak_second_detection_extends_the_mask() -> None:
    arm = box(40, 50, 65, 110)
    (merged,) = associated(([BODY, BODY & ~arm | arm], [1, 0], [0.9, 0.12]))
    assert merged.ids.tolist() == [1]
    assert np.array_equal(merged.mask(0), BODY | arm)


def test_a_weak_oversized_detection_is_ignored() -> None:
    (merged,) = associated(([BODY, box(0, 120, 20, 150)], [1, 0], [0.9, 0.12]))
    assert np.array_equal(merged.mask(0), BODY)


def test_a_weak_detection_of_no_object_is_removed() -> None:
    (merged,) = associated(([BODY, BESIDE], [1, 0], [0.9, 0.12]))
    assert merged.ids.tolist() == [1]


def test_a_whole_detection_under_another_id_gets_the_old_id() -> None:
    merged = associated(([BODY], [1], [0.9]), ([LEGS, BODY], [1, 7], [0.4, 0.6]))[1]
    assert merged.ids.tolist() == [1]
    assert np.array_equal(merged.mask(0), BODY)
    assert merged.scores[0] == np.float32(0.6)


def test_partial_detections_are_merged() -> None:
    merged = associated(([BODY], [1], [0.9]), ([LEGS, TOP], [1, 0], [0.4, 0.15]))[1]
    assert merged.ids.tolist() == [1]
    assert np.array_equal(merged.mask(0), BODY)
    missed = associated(([BODY], [1], [0.9]), ([TOP, LEGS], [5, 6], [0.4, 0.3]))[1]
    assert missed.ids.tolist() == [1]
    assert np.array_equal(missed.mask(0), BODY)


def test_an_object_at_its_predicted_position_is_not_merged() -> None:
    two = [BODY, TOP | box(20, 55, 90, 100)]  # a child before an adult
    merged = associated((two, [1, 2], [0.9, 0.8]), ([LEGS, two[1]], [1, 2], [0.4, 0.8]))[1]
    assert sorted(merged.ids.tolist()) == [1, 2]
    assert np.array_equal(merged.mask(merged.ids.tolist().index(1)), LEGS)


def test_a_complete_object_claims_no_other() -> None:
    merged = associated(([BODY], [1], [0.9]), ([BODY, box(30, 60, 75, 100)], [1, 2], [0.9, 0.5]))[1]
    assert sorted(merged.ids.tolist()) == [1, 2]


def test_a_new_detection_inside_an_object_belongs_to_it() -> None:
    merged = associated(([BODY], [1], [0.9]), ([BODY, box(30, 60, 70, 92)], [1, 2], [0.9, 0.5]))[1]
    assert merged.ids.tolist() == [1]


def test_an_oversized_detection_is_not_the_object() -> None:
    swollen = box(0, 120, 20, 150)
    merged = associated(([BODY], [1], [0.9]), ([LEGS, swollen], [1, 7], [0.4, 0.6]))[1]
    assert np.array_equal(merged.mask(merged.ids.tolist().index(1)), LEGS)


def test_merging_does_not_grow_the_mask_over_time() -> None:
    detections = [([BODY], [1], [0.9])]
    for step in range(1, 20):
        detections.append(([LEGS, box(20, 55, 60 + step, 90 + 3 * step)], [1, 0], [0.4, 0.15]))
    merged = associated(*detections)[-1]
    assert merged.mask(merged.ids.tolist().index(1)).sum() <= BODY.sum()


def test_no_prediction_across_a_cut() -> None:
    motion = Motion(None, reach=8)
    association = MaskAssociation(motion)
    pictures = [texture(HEIGHT, WIDTH), 255 - texture(HEIGHT, WIDTH, seed=5)[::-1]]
    for index, frame in enumerate(as_frames(pictures)):
        if motion.add(index, frame):
            association.new_shot()
        masks, ids = ([BODY], [1]) if index == 0 else ([LEGS, TOP], [2, 3])
        merged = association.associate(index, instances(masks), np.array(ids, np.int64))
    assert merged.ids.tolist() == [2, 3]
