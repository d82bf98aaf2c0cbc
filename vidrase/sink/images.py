"""One still to a file: its format's own settings kept, every sample outside the hole unchanged where the format allows.

A JPEG is written from YCbCr with the source's quantisation tables and chroma sampling: about 5 % of the luma samples outside the
hole then change by a level or two, where a way through RGB changes a third of the chroma by up to eleven.
"""

from __future__ import annotations

import errno
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin, features

from vidrase.colour import PixelLayout, to_rgb, to_rgb8
from vidrase.errors import OptionError, SinkError
from vidrase.frames import Frame, SourceInfo
from vidrase.imagemeta import ImageNative
from vidrase.options import SinkOptions
from vidrase.part import Part
from vidrase.sink.exif import upright, without_pictures, xmp_without_pictures
from vidrase.sink.tiff import tiff16

Note = Callable[[str], None]
FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".avif": "AVIF",
}
NEAREST = {  # of formats that are read but not written
    **dict.fromkeys((".jpe", ".jfif"), ".jpg"),
    **dict.fromkeys((".heic", ".heif", ".hif", ".jp2", ".ppm", ".pgm", ".pnm", ".tga", ".ico"), ".png"),
    ".dib": ".bmp",
}
_DEEP = {"PNG", "TIFF"}
_ALPHA = {"PNG", "TIFF", "WEBP", "AVIF"}
_EXIF = {"JPEG", "PNG", "WEBP", "TIFF", "AVIF"}
_BLOCKS = ("XML:com.adobe.xmp", "Raw profile type")  # PNG texts that hold what is written apart, or thumbnails
_XMP_TAG = 700
_LONGEST = {"WEBP": 16383, "JPEG": 65500, "AVIF": 65536}  # px a side
AVIF: dict[str, Any] = {"quality": 95, "subsampling": "4:4:4"}
_JPEG_QUALITY = 95  # when the source was no JPEG: artefacts below what an eye finds at 1:1


class ImageSink:
    """Writes the one frame that it gets. A context manager like every sink."""

    def __init__(self, to: Path, info: SourceInfo, options: SinkOptions, note: Note) -> None:
        self._suffix = to.suffix.lower()
        check_image(self._suffix, info, note)
        self.encoder = FORMATS[self._suffix]
        self._source = info.path
        self._part, self._note, self._written = Part(to, overwrite=options.overwrite), note, 0

    def write(self, frame: Frame) -> None:
        """The picture; a second one is an error."""
        if self._written:
            raise SinkError(
                f"{self._part.to} can hold one picture, but the source has more; name a folder or a video file"
            )
        self._written += 1
        save_image(self._part.path, self._part.to, frame, self._note, self._source)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._written:
            self._part.keep()
            return
        self._part.drop()
        if kind is None:
            raise SinkError(f"cannot write {self._part.to}: the source gave no picture")


def check_image(suffix: str, info: SourceInfo, note: Note) -> None:
    """Raises OptionError for a format that cannot be written; notes what it cannot carry."""
    if suffix not in FORMATS:
        raise OptionError(
            f"cannot write a picture as '{suffix or 'a file without suffix'}'; expected {' '.join(FORMATS)}"
        )
    kind = FORMATS[suffix]
    if max(info.width, info.height) > _LONGEST.get(kind, max(info.width, info.height)):
        raise OptionError(
            f"{kind} holds at most {_LONGEST[kind]} pixels a side, the picture is {info.width}x{info.height};"
            " a .png or .tif name holds it"
        )
    if kind == "AVIF" and not features.check("avif"):
        raise OptionError("this Pillow cannot write AVIF; a .png or .webp name will do")
    if info.layout.bits > 8 and kind not in _DEEP:
        note(f"{kind} holds 8 bits; the picture's {info.layout.bits} are rounded (a .png or .tif name keeps them)")
    if info.layout.alpha and kind not in _ALPHA:
        note(f"{kind} holds no transparency; it is left out (a .png or .webp name keeps it)")


