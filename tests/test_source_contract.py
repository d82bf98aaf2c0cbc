"""One contract, every way in: files of all kinds, pipes, stills, folders."""

from __future__ import annotations

import functools
import gc
import http.server
import io
import itertools
import os
import sys
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest
from clips import pictures, to_av, write_clip
from PIL import Image

from vidrase.avplanes import read_planes
from vidrase.errors import DecodeError, OptionError, SourceError, SourceNotFound, UnsupportedSource
from vidrase.frames import UPRIGHT, Frame, Orientation
from vidrase.imagemeta import ImageNative
from vidrase.source import open_random, open_source, video
from vidrase.source.timeline import Timeline

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


@pytest.mark.parametrize("name", CASES)
def test_every_frame_comes_with_its_own_time_and_samples(name: str, tmp_path: Path) -> None:
    path, sent, asked = make(tmp_path, name)
    with av.open(str(path)) as container:
        theirs = [(f.pts, f.format.name, read_planes(f)) for f in container.decode(video=0)]
    with open_source(path, note=pytest.fail) as source:
        info = source.info
        frames = list(source)
        again = list(source)
    assert len(frames) == len(sent) == len(theirs)
    assert [f.pts for f in frames] == [pts for pts, _, _ in theirs]
    assert [f.index for f in frames] == list(range(len(sent)))
    if "pts" in asked:
        assert [f.pts * f.time_base for f in frames] == [p * asked["time_base"] for p in asked["pts"]]
    else:
        start = frames[0].pts
        tolerance = info.time_base / 2  # Matroska rounds to milliseconds
        assert all(abs((f.pts - start) * f.time_base - Fraction(f.index, 25)) <= tolerance for f in frames)
    lossless = asked.get("codec") in (None, "libx264", "ffv1", "rawvideo", "libvpx-vp9")
    for frame, (_, form, planes), put, second in zip(frames, theirs, sent, again, strict=True):
        assert frame.layout.name == form == info.layout.name
        assert all(np.array_equal(a, b) for a, b in zip(frame.planes, planes, strict=True))
        assert all(np.array_equal(a, b) for a, b in zip(frame.planes, second.planes, strict=True))
        assert not lossless or all(np.array_equal(a, b) for a, b in zip(frame.planes, read_planes(put), strict=True))
        assert isinstance(frame.native, av.VideoFrame)
        assert (frame.native.pts, frame.native.time_base) == (frame.pts, frame.time_base)
        assert (frame.time_base, frame.orientation) == (info.time_base, info.orientation)
    assert (info.kind, info.path, info.url) == ("video", path, str(path))
    assert (info.height, info.width) == frames[0].size
    assert info.has_audio == asked.get("audio", False)
    if info.frame_count is not None and "pts" not in asked and name != "cfr.ts":
        assert info.frame_count == len(frames)


@pytest.mark.parametrize("quarter", [0, 1, 2, 3])
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_display_matrix_turns_the_picture_the_right_way(quarter: int, mirrored: bool, tmp_path: Path) -> None:
    """The upright picture is stored turned, with the matrix that turns it back."""
    upright = np.zeros((64, 96, 3), np.uint8)
    upright[:32, :32] = (255, 0, 0)  # red top left
    upright[:32, 64:] = (0, 0, 255)  # blue top right
    stored = np.ascontiguousarray(Orientation(quarter, mirrored).to_stored(upright))
    path = tmp_path / "turned.mp4"
    turn = {"rotation": -90 * quarter, "hflip": mirrored} if quarter or mirrored else {}
    write_clip(path, [stored] * 2, pix_fmt="yuv444p", options={"qp": "1"}, **turn)
    with open_source(path) as source:
        assert source.info.orientation == Orientation(quarter, mirrored)
        assert source.info.displayed_size == (64, 96)
        rgb = next(iter(source)).rgb()
    assert rgb.shape == (64, 96, 3)
    assert np.abs(rgb.astype(int) - upright).max() < 12


