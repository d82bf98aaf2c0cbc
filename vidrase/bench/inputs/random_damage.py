"""Files cut off, with bytes flipped, of noise or of another kind than their name: what chance does, from fixed seeds.

Nobody can say beforehand what is left of such a file. So a case allows a result or a refusal, but a result holds every frame
or a line says that some are missing.
"""

from __future__ import annotations

import functools
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np

from vidrase.bench.inputs.case import SIZE, Case, draw_mask
from vidrase.bench.inputs.clips import pictures, write_clip
from vidrase.bench.inputs.heic import write_grid

COUNT = 50  # frames of a clip
VAGUE = {".avi": 1, ".mkv": 13, ".webm": 13, ".flv": 13, ".ts": 13, ".mpg": 13}
"""Frames that may be missing without a word: at the end, where a header says little of it or nothing; AVI numbers its frames."""
SEEDS = 4  # of each kind of damage to each format
CLIPS: dict[str, dict] = {
    "a.mp4": {"audio": True, "options": {"g": "4"}},
    "front.mp4": {"options": {"g": "4"}, "mux": {"movflags": "+faststart"}},
    "a.mov": {"codec": "prores_ks", "pix_fmt": "yuv422p10le"},
    "a.mkv": {"audio": True, "options": {"g": "4"}},
    "a.webm": {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime"}},
    "a.ts": {"audio": True, "options": {"g": "4"}},
    "a.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p", "audio": True},
    "a.flv": {"options": {"g": "4", "bf": "0"}},
    "a.mpg": {"codec": "mpeg2video", "options": {"g": "4"}},
    "a.gif": {"codec": "gif"},
}
PICTURES = ("a.png", "a.jpg", "a.webp", "a.tif", "a.bmp", "a.heic")
RESULTS = {".gif": ".mp4", ".flv": ".mkv", ".ts": ".mkv", ".mpg": ".mkv", ".webm": ".mkv", ".heic": ".png"}
FAST = ["--quality", "fast", "--time", "0-0.1"]
Lost = Callable[[bytes, random.Random], bytes]


@functools.cache
def whole(name: str) -> bytes:
    """The file as it was before anything happened to it."""
    shown = pictures(COUNT, *SIZE)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        if name == "a.heic":
            write_grid(path, pictures(1, 128, 192)[0], 2, 2)
        elif name in PICTURES:
            path.write_bytes(cv2.imencode(path.suffix, shown[0])[1].tobytes())
        elif name == "a.gif":
            write_clip(path, [av.VideoFrame.from_ndarray(one).reformat(format="rgb8") for one in shown], **CLIPS[name])
        else:
            write_clip(path, shown, **CLIPS[name])
        return path.read_bytes()


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: int(len(data) * rng.uniform(0.05, 0.98))]


def _flipped(data: bytes, rng: random.Random) -> bytes:
    held = bytearray(data)
    for _ in range(rng.choice((1, 4, 16, 64))):
        held[rng.randrange(len(held))] ^= 1 << rng.randrange(8)
    return bytes(held)


def _flipped_head(data: bytes, rng: random.Random) -> bytes:
    held = bytearray(data)
    for _ in range(rng.choice((1, 3, 9))):
        held[rng.randrange(min(len(held), 512))] = rng.randrange(256)
    return bytes(held)


