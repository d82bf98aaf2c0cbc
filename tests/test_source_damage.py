"""Sources that are cut short, damaged, missing or no video: what is there comes out, the rest is one clear line."""

from __future__ import annotations

import itertools
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import pictures, write_clip
from sourceclips import long_clip

from vidrase.errors import DecodeError, SourceNotFound, UnsupportedSource
from vidrase.source import open_random, open_source
from vidrase.source.timeline import Timeline


@pytest.mark.parametrize("name", ["cut.mkv", "cut.mp4"])
def test_a_truncated_video_gives_what_is_there_and_says_so(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    long_clip(path, mux={"movflags": "+faststart"} if name.endswith("mp4") else {})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    said: list[str] = []
    with open_source(path, note=said.append) as source:
        first, second = len(list(source)), len(list(source))
    assert 30 < first == second < 90
    assert sum("ended early, at " in text and " s of 4.00 s" in text for text in said) == 1


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


@pytest.mark.parametrize("other", [{"size": (64, 96)}, {"pix_fmt": "yuv444p"}], ids=["size", "pixels"])
def test_a_clip_ends_where_its_size_or_pixel_format_changes_and_says_so(other: dict, tmp_path: Path) -> None:
    def stream(size: tuple[int, int] = (48, 64), pix_fmt: str = "yuv420p") -> bytes:
        path = tmp_path / "part.h264"
        write_clip(path, pictures(4, *size), pix_fmt=pix_fmt)
        return path.read_bytes()

    (tmp_path / "two.h264").write_bytes(stream() + stream(**other))
    said: list[str] = []
    with open_source(tmp_path / "two.h264", note=said.append) as source:
        assert [frame.size for frame in source] == [(48, 64)] * 4
        assert len(list(source)) == 4  # both passes see the same
        assert not source.damage  # what the decoder held beyond the change is not lost
    change = "from 64x48 to 96x64" if "size" in other else "from yuv420p to yuv444p"
    changes = [text for text in said if "changes" in text]
    assert len(changes) == 1
    assert f"changes {change} at 0.16 s (frame 4): the frames before are done, the rest is left out" in changes[0]
    with (
        open_source(tmp_path / "two.h264", strict=True) as source,
        pytest.raises(DecodeError, match=f"changes {change}"),
    ):
        list(source)


def test_missing_and_stumbling_clocks_are_repaired_and_reported(tmp_path: Path) -> None:
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
