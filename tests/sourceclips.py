"""Clips of every kind that a source must read, made on the spot."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
from clips import pictures, write_clip

VFR = [500, 1501, 2502, 9000, 9500, 12000]
TB = Fraction(1, 30000)

CASES: dict[str, dict] = {
    "cfr.mp4": {"audio": True},
    "cfr.mkv": {},
    "cfr.webm": {"codec": "libvpx-vp9", "options": {"lossless": "1", "cpu-used": "8"}, "audio": True},
    "cfr.avi": {"codec": "mpeg4", "audio": True},
    "cfr.ts": {},
    "bframes.ts": {"options": {"bf": "2", "preset": "medium"}, "codec": "mpeg2video"},
    "vfr.mp4": {"time_base": TB, "pts": VFR, "mux": {"movie_timescale": "30000"}},
    "vfr.mkv": {"time_base": Fraction(1, 1000), "pts": [17, 50, 83, 300, 317, 400]},
    "start.mp4": {"time_base": TB, "pts": [500 + 1001 * k for k in range(6)], "mux": {"movie_timescale": "30000"}},
    "bframes.mp4": {"options": {"bf": "3", "preset": "medium", "b-adapt": "0"}, "count": 12},
    "turn90.mp4": {"rotation": 90},
    "turn180.mp4": {"rotation": 180},
    "turn270.mp4": {"rotation": 270},
    "flip.mp4": {"rotation": 0, "hflip": True},
    "odd.mkv": {"codec": "ffv1", "size": (481, 853), "count": 3},
    "odd444.mp4": {"pix_fmt": "yuv444p", "size": (481, 853), "count": 3},
    "deep.mp4": {"pix_fmt": "yuv420p10le"},
    "deep.mov": {"codec": "prores_ks", "pix_fmt": "yuv422p10le"},
    "422.mp4": {"pix_fmt": "yuv422p"},
    "444.mp4": {"pix_fmt": "yuv444p"},
    "rgb.mkv": {"codec": "ffv1", "pix_fmt": "bgr0"},
    "deeprgb.mkv": {"codec": "ffv1", "pix_fmt": "gbrp12le"},
    "rgb.avi": {"codec": "rawvideo", "pix_fmt": "bgr24"},
    "alpha.mov": {"codec": "prores_ks", "pix_fmt": "yuva444p10le"},
    "gray.mkv": {"codec": "ffv1", "pix_fmt": "gray"},
    "deepgray.mkv": {"codec": "ffv1", "pix_fmt": "gray16le"},
    "one.mp4": {"count": 1},
}


def make(folder: Path, name: str, **more) -> tuple[Path, list[av.VideoFrame], dict]:
    asked = {**CASES[name], **more}
    height, width = asked.pop("size", (48, 64))
    shown = pictures(asked.pop("count", 6), height, width)
    if asked.get("codec", "libx264") == "libx264":
        asked["options"] = {"qp": "0", **asked.get("options", {})}
        if asked.get("pix_fmt", "yuv420p").startswith(("yuv422", "yuv444")) or "10" in asked.get("pix_fmt", ""):
            asked["options"].pop("bf", None)
    path = folder / name
    return path, write_clip(path, shown, **asked), CASES[name]


def long_clip(path: Path, count: int = 100, **more) -> None:
    write_clip(path, pictures(count, 64, 96), options={"g": "10", "qp": "10"}, **more)
