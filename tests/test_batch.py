"""Many clips with one command: every clip is done or told of, whoever works."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
from chunkruns import CLIP, MASKS, decoded, make_clip, same, short_chunks
from chunkruns import run as chunk_run

from vidrase import engine
from vidrase.batch import Task, run_local
from vidrase.cli import main as cli
from vidrase.options import options_from
from vidrase.run import Models

QUICK = ("--inpainter", "telea", "--flow", "dis", "--quality", "fast", "--fill", "image", "--dilate", "2")


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder of two clips and a file that is none; the masks lie beside it."""
    make_clip(tmp_path, 8)
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(tmp_path / CLIP, folder / name)
    (folder / "broken.mp4").write_bytes(b"no video")
    return folder


def run(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as leaving:
        cli.main(["batch", *(str(word) for word in words)])
    return int(leaving.value.code or 0)


def test_a_folder_is_done_clip_by_clip_and_a_failure_is_told(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [clips, "--mask", tmp_path / MASKS, "--output", tmp_path / "out" / "{n}-{name}{suffix}", *QUICK]
    assert run(*words, "--jobs", "2", "--summary", tmp_path / "sum.json") == 1
    said = capsys.readouterr()
    assert "2 of 3 clips done, 1 failed" in said.out
    assert "broken.mp4 is not a video or picture that can be read" in said.err
    told = json.loads((tmp_path / "sum.json").read_text())
    assert [clip["state"] for clip in told["clips"]] == ["done", "done", "failed"]
    assert told["clips"][0]["report"]["frames"] == 8
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["1-a.mp4", "2-b.mp4"]
    assert len(decoded(tmp_path / "out" / "1-a.mp4")) == 8
    (clips / "broken.mp4").unlink()
    assert run(*words, "--summary", tmp_path / "again.json") == 0
    assert "0 of 2 clips done, 0 failed, 2 were there (-y does them again)" in capsys.readouterr().out
    assert json.loads((tmp_path / "again.json").read_text())["skipped"] == 2


def test_lists_and_patterns_name_clips_once(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"# mine\n{clips / 'b.mp4'}\n\n{clips / 'a.mp4'}\n", encoding="utf-8")
    words = ["--mask", tmp_path / MASKS, "--output", tmp_path / "out", "-q", *QUICK]
    assert run(clips / "[ab].mp4", "--files", tmp_path / "list.txt", *words) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a_erased.mp4", "b_erased.mp4"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "no clips were given"),
        (("{in}/none*.mp4",), "no file matches"),
        (("{out}",), "holds no video"),
        (("-",), "standard input is one clip"),
        (("{in}", "--output", "{out}/one.mp4"), "names one file"),
        (("{in}", "--output", "{out}/{{nam}}.mp4"), "expected {name}"),
        (("{in}", "--output", "{out}/x{{suffix}}"), "would both become"),
        (("{in}/a.mp4", "--output", "{in}/{{name}}{{suffix}}"), "is the clip itself"),
        (("{in}", "--jobs", "0"), "--jobs"),
    ],
)
def test_wrong_requests_are_one_line_before_any_work(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], text: str
) -> None:
    (tmp_path / "out").mkdir()
    filled = [word.format(**{"in": clips, "out": tmp_path / "out"}) for word in words]
    assert run(*filled, "--mask", tmp_path / MASKS) == 2
    err = capsys.readouterr().err
    assert text in err
    assert err.count("\n") == 1
    assert not list((tmp_path / "out").iterdir())


def test_a_process_that_dies_fails_its_clip_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    heard: list[tuple[int, dict]] = []
    task = Task(str(tmp_path / "a.mp4"), tmp_path / "o.mp4", options_from({"mask": "m.png"}))
    run_local([task, task], 1, 1, lambda number, message: heard.append((number, message)))
    assert [number for number, message in heard if "died" in message] == [0, 0, 0, 1, 1, 1]
    assert [number for number, message in heard if "ended 3 times with code 1" in message.get("failed", "")] == [0, 1]


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray (pip install 'vidrase[ray]')")
@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_ray_erases_from_clips_in_chunks_and_replaces_a_killed_worker(clips: Path, tmp_path: Path) -> None:
    import ray

    from vidrase.batch.cluster import ClusterChunks, run_ray

    given = {"mask": tmp_path / MASKS, "inpainter": "telea", "flow": "dis", "quality": "fast", "lossless": True}
    names = [clips / "a.mp4", clips / "broken.mp4"]
    tasks = [Task(str(path), tmp_path / f"{path.stem}_out.mp4", options_from(given)) for path in names]  # type: ignore[arg-type]
    heard: list[tuple[int, dict]] = []

    def hear(number: int, message: dict) -> None:
        heard.append((number, message))
        if sum("begun" in one for n, one in heard if n == 0) == 1 and "begun" in message and number == 0:
            os.kill(message["begun"], signal.SIGKILL)

    run_ray(tasks, None, 0.0, hear)
    begun = [message["begun"] for number, message in heard if number == 0 and "begun" in message]
    assert len(set(begun)) == 2
    assert [message["report"]["frames"] for number, message in heard if "report" in message] == [8]
    assert [number for number, message in heard if "failed" in message] == [1]
    assert len(decoded(tasks[0].to)) == 8
    make_clip(tmp_path, 14, 15)
    ray.init(include_dashboard=False, log_to_driver=False)
    try:
        with short_chunks(12):
            options = options_from({**given, "work": tmp_path / "work"})  # type: ignore[typeddict-item]
            report = engine.erase(tmp_path / CLIP, tmp_path / "ray.mp4", options, pool=ClusterChunks(1, 0.0, 2))
    finally:
        ray.shutdown()
    assert (report.chunks, report.workers) == (2, 2)
    chunk_run(tmp_path, "whole.mp4", made=Models.load(options, print))
    assert same(tmp_path / "whole.mp4", tmp_path / "ray.mp4")


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is here")
def test_without_ray_one_line_says_how_to_get_it(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(clips, "--mask", tmp_path / MASKS, "--engine", "ray") == 1
    assert "pip install 'vidrase[ray]'" in capsys.readouterr().err
