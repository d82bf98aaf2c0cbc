"""Limits on memory (`ulimit -v`), from far too little to enough: a result, or one line that says what to do. Linux only."""

from __future__ import annotations

import functools
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from vidrase.bench.inputs.case import Case, draw_mask
from vidrase.bench.inputs.clips import moving_square, write_clip

SIZES = {"480p": (480, 854), "1080p": (1080, 1920)}
STEPS = range(400, 3001, 200)  # MB
FRAMES = 8
RUNS = {
    "a mask": ["--mask", "hole.png"],
    "people and a mask": ["--remove", "person", "--model", "vidrase-seg", "--mask", "hole.png"],  # nobody is there
}


@functools.cache
def _clip(size: tuple[int, int]) -> bytes:
    shown, _, _ = moving_square(FRAMES, *size, pan=(0.0, 2.0), size=size[0] // 4)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        write_clip(path, shown, audio=True)
        return path.read_bytes()


def _build(folder: Path, size: tuple[int, int]) -> None:
    (folder / "clip.mp4").write_bytes(_clip(size))
    draw_mask(folder / "hole.png", size)


def _cases() -> Iterator[Case]:
    for mib in STEPS:
        for called, size in SIZES.items():
            for what, words in RUNS.items():
                command = ["clip.mp4", *words, "-o", "o.mp4", "-q"]
                build = functools.partial(_build, size=size)
                name = f"{what} at {called} in {mib} MB"
                yield Case(name, command, build, None, makes=("o.mp4",), frames=FRAMES, memory_mib=mib)


CASES = list(_cases()) if sys.platform.startswith("linux") else []