def test_an_odd_angle_is_left_to_the_file_and_said(tmp_path: Path) -> None:
    write_clip(tmp_path / "askew.mp4", rotation=30)
    with open_source(tmp_path / "askew.mp4") as source:
        assert source.info.orientation == UPRIGHT
        assert "turned by" in source.info.notes[0]


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("a.mp4", {}),
        ("b.mp4", {"pix_fmt": "yuv444p"}),
        ("c.mkv", {"codec": "ffv1", "pix_fmt": "gbrp10le"}),
        ("d.avi", {"codec": "rawvideo", "pix_fmt": "bgr24"}),
        ("e.mov", {"codec": "qtrle", "pix_fmt": "rgb24"}),
        ("f.mp4", {"pix_fmt": "yuv420p10le", "colour": {"colorspace": 9, "color_primaries": 9, "color_trc": 16}}),
        ("g.mp4", {"colour": {"colorspace": 1, "color_range": 2}}),
        ("h.mp4", {"size": (720, 1280), "colour": {}}),
        ("i.avi", {"codec": "mjpeg", "pix_fmt": "yuvj420p", "options": {"qmin": "1", "qmax": "1"}}),
    ],
)
def test_red_is_red(name: str, asked: dict, tmp_path: Path) -> None:
    asked = dict(asked)
    red = np.tile(np.uint8([255, 0, 0]), (*asked.pop("size", (48, 64)), 1))
    write_clip(tmp_path / name, [red] * 2, **{"options": {"qp": "1"} if "codec" not in asked else {}, **asked})
    with open_source(tmp_path / name) as source:
        seen = next(iter(source)).rgb()[20, 30].astype(int)
    assert np.abs(seen - [255, 0, 0]).max() <= 8, seen  # the coarsest: 8-bit limited range through H.264


def test_tags_are_told_only_when_the_file_has_them(tmp_path: Path) -> None:
    tags = {"color_range": 1, "color_primaries": 9, "color_trc": 16, "colorspace": 9}
    write_clip(tmp_path / "hdr.mp4", pix_fmt="yuv420p10le", colour=tags, sar=Fraction(4, 3), codec="libx265")
    with open_source(tmp_path / "hdr.mp4") as source:
        assert source.info.colour == {
            "range": "tv", "primaries": "bt2020", "transfer": "smpte2084", "matrix": "bt2020nc",
        }  # fmt: skip
        assert source.info.layout.matrix == "bt2020"
        assert source.info.sample_aspect_ratio == Fraction(4, 3)
        assert any("HDR (PQ)" in text for text in source.info.notes)
    write_clip(tmp_path / "plain.mp4")
    with open_source(tmp_path / "plain.mp4") as source:
        assert source.info.colour == {}
        assert source.info.layout.matrix == "bt601"
        assert source.info.notes == ()


def test_interlaced_is_noted(tmp_path: Path) -> None:
    write_clip(tmp_path / "i.mp4", options={"x264-params": "tff=1"})
    with open_source(tmp_path / "i.mp4") as source:
        assert source.info.interlaced
        assert "interlaced" in source.info.notes[0]


def test_cover_art_is_not_the_video(tmp_path: Path) -> None:
    write_clip(tmp_path / "v.mkv")
    with av.open(str(tmp_path / "v.mkv")) as old, av.open(str(tmp_path / "cover.mp4"), "w") as new:
        cover = new.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        stream = new.add_stream_from_template(old.streams.video[0])
        picture = to_av(pictures(1, 32, 32)[0], "yuvj420p")
        new.mux(cover.encode(picture))
        new.mux(cover.encode())
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = stream
                new.mux(packet)
    with open_source(tmp_path / "cover.mp4") as source:
        assert (source.info.height, source.info.width) == (48, 64)
        assert len(list(source)) == 6


# ---- damaged and missing ----


def long_clip(path: Path, count: int = 100, **more) -> None:
    write_clip(path, pictures(count, 64, 96), options={"g": "10", "qp": "10"}, **more)


@pytest.mark.parametrize("name", ["cut.mkv", "cut.mp4"])
def test_a_truncated_video_gives_what_is_there_and_says_so(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    long_clip(path, mux={"movflags": "+faststart"} if name.endswith("mp4") else {})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    said: list[str] = []
    with open_source(path, note=said.append) as source:
        first, second = len(list(source)), len(list(source))
    assert 30 < first == second < 90
    assert sum("ended early, at " in text and " s of 4.0 s" in text for text in said) == 1


def test_longer_sound_is_no_early_end(tmp_path: Path) -> None:
    for name in ("a.mkv", "a.mp4", "a.avi"):
        codec = {"codec": "mpeg4"} if name.endswith("avi") else {}
        write_clip(tmp_path / name, audio=True, audio_seconds=3.0, **codec)
        with open_source(tmp_path / name, note=pytest.fail) as source:
            assert len(list(source)) == 6


def test_a_hole_in_the_data_costs_only_its_packets(tmp_path: Path) -> None:
    path = tmp_path / "damaged.mkv"
    write_clip(path, pictures(30, 64, 96), codec="ffv1")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 40000] = os.urandom(40000)
    path.write_bytes(data)
    with open_source(path) as source:
        times = [f.seconds for f in source]
    assert 10 < len(times) < 31
    assert times == sorted(times)


