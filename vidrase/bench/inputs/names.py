"""Names: marks of patterns, colons, bytes that are no text, too many of them, _links, folders."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

from vidrase.bench.inputs.case import Case, clip_bytes
from vidrase.source import open_source

MASK = ["--mask", "mask.png"]
ODD = os.fsdecode(b"caf\xe9.mp4")


def _called(*names: str) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(clip_bytes())

    return build


def _frames(name: str) -> Callable[[Path], None]:
    def check(folder: Path) -> None:
        with open_source(folder / name) as source:
            assert source.info.has_audio
            assert len(list(source)) == 6

    return check


def _named(name: str) -> Case:
    made = f"{name[: name.rindex('.')].removeprefix('./')}_erased.mp4"
    return Case(f"called {name!a}", [name, *MASK], _called(name), makes=(made,), check=_frames(made))


def _links(folder: Path) -> None:
    (folder / "real").mkdir()
    (folder / "real" / "there.mp4").write_bytes(b"old")
    (folder / "out.mp4").symlink_to("real/there.mp4")
    (folder / "away.mp4").symlink_to("real/new.mp4")


def _private(folder: Path) -> None:
    (folder / "out.mp4").write_bytes(b"old")
    (folder / "out.mp4").chmod(0o600)


def _is_private(folder: Path) -> None:
    assert stat.S_IMODE((folder / "out.mp4").stat().st_mode) == 0o600
    _frames("out.mp4")(folder)


def _bracketed_frames(folder: Path) -> None:
    inside = folder / "walk [x]"
    inside.mkdir()
    for number in range(3):
        shutil.copy(folder / "mask.png", inside / f"f[a]_{number}.png")


TWO = _called("one/a.mp4", "two/a.mp4", "out/keep.txt")
LONG = "x" * 245 + ".mp4"
CASES = [
    _named("walk [dQw4w9WgXcQ].mp4"),
    _named("100% fun.mp4"),
    _named("what?.mp4"),
    _named("a*b.mp4"),
    _named("%03d.mp4"),
    _named("23:50.mp4"),
    _named(ODD),
    _named("./-- dash.mp4"),
    _named("two\nlines.mp4"),
    Case(
        "frames in a folder with brackets",
        ["walk [x]/f[a]_%d.png", *MASK],
        _bracketed_frames,
        makes=("walk [x]_erased", *(f"walk [x]_erased/f[a]_{number}.png" for number in range(3))),
    ),
    Case(
        "a mask called like a pattern",
        ["in.mp4", "--mask", "m[1].png"],
        lambda f: shutil.copy(f / "mask.png", f / "m[1].png"),
        makes=("in_erased.mp4",),
    ),
    Case("a mask with a colon", ["in.mp4", "--mask", "1:2.mp4"], _called("1:2.mp4"), makes=("in_erased.mp4",)),
    Case(
        "a result with a colon", ["in.mp4", *MASK, "-o", "12:00.mp4"], makes=("12:00.mp4",), check=_frames("12:00.mp4")
    ),
    Case("masks with a colon", ["in.mp4", *MASK, "--save-masks", "12:00.mkv"], makes=("12:00.mkv", "in_erased.mp4")),
    Case("a default name that is too long", [LONG, *MASK], _called(LONG), code=2, says="too long (256 bytes"),
    Case("a name that is too long", ["in.mp4", *MASK, "-o", "y" * 300 + ".mp4"], code=2, says="too long"),
    Case("a report that is too long", ["in.mp4", *MASK, "--report", "y" * 300], code=2, says="too long"),
    Case("an input that is too long", ["y" * 300 + ".mp4", *MASK], code=1, says="cannot be reached"),
    Case("into .", ["in.mp4", *MASK, "-o", "."], code=2, says="would be lost"),
    Case("into ..", ["in.mp4", *MASK, "-o", "..", "-y"], code=2, says="would be lost"),
    Case("into /", ["in.mp4", *MASK, "-o", "/"], code=2),
    Case(
        "into a folder called like a video",
        ["in.mp4", *MASK, "-o", "d.mp4", "-y"],
        lambda f: (f / "d.mp4").mkdir(),
        code=2,
        says="is a folder",
    ),
    Case(
        "a folder where a file is",
        ["in.mp4", *MASK, "-o", "d", "-y"],
        lambda f: (f / "d").write_text("mine"),
        code=2,
        says="is a file",
    ),
    Case(
        "two of one name into one folder",
        ["one/a.mp4", "two/a.mp4", *MASK, "-o", "out", "-y"],
        TWO,
        code=2,
        says="would both become",
    ),
    Case(
        "one would be the other's result",
        ["in.mp4", "in_erased.mp4", *MASK, "-y"],
        _called("in_erased.mp4"),
        code=2,
        says="is the input itself",
    ),
    Case(
        "one of two would overwrite the mask",
        ["in.mp4", "a.mp4", "--mask", "in_erased.mp4", "-y"],
        _called("a.mp4", "in_erased.mp4"),
        code=2,
        says="is --mask itself",
    ),
    Case(
        "through a link",
        ["in.mp4", *MASK, "-o", "out.mp4", "-y"],
        _links,
        says="is a link",
        replaces=("real/there.mp4",),
        check=_frames("real/there.mp4"),
    ),
    Case(
        "through a link to nothing",
        ["in.mp4", *MASK, "-o", "away.mp4", "-y"],
        _links,
        says="is a link",
        makes=("real/new.mp4",),
    ),
    Case("a link needs -y too", ["in.mp4", *MASK, "-o", "away.mp4"], _links, code=2, says="exists already"),
    Case(
        "a private result stays private",
        ["in.mp4", *MASK, "-o", "out.mp4", "-y"],
        _private,
        replaces=("out.mp4",),
        check=_is_private,
    ),
    Case(
        "a link to the input",
        ["in.mp4", *MASK, "-o", "l.mp4", "-y"],
        lambda f: (f / "l.mp4").symlink_to("in.mp4"),
        code=2,
        says="is the input itself",
    ),
    Case(
        "a second name of the input",
        ["in.mp4", *MASK, "-o", "l.mp4", "-y"],
        lambda f: (f / "l.mp4").hardlink_to(f / "in.mp4"),
        code=2,
        says="is the input itself",
    ),
    Case(
        "a loop of links", ["in.mp4", *MASK, "-o", "l.mp4", "-y"], lambda f: (f / "l.mp4").symlink_to("l.mp4"), code=1
    ),
    Case("onto a device", ["in.mp4", *MASK, "-o", "/dev/null", "-y"], code=2, says="neither a file nor a folder"),
]
