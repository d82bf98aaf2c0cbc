"""Samples of an FFmpeg frame as numpy planes and back: what source and sink must agree on to the bit.

Invariant: `write_planes(frame, read_planes(frame))` changes nothing, for every format that `readable` names. The planes are the
frame's components in `PixelLayout` order (FFmpeg itself stores planar RGB as G, B, R).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import av
import numpy as np
from av.video.reformatter import Interpolation
from numpy.typing import DTypeLike, NDArray

from vidrase.colour import Matrix, PixelLayout
from vidrase.errors import ShapeError

UNSPECIFIED = 2  # of AVColorSpace, AVColorPrimaries and AVColorTransferCharacteristic alike
FULL_RANGE = 2  # AVCOL_RANGE_JPEG

_MATRICES: dict[int, Matrix] = {
    1: "bt709",
    4: "bt601",  # FCC: differs from BT.601 in the third digit
    5: "bt601",
    6: "bt601",
    7: "bt709",  # SMPTE 240M: close to BT.709
    8: "ycgco",
    9: "bt2020",
    10: "bt2020",
}
_SHIFTS = {"444": (0, 0), "422": (1, 0), "420": (1, 1), "440": (0, 1), "411": (2, 0), "410": (2, 2)}  # (x, y)
_PLANAR_YUV = re.compile(r"yuv(?P<kind>[aj]?)(?P<grid>\d{3})p(?:(?P<bits>9|10|12|14|16)le)?")
_PLANAR_GRAY = re.compile(r"gray(?:(?P<bits>9|10|12|14|16)le)?")
_PLANAR_RGB = re.compile(r"gbr(?P<kind>a?)p(?:(?P<bits>9|10|12|14|16)le)?")
_PACKED = {  # order of the samples of a pixel; 0 is padding
    **{name: name for name in ("rgba", "bgra", "argb", "abgr", "rgb0", "bgr0", "0rgb", "0bgr")},
    "rgb24": "rgb",
    "bgr24": "bgr",
    "rgb48le": "rgb",
    "bgr48le": "bgr",
    "rgba64le": "rgba",
    "bgra64le": "bgra",
    "ya8": "ya",
    "ya16le": "ya",
}

# Formats that hold the very samples of a readable one in another arrangement: where each component lies, as (plane, offset,
# step, right shift), the middle two in words. Moved by hand, because swscale rounds and dithers some of them.
_ARRANGED: dict[str, tuple[str, tuple[tuple[int, int, int, int], ...]]] = {
    "nv12": ("yuv420p", ((0, 0, 1, 0), (1, 0, 2, 0), (1, 1, 2, 0))),
    "nv21": ("yuv420p", ((0, 0, 1, 0), (1, 1, 2, 0), (1, 0, 2, 0))),
    "nv16": ("yuv422p", ((0, 0, 1, 0), (1, 0, 2, 0), (1, 1, 2, 0))),
    "nv24": ("yuv444p", ((0, 0, 1, 0), (1, 0, 2, 0), (1, 1, 2, 0))),
    "nv42": ("yuv444p", ((0, 0, 1, 0), (1, 1, 2, 0), (1, 0, 2, 0))),
    "yuyv422": ("yuv422p", ((0, 0, 2, 0), (0, 1, 4, 0), (0, 3, 4, 0))),
    "yvyu422": ("yuv422p", ((0, 0, 2, 0), (0, 3, 4, 0), (0, 1, 4, 0))),
    "uyvy422": ("yuv422p", ((0, 1, 2, 0), (0, 0, 4, 0), (0, 2, 4, 0))),
    "vuya": ("yuva444p", ((0, 2, 4, 0), (0, 1, 4, 0), (0, 0, 4, 0), (0, 3, 4, 0))),
    "vuyx": ("yuv444p", ((0, 2, 4, 0), (0, 1, 4, 0), (0, 0, 4, 0))),
    "nv20": ("yuv422p10le", ((0, 0, 1, 0), (1, 0, 2, 0), (1, 1, 2, 0))),
    "p010": ("yuv420p10le", ((0, 0, 1, 6), (1, 0, 2, 6), (1, 1, 2, 6))),
    "p012": ("yuv420p12le", ((0, 0, 1, 4), (1, 0, 2, 4), (1, 1, 2, 4))),
    "p016": ("yuv420p16le", ((0, 0, 1, 0), (1, 0, 2, 0), (1, 1, 2, 0))),
    "p210": ("yuv422p10le", ((0, 0, 1, 6), (1, 0, 2, 6), (1, 1, 2, 6))),
    "p212": ("yuv422p12le", ((0, 0, 1, 4), (1, 0, 2, 4), (1, 1, 2, 4))),
    "p216": ("yuv422p16le", ((0, 0, 1, 0), (1, 0, 2, 0), (1, 1, 2, 0))),
    "p410": ("yuv444p10le", ((0, 0, 1, 6), (1, 0, 2, 6), (1, 1, 2, 6))),
    "p412": ("yuv444p12le", ((0, 0, 1, 4), (1, 0, 2, 4), (1, 1, 2, 4))),
    "p416": ("yuv444p16le", ((0, 0, 1, 0), (1, 0, 2, 0), (1, 1, 2, 0))),
    "y210": ("yuv422p10le", ((0, 0, 2, 6), (0, 1, 4, 6), (0, 3, 4, 6))),
    "y212": ("yuv422p12le", ((0, 0, 2, 4), (0, 1, 4, 4), (0, 3, 4, 4))),
    "y216": ("yuv422p16le", ((0, 0, 2, 0), (0, 1, 4, 0), (0, 3, 4, 0))),
}


class _Form(NamedTuple):
    """Where the samples of a format lie: `places` (plane, offset, step), the latter two in samples, components in order."""

    model: str
    bits: int
    shift_x: int
    shift_y: int
    alpha: bool
    full_range: bool
    places: tuple[tuple[int, int, int], ...]


@lru_cache(maxsize=256)
def _form(name: str) -> _Form | None:
    """How the pixel format `name` stores its samples; None when its planes cannot be had as numpy views."""
    if found := _PLANAR_YUV.fullmatch(name):
        if found["grid"] not in _SHIFTS:
            return None
        alpha = found["kind"] == "a"
        bits = int(found["bits"] or 8)
        planes = tuple((plane, 0, 1) for plane in range(4 if alpha else 3))
        return _Form("yuv", bits, *_SHIFTS[found["grid"]], alpha, found["kind"] == "j", planes)
    if found := _PLANAR_GRAY.fullmatch(name):
        return _Form("gray", int(found["bits"] or 8), 0, 0, False, True, ((0, 0, 1),))
    if found := _PLANAR_RGB.fullmatch(name):
        planes = tuple((plane, 0, 1) for plane in ((2, 0, 1, 3) if found["kind"] else (2, 0, 1)))
        return _Form("rgb", int(found["bits"] or 8), 0, 0, bool(found["kind"]), True, planes)
    if order := _PACKED.get(name):
        wanted = ("y" if order == "ya" else "rgb") + ("a" if "a" in order else "")
        places = tuple((0, order.index(letter), len(order)) for letter in wanted)
        bits = 16 if name.endswith("le") else 8
        return _Form("gray" if order == "ya" else "rgb", bits, 0, 0, "a" in order, True, places)
    return None


def readable(name: str) -> bool:
    """True when `read_planes` takes FFmpeg's pixel format `name` as it is."""
    return _form(name) is not None


