"""A case of the corpus: what lies in a folder, a command, and what it has to come to. What holds for all is asserted here."""

from __future__ import annotations

import functools
import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from vidrase.bench.inputs.clips import pictures, write_clip
from vidrase.errors import VidraseError
from vidrase.source import open_source

SIZE = (48, 64)  # of the clips, rows and columns
NEVER = ("Traceback", "internal error", "Invalid argument", "Protocol not found")
LOSS = ("damaged", "left out", "cannot be read")  # one of these is said where frames are missing


@dataclass(frozen=True)
class Case:
    """One input. `command` runs in a folder where `build` put things, beside `in.mp4` and `mask.png`."""

    name: str
    command: list[str]
    build: Callable[[Path], object] = lambda _: None
    code: int | None = 0
    """0: it works. 1 or 2: one line on stderr says why not, nothing new is left, nothing has changed. None: any of them, where
    chance decides what is left of a file."""
    says: str = ""
    """Stands in what was said."""
    makes: tuple[str, ...] = ()
    """New files, exactly these; none for a request that is refused."""
    replaces: tuple[str, ...] = ()
    """Files that were there and may change."""
    check: Callable[[Path], object] | None = None
    """Looks at the result; raises AssertionError."""
    frames: int = 0
    """At least so many frames are in the first of `makes`, or a line says that some are missing."""
    environment: Mapping[str, str | None] = field(default_factory=dict)
    """Variables for the command; None: not set."""
    memory_mib: int = 0
    """Address space that the command may have (`ulimit -v`); 0: no limit. Then nothing but our own lines may be on stderr."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a command."""

    code: int | None
    """Of the process; below 0 the signal that ended it, None where it did not end in time."""
    out: str
    err: str
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that must not happen."""

    kind: str
    """"hang", "crash", "traceback", "code", "line", "lost", "left over", "result"."""
    text: str


KINDS = ("hang", "crash", "traceback", "code", "line", "lost", "left over", "result")


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


def furnish(case: Case, folder: Path) -> dict[str, str]:
    """Put into the empty `folder` what lies in every case's, and what `case` builds; returns its `contents`."""
    (folder / "in.mp4").write_bytes(clip_bytes())
    draw_mask(folder / "mask.png")
    case.build(folder)
    return contents(folder)


def contents(folder: Path) -> dict[str, str]:
    """Every name in `folder`, with a digest of a file, the target of a link, or its kind."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = (
                hashlib.sha256(path.read_bytes()).hexdigest() if os.access(path, os.R_OK) else "may not be read"
            )
        else:
            found[name] = str(stat.S_IFMT(path.lstat().st_mode))
    return found


def evaluate(case: Case, folder: Path, before: Mapping[str, str], outcome: Outcome) -> list[Fault]:
    """Everything that is wrong with what came of `case` in `folder`, which held `before`; empty: nothing."""
    said = outcome.out + outcome.err
    if outcome.code is None:
        return [Fault("hang", f"did not end within {outcome.seconds:.0f} s")]
    faults = [Fault("traceback", said.strip()[-400:])] if any(word in said for word in NEVER) else []
    if outcome.code < 0:
        faults.append(Fault("crash", f"ended by signal {-outcome.code}"))
    allowed = (0, 1, 2) if case.code is None else (case.code,)
    if outcome.code not in allowed:
        faults.append(
            Fault("code", f"{outcome.code} instead of {' or '.join(map(str, allowed))}: {outcome.err[-300:]}")
        )
    if case.says not in said:
        faults.append(Fault("line", f"expected '{case.says}', got '{said.strip()[-300:]}'"))
    after = contents(folder)
    if outcome.code == 0:
        return faults + _result(case, folder, before, after, said)
    return faults + _foreign(case, outcome) + _refusal(outcome, before, after)


def _foreign(case: Case, outcome: Outcome) -> list[Fault]:
    """Lines of libraries, which print their own before they end a process that has no memory left."""
    lines = [line for line in outcome.err.splitlines() if line.strip() and not line.startswith("vidrase: ")]
    return [Fault("line", f"not ours: '{lines[0][:200]}'")] if case.memory_mib and lines else []


def _refusal(outcome: Outcome, before: Mapping[str, str], after: Mapping[str, str]) -> list[Fault]:
    faults = []
    lines = [line for line in outcome.err.splitlines() if line.strip()]
    if not lines or not lines[-1].startswith("vidrase: "):
        faults.append(Fault("line", f"it failed without a line of its own: '{outcome.err[-300:]}'"))
    elif len(lines) > 1 and outcome.code == 2:  # what is said on the way comes before what ended it
        faults.append(Fault("line", f"{len(lines)} lines instead of one: '{outcome.err[-300:]}'"))
    if lost := [name for name in before if after.get(name) != before[name]]:
        faults.append(Fault("lost", ", ".join(lost)))
    if left := [name for name in after if name not in before]:
        faults.append(Fault("left over", ", ".join(left)))
    return faults


def _result(case: Case, folder: Path, before: Mapping[str, str], after: Mapping[str, str], said: str) -> list[Fault]:
    faults = []
    changed = {name for name in before if after.get(name) != before[name]} - set(case.replaces)
    if changed:
        faults.append(Fault("lost", ", ".join(sorted(changed))))
    new = sorted(set(after) - set(before))
    if new != sorted(case.makes):
        faults.append(Fault("left over", f"made {', '.join(new) or 'nothing'}, expected {', '.join(case.makes)}"))
        return faults
    try:
        if case.check is not None:
            case.check(folder)
        if case.frames and not any(word in said for word in LOSS):
            held = count_frames(folder / case.makes[0])
            assert held >= case.frames, f"{held} frames of {case.frames}, and no word of it"
    except (AssertionError, OSError, VidraseError) as error:
        faults.append(Fault("result", " ".join(str(error).split())[:300] or type(error).__name__))
    return faults


def count_frames(path: Path) -> int:
    """How many frames a result holds. Raises VidraseError when it cannot be read."""
    with open_source(path) as source:
        return sum(1 for _ in source)
