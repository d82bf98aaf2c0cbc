"""One contract, every kind of file: each frame with its own time and samples, and what the file says about them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from clips import pictures, to_av, write_clip
from sourceclips import CASES, make

from vidrase.avplanes import read_planes
from vidrase.frames import UPRIGHT, Frame, Orientation
from vidrase.imagemeta import ImageNative
from vidrase.source import open_random, open_source


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


def test_tags_are_reported_only_when_the_file_has_them(tmp_path: Path) -> None:
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