def readable_like(name: str) -> tuple[str, bool]:
    """(the readable pixel format nearest to `name` and at least as precise, whether every sample keeps its value).

    Raises ShapeError when FFmpeg knows no such format or cannot convert it.
    """
    if readable(name):
        return name, True
    stem = name.removesuffix("le").removesuffix("be")
    if stem in _ARRANGED:
        return _ARRANGED[stem][0], True
    if name.endswith("be") and readable(stem + "le"):
        return stem + "le", True
    if name.startswith("yaf"):  # swscale aborts the process on it
        raise ShapeError(f"expected a pixel format with whole numbers, got {name}")
    if name == "pal8":
        return "bgra", True
    try:
        form = av.VideoFormat(name, 16, 16)
    except ValueError:
        raise ShapeError(f"expected a pixel format that FFmpeg knows, got '{name}'") from None
    deep = max(component.bits for component in form.components) > 8 or (form.is_bayer and form.bits_per_pixel > 8)
    alpha = any(component.is_alpha for component in form.components)
    if name.startswith(("gray", "mono")):
        return ("gray16le" if deep else "gray"), False
    if name.startswith("ya"):
        return ("ya16le" if deep else "ya8"), False
    if form.is_rgb or name.startswith("xyz"):
        return {(0, 0): "rgb24", (0, 1): "rgba", (1, 0): "rgb48le", (1, 1): "rgba64le"}[deep, alpha], False
    return f"yuv{'a' if alpha else ''}444p{'16le' if deep else ''}", False


