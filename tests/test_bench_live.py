from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from livefakes import MagentaSegmenter, backdrop, with_person

from vidrase.bench import live
from vidrase.bench.clipfile import write_clip
from vidrase.bench.crowd import run_crowd
from vidrase.bench.paced import make_clip, run_paced
from vidrase.bench.page import save_page
from vidrase.bench.record import make_record
from vidrase.bench.results import Results
from vidrase.bench.table import table
from vidrase.live.serve import MAX_CONNECTIONS
from vidrase.source import open_source


@pytest.fixture(autouse=True)
def _no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidrase.live.eraser.load_segmenter", lambda options, note: MagentaSegmenter(0.005))


def test_a_short_soak_says_all_that_a_long_one_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    square = np.zeros((60, 30, 4), np.uint8)
    square[..., [0, 2, 3]] = 255
    monkeypatch.setattr(live, "_walker", lambda folder: square)
    results = Results(say=lambda text: None)
    live.run_soak(results, 0.06, tmp_path)
    soak = results.rows[0].numbers
    assert soak["made"] > 60
    assert 0 < soak["clock_ms_p50"] <= soak["clock_ms_p95"]
    assert {"fps", "dropped", "peak_mib", "growth_mib_per_minute", "fps_somebody"} <= soak.keys()
    assert sum(row.group == "curve" for row in results.rows) >= 3
    assert "clock in the picture" in table(results)
    record = make_record("live", results.rows, results, {})
    save_page(results, [record], tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8").count("<polyline") == len(live.CURVES)


def test_a_fixed_camera_against_its_clean_plate(tmp_path: Path) -> None:
    folder = tmp_path / "clips" / "fixed" / "intel_one_by_one_person"
    folder.mkdir(parents=True)
    scene = backdrop((120, 160))
    pictures = [scene] * 75 + [with_person(scene, 4 * k, 40, 24) for k in range(30)]
    write_clip(folder / "video.mp4", pictures, crf=6)
    cv2.imwrite(str(folder / "clean_plate.png"), cv2.cvtColor(scene, cv2.COLOR_RGB2BGR))
    results = Results(say=lambda text: None)
    live.run_fixed(results, tmp_path, 105)
    (row,) = results.rows
    assert row.numbers["psnr"] > 28
    assert row.numbers["share_real"] > 0.95
    assert any("intel_car" in text for text in results.skipped)


CHILD = (sys.executable, str(Path(__file__).parent / "live_child.py"))


def _walk(folder: Path) -> None:
    scene = backdrop((60, 80))
    write_clip(folder / "walk.mp4", [with_person(scene, 4 * k, 20, 12) for k in range(12)])


def test_a_paced_recording_says_how_far_memory_moves(tmp_path: Path) -> None:
    _walk(tmp_path)
    results = Results(say=lambda text: None)
    run_paced(results, 0.05, tmp_path, program=CHILD)
    row, *curve = results.rows
    assert row.numbers["recorded"] == row.numbers["frames"] > 0
    assert row.numbers["memory_moves"] < 0.2
    assert curve


def test_a_clip_is_repeated_from_end_to_end(tmp_path: Path) -> None:
    _walk(tmp_path)
    with open_source(make_clip(tmp_path, tmp_path, 0.02)) as source:
        times = [frame.seconds for frame in source]
    assert len(times) >= 2 * 24  # there and back, twice
    assert max(np.diff(times)) < 0.5  # a frame takes 0.125 s


@pytest.mark.slow
def test_slow_clients_do_not_stop_a_recording(tmp_path: Path) -> None:
    _walk(tmp_path)
    results = Results(say=lambda text: None)
    run_crowd(results, 0.08, tmp_path, program=CHILD, clients=MAX_CONNECTIONS + 16)
    alone, crowded = (row.numbers for row in results.rows)
    assert alone["connected"] == 0
    assert crowded["connected"] > 0
    assert crowded["most_held"] <= 2 * MAX_CONNECTIONS  # and what waits to be accepted or is being sent away
    assert crowded["recorded"] == crowded["frames"] > 0
