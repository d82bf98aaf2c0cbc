from __future__ import annotations

import itertools
import time
from pathlib import Path

import numpy as np
import pytest
from livefakes import MagentaSegmenter, backdrop, with_person
from numpy.typing import NDArray

from vidrase.errors import OptionError, ShapeError, UnknownLabel
from vidrase.live import BackgroundModel, LiveEraser
from vidrase.live.cameratracker import CameraTracker, corner_shift
from vidrase.live.quality import LEVELS, WARMUP_FRAMES, QualityController

SIZE = (240, 320)


def eraser(**more) -> LiveEraser:
    one = LiveEraser("person", segmenter=MagentaSegmenter(), threaded=False, level=2, **more)
    one.fixed_delay = 1
    return one


def worst(a: NDArray, b: NDArray) -> float:
    return float(np.abs(a.astype(int) - b.astype(int)).max())


def test_an_empty_scene_returns_the_same_arrays() -> None:
    scene = backdrop(SIZE)
    with eraser() as live:
        pictures = [scene.copy() for _ in range(6)]
        for index, picture in enumerate(pictures):
            live.step(picture, index / 30)
            assert live.result is not None
            assert live.result.rgb is pictures[live.result.index]


def test_a_walker_is_replaced_by_the_background_and_nothing_else_changes() -> None:
    scene = backdrop(SIZE)
    with eraser() as live:
        for index in range(50):
            live.step(with_person(scene, index * 6 - 60, 100), index / 30)
            shown = live.result
            assert shown is not None
            changed = (shown.rgb != shown.source).any(2)
            area = np.kron(shown.area, np.ones((1, 1), bool))
            assert not (changed & ~_grown(area, SIZE)).any()
            if index > 12:
                assert not _magenta(shown.rgb).any(), f"a flash of the person in picture {shown.index}"
                assert shown.known > 0.99
                assert worst(shown.rgb, scene) <= 4


def test_unknown_pixels_are_synthesized_once_and_stay_stable() -> None:
    scene = backdrop(SIZE)
    outs = []
    with eraser() as live:
        for index in range(20):
            live.step(with_person(scene, 140, 100), index / 30)
            outs.append(live.result.rgb.astype(int))  # type: ignore[union-attr]
    assert live.result is not None
    assert live.result.known < 0.2
    assert not _magenta(outs[-1]).any()
    assert max(np.abs(a - b).max() for a, b in itertools.pairwise(outs[2:])) <= 3


def test_hidden_pixels_follow_the_exposure() -> None:
    scene = backdrop(SIZE)
    with eraser() as live:
        for index in range(15):
            live.step(scene.copy(), index / 30)
        for index in range(15, 60):
            dimmed = (scene * (1 - 0.006 * (index - 15))).astype(np.uint8)
            live.step(with_person(dimmed, 140, 100), index / 30)
        assert live.result is not None
        truth = (scene * (1 - 0.006 * (live.result.index - 15))).astype(int)
        area = _grown(live.result.area, SIZE)
        assert (
            np.abs(live.result.rgb.astype(int) - truth)[area].mean() < 6
        )  # of 33: the light field adds, it does not scale


def test_the_background_model_follows_the_camera() -> None:
    wide = backdrop((SIZE[0], SIZE[1] + 160), seed=5)
    rng = np.random.default_rng(0)
    wide = np.clip(wide.astype(int) + np.kron(rng.integers(-25, 26, (60, 120, 1)), np.ones((4, 4, 1), int)), 0, 255)
    wide = wide.astype(np.uint8)
    errors = []
    with eraser() as live:
        for index in range(70):
            left = max(index - 20, 0)  # stands, then turns a pixel a picture
            view = np.ascontiguousarray(wide[:, left : left + SIZE[1]])
            live.step(with_person(view, 100 + 2 * (index % 40), 100), index / 30)
            shown = live.result
            assert shown is not None
            if index > 45:
                at = max(shown.index - 20, 0)
                truth = wide[:, at : at + SIZE[1]].astype(int)
                errors.append(np.abs(shown.rgb.astype(int) - truth)[_grown(shown.area, SIZE)].mean())
    assert np.mean(errors) < 9, errors


def test_a_new_size_starts_anew() -> None:
    with eraser() as live:
        for index in range(4):
            assert live.step(with_person(backdrop(SIZE), 50, 50), index / 30).shape == (*SIZE, 3)
        for index in range(4, 8):
            assert live.step(backdrop((120, 160)), index / 30).shape == (120, 160, 3)


def test_the_detector_thread_keeps_up() -> None:
    scene = backdrop(SIZE)
    with LiveEraser("person", segmenter=MagentaSegmenter(0.03), level=2, latency=0.15) as live:
        live.warm_up()
        for index in range(40):
            due = time.monotonic() + 1 / 25
            live.step(with_person(scene, 20 + index * 5, 100), time.monotonic())
            if index > 15:
                assert not _magenta(live.result.rgb).any()  # type: ignore[union-attr]
            time.sleep(max(due - time.monotonic(), 0))


def test_a_detector_error_reaches_the_caller() -> None:
    class Broken(MagentaSegmenter):
        def __call__(self, frames):  # type: ignore[no-untyped-def]
            raise RuntimeError("no more")

    with LiveEraser("person", segmenter=Broken()) as live, pytest.raises(RuntimeError, match="no more"):
        for index in range(3):
            live.step(backdrop(SIZE), index / 30)


