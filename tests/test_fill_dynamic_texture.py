"""Moving background (leaves, water) behind a removed object, still camera: it keeps moving, sharp, and never shows a person."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest
from fills import FAST, filled
from numpy.typing import NDArray
from synth import as_frames, texture

from vidrase.fill.composite import plane_holes
from vidrase.fill.dynamic_texture import BUFFER, DynamicTexture
from vidrase.fill.window_frame import WindowFrame, WorkGrid
from vidrase.flow import load_flow
from vidrase.frames import Frame, Hole, HoleFrame
from vidrase.options import FillOptions
from vidrase.shots import ShotAnalysis, ShotAnalyzer

SIZE = (144, 288)
RED = (225, 20, 30)
Rgb = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def _swaying(frames: int, amount: float = 3.0) -> list[Rgb]:
    """A still scene whose right quarter sways."""
    world = texture(*SIZE, 3)
    columns, rows = np.meshgrid(np.arange(SIZE[1], dtype=np.float32), np.arange(SIZE[0], dtype=np.float32))
    share = np.clip((columns - 200) / 10, 0, 1)
    out = []
    for t in range(frames):
        by = amount * share * np.sin(t / 2.7 + rows / 30).astype(np.float32)
        out.append(cv2.remap(world, columns + by, rows, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT))
    return out


def _walker(frames: int, stop: int = 400, speed: int = 5) -> list[Mask]:
    masks = []
    for t in range(frames):
        mask = np.zeros(SIZE, bool)
        left = min(speed * t, stop)
        mask[40:120, left : left + 30] = True
        masks.append(mask)
    return masks


def _analysis(frames: list[Frame], masks: list[Mask]) -> ShotAnalysis:
    builder = ShotAnalyzer()
    for frame, mask in zip(frames, masks, strict=True):
        builder.add(frame, mask if mask.any() else None)
    return builder.finish()


def _filled(shown: list[Rgb], masks: list[Mask], options: FillOptions | None = None) -> list[Rgb]:
    frames = as_frames(shown)
    analysis = _analysis(frames, masks)
    assert analysis.shots[0].plate is not None
    holes = [HoleFrame(frame, Hole.of(mask) if mask.any() else None) for frame, mask in zip(frames, masks, strict=True)]
    return [frame.rgb() for frame in filled(holes, options or FAST, analysis=analysis)]


def _removed(truth: list[Rgb], masks: list[Mask]) -> list[Rgb]:
    return [np.where(mask[..., None], np.uint8(RED), picture) for picture, mask in zip(truth, masks, strict=True)]


def _change(pictures: list[Rgb], masks: list[Mask], where: slice) -> float:
    """Mean difference of neighbouring frames in the hole, in some columns."""
    total = []
    for t in range(len(pictures) - 1):
        both = masks[t] & masks[t + 1]
        both[:, : where.start] = False
        total.append(np.abs(pictures[t + 1].astype(float) - pictures[t])[both])
    return float(np.concatenate(total).mean())


@pytest.mark.parametrize("stop", [400, 235])
def test_dynamic_texture_keeps_moving_and_stays_sharp(stop: int) -> None:
    # a person walks through (400), or stops there for longer than the window (235)
    truth, masks = _swaying(90), _walker(90, stop)
    result = _filled(_removed(truth, masks), masks)
    moving = np.s_[218:]
    wanted = _change(truth, masks, moving)
    assert 0.7 < _change(result, masks, moving) / wanted < 1.4

    def sharpness(pictures: list[Rgb]) -> float:
        inner = [m & (np.arange(SIZE[1]) > 218) for m in masks]
        edges = [np.abs(cv2.Laplacian(p[..., 1].astype(np.float32), cv2.CV_32F)) for p in pictures]
        return float(np.mean([edge[mask].mean() for edge, mask in zip(edges, inner, strict=True) if mask.any()]))

    assert sharpness(result) > 0.85 * sharpness(truth)


def test_the_plate_alone_stands_still() -> None:
    truth, masks = _swaying(60), _walker(60)
    plate = _filled(_removed(truth, masks), masks, FillOptions(quality="fast", shadows=False, mode="plate"))
    moving = np.s_[218:]
    assert _change(plate, masks, moving) < 0.5 * _change(truth, masks, moving)


def test_no_person_is_played_back() -> None:
    truth, masks = _swaying(90), _walker(90)
    shown = _removed(truth, masks)
    for t in range(70, 90):  # somebody whom the detector does not know, where the first one was before
        shown[t][50:110, 225:255] = RED
    result = _filled(shown, masks)

    def red(picture: Rgb, mask: Mask) -> int:
        return int((np.abs(picture[mask].astype(int) - RED).max(1) < 60).sum())

    # a little of the texture is red by itself; of the 1,800 px of him it would be hundreds
    assert max(red(result[t], masks[t]) - red(truth[t], masks[t]) for t in range(70)) < 60


def test_outside_the_hole_nothing_changes() -> None:
    truth, masks = _swaying(40), _walker(40)
    frames = as_frames(_removed(truth, masks))
    analysis = _analysis(frames, masks)
    holes = [HoleFrame(f, Hole.of(m)) for f, m in zip(frames, masks, strict=True)]
    result = filled(holes, analysis=analysis)
    for frame, out, mask in zip(frames, result, masks, strict=True):
        assert (frame.planes[0][~mask] == out.planes[0][~mask]).all()


def test_without_motion_there_is_no_dynamic_texture() -> None:
    frames = as_frames(_swaying(20, 0.0))
    plate = _analysis(frames, [np.zeros(SIZE, bool)] * 20).shots[0].plate
    assert plate is not None
    dynamic = DynamicTexture(plate, 8, load_flow(note=print))
    assert dynamic.weight is None


def test_the_fill_of_a_noisy_clip_is_as_noisy() -> None:
    # a clean patch that stands still in a picture full of noise is seen at once
    background, random = texture(*SIZE, 5).astype(np.float32), np.random.default_rng(1)
    masks = _walker(40)
    truth = [np.clip(background + random.normal(0, 6, (*SIZE, 1)), 0, 255).astype(np.uint8) for _ in masks]
    result = _filled(_removed(truth, masks), masks)
    change, true = (_change(pictures, masks, np.s_[10:]) for pictures in (result, truth))
    assert 0.75 * true < change < 1.25 * true


def test_the_playback_buffer_is_bounded() -> None:
    truth, masks = _swaying(120), _walker(120, 235, 12)
    frames = as_frames(_removed(truth, masks))
    plate = _analysis(frames, masks).shots[0].plate
    assert plate is not None
    dynamic, grid = DynamicTexture(plate, 8, load_flow(note=print)), WorkGrid.of(*SIZE, 360)
    window_frames = {
        f.index: WindowFrame.of(f.index, f, Hole.of(m), 0, grid) for f, m in zip(frames, masks, strict=True)
    }
    shown = []
    for t in range(25, 120):
        window_frames.pop(t - 24, None)
        overlays = dynamic.overlays(
            window_frames[t], plane_holes(Hole.of(masks[t]), frames[t].layout)[0], window_frames, grid
        )
        assert len(dynamic._held) <= BUFFER
        shown.append(overlays[-1].source_frame.number if overlays else None)
    assert None not in shown
    assert all(abs(a - b) == 1 for a, b in pairwise(shown))  # type: ignore[operator]
