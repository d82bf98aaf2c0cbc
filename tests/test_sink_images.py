"""Stills and folders of them: format, profile, texts and samples as they came."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import synth
from clips import write_clip
from PIL import Image, ImageCms, PngImagePlugin

from vidrase.errors import OptionError, SinkError
from vidrase.frames import Frame
from vidrase.options import SinkOptions
from vidrase.sink import open_sink
from vidrase.source import open_source

SPOT = np.s_[16:32, 16:32]


def edited(frame: Frame) -> Frame:
    """A grey square painted in."""
    planes = tuple(plane.copy() for plane in frame.planes)
    for number, plane in enumerate(planes[: frame.layout.colour_planes]):
        shift_y, shift_x = frame.layout.shifts(number)
        plane[16 >> shift_y : 32 >> shift_y, 16 >> shift_x : 32 >> shift_x] = 128 << (frame.layout.bits - 8)
    return frame.with_planes(planes)


def through(where: Path, to: Path) -> list[str]:
    notes: list[str] = []
    with (
        open_source(where, note=notes.append) as source,
        open_sink(to, source.info, SinkOptions(), note=notes.append) as sink,
    ):
        for frame in source:
            sink.write(edited(frame))
    return notes


def check_outside(where: Path, to: Path, most: int = 0) -> None:
    old, new = (cv2.imread(str(p), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION) for p in (where, to))
    assert old.shape == new.shape
    assert old.dtype == new.dtype
    difference = np.abs(old.astype(int) - new.astype(int))
    assert difference[SPOT].max() > 0
    difference[SPOT] = 0
    assert difference.max() <= most


PICTURE = synth.texture(48, 64)
ALPHA = np.dstack([PICTURE, np.linspace(0, 255, 48 * 64).reshape(48, 64).astype(np.uint8)])


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".webp"])
def test_lossless_formats_are_exact_outside(tmp_path: Path, suffix: str) -> None:
    where, to = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    Image.fromarray(PICTURE).save(where, **({"lossless": True} if suffix == ".webp" else {}))
    through(where, to)
    check_outside(where, to)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_alpha_stays(tmp_path: Path, suffix: str) -> None:
    where, to = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    Image.fromarray(ALPHA, "RGBA").save(where, **({"lossless": True, "exact": True} if suffix == ".webp" else {}))
    through(where, to)
    assert np.array_equal(np.asarray(Image.open(to))[..., 3], ALPHA[..., 3])


@pytest.mark.parametrize("grey", [False, True])
def test_sixteen_bits_stay(tmp_path: Path, grey: bool) -> None:
    deep = PICTURE.astype(np.uint16) * 257 + 3
    cv2.imwrite(str(tmp_path / "in.png"), deep[..., 0] if grey else deep)
    through(tmp_path / "in.png", tmp_path / "out.png")
    check_outside(tmp_path / "in.png", tmp_path / "out.png")


def test_jpeg_keeps_tables_sampling_exif_and_profile(tmp_path: Path) -> None:
    where, to = tmp_path / "in.jpg", tmp_path / "out.jpg"
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(PICTURE).save(where, quality=83, subsampling=1, exif=exif, icc_profile=profile, dpi=(300, 300))
    through(where, to)
    old, new = Image.open(where), Image.open(to)
    assert new.quantization == old.quantization
    assert new.layer == old.layer
    assert new.getexif()[0x0112] == 6
    assert new.getexif()[0x010F] == "a camera"
    assert new.info["icc_profile"] == profile
    assert new.size == old.size  # stored as it was; the EXIF tag turns it
    luma_old, luma_new = (np.asarray(im.convert("YCbCr"))[..., 0].astype(int) for im in (old, new))
    away = np.ones((48, 64), bool)
    away[8:40, 8:40] = False  # the blocks that the square touches are coded anew
    assert np.abs(luma_old - luma_new)[away].max() <= 3


def test_an_exif_thumbnail_is_left_out_and_said(tmp_path: Path) -> None:
    where, to = tmp_path / "in.jpg", tmp_path / "out.jpg"
    Image.fromarray(synth.texture(24, 32, seed=5)).save(tmp_path / "thumb.jpg")
    thumb = (tmp_path / "thumb.jpg").read_bytes()
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    plain = exif.tobytes()
    tiff = bytearray(plain[6:])
    # Pillow writes no thumbnails: append a first-thumbnail directory (JPEGInterchangeFormat and its length) by hand
    order = "little" if tiff[:2] == b"II" else "big"
    first = int.from_bytes(tiff[4:8], order)
    count = int.from_bytes(tiff[first : first + 2], order)
    link = first + 2 + 12 * count
    at = len(tiff)
    tiff[link : link + 4] = at.to_bytes(4, order)

    def entry(tag: int, value: int) -> bytes:
        return b"".join(n.to_bytes(size, order) for n, size in ((tag, 2), (4, 2), (1, 4), (value, 4)))  # type: ignore[arg-type]

    tiff += (2).to_bytes(2, order) + entry(0x0201, at + 30) + entry(0x0202, len(thumb)) + bytes(4) + thumb
    Image.fromarray(PICTURE).save(where, exif=plain[:6] + bytes(tiff))
    assert thumb[:200] in where.read_bytes()
    notes = through(where, to)
    assert any("thumbnail is left out" in note for note in notes)
    assert thumb[-200:-100] not in to.read_bytes()
    assert Image.open(to).getexif()[0x010F] == "a camera"


def test_png_texts_stay(tmp_path: Path) -> None:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("Author", "me")
    Image.fromarray(PICTURE).save(tmp_path / "in.png", pnginfo=chunks)
    through(tmp_path / "in.png", tmp_path / "out.png")
    assert Image.open(tmp_path / "out.png").text["Author"] == "me"


def test_what_a_format_cannot_hold_is_said(tmp_path: Path) -> None:
    Image.fromarray(ALPHA, "RGBA").save(tmp_path / "in.png")
    assert any("holds no transparency" in note for note in through(tmp_path / "in.png", tmp_path / "out.jpg"))


def test_a_folder_keeps_its_names(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("b2.png", "b10.png", "a.png"):
        Image.fromarray(PICTURE).save(tmp_path / "in" / name)
    through(tmp_path / "in", tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.png", "b10.png", "b2.png"]


def test_a_video_becomes_numbered_pictures_and_back(tmp_path: Path) -> None:
    write_clip(tmp_path / "in.mp4")
    through(tmp_path / "in.mp4", tmp_path / "frames")
    assert len(list((tmp_path / "frames").glob("frame_*.png"))) == 6
    through(tmp_path / "frames", tmp_path / "again.mp4")
    with open_source(tmp_path / "again.mp4") as source:
        assert sum(1 for _ in source) == 6


def test_a_picture_is_no_video(tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "in.png")
    with open_source(tmp_path / "in.png") as source:
        for to, kind in (("out.mp4", OptionError), ("out.gif", OptionError), ("no/out.png", SinkError)):
            with pytest.raises(kind):
                open_sink(tmp_path / to, source.info, SinkOptions(), note=print)
