"""Pictures keep their format, what else is in their files, and every sample outside the hole."""

from __future__ import annotations

import errno
import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from clips import pictures, write_clip
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from vidrase.errors import OptionError, SinkError
from vidrase.frames import Frame
from vidrase.options import SinkOptions
from vidrase.sink import open_sink
from vidrase.sink.exif import without_pictures
from vidrase.source import open_source

HOLE = np.s_[16:32, 16:48]
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

# these tests look at pictures that they leave to Pillow to close
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def edited(frame: Frame) -> Frame:
    """`frame` with the hole painted."""
    planes = tuple(plane.copy() for plane in frame.planes)
    for number, plane in enumerate(planes):
        y, x = frame.layout.shifts(number)
        plane[16 >> y : 32 >> y, 16 >> x : 48 >> x] = 90
    return frame.with_planes(planes)


def through(where: Path, to: Path, edit: bool = True, **options: Any) -> list[str]:
    notes: list[str] = []
    with (
        open_source(where, note=notes.append) as source,
        open_sink(to, source.info, SinkOptions(**options), note=notes.append) as sink,
    ):
        for frame in source:
            sink.write(edited(frame) if edit else frame)
    return notes


def first(path: Path) -> Frame:
    with open_source(path) as source:
        return next(iter(source))


def differ(a: NDArray, b: NDArray) -> NDArray:
    """bool [H, W]: where two pictures are not the same."""
    unlike = a != b
    return unlike.any(2) if unlike.ndim == 3 else unlike


def picture(mode: str = "RGB") -> Image.Image:
    shown = Image.fromarray(pictures(1, 60, 83)[0])
    if "A" in mode:
        shown.putalpha(Image.linear_gradient("L").resize(shown.size))
    return shown.convert(mode)


HOLDS = {
    ".png": ("RGB", "RGBA", "L", "LA"),
    ".tif": ("RGB", "RGBA", "L"),
    ".bmp": ("RGB", "L"),
    ".webp": ("RGB", "RGBA"),
}


@pytest.mark.parametrize(("suffix", "mode"), [(suffix, mode) for suffix, modes in HOLDS.items() for mode in modes])
def test_lossless_formats_change_the_hole_alone(tmp_path: Path, suffix: str, mode: str) -> None:
    where, to = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    picture(mode).save(where, **({"lossless": True, "exact": True} if suffix == ".webp" else {}))
    through(where, to)
    old, new = Image.open(where), Image.open(to)
    assert (old.format, old.mode) == (new.format, new.mode)
    unlike = differ(np.asarray(old), np.asarray(new))
    assert unlike[HOLE].any()
    unlike[HOLE] = False
    assert not unlike.any()


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_stay(tmp_path: Path, suffix: str, channels: int) -> None:
    where, to = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    samples = np.random.default_rng(0).integers(0, 65536, (60, 83, channels), np.uint16)
    cv2.imwrite(str(where), samples[..., 0] if channels == 1 else samples)
    through(where, to)
    old, new = (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in (where, to))
    assert new.dtype == np.uint16
    assert new.shape == old.shape
    unlike = differ(old, new)
    assert unlike[HOLE].all()
    unlike[HOLE] = False
    assert not unlike.any()


@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_a_jpeg_is_as_good_as_untouched_outside_the_hole(tmp_path: Path, subsampling: int) -> None:
    where, to = tmp_path / "in.jpg", tmp_path / "out.jpg"
    picture().save(where, quality=83, subsampling=subsampling, progressive=True)
    through(where, to)
    old, new = Image.open(where), Image.open(to)
    assert old.quantization == new.quantization  # type: ignore[attr-defined]
    assert new.info.get("progressive")
    before, after = first(where), first(to)
    assert before.layout == after.layout
    for number, (a, b) in enumerate(zip(before.planes, after.planes, strict=True)):
        y, x = before.layout.shifts(number)
        error = a.astype(int) - b
        error[16 >> y : 32 >> y, 16 >> x : 48 >> x] = 0
        assert 10 * np.log10(255**2 / max(np.mean(error**2.0), 1e-9)) > 48


def test_what_nothing_was_done_to_is_the_very_file(tmp_path: Path) -> None:
    where, to = tmp_path / "in.jpg", tmp_path / "out.jpg"
    picture().save(where, quality=70)
    through(where, to, edit=False)
    assert to.read_bytes() == where.read_bytes()


