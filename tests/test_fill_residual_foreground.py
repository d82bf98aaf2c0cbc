"""Residual of an object outside its mask, moving camera: contact shadows, arms, clothes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
import pytest
import synth
from numpy.typing import NDArray
from test_fill_residual import SIZE, _bounds, _clip, _found, _part

from vidrase.fill.contact_shadow import ContactRegion
from vidrase.fill.residual_foreground import detect_residual_foreground
from vidrase.frames import Hole, HoleFrame

Mask = NDArray[np.bool_]
VISIT = range(22, 38)


def _contact(colour: tuple[float, float, float]) -> tuple[ContactRegion, NDArray[np.bool_]]:
    """An object on even ground; below it, outside its mask, a patch of `colour` times the ground."""
    picture = np.full((240, 320, 3), 120, np.uint8)
    area, patch = np.zeros((240, 320), bool), np.zeros((240, 320), bool)
    area[60:160, 120:200], patch[150:160, 140:180] = True, True
    area &= ~patch
    picture[area] = (225, 20, 30)
    picture[patch] = (picture[patch] * np.array(colour)).astype(np.uint8)
    return ContactRegion.of(synth.as_frames([picture])[0], area), patch


def test_a_contact_shadow_between_object_and_ground_is_found() -> None:
    contact, patch = _contact((0.3, 0.3, 0.35))
    part = np.s_[0:60, 0:80]
    everywhere = np.ones((60, 80), bool)
    unknown = _bounds(~everywhere, ~everywhere)
    dark = contact.dark(unknown, part, (60, 80))
    assert contact.dark(None, part, (60, 80)) is None  # a single picture is taken as it is
    assert dark is not None
    assert dark[patch].all()
    assert dark.sum() < 2 * patch.sum()
    by_itself = replace(_bounds(everywhere, everywhere), rgb=np.full((60, 80, 3), 45, np.float32))
    assert contact.dark(by_itself, part, (60, 80)) is None


@pytest.mark.parametrize("colour", [(0.9, 0.9, 0.9), (0.7, 0.3, 0.1)])
def test_no_contact_shadow_where_it_is_not_dark_or_of_another_colour(colour: tuple[float, float, float]) -> None:
    nowhere = np.zeros((60, 80), bool)
    assert _contact(colour)[0].dark(_bounds(nowhere, nowhere), np.s_[0:60, 0:80], (60, 80)) is None


def test_residual_foreground_differs_from_all_other_frames_and_touches_the_hole() -> None:
    own, body, _ = _part()
    own[:] = 140
    arm, apart = np.zeros(body.shape, bool), np.zeros(body.shape, bool)
    arm[30:40, 75:90], apart[30:40, 110:125] = True, True
    own[arm | apart] = 230, 160, 140
    everywhere = np.ones(body.shape, bool)
    found = detect_residual_foreground(own, ~body, _bounds(everywhere, everywhere))
    assert found is not None
    assert (found == arm).all()
    assert detect_residual_foreground(own, ~body, replace(_bounds(everywhere, everywhere), sure=~everywhere)) is None
    own[75:, 75:] = 230  # as large as the object: another object
    assert (detect_residual_foreground(own, ~body, _bounds(everywhere, everywhere)) == arm).all()


def _visit(beside: tuple[slice, slice], colour: tuple[int, int, int]) -> tuple[list[NDArray], list[Mask], list[Mask]]:
    """A pale background that many frames show; a square visible in some of them, with a part of `colour` beside it.

    beside: rows and columns of that, from the square's top and right. Returns (pictures, masks of the square, of the part).
    """
    shown, masks, truth = synth.clip(60, *SIZE, pan=(0.2, 1.5), step=(0, 3), size=30, seed=3)
    parts = []
    for t, (picture, mask) in enumerate(zip(shown, masks, strict=True)):
        mask &= t in VISIT
        picture[:] = np.where(mask[..., None], picture, 100 + truth[t] // 5)
        part = np.zeros(SIZE, bool)
        if mask.any():
            top, right = np.flatnonzero(mask.any(1))[0], np.flatnonzero(mask.any(0))[-1]
            part[top + beside[0].start : top + beside[0].stop, right + beside[1].start : right + beside[1].stop] = True
        picture[part] = colour
        parts.append(part)
    return shown, masks, parts


def test_an_arm_missing_from_the_mask_is_added() -> None:
    shown, masks, arms = _visit(np.s_[4:12, 1:16], (250, 40, 250))
    clip = [HoleFrame(f, Hole.of(m, m)) for f, m in zip(synth.as_frames(shown), masks, strict=True)]
    covered = [f.hole.full_area()[arm].mean() for f, arm in zip(_found(clip), arms, strict=True) if f.hole]
    assert np.mean(covered) > 0.9


@pytest.mark.parametrize("rows", [1, 2, 8])
def test_an_object_that_enters_from_below_has_no_contact_shadow(rows: int) -> None:
    clip, _ = _clip(1.0)
    area = np.zeros(SIZE, bool)
    area[-rows:, 60:90] = True
    assert len(_found([HoleFrame(found.frame, Hole.of(area, area)) for found in clip[:12]])) == 12


def test_a_protected_object_is_not_added_though_undetected_in_some_frames() -> None:
    shown, masks, friends = _visit(np.s_[4:22, 3:17], (240, 230, 30))
    frames = synth.as_frames(shown)

    def eaten(told: Collection[int]) -> float:
        clip = [
            HoleFrame(f, Hole.of(m, m), protected_hole=Hole.of(o, o) if t in told else None)
            for t, (f, m, o) in enumerate(zip(frames, masks, friends, strict=True))
        ]
        return max(f.hole.full_area()[o].mean() for f, o in zip(_found(clip), friends, strict=True) if f.hole)

    assert eaten({*range(60)} - {*range(27, 32)}) < 0.1
    assert eaten(()) > 0.3