def to_readable(frame: av.VideoFrame) -> av.VideoFrame:
    """`frame` itself where its planes can be read, else the same picture in `readable_like(frame.format.name)`.

    Raises ShapeError or OSError for formats that FFmpeg cannot convert.
    """
    # threads=1 throughout: with its own choice swscale 9.5 now and then leaves the rows of a second slice unwritten (p010, p016)
    name, exact = readable_like(frame.format.name)
    if name == frame.format.name:
        return frame
    if not exact or frame.format.has_palette:
        return frame.reformat(format=name, interpolation=Interpolation.POINT | Interpolation.ACCURATE_RND, threads=1)
    samples = _rearranged(frame, name)
    try:
        fresh = frame.reformat(format=name, threads=1)  # brings time, tags, side data; its samples are overwritten
    except OSError:  # swscale cannot, so only what PyAV shows is carried over
        fresh = av.VideoFrame(frame.width, frame.height, name)
        fresh.pts, fresh.time_base = frame.pts, frame.time_base
        fresh.colorspace, fresh.color_range = frame.colorspace, frame.color_range
        fresh.color_trc, fresh.color_primaries = frame.color_trc, frame.color_primaries
    write_planes(fresh, samples)
    return fresh


def _rearranged(frame: av.VideoFrame, name: str) -> list[NDArray]:
    """The samples of a frame in big-endian or `_ARRANGED` order, as planes of the readable format `name`."""
    form = _known(name)
    source = frame.format.name
    endian = ">" if source.endswith("be") else "<"
    dtype = np.dtype(np.uint8 if form.bits <= 8 else f"{endian}u2")
    stem = source.removesuffix("le").removesuffix("be")
    places = _ARRANGED[stem][1] if stem in _ARRANGED else tuple((*place, 0) for place in form.places)
    planes = []
    for component, (plane, offset, step, shift) in enumerate(places):
        rows, columns = _plane_shape(form, component, frame.height, frame.width)
        words = _words(frame.planes[plane], dtype)[:rows, offset : offset + (columns - 1) * step + 1 : step]
        planes.append((words >> shift if shift else words).astype(dtype.newbyteorder("=")))
    return planes


def layout_of(frame: av.VideoFrame) -> PixelLayout:
    """The layout of a frame in a readable format. The matrix is the tagged one, else the customary one for the size.

    Raises ShapeError for a format that `readable` does not name.
    """
    return _layout(frame.format.name, frame.colorspace, frame.color_range, frame.height, frame.width)


