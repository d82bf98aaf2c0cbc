"""Recordings that have lost a part of their middle; photographs in tiles."""

from __future__ import annotations

import functools
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from vidrase.bench.inputs.case import SIZE, Case
from vidrase.bench.inputs.clips import pictures, write_clip
from vidrase.bench.inputs.heic import write_grid

COUNT = 50
PLAIN = {"options": {"g": "25", "qp": "18"}}
FORMATS: dict[str, dict] = {
    "plain.mkv": PLAIN,
    "sound.mkv": {**PLAIN, "audio": True},
    "ffv1.mkv": {"codec": "ffv1"},
    "plain.ts": PLAIN,
    "sound.ts": {**PLAIN, "audio": True},
    "mpeg2.ts": {"codec": "mpeg2video", "options": {"g": "25"}},
    "sound.mp4": {**PLAIN, "audio": True},
    "plain.flv": PLAIN,
}
KINDS = ("zeros", "noise", "cut")
ONLY = ["--mask", "mask.png", "--time", "0-0.1", "--quality", "fast"]


@functools.cache
def whole(name: str) -> bytes:
    """A clip of COUNT frames."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write_clip(path, pictures(COUNT, *SIZE), **FORMATS[name])
        return path.read_bytes()


def damaged(name: str, kind: str, seed: int) -> Callable[[Path], object]:
    """Writes the clip with a fifth of it, about its middle, lost in one of the KINDS."""

    def build(folder: Path) -> None:
        data = bytearray(whole(name))
        rng = random.Random(seed)
        start = int(len(data) * rng.uniform(0.4, 0.45))
        end = start + len(data) // 5
        data[start:end] = {"zeros": bytes(end - start), "noise": rng.randbytes(end - start), "cut": b""}[kind]
        (folder / name).write_bytes(data)

    return build


def _damage() -> Iterator[Case]:
    for name in FORMATS:
        to = f"o{name[name.rindex('.') :]}".replace(".flv", ".mkv").replace(".ts", ".mkv")
        for kind in KINDS:
            if (name[-3:], kind) == ("mp4", "cut"):
                continue
            for seed in range(3):
                build = damaged(name, kind, seed)
                case = f"{kind} {seed} in {name}"
                yield Case(case, [name, *ONLY, "-o", to], build, says=f"{name} is damaged: ", makes=(to,))
                yield Case(f"{case}, strict", [name, *ONLY, "--strict", "-o", to], build, 1, f"{name} is damaged: ")
        yield Case(f"{name} as it was", [name, *ONLY, "--strict", "-o", to], _sound(name), makes=(to,))


def _sound(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(whole(name))


def _photograph(folder: Path) -> None:
    write_grid(folder / "photo.heic", pictures(1, 128, 192)[0], 2, 2)
    mask = np.zeros((128, 192), np.uint8)
    mask[54:74, 84:108] = 255
    (folder / "m.png").write_bytes(cv2.imencode(".png", mask)[1].tobytes())


def _whole_photograph(folder: Path) -> None:
    picture = cv2.imread(str(folder / "o.png"))
    assert picture is not None
    assert picture.shape == (128, 192, 3)


CASES = [
    *_damage(),
    Case(
        "HEIC in tiles",
        ["photo.heic", "--mask", "m.png", "-o", "o.png"],
        _photograph,
        0,
        "",
        ("o.png",),
        (),
        _whole_photograph,
    ),
]
