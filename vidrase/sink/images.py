"""One still to a file: its format's own settings kept, every sample outside the hole unchanged where the format allows.

A JPEG is written from YCbCr with the source's quantisation tables and chroma sampling: about 5 % of the luma samples outside the
hole then change by a level or two, where a way through RGB changes a third of the chroma by up to eleven.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, PngImagePlugin

from vidrase.colour import PixelLayout, to_rgb, to_rgb8
from vidrase.errors import OptionError, SinkError
from vidrase.frames import Frame, SourceInfo
from vidrase.imagemeta import ImageNative
from vidrase.sink.part import Part

Note = Callable[[str], None]
FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
_DEEP = {"PNG", "TIFF"}
_ALPHA = {"PNG", "TIFF", "WEBP"}
_JPEG_QUALITY = 95  # when the source was no JPEG: artefacts below what an eye finds at 1:1


class ImageSink:
    """Writes the one frame that it gets. A context manager like every sink."""

    def __init__(self, to: Path, info: SourceInfo, note: Note) -> None:
        self._suffix = to.suffix.lower()
        check_image(self._suffix, info, note)
        self.encoder = FORMATS[self._suffix]
        self._part, self._note, self._written = Part(to), note, 0

    def write(self, frame: Frame) -> None:
        """The picture; a second one is an error."""
        if self._written:
            raise SinkError(
                f"{self._part.to} can hold one picture, but the source has more; name a folder or a video file"
            )
        self._written += 1
        save_image(self._part.path, self._suffix, frame, self._note)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._written:
            self._part.keep()
        else:
            self._part.drop()


def check_image(suffix: str, info: SourceInfo, note: Note) -> None:
    """Raises OptionError for a format that cannot be written; notes what it cannot carry."""
    if suffix not in FORMATS:
        raise OptionError(
            f"cannot write a picture as '{suffix or 'a file without suffix'}'; expected {' '.join(FORMATS)}"
        )
    kind = FORMATS[suffix]
    if info.layout.bits > 8 and kind not in _DEEP:
        note(f"{kind} holds 8 bits; the picture's {info.layout.bits} are rounded (a .png or .tif name keeps them)")
    if info.layout.alpha and kind not in _ALPHA:
        note(f"{kind} holds no transparency; it is left out (a .png or .webp name keeps it)")


def save_image(path: Path, suffix: str, frame: Frame, note: Note) -> None:
    """Write `frame` as it is stored, with what its file said besides its samples. Raises SinkError."""
    native = frame.native if isinstance(frame.native, ImageNative) else ImageNative(name="", format="", mode="")
    kind = FORMATS[suffix]
    try:
        if frame.layout.bits > 8 and kind in _DEEP:
            _save_deep(path, suffix, frame, native, note)
            return
        picture, settings = _picture(frame, kind, native)
        settings |= _extras(kind, native, note)
        if not isinstance(frame.native, ImageNative) and (
            frame.orientation.quarter_turns or frame.orientation.mirrored
        ):
            picture = Image.fromarray(
                np.ascontiguousarray(frame.orientation.to_display(np.asarray(picture))), picture.mode
            )
        picture.save(path, format=kind, **settings)
    except OSError as error:
        raise SinkError(f"cannot write {path.name}: {error.strerror or error}") from error


def _picture(frame: Frame, kind: str, native: ImageNative) -> tuple[Image.Image, dict[str, Any]]:
    """The samples as Pillow takes them, and the settings that depend on them."""
    layout, planes = frame.layout, frame.planes
    if kind == "JPEG":
        settings: dict[str, Any] = {"quality": _JPEG_QUALITY, "subsampling": 0 if layout.model == "rgb" else "4:2:0"}
        if layout.model == "yuv" and layout.bits == 8 and layout.full_range and layout.matrix == "bt601":
            full = [planes[0], *(_repeated(plane, layout, *frame.size) for plane in planes[1:3])]
            picture = Image.fromarray(np.stack(full, axis=2), "YCbCr")
        elif layout.model == "gray":
            picture = Image.fromarray(_eight(planes[0], layout), "L")
        else:
            picture = Image.fromarray(to_rgb8(planes, layout), "RGB")
        if native.quantisation:
            settings["qtables"] = {number: list(table) for number, table in native.quantisation.items()}
            settings.pop("quality")
            if native.subsampling >= 0 and picture.mode != "L":
                settings["subsampling"] = native.subsampling
        settings["progressive"] = native.progressive
        return picture, settings
    settings = {}
    if kind == "WEBP":
        settings = {"lossless": True} if native.lossless or native.format != "WEBP" else {"quality": 95, "method": 4}
        settings["exact"] = True
    if kind == "TIFF" and native.format == "TIFF" and native.compression and native.compression != "jpeg":
        settings["compression"] = native.compression
    alpha = layout.alpha and kind in _ALPHA
    if layout.model == "gray" and not alpha:
        return Image.fromarray(_eight(planes[0], layout), "L"), settings
    if layout.model == "gray":
        return Image.fromarray(np.stack([_eight(p, layout) for p in planes], axis=2), "LA"), settings
    rgb = to_rgb8(planes, layout)
    if alpha:
        return Image.fromarray(np.dstack([rgb, _eight(planes[-1], layout)]), "RGBA"), settings
    return Image.fromarray(rgb, "RGB"), settings


def _extras(kind: str, native: ImageNative, note: Note) -> dict[str, Any]:
    """EXIF without its thumbnail, profile, resolution, texts."""
    extras: dict[str, Any] = {}
    if native.exif and kind in ("JPEG", "PNG", "WEBP", "TIFF"):
        exif = Image.Exif()
        exif.load(native.exif)
        if exif.get_ifd(ExifTags.IFD.IFD1):
            exif.get_ifd(ExifTags.IFD.IFD1).clear()
            note("the EXIF thumbnail is left out: it may still show what was removed")
            extras["exif"] = exif.tobytes()
        else:
            extras["exif"] = native.exif
    if native.icc:
        extras["icc_profile"] = native.icc
    if native.dpi and kind in ("JPEG", "PNG", "TIFF", "BMP"):
        extras["dpi"] = native.dpi
    if native.comment and kind == "JPEG":
        extras["comment"] = native.comment
    if native.xmp and kind in ("JPEG", "WEBP", "PNG"):
        extras["xmp"] = native.xmp
    if native.text and kind == "PNG":
        chunks = PngImagePlugin.PngInfo()
        for name, value in native.text.items():
            chunks.add_itxt(name, value) if not value.isascii() else chunks.add_text(name, value)
        extras["pnginfo"] = chunks
    return extras


def _save_deep(path: Path, suffix: str, frame: Frame, native: ImageNative, note: Note) -> None:
    """16 bits a sample through OpenCV, which Pillow cannot write in colour; texts and profiles go with it where they can."""
    layout = frame.layout
    if layout.model == "yuv":
        top = (1 << 16) - 1
        shown = np.rint(to_rgb(frame.planes, layout) * top).astype(np.uint16)
        parts = [shown[..., 2], shown[..., 1], shown[..., 0]]
    else:
        scale = 16 - layout.bits
        deep = [np.left_shift(plane.astype(np.uint16), scale, dtype=np.uint16) for plane in frame.planes]
        parts = deep[:1] if layout.model == "gray" else [deep[2], deep[1], deep[0]]
        if layout.alpha:
            parts = [*(parts * 3 if layout.model == "gray" else parts), deep[-1]]
    bgr = parts[0] if len(parts) == 1 else cv2.merge([np.ascontiguousarray(part) for part in parts])
    ok, data = cv2.imencode(suffix, bgr)
    if not ok:
        raise SinkError(f"cannot write 16-bit samples as '{suffix}'")
    encoded = data.tobytes()
    if suffix == ".png":
        encoded = _with_chunks(encoded, native)
    elif native.exif or native.icc:
        note("a 16-bit TIFF is written without its EXIF and colour profile")
    path.write_bytes(encoded)


def _with_chunks(png: bytes, native: ImageNative) -> bytes:
    """`png` with the source's profile, EXIF and texts: taken, byte for byte, from a one-pixel PNG that Pillow wrote."""
    carrier = io.BytesIO()
    Image.new("L", (1, 1)).save(carrier, "PNG", **_extras("PNG", native, lambda _: None))
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


def _eight(plane: NDArray, layout: PixelLayout) -> NDArray[np.uint8]:
    return plane if layout.bits == 8 else (plane >> (layout.bits - 8)).astype(np.uint8)
