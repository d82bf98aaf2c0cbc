"""Masks and camera motion between frames: reduced, traced, enlarged, turned."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from fakes import FakeFlow, instances
from numpy.typing import NDArray
from synth import YUV420, as_frames, clip, texture

from vidrase.camera import CameraMotion
from vidrase.colour import PixelLayout, shrunk
from vidrase.flow import DisFlow
from vidrase.frames import Frame, HoleFrame, Orientation
from vidrase.mask import mask
from vidrase.mask.morphology import close_gaps, dilate, erode
from vidrase.motion import Motion
from vidrase.options import MaskOptions, SelectOptions
from vidrase.protected import with_protected
from vidrase.select import select

GREY = PixelLayout("gray", "gray", 8, 0, 0)
ORIENTATIONS = [Orientation(turns, mirrored) for turns in range(4) for mirrored in (False, True)]


def disc(height: int, width: int, y: int, x: int, radius: int) -> NDArray[np.bool_]:
    return np.hypot(*(np.indices((height, width)) - np.array([y, x])[:, None, None])) < radius


def overlap(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / (a | b).sum())


def placed(crop: tuple[NDArray[np.bool_], tuple[int, int]], size: tuple[int, int]) -> NDArray[np.bool_]:
    (part, (y, x)), out = crop, np.zeros(size, bool)
    out[y : y + part.shape[0], x : x + part.shape[1]] = part
    return out


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_points_boxes_and_cameras_turn_as_pictures_do(orientation: Orientation) -> None:
    stored = np.arange(5 * 7).reshape(5, 7)
    shown = orientation.to_display(stored)
    size = (shown.shape[0], shown.shape[1])
    y, x = 2, 1
    at_x, at_y, _ = np.rint(orientation.points_to_stored(*size) @ (x, y, 1)).astype(int)
    assert stored[at_y, at_x] == shown[y, x]
    y0, y1, x0, x1 = orientation.box_to_stored((1, 4, 2, 5), size)
    assert np.array_equal(orientation.to_display(stored[y0:y1, x0:x1]), shown[1:4, 2:5])
    shift = orientation.camera_to_stored(CameraMotion(np.array([[1.0, 0, 1], [0, 1, 2], [0, 0, 1]]), 0.5), size)
    moved_x, moved_y, _ = np.rint(shift.homography @ (at_x, at_y, 1)).astype(int)
    assert stored[moved_y, moved_x] == shown[y + 2, x + 1]
    assert shift.support == 0.5


@pytest.mark.parametrize("layout", [YUV420, PixelLayout("rgb24", "rgb", 8, full_range=True)])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_part_of_a_picture_is_that_part(orientation: Orientation, layout: PixelLayout) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (37, 53, 3)).astype(np.uint8)
    frame = replace(as_frames([picture], layout)[0], orientation=orientation)
    whole = frame.rgb()
    for box in ((0, 9, 0, 11), (5, 30, 7, 36), (11, 12, 3, 30), (0, whole.shape[0], 0, whole.shape[1])):
        assert np.array_equal(frame.rgb_part(box), whole[box[0] : box[1], box[2] : box[3]])


def test_shrinking_averages() -> None:
    plane = np.random.default_rng(0).integers(0, 256, (480, 856)).astype(np.uint8)
    small = shrunk(plane, (120, 214))
    assert np.abs(small - plane.reshape(120, 4, 214, 4).mean((1, 3))).max() < 1.1
    assert shrunk(plane, (216, 385)).shape == (216, 385)
    assert (shrunk(np.full((333, 777), 9, np.uint16), (100, 200)) == 9).all()


@pytest.mark.parametrize("radius", [3, 9, 17, 40])
def test_large_discs_are_discs(radius: int) -> None:
    point = np.zeros((101, 101), bool)
    point[50, 50] = True
    grown = dilate(point, radius)
    assert overlap(grown, disc(101, 101, 50, 50, radius + 0.5)) > 0.85  # type: ignore[arg-type]
    assert grown[50].sum() == grown[:, 50].sum() == 2 * radius + 1
    assert np.array_equal(erode(~point, radius)[radius:-radius, radius:-radius], ~grown[radius:-radius, radius:-radius])
    two = np.zeros((101, 101), bool)
    two[20:80, 20:40] = two[20:80, 40 + radius : 60 + radius] = True
    assert close_gaps(two, radius)[30:70, 20:60].all()


def shown(motion: Motion, count: int, size: tuple[int, int]) -> None:
    """Add flat frames that get brighter: `FakeFlow` knows them."""
    flat = [np.full((*size, 3), 40 + FakeFlow.STEP * t, np.uint8) for t in range(count)]
    for index, frame in enumerate(as_frames(flat, GREY)):
        motion.add(index, frame)


@pytest.mark.parametrize("size", [(96, 128), (480, 854), (1080, 606)])
def test_a_reduced_mask_comes_back_nearly_as_it_was(size: tuple[int, int]) -> None:
    motion = Motion(None, reach=2)
    shown(motion, 1, size)
    found = instances([disc(*size, size[0] // 2, size[1] // 3, size[0] // 5)])
    crop = found.masks[0], (int(found.corners[0][0]), int(found.corners[0][1]))
    assert overlap(placed(motion.enlarge(motion.reduce(crop, 0), 0), size), found.mask(0)) > 0.98


@pytest.mark.parametrize(("source", "target"), [(0, 1), (3, 0), (0, 3)])
def test_a_mask_is_carried_over_several_frames_of_a_large_picture(source: int, target: int) -> None:
    motion = Motion(FakeFlow(dx=5.0, dy=2.0), reach=4)
    shown(motion, 4, (432, 768))  # twice the reduced size: 10 and 4 px a frame
    before, after = (disc(432, 768, 150 + 4 * t, 300 + 10 * t, 60) for t in (source, target))
    found = instances([before])
    carried = motion.carry((found.masks[0], (int(found.corners[0][0]), int(found.corners[0][1]))), source, target)
    assert carried is not None
    assert overlap(placed(carried, (432, 768)), after) > 0.97


def test_a_mask_that_leaves_the_frame_is_gone() -> None:
    motion = Motion(FakeFlow(dx=60.0), reach=4)
    shown(motion, 3, (96, 128))
    assert motion.carry((np.ones((20, 20), bool), (30, 100)), 0, 2) is None


def holes(frames: list[Frame], masks: list[NDArray[np.bool_]]) -> list[HoleFrame]:
    found = [instances([one], ids=[1], size=one.shape) for one in masks]
    return list(mask(zip(frames, found, strict=True), options=MaskOptions(), flow=DisFlow()))


def test_the_cameras_motion_goes_on_to_the_next_stages() -> None:
    pictures, masks, _ = clip(3, 120, 200, step=(0, 2))
    camera = CameraMotion(np.eye(3), 1.0)
    found = [replace(one, camera=camera) for one in holes(as_frames(pictures), masks)]
    chosen = select(SelectOptions(remove=("person",)), None, {0: "person"})
    protected = with_protected(iter(found), lambda index: instances([masks[index]], ids=[1]), chosen)
    assert all(one.camera is camera for one in protected)


def test_large_frames_take_the_flow_of_reduced_ones() -> None:
    picture = texture(432, 768)
    moved = cv2.warpAffine(picture, np.float32([[1, 0, 8], [0, 1, 4]]), (768, 432), borderMode=cv2.BORDER_REPLICATE)
    motion = Motion(DisFlow(), reach=1)
    for index, frame in enumerate(as_frames([picture, moved])):
        motion.add(index, frame)
    flow = motion.between(0, 1)
    assert flow.shape == (216, 384, 2)
    assert np.allclose(np.median(flow[30:-30, 30:-30].reshape(-1, 2), axis=0), (4, 2), atol=0.1)
