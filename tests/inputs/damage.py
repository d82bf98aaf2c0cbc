"""Damage in the middle, requests that make no sense and masks as people make them."""

from __future__ import annotations

import functools
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from casetable import SIZE, Case
from clips import pictures, write_clip
from heic import write_grid

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


def _senseless() -> Iterator[Case]:
    for option, rest in (("--region", ",0,9,9"), ("--box", ",0,9,9"), ("--at", ",9")):
        for value in ("nan", "inf", "-inf", "1e309", "-nan", "infinity"):
            words = ["in.mp4", "--mask", "mask.png", option, value + rest]
            yield Case(f"{option} of {value}", words, code=2, says="none of them infinite")
        for value in ("", "x" + rest, ",,,", "1;2", "0" + rest + "@nan", "0" + rest + "@-1"):
            words = ["in.mp4", "--mask", "mask.png", option, value]
            yield Case(f"{option} {value!r}", words, code=2, says="vidrase: ")
    for value in ("", ",", "-", "nan-", "-inf", "1e309-", "9" * 5000 + "-", "5-2", "1:2:3:4-", "٣٤-", "--", "0-0"):
        yield Case(f"--time {value[:20]!r}", ["in.mp4", "--mask", "mask.png", "--time", value], code=2, says="time")
    for option in (
        "--remove",
        "--keep",
        "--mask",
        "-o",
        "--report",
        "--preview",
        "--selection",
        "--save-masks",
        "--dilate",
    ):
        yield Case(f"{option} of nothing", ["in.mp4", "--mask", "mask.png", option, ""], code=2, says="is empty")
    for option, value in (("--crf", "nan"), ("--conf", "nan"), ("--crf", "inf"), ("--wait", "nan"), ("--wait", "0")):
        yield Case(f"{option} of {value}", ["in.mp4", "--mask", "mask.png", option, value], code=2, says="expected")
    for where in (
        "http://[::1",
        "http://[",
        "http://a]b/c",
        "http://h:port/",
        "http://h:99999999/",
        "file://[",
        "rtsp://[x",
    ):
        yield Case(f"address {where}", [where, "--mask", "mask.png"], code=1, says="is no address")
    yield Case("a file called nothing", [""], code=2, says="is empty")
    yield Case(
        "a folder called x.png", ["fr", "--mask", "mask.png"], lambda at: (at / "fr/x.png").mkdir(parents=True), 1, "fr"
    )


def _draw(name: str, pixels: np.ndarray) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(cv2.imencode(".png", pixels)[1].tobytes())


def _masks() -> Iterator[Case]:
    hole = np.zeros(SIZE, bool)
    hole[16:24, 20:32] = True
    light = np.where(hole, 255, 0).astype(np.uint8)
    shot = pictures(1, *SIZE)[0]
    ways: dict[str, tuple[np.ndarray, str]] = {
        "half as large": (cv2.resize(light, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_NEAREST), "scaled to 64x48"),
        "twice as large": (cv2.resize(light, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST), "scaled to 64x48"),
        "zeros and ones": (hole.astype(np.uint8), "zeros and ones"),
        "erased from the picture": (np.dstack([shot, 255 - light]), "what is transparent goes"),
        "black with a window": (np.dstack([np.zeros_like(shot), 255 - light]), "what is transparent goes"),
        "the wrong way round": (255 - light, "--mask-invert"),
    }
    for name, (pixels, says) in ways.items():
        words = ["in.mp4", "--mask", "m.png", "-o", "o.mp4"]
        yield Case(f"mask {name}", words, _draw("m.png", pixels), says=says, makes=("o.mp4",))
    words = ["in.mp4", "--mask", "m.png", "--mask-invert", "-o", "o.mp4"]
    yield Case("mask inverted", words, _draw("m.png", 255 - light), says="removed in 6 of 6", makes=("o.mp4",))
    bent = np.zeros((SIZE[0], SIZE[1] // 2), np.uint8)
    yield Case("mask of another shape", words, _draw("m.png", bent), 1, "draw it on a frame of that size")


def _photograph(folder: Path) -> None:
    write_grid(folder / "photo.heic", pictures(1, 128, 192)[0], 2, 2)
    mask = np.zeros((128, 192), np.uint8)
    mask[54:74, 84:108] = 255
    _draw("m.png", mask)(folder)


def _whole_photograph(folder: Path) -> None:
    assert cv2.imread(str(folder / "o.png")).shape == (128, 192, 3)


CASES = [
    *_damage(),
    *_senseless(),
    *_masks(),
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