def test_an_object_can_be_kept() -> None:
    scene = backdrop(SIZE)
    with eraser() as live:
        live.step(with_person(scene, 50, 100), 0.0)
        live.step(with_person(scene, 50, 100), 1 / 30)
        assert live.result is not None
        (number, _), *_ = live.result.boxes
        assert live.toggle(number)
        for index in range(2, 30):
            live.step(with_person(scene, 50, 100), index / 30)
        assert _magenta(live.result.rgb).sum() > 1500
        assert not live.toggle(number)
        for index in range(30, 36):
            live.step(with_person(scene, 50, 100), index / 30)
        assert not _magenta(live.result.rgb).any()


def test_an_empty_scene_can_be_learned_first() -> None:
    scene = backdrop(SIZE)
    with eraser(learn=0.5) as live:
        for index in range(15):
            live.step(scene.copy(), index / 30)
        for index in range(15, 22):
            live.step(with_person(scene, 140, 100), index / 30)
        assert live.result is not None
        assert live.result.known == 1.0
        assert worst(live.result.rgb, scene) <= 3


def test_a_plate_is_saved_and_loaded(tmp_path: Path) -> None:
    scene = backdrop(SIZE)
    with eraser() as live:
        for index in range(12):
            live.step(scene.copy(), index / 30)
        live.save_plate(tmp_path / "room.npz")
    with eraser(plate=tmp_path / "room.npz") as live:
        for index in range(4):
            live.step(with_person(scene, 140, 100), index / 30)
        assert live.result is not None
        assert live.result.known == 1.0
        assert worst(live.result.rgb, scene) <= 3


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 cut off"])
def test_other_files_are_no_plate(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "plate.npz"
    path.write_bytes(content)
    with pytest.raises(OptionError, match="not a background plate"):
        BackgroundModel.load(path)


def test_invalid_options() -> None:
    with pytest.raises(OptionError, match="nothing to remove"):
        LiveEraser("")
    with eraser() as live, pytest.raises(ShapeError, match="uint8"):
        live.step(np.zeros((4, 4), np.uint8))
    with LiveEraser("zebra", segmenter=MagentaSegmenter(), threaded=False) as live, pytest.raises(UnknownLabel):
        live.step(backdrop(SIZE))


def test_levels_are_shed_under_load_and_regained() -> None:
    quality = QualityController()
    for _ in range(WARMUP_FRAMES + 60):
        quality.step(0.05, 1 / 30, 0.05, 0.1, dropped=1)
    shed = quality.index
    assert shed > 1
    for _ in range(30 * 200):
        quality.step(0.004, 1 / 30, 0.01, 0.1)
    assert quality.index == 0
    assert LEVELS[shed].imgsz < LEVELS[0].imgsz


def test_a_resting_camera_has_the_identity_homography() -> None:
    rng = np.random.default_rng(1)
    gray = np.kron(rng.integers(0, 255, (27, 48)), np.ones((8, 8))).astype(np.uint8)
    pose, nobody = CameraTracker(), np.zeros(gray.shape, bool)
    for _ in range(10):
        noisy = np.clip(gray + rng.normal(0, 3, gray.shape), 0, 255).astype(np.uint8)
        assert pose.step(noisy, nobody, (432, 768)) == "still"
        assert corner_shift(pose.homography, (432, 768)) == 0
    other = np.rot90(np.kron(rng.integers(0, 255, (48, 27)), np.ones((8, 8)))).astype(np.uint8)
    assert pose.step(other, nobody, (432, 768)) == "lost"


def _magenta(rgb: NDArray) -> NDArray[np.bool_]:
    rgb = rgb.astype(int)
    return (rgb[..., 0] > 190) & (rgb[..., 2] > 190) & (rgb[..., 1] < 90)


def _grown(area: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The small area at full size, a pixel wider for the smooth upscaling."""
    import cv2

    big = cv2.resize(area.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST)
    return cv2.dilate(big, np.ones((5, 5), np.uint8)) > 0


def test_input_frames_are_not_changed() -> None:
    picture = with_person(backdrop(SIZE), 50, 50)
    before = picture.copy()
    with eraser() as live:
        live.step(picture, 0.0)
    assert np.array_equal(picture, before)


def test_a_lamp_that_flickers_lights_the_hole_as_well() -> None:
    scene = backdrop(SIZE)
    errors = []
    with eraser() as live:
        for index in range(15):
            live.step(scene.copy(), index / 30)
        for index in range(15, 60):
            lamp = np.array([0.5, 0.7, 1.0]) if (index // 5) % 2 else np.array([1.0, 1.0, 1.0])
            live.step(with_person((scene * lamp).astype(np.uint8), 140, 100), index / 30)
            shown = live.result
            assert shown is not None
            if shown.index > 17:
                lamp = np.array([0.5, 0.7, 1.0]) if (shown.index // 5) % 2 else np.array([1.0, 1.0, 1.0])
                area = _grown(shown.area, SIZE)
                errors.append(np.abs(shown.rgb.astype(int) - (scene * lamp).astype(int))[area].mean())
    assert np.mean(errors) < 3, errors
