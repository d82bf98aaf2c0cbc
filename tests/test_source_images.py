"""Stills and folders of frames: pixels as stored, orientation, depth, and everything the sink must put back."""

from __future__ import annotations

import io
import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import synth
from clips import pictures
from PIL import Image, ImageCms, PngImagePlugin

from vidrase.bench.inputs.heic import write_grid
from vidrase.eraser import erase
from vidrase.errors import DecodeError, DependencyError, OptionError, UnsupportedSource
from vidrase.frames import UPRIGHT, Frame, Orientation
from vidrase.imagemeta import ImageNative
from vidrase.source import open_source, picture

PICTURE = pictures(1, 45, 67)[0]
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def read(path: Path) -> tuple[Frame, tuple[str, ...]]:
    with open_source(path) as source:
        (frame,) = source
        assert source.info.kind == "image"
        assert (source.info.frame_count, frame.index, frame.pts) == (1, 0, 0)
        assert len(list(source)) == 1
        return frame, source.info.notes


def native(frame: Frame) -> ImageNative:
    assert isinstance(frame.native, ImageNative)
    return frame.native


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp", ".ppm", ".tga"])
def test_lossless_formats_give_the_pixels(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"still{suffix}"
    Image.fromarray(PICTURE).save(path, **({"lossless": True} if suffix == ".webp" else {}))
    frame, notes = read(path)
    assert np.array_equal(np.stack(frame.planes, 2), PICTURE)
    assert np.array_equal(frame.rgb(), PICTURE)
    assert (native(frame).name, native(frame).lossless, notes) == (path.name, True, ())


@pytest.mark.parametrize(("mode", "name"), [("L", "gray"), ("LA", "ya8"), ("RGBA", "rgba")])
def test_grey_and_alpha_stay(mode: str, name: str, tmp_path: Path) -> None:
    image = Image.fromarray(PICTURE).convert(mode)
    if mode.endswith("A"):
        image.putalpha(Image.fromarray(PICTURE[..., 0]))
    image.save(tmp_path / "a.png")
    frame, notes = read(tmp_path / "a.png")
    assert frame.layout.name == name
    assert np.array_equal(np.stack(frame.planes, 2).squeeze(), np.asarray(image))
    assert notes == ()


@pytest.mark.parametrize(("subsampling", "name"), [(0, "yuvj444p"), (1, "yuvj422p"), (2, "yuvj420p"), ("L", "gray")])
def test_jpeg_keeps_its_own_planes_and_tables(subsampling: int | str, name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    image = Image.fromarray(PICTURE)
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    more = {} if subsampling == "L" else {"subsampling": subsampling}
    image = image.convert("L") if subsampling == "L" else image
    image.save(
        path, quality=91, progressive=True, exif=exif, icc_profile=SRGB, dpi=(300, 300), comment=b"hello", **more
    )
    frame, _ = read(path)
    kept = native(frame)
    assert (frame.layout.name, frame.layout.full_range) == (name, True)
    assert subsampling == "L" or frame.layout.matrix == "bt601"
    theirs = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert np.abs(frame.rgb() - theirs).mean() < 2.5  # they interpolate chroma, we do not
    luma = np.asarray(Image.open(path).convert("L") if subsampling == "L" else Image.open(path).convert("YCbCr"))
    assert np.abs(frame.planes[0].astype(int) - (luma if luma.ndim == 2 else luma[..., 0])).max() <= 2
    assert Image.open(io.BytesIO(path.read_bytes())).quantization == {k: list(v) for k, v in kept.quantisation.items()}
    assert kept.subsampling == (-1 if subsampling == "L" else subsampling)
    assert (kept.format, kept.progressive, kept.lossless) == ("JPEG", True, False)
    assert (kept.icc, kept.dpi, kept.comment) == (SRGB, (300, 300), b"hello")
    again = Image.Exif()
    again.load(kept.exif)
    assert again[0x010F] == "Maker"


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_stay(suffix: str, channels: int, tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (21, 33, channels), dtype=np.uint16)
    path = tmp_path / f"deep{suffix}"
    cv2.imwrite(str(path), deep)  # BGR(A)
    frame, notes = read(path)
    expected = deep[..., [0] if channels == 1 else [2, 1, 0, 3][:channels]]
    assert (frame.layout.bits, native(frame).bits) == (16, 16)
    assert np.array_equal(np.stack(frame.planes, 2), expected)
    assert notes == ()


@pytest.mark.parametrize("tag", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_exif_orientation_turns_the_view_not_the_pixels(tag: int, suffix: str, tmp_path: Path) -> None:
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :16], upright[:16, 32:] = (255, 255, 255), (128, 128, 128)
    undo = {
        2: "FLIP_LEFT_RIGHT",
        3: "ROTATE_180",
        4: "FLIP_TOP_BOTTOM",
        5: "TRANSPOSE",
        6: "ROTATE_90",
        7: "TRANSVERSE",
    }
    undo[8] = "ROTATE_270"
    image = Image.fromarray(upright)
    image = image.transpose(Image.Transpose[undo[tag]]) if tag in undo else image
    exif = Image.Exif()
    exif[0x0112] = tag
    path = tmp_path / f"turned{suffix}"
    image.save(path, exif=exif, **({"lossless": True} if suffix == ".webp" else {}))
    frame, _ = read(path)
    assert frame.size == (image.height, image.width)
    assert frame.displayed_size == (32, 48)
    assert np.abs(frame.rgb().astype(int) - upright).max() <= 4
    assert (frame.orientation == UPRIGHT) == (tag == 1)
    kept = Image.Exif()
    kept.load(native(frame).exif)
    assert kept[0x0112] == tag


def test_deep_grey_with_alpha_and_deep_ppm_stay(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (21, 34, 3), dtype=np.uint16)
    (tmp_path / "deep.ppm").write_bytes(b"P6\n# words\n34 21\n65535\n" + deep.astype(">u2").tobytes())
    frame, _ = read(tmp_path / "deep.ppm")
    assert (frame.layout.name, native(frame).bits) == ("rgb48le", 16)
    assert np.array_equal(np.stack(frame.planes, 2), deep)
    encoder = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 34, 21, "ya16be", Fraction(1, 25)
    sent = av.VideoFrame(34, 21, "ya16be")
    np.frombuffer(sent.planes[0], ">u2").reshape(21, -1)[:, :68] = deep[..., :2].reshape(21, 68)
    (tmp_path / "deep.png").write_bytes(bytes(encoder.encode(sent)[0]))
    frame, _ = read(tmp_path / "deep.png")
    assert frame.layout.name == "ya16le"
    assert np.array_equal(np.stack(frame.planes, 2), deep[..., :2])
    Image.fromarray(deep[..., 0].astype(np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(UnsupportedSource, match="32 bits"):
        open_source(tmp_path / "float.tif")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(deep[..., 0]).save(tmp_path / "turned.tif", exif=turned)
    frame, _ = read(tmp_path / "turned.tif")
    assert frame.orientation == Orientation(1)
    assert np.array_equal(frame.planes[0], deep[..., 0])


def test_what_has_to_be_converted_is_said(tmp_path: Path) -> None:
    image = Image.fromarray(PICTURE)
    image.quantize(16).save(tmp_path / "palette.png")
    frame, notes = read(tmp_path / "palette.png")
    assert (frame.layout.name, native(frame).mode) == ("rgb24", "P")
    assert np.array_equal(frame.rgb(), np.asarray(image.quantize(16).convert("RGB")))
    assert "palette: read as RGB" in notes[0]
    image.convert("CMYK").save(tmp_path / "print.jpg", quality=95)
    frame, notes = read(tmp_path / "print.jpg")
    assert (frame.layout.name, "CMYK: read as RGB" in notes[0]) == ("rgb24", True)
    image.convert("CMYK").save(tmp_path / "odd.jpg", icc_profile=SRGB)  # a profile that cannot be its own
    assert native(read(tmp_path / "odd.jpg")[0]).icc == b""
    image.convert("1").save(tmp_path / "bits.png")
    frame, notes = read(tmp_path / "bits.png")
    assert (frame.layout.name, "1 bit" in notes[0], set(np.unique(frame.planes[0]))) == ("gray", True, {0, 255})
    image.save(tmp_path / "key.png", transparency=(0, 0, 0))
    assert read(tmp_path / "key.png")[0].layout.name == "rgba"
    image.save(tmp_path / "two.tif", save_all=True, append_images=[image])
    assert "holds 2 pictures" in read(tmp_path / "two.tif")[1][0]
    image.save(tmp_path / "two.jpg", "MPO", save_all=True, append_images=[image])
    frame, notes = read(tmp_path / "two.jpg")
    assert (native(frame).format, "holds 2 pictures" in notes[0]) == ("JPEG", True)


def test_metadata_of_png_tiff_and_webp(tmp_path: Path) -> None:
    image = Image.fromarray(PICTURE)
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "Somebody")
    image.save(tmp_path / "a.png", pnginfo=text, icc_profile=SRGB, dpi=(72, 72))
    kept = native(read(tmp_path / "a.png")[0])
    assert (kept.text["Author"], kept.icc, round(kept.dpi[0])) == ("Somebody", SRGB, 72)
    image.save(tmp_path / "a.tif", compression="tiff_lzw", icc_profile=SRGB)
    kept = native(read(tmp_path / "a.tif")[0])
    assert (kept.compression, kept.icc, kept.lossless) == ("tiff_lzw", SRGB, True)
    image.save(tmp_path / "a.webp", quality=80, icc_profile=SRGB)
    kept = native(read(tmp_path / "a.webp")[0])
    assert (kept.lossless, kept.icc) == (False, SRGB)


def test_broken_and_oversized_stills_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for suffix in (".jpg", ".png"):
        path = tmp_path / f"cut{suffix}"
        Image.fromarray(pictures(1, 200, 300)[0]).save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(DecodeError, match=rf"cut\{suffix} is damaged") as caught:
            open_source(path)
        assert "\n" not in str(caught.value)
    (tmp_path / "fake.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"rubbish" * 20)
    with pytest.raises((UnsupportedSource, DecodeError), match="fake"):
        open_source(tmp_path / "fake.png")
    before = Image.MAX_IMAGE_PIXELS
    monkeypatch.setattr(picture, "MAX_PIXELS", 1000)
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    with pytest.raises(UnsupportedSource, match="million"):
        open_source(tmp_path / "a.png")
    assert before == Image.MAX_IMAGE_PIXELS


# ---- folders ----


def write_frames(folder: Path, names: list[str], size: tuple[int, int] = (48, 64)) -> None:
    folder.mkdir(exist_ok=True)
    for name, shown in zip(names, pictures(len(names), *size), strict=True):
        Image.fromarray(shown).save(folder / name, **({"quality": 95} if name.endswith("jpg") else {}))


def test_a_folder_is_a_video_in_natural_order(tmp_path: Path) -> None:
    names = [f"frame{k}.png" for k in range(1, 13)]
    write_frames(tmp_path / "in", names)
    (tmp_path / "in" / ".hidden.png").write_bytes(b"")
    (tmp_path / "in" / "Thumbs.db").write_bytes(b"x")
    expected = pictures(12)
    for where in (tmp_path / "in", tmp_path / "in" / "*.png", tmp_path / "in" / "frame%d.png", f"{tmp_path}/in/frame*"):
        with open_source(where, frame_rate=Fraction(30000, 1001)) as source:
            info = source.info
            assert (info.kind, info.path, info.frame_count) == ("frames", tmp_path / "in", 12)
            assert (info.frame_rate, info.time_base) == (Fraction(30000, 1001), Fraction(1001, 30000))
            assert info.frame_names == tuple(names)
            for _ in range(2):
                frames = list(source)
                assert [native(f).name for f in frames] == names
                assert [(f.index, f.pts, f.duration) for f in frames] == [(k, k, 1) for k in range(12)]
                assert all(np.array_equal(f.rgb(), p) for f, p in zip(frames, expected, strict=True))
    with open_source(tmp_path / "in" / "frame?.png") as source:
        assert source.info.frame_count == 9
        assert source.info.frame_rate == 25
    with pytest.raises(OptionError, match="frame rate"):
        open_source(tmp_path / "in", frame_rate=Fraction(0))


def test_jpeg_frames_keep_their_planes(tmp_path: Path) -> None:
    write_frames(tmp_path / "in", ["a.jpg", "b.jpg"])
    Image.fromarray(pictures(1)[0]).convert("L").save(tmp_path / "in" / "c.jpg")
    with open_source(tmp_path / "in") as source:
        frames = list(source)
    assert {f.layout.name for f in frames} == {"yuvj420p"}
    assert native(frames[0]).quantisation
    with av.open(str(tmp_path / "in" / "a.jpg")) as container:
        theirs = next(container.decode(video=0)).to_ndarray()
    assert np.array_equal(frames[0].planes[0], theirs[:48])
    assert set(np.unique(frames[2].planes[1])) == {128}


def test_frames_that_do_not_fit_are_named(tmp_path: Path) -> None:
    write_frames(tmp_path / "in", ["1.png", "2.png"])
    write_frames(tmp_path / "in", ["3.png"], (40, 64))
    with open_source(tmp_path / "in") as source, pytest.raises(DecodeError, match=r"3\.png is 64x40, 1\.png is 64x48"):
        list(source)
    Image.fromarray(pictures(1)[0]).convert("RGBA").save(tmp_path / "in" / "3.png")
    with (
        open_source(tmp_path / "in") as source,
        pytest.raises(DecodeError, match=r"3\.png .*\(rgba\).*1\.png \(rgb24\)"),
    ):
        list(source)
    Image.fromarray(pictures(1)[0]).convert("L").save(tmp_path / "in" / "3.png")
    with open_source(tmp_path / "in") as source:
        assert [f.layout.name for f in source] == ["rgb24"] * 3
    (tmp_path / "in" / "2.png").write_bytes(b"")
    with open_source(tmp_path / "in") as source, pytest.raises(UnsupportedSource, match=r"2\.png is empty"):
        list(source)


def test_orientation_names() -> None:
    square = np.arange(6).reshape(2, 3)
    assert np.array_equal(Orientation(1).to_display(square), [[3, 0], [4, 1], [5, 2]])


def test_a_photograph_in_tiles_is_read_whole(tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif")
    shown = cv2.resize(synth.clip(1, 64, 96)[0][0], (256, 192), interpolation=cv2.INTER_CUBIC)
    write_grid(tmp_path / "photo.heic", shown, 2, 2)
    with open_source(tmp_path / "photo.heic") as source:
        (frame,) = source
        assert source.info.kind == "image"
    assert frame.size == (192, 256)
    assert float(np.abs(frame.rgb().astype(int) - shown).mean()) < 6
    mask = np.zeros((192, 256), np.uint8)
    mask[80:110, 110:150] = 255  # where the four tiles meet
    cv2.imwrite(str(tmp_path / "m.png"), mask)
    erase(tmp_path / "photo.heic", mask=tmp_path / "m.png", dilate=0)
    made = cv2.imread(str(tmp_path / "photo_erased.png"))[..., ::-1]
    assert np.array_equal(made[mask == 0], frame.rgb()[mask == 0])
    assert not np.array_equal(made, frame.rgb())


def test_without_its_library_heic_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(90))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(DependencyError, match=r"photo\.heic is HEIC, .* pip install pillow-heif"):
        open_source(tmp_path / "photo.heic")


def test_a_damaged_heic_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif")
    write_grid(tmp_path / "a.heic", synth.clip(1, 128, 128)[0][0], 1, 2)
    data = (tmp_path / "a.heic").read_bytes()
    for n, broken in enumerate((data[: len(data) * 2 // 3], data[:200], data[:400] + bytes(len(data) - 400))):
        path = tmp_path / f"{n}.heic"
        path.write_bytes(broken)
        with pytest.raises((DecodeError, UnsupportedSource)) as caught:
            open_source(path)
        assert "\n" not in str(caught.value)
        assert path.name in str(caught.value)