def test_an_mp4_without_its_index_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    long_clip(path)
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(UnsupportedSource, match=r"cut\.mp4 is not a video") as caught:
        open_source(path)
    assert "\n" not in str(caught.value)


def test_what_is_no_video_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("not a video\n" * 40)
    (tmp_path / "noise.mp4").write_bytes(os.urandom(20000))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "readme.md").write_text("hello")
    with av.open(str(tmp_path / "sound.m4a"), "w") as container:
        stream = container.add_stream("aac", rate=48000, layout="mono")
        block = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.float32), format="fltp", layout="mono")
        block.sample_rate = 48000
        container.mux(stream.encode(block))
        container.mux(stream.encode())
    expected = {
        "empty.mp4": (UnsupportedSource, "is empty"),
        "notes.txt": (UnsupportedSource, "is a text file"),
        "noise.mp4": (UnsupportedSource, "is not a video or picture"),
        "sound.m4a": (UnsupportedSource, "holds sound but no video"),
        "folder": (UnsupportedSource, "holds no pictures"),
        "missing.mp4": (SourceNotFound, "no such file"),
        "no_*.png": (SourceNotFound, "no file matches"),
        "x" * 300: (SourceNotFound, "cannot be reached"),
    }
    for name, (kind, text) in expected.items():
        with pytest.raises(kind, match=text) as caught:
            open_source(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert name in str(caught.value)
    with pytest.raises(SourceNotFound, match="empty name"):
        open_source("")
    with pytest.raises(UnsupportedSource, match="is a device"):
        open_source("/dev/null")
    with pytest.raises(SourceNotFound, match="cannot be opened"):
        open_source("http://127.0.0.1:9/clip.mp4")


def test_a_change_of_size_midway_is_an_error(tmp_path: Path) -> None:
    def stream(height: int, width: int) -> bytes:
        path = tmp_path / f"{height}.h264"
        write_clip(path, pictures(4, height, width))
        return path.read_bytes()

    (tmp_path / "two.h264").write_bytes(stream(48, 64) + stream(64, 96))
    with (
        open_source(tmp_path / "two.h264") as source,
        pytest.raises(DecodeError, match=r"is 96x64, the ones before 64x48"),
    ):
        list(source)


def test_missing_and_stumbling_clocks_are_repaired_and_told(tmp_path: Path) -> None:
    write_clip(tmp_path / "raw.h264", pictures(8))
    said: list[str] = []
    with open_source(tmp_path / "raw.h264", note=said.append) as source:
        pts = [f.pts for f in source]
        assert pts == [f.pts for f in source]
    assert len(pts) == 8
    assert all(b > a for a, b in itertools.pairwise(pts))
    clock = Timeline(Fraction(1, 100), Fraction(25))
    stamps = [0, 4, 8, 8, 7, 20, None, 2000, 0, 4]
    assert [clock.place(p, None) for p in stamps] == [0, 4, 8, 9, 10, 20, 24, 2000, 2004, 2008]
    said.clear()
    clock.report(said.append)
    assert [text.split(":")[0] for text in said] == [
        "1 frame without a time stamp",
        "2 frames with a time stamp not after the one before",
        "the clock of the video was set back 1x",
    ]


def test_b_frames_in_avi_get_the_times_in_order(tmp_path: Path) -> None:
    """AVI knows decoding order only: FFmpeg gives 1 3 2 5 4 for frames that are shown 1 2 3 4 5."""
    path = tmp_path / "old.avi"
    write_clip(path, pictures(12), options={"bf": "3", "preset": "medium", "b-adapt": "0"})
    with open_source(path, note=pytest.fail) as source:
        frames = list(source)
    assert [f.pts for f in frames] == list(range(1, 13))
    said: list[str] = []
    with open_random(path, note=said.append) as clip:
        assert np.array_equal(clip.frame(5).planes[0], frames[5].planes[0])
    assert "no usable time stamps" in said[0]


# ---- manners ----


def test_stopping_early_and_closing_let_go(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    long_clip(path)
    source = open_source(path, note=pytest.fail)
    frames = iter(source)
    kept = next(frames)
    source.close()
    source.close()
    assert list(frames) == []
    with pytest.raises(SourceError, match="was closed"):
        iter(source)
    assert kept.planes[0].shape == (64, 96)
    gc.collect()
    if sys.platform == "linux":
        held = [str(fd.readlink()) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
        assert str(path) not in held


def test_two_iterations_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    path, _, _ = make(tmp_path, "cfr.mp4")
    with open_source(path) as source:
        pairs = list(zip(source, source, strict=True))
    assert all(a is not b and a.pts == b.pts for a, b in pairs)


def test_planes_outlive_the_decoder(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    long_clip(path, 30)
    with open_source(path) as source:
        frames = list(source)
    with open_source(path) as source:
        for old, new in zip(frames, source, strict=True):
            assert np.array_equal(old.planes[0], new.planes[0])
    with pytest.raises(ValueError, match="read-only"):
        frames[0].planes[0][0, 0] = 1


def test_a_name_with_colon_and_percent_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _, _ = make(tmp_path, "cfr.mp4")
    odd = tmp_path / "at 10:30 100%d [x].mp4"
    path.rename(odd)
    monkeypatch.chdir(tmp_path)
    for where in (odd, odd.name, odd.as_uri()):
        with open_source(where) as source:
            assert len(list(source)) == 6


def test_standard_input_is_spooled_and_cleaned_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _, _ = make(tmp_path, "cfr.mp4")
    data = path.read_bytes()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data), isatty=lambda: False))
    said: list[str] = []
    with open_source("-", note=said.append) as source:
        assert source.info.url == "standard input"
        copy = source.info.path
        assert copy is not None
        assert [f.pts for f in source] == [f.pts for f in source]
        with open_random(source.info) as clip:
            assert clip.frame(3).index == 3
        assert copy.exists()
    assert not copy.exists()
    assert len(said) == 1
    assert "copy" in said[0]
    for content, message in ((b"", "is empty"), (b"nonsense" * 99, "standard input is not a video")):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content), isatty=lambda: False))
        with pytest.raises(UnsupportedSource, match=message):
            open_source("-")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=None, isatty=lambda: True))
    with pytest.raises(UnsupportedSource, match="terminal"):
        open_source("-")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_works_like_standard_input(tmp_path: Path) -> None:
    Image.fromarray(pictures(1)[0]).save(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe")
    data = (tmp_path / "a.png").read_bytes()
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(data,))
    writer.start()
    with open_source(tmp_path / "pipe") as source:
        assert source.info.kind == "image"
        assert len(list(source)) == 1
    writer.join()


