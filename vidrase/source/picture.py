"""One image file: its samples as stored, and everything else in it that must be there again when it is written.

Invariant: samples are never rounded on the way in. JPEG keeps its own YCbCr planes (FFmpeg's decoder: Pillow would give RGB
from interpolated chroma) and 16-bit files their depth (FFmpeg again: Pillow cuts colour to 8); all else, metadata included,
is Pillow's.
"""

from __future__ import annotations

import io
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, JpegImagePlugin, UnidentifiedImageError

from vidrase.avplanes import layout_named, layout_of, read_planes, readable_like, to_readable
from vidrase.colour import PixelLayout
from vidrase.errors import DecodeError, DependencyError, ShapeError, SourceError, SourceNotFound, UnsupportedSource
from vidrase.frames import Orientation
from vidrase.imagemeta import ImageNative
from vidrase.source.tags import orientation_of_exif

MAX_PIXELS = 400_000_000  # a decoded frame of 1.2 GB; Pillow's own limit of 179 million refuses real panoramas
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF", "TGA", "DIB")
SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff"),
        *(".bmp", ".dib", ".ppm", ".pgm", ".pnm", ".jp2", ".avif", ".tga"),
    }
)
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1")  # stills; hevc and msf1 move
_PLAIN = {"L": "gray", "LA": "ya8", "RGB": "rgb24", "RGBA": "rgba"}  # Pillow's mode -> FFmpeg's name
_DEEP_CODECS = {"PNG": "png", "TIFF": "tiff", "JPEG2000": "jpeg2000", "PPM": "ppm"}
_MAYBE_DEEP = ("JPEG2000", "PPM")  # Pillow does not say how deep they are, and cuts
_EXIF_ORIENTATION = 0x0112
_TIFF_TAGS = (
    269,
    270,
    271,
    272,
    274,
    282,
    283,
    285,
    296,
    305,
    306,
    315,
    316,
    33432,
)  # names, sizes in print, dates, people
_pillow_limit = threading.Lock()


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One decoded image file."""

    planes: tuple[NDArray, ...]
    layout: PixelLayout
    orientation: Orientation
    native: ImageNative
    notes: tuple[str, ...]


def is_heif(head: bytes) -> bool:
    """True when `head`, the first 32 bytes of a file, begin a HEIC still: one picture, mostly cut into tiles."""
    return head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS and b"avif" not in head


def _heif_format(shown: str) -> str:
    """Pillow's name of HEIC, which is a plug-in of its own: FFmpeg knows the tiles of such a picture, not how they lie."""
    try:
        import pillow_heif
    except ImportError as error:
        raise DependencyError(
            f"{shown} is HEIC, which needs a library that is missing ({error}): pip install pillow-heif, or save it as JPEG"
        ) from error
    pillow_heif.register_heif_opener(thumbnails=False)
    return "HEIF"


def _cut_short(data: bytes) -> bool:
    """Whether a file of boxes ends inside one of them."""
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4])
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16])
        elif size == 0:  # to the end of the file, wherever that is
            return False
        at += max(size, 8)
    return at > len(data)


def _known_formats() -> list[str]:
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]  # AVIF came with Pillow 11.3


def animated_formats() -> list[str]:
    """Pillow's names of the formats that may hold an animation."""
    return [name for name in ("GIF", "PNG", "WEBP", "AVIF") if name in _known_formats()]


