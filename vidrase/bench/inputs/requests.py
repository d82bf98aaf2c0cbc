"""Requests that make no sense, and masks as people make them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from vidrase.bench.inputs.case import SIZE, Case
from vidrase.bench.inputs.clips import pictures


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
        yield Case(f"address {where}", [where, "--mask", "mask.png"], code=2, says="is no address")
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


CASES = [*_senseless(), *_masks()]
