"""Animated WebP, PNG, AVIF and GIF: read as clips with their times and loops, written as what they were."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import pictures
from numpy.typing import NDArray
from PIL import Image

from vidrase.avplanes import layout_named
from vidrase.errors import OptionError
from vidrase.frames import SourceInfo
from vidrase.options import SinkOptions
from vidrase.sink import default_output, open_sink
from vidrase.sink.encoders import choose
from vidrase.source import open_random, open_source

LENGTHS = [40, 100, 30, 130, 250]  # ms
EXACT = {".webp": {"lossless": True, "exact": True}, ".png": {}, ".avif": {"quality": 90, "speed": 10}, ".gif": {}}


def make(path: Path, *, transparent: bool = True, size: tuple[int, int] = (31, 37), loop: int = 3) -> NDArray[np.uint8]:
    """An animation of five frames at `path`; uint8 [T, H, W, 3 or 4] that went into it."""
    shown = np.stack(pictures(len(LENGTHS), *size))
    if transparent:
        alpha = np.full((*shown.shape[:3], 1), 255, np.uint8)
        alpha[:, :, :10] = 70
        shown = np.concatenate([shown, alpha], axis=3)
    first, *others = [Image.fromarray(picture) for picture in shown]
    asked = {"duration": LENGTHS, "loop": loop, **EXACT[path.suffix]}
    first.save(path, save_all=True, append_images=others, **asked)
    return shown


def read(path: Path) -> tuple[list[int], list[NDArray[np.uint8]], object]:
    """(milliseconds that each frame is shown, RGBA pictures, loops) of an animation, as Pillow has it."""
    lengths, shown = [], []
    with Image.open(path) as image:
        for index in range(image.n_frames):  # type: ignore[attr-defined]
            image.seek(index)
            shown.append(np.array(image.convert("RGBA")))
            lengths.append(round(image.info["duration"]))
        return lengths, shown, image.info.get("loop")


def copy(where: Path, to: Path, *, edit: bool = False, **options: object) -> list[str]:
    said: list[str] = []
    with (
        open_source(where, note=said.append) as source,
        open_sink(to, source.info, SinkOptions(**options), note=said.append) as sink,  # type: ignore[arg-type]
    ):
        for frame in source:
            planes = [plane.copy() for plane in frame.planes]
            planes[0][20:25, 20:25] = 9
            sink.write(frame.with_planes(tuple(planes)) if edit else frame)
    return said


@pytest.mark.parametrize("suffix", [".webp", ".png", ".avif", ".gif"])
def test_an_animation_is_a_clip_with_its_times_and_loops(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"moving{suffix}"
    shown = make(path, transparent=suffix != ".gif")
    with open_source(path, note=pytest.fail) as source:
        info, frames = source.info, list(source)
        assert [f.pts for f in source] == [f.pts for f in frames]
    assert (info.kind, info.width, info.height) == ("video", 37, 31)
    assert info.loops == {".gif": 4, ".avif": 0}.get(
        suffix, 3
    )  # a GIF is repeated thrice, and Pillow says nothing of AVIF
    assert info.layout.alpha
    starts = np.cumsum([0, *LENGTHS])
    assert [round(1000 * f.seconds) for f in frames] == list(starts[:-1])
    assert round(1000 * frames[-1].duration * frames[-1].time_base) == LENGTHS[-1]
    if suffix in (".webp", ".png"):
        for frame, put in zip(frames, shown, strict=True):
            assert all(np.array_equal(frame.planes[c], put[..., c]) for c in range(4))
    with open_random(path) as clip:
        assert len(clip) == 5
        assert all(np.array_equal(a, b) for a, b in zip(clip.frame(3).planes, frames[3].planes, strict=True))
        assert clip.seconds(3) == pytest.approx(starts[3] / 1000)


@pytest.mark.parametrize("suffix", [".webp", ".png", ".avif"])
def test_an_animation_stays_one(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"moving{suffix}"
    shown = make(path)
    to = default_output(path)
    assert to.name == f"moving_erased{suffix}"
    copy(path, to, edit=True)
    lengths, made, loop = read(to)
    assert lengths == LENGTHS
    assert loop == (None if suffix == ".avif" else 3)
    for out, put in zip(made, shown, strict=True):
        put = put.copy()
        put[20:25, 20:25, 0] = 9
        if suffix == ".avif":
            assert np.abs(out[..., 3].astype(int) - put[..., 3]).mean() < 4
            assert np.abs(out[..., :3].astype(int) - put[..., :3])[put[..., 3] == 255].mean() < 6
        else:
            assert np.array_equal(out, put)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([path.name, to.name])


def test_a_lossy_webp_stays_lossy_and_keeps_its_profile(tmp_path: Path) -> None:
    first, *others = [Image.fromarray(p) for p in pictures(3)]
    first.save(
        tmp_path / "a.webp", save_all=True, append_images=others, duration=50, quality=80, icc_profile=b"profile" * 40
    )
    copy(tmp_path / "a.webp", tmp_path / "b.webp", edit=True)
    with Image.open(tmp_path / "b.webp") as image:
        assert image.info["icc_profile"] == b"profile" * 40
    assert b"VP8 " in (tmp_path / "b.webp").read_bytes()
    assert read(tmp_path / "b.webp")[0] == [50] * 3


def test_an_animation_becomes_a_video_and_a_gif_another_animation(tmp_path: Path) -> None:
    make(tmp_path / "a.webp")
    said = copy(tmp_path / "a.webp", tmp_path / "a.mp4")
    assert any("4:2:0" in text and "transparency" in text and "38x32" in text for text in said), said
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt, stream.width, stream.height) == ("h264", "yuv420p", 38, 32)
        times = [frame.time for frame in container.decode(video=0)]
    assert np.allclose(times, np.cumsum([0, *LENGTHS])[:-1] / 1000)
    make(tmp_path / "b.gif", transparent=False, loop=0)
    copy(tmp_path / "b.gif", tmp_path / "b.webp")
    assert read(tmp_path / "b.webp")[0] == LENGTHS
    assert read(tmp_path / "b.webp")[2] == 0


def test_a_gif_becomes_a_video_that_every_player_shows(tmp_path: Path) -> None:
    path = tmp_path / "moving.gif"
    shown = make(path, transparent=False)
    copy(path, default_output(path))
    with av.open(str(tmp_path / "moving_erased.mp4")) as container:
        frame = next(container.decode(video=0))
        assert (frame.format.name, frame.width, frame.height) == ("yuv420p", 38, 32)
        assert np.abs(frame.to_ndarray(format="rgb24")[:31, :37].astype(int) - shown[0]).mean() < 12
    said = copy(path, tmp_path / "whole.mp4", pix_fmt="yuv444p")
    assert not any("4:2:0" in text for text in said)


def test_even_animations_are_not_padded() -> None:
    info = SourceInfo("video", None, "a.gif", 64, 48, layout_named("bgra"), Fraction(1, 100), loops=0)
    choice = choose(".mp4", info, SinkOptions())
    assert (choice.pix_fmt, choice.padded) == ("yuv420p", (0, 0))


def test_options_that_no_animation_meets_are_refused(tmp_path: Path) -> None:
    make(tmp_path / "a.webp")
    for options in ({"codec": "vp9"}, {"crf": 20.0}):
        with pytest.raises(OptionError, match=r"does not go with \.webp"):
            copy(tmp_path / "a.webp", tmp_path / "b.webp", **options)
    with pytest.raises(OptionError, match="is one picture"):
        copy(tmp_path / "a.webp", tmp_path / "b.jpg")
    assert [p.name for p in tmp_path.iterdir()] == ["a.webp"]


def test_frames_without_a_length_are_shown_as_browsers_show_them(tmp_path: Path) -> None:
    first, *others = [Image.fromarray(p) for p in pictures(3)]
    first.save(tmp_path / "a.webp", save_all=True, append_images=others, duration=0)
    said: list[str] = []
    with open_source(tmp_path / "a.webp", note=said.append) as source:
        assert [f.pts for f in source] == [0, 100, 200]
        list(source)
    assert len(said) == 1
    assert "100 ms" in said[0]