def read_picture(path: Path, *, name: str | None = None) -> Picture:
    """The image in `path`, pixels as stored.

    Raises SourceNotFound, UnsupportedSource (no image, too large) or DecodeError (broken off).
    """
    shown = name or str(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise SourceNotFound(f"no such file: {shown}") from error
    except OSError as error:
        raise UnsupportedSource(f"{shown} cannot be read: {error.strerror or error}") from error
    if not data:
        raise UnsupportedSource(f"{shown} is empty (0 bytes); expected a picture")
    formats = [_heif_format(shown)] if is_heif(data[:32]) else _known_formats()
    if formats == ["HEIF"] and _cut_short(data):  # its decoder would leave the tiles out that are not there
        raise DecodeError(f"{shown} is damaged: it breaks off")
    with pillow(shown), Image.open(io.BytesIO(data), formats=formats) as image:
        if image.width * image.height > MAX_PIXELS:
            raise UnsupportedSource(
                f"{shown} has {image.width}x{image.height} pixels; expected at most {MAX_PIXELS // 10**6} million"
            )
        native = described(image, data, path.name if name is None else Path(name).name)
        turn = orientation_of_exif(image.getexif().get(_EXIF_ORIENTATION))
        notes: list[str] = []
        if native.pictures > 1:
            notes.append(f"{shown} holds {native.pictures} pictures: only the first is read and written")
        if native.format == "HEIF" and image.info.get("bit_depth", 8) > 8:
            notes.append(f"{shown} has {image.info['bit_depth']} bits a sample: read as 8")
        planes, layout, native = _samples(image, data, native, turn, shown, notes)
    return Picture(planes, layout, turn, native, tuple(notes))


def _samples(
    image: Image.Image, data: bytes, native: ImageNative, turn: Orientation, shown: str, notes: list[str]
) -> tuple[tuple[NDArray, ...], PixelLayout, ImageNative]:
    if native.format == "JPEG" and image.mode in ("L", "RGB", "YCbCr"):
        _complete(image)
        if (frame := _by_ffmpeg(data, "mjpeg")) is not None:
            return read_planes(frame), layout_of(frame), native
    if native.bits > 8 or native.format in _MAYBE_DEEP:
        codec = _DEEP_CODECS.get(native.format)
        if codec is not None and (frame := _by_ffmpeg(data, codec)) is not None:
            layout = layout_of(frame)
            return read_planes(frame), layout, replace(native, bits=layout.bits)
    if native.bits > 8:
        if image.mode.startswith("I;16"):
            image.load()
            deep = np.array(_as_stored(image, image, turn), np.uint16, order="C")
            return (deep,), layout_named("gray16le"), native
        raise UnsupportedSource(
            f"{shown} has {native.bits} bits a sample in a form that cannot be read; save it as PNG"
        )
    plain, native = _plain(image, native, shown, notes)
    samples = _as_stored(plain, image, turn)
    layout = layout_named(_PLAIN[plain.mode])
    if samples.ndim == 2:
        return (np.array(samples, order="C"),), layout, native
    return tuple(np.array(samples[..., channel], order="C") for channel in range(samples.shape[2])), layout, native


def _as_stored(pixels: Image.Image, image: Image.Image, turn: Orientation) -> NDArray:
    """`pixels` (made of `image`) as the file has them: Pillow turns a TIFF, and only a TIFF, when it loads it."""
    turned = image.format == "TIFF" and _EXIF_ORIENTATION not in image.getexif()
    samples = np.asarray(pixels)
    return turn.to_stored(samples) if turned else samples


def _plain(image: Image.Image, native: ImageNative, shown: str, notes: list[str]) -> tuple[Image.Image, ImageNative]:
    """The picture in one of the modes of `_PLAIN`, and what is then still true of it."""
    mode = image.mode
    image.load()
    transparent = image.has_transparency_data
    if mode in _PLAIN and not (transparent and mode in ("L", "RGB")):
        return image, native
    if mode == "1":
        notes.append(f"{shown} has 1 bit a pixel: read as 8-bit grey")
        return image.convert("L"), native
    if mode in ("P", "PA"):
        notes.append(f"{shown} has a palette: read as {'RGBA' if transparent else 'RGB'}")
    elif mode in ("L", "RGB"):
        return image.convert("LA" if mode == "L" else "RGBA"), native  # one colour counts as transparent
    elif mode == "CMYK":
        notes.append(f"{shown} is CMYK: read as RGB")
        if native.icc:
            converted = _cmyk_by_profile(image, native.icc)
            if converted is not None:
                return converted, replace(
                    native, icc=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
                )
        return image.convert("RGB"), replace(native, icc=b"")
    elif mode in ("F", "I"):
        raise UnsupportedSource(f"{shown} has samples of 32 bits; expected 8 or 16, so convert it first")
    else:
        notes.append(f"{shown} is {mode}: read as {'RGBA' if transparent else 'RGB'}")
    return image.convert("RGBA" if transparent else "RGB"), native


def _cmyk_by_profile(image: Image.Image, icc: bytes) -> Image.Image | None:
    try:
        ours = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        return ImageCms.profileToProfile(image, ours, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return None


def _complete(image: Image.Image) -> None:
    """Raise OSError when a JPEG breaks off. FFmpeg would paint the rest grey; a draft at 1/8 of the size is quick."""
    image.draft(image.mode, (image.width // 8, image.height // 8))
    image.load()


def _by_ffmpeg(data: bytes, codec: str) -> av.VideoFrame | None:
    """The one frame in `data`; None when FFmpeg cannot make planes of it without rounding."""
    try:
        decoder: Any = av.CodecContext.create(codec, "r")
        decoder.thread_count = 1  # frame threads would only hold the frame back
        frames = decoder.decode(av.Packet(data)) or decoder.decode(None)
        if not frames or frames[0].is_corrupt or not readable_like(frames[0].format.name)[1]:
            return None
        return to_readable(frames[0])
    except (av.FFmpegError, OSError, ShapeError, ValueError):
        return None


def described(image: Image.Image, data: bytes, name: str) -> ImageNative:
    """What the file `data` holds besides the samples of `image`, which Pillow opened from it."""
    info: Any = image.info
    kind = "JPEG" if image.format == "MPO" else image.format or ""  # MPO: a JPEG with more behind it
    tables = getattr(image, "quantization", None) or {}
    subsampling = -1
    if kind == "JPEG" and len(getattr(image, "layer", ())) == 3:
        subsampling = JpegImagePlugin.get_sampling(image)
    bits = _bits(image, data)
    dpi = info.get("dpi")
    comment = info.get("comment", b"")
    text = {key: str(value) for key, value in getattr(image, "text", {}).items()} if kind == "PNG" else {}
    compression = str(info.get("compression", "")) if kind == "TIFF" else ""
    xmp = info.get("xmp", b"")
    return ImageNative(
        name=name,
        format=kind,
        mode=image.mode if bits == 8 or image.mode.startswith("I") else f"{image.mode};{bits}",
        bits=bits,
        exif=_tiff_exif(image) if kind == "TIFF" else info.get("exif", b"") or _exif(image),
        icc=info.get("icc_profile") or b"",
        xmp=xmp.encode() if isinstance(xmp, str) else xmp,
        dpi=(float(dpi[0]), float(dpi[1])) if dpi else None,
        comment=comment.encode() if isinstance(comment, str) else comment,
        text=text,
        quantisation={number: tuple(table) for number, table in tables.items()},
        subsampling=subsampling,
        progressive=bool(info.get("progressive") or info.get("progression")),
        compression=compression,
        lossless=not (
            kind in ("JPEG", "AVIF", "HEIF") or compression == "jpeg" or (kind == "WEBP" and b"VP8 " in data[:4096])
        ),
        pictures=getattr(image, "n_frames", 1),
    )


def _exif(image: Image.Image) -> bytes:
    found = image.getexif()
    return found.tobytes() if len(found) else b""


def _tiff_exif(image: Image.Image) -> bytes:
    """Of a TIFF's tags those that describe the picture, not how it lies in the file."""
    theirs, ours = image.getexif(), Image.Exif()
    for tag in _TIFF_TAGS:
        if tag in theirs:
            ours[tag] = theirs[tag]
    for directory in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        if inner := theirs.get_ifd(directory):
            ours.get_ifd(directory).update(inner)
    return ours.tobytes() if len(ours) else b""


def _bits(image: Image.Image, data: bytes) -> int:
    """Bits per sample as stored, 8 for less."""
    if image.format == "PNG":
        return 16 if data[24] == 16 else 8  # IHDR's bit depth
    if image.format == "TIFF":
        tag: Any = getattr(image, "tag_v2", {})
        stored = tag.get(258, (8,))
        return max(8, *(int(value) for value in (stored if isinstance(stored, tuple) else (stored,))))
    return 16 if image.mode.startswith("I") else 8


_BROKEN = (  # what Pillow's readers raise for files that are not as they should be
    OSError, SyntaxError, ValueError, EOFError, RuntimeError, TypeError, LookupError, ArithmeticError, struct.error
)  # fmt: skip


@contextmanager
def pillow(shown: str) -> Iterator[None]:
    """Pillow with our limit of pixels; what it raises in one line."""
    with _pillow_limit, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # e.g. about odd EXIF: the picture itself is fine
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, MAX_PIXELS
        try:
            yield
        except SourceError:
            raise
        except Image.DecompressionBombError as error:
            raise UnsupportedSource(
                f"{shown}: expected at most {MAX_PIXELS // 10**6} million pixels ({error})"
            ) from error
        except UnidentifiedImageError as error:
            raise UnsupportedSource(f"{shown} is not a picture that can be read") from error
        except _BROKEN as error:
            raise DecodeError(f"{shown} is damaged: {str(error).splitlines()[0] if str(error) else error!r}") from error
        finally:
            Image.MAX_IMAGE_PIXELS = before
