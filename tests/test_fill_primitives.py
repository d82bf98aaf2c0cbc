"""The fill's building blocks, each alone and with known truth."""

from __future__ import annotations

import fills
import numpy as np
import pytest
from numpy.typing import NDArray
from synth import YUV420, as_frames, texture

from vidrase.camera import STILL
from vidrase.colour import PixelLayout
from vidrase.fill.blending import Candidate, SampleSites, blend, compensate_exposure
from vidrase.fill.composite import by_grid, composite, mixed_at, plane_holes
from vidrase.fill.flow_completion import CompletedFlow, FlowPair
from vidrase.fill.membrane import membrane
from vidrase.fill.sampling import at
from vidrase.fill.selfcheck import SelfCheck
from vidrase.fill.window_frame import SourceMap, WindowFrame, WorkGrid
from vidrase.frames import Frame, Hole, HoleFrame

GREY = PixelLayout("gray", "gray", 8, full_range=True)
SIZE = (72, 90)


def _ramp(height: int, width: int) -> NDArray[np.float32]:
    """float32 [H, W]: a plane, which is its own membrane."""
    rows, columns = np.indices((height, width), np.float32)
    return 20 + 0.5 * rows + 0.25 * columns


# membrane


@pytest.mark.parametrize("size", [(40, 56), (37, 51), (3, 9)])
def test_a_membrane_leaves_the_known_and_stays_within_its_range(size: tuple[int, int]) -> None:
    random = np.random.default_rng(1)
    values, known = random.uniform(10, 200, (*size, 2)).astype(np.float32), random.random(size) < 0.3
    out = membrane(values, known)
    assert out.shape == values.shape
    assert np.abs(out - values)[known].max() < 1e-3
    assert out.min() >= values[known].min() - 1e-3
    assert out.max() <= values[known].max() + 1e-3


def test_a_membrane_over_a_slope_is_the_slope() -> None:
    values, known = _ramp(48, 64)[..., None], np.ones((48, 64), bool)
    known[16:32, 20:44] = False
    hidden = np.where(known[..., None], values, 999).astype(np.float32)
    assert np.abs(membrane(hidden, known) - values).max() < 1.0
    assert np.abs(membrane(hidden, known, sweeps=200) - values).max() < 0.1


def test_a_membrane_of_nothing_is_nothing_and_weights_are_confidences() -> None:
    ones = np.ones((8, 8, 1), np.float32)
    assert not membrane(ones, np.zeros((8, 8), bool)).any()
    weight = np.ones((9, 9), np.float32)
    weight[4, 4] = 0.25
    values = np.zeros((9, 9, 1), np.float32)
    values[4, 4] = 100
    assert membrane(values, weight)[4, 4, 0] == pytest.approx(25, abs=1)


# sampling


@pytest.mark.parametrize("count", [0, 1, 1023, 1024, 2500])
@pytest.mark.parametrize("cubic", [False, True])
def test_whole_numbers_give_the_pixel_itself(count: int, cubic: bool) -> None:
    random = np.random.default_rng(2)
    picture = random.integers(0, 256, (30, 40, 2), np.uint8)
    rows, columns = random.integers(0, 30, count), random.integers(0, 40, count)
    found = at(picture, columns.astype(np.float32), rows.astype(np.float32), cubic=cubic)
    assert found.dtype == np.uint8
    assert np.array_equal(found, picture[rows, columns])


def test_between_pixels_a_slope_goes_on_and_beyond_the_border_it_repeats() -> None:
    x, y = np.array([3.5, 10.25], np.float32), np.array([4.25, 7.5], np.float32)
    for cubic in (False, True):
        assert np.allclose(at(_ramp(20, 30), x, y, cubic=cubic), 20 + 0.5 * y + 0.25 * x, atol=0.05)
    beyond = at(_ramp(20, 30), np.array([-9, 99], np.float32), np.array([0, 19], np.float32))
    assert np.allclose(beyond, [20, 20 + 9.5 + 0.25 * 29])


