"""The invariants of the whole: what comes out is what went in, but for the hole; nothing is left behind when it goes wrong."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import cv2
import fakes
import numpy as np
import pytest
import synth
from clips import packets, write_clip
from numpy.typing import NDArray

import vidrase
from vidrase import engine, passes
from vidrase.colour import chroma_hole
from vidrase.errors import OptionError, SourceError, VidraseError
from vidrase.flow import load_flow
from vidrase.frames import Frame, HoleFrame, SourceInfo
from vidrase.inpaint import load_inpainter
from vidrase.options import Options, SelectOptions, options_from
from vidrase.passes import max_frames_in_flight
from vidrase.report import Notes
from vidrase.run import Models, Run
from vidrase.source import open_source


def models(segmenter: object = None) -> Models:
    return Models(load_flow("dis", note=print), load_inpainter("auto"), segmenter)  # type: ignore[arg-type]


@pytest.fixture
def clip(tmp_path: Path) -> tuple[Path, Path, list[NDArray[np.uint8]]]:
    """(a clip with sound, its masks as a folder, the truth)."""
    shown, masks, truth = synth.clip(12, 96, 128, pan=(0.0, 0.7), step=(0, 7))
    write_clip(tmp_path / "clip.mp4", shown, audio=True, options={"qp": "0"}, pix_fmt="yuv420p")
    folder = tmp_path / "masks"
    folder.mkdir()
    for t, mask in enumerate(masks):
        cv2.imwrite(str(folder / f"{t:03d}.png"), mask.astype(np.uint8) * 255)
    return tmp_path / "clip.mp4", folder, truth


def decoded(path: Path) -> list[Frame]:
    with open_source(path) as source:
        return list(source)


def psnr(a: NDArray, b: NDArray) -> float:
    return float(10 * np.log10(255**2 / max(float(np.mean((a.astype(float) - b.astype(float)) ** 2)), 1e-9)))


def test_only_the_hole_changes_and_the_truth_comes_back(tmp_path: Path, clip: tuple[Path, Path, list]) -> None:
    where, masks, truth = clip
    to = tmp_path / "out.mp4"
    report = vidrase.erase(where, to, mask=masks, lossless=True, dilate=4, save_masks=tmp_path / "saved")
    old, new = decoded(where), decoded(to)
    assert [f.pts * f.time_base for f in old] == [f.pts * f.time_base for f in new]
    assert packets(to) == packets(where)
    for before, after, clean in zip(old, new, truth, strict=True):
        shown = cv2.imread(str(masks / f"{before.index:03d}.png"), 0) > 127
        area = cv2.dilate(shown.astype(np.uint8), np.ones((11, 11), np.uint8)).astype(bool)
        for number, (a, b) in enumerate(zip(before.planes, after.planes, strict=True)):
            outside = ~chroma_hole(area, before.layout, number)
            assert np.array_equal(a[outside], b[outside]), f"plane {number} of frame {before.index}"
        assert psnr(after.rgb()[shown], clean[shown]) > 27
    assert (report.frames, report.frames_with_hole) == (12, 12)
    assert report.share_copied > 0.9
    assert len(list((tmp_path / "saved").iterdir())) == 12
    report.save(tmp_path / "run.json")


@pytest.mark.parametrize("dilate", [None, 0, 6])
def test_saved_masks_are_the_ones_that_were_given(
    tmp_path: Path, clip: tuple[Path, Path, list], dilate: int | None
) -> None:
    where, masks, _ = clip
    saved = tmp_path / "saved"
    vidrase.erase(where, tmp_path / "out.mp4", mask=masks, dilate=dilate, save_masks=saved)
    for given, written in zip(sorted(masks.iterdir()), sorted(saved.iterdir()), strict=True):
        assert np.array_equal(cv2.imread(str(given), 0) > 127, cv2.imread(str(written), 0) > 127)


def test_frames_without_a_hole_are_the_same_objects(clip: tuple[Path, Path, list]) -> None:
    where, masks, _ = clip
    frames = decoded(where)
    options = options_from({"mask": masks, "times": [(0.2, 0.3)]})
    out = list(passes.one_pass(iter(frames), Run(options, models(), Notes())))
    assert [a is b for a, b in zip(frames, out, strict=True)] == [not 5 <= t < 8 for t in range(12)]


def test_nothing_found_is_a_copy(tmp_path: Path, clip: tuple[Path, Path, list]) -> None:
    where, _, _ = clip
    options = options_from({"remove": "person", "lossless": True})
    nothing = fakes.FakeSegmenter([np.zeros((96, 128), bool)] * 12)
    report = engine.erase(where, tmp_path / "out.mp4", options, models=models(nothing))
    assert (report.frames, report.frames_with_hole) == (12, 0)
    for a, b in zip(decoded(where), decoded(tmp_path / "out.mp4"), strict=True):
        assert all(np.array_equal(p, q) for p, q in zip(a.planes, b.planes, strict=True))


def test_a_detector_drives_it(tmp_path: Path, clip: tuple[Path, Path, list]) -> None:
    where, masks, truth = clip
    shown = [cv2.imread(str(p), 0) > 127 for p in sorted(masks.iterdir())]
    options = options_from({"remove": "person"})
    report = engine.erase(where, tmp_path / "out.mp4", options, models=models(fakes.FakeSegmenter(shown)))
    assert report.removed == {"person": 1}
    for mask, clean, frame in zip(shown, truth, decoded(tmp_path / "out.mp4"), strict=True):
        assert psnr(frame.rgb()[mask], clean[mask]) > 24


@pytest.mark.parametrize("pan", [(0.0, 0.0), (0.2, 1.5)])
def test_the_hole_that_is_saved_counted_and_shown_has_the_shadow_in_it(
    tmp_path: Path, pan: tuple[float, float]
) -> None:
    shown, masks, _ = synth.clip(24, 120, 200, pan=pan, step=(0, 5), size=30, seed=3)
    shadows = [np.roll(mask, (18, 6), (0, 1)) & ~mask for mask in masks]
    for picture, shadow in zip(shown, shadows, strict=True):
        picture[shadow] = picture[shadow] * 0.55
    write_clip(tmp_path / "in.mp4", shown, options={"qp": "0"}, pix_fmt="yuv420p")
    made, shares = models(fakes.FakeSegmenter(masks)), {}
    for shadow in (False, True):
        options = options_from({"remove": "person", "shadows": shadow, "quality": "fast"})
        by_products = engine.ByProducts(masks=tmp_path / f"masks-{shadow}", sheet=tmp_path / f"sheet-{shadow}.png")
        report = engine.erase(
            tmp_path / "in.mp4", tmp_path / f"{shadow}.mp4", options, models=made, by_products=by_products
        )
        saved = [cv2.imread(str(p), 0) > 127 for p in sorted((tmp_path / f"masks-{shadow}").iterdir())]
        covered = float(np.mean([mask[s].mean() for mask, s in zip(saved[6:18], shadows[6:18], strict=True)]))
        assert covered > 0.4 if shadow else covered < 0.2
        shares[shadow] = report.hole_share
        # all of the hole, and nothing else, is filled
        assert report.fill.copied + report.fill.invented == pytest.approx(
            report.hole_share * report.frames_with_hole * 120 * 200, rel=1e-3
        )
    assert shares[True] > 1.15 * shares[False]
    sheets = [cv2.imread(str(tmp_path / f"sheet-{shadow}.png")) for shadow in (False, True)]
    marked = [np.count_nonzero((sheet[..., 2] > sheet[..., 0] + 60) & (sheet[..., 2] > 120)) for sheet in sheets]
    assert marked[1] > 1.01 * marked[0]


def test_a_still_is_a_clip_of_one_frame(tmp_path: Path) -> None:
    shown, masks, _ = synth.clip(1)
    cv2.imwrite(str(tmp_path / "in.png"), shown[0][..., ::-1])
    cv2.imwrite(str(tmp_path / "mask.png"), masks[0].astype(np.uint8) * 255)
    report = vidrase.erase(tmp_path / "in.png", mask=tmp_path / "mask.png", dilate=3)
    direct = vidrase.Eraser(dilate=3).image(shown[0], masks[0])
    written = cv2.imread(str(tmp_path / "in_erased.png"))[..., ::-1]
    assert np.array_equal(written, direct)
    area = cv2.dilate(masks[0].astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
    assert np.array_equal(direct[~area], shown[0][~area])
    assert (
        np.abs(direct[masks[0]].astype(int) - (230, 30, 40)).min(axis=0).max() > 0
    )  # nothing of the red square's colour
    assert report.frames == 1


def test_dilate_0_takes_the_mask_exactly() -> None:
    shown, masks, _ = synth.clip(1)
    result = vidrase.Eraser(dilate=0).image(shown[0], masks[0])
    assert np.array_equal(result[~masks[0]], shown[0][~masks[0]])
    assert (result[masks[0]] != shown[0][masks[0]]).any(axis=1).mean() > 0.99


class Endless:
    """A source of `count` tiny frames with a hole that wanders; counts nothing, holds nothing."""

    def __init__(self, count: int) -> None:
        self.count = count
        picture = synth.texture(32, 48)
        self.base = synth.as_frames([picture])[0]
        self.info = SourceInfo("video", None, "endless", 48, 32, self.base.layout, Fraction(1, 25))

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self.count):
            planes = tuple(plane.copy() for plane in self.base.planes)
            yield Frame(planes, self.base.layout, index, index, Fraction(1, 25), 1)

    def close(self) -> None:
        pass


@pytest.mark.slow
@pytest.mark.parametrize("count", [10_000])
def test_frames_in_flight_stay_under_the_formula(tmp_path: Path, count: int) -> None:
    check_in_flight(tmp_path, count)


def test_frames_in_flight_stay_under_the_formula_for_some_hundred(tmp_path: Path) -> None:
    check_in_flight(tmp_path, 400)


def check_in_flight(tmp_path: Path, count: int) -> None:
    mask = np.zeros((32, 48), np.uint8)
    mask[10:20, 10:20] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    options = options_from({"mask": tmp_path / "mask.png", "dilate": 1})
    run = Run(options, models(), Notes())
    assert sum(1 for _ in engine.erase_source(Endless(count), run)) == count  # type: ignore[arg-type]
    assert run.alive.peak <= max_frames_in_flight(options)
    gc.collect()
    assert run.alive.now <= 1


STAGES = ["source", "flow", "inpainter", "sink", "progress"]


@pytest.mark.parametrize("stage", STAGES)
def test_an_error_anywhere_reaches_the_caller(
    tmp_path: Path, clip: tuple[Path, Path, list], stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, masks, _ = clip
    made = models()
    broken = _raiser(stage)
    if stage == "source":
        monkeypatch.setattr("vidrase.source.video.read_planes", broken)
    elif stage == "flow":
        made.flow = type("Broken", (), {"name": "broken", "__call__": broken})()
    elif stage == "inpainter":
        monkeypatch.setattr("vidrase.fill.Filler.push", broken)
    elif stage == "sink":
        monkeypatch.setattr("vidrase.sink.video.VideoSink.write", broken)
    by_products = engine.ByProducts(progress=broken if stage == "progress" else None)
    before = sorted(tmp_path.iterdir())
    with pytest.raises((RuntimeError, VidraseError)):
        engine.erase(where, tmp_path / "out.mp4", options_from({"mask": masks}), models=made, by_products=by_products)
    assert sorted(tmp_path.iterdir()) == before


def _raiser(stage: str) -> Callable[..., None]:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(f"{stage} broke")

    return broken


def test_leaving_a_stream_early_is_quick(clip: tuple[Path, Path, list]) -> None:
    where, masks, _ = clip
    stream = vidrase.Eraser(mask=masks).stream(where)
    next(stream)
    begun = time.perf_counter()
    stream.close()  # type: ignore[attr-defined]
    assert time.perf_counter() - begun < 2


def test_preview_is_written_and_nothing_else(tmp_path: Path, clip: tuple[Path, Path, list]) -> None:
    where, masks, _ = clip
    before = set(tmp_path.iterdir())
    engine.preview(where, tmp_path / "sheet.png", options_from({"mask": masks}))
    assert {p.name for p in set(tmp_path.iterdir()) - before} == {"sheet.png"}


def test_preview_with_a_detector_looks_at_excerpts(
    tmp_path: Path, clip: tuple[Path, Path, list], monkeypatch: pytest.MonkeyPatch
) -> None:
    where, masks, _ = clip
    shown = [cv2.imread(str(p), 0) > 127 for p in sorted(masks.iterdir())]
    monkeypatch.setattr(Models, "load", classmethod(lambda *_: models(fakes.FakeSegmenter(shown))))
    engine.preview(where, tmp_path / "sheet.png", options_from({"remove": "person", "times": [(0.0, 0.4)]}))
    assert (tmp_path / "sheet.png").exists()
    with pytest.raises(OptionError, match="no frame lies within --time"):
        engine.preview(where, tmp_path / "no.png", options_from({"remove": "person", "times": [(50.0, 60.0)]}))


def test_what_cannot_be_done_is_one_line(tmp_path: Path, clip: tuple[Path, Path, list]) -> None:
    where, masks, _ = clip
    with pytest.raises(OptionError, match="nothing to remove was named"):
        engine.erase(where, tmp_path / "out.mp4", Options())
    with pytest.raises(SourceError, match="no such file"):
        engine.erase(tmp_path / "none.mp4", tmp_path / "out.mp4", Options(select=SelectOptions(mask=(masks,))))
    cv2.imwrite(str(tmp_path / "small.png"), np.zeros((5, 5), np.uint8))
    with pytest.raises(VidraseError, match="5"):
        vidrase.erase(where, tmp_path / "out.mp4", mask=tmp_path / "small.png")
    assert not (tmp_path / "out.mp4").exists()


def test_ten_bit_422_keeps_its_format(tmp_path: Path) -> None:
    shown, masks, _ = synth.clip(5)
    write_clip(tmp_path / "in.mkv", shown, pix_fmt="yuv422p10le")
    cv2.imwrite(str(tmp_path / "mask.png"), np.logical_or.reduce(masks).astype(np.uint8) * 255)
    vidrase.erase(tmp_path / "in.mkv", tmp_path / "out.mkv", mask=tmp_path / "mask.png", lossless=True, dilate=0)
    before, after = decoded(tmp_path / "in.mkv"), decoded(tmp_path / "out.mkv")
    assert after[0].layout.name == "yuv422p10le"
    outside = ~np.logical_or.reduce(masks)
    assert all(np.array_equal(a.planes[0][outside], b.planes[0][outside]) for a, b in zip(before, after, strict=True))


def test_frames_far_from_the_requested_times_count_as_not_searched() -> None:
    # outside the time range the object is not detected; it must not be taken for background
    frames = synth.as_frames([synth.texture(24, 32)] * 100)
    select = SelectOptions(times=((2.0, 2.4),))
    run = SimpleNamespace(options=Options(select=select))
    found = list(passes.limited_to_request(map(HoleFrame, frames), [], run, ((1.0, 3.4),)))  # type: ignore[arg-type]
    assert [f.frame.index for f in found if f.searched] == list(range(25, 85))
    assert [f.frame.index for f in found if not f.passes] == list(range(50, 60))
