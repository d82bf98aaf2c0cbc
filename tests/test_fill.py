"""The fill stage: what must hold for every clip, and how good it is where the truth is known."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from synth import YUV420, as_frames, clip, texture

from vidrase.colour import PixelLayout, chroma_hole
from vidrase.fill import fill, frames_held, shadowed
from vidrase.flow import load_flow
from vidrase.frames import Frame, Hole, HoleFrame
from vidrase.inpaint import load_inpainter
from vidrase.options import FillOptions
from vidrase.report import FillStats
from vidrase.shots import ShotAnalysis, ShotAnalyzer

LAYOUTS = [
    YUV420,
    PixelLayout("yuv420p10le", "yuv", 10, 1, 1),
    PixelLayout("yuv422p", "yuv", 8, 1, 0),
    PixelLayout("yuv444p", "yuv", 8),
    PixelLayout("rgb24", "rgb", 8, full_range=True),
    PixelLayout("gray", "gray", 8, full_range=True),
    PixelLayout("yuva420p", "yuv", 8, 1, 1, alpha=True),
]


def _run(
    found: Iterable[HoleFrame],
    options: FillOptions | None = None,
    analysis: ShotAnalysis | None = None,
    stats: FillStats | None = None,
) -> Iterator[Frame]:
    return fill(
        found,
        options=options or FillOptions(),
        flow=load_flow(note=print),
        inpainter=load_inpainter("telea"),
        analysis=analysis,
        stats=stats or FillStats(),
        note=print,
    )


def _complete(found: list[HoleFrame], analysis: ShotAnalysis) -> Iterator[HoleFrame]:
    return shadowed(found, options=FillOptions(shadows=True), flow=load_flow(note=print), analysis=analysis)


def _grown(mask: NDArray[np.bool_], by: int = 2) -> NDArray[np.bool_]:
    padded = np.pad(mask, by)
    height, width = mask.shape
    return np.logical_or.reduce(
        [padded[y : y + height, x : x + width] for y in range(2 * by + 1) for x in range(2 * by + 1)]
    )


def _with_holes(frames: list[Frame], masks: list[NDArray[np.bool_]]) -> list[HoleFrame]:
    return [HoleFrame(frame, Hole.of(mask, _grown(mask))) for frame, mask in zip(frames, masks, strict=True)]


def _analysed(frames: list[Frame], masks: list[NDArray[np.bool_]]) -> ShotAnalysis:
    builder = ShotAnalyzer()
    for frame, mask in zip(frames, masks, strict=True):
        builder.add(frame, mask)
    return builder.finish()


def _psnr(result: list[Frame], truth: list[Frame], masks: list[NDArray[np.bool_]]) -> float:
    errors = [
        np.square(r.rgb().astype(float) - t.rgb())[m] for r, t, m in zip(result, truth, masks, strict=True) if m.any()
    ]
    return float(10 * np.log10(255**2 / max(np.concatenate(errors).mean(), 1e-9)))


def _with_alpha(frames: list[Frame], layout: PixelLayout) -> list[Frame]:
    plain = PixelLayout(layout.name, layout.model, layout.bits, layout.shift_x, layout.shift_y)
    return [
        Frame((*f.planes, np.full(f.size, 255, np.uint8)), layout, f.index, f.pts, f.time_base)
        for f in as_frames([f.rgb() for f in frames], plain)
    ]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
@pytest.mark.parametrize("size", [(96, 128), (75, 101)])
def test_nothing_outside_the_hole_changes(layout: PixelLayout, size: tuple[int, int]) -> None:
    shown, masks, truth = clip(8, *size, pan=(0.5, 1.5), step=(0, 7))
    frames = _with_alpha(as_frames(shown), layout) if layout.alpha else as_frames(shown, layout)
    holes = _with_holes(frames, masks)
    result = list(_run(holes))
    assert [f.pts for f in result] == [f.pts for f in frames]
    for before, after, found in zip(frames, result, holes, strict=True):
        assert found.hole is not None
        for number, (old, new) in enumerate(zip(before.planes, after.planes, strict=True)):
            outside = ~chroma_hole(found.hole.full_area(), layout, number)
            assert np.array_equal(old[outside], new[outside])
            assert new.dtype == old.dtype
    if layout.model != "gray":
        wanted = _with_alpha(as_frames(truth), layout) if layout.alpha else as_frames(truth, layout)
        assert _psnr(result, wanted, masks) > 27


def test_frames_without_a_hole_leave_as_they_came() -> None:
    shown, masks, _ = clip(10)
    frames = as_frames(shown)
    holes = [HoleFrame(f, Hole.of(m) if 3 <= f.index < 6 else None) for f, m in zip(frames, masks, strict=True)]
    result = list(_run(holes))
    assert len(result) == 10
    assert [after is before for before, after in zip(frames, result, strict=True)] == [
        not 3 <= n < 6 for n in range(10)
    ]


@pytest.mark.parametrize("pan", [(0.0, 0.0), (0.0, 1.5)])
def test_frames_that_pass_are_known_but_neither_filled_nor_counted(pan: tuple[float, float]) -> None:
    shown, masks, truth = clip(20, 96, 160, pan=pan, step=(0, 7))
    frames = as_frames(shown)
    holes = [replace(found, passes=not 6 <= t < 14) for t, found in enumerate(_with_holes(frames, masks))]
    stats = FillStats()
    result = list(_run(holes, analysis=_analysed(frames, masks), stats=stats))
    assert [after is before for before, after in zip(frames, result, strict=True)] == [f.passes for f in holes]
    assert stats.copied + stats.invented == sum(int(f.hole.area.sum()) for f in holes if f.hole and not f.passes)
    assert set(stats.doubtful) <= set(range(6, 14))
    assert _psnr(result[6:14], as_frames(truth)[6:14], masks[6:14]) > 27  # the object in the others is not copied


def test_an_integer_pan_comes_back_exactly() -> None:
    world = texture(120, 260, 5)
    truth = [np.ascontiguousarray(world[:, 40 + 4 * t : 200 + 4 * t]) for t in range(16)]
    masks = []
    for t in range(16):
        mask = np.zeros((120, 160), bool)
        mask[40:80, 120 - 7 * t if t < 15 else 10 : 140 - 7 * t if t < 15 else 30] = True
        masks.append(mask)
    shown = [np.where(m[..., None], np.uint8(200), p) for p, m in zip(truth, masks, strict=True)]
    layout = PixelLayout("rgb24", "rgb", 8, full_range=True)
    holes = [HoleFrame(f, Hole.of(m)) for f, m in zip(as_frames(shown, layout), masks, strict=True)]
    assert _psnr(list(_run(holes)), as_frames(truth, layout), masks) > 38


@pytest.mark.parametrize(("pan", "least"), [((0.0, 0.0), 40.0), ((0.0, 2.0), 33.0), ((0.7, -1.3), 31.0)])
def test_a_walker_before_a_texture_vanishes(pan: tuple[float, float], least: float) -> None:
    shown, masks, truth = clip(20, 120, 200, pan=pan, step=(0, 7))
    frames, wanted = as_frames(shown), as_frames(truth)
    stats = FillStats()
    result = list(_run(_with_holes(frames, masks), analysis=_analysed(frames, masks), stats=stats))
    assert _psnr(result, wanted, masks) > least
    assert stats.copied > 0.97 * (stats.copied + stats.invented)


@pytest.mark.parametrize("layout", [YUV420, PixelLayout("rgb24", "rgb", 8, full_range=True)])
def test_the_holes_content_has_no_influence(layout: PixelLayout) -> None:
    truth, masks = clip(14, 96, 160, pan=(0.7, -1.3), step=(0, 7))[2], clip(14, 96, 160, step=(0, 7))[1]
    results = []
    for seed in (1, 2):
        noise = np.random.default_rng(seed)
        holes = []
        for frame, mask in zip(as_frames(truth, layout), masks, strict=True):
            planes = [plane.copy() for plane in frame.planes]
            for number, plane in enumerate(planes):
                area = chroma_hole(mask, layout, number) if number and layout.shift_x else mask
                plane[area] = noise.integers(16, 236, int(area.sum()))
            holes.append(HoleFrame(replace(frame, planes=tuple(planes)), Hole.of(mask)))
        results.append(list(_run(holes)))
    for one, other in zip(*results, strict=True):
        assert all((a == b).all() for a, b in zip(one.planes, other.planes, strict=True))


def test_nothing_comes_from_the_other_side_of_a_cut() -> None:
    shown, masks, _ = clip(8, 96, 128, step=(0, 0))
    red = [np.full_like(picture, (250, 0, 0)) for picture in shown]
    grey = [np.where(m[..., None], np.uint8(0), np.uint8(128)).repeat(3, 2) for m in masks]
    frames = as_frames(grey[:4] + red[4:], PixelLayout("rgb24", "rgb", 8, full_range=True))
    # the hole is there only before the cut: just behind it lies everything that would fill it, in red
    holes = [HoleFrame(f, Hole.of(m) if f.index < 4 else None) for f, m in zip(frames, masks, strict=True)]
    for analysis in (None, _analysed(frames, masks)):
        result = list(_run(holes, analysis=analysis))
        for frame, mask in zip(result[:4], masks, strict=False):
            assert np.abs(frame.rgb()[mask].astype(int) - 128).max() <= 2


@pytest.mark.parametrize("count", [1, 4])
def test_nothing_of_a_frame_that_is_all_hole_is_left(count: int) -> None:
    """No known pixel: grey, and counted as synthesized."""
    frames = as_frames([texture(64, 80, seed) for seed in range(count)])
    stats = FillStats()
    results = list(_run([HoleFrame(frame, Hole.of(np.ones((64, 80), bool))) for frame in frames], stats=stats))
    assert (stats.copied, stats.invented) == (0, count * 64 * 80)
    for result in results:
        assert np.ptp(result.planes[0]) == 0


def test_a_still_picture_is_completed() -> None:
    picture = texture(90, 121, 3)
    mask = np.zeros((90, 121), bool)
    mask[30:60, 40:70] = True
    stats = FillStats()
    frame = as_frames([picture])[0]
    (result,) = _run([HoleFrame(frame, Hole.of(mask))], stats=stats)
    assert stats.invented == mask.sum()
    assert stats.copied == 0
    assert _psnr([result], as_frames([picture]), [mask]) > 15


def test_synthesis_is_the_same_through_the_shot() -> None:
    truth = [texture(96, 128, 4)] * 8
    mask = np.zeros((96, 128), bool)
    mask[30:60, 40:80] = True
    frames = as_frames([np.where(mask[..., None], np.uint8(255), p) for p in truth])
    result = [f.rgb() for f in _run([HoleFrame(f, Hole.of(mask)) for f in frames])]
    for later in result[1:]:
        assert np.abs(later.astype(int) - result[0]).max() <= 2


def test_a_frame_that_is_all_hole_passes() -> None:
    frames = as_frames([texture(48, 64, 1)] * 3)
    whole = np.ones((48, 64), bool)
    assert len(list(_run([HoleFrame(f, Hole.of(whole)) for f in frames]))) == 3


@pytest.mark.parametrize("mode", ["auto", "plate", "flow", "image"])
def test_every_mode_fills(mode: str) -> None:
    shown, masks, truth = clip(12, 96, 160, step=(0, 8))
    frames = as_frames(shown)
    options = FillOptions(mode=mode)  # type: ignore[arg-type]
    result = list(_run(_with_holes(frames, masks), options, _analysed(frames, masks)))
    assert _psnr(result, as_frames(truth), masks) > (15 if mode == "image" else 30)


@pytest.mark.parametrize("quality", ["fast", "default", "best"])
def test_no_more_frames_are_held_than_promised(quality: str) -> None:
    options = FillOptions(quality=quality)  # type: ignore[arg-type]
    alive: list[weakref.ref] = []
    peak = 0
    shown, masks, _ = clip(6, 48, 64, step=(0, 2), size=10)

    def stream() -> Iterator[HoleFrame]:
        for t in range(frames_held(options) + 60):
            frame = as_frames([shown[t % 6]])[0]
            frame = Frame(frame.planes, frame.layout, t, t, frame.time_base)
            alive.append(weakref.ref(frame))
            yield HoleFrame(frame, Hole.of(masks[t % 6]) if t % 20 < 3 else None)
            del frame

    for frame in _run(stream(), options):
        gc.collect(0)
        peak = max(peak, sum(ref() is not None for ref in alive))
        del frame
    assert peak <= frames_held(options) + 1


def test_a_shadow_is_removed_with_its_object_when_asked() -> None:
    shown, masks, truth = clip(24, 120, 200, step=(0, 7))
    shaded, shadows = [], []
    for picture, mask in zip(shown, masks, strict=True):
        shadow = np.roll(mask, (18, 6), (0, 1)) & ~mask
        shadows.append(shadow)
        shaded.append(np.where(shadow[..., None], (picture * 0.6).astype(np.uint8), picture))
    frames, wanted = as_frames(shaded), as_frames(truth)
    analysis = _analysed(frames, masks)
    left = _psnr(list(_run(_with_holes(frames, masks), analysis=analysis)), wanted, shadows)
    gone = _psnr(list(_run(_complete(_with_holes(frames, masks), analysis), analysis=analysis)), wanted, shadows)
    assert left < 20
    assert gone > 30


@pytest.mark.parametrize("coat", [None, 8], ids=["plain", "patterned"])
def test_a_protected_neighbour_is_neither_residual_nor_behind_the_hole(coat: int | None) -> None:
    shown, masks, truth = clip(24, 120, 200, step=(0, 7))
    friends = [np.roll(mask, 20, 1) & ~mask for mask in masks]  # walks along, touching, and is protected
    both = []
    cloth = np.full((120, 200, 3), (20, 40, 200), np.uint8) if coat is None else texture(120, 200, coat) // 2
    for t, (picture, friend) in enumerate(zip(shown, friends, strict=True)):
        picture[friend] = np.roll(cloth, 7 * t, 1)[friend]
        both.append(picture)
    frames = as_frames(both)
    analysis = _analysed(frames, [a | b for a, b in zip(masks, friends, strict=True)])
    visible = [np.roll(friend, 6, 1) & friend for friend in friends]  # clear of the hole's own ring
    without = list(_run(_complete(_with_holes(frames, masks), analysis), analysis=analysis))
    holes = [
        replace(found, protected_hole=Hole.of(friend, friend))
        for found, friend in zip(_with_holes(frames, masks), friends, strict=True)
    ]
    protected = list(_run(_complete(holes, analysis), analysis=analysis))
    assert _psnr(without, frames, visible) < 20
    assert _psnr(protected, frames, visible) > 40
    assert _psnr(protected, as_frames(truth), masks) > 25


def test_leaving_early_closes_upstream() -> None:
    closed = []

    def stream() -> Iterator[HoleFrame]:
        try:
            while True:
                yield HoleFrame(as_frames([texture(32, 32)])[0])
        finally:
            closed.append(True)

    filled = _run(stream())
    next(filled)
    filled.close()  # type: ignore[attr-defined]
    assert closed == [True]