def save_image(path: Path, to: Path, frame: Frame, note: Note, source: Path | None = None) -> None:
    """Write `frame` as it is stored, with what its file said besides its samples. Raises SinkError.

    path: the file to write. to: what it will be called, for its format and for messages. source: the file that the frame was read
    from; where nothing changed, it is copied.
    """
    native = frame.native if isinstance(frame.native, ImageNative) else None
    kind = FORMATS[to.suffix.lower()]
    try:
        if (
            native is not None
            and native.format == kind
            and not frame.edited
            and source is not None
            and source.is_file()
        ):
            shutil.copyfile(source, path)
            return
        path.write_bytes(_encoded(frame, kind, native or ImageNative(name="", format="", mode=""), note))
    except OSError as error:
        reason = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror or error
        raise SinkError(f"cannot write {to}: {reason}") from error


def _encoded(frame: Frame, kind: str, native: ImageNative, note: Note) -> bytes:
    """The file's bytes. A picture that is turned by its EXIF stays so where the format stays, else it is turned for good."""
    turned = bool(frame.orientation.quarter_turns % 4 or frame.orientation.mirrored)
    for_good = turned and native.format != kind
    extras = extras_of(kind, native, for_good, note)
    if frame.layout.bits > 8 and kind in _DEEP:
        return _deep(frame, kind, native, for_good, extras)
    picture, settings = _picture(frame, kind, native)
    if for_good:
        shown = frame.orientation.to_display(np.asarray(picture))
        picture = Image.fromarray(np.ascontiguousarray(shown), picture.mode)
    file = io.BytesIO()
    picture.save(file, format=kind, **settings, **extras)
    return file.getvalue()


def _picture(frame: Frame, kind: str, native: ImageNative) -> tuple[Image.Image, dict[str, Any]]:
    """The samples as Pillow takes them, and the settings that depend on them."""
    layout, planes = frame.layout, frame.planes
    if kind == "JPEG":
        settings: dict[str, Any] = {"quality": _JPEG_QUALITY, "subsampling": 0 if layout.model == "rgb" else "4:2:0"}
        if layout.model == "yuv" and layout.bits == 8 and layout.full_range and layout.matrix == "bt601":
            full = [planes[0], *(_repeated(plane, layout, *frame.size) for plane in planes[1:3])]
            picture = Image.merge("YCbCr", [Image.fromarray(plane, "L") for plane in full])
        elif layout.model == "gray":
            picture = Image.fromarray(eight_bits(planes[0], layout), "L")
        else:
            picture = Image.fromarray(to_rgb8(planes, layout), "RGB")
        if native.quantisation:
            settings["qtables"] = {number: list(table) for number, table in native.quantisation.items()}
            settings.pop("quality")
            if picture.mode != "L":  # at an unusual sampling the chroma, repeated, is kept whole
                settings["subsampling"] = max(native.subsampling, 0)
        settings["progressive"] = native.progressive
        return picture, settings
    settings = {}
    if kind == "WEBP":
        settings = {"lossless": True} if native.lossless or native.format != "WEBP" else {"quality": 95, "method": 4}
        settings["exact"] = True
    if kind == "AVIF":
        settings = dict(AVIF)
    if kind == "TIFF" and native.format == "TIFF" and native.compression and native.compression != "jpeg":
        settings["compression"] = native.compression
    alpha = layout.alpha and kind in _ALPHA
    if layout.model == "gray" and not alpha:
        return Image.fromarray(eight_bits(planes[0], layout), "L"), settings
    if layout.model == "gray":
        return Image.fromarray(np.stack([eight_bits(p, layout) for p in planes], axis=2), "LA"), settings
    if layout.model == "rgb" and layout.bits == 8:
        bands = planes if alpha else planes[: layout.colour_planes]  # one by one: a large picture is not held twice
        return Image.merge("RGBA" if alpha else "RGB", [Image.fromarray(plane, "L") for plane in bands]), settings
    rgb = to_rgb8(planes, layout)
    if alpha:
        return Image.fromarray(np.dstack([rgb, eight_bits(planes[-1], layout)]), "RGBA"), settings
    return Image.fromarray(rgb, "RGB"), settings


