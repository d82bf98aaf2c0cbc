"""Processes that end in the middle of the work: a killed run, a killed worker, a worker that fails."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from chunkruns import make_clip, run, same, short_chunks

from vidrase import crew
from vidrase.chunks import pool
from vidrase.chunks.folder import left_over
from vidrase.errors import SinkError
from vidrase.report import Report

CHILD = Path(__file__).with_name("chunk_child.py")


def started(folder: Path, to: str, workers: int = 1) -> subprocess.Popen[str]:
    words = [sys.executable, str(CHILD), str(folder), to, str(workers)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL)


@pytest.mark.slow
def test_killed_again_and_again_the_same_command_comes_to_the_same_end(tmp_path: Path) -> None:
    make_clip(tmp_path, 14, 15, 13)
    run(tmp_path, "whole.mp4", fill="image")
    dice, said = random.Random(5), ""
    for after in ("detecting", "erasing", "erasing"):
        with started(tmp_path, "out.mp4") as child:
            assert child.stdout is not None
            left = dice.randrange(5, 26)
            for line in child.stdout:
                said += line if line.startswith("said") else ""
                left -= line.startswith(after)
                if not left:
                    break
            child.send_signal(signal.SIGKILL)
            child.wait()
        assert not (tmp_path / "out.mp4").exists()
    with started(tmp_path, "out.mp4") as child:
        assert child.stdout is not None
        said += child.stdout.read()
        assert child.wait() == 0
    assert said.count("goes on from") == 2
    assert same(tmp_path / "whole.mp4", tmp_path / "out.mp4")


def test_a_killed_worker_is_replaced_and_a_killed_run_takes_its_workers_along(tmp_path: Path) -> None:
    make_clip(tmp_path, 14, 15, 13, 14)
    with started(tmp_path, "out.mp4", workers=2) as child:
        assert child.stdout is not None
        next(line for line in child.stdout if line.startswith("erasing"))
        first = _children_of(child.pid)
        assert len(first) == 2
        os.kill(first[0], signal.SIGKILL)
        while len(set(_children_of(child.pid)) - {first[0]}) < 2:
            time.sleep(0.02)
        workers = _children_of(child.pid)
        child.send_signal(signal.SIGKILL)
        child.wait()
    deadline = time.monotonic() + 20
    while (alive := [pid for pid in workers if _is_alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive
    assert [one.path.suffix for one in left_over(tmp_path)] == [".mp4"]
    assert run_again(tmp_path).chunks == 4
    run(tmp_path, "whole.mp4", fill="image")
    assert same(tmp_path / "whole.mp4", tmp_path / "out.mp4")


def run_again(folder: Path) -> Report:
    with short_chunks(12):
        return run(folder, "out.mp4", work=folder / "work", fill="image")


def _children_of(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == parent:
                found.append(int(entry.name))
    return found


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_workers_that_die_again_and_again_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_clip(tmp_path, 14, 15)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with short_chunks(12), pytest.raises(pool.WorkerDied, match="ended with code 1 3 times at frames"):
        run(tmp_path, "out.mp4", workers=2)
    assert not (tmp_path / "out.mp4").exists()


def test_errors_travel_as_what_they_are() -> None:
    assert isinstance(crew.error_of({"error": "SinkError", "text": "the disk is full"}), SinkError)
    assert isinstance(crew.error_of({"error": "MemoryError", "text": ""}), MemoryError)
    assert crew.error_of({"error": "OSError", "text": "No space", "errno": 28}).errno == 28  # type: ignore[attr-defined]
    assert "ValueError in another process: odd" in str(crew.error_of({"error": "ValueError", "text": "odd"}))
