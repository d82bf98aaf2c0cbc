"""What is shown: strict records, comparisons beyond noise, losses as plain as wins, a page that needs nothing else."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from vidrase.bench.compare import changes, report
from vidrase.bench.page import save_page
from vidrase.bench.rating import RATINGS, guess
from vidrase.bench.record import load, make_record, save, stem
from vidrase.bench.results import Results, Row, Strip, median_iqr
from vidrase.bench.speed import growth
from vidrase.bench.suite import BenchOptions, run
from vidrase.bench.table import table, weaknesses
from vidrase.cli.bench import bench
from vidrase.errors import OptionError, SinkError

SETTINGS = {"suite": "quality", "cases": [], "quick": True, "quality": "default"}


def rows(ours: float = 20.0) -> list[Row]:
    made = []
    for k in range(4):
        numbers = {
            "psnr": ours + k,
            "flicker": 1.1,
            "seam": 1.05,
            "changed_outside": 0.0,
            "ms_per_frame": 50.0,
            "cpu_ms_per_frame": 50.0,
        }
        made.append(Row("quality", "moving", f"moving/{k}", "vidrase", numbers))
        made.append(
            Row(
                "quality",
                "moving",
                f"moving/{k}",
                "telea",
                {**numbers, "psnr": 19.0, "ms_per_frame": 10.0, "cpu_ms_per_frame": 10.0},
            )
        )
    return made


def found(ours: float = 20.0) -> Results:
    return Results(say=lambda text: None, rows=rows(ours), seconds={"quality": 1.0})


def record(ours: float = 20.0) -> dict:
    held = found(ours)
    return make_record("quality", held.rows, held, SETTINGS)


def test_a_record_is_strict_json_with_its_origin(tmp_path: Path) -> None:
    held = found()
    held.rows[0] = replace(held.rows[0], numbers={**held.rows[0].numbers, "ssim": float("nan")})
    made = make_record("quality", held.rows, held, SETTINGS)
    path = save(made, tmp_path)
    assert path.name == f"{stem(made)}.json"
    assert path.parent.name == made["version"]
    text = path.read_text(encoding="utf-8")
    assert "NaN" not in text
    assert load(path) == json.loads(text)
    for key in ("commit", "dirty", "date", "machine", "versions", "settings"):
        assert key in made
    assert made["machine"]["cores"] >= 1
    assert str(Path.home()) not in text


def test_what_is_no_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    for text in ("[]", "{", '{"schema": 99, "rows": []}'):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(OptionError, match="no benchmark record"):
            load(path)


def test_median_and_spread() -> None:
    assert median_iqr([3.0]) == (3.0, 0.0)
    assert median_iqr([1.0, 2.0, 3.0, 4.0, 100.0]) == (3.0, 2.0)


def test_compare_tells_better_from_worse_from_noise() -> None:
    assert not [change for change in changes(record(), record()) if change.beyond_noise]
    better = [change for change in changes(record(), record(22.0)) if change.beyond_noise]
    assert {change.name for change in better} == {"psnr"}
    assert all(change.better for change in better)
    assert "mean of moving" in report(record(), record(22.0))
    text = report(record(22.0), record())
    assert text.index("WORSE: 5") < text.index("better: nothing")


def test_times_count_only_beyond_their_spread() -> None:
    before, after = record(), record()
    for row in after["rows"]:
        row["numbers"]["ms_per_frame"] = 53.0  # 6 %: machines do that by themselves
    assert not [change for change in changes(before, after) if change.beyond_noise]
    for row in after["rows"]:
        row["numbers"]["ms_per_frame"] = 70.0
    assert {c.name for c in changes(before, after) if c.beyond_noise and not c.better} == {"ms_per_frame"}
    for row in after["rows"]:
        row["iqr"]["ms_per_frame"] = 30.0
    assert {c.case for c in changes(before, after) if c.beyond_noise} == {""}  # single cases drown, the mean does not


def test_a_mean_that_swings_from_case_to_case_says_nothing() -> None:
    before, after = record(), record()
    for k, row in enumerate(row for row in after["rows"] if row["method"] == "vidrase"):
        row["numbers"]["psnr"] += (1.0, -0.9, 1.1, -0.8)[k]
    means = [change for change in changes(before, after) if not change.case and change.name == "psnr"]
    assert not means[0].beyond_noise


def test_compare_warns_of_what_cannot_be_compared() -> None:
    before, after = record(), record()
    after["machine"] = {**after["machine"], "name": "other", "load": [99.0]}
    after["settings"] = {**SETTINGS, "quick": False}
    text = report(before, after)
    assert "different machines" in text
    assert "under load 99" in text
    assert "different settings" in text


def test_losses_are_named() -> None:
    held = found(15.0)
    text = "\n".join(weaknesses(held.rows))
    assert "moving/0: 4.0 dB behind telea (15.0 against 19.0)" in text
    bad = {"psnr": 30.0, "flicker": 2.5, "leftover": 0.3, "texture": -0.05, "changed_outside": 3.0, "audio_equal": 0.0}
    text = "\n".join(weaknesses([Row("removal", "paste", "paste/x", "vidrase", bad)]))
    for word in ("flickers 2.5", "30% of the object", "blurred", "3 pixels changed", "sound not as"):
        assert word in text
    assert weaknesses(rows(30.0)) == []


def test_the_table_has_ratios_failures_and_what_was_left_out() -> None:
    held = found(21.0)
    held.fail("quality", "moving/9", "vidrase", ValueError("what\na mess"))
    held.skip("masks: no data")
    text = table(held)
    assert "against telea: +3.50 dB" in text
    assert "better on 4 of 4, work x 5.00" in text
    assert "moving/9 vidrase: ValueError: what a mess" in text
    assert "masks: no data" in text


def test_growth_of_memory_is_a_slope() -> None:
    def row(frames: float, peak: float) -> Row:
        return Row("memory", "length", f"{frames}", "vidrase", {"frames": frames, "peak_mib": peak})

    flat = [row(24, 300), row(100, 350), row(200, 351), row(400, 350)]
    assert abs(growth(flat) or 0) < 1
    leak = [row(24, 300), row(100, 350), row(200, 380), row(300, 410)]
    assert growth(leak) == pytest.approx(30)
    assert any("memory grows by 30 MiB" in line for line in weaknesses(leak))
    assert growth(flat[:2]) is None


def test_the_page_stands_alone_and_keeps_private_pictures(tmp_path: Path) -> None:
    held = found(15.0)
    picture = np.full((168, 100, 3), 90, np.uint8)
    held.strips = [
        Strip("moving/0", "one", [("given", picture), ("truth", picture)], public=False),
        Strip("synthetic/pan", "two", [("given", picture)], public=True),
    ]
    path = tmp_path / "page.html"
    save_page(held, [record(15.0)], path)
    page = path.read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "http" not in page
    assert "{{" not in page
    assert page.count("<img") == 1
    assert "1 cases are of pictures that may not be published" in page
    assert "4.0 dB behind telea" in page
    assert all(f'value="{word}"' in page for word in RATINGS)
    save_page(held, [record(15.0)], path, every_picture=True)
    assert path.read_text(encoding="utf-8").count("<img") == 3


def test_names_are_escaped_on_the_page(tmp_path: Path) -> None:
    held = Results(say=lambda text: None, rows=[Row("quality", "moving", "<b>&", "vidrase", {"psnr": 20.0})])
    save_page(held, [record()], tmp_path / "p.html")
    assert "<b>&" not in (tmp_path / "p.html").read_text(encoding="utf-8")


def test_the_first_guess_of_a_rating() -> None:
    assert guess({"psnr": 33.0, "flicker": 1.0, "seam": 1.0, "texture": 0.0}) == "good"
    assert guess({"psnr": 22.0, "flicker": 1.1, "seam": 1.1, "texture": -0.002}) == "okay"
    assert guess({"psnr": 22.0, "flicker": 2.5}) == "striped"
    assert guess({"psnr": 22.0, "texture": -0.03}) == "solid"


def test_the_command_line_asks_for_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VIDRASE_DATA", raising=False)
    run = CliRunner().invoke
    assert "--compare" in run(bench, ["--help"]).output
    for words, error in (
        (["--suite", "beauty"], "expected all, quality"),
        (["--suite", "stills"], "stills needs a data folder"),
        (["--data", str(tmp_path / "no")], "no folder"),
        (["--compare", str(tmp_path / "a"), str(tmp_path / "b")], "no benchmark record"),
    ):
        result = run(bench, words)
        assert result.exit_code != 0
        assert error in str(result.exception)
        assert "\n" not in str(result.exception)


def test_the_command_line_compares(tmp_path: Path) -> None:
    a, b = save(record(), tmp_path / "a"), save(record(25.0), tmp_path / "b")
    result = CliRunner().invoke(bench, ["--compare", str(a), str(b)])
    assert result.exit_code == 0
    assert "WORSE: nothing" in result.output
    assert "better: 5" in result.output


def test_a_folder_that_cannot_be_written_is_known_before_measuring(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match="cannot write to folder"):
        run(BenchOptions(suite="quality", output=tmp_path / "file" / "out"), say=pytest.fail)


def test_only_failures_are_no_measurement(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="nothing was measured"):
        run(BenchOptions(suite="masks", data=tmp_path, quick=True), say=lambda _: None)
