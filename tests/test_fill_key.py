"""Which frame the synthesis is made on, and that it is propagated from there in both directions."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from fills import filled
from numpy.typing import NDArray
from synth import as_frames, texture

from vidrase.camera import CameraMotion
from vidrase.fill import inpainting
from vidrase.fill.flow_completion import CompletedFlow, FlowPair
from vidrase.fill.key_frame import camera_between, select_key_frame
from vidrase.fill.window_frame import WindowFrame, WorkGrid
from vidrase.frames import Frame, Hole, HoleFrame
from vidrase.inpaint import load_inpainter

SIZE = (60, 100)
RED = (225, 20, 30)


def _camera(x: float, zoom: float = 1.0) -> CameraMotion:
    return CameraMotion(np.array([[zoom, 0, x], [0, zoom, 0], [0, 0, 1.0]]), 1.0)


def _window_frames(areas: list[tuple[slice, slice]], motion: CameraMotion) -> dict[int, WindowFrame]:
    """Window frames whose holes no other frame shows: a trajectory never leaves the holes."""
    frames = as_frames([np.zeros((*SIZE, 3), np.uint8)] * len(areas))
    window_frames: dict[int, WindowFrame] = {}
    for frame, area in zip(frames, areas, strict=True):
        mask = np.zeros(SIZE, bool)
        mask[area] = True
        window_frames[frame.index] = WindowFrame.of(frame.index, frame, Hole.of(mask), 0, WorkGrid.of(*SIZE, 200))

    def completed(by: CameraMotion) -> CompletedFlow:
        flow = by.flow(0, 0, *SIZE)
        return CompletedFlow(0, 0, flow, None)

    for number in range(len(areas) - 1):
        window_frames[number].flow_pair = FlowPair(None, completed(motion.inverse()), completed(motion), motion)
    return window_frames


def _chosen(window_frames: dict[int, WindowFrame]) -> int:
    first = window_frames[0]
    assert first.area is not None
    return select_key_frame(window_frames, first, first.area, 60)


def test_an_object_that_enters_is_inpainted_on_a_later_frame() -> None:
    # a pillar, cut off by the right border at first
    areas = [np.s_[10:50, 90 - 4 * t : min(120 - 4 * t, 100)] for t in range(13)]
    assert _chosen(_window_frames(areas, _camera(-4))) >= 6


def test_an_object_that_leaves_is_inpainted_on_the_current_frame() -> None:
    areas = [np.s_[10:50, 55 + 4 * t : min(75 + 4 * t, 100)] for t in range(11)]
    assert _chosen(_window_frames(areas, _camera(4))) == 0


def test_a_camera_that_stands_still_has_no_better_frame() -> None:
    assert _chosen(_window_frames([np.s_[10:50, 40:60]] * 9, _camera(0))) == 0


def test_an_object_that_comes_nearer_is_inpainted_where_it_is_larger() -> None:
    areas = []
    for t in range(9):
        half = round(6 * 1.08**t)
        areas.append(np.s_[30 - half : 30 + half, 50 - half : 50 + half])
    zoom = CameraMotion(np.array([[1.08, 0, -0.08 * 50], [0, 1.08, -0.08 * 30], [0, 0, 1.0]]), 1.0)
    assert _chosen(_window_frames(areas, zoom)) > 3


def test_the_camera_between_two_frames_is_inverted_on_the_way_back() -> None:
    window_frames = _window_frames([np.s_[10:50, 40:60]] * 5, _camera(-3, 1.01))
    there, back = camera_between(window_frames, 0, 4), camera_between(window_frames, 4, 0)
    assert there is not None
    assert back is not None
    assert np.allclose(there.after(back).homography, np.eye(3))
    x, _ = there.points(np.float32([50]), np.float32([20]))
    expected = 50.0
    for _ in range(4):
        expected = 1.01 * expected - 3
    assert x[0] == pytest.approx(expected, abs=1e-3)


def test_no_camera_is_known_across_a_cut_or_with_weak_support() -> None:
    window_frames = _window_frames([np.s_[10:50, 40:60]] * 5, _camera(-3))
    flow_pair = window_frames[2].flow_pair
    assert flow_pair is not None
    window_frames[2].flow_pair = FlowPair(
        None, flow_pair.backward, flow_pair.forward, CameraMotion(flow_pair.camera.homography, 0.2)
    )
    assert camera_between(window_frames, 0, 2) is not None
    assert camera_between(window_frames, 0, 4) is None
    window_frames[1].shot = 1
    assert camera_between(window_frames, 0, 2) is None


def _filled(shown: list[NDArray[np.uint8]], masks: list[NDArray[np.bool_]]) -> list[Frame]:
    holes = [HoleFrame(f, Hole.of(m) if m.any() else None) for f, m in zip(as_frames(shown), masks, strict=True)]
    return filled(holes)


def _pillar(light: float = 0.0) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.bool_]], list[NDArray[np.uint8]]]:
    """A camera that pans to a pillar; behind it a blue wall ends and a yellow one begins. light: gain a frame."""
    world = texture(90, 330, 7).astype(np.float32) * 0.3
    world[:, :190, 2] += 120
    world[:, 190:, :2] += 120
    post = np.zeros(world.shape[:2], np.uint8)
    post[15:80, 172:208] = 1
    shown, masks, truth = [], [], []
    for t in range(44):
        view = np.float32([[1, 0, 30 + 2.5 * t], [0, 1, 5 + np.sin(t)]])
        flags = cv2.WARP_INVERSE_MAP
        picture = cv2.warpAffine(world, view, (150, 80), flags=flags | cv2.INTER_LINEAR) * (1 + light * t)
        mask = cv2.warpAffine(post, view, (150, 80), flags=flags | cv2.INTER_NEAREST) > 0
        truth.append(np.clip(picture, 0, 255).astype(np.uint8))
        masks.append(mask)
        shown.append(np.where(mask[..., None], np.uint8(RED), truth[-1]))
    return shown, masks, truth


@pytest.fixture(scope="module")
def pillar() -> tuple[list[NDArray[np.bool_]], list[NDArray[np.uint8]], list[NDArray[np.uint8]]]:
    """(masks, truth, filled)."""
    shown, masks, truth = _pillar()
    return masks, truth, [frame.rgb() for frame in _filled(shown, masks)]


def test_synthesis_sees_both_sides_of_the_hole(pillar) -> None:  # type: ignore[no-untyped-def]
    masks, truth, result = pillar
    for t in (9, 10, 11):  # what hides where the yellow wall begins is in sight, the yellow wall is not
        assert masks[t][40, -1]
        found, wanted = (picture[20:60, -6:].reshape(-1, 3).mean(0) for picture in (result[t], truth[t]))
        assert np.abs(found - wanted).max() < 30, t


def test_synthesis_is_fixed_to_the_background(pillar) -> None:  # type: ignore[no-untyped-def]
    masks, _, result = pillar
    core = [cv2.erode(mask.astype(np.uint8), np.ones((9, 9))) > 0 for mask in masks]
    for t in (14, 20, 30):
        back = np.float32([[1, 0, 2.5], [0, 1, np.sin(t + 1) - np.sin(t)]])
        before = cv2.warpAffine(result[t], back, (150, 80), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        assert np.abs(before.astype(float) - result[t + 1])[core[t + 1]].mean() < 3


@pytest.mark.slow
def test_synthesis_follows_the_exposure() -> None:
    shown, masks, truth = _pillar(light=0.008)
    result = _filled(shown, masks)
    core = cv2.erode(masks[40].astype(np.uint8), np.ones((5, 5))) > 0
    assert abs(result[40].rgb()[core].mean() - truth[40][core].mean()) < 10


def test_an_inpainted_frame_extends_beyond_the_borders_that_the_hole_touches() -> None:
    frame = as_frames([texture(90, 121, 3)])[0]
    missing = np.zeros((90, 121), bool)
    missing[60:, 40:80] = True
    extended, plain = (
        inpainting.inpaint_key_frame(frame, missing, load_inpainter("telea"), moves=moves) for moves in (True, False)
    )
    top, left = extended.y, extended.x
    beyond = round(inpainting.OUTPAINT_SHARE * 90) // 2 * 2
    assert top + extended.planes[0].shape[0] == 90 + beyond
    assert plain.y + plain.planes[0].shape[0] == 90
    assert (top, left) == (plain.y, plain.x)
    known = ~missing[top:, left : left + extended.planes[0].shape[1]]
    for one in (extended, plain):
        assert (one.planes[0][: 90 - top][known] == frame.planes[0][top:, left : left + known.shape[1]][known]).all()
    assert extended.planes[1].shape[0] == plain.planes[1].shape[0] + beyond // 2
    missing[:] = False
    missing[:20, :30] = True
    corner = inpainting.inpaint_key_frame(frame, missing, load_inpainter("telea"), moves=True)
    assert (corner.y, corner.x) == (-beyond, -(round(inpainting.OUTPAINT_SHARE * 121) // 2 * 2))
