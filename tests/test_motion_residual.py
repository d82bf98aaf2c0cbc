"""Motion residual: what moves with an object and was left out of its mask."""

from __future__ import annotations

import numpy as np
from fakes import instances
from numpy.typing import NDArray
from synth import as_frames, clip

from vidrase.flow import DisFlow
from vidrase.frames import Frame, HoleFrame, Instances
from vidrase.mask import mask
from vidrase.options import MaskOptions

Mask = NDArray[np.bool_]
Scene = tuple[list[NDArray[np.uint8]], list[Mask], list[Mask]]
PAN = (0.0, 2.0)


def performer(frames: int = 9, *, swing: int = 9, length: int = 40) -> Scene:
    """(pictures, masks of the body, masks of an arm that swings up and down beside it) under a panning camera."""
    pictures, _, _ = clip(frames, 160, 240, pan=PAN, step=(0, 0), size=1)
    bodies, arms = [], []
    for t, picture in enumerate(pictures):
        body = np.zeros(picture.shape[:2], bool)
        body[40:140, 90:130] = True
        arm = np.zeros_like(body)
        top = 50 + swing * (t % 9 if t % 18 < 9 else 9 - t % 9)
        arm[top : top + 7, 130 : 130 + length] = True
        picture[body | arm] = (230, 30, 40)
        bodies.append(body)
        arms.append(arm)
    return pictures, bodies, arms


def covered(holes: list[HoleFrame]) -> list[Mask]:
    return [hole.hole.full_area() if hole.hole else np.zeros(hole.frame.size, bool) for hole in holes]


def seen_of(
    pictures: list[NDArray[np.uint8]], masks: list[Mask], others: list[Mask] | None = None
) -> list[tuple[Frame, Instances]]:
    shown = [[body] if others is None else [body, others[t]] for t, body in enumerate(masks)]
    found = [instances(some, ids=[1, 2]) for some in shown]
    return list(zip(as_frames(pictures), found, strict=True))


def share(part: Mask, of: Mask) -> float:
    return float((part & of).sum() / of.sum())


def test_a_swinging_arm_is_added_to_its_body() -> None:
    pictures, bodies, arms = performer()
    areas = covered(list(mask(seen_of(pictures, bodies), options=MaskOptions(), flow=DisFlow())))
    for t in range(1, len(pictures) - 1):
        near = arms[t].copy()
        near[:, 148:] = False  # a residual reaches no farther than a limb
        assert share(areas[t], near) > 0.9, t
        assert areas[t].sum() < 1.6 * (bodies[t] | arms[t]).sum()


def test_motion_apart_from_a_mask_is_left_alone() -> None:
    pictures, bodies, _ = performer(length=1)
    for t, picture in enumerate(pictures):
        picture[60 + 8 * t : 70 + 8 * t, 170:180] = (20, 220, 60)  # a ball that flies by
    areas = covered(list(mask(seen_of(pictures, bodies), options=MaskOptions(), flow=DisFlow())))
    assert not any(area[:, 168:].any() for area in areas)


def test_the_background_is_left_alone_while_the_camera_moves() -> None:
    pictures, bodies, _ = performer(length=1)
    exact = covered(list(mask(seen_of(pictures, bodies), options=MaskOptions(), flow=None)))
    areas = covered(list(mask(seen_of(pictures, bodies), options=MaskOptions(), flow=DisFlow())))
    assert all(area.sum() < 1.1 * plain.sum() for area, plain in zip(areas, exact, strict=True))


def test_noise_is_no_residual() -> None:
    rng = np.random.default_rng(4)
    pictures, bodies, _ = performer(length=1)
    noisy = [np.clip(p + rng.normal(0, 25, p.shape), 0, 255).astype(np.uint8) for p in pictures]
    areas = covered(list(mask(seen_of(noisy, bodies), options=MaskOptions(), flow=DisFlow())))
    assert all(area.sum() < 1.35 * body.sum() for area, body in zip(areas, bodies, strict=True))


def test_a_moving_protected_object_is_not_added() -> None:
    pictures, bodies, arms = performer()
    others = [arm.copy() for arm in arms]  # the same arm, but it is known whose it is
    seen = seen_of(pictures, bodies, others)
    areas = covered(list(mask(seen, chosen={1}, options=MaskOptions(), flow=DisFlow())))
    both = covered(list(mask(seen, chosen={1, 2}, options=MaskOptions(), flow=DisFlow())))
    for t in range(1, len(pictures) - 1):
        assert share(areas[t], arms[t]) < 0.3, t  # the edge beside the body, by growth
        assert share(both[t], arms[t]) > 0.99


def test_exact_masks_get_no_residual() -> None:
    pictures, bodies, _ = performer()
    areas = covered(list(mask(seen_of(pictures, bodies), options=MaskOptions(dilate=0), flow=DisFlow())))
    assert all(np.array_equal(area, body) for area, body in zip(areas, bodies, strict=True))


def test_a_residual_as_large_as_the_object_is_dropped() -> None:
    pictures, bodies, _ = performer(length=1)
    for t, picture in enumerate(pictures):
        picture[20:150, 130:150] = (40 + 20 * t, 250 - 20 * t, 30 * (t % 2))  # beside it, all changes at once
    areas = covered(list(mask(seen_of(pictures, bodies), options=MaskOptions(), flow=DisFlow())))
    assert all(area.sum() < 1.3 * body.sum() for area, body in zip(areas[1:-1], bodies[1:-1], strict=True))


def test_an_object_of_another_class_keeps_its_own_motion() -> None:
    pictures, bodies, arms = performer()
    frames = as_frames(pictures)
    dogs = [arm | body_beside for arm, body_beside in zip(arms, [still_part()] * len(arms), strict=True)]
    found = [instances([b, d], labels=["person", "dog"], ids=[1, 2]) for b, d in zip(bodies, dogs, strict=True)]
    areas = covered(list(mask(zip(frames, found, strict=True), chosen={1}, options=MaskOptions(), flow=DisFlow())))
    assert all(share(areas[t], arms[t]) < 0.3 for t in range(1, len(pictures) - 1))


def still_part() -> Mask:
    """The larger part of an object, which does not move: its moving share alone is too small to count as its own."""
    mask_ = np.zeros((160, 240), bool)
    mask_[60:150, 170:230] = True
    return mask_