@lru_cache(maxsize=64)
def _layout(name: str, matrix: int, colour_range: int, height: int, width: int) -> PixelLayout:
    form = _known(name)
    if form.model == "rgb":
        chosen: Matrix = "rgb"
    else:
        chosen = _MATRICES.get(matrix) or customary_matrix(height, width)
    full = form.full_range or (form.model == "yuv" and colour_range == FULL_RANGE)
    return PixelLayout(
        name,
        form.model,  # type: ignore[arg-type]
        form.bits,
        form.shift_x,
        form.shift_y,
        form.alpha,
        chosen,
        full,
    )


def layout_named(name: str, *, matrix: Matrix | None = None, full_range: bool = False) -> PixelLayout:
    """The layout of FFmpeg's pixel format `name` (readable ones; else ShapeError); `matrix` None: BT.709, or RGB for RGB."""
    form = _known(name)
    chosen = matrix or ("rgb" if form.model == "rgb" else "bt709")
    full = form.full_range or full_range
    model = form.model
    return PixelLayout(name, model, form.bits, form.shift_x, form.shift_y, form.alpha, chosen, full)  # type: ignore[arg-type]


def customary_matrix(height: int, width: int) -> Matrix:
    """What players assume of untagged YCbCr: BT.709 from 720 lines or more than 1024 columns, else BT.601."""
    return "bt709" if height >= 720 or width > 1024 else "bt601"


def read_planes(frame: av.VideoFrame) -> tuple[NDArray, ...]:
    """The samples of `frame` in own memory: uint8 or uint16 [rows, columns] each, in `layout_of(frame)` order.

    Raises ShapeError for a format that `readable` does not name.
    """
    return tuple(np.array(view, order="C") for view in _views(frame))


def write_planes(frame: av.VideoFrame, planes: Sequence[NDArray]) -> None:
    """Put `planes` (as `read_planes` gives them) into `frame`, in place; time, tags and side data stay.

    The frame gets its own memory first when a decoder still refers to the old one. Padding samples (rgb0) stay as they are.
    Raises ShapeError when number, size or dtype of the planes do not fit the frame.
    """
    frame.make_writable()
    views = _views(frame)
    if len(views) != len(planes):
        raise ShapeError(f"expected {len(views)} planes for {frame.format.name}, got {len(planes)}")
    for number, (view, plane) in enumerate(zip(views, planes, strict=True)):
        if view.shape != plane.shape or view.dtype != plane.dtype:
            raise ShapeError(
                f"expected plane {number} {view.dtype} {view.shape} ({frame.format.name}), got {plane.dtype} {plane.shape}"
            )
        view[...] = plane


def _known(name: str) -> _Form:
    form = _form(name)
    if form is None:
        raise ShapeError(f"pixel format {name} cannot be read as planes; convert it with to_readable first")
    return form


def _plane_shape(form: _Form, component: int, height: int, width: int) -> tuple[int, int]:
    if form.model == "yuv" and component in (1, 2):
        return -(-height >> form.shift_y), -(-width >> form.shift_x)
    return height, width


def _views(frame: av.VideoFrame) -> list[NDArray]:
    """Writable views of the components of `frame`; valid while the frame lives and is not made writable again."""
    form = _known(frame.format.name)
    dtype = np.dtype(np.uint8 if form.bits <= 8 else np.uint16)
    held = frame.planes
    words = {plane: _words(held[plane], dtype) for plane, _, _ in form.places}
    views = []
    for component, (plane, offset, step) in enumerate(form.places):
        rows, columns = _plane_shape(form, component, frame.height, frame.width)
        views.append(words[plane][:rows, offset : offset + (columns - 1) * step + 1 : step])
    return views


def _words(plane: av.video.plane.VideoPlane, dtype: DTypeLike) -> NDArray:
    """All samples of one FFmpeg plane with its padding, top row first."""
    samples: NDArray = np.frombuffer(plane, dtype)  # type: ignore[call-overload]
    step = plane.line_size // samples.itemsize
    # a negative line size means bottom-up storage; PyAV's buffer then begins at the bottom row
    return samples.reshape(-1, abs(step)) if step > 0 else samples.reshape(-1, abs(step))[::-1]
