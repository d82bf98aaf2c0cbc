"""What is seen only far from its frame in time: taken from the shot's key frames, at the right position and light."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from synth import YUV420, as_frames, texture

from vidrase.camera import CameraMotion
from vidrase.colour import PixelLayout
from vidrase.fill import fill
from vidrase.fill.reference_frames import BLUR_STRIDE, EXTEND_DISTANCE, FIRST_REFERENCE, ReferenceFrames
from vidrase.fill.window_frame import Box, SourceMap, WorkGrid
from vidrase.flow import load_flow
from vidrase.frames import Frame, Hole, HoleFrame
from vidrase.inpaint import load_inpainter
from vidrase.options import FillOptions
from vidrase.report import FillStats
from vidrase.shots import ShotAnalyzer

SIZE = (120, 200)
RED = (225, 20, 30)


def _lingering(
    frames: int = 70, leaves: int = 46, gain: float = 0.0, layout: PixelLayout = YUV420
) -> tuple[list[Frame], list[NDArray], list[Frame]]:
    """A person who stands before a hand-held camera for longer than the window of `fast`, then leaves."""
    world = texture(180, 280, 5)
    shown, masks, truth = [], [], []
    for t in range(frames):
        x, y = 40 + 9 * np.sin(t / 7), 30 + 5 * np.cos(t / 5)
        turn = np.float32([[1, 0.01 * np.sin(t / 9), x], [-0.01 * np.sin(t / 9), 1, y]])
        background = cv2.warpAffine(world, turn, SIZE[::-1], flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
        background = np.clip(background * (1 + gain * t / frames), 0, 255).astype(np.uint8)
        body = np.zeros(world.shape[:2], np.uint8)
        if t < leaves:
            cv2.ellipse(body, (140, 90), (13, 32), 0, 0, 360, 1, -1)
        mask = cv2.warpAffine(body, turn, SIZE[::-1], flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP) > 0
        picture = background.copy()
        picture[mask] = RED
        shown.append(picture)
        masks.append(mask)
        truth.append(background)
    return as_frames(shown, layout), masks, as_frames(truth, layout)


def _filled(
    frames: list[Frame], masks: list[NDArray], mode: str = "auto", first: int | None = None
) -> tuple[list[Frame], FillStats]:
    """The `first` frames filled, or all, with a shot analysis of all."""
    builder = ShotAnalyzer()
    for frame, mask in zip(frames, masks, strict=True):
        builder.add(frame, mask)
    stats = FillStats()
    grown = [cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0 for mask in masks]
    holes = [HoleFrame(f, Hole.of(m, g) if m.any() else None) for f, m, g in zip(frames, masks, grown, strict=True)]
    result = fill(
        holes[:first],
        options=FillOptions(quality="fast", mode=mode),  # type: ignore[arg-type]
        flow=load_flow(note=print),
        inpainter=load_inpainter("telea"),
        analysis=builder.finish(),
        stats=stats,
        note=print,
    )
    return list(result), stats


def _psnr(result: list[Frame], truth: list[Frame], masks: list[NDArray]) -> float:
    errors = [np.square(r.rgb().astype(float) - t.rgb())[m] for r, t, m in zip(result, truth, masks, strict=True)]
    return float(10 * np.log10(255**2 / np.concatenate(errors).mean()))


@pytest.fixture(scope="module")
def lingering() -> tuple[list[Frame], list[NDArray], list[Frame], list[Frame], FillStats]:
    """(shown, masks, truth, filled, what was done)."""
    frames, masks, truth = _lingering()
    return frames, masks, truth, *_filled(frames, masks)


def test_the_true_background_comes_from_beyond_the_window(lingering) -> None:  # type: ignore[no-untyped-def]
    frames, masks, truth, result, stats = lingering
    invented, none = _filled(frames, masks, mode="flow")
    assert stats.distant > 0.3 * (stats.copied + stats.invented)
    assert none.distant == 0
    assert none.invented > 0.3 * (stats.copied + stats.invented)
    assert stats.invented == 0
    assert _psnr(result, truth, masks) > 33
    assert none.doubtful
    assert not stats.doubtful
    assert _psnr(result, truth, masks) > _psnr(invented, truth, masks) + 8
    for before, after, mask in zip(frames, result, masks, strict=True):
        outside = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) == 0
        assert np.array_equal(before.planes[0][outside], after.planes[0][outside])


@pytest.mark.parametrize(
    "layout",
    [
        PixelLayout("yuv420p10le", "yuv", 10, 1, 1),
        PixelLayout("rgb24", "rgb", 8, full_range=True),
        PixelLayout("gray", "gray", 8, full_range=True),
    ],
    ids=lambda layout: layout.name,
)
def test_it_works_in_every_layout(layout: PixelLayout) -> None:
    frames, masks, truth = _lingering(layout=layout)
    result, stats = _filled(frames, masks, first=24)
    assert stats.distant > 0
    assert _psnr(result, truth[:24], masks[:24]) > 32


def test_a_key_frame_is_exposure_compensated() -> None:
    frames, masks, truth = _lingering(gain=0.15)
    result, stats = _filled(frames, masks, first=20)
    assert stats.distant > 0
    assert _psnr(result, truth[:20], masks[:20]) > 30


def test_nothing_of_the_removed_object_comes_back(lingering) -> None:  # type: ignore[no-untyped-def]
    _, masks, _, result, _ = lingering
    for frame, mask in zip(result, masks, strict=True):
        red = np.abs(frame.rgb()[mask].astype(int) - RED).max(1) < 40
        assert not red.any()


def test_a_key_frame_of_another_place_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    frames, masks, _ = _lingering()
    other = as_frames([texture(*SIZE, 60 + t) for t in range(2)])
    builder = ShotAnalyzer()
    for frame, mask in zip(frames, masks, strict=True):
        builder.add(frame, mask)
    analysis = builder.finish()
    mosaic = analysis.shots[0].mosaic
    assert mosaic is not None
    for key_frame in mosaic.key_frames:
        object.__setattr__(key_frame, "frame", other[key_frame.frame.index % 2])
    monkeypatch.setattr(ShotAnalyzer, "finish", lambda self: analysis)
    _, stats = _filled(frames, masks, first=30)
    assert stats.distant == 0
    assert stats.invented > 0


def test_propagated_samples_do_not_contain_the_removed_object() -> None:
    world = texture(160, 520, 5)
    mask = cv2.ellipse(np.zeros(SIZE, np.uint8), (100, 60), (38, 26), 0, 0, 360, 1, -1) > 0
    shown = []
    for t in range(60):
        view = np.float32([[1, 0, 2.5 * t], [0, 1, 20 + 0.4 * t]])
        picture = cv2.warpAffine(world, view, SIZE[::-1], flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
        picture[mask] = RED
        shown.append(picture)
    result, stats = _filled(as_frames(shown), [mask] * len(shown))
    assert stats.distant > 0
    for frame in result:
        assert not (np.abs(frame.rgb()[mask].astype(int) - RED).max(1) < 60).any()


def test_a_region_grows_by_the_homography_of_its_key_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    zoom = CameraMotion(np.array([[1.1, 0.02, 3], [0, 0.9, -2], [1e-4, 0, 1]]), 1.0)
    key_frame = SimpleNamespace(frame=SimpleNamespace(index=0))
    mosaic = SimpleNamespace(key_frames=[key_frame, key_frame])
    references = ReferenceFrames(mosaic, WorkGrid.of(*SIZE, 240), load_flow(note=print), shadows=False)  # type: ignore[arg-type]
    monkeypatch.setattr(ReferenceFrames, "_homography_to_key_frame", lambda self, here, key_frame: zoom)
    box = Box(20, 30, 80, 110)
    memory, wanted = SourceMap.empty(box), np.ones(box.shape, bool)
    columns, rows = (one.astype(np.float32) for one in np.meshgrid(np.arange(30, 110), np.arange(20, 80)))
    x, y = zoom.points(columns, rows)
    known = np.zeros(box.shape, bool)
    known[:, :40] = True
    memory.source[known] = FIRST_REFERENCE + 1 + 2 * BLUR_STRIDE
    memory.dx[known], memory.dy[known] = (x - columns + 0.5)[known], (y - rows)[known]  # half a pixel of parallax
    memory.source[30:, 40:] = 7  # synthesis is not overwritten
    wanted[:10] = False
    references.grow_region(None, memory, wanted)  # type: ignore[arg-type]
    near = int(EXTEND_DISTANCE * references.grid.height)
    reached = np.zeros(box.shape, bool)
    reached[10:30, 40 : 40 + near] = True
    assert (memory.source[reached] == FIRST_REFERENCE + 1 + 2 * BLUR_STRIDE).all()
    assert np.allclose(memory.dx[reached], (x - columns + 0.5)[reached], atol=1e-3)
    assert np.allclose(memory.dy[reached], (y - rows)[reached], atol=1e-3)
    assert (
        memory.source[~known & ~reached] == np.where(np.indices(box.shape)[0] >= 30, 7, -1)[~known & ~reached]
    ).all()


def test_temporary_synthesis_is_not_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    frames, masks, truth = _lingering(90, 60)
    frames[:3], masks[:3] = (
        truth[:3],
        [np.zeros(SIZE, bool)] * 3,
    )  # or the first frame with a hole would be a search frame
    monkeypatch.setattr("vidrase.fill.synthesis_cache.MAX_WAIT", 2.0)  # all of it waits
    monkeypatch.setattr("vidrase.fill.synthesis_cache.SEARCH_EVERY", 16)
    assert _psnr(_filled(frames, masks)[0][32:60], truth[32:60], masks[32:60]) > 40