class Quiet(http.server.SimpleHTTPRequestHandler):
    stall = threading.Event()

    def log_message(self, *args: object) -> None:
        pass

    def copyfile(self, source, outputfile) -> None:
        if "stall" not in self.path:
            super().copyfile(source, outputfile)
            return
        outputfile.write(source.read(6000))
        outputfile.flush()
        self.stall.wait(20)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path)))
    Quiet.stall.clear()
    worker = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    worker.start()
    yield tmp_path, f"http://127.0.0.1:{server.server_address[1]}"
    Quiet.stall.set()
    server.shutdown()
    worker.join()
    server.server_close()


def test_urls_are_read_like_files(served: tuple[Path, str]) -> None:
    folder, root = served
    write_clip(folder / "a.mkv")
    with open_source(folder / "a.mkv") as source:
        there = [(f.pts, f.planes) for f in source]
    with open_source(f"{root}/a.mkv") as source:
        assert (source.info.path, source.info.url, source.info.rereadable) == (None, f"{root}/a.mkv", True)
        for _ in range(2):
            for frame, (pts, planes) in zip(source, there, strict=True):
                assert frame.pts == pts
                assert all(np.array_equal(a, b) for a, b in zip(frame.planes, planes, strict=True))
    with pytest.raises(SourceNotFound, match="cannot be opened"):
        open_source(f"{root}/missing.mkv")