# light and mixing


def _sites() -> tuple[SampleSites, NDArray[np.bool_]]:
    mask = np.zeros((60, 80), bool)
    mask[20:40, 25:60] = True
    return SampleSites.of(plane_holes(Hole.of(mask, mask), GREY)[0], mask.shape, 6), mask


def _candidate(sites: SampleSites, values: NDArray[np.float32]) -> Candidate:
    """`values`, a picture, sampled at the sites."""
    found = values[sites.y.astype(int), sites.x.astype(int)].astype(np.float32)
    return Candidate(np.zeros(len(found), np.int32), [found])


@pytest.mark.parametrize("step", [0.0, 9.0, -15.0])
def test_exposure_is_compensated_at_the_rim(step: float) -> None:
    sites, mask = _sites()
    truth = texture(*mask.shape, 3)[..., 0].astype(np.float32)
    candidate = _candidate(sites, truth + step)
    compensate_exposure(candidate, sites, sites.rim_of([truth], [0]), reach=24)
    assert np.abs(candidate.values[0][: sites.count] - truth[mask]).max() < 1.0
    assert candidate.rim_error is not None
    assert candidate.rim_error.mean() == pytest.approx(abs(step), abs=1.5)


def test_exposure_is_a_slope_where_the_rim_has_one_and_is_limited_to_the_reach() -> None:
    sites, mask = _sites()
    candidate = _candidate(sites, np.zeros(mask.shape, np.float32))
    compensate_exposure(candidate, sites, sites.rim_of([_ramp(*mask.shape) - 20], [0]), reach=100)
    assert np.abs(candidate.values[0][: sites.count] - (_ramp(*mask.shape) - 20)[mask]).mean() < 1.5
    candidate = _candidate(sites, np.zeros(mask.shape, np.float32))
    compensate_exposure(candidate, sites, sites.rim_of([np.full(mask.shape, 80.0)], [0]), reach=24)
    assert np.allclose(candidate.values[0][: sites.count], 24, atol=0.5)


def test_two_sources_are_averaged_and_one_that_knows_nothing_does_not_count() -> None:
    sites, mask = _sites()
    one, two = (_candidate(sites, np.full(mask.shape, v, np.float32)) for v in (100, 120))
    two.source[:10], one.source[10:20] = -1, -1
    two.source[20:30] = one.source[20:30] = -1
    (values,), known = blend([one, two], sites.count)
    assert np.array_equal(np.flatnonzero(~known), np.arange(20, 30))
    assert np.allclose(values[:10], 100)
    assert np.allclose(values[10:20], 120)
    assert np.allclose(values[30:], 110)


# compositing


@pytest.mark.parametrize("layout", [YUV420, PixelLayout("yuv422p10le", "yuv", 10, 1, 0), GREY])
def test_single_samples_are_mixed_as_the_whole_picture_is(layout: PixelLayout) -> None:
    frame = as_frames([texture(*SIZE, 4)], layout)[0]
    core, area = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
    core[20:40, 31:60], area[15:47, 25:67] = True, True
    holes, random = plane_holes(Hole.of(core, area), layout), np.random.default_rng(0)
    values = [random.uniform(0, (1 << layout.bits) - 1, int(hole.area.sum())).astype(np.float32) for hole in holes]
    whole = composite(frame, holes, values)
    for hole, planes in by_grid(holes):
        height, width = frame.planes[planes[0]].shape
        rim = SampleSites.of(hole, (height, width), 4).rim
        inside = tuple(
            where + corner for where, corner in zip(np.nonzero(hole.area), (hole.top, hole.left), strict=True)
        )
        everywhere = tuple(np.indices((height, width)).reshape(2, -1))
        for plane in planes:
            for at_these in (rim, inside, everywhere):
                found = mixed_at(frame, hole, plane, values[plane], at_these)
                assert found.dtype == frame.planes[plane].dtype
                assert np.array_equal(found, whole.planes[plane][at_these])


