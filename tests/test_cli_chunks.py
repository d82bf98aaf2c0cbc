"""Workers, work folders and left-overs on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from chunkruns import CLIP, MASKS, make_clip, short_chunks

from vidrase.chunks.folder import WorkFolder, beside
from vidrase.cli import main as cli
from vidrase.part import Part

QUICK = ("--inpainter", "telea", "--flow", "dis", "--quality", "fast", "--fill", "image")


def run(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as leaving:
        cli.main([str(word) for word in words])
    return int(leaving.value.code or 0)


def test_a_run_with_a_work_folder_says_what_it_took_from_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_clip(tmp_path, 14, 15)
    words = [tmp_path / CLIP, "--mask", tmp_path / MASKS, "-o", tmp_path / "o.mp4", "--work", tmp_path / "w", *QUICK]
    with short_chunks(12):
        assert run(*words, "--workers", "auto") == 0
        assert "thread" in capsys.readouterr().err
        assert run(*words, "-y", "--crf", "30", "--report", tmp_path / "r.json") == 0
    out, err = capsys.readouterr()
    assert "the first pass is done, 2 of 2 chunks are filled" in err
    assert "reused: 29 frames of the first pass, 2 filled chunks" in out
    assert json.loads((tmp_path / "r.json").read_text())["reused"] == {"searched": 29, "filled": 2}


def test_wrong_requests_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_clip(tmp_path, 8)
    clip, mask = tmp_path / CLIP, ("--mask", tmp_path / MASKS)
    assert run(clip, *mask, "--workers", "0") == 2
    assert "workers: expected 1 to 1024, got 0" in capsys.readouterr().err
    assert run(clip, *mask, "--workers", "many") == 2
    assert run(clip, clip, *mask, "--work", tmp_path / "w") == 2
    assert "--work" in capsys.readouterr().err
    with WorkFolder(tmp_path / "w"):
        assert run(clip, *mask, "--work", tmp_path / "w") == 1
    assert "is in use by another run; wait for it, or give another --work" in capsys.readouterr().err


def test_clean_lists_and_removes_what_no_run_uses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".holiday.part").write_bytes(b"mine")
    left = beside(tmp_path / "a.mp4")
    with WorkFolder(left):
        assert run("clean", tmp_path, "-n") == 0
        assert "nothing is left over" in capsys.readouterr().out
    part = Part(tmp_path / "b.mp4")
    stale = part.path.with_name(part.path.name.replace(".b.", ".c."))
    stale.write_bytes(bytes(2000))
    assert run("clean", tmp_path, "-n") == 0
    out = capsys.readouterr().out
    assert [line.partition("  ")[0] for line in out.splitlines()] == [str(left), str(stale)]
    assert run("clean", tmp_path) == 0
    assert left.exists()
    assert run("clean", tmp_path, "-y") == 0
    assert not left.exists()
    assert not stale.exists()
    assert (tmp_path / ".holiday.part").exists()
    assert part.path.exists()
    part.drop()
    (tmp_path / ".holiday.part").unlink()
    assert run("clean", tmp_path / "nowhere") == 2