def extras_of(kind: str, native: ImageNative, upright_now: bool, note: Note) -> dict[str, Any]:
    """EXIF without its thumbnail, profile, resolution, texts: as Pillow's `save` takes them."""
    extras: dict[str, Any] = {}
    exif, pictured = without_pictures(native.exif) if native.exif else (b"", False)
    xmp, pictured_too = xmp_without_pictures(native.xmp)
    if pictured or pictured_too:
        note("small pictures in EXIF or XMP (thumbnails, previews) are left out: they may still show what was removed")
    if exif and upright_now:
        exif = upright(exif)
    if exif and kind in _EXIF:
        extras["exif"] = exif
    if xmp and kind in _EXIF:
        extras["xmp"] = xmp
    if native.icc and kind != "BMP":
        extras["icc_profile"] = native.icc
    if native.dpi and kind in ("JPEG", "PNG", "TIFF", "BMP"):
        extras["dpi"] = native.dpi
    if native.comment and kind == "JPEG":
        extras["comment"] = native.comment
    if kind == "PNG" and (text := {name: value for name, value in native.text.items() if not name.startswith(_BLOCKS)}):
        chunks = PngImagePlugin.PngInfo()
        for name, value in text.items():
            chunks.add_text(name, value) if value.isascii() else chunks.add_itxt(name, value)
        extras["pnginfo"] = chunks
    if kind == "TIFF" and xmp:
        whole = Image.Exif()
        if exif:
            whole.load(exif)
        whole[_XMP_TAG] = extras.pop("xmp")
        extras["exif"] = whole
    lost = [what for what, there in (("EXIF", exif), ("XMP", xmp)) if there and kind not in _EXIF]
    lost += ["colour profile"] * bool(native.icc and kind == "BMP")
    if lost:
        note(f"{kind} holds no {' and no '.join(lost)}; left out")
    return extras


def _deep(frame: Frame, kind: str, native: ImageNative, for_good: bool, extras: dict[str, Any]) -> bytes:
    """16 bits a sample: PNG through OpenCV, as Pillow does not write it in colour; what else belongs in the file is added."""
    layout = frame.layout
    if layout.model == "yuv":
        shown = np.rint(to_rgb(frame.planes, layout) * 65535).astype(np.uint16)
        samples: list[NDArray] = [shown[..., channel] for channel in range(3)]
    else:
        scale = 16 - layout.bits
        samples = [plane.astype(np.uint16) << scale if scale else plane for plane in frame.planes]
    if for_good:
        samples = [frame.orientation.to_display(plane) for plane in samples]
    if kind == "TIFF":
        exif = extras.get("exif", b"")
        return tiff16(
            np.stack(samples, axis=2),
            alpha=layout.alpha,
            exif=exif if isinstance(exif, bytes) else exif.tobytes(),
            icc=native.icc,
            xmp=xmp_without_pictures(native.xmp)[0],
            dpi=native.dpi,
            compression=native.compression,
        )
    colours = samples[:1] if layout.model == "gray" else samples[2::-1]
    if layout.alpha:
        colours = [*(colours * 3 if layout.model == "gray" else colours), samples[-1]]
    bgr = colours[0] if len(colours) == 1 else cv2.merge([np.ascontiguousarray(part) for part in colours])
    made, data = cv2.imencode(".png", bgr)
    if not made:
        raise SinkError("this OpenCV cannot write PNG of 16 bits")
    return _with_chunks(data.tobytes(), extras)


def _with_chunks(png: bytes, extras: dict[str, Any]) -> bytes:
    """`png` with the source's profile, EXIF and texts: taken, byte for byte, from a one-pixel PNG that Pillow wrote."""
    carrier = io.BytesIO()
    Image.new("L", (1, 1)).save(carrier, "PNG", **extras)
    made = carrier.getvalue()
    chunks, at = b"", 8
    while at < len(made):
        length = int.from_bytes(made[at : at + 4], "big")
        name = made[at + 4 : at + 8]
        if name not in (b"IHDR", b"IDAT", b"IEND"):
            chunks += made[at : at + 12 + length]
        at += 12 + length
    return png[:33] + chunks + png[33:]  # after the signature (8) and IHDR (25)


def _repeated(plane: NDArray, layout: PixelLayout, height: int, width: int) -> NDArray:
    """Chroma at luma size by repeating samples: libjpeg's averaging gives the very same samples back."""
    tall = np.repeat(plane, 1 << layout.shift_y, axis=0) if layout.shift_y else plane
    full = np.repeat(tall, 1 << layout.shift_x, axis=1) if layout.shift_x else tall
    return full[:height, :width]


def eight_bits(plane: NDArray, layout: PixelLayout) -> NDArray[np.uint8]:
    """A plane of any depth, rounded down to 8 bits."""
    return plane if layout.bits == 8 else (plane >> (layout.bits - 8)).astype(np.uint8)
