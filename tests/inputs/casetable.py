"""A case: what lies in a folder, a command, and what it has to come to. What holds for every case is asserted here."""

from __future__ import annotations

import functools
import hashlib
import stat
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import pictures, write_clip

from vidrase.cli import main as cli

SIZE = (48, 64)  # of the clips, rows and columns
NEVER = ("Traceback", "internal error", "Invalid argument", "Protocol not found")


@dataclass(frozen=True)
class Case:
    """One input. `command` runs in a folder where `build` put things, beside `in.mp4`, `a.png` (stills) and `mask.png`."""

    name: str
    command: list[str]
    build: Callable[[Path], object] = lambda folder: None
    code: int = 0
    """0: it works. 1 or 2: one line on stderr says why not, nothing new is left, nothing has changed."""
    says: str = ""
    """Stands in what was said."""
    makes: tuple[str, ...] = ()
    """New files, exactly these; none for a request that is refused."""
    replaces: tuple[str, ...] = ()
    """Files that were there and may change."""
    check: Callable[[Path], object] | None = None
    """Looks at the result; raises AssertionError."""


@functools.cache
def clip_bytes(suffix: str = ".mp4", sound: bool = True) -> bytes:
    """A clip of six frames of SIZE, with a tone."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"clip{suffix}"
        write_clip(path, pictures(6, *SIZE), audio=sound)
        return path.read_bytes()


def draw_mask(path: Path, size: tuple[int, int] = SIZE) -> None:
    """A white square near the middle."""
    mask = np.zeros(size, np.uint8)
    mask[size[0] // 3 : size[0] // 2, size[1] // 3 : size[1] // 2] = 255
    path.write_bytes(cv2.imencode(".png", mask)[1].tobytes())


def furnish(folder: Path) -> None:
    """What lies in every case's folder."""
    (folder / "in.mp4").write_bytes(clip_bytes())
    draw_mask(folder / "mask.png")


def contents(folder: Path) -> dict[str, str]:
    """Every name in `folder`, with a digest of a file, the target of a link, or its kind."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[name] = str(stat.S_IFMT(path.lstat().st_mode))
    return found


def run(case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Build, run and evaluate `case` in the empty `folder`."""
    furnish(folder)
    case.build(folder)
    monkeypatch.chdir(folder)
    before = contents(folder)
    capfd.readouterr()
    with pytest.raises(SystemExit) as leaving:
        cli.main(case.command)
    out, err = capfd.readouterr()
    assert int(leaving.value.code or 0) == case.code, err
    assert not any(word in out + err for word in NEVER), out + err
    assert case.says in out + err
    after = contents(folder)
    if case.code:
        lines = [line for line in err.splitlines() if line.strip()]
        assert lines, "it failed without a word"
        assert lines[-1].startswith("vidrase: "), err
        assert len(lines) == 1 or case.code == 1, err  # what is said on the way comes before what ended it
        assert after == before
    else:
        changed = {name for name in before if after.get(name) != before[name]}
        assert changed <= set(case.replaces), f"lost or changed: {changed - set(case.replaces)}"
        assert sorted(set(after) - set(before)) == sorted(case.makes)
        if case.check is not None:
            case.check(folder)