def test_a_fill_of_other_light_has_no_hard_edge() -> None:
    (frame,) = as_frames([np.full((*SIZE, 3), 100, np.uint8)], GREY)
    core, area = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
    core[20:50, 30:60], area[14:56, 24:66] = True, True
    holes = plane_holes(Hole.of(core, area), GREY)
    (plane,) = composite(frame, holes, [np.full(int(area.sum()), 130, np.float32)]).planes
    row = plane[35].astype(int)
    assert (plane[core] == 130).all()  # nothing of the object is left
    assert np.abs(np.diff(row)).max() < 25  # not one step of 30


class _Counted(Frame):
    """A frame that counts how often it is made anew as a whole."""

    made = 0

    def with_planes(self, planes: tuple[NDArray, ...]) -> Frame:
        _Counted.made += 1
        return super().with_planes(planes)


def test_a_whole_frame_is_composited_once_and_once_more_where_it_is_inpainted() -> None:
    mask = np.zeros(SIZE, bool)
    mask[20:50, 25:60] = True
    world = texture(SIZE[0] + 20, SIZE[1] + 60, 5)
    plain = as_frames([np.ascontiguousarray(world[10 : 10 + SIZE[0], t : t + SIZE[1]]) for t in range(20)])
    frames = [_Counted(f.planes, f.layout, f.index, f.pts, f.time_base) for f in plain]
    _Counted.made = 0
    assert len(fills.filled([HoleFrame(frame, Hole.of(mask)) for frame in frames])) == 20
    assert 20 <= _Counted.made <= 26  # one for each frame, one for each inpainted frame


# past and future


def _window_frames(
    pictures: list[NDArray[np.uint8]], masks: list[NDArray[np.bool_]], right: float
) -> dict[int, WindowFrame]:
    """Window frames of a camera that moves `right` px a frame, with known flow between them."""
    grid = WorkGrid.of(*SIZE, 99)
    window_frames = {
        t: WindowFrame.of(t, frame, Hole.of(mask), 0, grid)
        for t, (frame, mask) in enumerate(zip(as_frames(pictures, GREY), masks, strict=True))
    }
    for t in range(len(pictures) - 1):
        ahead, back = (CompletedFlow(0, 0, np.full((*SIZE, 2), (x, 0), np.float32), None) for x in (-right, right))
        window_frames[t].flow_pair = FlowPair(None, back, ahead, STILL)
    return window_frames


def _views(count: int, step: int) -> list[NDArray[np.uint8]]:
    world = texture(SIZE[0], SIZE[1] + 80, 6)
    return [np.ascontiguousarray(world[:, 10 + step * t : 10 + step * t + SIZE[1]]) for t in range(count)]


# the check without a truth


@pytest.mark.parametrize(("told", "least", "most"), [(2.0, 35, 99), (3.0, 5, 30)])
def test_the_check_knows_a_right_motion_from_a_wrong_one(told: float, least: float, most: float) -> None:
    masks = []
    for t in range(9):
        mask = np.zeros(SIZE, bool)
        if t == 4:
            mask[24:48, 34:56] = True
        masks.append(mask)
    window_frames = _window_frames(_views(9, 2), masks, told)
    here = window_frames[4]
    assert here.box is not None
    trajectory = SourceMap.empty(here.box)
    trajectory.source[:] = 6  # two frames away
    check = SelfCheck()
    assert check.psnr is None
    check.check_trajectories(here, [trajectory], window_frames, 4)
    assert check.psnr is not None
    assert least < check.psnr < most


def test_the_check_counts_decibels() -> None:
    check = SelfCheck()
    check.add(np.full(100, 25.5, np.float32))
    assert check.psnr == 20.0
    check.add(np.zeros(300, np.float32))
    assert check.psnr == pytest.approx(26.02)
