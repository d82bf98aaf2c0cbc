"""A result in the making: complete or not there, one writer a name, whatever became of the last one."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from vidrase.errors import SinkError
from vidrase.part import Part

HOLD = """
import sys, pathlib
from vidrase.part import Part
part = Part(pathlib.Path(sys.argv[1]), folder=sys.argv[2] == "folder")
(part.path / "x" if part.path.is_dir() else part.path).write_bytes(b"half")
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no locks on names there")
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_two_runs_to_one_name(tmp_path: Path, kind: str) -> None:
    to, folder = tmp_path / "out.mp4", kind == "folder"
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(to), kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "ready\n"
    with pytest.raises(SinkError, match=r"out\.mp4: another run is writing it"):
        Part(to, folder=folder)
    other.send_signal(signal.SIGKILL)
    other.communicate()
    assert len(list(tmp_path.iterdir())) == 1, "what a killed run leaves"
    part = Part(to, folder=folder)  # its lock went with it
    if folder:
        assert not list(part.path.iterdir())
        (part.path / "y").write_bytes(b"whole")
    else:
        assert not part.path.stat().st_size
        part.path.write_bytes(b"whole")
    part.keep()
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_a_name_is_free_again(tmp_path: Path) -> None:
    to = tmp_path / "a.txt"
    first = Part(to)
    with pytest.raises(SinkError, match="another run"):
        Part(to)
    first.drop()
    second = Part(to)
    second.write(b"2")
    third = Part(to)
    second.drop()  # must not touch what is not its own any more
    third.write(b"3")
    assert to.read_bytes() == b"3"
    Part(to)  # nobody keeps it
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of another kind")
def test_permissions(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        Part(tmp_path / "new").write(b"")
        old = tmp_path / "old"
        old.write_bytes(b"")
        old.chmod(0o604)
        Part(old).write(b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
    assert stat.S_IMODE(old.stat().st_mode) == 0o604


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there/file")
    Part(tmp_path / "link").write(b"x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there" / "file").read_bytes() == b"x"


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    to = tmp_path / os.fsdecode(b"\xff" * 200)
    Part(to).write(b"x")
    assert to.read_bytes() == b"x"


def test_what_appears_meanwhile_stays(tmp_path: Path) -> None:
    to = tmp_path / "out.mp4"
    for number in (2, 3):
        part = Part(to)
        part.path.write_bytes(b"mine %d" % number)
        to.write_bytes(b"theirs")
        with pytest.raises(SinkError, match=rf"out\.mp4 appeared while this ran .*: the result is .*out_{number}\.mp4"):
            part.keep()
        assert to.read_bytes() == b"theirs"
        assert (tmp_path / f"out_{number}.mp4").read_bytes() == b"mine %d" % number
        to.unlink()
    assert {path.name for path in tmp_path.iterdir()} == {"out_2.mp4", "out_3.mp4"}


def test_what_appears_meanwhile_may_be_replaced(tmp_path: Path) -> None:
    part = Part(tmp_path / "out.mp4", overwrite=True)
    part.path.write_bytes(b"mine")
    part.to.write_bytes(b"theirs")
    part.keep()
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"mine"]


@pytest.mark.parametrize("empty", [True, False])
def test_a_folder_that_appears_stays(tmp_path: Path, empty: bool) -> None:
    to = tmp_path / "out"
    part = Part(to, folder=True)
    (part.path / "a.png").write_bytes(b"mine")
    to.mkdir()
    if not empty:
        (to / "b.png").write_bytes(b"theirs")
    if empty:
        part.keep()
    else:
        with pytest.raises(SinkError, match="the result is "):
            part.keep()
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png")}
    assert found == ({"out/a.png"} if empty else {"out/b.png", "out_2/a.png"})


def test_what_came_into_a_folder_that_is_replaced_stays(tmp_path: Path) -> None:
    to = tmp_path / "out"
    to.mkdir()
    (to / "old.png").write_bytes(b"offered with -y")
    part = Part(to, folder=True, overwrite=True)
    (part.path / "a.png").write_bytes(b"mine")
    (to / "notes.txt").write_bytes(b"theirs")
    part.keep()
    assert {path.name for path in to.iterdir()} == {"a.png", "notes.txt"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
