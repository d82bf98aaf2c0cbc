"""Files and folders that may not be read or written, for a user who is not allowed everything.

Root is allowed everything; `drop_override` takes that from this process where the system lets it (Linux).
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import cv2

from vidrase.bench.inputs.case import SIZE, Case
from vidrase.bench.inputs.clips import pictures

DAC = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
MASKED = ["--mask", "mask.png"]
MADE = [*MASKED, "-o", "o.mp4"]


def drop_override() -> bool:
    """From now on permissions hold for this process, also as root; False where that cannot be had."""
    if not hasattr(os, "geteuid") or os.geteuid():
        return hasattr(os, "geteuid")
    if not sys.platform.startswith("linux"):
        return False
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None, use_errno=True)
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3 of the interface, this thread
        sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable, twice 32 bits
        if libc.capget(header, sets) == 0:
            for which in range(3):
                sets[which] &= ~DAC
            return libc.capset(header, sets) == 0
    return False


def _shut(name: str, mode: int = 0) -> Callable[[Path], object]:
    return lambda folder: (folder / name).chmod(mode)


def _with(name: str, data: bytes, mode: int = 0) -> Callable[[Path], object]:
    def build(folder: Path) -> None:
        (folder / name).write_bytes(data)
        (folder / name).chmod(mode)

    return build


def _folder(mode: int) -> Callable[[Path], object]:
    return lambda folder: (folder / "shut").mkdir(mode=mode)


def _frames(shut: str, mode: int) -> Callable[[Path], object]:
    def build(folder: Path) -> None:
        (folder / "fr").mkdir()
        for number, picture in enumerate(pictures(3, *SIZE)):
            (folder / f"fr/{number}.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
        (folder / shut).chmod(mode)

    return build


NO = "Permission denied"
CASES = [
    Case("an input that may not be read", ["in.mp4", *MADE], _shut("in.mp4"), 1, NO),
    Case("a mask that may not be read", ["in.mp4", *MADE], _shut("mask.png"), 2, "not readable"),
    Case("a picture that may not be read", ["p.png", *MASKED], _with("p.png", b"x"), 1, NO),
    Case("a folder that may not be listed", ["fr", *MADE], _frames("fr", 0o300), 1, NO),
    Case("a folder that may not be entered", ["fr", *MADE], _frames("fr", 0o600), 1, NO),
    Case("a frame that may not be read", ["fr", *MADE], _frames("fr/1.png", 0), 1, NO),
    Case("into a folder that may not be written", ["in.mp4", *MASKED, "-o", "shut/o.mp4"], _folder(0o500), 1, NO),
    Case("into a folder that may not be entered", ["in.mp4", *MASKED, "-o", "shut/o.mp4"], _folder(0), 1, NO),
    *(
        Case(f"{option} into a folder that may not be entered", ["in.mp4", *MADE, option, to], _folder(0), None, NO)
        for option, to in (("--report", "shut/r.json"), ("--preview", "shut/p.png"), ("--save-masks", "shut/m.mkv"))
    ),
    Case("an input in a folder that may not be entered", ["shut/in.mp4", *MADE], _folder(0), None, NO),
    Case("a mask in a folder that may not be entered", ["in.mp4", "--mask", "shut/m.png"], _folder(0), None),
    Case(
        "a model in a folder that may not be entered",
        ["in.mp4", "--remove", "person", "--model", "shut/w.pt"],
        _folder(0),
        None,
    ),
    Case(
        "live into a folder that may not be entered",
        ["live", "in.mp4", "--remove", "person", "-o", "shut/o.ts"],
        _folder(0),
        None,
        NO,
    ),
    Case("picking with sheets where none may be", ["pick", "in.mp4", "--sheets", "shut/s"], _folder(0), None, NO),
    Case("a folder of frames as result", ["in.mp4", *MASKED, "-o", "shut/fr"], _folder(0o500), 1, NO),
    Case(
        "over a file that may not be written",
        ["in.mp4", *MADE, "-y"],
        _with("o.mp4", b"old", 0o400),
        replaces=("o.mp4",),
        check=lambda f: None if (f / "o.mp4").stat().st_size > 100 else AssertionError(),
    ),
    *(
        Case(f"{option} where nothing may be written", ["in.mp4", *MADE, option, to], _folder(0o500), 1, NO)
        for option, to in (("--report", "shut/r.json"), ("--preview", "shut/p.png"), ("--save-masks", "shut/m.mkv"))
    ),
    Case(
        "a selection that may not be read",
        ["in.mp4", "--selection", "s.json", "-o", "o.mp4"],
        _with("s.json", b"{}"),
        2,
        "not readable",
    ),
    Case(
        "weights that may not be read",
        ["in.mp4", "--remove", "person", "--model", "w.pt", "-o", "o.mp4"],
        _with("w.pt", b"x"),
        1,
        NO,
    ),
    Case(
        "an inpainter's weights that may not be read",
        ["in.mp4", *MADE, "--inpainter", "lama", "--inpainter-weights", "w.pt"],
        _with("w.pt", b"x"),
        2,
        "not readable",
    ),
    Case(
        "a cache that may not be written",
        ["in.mp4", "--remove", "person", "--model", "vidrase-seg", "--time", "0-0.1", "-o", "o.mp4"],
        _folder(0o500),
        makes=("o.mp4",),
        frames=6,
        environment={"VIDRASE_CACHE_DIR": "{here}/shut", "XDG_CACHE_HOME": "{here}/shut", "HOME": "{here}/shut"},
    ),
    Case(
        "a folder for temporary files that may not be written",
        ["in.mp4", *MADE],
        _folder(0o500),
        makes=("o.mp4",),
        frames=6,
        environment={"TMPDIR": "{here}/shut"},
    ),
]
