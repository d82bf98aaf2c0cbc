"""The background plate: the median of what is not hidden, how noisy it is, where it moves."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from synth import YUV420, as_frames, texture

from vidrase.colour import PixelLayout, chroma_hole
from vidrase.frames import Frame
from vidrase.plate import MIN_SLOTS, Plate, PlateBuilder, light_offset

GREY = PixelLayout("gray", "gray", 8, full_range=True)
SIZE = (60, 80)


def _plate(frames: list[Frame], holes: list[NDArray[np.bool_] | None]) -> Plate:
    builder = PlateBuilder(frames[0])
    for frame, hole in zip(frames, holes, strict=True):
        planes = range(len(frame.planes))
        builder.add(frame, [None if hole is None else ~chroma_hole(hole, frame.layout, k) for k in planes])
    return builder.finish()


def _passing(count: int) -> list[NDArray[np.bool_]]:
    """Something that passes; the corner it hides always."""
    masks = []
    for t in range(count):
        mask = np.zeros(SIZE, bool)
        mask[20:44, 4 * t : 4 * t + 20] = True
        mask[:10, :10] = True
        masks.append(mask)
    return masks


@pytest.mark.parametrize("layout", [YUV420, GREY, PixelLayout("yuv422p10le", "yuv", 10, 1, 0)])
def test_what_passes_leaves_no_trace_and_what_is_never_seen_is_unknown(layout: PixelLayout) -> None:
    world, masks = texture(*SIZE, 3), _passing(14)
    shown = as_frames([np.where(mask[..., None], np.uint8(255), world) for mask in masks], layout)
    truth, plate = as_frames([world], layout)[0], _plate(shown, list(masks))
    for number, (made, wanted, known) in enumerate(zip(plate.planes, truth.planes, plate.known, strict=True)):
        assert made.dtype == wanted.dtype
        assert np.array_equal(made[known], wanted[known])
        never = chroma_hole(np.logical_and.reduce(masks), layout, number)
        assert np.array_equal(known, ~never)


def test_noise_is_measured_and_taken_out() -> None:
    random, world = np.random.default_rng(0), np.full((*SIZE, 3), 120, np.float64)
    shown = as_frames(
        [(world + random.normal(0, 4, SIZE)[..., None]).round().astype(np.uint8) for _ in range(40)], GREY
    )
    plate = _plate(shown, [None] * 40)
    assert plate.noise[0] == pytest.approx(4, rel=0.3)
    assert np.abs(plate.planes[0].astype(float) - 120).mean() < 1.2


def test_where_it_moves_it_wanders() -> None:
    random, world = np.random.default_rng(0), texture(*SIZE, 4)
    shown = []
    for _ in range(20):
        picture = world.copy()
        picture[10:30, 40:70] = random.integers(0, 256, (20, 30, 1))
        shown.append(picture)
    plate = _plate(as_frames(shown, GREY), [None] * 20)
    assert plate.spread[0][10:30, 40:70].mean() > 30
    assert not plate.spread[0][40:].any()


def test_light_that_drifts_is_evened_out() -> None:
    world = 60 + texture(*SIZE, 5) // 2
    shown = as_frames([world + np.uint8(t) for t in range(20)], GREY)
    plate = _plate(shown, [None] * 20)
    assert np.abs(plate.planes[0].astype(int) - shown[0].planes[0]).max() <= 1  # the first frame's light


def test_a_few_sample_frames_make_a_plate_and_one_makes_none() -> None:
    frames = as_frames([texture(*SIZE, 6)] * 2, GREY)
    assert _plate(frames, [None] * 2).known[0].all()
    alone = _plate(frames[:1], [None])
    assert not alone.known[0].any()
    assert alone.noise == (0.0,)
    assert _plate(frames * MIN_SLOTS, [None] * 2 * MIN_SLOTS).noise == (0.0,)


def test_how_much_brighter_one_picture_is() -> None:
    one = texture(*SIZE, 7)[..., 0]
    known = np.ones(SIZE, bool)
    known[:, :30] = False
    other = np.clip(one.astype(int) + 7, 0, 255).astype(np.uint8)
    other[:, :30] = 0
    assert light_offset(one, other, known) == 7
    assert light_offset(one, other, np.zeros(SIZE, bool)) == 0
