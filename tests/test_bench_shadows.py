"""The shadow benchmark: composited shadows have an exact truth, and the evaluation tells a removed shadow from removed ground."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from synth import texture

from vidrase.bench.clipfile import write_clip
from vidrase.bench.compare import DIRECTION, SMALLEST_CHANGE
from vidrase.bench.completion import spread
from vidrase.bench.evaluation import INVISIBLE
from vidrase.bench.pasted import Removal, pasted
from vidrase.bench.results import Results, Row
from vidrase.bench.sample import sample_folder, sample_removal
from vidrase.bench.shadowclips import PLANS, SUNS, with_shadow
from vidrase.bench.shadows import (
    SHADOW_MEASURES,
    Staged,
    StageModels,
    evaluate_shadow_stage,
    run_shadow_stage,
    shadow_cases,
    shadow_numbers,
    shadow_stage,
    stage_numbers,
)
from vidrase.bench.table import table, weaknesses
from vidrase.errors import UnsupportedSource, VidraseError
from vidrase.options import FillOptions

COLOUR = (200, 60, 70)


def walker(kind: str, frames: int = 6, *, travel: float = 0.6, noise: float = 0.0) -> Removal:
    """A red post, 30 px wide, that walks before a bright even texture at 240x180."""
    rng = np.random.default_rng(3)
    ground = 110 + texture(180, 240).astype(np.float32) * 0.4
    truth = [np.rint(ground + noise * rng.standard_normal(ground.shape)).astype(np.uint8) for _ in range(frames)]
    outline = np.zeros((180, 240), bool)
    outline[40:130, 105:135] = True
    actor = np.full((180, 240, 3), COLOUR, np.uint8)
    return with_shadow(f"shadow/post-{kind}", truth, [actor] * frames, [outline] * frames, SUNS[kind], travel)


def staged(case: Removal, holes: list[np.ndarray], filled: list[np.ndarray] | None = None) -> Staged:
    shown, truth = list(case.given), list(case.truth)
    return Staged(list(case.masks), holes, shown if filled is None else filled, shown, truth)


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_a_composited_shadow_darkens_the_ground_and_nothing_else(kind: str) -> None:
    case = walker(kind)
    assert case.shadows is not None
    middles = []
    for given, truth, body, shadow in zip(case.given, case.truth, case.masks, case.shadows, strict=True):
        assert np.abs(given.astype(int) - truth)[~(body | shadow)].max() <= 4  # the softest edge of the person
        beside = shadow & ~body
        ratio = given[beside].mean(-1) / truth[beside].mean(-1)
        assert ratio.max() < 1.005
        assert np.percentile(ratio, 5) == pytest.approx(SUNS[kind].ratio, abs=0.06)
        inside = cv2.erode(body.astype(np.uint8), np.ones((9, 9))) > 0
        assert np.abs(given[inside].astype(int) - COLOUR).max() <= 1  # the person is not darkened
        assert (cv2.dilate(body.astype(np.uint8), np.ones((3, 3))) > 0)[shadow].any()  # it hangs on the feet
        middles.append(np.flatnonzero(beside.any(0)).mean())
    assert middles == sorted(middles)
    assert middles[-1] - middles[0] > 100  # and walks along


def test_a_soft_shadow_has_a_wider_rim_than_a_hard_one() -> None:
    def rim(kind: str) -> float:
        case = walker(kind, 1)
        assert case.shadows is not None
        beside = case.shadows[0] & ~case.masks[0]
        left = case.given[0][beside].mean(-1) / case.truth[0][beside].mean(-1)
        return float(((1 - left) < 0.5 * (1 - SUNS[kind].ratio)).mean())

    assert rim("soft") > rim("hard") + 0.03


def test_without_a_shadow_only_the_person_is_new() -> None:
    case = walker("none")
    assert case.shadows is not None
    assert not any(shadow.any() for shadow in case.shadows)
    for given, truth, body in zip(case.given, case.truth, case.masks, strict=True):
        assert np.abs(given.astype(int) - truth)[~body].max() <= 4


def test_the_stage_is_evaluated_by_what_it_adds() -> None:
    case = walker("hard")
    perfect = stage_numbers(case, staged(case, case.touched, list(case.truth)))
    assert perfect["shadow_recall"] == 1.0
    assert perfect["false_share"] == 0.0
    assert perfect["shadow_psnr"] == perfect["ring_psnr"] == INVISIBLE
    nothing = stage_numbers(case, staged(case, list(case.masks)))
    assert nothing["shadow_recall"] == 0.0
    assert nothing["shadow_psnr"] == nothing["shadow_psnr_before"] < 20
    assert nothing["ring_psnr"] == INVISIBLE
    holes = [hole.copy() for hole in case.touched]
    filled = [picture.copy() for picture in case.truth]
    for hole, picture, body in zip(holes, filled, case.masks, strict=True):
        hole[10:20, 20:60] = True  # 400 px of wall
        picture[(cv2.dilate(body.astype(np.uint8), np.ones((21, 21))) > 0) & ~hole] = 0
    wrong = stage_numbers(case, staged(case, holes, filled))
    assert wrong["false_share"] == pytest.approx(400 / np.mean([body.sum() for body in case.masks]), rel=0.2)
    assert wrong["ring_psnr"] < 20
    assert set(perfect) <= set(SHADOW_MEASURES)


def test_where_nobody_casts_a_shadow_all_that_is_added_is_false() -> None:
    case = walker("none")
    added = [body | np.roll(body, 60, 1) for body in case.masks]
    numbers = stage_numbers(case, staged(case, added))
    assert "shadow_recall" not in numbers
    assert "shadow_psnr" not in numbers
    assert 0.4 < numbers["false_share"] <= 1.0
    unknown = Removal("fixed/x", case.given, case.truth, case.masks)
    with pytest.raises(VidraseError, match="nobody knows"):
        stage_numbers(unknown, staged(unknown, added))
    assert shadow_numbers(unknown, case.given, case.truth) == {}


def test_an_output_is_evaluated_where_the_shadow_was_and_where_none_was() -> None:
    case = walker("hard", noise=1.5)
    rng = np.random.default_rng(1)

    def coded(pictures: object) -> list[np.ndarray]:
        return [np.clip(p + rng.normal(0, 3, p.shape), 0, 255).astype(np.uint8) for p in pictures]  # type: ignore[attr-defined]

    before = coded(case.given)
    kept, gone = shadow_numbers(case, before, coded(case.given)), shadow_numbers(case, before, coded(case.truth))
    assert kept["shadow_left"] > 0.97
    assert gone["shadow_left"] < 0.03
    assert gone["shadow_psnr"] > kept["shadow_psnr"] + 10
    assert kept["false_removal"] == gone["false_removal"] == 0.0
    spoiled = coded(case.truth)
    for picture in spoiled:
        picture[5:25, 5:45] = 90
    assert shadow_numbers(case, before, spoiled)["false_removal"] == pytest.approx(24 * 44 / (180 * 240), rel=0.1)
    none = walker("none")
    assert set(shadow_numbers(none, none.given, none.truth)) == {"false_removal"}


def test_the_stage_alone_finds_a_hard_shadow_before_a_still_camera() -> None:
    case = walker("hard", 20, noise=1.0)
    numbers = evaluate_shadow_stage(case, filling=False)
    assert numbers["shadow_recall"] > 0.3
    assert numbers["false_share"] < 0.05
    assert "shadow_psnr" not in numbers
    without = evaluate_shadow_stage(case, StageModels(FillOptions(shadows=False)), filling=False)
    assert without["shadow_recall"] == without["false_share"] == 0.0
    done = shadow_stage(walker("none", 20, noise=1.0), filling=False)
    assert all((mask <= hole).all() for mask, hole in zip(done.masks, done.holes, strict=True))


def test_the_samples_shadow_is_read() -> None:
    folder = sample_folder()
    if folder is None:
        pytest.skip("no samples/ here")
    case = sample_removal(folder, 3)
    assert case.shadows is not None
    for given, truth, body, shadow in zip(case.given, case.truth, case.masks, case.shadows, strict=True):
        beside = shadow & ~body
        assert beside.mean() > 0.001
        assert (given[beside].astype(int) - truth[beside]).mean() < -5
    assert shadow_numbers(case, case.given, case.given)["shadow_left"] == 1.0
    assert shadow_numbers(case, case.given, case.truth)["shadow_left"] == 0.0


def davis(folder: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        for kind in ("JPEGImages", "Annotations"):
            (folder / kind / name).mkdir(parents=True)
        outline = np.zeros((96, 170), np.uint8)
        outline[20:80, 70:84] = 255
        for t in range(3):
            cv2.imwrite(str(folder / "JPEGImages" / name / f"{t:05d}.jpg"), texture(96, 170, seed))
            cv2.imwrite(str(folder / "Annotations" / name / f"{t:05d}.png"), outline)
    return folder


def test_cases_are_those_that_the_folder_can_give(tmp_path: Path) -> None:
    root = davis(tmp_path, "camel", "hike", "lucia")
    names = [name for name, _ in shadow_cases(root, 3)]
    assert names == ["shadow/camel+lucia-soft", "shadow/camel+hike-none", "shadow/still-camel+lucia-hard"]
    hall = root / "clips" / "fixed" / "intel_one_by_one_person"
    hall.mkdir(parents=True)
    write_clip(hall / "video.mp4", [texture(90, 160)] * 6)
    (hall / "empty_runs.json").write_text(json.dumps({"empty_frame_runs": [[0, 1], [2, 5]]}))
    refs = dict(shadow_cases(root, 3))
    for name in ("shadow/camel+hike-none", "shadow/still-camel+lucia-hard", "shadow/intel_one_by_one_person+hike-hard"):
        case = refs[name]()
        assert case.name == name
        assert len(case.given) == len(case.masks) == len(case.shadows or ()) == 3
        assert any(shadow.any() for shadow in case.shadows or ()) == ("none" not in name)
    held = refs["shadow/still-camel+lucia-hard"]()
    assert 1 < np.std(held.truth[0].astype(int) - held.truth[1]) < 5  # only noise: the camera stands
    assert pasted(root, "camel", "lucia", 3).shadows is not None  # known to cast none
    (hall / "empty_runs.json").write_text("[]")
    assert "shadow/intel_one_by_one_person+hike-hard" not in dict(shadow_cases(root, 3))
    with pytest.raises(UnsupportedSource, match="no clips for shadows"):
        shadow_cases(davis(tmp_path / "other", "a", "b"), 3)


def test_a_quick_run_has_every_kind_of_shadow_and_camera() -> None:
    few = spread(PLANS, 4)
    assert {plan.kind for plan in few} == {"soft", "hard", "none"}
    assert {plan.camera for plan in few} == {"moving", "fixed"}
    assert len({plan.name for plan in PLANS}) == len(PLANS)


def test_one_broken_case_does_not_end_the_run() -> None:
    def broken() -> Removal:
        raise UnsupportedSource("no such clip")

    results = Results(say=lambda text: None)
    run_shadow_stage([("shadow/broken", broken), ("shadow/post", lambda: walker("hard", 3))], results)
    assert [(row.group, row.case) for row in results.rows] == [("shadow stage", "shadow-stage/post")]
    assert [failure["case"] for failure in results.failures] == ["shadow-stage/broken"]
    assert [title for title, _ in results.strips[0].pictures][:3] == ["given", "added", "vidrase"]
    assert "shadow recall" in table(results)


def test_shadows_left_and_ground_taken_are_named() -> None:
    bad = {"shadow_left": 0.6, "false_removal": 0.01, "false_share": 0.7, "shadow_recall": 0.3}
    text = "\n".join(weaknesses([Row("removal", "shadow", "shadow/x", "vidrase", bad)]))
    for words in ("60% of the visible shadow", "1.00% of the frame", "takes 70%", "finds 30%"):
        assert words in text
    known = {name for name, (_, _, direction) in SHADOW_MEASURES.items() if direction}
    assert known <= set(DIRECTION)
    assert known - {"ms_per_frame", "cpu_ms_per_frame"} <= set(SMALLEST_CHANGE)
