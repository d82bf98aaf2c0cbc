"""Speed side by side: in turn, ratios of medians, and a line for whatever cannot be measured here."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from synth import clip

from vidrase.bench import floor
from vidrase.bench.alternate import alternated, ratio
from vidrase.bench.clipfile import read_luma_frames, write_clip
from vidrase.bench.compare import changes
from vidrase.bench.page import save_page
from vidrase.bench.pasted import Removal
from vidrase.bench.ratios import FLOOR, SCRIPT, Contender, paste_refs, run_ratios
from vidrase.bench.record import machine, make_record
from vidrase.bench.results import Results, Row
from vidrase.bench.spawn import ChildFailed, Elapsed, timed
from vidrase.bench.suite import BenchOptions, run
from vidrase.bench.table import table, weaknesses
from vidrase.bench.tools import UserScript
from vidrase.cli.main import main


def removal(frames: int = 4) -> Removal:
    shown, masks, truth = clip(frames, 48, 64, size=16)
    return Removal("paste/a+b", shown, truth, masks)


def copying(seconds: list[float], log: list[str], name: str) -> Contender:
    """Takes one of `seconds` after the other."""
    left = iter(seconds)

    def work(given: Path, to: Path) -> Elapsed:
        log.append(name)
        shutil.copy(given, to)
        return Elapsed(next(left), 1.0)

    return Contender(
        "vidrase" if name in ("default", "fast") else name, work, name if name in ("default", "fast") else ""
    )


def measured() -> tuple[Results, list[str]]:
    results, log = Results(say=lambda text: None), []
    field = [
        copying([6.0, 9.0, 6.0], log, "default"),
        copying([2.0, 3.0, 2.0], log, "fast"),
        copying([4.0, 30.0, 4.0], log, SCRIPT),
        copying([1.0, 2.0, 2.0], log, FLOOR),
    ]
    run_ratios(results, "paste/a+b", removal, field, 3)
    return results, log


def test_runs_alternate_and_one_that_fails_is_left_out() -> None:
    log: list[str] = []
    failed: list[tuple[str, str]] = []

    def broken() -> float:
        log.append("B")
        raise ChildFailed("gone")

    def works(name: str) -> float:
        log.append(name)
        return float(len(log))

    runs = {"A": lambda: works("A"), "B": broken, "C": lambda: works("C")}
    found = alternated(runs, 3, lambda name, error: failed.append((name, str(error))))
    assert log == ["A", "B", "C", "A", "C", "A", "C"]
    assert found == {"A": [1.0, 4.0, 6.0], "C": [3.0, 5.0, 7.0]}
    assert failed == [("B", "gone")]


def test_a_ratio_is_one_of_medians() -> None:
    value, spread = ratio([3.0, 30.0, 3.0], [2.0, 2.0, 20.0])
    assert value == 1.5
    assert spread > 0
    assert ratio([4.0], [2.0]) == (2.0, 0.0)


def test_rows_of_a_real_clip_say_ratios() -> None:
    results, log = measured()
    assert log == ["default", "fast", SCRIPT, FLOOR] * 3
    assert not results.failures
    rows = {(row.case, row.method): row for row in results.rows}
    ours = rows["paste/a+b · default", "vidrase"]
    assert ours.runs == 3
    assert ours.numbers["ms_per_frame"] == 1500.0
    assert ours.numbers["ratio_to_script"] == 1.5
    assert ours.numbers["ratio_to_floor"] == 3.0
    assert rows["paste/a+b · fast", "vidrase"].numbers["ratio_to_script"] == 0.5
    assert rows["paste/a+b", SCRIPT].numbers["ratio_to_floor"] == 2.0
    assert "ratio_to_script" not in rows["paste/a+b", SCRIPT].numbers
    assert not {"ratio_to_script", "ratio_to_floor"} & rows["paste/a+b", FLOOR].numbers.keys()


def test_who_leaves_frames_out_has_no_time() -> None:
    def short(given: Path, to: Path) -> Elapsed:
        write_clip(to, removal(2).given)
        return Elapsed(0.1, 0.1)

    results = Results(say=lambda text: None)
    run_ratios(results, "paste/a+b", removal, [Contender(SCRIPT, short), copying([1.0], [], "default")], 1)
    (row,) = results.rows
    assert "ratio_to_script" not in row.numbers
    assert [(f["method"], f["error"]) for f in results.failures] == [(SCRIPT, "ChildFailed: wrote 2 of 4 frames")]


def test_table_page_and_comparison_know_ratios(tmp_path: Path) -> None:
    results, _ = measured()
    results.add(Row("speed", "start", "start import vidrase", "vidrase", {"start_seconds": 0.08}))
    text = table(results)
    assert "1.50 x the user's script, 3.00 x decode + detect + encode" in text
    assert "0.08 s" in text
    assert weaknesses(results.rows) == [
        "paste/a+b · default: takes 1.50 times as long as the script that a user would write"
    ]
    before = make_record("speed", results.rows, results, {})
    save_page(results, [before], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "time over the user&#x27;s script" in page
    assert "1.50 x" in page
    after = make_record("speed", results.rows, results, {})
    for row in after["rows"]:
        row["numbers"] = {name: 2 * value for name, value in row["numbers"].items()}
        row["iqr"] = {}
    before["rows"] = [{**row, "iqr": {}} for row in before["rows"]]
    worse = {c.name for c in changes(before, after) if c.beyond_noise and not c.better}
    assert {"ratio_to_script", "ratio_to_floor", "start_seconds"} <= worse


def davis(folder: Path, *names: str) -> Path:
    shown, masks, _ = clip(2, 60, 108, size=20)
    for name in names:
        for kind, pictures in (("JPEGImages", shown), ("Annotations", [m.astype(np.uint8) * 255 for m in masks])):
            (folder / kind / name).mkdir(parents=True)
            for t, picture in enumerate(pictures):
                cv2.imwrite(str(folder / kind / name / f"{t:05d}.png"), picture)
    return folder


def test_clips_of_different_character_come_first(tmp_path: Path) -> None:
    root = davis(tmp_path, "camel", "boat", "rhino", "hike")
    assert [name for name, _ in paste_refs(root, 2, 3)] == ["paste/rhino+hike", "paste/boat+hike"]
    assert [name for name, _ in paste_refs(root, 2, 1)] == ["paste/rhino+hike"]
    assert paste_refs(root, 2, 1)[0][1]().given[0].shape == (480, 854, 3)


def test_what_is_missing_is_said_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("VIDRASE_DATA", "VIDRASE_MODEL_DIR"):
        monkeypatch.delenv(variable, raising=False)
    options = BenchOptions(suite="speed", cases=("start",), quick=True)
    found = run(options, say=lambda text: None)
    assert {row.case for row in found.rows} == {"start vidrase --help", "start import vidrase", "start python alone"}
    assert all(row.numbers["start_seconds"] > 0 for row in found.rows)
    assert "speed on real clips: no --data and no VIDRASE_DATA" in found.skipped
    monkeypatch.setenv("VIDRASE_DATA", str(davis(tmp_path, "rhino", "hike")))
    skipped = run(options, say=lambda text: None).skipped
    assert any(text.startswith("speed beside the user's script: no yolov8n-seg.pt") for text in skipped)


def test_a_device_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    for asked, said in (("cuda", "there is no CUDA device"), ("abacus", "expected auto, cpu, cuda, cuda:N or mps")):
        with pytest.raises(SystemExit) as end:
            main(["bench", "--suite", "speed", "--device", asked])
        assert end.value.code == 2
        error = capsys.readouterr().err.strip()
        assert said in error
        assert "\n" not in error


def test_the_record_names_the_device_that_was_asked_for() -> None:
    assert machine("cpu")["device"] == "cpu"
    assert machine("cpu")["gpu"] == ""
    assert machine("mps")["device"] == "mps"


def test_a_process_is_timed_and_its_failure_is_one_line() -> None:
    assert 0 < timed([sys.executable, "-S", "-c", "pass"], what="nothing").wall < 60
    with pytest.raises(ChildFailed, match=r"^no such clip$"):
        timed([sys.executable, "-S", "-c", "import sys; sys.exit('no such clip')"], what="a clip")


def test_the_floor_keeps_every_frame(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", removal(3).given)
    assert floor.run(tmp_path / "a.mp4", tmp_path / "b.mp4", "cpu") == 3
    assert sum(1 for _ in read_luma_frames(tmp_path / "b.mp4")) == 3


@pytest.mark.slow
@pytest.mark.weights
def test_the_script_runs_as_a_process_of_its_own(tmp_path: Path, model_dir: Path) -> None:
    write_clip(tmp_path / "a.mp4", removal(3).given)
    script = UserScript(model_dir / "yolov8n-seg.pt", "cpu")
    assert script.erase(tmp_path / "a.mp4", tmp_path / "b.mp4", "person")["fps"] > 0
    assert sum(1 for _ in read_luma_frames(tmp_path / "b.mp4")) == 3