def exif_with_thumbnail() -> bytes:
    """A block as cameras write it: name, orientation, place, a maker's note with a preview, a thumbnail."""
    thumbnail = io.BytesIO()
    picture().resize((32, 24)).save(thumbnail, "JPEG")
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Camera"
    exif[ExifTags.Base.Orientation] = 6
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.MakerNote] = b"note" + thumbnail.getvalue() + b"more"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    block = exif.tobytes()
    # Pillow writes no second directory: hang one on by hand, pointer after the entries of the first
    head, order = 6, "<" if block[6:8] == b"II" else ">"
    big = "little" if order == "<" else "big"
    start = int.from_bytes(block[head + 4 : head + 8], big)  # type: ignore[arg-type]
    count = int.from_bytes(block[head + start : head + start + 2], big)  # type: ignore[arg-type]
    pointer = head + start + 2 + 12 * count
    second = len(block) - head
    data = thumbnail.getvalue()

    def number(value: int, size: int) -> bytes:
        return value.to_bytes(size, big)  # type: ignore[arg-type]

    at = second + 2 + 12 * 2 + 4
    entries = number(2, 2)
    for tag, value in ((0x0201, at), (0x0202, len(data))):
        entries += number(tag, 2) + number(4, 2) + number(1, 4) + number(value, 4)
    return block[:pointer] + number(second, 4) + block[pointer + 4 :] + entries + number(0, 4) + data


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".png"])
def test_exif_stays_without_its_pictures(tmp_path: Path, suffix: str) -> None:
    where, to = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    picture().save(where, exif=exif_with_thumbnail(), icc_profile=ICC)
    assert Image.open(where).getexif().get_ifd(ExifTags.IFD.IFD1)
    notes = through(where, to)
    assert sum("small pictures" in note for note in notes) == 1
    new = Image.open(to)
    exif = new.getexif()
    assert exif[ExifTags.Base.Make] == "Camera"
    assert exif[ExifTags.Base.Orientation] == 6
    assert exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"
    note = exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.MakerNote]
    assert note.startswith(b"note")
    assert note.endswith(b"more")
    assert not exif.get_ifd(ExifTags.IFD.IFD1)
    assert new.info["icc_profile"] == ICC
    assert b"\xff\xd8\xff" not in new.info["exif"]
    assert first(to).orientation == first(where).orientation
    assert first(to).size == first(where).size


def test_a_block_of_exif_that_makes_no_sense_is_dropped() -> None:
    assert without_pictures(b"Exif\0\0II*\0\xff\xff\xff\x7f") == (b"", True)
    assert without_pictures(b"") == (b"", True)


def test_another_format_turns_the_picture_for_good(tmp_path: Path) -> None:
    where = tmp_path / "in.jpg"
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    picture().save(where, exif=exif, quality=95)
    for suffix in (".png", ".bmp", ".tif"):
        to = tmp_path / f"out{suffix}"
        through(where, to)
        new = Image.open(to)
        assert new.size == (60, 83)
        assert new.getexif().get(ExifTags.Base.Orientation, 1) == 1
        assert first(to).displayed_size == first(where).displayed_size


def test_what_else_is_in_a_png_stays(tmp_path: Path) -> None:
    where, to = tmp_path / "in.png", tmp_path / "out.png"
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "a walk")
    text.add_itxt("Comment", "Spaziergang – lang")
    picture("RGBA").save(where, pnginfo=text, dpi=(300, 300), icc_profile=ICC)
    through(where, to)
    new = Image.open(to)
    assert new.text == {"Title": "a walk", "Comment": "Spaziergang – lang"}  # type: ignore[attr-defined]
    assert new.info["icc_profile"] == ICC
    assert round(new.info["dpi"][0]) == 300


def test_what_else_is_in_a_sixteen_bit_picture_stays(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Camera"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ISOSpeedRatings] = 200
    source = tmp_path / "deep.png"
    cv2.imwrite(str(source), np.random.default_rng(0).integers(0, 65536, (60, 83, 3), np.uint16))
    for suffix in (".png", ".tif"):
        where, to = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
        with open_source(source) as opened, open_sink(where, opened.info, SinkOptions(), note=print) as sink:
            frame = edited(next(iter(opened)))
            native = frame.native
            for name, value in (("exif", exif.tobytes()), ("icc", ICC), ("dpi", (300.0, 300.0))):
                object.__setattr__(native, name, value)
            sink.write(frame)
        through(where, to)
        new = Image.open(to)
        assert new.getexif()[ExifTags.Base.Make] == "Camera"
        assert new.getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ISOSpeedRatings] == 200
        assert new.info["icc_profile"] == ICC
        assert round(new.info["dpi"][0]) == 300
        assert first(to).layout.bits == 16


def test_a_lossy_webp_stays_lossy_and_close(tmp_path: Path) -> None:
    where, to = tmp_path / "in.webp", tmp_path / "out.webp"
    picture().save(where, quality=80)
    through(where, to)
    assert b"VP8 " in to.read_bytes()[:64]
    error = np.asarray(Image.open(where)).astype(float) - np.asarray(Image.open(to))
    error[8:40, 8:56] = 0
    assert 10 * np.log10(255**2 / np.mean(error**2)) > 38


