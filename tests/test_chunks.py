"""A clip filled in chunks is the clip filled in one piece; what a killed run has done is used by the next."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import synth
from chunkruns import CLIP, MASKS, decoded, dilated, make_clip, models, run, same, short_chunks, write_masked
from clips import packets, write_clip
from fakes import FakeSegmenter
from numpy.typing import NDArray

from vidrase.chunks import saved
from vidrase.chunks.folder import LEVELS, MANIFEST, WorkFolder, beside
from vidrase.engine import ByProducts
from vidrase.errors import OptionError, SinkError
from vidrase.report import Report

IMAGE = {"fill": "image", "shadows": False}
"""For what does not depend on how the holes are filled: the quickest way."""


def test_chunks_that_end_at_cuts_give_the_result_of_one_piece_to_the_bit(tmp_path: Path) -> None:
    make_clip(tmp_path, 14, 16, 13)
    products = [ByProducts(tmp_path / f"{name}.png", tmp_path / name) for name in ("whole", "joined")]
    whole = run(tmp_path, "whole.mp4", by_products=products[0])
    with short_chunks(12):
        report = run(tmp_path, "joined.mp4", work=tmp_path / "work", by_products=products[1])
    assert report.chunks == 3
    assert whole.chunks == 0
    assert (tmp_path / "joined.png").read_bytes() == (tmp_path / "whole.png").read_bytes()
    for mask in (tmp_path / "whole").iterdir():
        assert mask.read_bytes() == (tmp_path / "joined" / mask.name).read_bytes()
    assert (tmp_path / "joined.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    report.fill.self_check_db = whole.fill.self_check_db  # measured on other frames
    for name in ("frames", "frames_with_hole", "hole_share", "fill"):
        assert getattr(report, name) == getattr(whole, name), name


def test_a_long_clip_is_filled_in_chunks_without_being_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_clip(tmp_path, 14, 16)
    monkeypatch.setattr("vidrase.chunks.work.LONG", 20)
    before = set(tmp_path.iterdir())
    with WorkFolder(beside(tmp_path / "small.mp4")):  # of a run that was killed
        pass
    run(tmp_path, "small.mp4", times=[(0.0, 0.1)], work=tmp_path / "named", **IMAGE)
    (tmp_path / "small.mp4").unlink()
    shutil.rmtree(tmp_path / "named")
    with short_chunks(12):
        report = run(tmp_path, "out.mp4", **IMAGE)
    assert (report.chunks, report.workers) == (2, 1)
    assert {path.name for path in set(tmp_path.iterdir()) - before} == {"out.mp4"}


@pytest.mark.parametrize("kind", ["frames", "damaged", "ts"])
def test_odd_sources_are_entered_where_they_should(tmp_path: Path, kind: str) -> None:
    import cv2

    make_clip(tmp_path, 26, 16)
    clip, to = CLIP, ".mkv"
    if kind == "frames":
        clip, to = "pictures", ""
        (tmp_path / clip).mkdir()
        for frame in decoded(tmp_path / CLIP):
            cv2.imwrite(str(tmp_path / clip / f"{frame.index:03d}.png"), frame.rgb()[..., ::-1])
    elif kind == "damaged":
        data = bytearray((tmp_path / CLIP).read_bytes())
        data[len(data) // 3 : len(data) // 3 + 400] = bytes(400)
        (tmp_path / CLIP).write_bytes(data)
    else:
        clip = "clip.ts"
        pictures = [frame.rgb() for frame in decoded(tmp_path / CLIP)]
        write_clip(tmp_path / clip, pictures, options={"g": "12", "bf": "2"})
    mask = np.zeros((64, 96), np.uint8)
    mask[20:40, 30:50] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    whole = run(tmp_path, f"whole{to}", clip=clip, mask=tmp_path / "mask.png", **IMAGE)
    with short_chunks(12):
        joined = run(tmp_path, f"joined{to}", clip=clip, mask=tmp_path / "mask.png", work=tmp_path / "work", **IMAGE)
    assert joined.chunks == 3
    assert (joined.frames, joined.missing_frames) == (whole.frames, whole.missing_frames)
    after = (tmp_path / "work" / "filled").glob("*.chunk")
    start = int(max(path.name for path in after).partition("-")[0])
    a, b = decoded(tmp_path / f"whole{to}"), decoded(tmp_path / f"joined{to}")
    for one, other in zip(a, b, strict=True):
        known = np.s_[:] if one.index >= start else ~dilated(mask > 0)
        assert np.array_equal(one.planes[0][known], other.planes[0][known])


@pytest.mark.parametrize("pan", [(0.0, 0.7), pytest.param((0.0, 0.0), marks=pytest.mark.slow)])
def test_seams_within_a_shot_are_not_seen(tmp_path: Path, pan: tuple[float, float]) -> None:
    masks = make_clip(tmp_path, 60, pan=pan)
    run(tmp_path, "whole.mp4")
    with short_chunks(20):
        assert run(tmp_path, "joined.mp4", work=tmp_path / "work").chunks == 3
    assert packets(tmp_path / "joined.mp4") == packets(tmp_path / CLIP)
    differences = []
    for before, a, b, mask in zip(
        *map(decoded, (tmp_path / CLIP, tmp_path / "whole.mp4", tmp_path / "joined.mp4")), masks, strict=True
    ):
        assert b.pts * b.time_base == before.pts * before.time_base
        outside = ~dilated(mask)
        assert np.array_equal(a.planes[0][outside], b.planes[0][outside])
        assert np.array_equal(before.planes[0][outside], b.planes[0][outside])
        differences.append(float(np.abs(a.planes[0][mask].astype(int) - b.planes[0][mask]).mean()) if mask.any() else 0)
    assert max(differences) < 2, differences  # grey levels


class Fickle:
    """Invents another grey at every call."""

    name, stride, calls = "fickle", 1, 0

    def __call__(self, pixels: NDArray[np.float32], hole: NDArray[np.bool_]) -> NDArray[np.float32]:
        self.calls += 1
        return np.where(hole, np.float32(0.3 + 0.4 * (self.calls % 2)), pixels)


@pytest.mark.slow
def test_inventions_of_two_stretches_fade_into_each_other(tmp_path: Path) -> None:
    _, _, shown = synth.clip(48, 64, 112, pan=(0.0, 1.0), seed=4)
    masks = []
    for t, picture in enumerate(shown):  # what no frame shows, before a panning camera
        mask = np.zeros((64, 112), bool)
        mask[20:44, 80 - t : 104 - t] = True
        masks.append(mask)
        picture[mask] = (200, 30, 40)
    write_masked(tmp_path, shown, masks)

    def steps(lead: int) -> list[float]:
        made = models()
        made.inpainter = Fickle()
        with short_chunks(24, lead=lead):
            work = tmp_path / f"work{lead}"
            assert run(tmp_path, "out.mp4", made=made, work=work, dilate=0, shadows=False).chunks == 2
        insides = [
            frame.planes[0][24:40, 84 - frame.index : 100 - frame.index] for frame in decoded(tmp_path / "out.mp4")
        ]
        return [float(np.abs(a.astype(int) - b).mean()) for a, b in itertools.pairwise(insides)]

    assert max(steps(lead=0)) > 60
    assert max(steps(lead=12)) < 10


def test_workers_give_what_this_process_gives(tmp_path: Path) -> None:
    make_clip(tmp_path, 16, 14, 13)
    with short_chunks(12):
        run(tmp_path, "one.mp4", work=tmp_path / "a")
        report = run(tmp_path, "two.mp4", workers=2, inpainter="telea", flow="dis")
    assert (report.workers, report.chunks) == (2, 3)
    assert same(tmp_path / "one.mp4", tmp_path / "two.mp4")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_kept_folder_gives_everything_back(tmp_path: Path) -> None:
    make_clip(tmp_path, 16, 14)
    said: list[str] = []
    with short_chunks(12):
        first = run(tmp_path, "a.mp4", **IMAGE, work=tmp_path / "work")
        again = run(tmp_path, "b.mp4", **IMAGE, work=tmp_path / "work", say=said.append)
    assert same(tmp_path / "a.mp4", tmp_path / "b.mp4")
    assert first.reused == {}
    assert again.reused == {"searched": 30, "filled": 2}
    assert said == [f"goes on from {tmp_path / 'work'}: the first pass is done, 2 of 2 chunks are filled"]
    assert again.fill == first.fill


@pytest.mark.slow
def test_one_changed_mind_costs_only_what_depends_on_it(tmp_path: Path) -> None:
    masks = make_clip(tmp_path, 16, 14)

    def again(**choices: object) -> tuple[Report, FakeSegmenter, list[str]]:
        segmenter, said = FakeSegmenter(masks), list[str]()
        with short_chunks(12):
            asked = {"remove": "person", "work": tmp_path / "work", "detect_every": 1, **IMAGE, **choices}
            report = run(tmp_path, "out.mp4", made=models(segmenter), say=said.append, **asked)
        return report, segmenter, said

    report, segmenter, _ = again()
    assert segmenter.calls
    assert report.reused == {}
    report, segmenter, _ = again(lossless=False, crf=30)
    assert (report.reused, segmenter.calls) == ({"searched": 30, "filled": 2}, [])
    report, segmenter, said = again(dilate=9)
    assert (report.reused, segmenter.calls) == ({"searched": 30, "filled": 0}, [])
    assert said[0] == "--dilate changed: the holes are filled again"
    report, segmenter, said = again(dilate=9, detect_every=3)
    assert (report.reused["detected"], segmenter.calls) == (30, [])
    assert "--detect-every was 1 and is 3: the first pass is done again" in said
    report, segmenter, said = again(dilate=9, detect_every=3, restart=True)
    assert segmenter.calls
    assert report.reused == {}
    (tmp_path / CLIP).touch()
    report, segmenter, said = again(dilate=9, detect_every=3)
    assert segmenter.calls
    assert said[0] == "input changed: everything is done anew"


class Stops(Exception):
    """In place of a kill."""


def test_what_is_done_before_an_end_is_used_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    masks = make_clip(tmp_path, 16, 14, 13)
    work, said = tmp_path / "work", list[str]()

    class Dying(FakeSegmenter):
        def __call__(self, frames: object) -> object:  # type: ignore[override]
            if sum(self.calls) > 20:
                raise Stops
            return super().__call__(frames)  # type: ignore[arg-type]

    asked = {"remove": "person", "work": work, "detect_every": 1, "say": said.append, **IMAGE}
    with short_chunks(12):
        run(tmp_path, "whole.mp4", made=models(FakeSegmenter(masks)), **{**asked, "work": tmp_path / "other"})
        with pytest.raises(Stops):
            run(tmp_path, "out.mp4", made=models(Dying(masks)), **asked)
        assert not (tmp_path / "out.mp4").exists()
        broken = models(FakeSegmenter(masks))
        filled = sorted(path.name for path in (tmp_path / "other" / "filled").iterdir())

        def stop(*_: object) -> None:
            if len(list((work / "filled").glob("0*.chunk"))) == 2:
                raise Stops

        monkeypatch.setattr("vidrase.fill.Filler.push", _before(stop))
        with pytest.raises(Stops):
            run(tmp_path, "out.mp4", made=broken, **asked)
        monkeypatch.undo()
        assert sum(broken.segmenter.calls) == 43 - 24  # type: ignore[union-attr]
        assert sorted(path.name for path in (work / "filled").glob("0*.chunk")) == filled[:2]
        report = run(tmp_path, "out.mp4", made=models(FakeSegmenter(masks)), **asked)
    assert report.reused == {"searched": 43, "filled": 2}
    assert same(tmp_path / "whole.mp4", tmp_path / "out.mp4")
    kept = f"what is done is kept in {work}: the same command goes on from there"
    assert said.count(kept) == 2


def _before(first: object) -> object:
    from vidrase.fill import Filler

    push = Filler.push

    def both(self: Filler, found: object) -> None:
        first()  # type: ignore[operator]
        push(self, found)  # type: ignore[arg-type]

    return both


def test_a_second_run_on_a_work_folder_is_refused(tmp_path: Path) -> None:
    make_clip(tmp_path, 20)
    with WorkFolder(tmp_path / "work"), pytest.raises(SinkError, match="in use by another run"):
        run(tmp_path, "out.mp4", work=tmp_path / "work")
    assert not (tmp_path / "out.mp4").exists()
    with pytest.raises(OptionError, match=r"holds other files than a run's"):
        run(tmp_path, "out.mp4", work=tmp_path)
    with WorkFolder(tmp_path / "other") as folder:
        (folder.path / "notes.txt").write_text("mine")
        folder.remove()
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["notes.txt"]


def test_what_is_remembered_goes_with_its_level(tmp_path: Path) -> None:
    with WorkFolder(tmp_path / "work") as folder:
        for level in LEVELS:
            assert folder.settle(level, {"of": level}) == ""
        folder.remember("searched", "followed", [1])
        folder.remember("filled", "edges", [0, 5])
    with WorkFolder(tmp_path / "work") as folder:
        assert [folder.settle(level, {"of": level}) for level in LEVELS] == [None] * 4
        assert folder.settle("filled", {"of": "more"}) == "of was filled and is more"
        assert folder.remembered("searched", "followed") == [1]
        assert folder.remembered("filled", "edges") is None
        assert folder.settle("source", {"of": "another"}) == "of was source and is another"
        assert folder.remembered("searched", "followed") is None


def test_a_damaged_work_folder_is_no_harm(tmp_path: Path) -> None:
    make_clip(tmp_path, 16, 14)
    with short_chunks(12):
        run(tmp_path, "a.mp4", **IMAGE, work=tmp_path / "work")
        chunk = min((tmp_path / "work" / "filled").glob("0*.chunk"))
        chunk.write_bytes(chunk.read_bytes()[:-30])
        assert run(tmp_path, "b.mp4", **IMAGE, work=tmp_path / "work").reused["filled"] == 1
        shots = tmp_path / "work" / "searched" / "shots.json"
        shots.write_text(shots.read_text()[:20])
        assert run(tmp_path, "c.mp4", **IMAGE, work=tmp_path / "work").reused == {}
        (tmp_path / "work" / MANIFEST).write_text("[")
        assert run(tmp_path, "d.mp4", **IMAGE, work=tmp_path / "work").reused == {}
    assert same(tmp_path / "a.mp4", tmp_path / "b.mp4")
    assert same(tmp_path / "a.mp4", tmp_path / "d.mp4")


def test_a_full_disk_is_one_line_and_the_next_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_clip(tmp_path, 16, 14)
    work = tmp_path / "work"

    def full(*_: object) -> None:
        if len(list((work / "filled").glob("0*.chunk"))) == 1:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("vidrase.chunks.patch.ChunkWriter.add", full)
    with short_chunks(12):
        with pytest.raises(SinkError, match="the disk is full"):
            run(tmp_path, "out.mp4", **IMAGE, work=work)
        monkeypatch.undo()
        assert run(tmp_path, "out.mp4", **IMAGE, work=work).reused == {"searched": 30, "filled": 1}


def test_masks_by_name_and_times_go_with_chunks(tmp_path: Path) -> None:
    import cv2

    masks = make_clip(tmp_path, 16, 14)
    folder = tmp_path / "masks"
    folder.mkdir()
    for n, mask in enumerate(masks):
        cv2.imwrite(str(folder / f"{n:03d}.png"), mask.astype(np.uint8) * 255)
    for times in ([], [(0.6, 0.8), (1.0, 1.1)]):
        run(tmp_path, "whole.mp4", **IMAGE, mask=folder, times=times)
        with short_chunks(12):
            run(tmp_path, "joined.mp4", **IMAGE, mask=folder, times=times, workers=1, work=tmp_path / "work")
        assert same(tmp_path / "whole.mp4", tmp_path / "joined.mp4")
    assert json.loads((tmp_path / "work" / MANIFEST).read_text())["filled:edges"] == [0, 16, 30]


def test_the_first_pass_is_saved_whole(tmp_path: Path) -> None:
    make_clip(tmp_path, 36, 20, pan=(0.0, 1.5))
    with short_chunks(30):
        run(tmp_path, "out.mp4", work=tmp_path / "work")
    place = tmp_path / "work" / "searched"
    known = saved.load(place)
    assert [(shot.start, shot.stop) for shot in known.analysis.shots] == [(0, 36), (36, 56)]  # type: ignore[union-attr]
    assert any(shot.mosaic for shot in known.analysis.shots)  # type: ignore[union-attr]
    part = saved.load(place, span=(40, 50))
    assert not any(shot.mosaic or shot.plate for shot in part.analysis.shots[:1])  # type: ignore[union-attr]
    shutil.copytree(place, tmp_path / "copy")
    saved.save(known, tmp_path / "copy")
    for path in place.iterdir():
        if path.suffix == ".npz":
            with np.load(path) as one, np.load(tmp_path / "copy" / path.name) as other:
                assert one.files == other.files
                assert all(np.array_equal(one[name], other[name]) for name in one.files)


def test_pictures_and_pipes_go_in_one_piece(tmp_path: Path) -> None:
    import cv2

    make_clip(tmp_path, 20)
    cv2.imwrite(str(tmp_path / "picture.png"), np.full((64, 96, 3), 90, np.uint8))
    cv2.imwrite(str(tmp_path / "mask.png"), np.eye(64, 96, dtype=np.uint8) * 255)
    from vidrase import erase

    report = erase(tmp_path / "picture.png", mask=tmp_path / "mask.png", workers=2)
    assert (report.chunks, report.fallbacks) == (0, {})
    assert run(tmp_path, "short.mp4", mask=tmp_path / MASKS).chunks == 0
