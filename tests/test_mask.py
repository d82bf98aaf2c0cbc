"""Detections to holes: gaps, edges, borders, dilation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import FakeFlow, FakeSegmenter, instances
from numpy.typing import NDArray
from synth import as_frames, clip

from vidrase.colour import PixelLayout
from vidrase.errors import ShapeError
from vidrase.flow import DisFlow
from vidrase.frames import Frame, HoleFrame, Instances, Orientation
from vidrase.mask import REACH, frames_held, holes_from_masks, mask, morphology
from vidrase.mask.hole_canvas import HoleCanvas
from vidrase.motion import Motion
from vidrase.options import MaskOptions

EXACT = MaskOptions(dilate=0)
GREY = PixelLayout("gray", "gray", 8, 0, 0)


def seen_of(
    pictures: list[NDArray[np.uint8]], masks: list[NDArray[np.bool_]], missed: tuple[int, ...] = (), score: float = 0.9
) -> list[tuple[Frame, Instances]]:
    frames = as_frames(pictures)
    found = FakeSegmenter(masks, missed=missed, score=score)(frames)
    return [(frame, replace(one, ids=one.ids + 1)) for frame, one in zip(frames, found, strict=True)]


def area(hole: HoleFrame) -> NDArray[np.bool_]:
    return hole.hole.full_area() if hole.hole else np.zeros(hole.frame.size, bool)


def test_dilate_zero_takes_masks_exactly_as_they_are() -> None:
    pictures, masks, _ = clip(5)
    seen = seen_of(pictures, masks)
    out = list(mask(seen, options=EXACT, flow=DisFlow()))
    assert [hole.frame for hole in out] == [frame for frame, _ in seen]
    for hole, truth in zip(out, masks, strict=True):
        assert hole.hole is not None
        assert np.array_equal(hole.hole.full_core(), truth)
        assert np.array_equal(hole.hole.full_area(), truth)
    files = list(holes_from_masks([frame for frame, _ in seen], masks, EXACT))
    assert all(np.array_equal(area(hole), truth) for hole, truth in zip(files, masks, strict=True))


def test_nothing_chosen_leaves_no_hole() -> None:
    pictures, masks, _ = clip(3)
    seen = seen_of(pictures, masks)
    for chosen in (set(), {2}, lambda found: np.zeros(len(found), bool)):
        assert all(hole.hole is None for hole in mask(seen, chosen=chosen, options=MaskOptions(), flow=DisFlow()))
    assert all(hole.hole is not None for hole in mask(seen, chosen={1}, options=MaskOptions(), flow=DisFlow()))


@pytest.mark.parametrize("missed", [(4,), (4, 5, 6), (0,), (11,), (10, 11), (3, 7)])
def test_missed_detections_are_bridged(missed: tuple[int, ...]) -> None:
    pictures, masks, _ = clip(12, step=(0, 4), pan=(0.0, 1.0))
    out = list(mask(seen_of(pictures, masks, missed), options=MaskOptions(), flow=DisFlow()))
    for t, (hole, truth) in enumerate(zip(out, masks, strict=True)):
        covered = (area(hole) & truth).sum() / truth.sum()
        assert covered > (0.9 if t in missed else 0.999), t
        assert area(hole).sum() < 3.0 * truth.sum()


def test_behind_a_still_occluder_objects_move_on() -> None:
    pictures, masks, _ = clip(20, width=300, step=(0, 8))
    still = [pictures[0]] * 20  # the flow sees nothing move
    missed = tuple(range(7, 13))
    out = list(mask(seen_of(still, masks, missed), options=MaskOptions(), flow=DisFlow()))
    for t in missed:
        assert (area(out[t]) & masks[t]).sum() == masks[t].sum()


def test_a_long_absence_is_an_absence() -> None:
    pictures, masks, _ = clip(40, width=400, step=(0, 2))
    missed = tuple(range(10, 40))
    out = list(mask(seen_of(pictures, masks, missed), options=MaskOptions(), flow=DisFlow()))
    assert all(hole.hole is None for hole in out[10 + REACH :])


def test_a_single_weak_detection_is_dropped_and_a_sure_one_is_not() -> None:
    pictures, masks, _ = clip(9, step=(0, 0))
    missed = tuple(t for t in range(9) if t != 4)
    weak = list(mask(seen_of(pictures, masks, missed, score=0.3), options=MaskOptions(), flow=DisFlow()))
    assert all(hole.hole is None for hole in weak)
    sure = list(mask(seen_of(pictures, masks, missed, score=0.8), options=MaskOptions(), flow=DisFlow()))
    assert [hole.hole is not None for hole in sure] == [t == 4 for t in range(9)]
    still = list(mask(seen_of(pictures[:1], masks[:1], score=0.3), options=MaskOptions(), flow=DisFlow()))
    assert still[0].hole is not None


def test_a_flickering_part_is_steadied() -> None:
    pictures, masks, _ = clip(9, step=(0, 3))
    lacking = [m.copy() for m in masks]
    rows = np.flatnonzero(masks[4].any(1))
    lacking[4][rows[:8]] = False  # the head is missed once
    out = list(mask(seen_of(pictures, lacking), options=MaskOptions(), flow=DisFlow()))
    assert (area(out[4]) & masks[4]).sum() > 0.97 * masks[4].sum()


def test_nothing_crosses_a_cut() -> None:
    pictures, masks, _ = clip(8, step=(0, 2))
    pictures[4:] = [255 - p[::-1, ::-1] for p in pictures[4:]]
    out = list(mask(seen_of(pictures, masks, (4, 5, 6, 7)), options=MaskOptions(), flow=DisFlow()))
    assert all(hole.hole is not None for hole in out[:4])
    assert all(hole.hole is None for hole in out[4:])


def test_objects_near_the_border_are_covered_to_it() -> None:
    pictures, _, _ = clip(3)
    masks = []
    for _ in pictures:
        one = np.zeros((96, 128), bool)
        one[40:94, 2:30] = True  # two px short of the left and the lower border
        masks.append(one)
    out = list(mask(seen_of(pictures, masks), options=MaskOptions(), flow=None))
    for hole in out:
        assert hole.hole is not None
        core = hole.hole.full_core()
        assert core[42:, :28].all()
        assert not core[:30].any()
        assert not core[:, 50:].any()


def test_slits_and_small_holes_are_closed_and_large_ones_are_not() -> None:
    canvas = HoleCanvas((200, 300))
    core = canvas.core.copy()
    core[50:150, 50:100] = core[50:150, 103:150] = True  # a slit of 3 px
    core[100:105, 60:65] = False  # a peephole
    core[60:90, 60:90] = False  # a window
    canvas.add(core, core, (0, 0))
    canvas.joined()
    for part in (canvas.core, canvas.area):
        assert part[60:140, 98:105].all()
        assert part[100:105, 60:65].all()
        assert not part[65:85, 65:85].any()


def test_no_sliver_is_left_between_two_objects() -> None:
    bodies = np.zeros((200, 300), bool)
    bodies[50:150, 60:140] = bodies[50:150, 151:240] = True
    pictures = [np.where(bodies[..., None], np.uint8(200), np.uint8([[[40, 40, 40]]]))] * 2
    out = list(mask(seen_of(pictures, [bodies] * 2), options=MaskOptions(dilate=4), flow=None))
    assert area(out[0])[60:140, 60:240].all()


def test_an_object_half_outside_the_frame_is_completed_at_the_border() -> None:
    pictures = [np.zeros((60, 90, 3), np.uint8)] * 8
    whole, shoe = np.zeros((60, 90), bool), np.zeros((60, 90), bool)
    whole[10:58, 86:] = True
    shoe[50:58, 86:] = True
    out = list(mask(seen_of(pictures, [whole] * 4 + [shoe] * 4), options=MaskOptions(), flow=None))
    assert all(area(hole)[whole].all() for hole in out)
    inside = [np.roll(m, -30, axis=1) for m in (whole, shoe)]  # away from the border the smaller mask counts
    out = list(mask(seen_of(pictures, [inside[0]] * 4 + [inside[1]] * 4), options=MaskOptions(), flow=None))
    assert not area(out[7])[inside[0]].all()


def test_what_two_frames_call_background_is_removed_from_a_single_mask() -> None:
    pictures, masks, _ = clip(9, height=120, width=160, step=(0, 3))
    wrong = [m.copy() for m in masks]
    beside = np.zeros_like(masks[4])
    rows, columns = np.flatnonzero(masks[4].any(1)), np.flatnonzero(masks[4].any(0))
    beside[rows[0] + 6 : rows[-1] - 6, columns[-1] + 8 : columns[-1] + 20] = True
    beside[rows[0] + 8 : rows[0] + 12, columns[-1] : columns[-1] + 9] = True
    wrong[4] |= beside
    assert wrong[4].sum() < 1.4 * masks[4].sum()  # not so much that it is swollen
    out = list(mask(seen_of(pictures, wrong), options=MaskOptions(), flow=DisFlow()))
    far = beside.copy()
    far[:, : columns[-1] + 12] = False
    assert (area(out[4]) & far).sum() < 0.1 * far.sum()
    assert area(out[4])[masks[4]].all()


def test_a_swollen_mask_is_cut_back_to_what_its_neighbours_show() -> None:
    pictures, masks, _ = clip(9, height=120, width=160, step=(0, 3))
    # noise everywhere: no two frames agree on any background
    noise = np.random.default_rng(0)
    pictures = [np.clip(p.astype(int) + noise.integers(-30, 31, p.shape), 0, 255).astype(np.uint8) for p in pictures]
    swollen = [m.copy() for m in masks]
    swollen[4][10:110, 10:140] = True
    out = list(mask(seen_of(pictures, swollen), options=MaskOptions(), flow=DisFlow()))
    assert area(out[4]).sum() < 4 * masks[4].sum() < swollen[4].sum()
    assert area(out[4])[masks[4]].mean() > 0.98


def test_a_fast_object_is_interpolated_between_its_detections() -> None:
    pictures, masks, _ = clip(9, height=96, width=400, step=(0, 40), size=24)
    still = [pictures[0]] * 9  # too swift for the flow: it sees nothing move
    out = list(mask(seen_of(still, masks, missed=(4,)), options=MaskOptions(), flow=DisFlow()))
    assert area(out[4])[masks[4]].all()


def test_dilation_follows_frame_and_object_size() -> None:
    small = morphology.dilation_radius((480, 854), (100, 40))
    assert morphology.dilation_radius((1080, 1920), (100, 40)) > small
    assert morphology.dilation_radius((480, 854), (400, 200)) > small
    pictures, masks, _ = clip(3, step=(0, 0))
    seen = seen_of(pictures, masks)
    sizes = [area(next(iter(mask(seen, options=MaskOptions(dilate=n), flow=None)))).sum() for n in (1, 4, 9)]
    assert sizes[0] < sizes[1] < sizes[2]


def test_core_lies_inside_area_and_holds_the_mask() -> None:
    pictures, masks, _ = clip(4)
    for hole, truth in zip(mask(seen_of(pictures, masks), options=MaskOptions(), flow=DisFlow()), masks, strict=True):
        assert hole.hole is not None
        core, whole = hole.hole.full_core(), hole.hole.full_area()
        assert (core | whole == whole).all()
        assert core[truth].all()
        assert (whole & ~core).any()


def test_box_shape_is_a_box() -> None:
    pictures, _, _ = clip(2)
    disc = np.hypot(*(np.indices((96, 128)) - np.array([48, 64])[:, None, None])) < 20
    out = list(mask(seen_of(pictures, [disc] * 2), options=MaskOptions(dilate=0, shape="box"), flow=None))
    whole = area(out[0])
    rows, columns = np.flatnonzero(disc.any(1)), np.flatnonzero(disc.any(0))
    assert whole.sum() == len(rows) * len(columns)
    exact = list(mask(seen_of(pictures, [disc] * 2), options=MaskOptions(shape="mask"), flow=None))
    assert (area(exact[0])[disc]).all()
    assert area(exact[0]).sum() < 1.1 * disc.sum()


def test_gaps_inside_are_closed() -> None:
    pictures, _, _ = clip(2, height=200, width=200)
    body = np.zeros((200, 200), bool)
    body[20:180, 60:100] = body[20:180, 104:140] = True  # a slit
    body[20:60, 60:140] = True
    body[90:96, 70:76] = False  # a hole
    out = list(mask(seen_of(pictures, [body] * 2), options=MaskOptions(), flow=None))
    assert area(out[0])[30:170, 60:140].all()


def test_orientation_is_brought_back_to_stored() -> None:
    pictures, _, _ = clip(1)
    (frame,) = as_frames(pictures)
    turned = replace(frame, orientation=Orientation(quarter_turns=1))
    shown = np.zeros(turned.displayed_size, bool)
    shown[100:120, 10:30] = True
    found = instances([shown], ids=[1])
    (hole,) = mask([(turned, found)], options=EXACT, flow=DisFlow())
    assert hole.hole is not None
    assert hole.hole.size == frame.size
    assert np.array_equal(turned.orientation.to_display(hole.hole.full_area()), shown)


@pytest.mark.parametrize(("source", "target"), [(0, 1), (1, 0), (0, 3), (3, 1)])
def test_a_warped_mask_follows_an_exact_shift(source: int, target: int) -> None:
    _, masks, _ = clip(4, height=96, width=128, step=(2, 5))
    motion = Motion(FakeFlow(dx=5.0, dy=2.0), reach=4)
    flat = [np.full((96, 128, 3), 40 + FakeFlow.STEP * t, np.uint8) for t in range(4)]
    for place, frame in enumerate(as_frames(flat, GREY)):
        motion.add(place, frame)
    found = instances([masks[source]])
    warped = motion.carry((found.masks[0], tuple(found.corners[0])), source, target)
    assert warped is not None
    crop, (y, x) = warped
    full = np.zeros((96, 128), bool)
    full[y : y + crop.shape[0], x : x + crop.shape[1]] = crop
    assert np.array_equal(full, masks[target])


def test_mask_files_have_to_fit() -> None:
    pictures, _, _ = clip(1)
    with pytest.raises(ShapeError, match="expected a mask"):
        list(holes_from_masks(as_frames(pictures), [np.ones((10, 10), bool)], EXACT))


def test_frames_held_is_bounded() -> None:
    pictures, masks, _ = clip(60, width=300, step=(0, 2))
    seen = seen_of(pictures, masks)
    ahead = 0

    def counted():
        nonlocal ahead
        for pair in seen:
            ahead += 1
            yield pair

    for out, _ in enumerate(mask(counted(), options=MaskOptions(), flow=None), 1):
        assert ahead - out + 1 + REACH <= frames_held(MaskOptions())
