"""Static shadows: those of objects that hardly move, detected in a single frame."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import synth
from numpy.typing import NDArray
from test_fill_residual import _found

from vidrase.fill.static_shadow import detect_static_shadow
from vidrase.fill.temporal_vote import static_shadow_vote
from vidrase.frames import Hole, HoleFrame

SIZE = (240, 320)


def _standing(share: float = 0.65) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]:
    """(a picture of sand, mask of an object on it, mask of its shadow)."""
    grain = np.random.default_rng(0).normal(200, 4, (*SIZE, 1)) * (1.0, 0.95, 0.85)
    body, shadow = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
    body[60:180, 120:170] = True
    shadow[168:182, 170:250] = True
    grain[shadow] *= share
    grain[body] = 40, 60, 160
    return np.clip(grain, 0, 255).astype(np.uint8), body, shadow


NOWHERE = np.zeros(SIZE, bool)


def test_a_dark_patch_at_the_foot_on_even_ground_is_a_shadow() -> None:
    picture, body, shadow = _standing()
    found = detect_static_shadow(picture, body, NOWHERE)
    assert found is not None
    assert found[shadow].mean() > 0.9
    assert not found[~shadow].any()


@pytest.mark.parametrize(
    "what", ["pale", "red", "striped", "to the border", "apart", "known", "meadow", "below the border"]
)
def test_other_patches_are_none(what: str) -> None:
    picture, body, shadow = _standing(0.9 if what == "pale" else 0.65)
    evaluated = shadow if what == "known" else NOWHERE
    if what == "red":
        picture[shadow] = 200, 60, 60
    if what == "striped":
        for left in range(174, 250, 16):
            picture[168:182, left : left + 8] = 40
    if what == "to the border":
        picture[168:182, 170:] = 130, 123, 110
    if what == "apart":
        picture[168:182, 170:180] = picture[190:204, 170:180]
    if what == "meadow":
        blades = cv2.GaussianBlur(np.random.default_rng(1).normal(0, 300, SIZE), (0, 0), 3)
        picture = np.clip(picture + blades[..., None], 0, 255).astype(np.uint8)
    if what == "below the border":
        picture, body = picture[:180], body[:180]
        evaluated = evaluated[:180]
    assert detect_static_shadow(picture, body, evaluated) is None


@pytest.mark.parametrize("bench", [False, True])
def test_the_shadow_of_a_standing_object_is_removed_under_a_panning_camera(bench: bool) -> None:
    """Not, however, a bench beside it (scenery), which looks the same."""
    ground = np.clip(np.random.default_rng(2).normal(190, 3, (160, 420, 3)), 0, 255)
    ground[:60] = synth.texture(60, 420, 4)
    frames, bodies, shadows = [], [], []
    for t in range(24):
        body, shadow = np.zeros((160, 420), bool), np.zeros((160, 420), bool)
        body[40:120, 200:230] = True
        shadow[112:122, 230:270] = True
        world = ground.copy()
        world[shadow] *= 0.6
        world[body] = 40, 60, 160
        part = np.s_[:, 4 * t : 4 * t + 240]
        frames.append(np.ascontiguousarray(world[part]).astype(np.uint8))
        bodies.append(body[part])
        shadows.append(shadow[part])
    scenery = [Hole.of(shadow, shadow) if bench else None for shadow in shadows]
    together = zip(synth.as_frames(frames), bodies, scenery, strict=True)
    clip = [HoleFrame(f, Hole.of(m, m), scenery=bench_hole) for f, m, bench_hole in together]
    for found, shadow in list(zip(_found(clip), shadows, strict=True))[10:]:  # before, it reaches beyond the border
        assert found.hole is not None
        share = found.hole.full_area()[shadow].mean()
        assert share < 0.1 if bench else share > 0.95


def test_a_patch_that_other_frames_show_lit_is_noise() -> None:
    own, shown, hidden = (np.zeros((40, 60), bool) for _ in range(3))
    own[5:10, 5:15], own[20:25, 5:15], own[30:35, 40:50] = True, True, True
    shown[5:10, 7:17], hidden[20:25, 4:12] = True, True
    found = static_shadow_vote(own, [np.dstack([shown, hidden])])
    assert found is not None
    assert found[5:10, 5:15].all()
    assert found[20:25, 5:15].all()
    assert not found[30:35, 40:50].any()
    assert static_shadow_vote(own, []) is None
    both = static_shadow_vote(None, [np.dstack([shown, hidden])] * 2)
    assert both is not None
    assert np.array_equal(both, shown)
