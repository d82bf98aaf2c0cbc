"""What is evaluated: cases from folders and from nothing, and one clear line where a folder does not fit."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from synth import clip

from vidrase.bench.case import Case, as_frames, as_rgb, blanked
from vidrase.bench.completion import SIZE, completion_cases, spread
from vidrase.bench.fixed import fixed, fixed_names
from vidrase.bench.folders import chosen, clip_names, data_root, davis_root
from vidrase.bench.pasted import pasted, pasted_names
from vidrase.bench.scenes import NAMES, blob, synthetic_cases
from vidrase.bench.stills import BINS, still_cases
from vidrase.errors import OptionError, ShapeError, SourceNotFound, UnsupportedSource


def davis(folder: Path, *names: str, annotated: bool = True) -> Path:
    for seed, name in enumerate(names):
        shown, masks, _ = clip(4, 120, 216, size=40, seed=seed)
        for kind, pictures in (("JPEGImages", shown), ("Annotations", [m.astype(np.uint8) * 255 for m in masks])):
            (folder / kind / name).mkdir(parents=True)
            for t, picture in enumerate(pictures[: 4 if annotated or kind == "JPEGImages" else 2]):
                path = folder / kind / name / f"{t:05d}{'.jpg' if kind == 'JPEGImages' else '.png'}"
                cv2.imwrite(str(path), picture[..., ::-1] if picture.ndim == 3 else picture)
    return folder


def test_the_hole_is_blanked_before_anybody_sees_it() -> None:
    _, masks, truth = clip(3)
    shown = blanked(truth, masks)
    for given, mask, real in zip(shown, masks, truth, strict=True):
        assert (given[~mask] == real[~mask]).all()
        assert (given[mask] != real[mask]).any(-1).mean() > 0.98
    again = blanked(truth, masks)
    assert all((a == b).all() for a, b in zip(shown, again, strict=True))
    assert (shown[0][masks[0]] != shown[1][masks[1]]).any()  # new noise in each frame: it must not pass for texture


def test_frames_for_the_engine_lose_nothing() -> None:
    shown, _, _ = clip(2)
    assert all((as_rgb(frame) == picture).all() for frame, picture in zip(as_frames(shown), shown, strict=True))


def test_a_case_of_unequal_sizes_is_refused() -> None:
    _, masks, truth = clip(2)
    with pytest.raises(ShapeError, match="case odd"):
        Case("odd", "moving", truth, [mask[:-1] for mask in masks], truth)
    with pytest.raises(ShapeError, match="case odd"):
        Case("odd", "moving", truth, masks[:1], truth)


def test_synthetic_cases_are_the_same_on_every_run() -> None:
    refs = synthetic_cases(3)
    assert {ref.name for ref in refs} >= {f"synthetic/{name}" for name in NAMES}
    for ref in refs:
        case, again = ref.build(), ref.build()
        assert case.public
        assert 0.03 < case.hole_share < 0.2
        assert all((a == b).all() for a, b in zip(case.truth, again.truth, strict=True))
        assert (case.truth[0].reshape(-1, 3).max(0) > 0).all()
        assert not (case.truth[-1] == 0).all(-1).any(), f"{ref.name}: the camera sees past the edge of the world"


def test_blobs_move_or_stay() -> None:
    stay, go = blob(5, SIZE, 3, moving=False), blob(5, SIZE, 3, moving=True)
    assert all((mask == stay[0]).all() for mask in stay)
    columns = [np.flatnonzero(mask.any(0)).mean() for mask in go]
    assert columns == sorted(columns)
    assert columns[-1] - columns[0] > 200


def test_completion_takes_the_holes_of_another_clip(tmp_path: Path) -> None:
    root = davis(tmp_path, "a", "b")
    refs = completion_cases(root, 3)
    assert [ref.name for ref in refs] == ["moving/a+b", "moving/b+a", "still/a", "still/b"]
    case = refs[0].build()
    assert case.size == SIZE
    assert len(case.truth) == 3
    assert not case.public  # somebody else's pictures
    assert [ref.name for ref in spread(refs, 2)] == ["moving/a+b", "still/b"]


def test_folders_that_do_not_fit_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceNotFound, match="no folder"):
        data_root(tmp_path / "nowhere")
    monkeypatch.delenv("VIDRASE_DATA", raising=False)
    assert data_root(None) is None
    with pytest.raises(UnsupportedSource, match="no clips in"):
        davis_root(tmp_path)
    (tmp_path / "JPEGImages").mkdir()
    with pytest.raises(UnsupportedSource, match="no Annotations"):
        davis_root(tmp_path)
    (tmp_path / "Annotations").mkdir()
    with pytest.raises(UnsupportedSource, match="holds no clip"):
        clip_names(tmp_path)


def test_missing_and_mismatched_annotations_say_where(tmp_path: Path) -> None:
    davis(tmp_path / "few", "a", "b", annotated=False)
    with pytest.raises(UnsupportedSource, match="2 annotations for 4 frames"):
        completion_cases(tmp_path / "few", 4)[0].build()
    root = davis(tmp_path / "odd", "a", "b")
    cv2.imwrite(str(root / "Annotations" / "b" / "00000.png"), np.zeros((50, 60), np.uint8))
    with pytest.raises(ShapeError, match=r"clip 'b'.*annotations"):
        completion_cases(root, 4)[0].build()
    with pytest.raises(UnsupportedSource, match="one clip only"):
        completion_cases(davis(tmp_path / "one", "a"), 4)


def test_words_choose_cases() -> None:
    names = ["moving/a", "still/a", "still/b"]
    assert chosen(names, ()) == names
    assert chosen(names, ("still",)) == ["still/a", "still/b"]
    with pytest.raises(OptionError, match="no case matches 'zebra'"):
        chosen(names, ("zebra",))


def test_a_pasted_person_walks_and_leaves_the_rest_alone(tmp_path: Path) -> None:
    root = davis(tmp_path, "camel", "lucia")
    assert pasted_names(root) == [("camel", "lucia")]
    case = pasted(root, "camel", "lucia", 4)
    middles = []
    for given, truth, mask in zip(case.given, case.truth, case.masks, strict=True):
        assert (given[~mask] == truth[~mask]).mean() > 0.999  # the softest edge rounds away
        assert (given[mask] != truth[mask]).any(-1).mean() > 0.8  # a soft edge changes little
        middles.append(np.flatnonzero(mask.any(0)).mean())
    assert middles == sorted(middles)
    with pytest.raises(UnsupportedSource, match=r"known to show (a clip without people|a person)"):
        pasted_names(davis(tmp_path / "other", "a", "b"))


def test_fixed_cameras_need_a_plate(tmp_path: Path) -> None:
    from vidrase.bench.clipfile import write_clip

    with pytest.raises(UnsupportedSource, match="clean_plate"):
        fixed_names(tmp_path)
    shown, masks, truth = clip(6, 96, 128)
    folder = tmp_path / "clips" / "fixed" / "hall"
    folder.mkdir(parents=True)
    write_clip(folder / "video.mp4", shown, crf=4)
    cv2.imwrite(str(folder / "clean_plate.png"), truth[0][..., ::-1])
    assert fixed_names(tmp_path) == ["hall"]
    case = fixed(tmp_path, "hall", 6)
    assert len(case.given) == 6
    assert np.mean([(a & b).sum() / b.sum() for a, b in zip(case.masks, masks, strict=True)]) > 0.8
    cv2.imwrite(str(folder / "clean_plate.png"), truth[0][:50, :, ::-1])
    with pytest.raises(ShapeError, match="clean_plate"):
        fixed(tmp_path, "hall", 6)


def test_stills_by_bins(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedSource, match="no photographs"):
        still_cases(tmp_path, 64, 1)
    for folder in ("images/val_kodak", "masks/irregular"):
        (tmp_path / folder).mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "images/val_kodak/k.png"), clip(1)[0][0])
    with pytest.raises(UnsupportedSource, match="no masks"):
        still_cases(tmp_path, 64, 1)
    hole = np.zeros((128, 128), np.uint8)
    hole[:, :20] = 255
    cv2.imwrite(str(tmp_path / f"masks/irregular/{BINS[1]}_000.png"), hole)
    (ref,) = still_cases(tmp_path, 64, 2)
    assert ref.name == "10-20 %/k@64"
    assert ref.build().holes[0].mean() == pytest.approx(20 / 128, abs=0.02)