def test_a_server_that_falls_silent_is_an_error(served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, root = served
    monkeypatch.setattr(video, "OPEN_SECONDS", 0.8)
    monkeypatch.setattr(video, "READ_SECONDS", 0.3)
    write_clip(folder / "stall.ts", pictures(60, 64, 96), options={"qp": "5"})
    began = time.monotonic()
    with pytest.raises(SourceError, match=r"stall\.ts (broke off|cannot be opened)") as caught:
        list(open_source(f"{root}/stall.ts"))
    assert "\n" not in str(caught.value)
    assert time.monotonic() - began < 8


# ---- random access ----


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("closed.mp4", {"options": {"g": "12", "bf": "3", "preset": "medium"}}),
        ("open.mp4", {"options": {"g": "12", "bf": "3", "preset": "medium", "x264-params": "open-gop=1"}}),
        ("refresh.mp4", {"options": {"g": "12", "x264-params": "intra-refresh=1"}}),
        ("open.mkv", {"options": {"g": "12", "bf": "3", "preset": "medium", "x264-params": "open-gop=1"}}),
        ("cfr.ts", {"options": {"g": "12", "bf": "2"}}),
        (
            "hevc.mp4",
            {"codec": "libx265", "options": {"g": "12", "x265-params": "log-level=none:open-gop=1:bframes=3"}},
        ),
        ("vp9.webm", {"codec": "libvpx-vp9", "options": {"g": "12", "cpu-used": "8", "lag-in-frames": "8"}}),
        ("mpeg4.avi", {"codec": "mpeg4", "options": {"g": "12"}}),
        ("raw.h264", {"options": {"g": "12"}}),
        (
            "vfr.mp4",
            {"time_base": TB, "pts": [500 + 1001 * k + 300 * (k % 3) for k in range(40)], "options": {"g": "12"}},
        ),
    ],
)
def test_random_access_equals_reading_on(name: str, asked: dict, tmp_path: Path) -> None:
    path = tmp_path / name
    write_clip(path, pictures(40, 64, 96), **asked)
    with open_source(path) as source:
        frames = list(source)
    order = [*np.random.default_rng(1).permutation(40), 0, 39, 38, 1, 2, 3]
    with open_random(path) as clip:
        assert len(clip) == 40
        for k in order:
            found = clip.frame(int(k))
            assert (found.index, found.pts, found.seconds) == (k, frames[k].pts, clip.seconds(k))
            assert all(np.array_equal(a, b) for a, b in zip(found.planes, frames[k].planes, strict=True)), k
        for k in (0, 25, 39):
            peek = clip.peek(k, (32, 48))
            assert peek.shape == (32, 48, 3)
            assert (
                np.abs(peek.astype(int) - frames[k].rgb(size=(32, 48))).mean() < 8
            )  # decord has its own YCbCr equations
        for bad in (-1, 40):
            with pytest.raises(OptionError, match="from 0 to 39"):
                clip.frame(bad)


def test_random_access_to_stills(tmp_path: Path) -> None:
    for k, picture in enumerate(pictures(3)):
        Image.fromarray(picture).save(tmp_path / f"{k}.png")
    with open_random(tmp_path) as clip:
        assert len(clip) == 3
        assert np.array_equal(clip.frame(2).rgb(), pictures(3)[2])
        assert clip.seconds(2) == 2 / 25
    with open_random(tmp_path / "1.png") as clip:
        assert len(clip) == 1
        assert clip.peek(0, (24, 32)).shape == (24, 32, 3)
    with pytest.raises(UnsupportedSource, match="only be read once"):
        open_random("-")


# ---- real footage ----


@pytest.mark.data
def test_running_car(data_dir: Path) -> None:
    path = data_dir / "clips" / "moving" / "running_car" / "running_car.mp4"
    with open_source(path, note=pytest.fail) as source:
        assert source.info.has_audio
        assert source.info.frame_count == 292
        count, last = 0, -1
        for frame in source:
            assert isinstance(frame, Frame)
            assert frame.pts > last
            count, last = count + 1, frame.pts
    assert count == 292
    with open_random(path) as clip:
        assert len(clip) == 292


@pytest.mark.data
def test_davis_frames(data_dir: Path) -> None:
    folder = data_dir / "clips" / "davis" / "JPEGImages" / "blackswan"
    with open_source(folder) as source:
        frame = next(iter(source))
        assert isinstance(frame.native, ImageNative)
        assert (frame.native.name, frame.layout.name) == ("00000.jpg", "yuvj420p")
        theirs = cv2.imread(str(folder / "00000.jpg"))[..., ::-1]
        assert np.abs(frame.rgb().astype(int) - theirs).mean() < 2  # they interpolate chroma, we do not
