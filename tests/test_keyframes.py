"""The key frame mosaic of a moving camera: the poses of sample frames, and which become key frames."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from synth import as_frames, texture

from vidrase import keyframes, shots
from vidrase.keyframes import KeyframeMosaic
from vidrase.shots import ShotAnalyzer

SIZE = (96, 160)


def _view(world: NDArray[np.uint8], x: float, y: float = 20.0) -> NDArray[np.uint8]:
    """What a camera sees whose top left corner is at (x, y) of the world."""
    shift = np.float32([[1, 0, x], [0, 1, y]])
    return cv2.warpAffine(world, shift, SIZE[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def _mosaic(
    pictures: list[NDArray[np.uint8]], masks: list[NDArray[np.bool_] | None] | None = None
) -> KeyframeMosaic | None:
    builder = ShotAnalyzer()
    for number, frame in enumerate(as_frames(pictures)):
        builder.add(frame, masks[number] if masks else None)
    (shot,) = builder.finish().shots
    return shot.mosaic


def _there_and_back(steps: int = 160, far: float = 110.0) -> list[float]:
    return [10 + far * (1 - np.cos(2 * np.pi * t / steps)) / 2 for t in range(steps)]


def test_a_camera_that_comes_back_finds_what_it_left() -> None:
    xs = _there_and_back()
    world = texture(140, 320, 3)
    found = _mosaic([_view(world, x) for x in xs])
    assert found is not None
    for index in (0, 40, 80, 121, 156):
        located = found.pose(index)
        assert located is not None
        part, pose = located
        assert part == found.key_frames[0].part
        middle = pose @ np.array([80, 48, 1.0])
        scale = SIZE[1] / found.size[1]
        assert middle[0] / middle[2] - 80 == pytest.approx((xs[index] - xs[0]) / scale, abs=0.5)
        assert middle[1] / middle[2] - 48 == pytest.approx(0, abs=0.5)


def test_a_key_frame_shows_something_new() -> None:
    world = texture(140, 320, 3)
    found = _mosaic([_view(world, x) for x in _there_and_back()])
    assert found is not None
    last = max(key_frame.frame.index for key_frame in found.key_frames)
    assert last <= 84  # nothing new on the way back
    assert len(found.key_frames) < 20
    assert all(key_frame.frame.native is None for key_frame in found.key_frames)


def test_what_is_uncovered_becomes_a_key_frame() -> None:
    world = texture(140, 320, 3)
    mask = np.zeros(SIZE, bool)
    mask[30:80, 60:90] = True
    pictures = [_view(world, 40 + 6 * np.sin(t / 4)) for t in range(80)]
    found = _mosaic(pictures, [mask if t < 50 else None for t in range(80)])
    assert found is not None
    first, *others = found.key_frames
    assert first.frame.index == 0
    assert first.hidden()[mask].all()
    assert first.hidden().sum() < 2 * mask.sum()
    assert any(key_frame.frame.index >= 50 and not key_frame.hidden().any() for key_frame in others)


def test_thumbnails_are_spread_over_the_shot_however_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyframes, "THUMBNAILS", 12)
    world = texture(140, 320, 3)
    found = _mosaic([_view(world, x) for x in _there_and_back(400)])
    assert found is not None
    at = [thumbnail.index for thumbnail in found.thumbnails]
    assert 6 <= len(at) <= 12
    assert len(set(np.diff(at).tolist())) == 1
    assert at[0] == 0
    assert at[-1] > 300
    thumbnail = found.thumbnails[3]
    homography = found.homography_to(thumbnail.index, thumbnail, found.size)
    assert homography is not None
    assert np.allclose(homography / homography[2, 2], np.eye(3), atol=1e-6)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyframes, "MEMORY", 5 * 96 * 160 * 3 // 2)
    world = texture(140, 900, 3)
    found = _mosaic([_view(world, 4 * t) for t in range(180)])
    assert found is not None
    assert 2 <= len(found.key_frames) <= 5
    monkeypatch.setattr(ShotAnalyzer, "MOSAIC_BYTES", 0)
    assert _mosaic([_view(world, 4 * t) for t in range(60)]) is None


def test_pictures_that_have_nothing_in_common_lie_in_different_parts() -> None:
    world = texture(140, 320, 3)
    rng = np.random.default_rng(0)
    pictures = [_view(world, 3 * t) for t in range(32)]
    wild = [rng.integers(60, 190, (*SIZE, 3)).astype(np.uint8) // 8 * 3 + 60 for _ in range(32)]
    builder = keyframes.KeyframeMosaicBuilder.of(as_frames(pictures)[0], ShotAnalyzer()._flow)
    for frame in as_frames(pictures + wild)[::4]:
        builder.add(frame, None, frame.luma(), np.ones(SIZE, bool))
    found = builder.finish()
    assert found is not None
    before, after = found.pose(8), found.pose(48)
    assert before is not None
    assert after is not None
    assert before[0] != after[0]


def test_a_long_zoom_goes_on_in_a_new_part() -> None:
    world = texture(600, 1000, 3)
    pictures = []
    for t in range(200):
        scale = 0.984**t * 6
        view = np.float32([[scale, 0, 500 - 80 * scale], [0, scale, 300 - 48 * scale]])
        pictures.append(cv2.warpAffine(world, view, SIZE[::-1], flags=cv2.INTER_AREA | cv2.WARP_INVERSE_MAP))
    found = _mosaic(pictures)
    assert found is not None
    parts = [found.pose(index) for index in range(0, 200, 4)]
    assert all(located is not None and np.isfinite(located[1]).all() for located in parts)
    assert len({located[0] for located in parts if located is not None}) > 1


def test_far_from_any_sample_frame_no_pose_is_known() -> None:
    world = texture(140, 320, 3)
    builder = ShotAnalyzer()
    for number, frame in enumerate(as_frames([_view(world, t) for t in range(90)])):
        builder.add(frame, None, searched=number < 40)
    found = builder.finish().shots[0].mosaic
    assert found is not None
    assert found.pose(40) is not None
    assert found.pose(80) is None


def test_a_still_camera_and_a_short_shot_have_none() -> None:
    world = texture(140, 320, 3)
    assert _mosaic([_view(world, 20)] * 40) is None
    assert _mosaic([_view(world, 4 * t) for t in range(shots.SAMPLE_EVERY * (shots.MIN_SAMPLES_MOSAIC - 1))]) is None
