"""How a source behaves: early stops, pipes, URLs, and frames in any order."""

from __future__ import annotations

import functools
import gc
import http.server
import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from clips import pictures, write_clip
from PIL import Image
from sourceclips import TB, long_clip, make

from vidrase.errors import OptionError, SourceError, SourceNotFound, UnsupportedSource
from vidrase.live.address import address_of
from vidrase.sink import default_output
from vidrase.source import open_random, open_source, video


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


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_that_nobody_writes_to_is_given_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceNotFound, match=r"nothing came from .*pipe for 0.1 s; .*--wait"):
        open_source(tmp_path / "pipe", wait=0.1)
    reading, writing = os.pipe()
    code = "import sys; from vidrase.source import open_source\ntry: open_source('-', wait=0.1)\nexcept OSError as e: print(e)"
    done = subprocess.run([sys.executable, "-c", code], stdin=reading, capture_output=True, text=True, check=True)
    os.close(reading), os.close(writing)
    assert "nothing came from standard input for 0.1 s" in done.stdout


def test_a_folder_called_like_a_picture_is_none(tmp_path: Path) -> None:
    (tmp_path / "x.png").mkdir()
    with pytest.raises(UnsupportedSource, match="holds no pictures"):
        open_source(tmp_path)
    for name in ("a.png", "b.png"):
        Image.fromarray(pictures(1)[0]).save(tmp_path / name)
    with open_source(tmp_path) as source:
        assert source.info.frame_names == ("a.png", "b.png")


@pytest.mark.parametrize(
    "where", ["http://[::1", "http://[", "http://a]b/c.mp4", "http://host:port/c", "http://h:99999999/", "file://["]
)
def test_what_is_no_address_is_said(where: str) -> None:
    for ask in (open_source, default_output, address_of):
        with pytest.raises(UnsupportedSource, match="is no address") as caught:
            ask(where)
        assert "\n" not in str(caught.value)