def test_folders_keep_names_and_formats(tmp_path: Path) -> None:
    where, to = tmp_path / "frames", tmp_path / "done"
    where.mkdir()
    for number, shown in enumerate(pictures(3, 48, 64), 8):
        Image.fromarray(shown).save(where / f"f{number}.jpg", quality=90)
    notes: list[str] = []
    with open_source(where) as source, open_sink(to, source.info, SinkOptions(), note=notes.append) as sink:
        for frame in source:
            sink.write(edited(frame) if frame.index == 1 else frame)
    assert sorted(path.name for path in to.iterdir()) == ["f10.jpg", "f8.jpg", "f9.jpg"]
    assert [(where / n).read_bytes() == (to / n).read_bytes() for n in ("f8.jpg", "f9.jpg", "f10.jpg")] == [
        True,
        False,
        True,
    ]
    assert not notes


def test_frames_of_one_name_are_refused_at_once(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        picture().save(tmp_path / folder / "x.png")
    with pytest.raises(OptionError, match=r"two frames are called x\.png"):
        through(tmp_path / "*" / "x.png", tmp_path / "done")
    assert not (tmp_path / "done").exists()


@pytest.mark.parametrize("pattern", ["", "*.jpg"])
def test_pictures_that_nothing_was_done_to_are_copied(tmp_path: Path, pattern: str) -> None:
    where, to = tmp_path / "frames", tmp_path / "done"
    where.mkdir()
    picture().save(where / "x.jpg", quality=60)
    through(where / pattern, to, edit=False)
    assert (to / "x.jpg").read_bytes() == (where / "x.jpg").read_bytes()


@pytest.mark.parametrize(("rotation", "size"), [(None, (128, 96)), (90, (96, 128))])
def test_a_video_becomes_numbered_pictures(tmp_path: Path, rotation: int | None, size: tuple[int, int]) -> None:
    where, to = tmp_path / "in.mp4", tmp_path / "frames"
    write_clip(where, pictures(3, 96, 128), rotation=rotation)
    to.mkdir()  # an empty folder is no loss
    through(where, to)
    assert sorted(path.name for path in to.iterdir()) == [f"frame_00000{n}.png" for n in (1, 2, 3)]
    assert Image.open(to / "frame_000001.png").size == size


def test_a_folder_becomes_a_video(tmp_path: Path) -> None:
    where, to = tmp_path / "frames", tmp_path / "out.mp4"
    where.mkdir()
    shown = pictures(3, 720, 1280)
    for number, one in enumerate(shown):
        Image.fromarray(one).save(where / f"{number}.png")
    notes = through(where, to, edit=False, crf=1)
    assert any("pixels are converted to yuv444p" in note for note in notes)
    with open_source(to) as source:
        frames = list(source)
        assert source.info.colour == {"range": "tv", "matrix": "bt709"}
    assert len(frames) == 3
    for frame, one in zip(frames, shown, strict=True):
        assert np.abs(frame.rgb().astype(float) - one).mean() < 2.0


def test_folders_are_not_lost(tmp_path: Path) -> None:
    where, to = tmp_path / "frames", tmp_path / "mine"
    for folder in (where, to):
        folder.mkdir()
    picture().save(where / "a.png")
    (to / "letter.txt").write_text("dear")
    for options in ({}, {"overwrite": True}):
        with pytest.raises(OptionError, match=r"holds letter\.txt, which would be lost"):
            through(where, to, **options)
    (to / "letter.txt").rename(tmp_path / "letter.txt")
    picture().save(to / "old.png")
    with pytest.raises(OptionError, match="exists already"):
        through(where, to)
    through(where, to, overwrite=True)
    assert [path.name for path in to.iterdir()] == ["a.png"]
    with pytest.raises(OptionError, match="is the input itself"):
        through(where, where, overwrite=True)
    with pytest.raises(OptionError, match="neither a file nor a folder"):
        through(where, Path("/dev/null"), overwrite=True)


def test_errors_name_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = tmp_path / "in.png"
    picture().save(where)

    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(SinkError, match=r"cannot write .*out\.png: the disk is full"):
        through(where, tmp_path / "out.png")
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["in.png"]
    with pytest.raises(OptionError, match=r"is a picture and .* a video"):
        through(where, tmp_path / "out.mp4")
    with (
        open_source(where) as source,
        pytest.raises(SinkError, match="gave no picture"),
        open_sink(tmp_path / "out.png", source.info, SinkOptions(), note=print),
    ):
        pass