def _holed(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    return data[:start] + bytes(min(rng.randrange(16, 4096), len(data) - start)) + data[start + 4096 :]


def _written(name: str, data: Callable[[], bytes]) -> Callable[[Path], object]:
    def build(folder: Path) -> None:
        (folder / name).write_bytes(data())
        if name == "a.heic":
            draw_mask(folder / "mask.png", (128, 192))

    return build


def _damaged() -> Iterator[Case]:
    kinds: dict[str, Lost] = {"cut off": _cut, "flipped": _flipped, "head": _flipped_head, "holed": _holed}
    for name in (*CLIPS, *PICTURES):
        suffix = name[name.index(".") :]
        to = "o" + RESULTS.get(suffix, suffix)
        frames = COUNT if name in CLIPS else 1
        words = [name, "--mask", "mask.png", *FAST, "-o", to]
        for kind, lose in kinds.items():
            for seed in range(SEEDS):
                called = f"{kind} {seed} {name}"

                def data(name: str = name, lose: Lost = lose, called: str = called) -> bytes:
                    return lose(whole(name), random.Random(called))

                told = _told(suffix, kind, frames)
                yield Case(called, words, _written(name, data), None, makes=(to,), frames=told)
        whole_of = functools.partial(whole, name)
        yield Case(f"undamaged {name}", [*words, "--strict"], _written(name, whole_of), makes=(to,), frames=frames)


def _told(suffix: str, kind: str, frames: int) -> int:
    """How many frames a result without a word about losses must hold."""
    if kind == "head":
        return 0  # a header may then say another number of frames, and nothing tells that some are missing
    if kind == "flipped" or suffix not in VAGUE:
        return frames
    return max(frames - VAGUE[suffix], 0)


def _other_than_named() -> Iterator[Case]:
    junk: dict[str, Callable[[], bytes]] = {
        "nothing": lambda: b"",
        "zeros": lambda: bytes(5000),
        "noise": lambda: random.Random(1).randbytes(5000),
        "text": lambda: b"hello, this is no video\n" * 50,
        "a page": lambda: b"<!DOCTYPE html><html><body>404 not found</body></html>",
    }
    for what, data in junk.items():
        for name in ("x.mp4", "x.mkv", "x.ts", "x.png", "x.jpg", "x.heic", "x.gif"):
            # an FFmpeg that looks hard enough finds a stream in noise: one that gives no frame
            yield Case(f"{what} called {name}", [name, "--mask", "mask.png"], _written(name, data), 1)
            mask = ["in.mp4", "--mask", name]
            yield Case(f"{what} called {name} as mask", mask, _written(name, data), 1)
    for is_one, name in (
        ("a.png", "x.mp4"),
        ("a.jpg", "x.png"),
        ("a.mkv", "x.mp4"),
        ("a.mp4", "x.avi"),
        ("a.ts", "x.mkv"),
    ):
        kept = functools.partial(whole, is_one)
        to = "o.png" if is_one in PICTURES else "o.mp4"
        words = [name, "--mask", "mask.png", *FAST, "-o", to]
        yield Case(f"{is_one} called {name}", words, _written(name, kept), makes=(to,), frames=1)


def _masks() -> Iterator[Case]:
    def drawn(name: str) -> bytes:
        pixels = np.zeros(SIZE, np.uint8)
        pixels[16:24, 20:32] = 255
        if name == "m.png":
            return cv2.imencode(".png", pixels)[1].tobytes()
        with tempfile.TemporaryDirectory() as folder:
            shown = [np.repeat(pixels[..., None], 3, 2)] * 6
            write_clip(Path(folder) / name, shown, codec="ffv1", pix_fmt="gray")
            return (Path(folder) / name).read_bytes()

    for name in ("m.png", "m.mkv"):
        for kind, lose in {"cut off": _cut, "flipped": _flipped, "head": _flipped_head}.items():
            for seed in range(SEEDS):
                called = f"mask {kind} {seed} {name}"

                def data(name: str = name, lose: Lost = lose, called: str = called) -> bytes:
                    return lose(drawn(name), random.Random(called))

                words = ["in.mp4", "--mask", name, *FAST, "-o", "o.mp4"]
                yield Case(called, words, _written(name, data), None, makes=("o.mp4",), frames=6)


def _folders() -> Iterator[Case]:
    def frames(folder: Path) -> None:
        (folder / "fr").mkdir()
        for number, picture in enumerate(pictures(4, *SIZE)):
            (folder / f"fr/{number}.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())

    bad: dict[str, Callable[[], bytes]] = {
        "an empty one": lambda: b"",
        "half of one": lambda: cv2.imencode(".png", pictures(1, *SIZE)[0])[1].tobytes()[:900],
        "text": lambda: b"no picture",
        "a larger one": lambda: cv2.imencode(".png", pictures(1, 96, 128)[0])[1].tobytes(),
    }
    for what, data in bad.items():
        for number in (0, 2, 3):

            def build(folder: Path, data: Callable[[], bytes] = data, number: int = number) -> None:
                frames(folder)
                (folder / f"fr/{number}.png").write_bytes(data())

            words = ["fr", "--mask", "mask.png", *FAST, "-o", "o.mp4"]
            yield Case(f"{what} as frame {number}", words, build, None, makes=("o.mp4",), frames=4)


def _selections() -> Iterator[Case]:
    kept = b'{"format": "vidrase-selection", "version": 1, "clip": {"name": "in.mp4", "width": 64, "height": 48, "frames": 6,'
    kept += b' "seconds": 0.2}, "tracks": [], "remove": [], "keep": []}'
    for seed in range(12):
        data = (_cut, _flipped)[seed % 2](kept, random.Random(seed))
        words = ["in.mp4", "--selection", "s.json", "-o", "o.mp4"]
        yield Case(f"selection {seed}", words, _written("s.json", functools.partial(bytes, data)), 2)


def _lists() -> Iterator[Case]:
    leads = {
        "out": b"ffconcat version 1.0\nfile '/etc/hostname'\n",
        "up": b"ffconcat version 1.0\nfile '../in.mp4'\n",
        "away": b"ffconcat version 1.0\nfile 'http://127.0.0.1:9/a.mp4'\n",
        "to itself": b"ffconcat version 1.0\nfile 'l.ffconcat'\n",
        "to nothing": b"ffconcat version 1.0\nfile 'gone.mp4'\n",
        "nowhere": b"ffconcat version 1.0\n",
        "by another protocol": b"ffconcat version 1.0\nfile 'subfile,,start,0,end,99,,:in.mp4'\n",
        "as a playlist": b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
        "as a playlist up": b"#EXTM3U\n#EXTINF:1,\n../in.mp4\n#EXT-X-ENDLIST\n",
        "as a playlist to nothing": b"#EXTM3U\n#EXTINF:1,\ngone.ts\n#EXT-X-ENDLIST\n",
    }
    for where, data in leads.items():
        name = "l.m3u8" if data.startswith(b"#") else "l.ffconcat"
        words = [name, "--mask", "mask.png", "-o", "o.mp4"]
        code = 1 if where.endswith(("nothing", "nowhere", "itself")) else 2
        yield Case(f"a list that leads {where}", words, _written(name, functools.partial(bytes, data)), code)


def _odd_options() -> Iterator[Case]:
    values = {
        "--codec": ("nosuch", "h264;rm", "aac", "png"),
        "--preset": ("nosuch", "-1"),
        "--pix-fmt": ("nosuch", "pal8", "xyz12le"),
        "--crf": ("-1", "1e9", "999"),
        "--dilate": ("-1", "99999999999", "1.5"),
        "--device": ("cuda:99", "gpu", "cuda:-1"),
        "--precision": ("fp8",),
        "--imgsz": ("0", "-5", "99999999"),
        "--inpainter": ("nosuch",),
        "--inpainter-weights": ("gone.pt", "mask.png"),
        "--flow-weights": ("gone.pth", "mask.png"),
        "--region": ("0,0,0,0", "5000,5000,6000,6000", "9,9,1,1"),
        "--time": ("99-100", "-1-2", "1-1"),
        "--save-masks": ("m.doc",),
        "--mask": ("gone.png", ".", "in.mp4/x.png"),
        "-o": ("o.doc", "o.mp3", "nofolder/o.mp4", "mask.png/o.mp4"),
    }
    for option, given in values.items():
        for value in given:
            words = ["in.mp4", "--mask", "mask.png", *FAST, "-o", "o.mp4", option, value]
            yield Case(f"{option} {value}", words, code=None, makes=("o.mp4",), frames=6)


CASES = [
    *_damaged(),
    *_other_than_named(),
    *_masks(),
    *_folders(),
    *_selections(),
    *_lists(),
    *_odd_options(),
]
