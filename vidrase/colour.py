"""Convert native planes to RGB and back: the only module with YCbCr matrices, ranges and chroma subsampling.

Invariant: no function changes a frame; results are copies. Equations: ITU-R BT.601-7, BT.709-6, BT.2020-2 (non-constant
luminance): Y = Kr R + Kg G + Kb B, Cb = (B - Y) / (2 (1 - Kb)), Cr = (R - Y) / (2 (1 - Kr)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.errors import ShapeError

Matrix = Literal["bt601", "bt709", "bt2020", "ycgco", "rgb"]

_K: dict[str, tuple[float, float]] = {  # (Kr, Kb)
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
    "bt2020": (0.2627, 0.0593),
}


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """How the samples of a frame are stored, component by component.

    A frame's planes are its *components* in this order: Y, Cb, Cr for `model` "yuv"; R, G, B for "rgb"; Y for "gray"; then A
    when `alpha`. Interleaved formats (rgb24, ...) are presented as one strided view per component.
    """

    name: str
    """FFmpeg's pixel format name of the stored frame, e.g. "yuv420p10le"."""
    model: Literal["yuv", "rgb", "gray"]
    bits: int
    """Bits per sample, 8..16; uint8 planes for 8, uint16 above, value in the low bits."""
    shift_x: int = 0
    """log2 of the horizontal chroma subsampling: 1 for 4:2:0 and 4:2:2, 0 for 4:4:4."""
    shift_y: int = 0
    """log2 of the vertical chroma subsampling: 1 for 4:2:0."""
    alpha: bool = False
    matrix: Matrix = "bt709"
    """Used for RGB conversion only; the file keeps its own tag."""
    full_range: bool = False
    """True: 0..2^bits-1 (JPEG). False: 16..235 / 16..240, scaled to the bit depth. RGB and gray images are full range."""

    @property
    def dtype(self) -> type[np.uint8 | np.uint16]:
        """The numpy dtype of the planes."""
        return np.uint8 if self.bits <= 8 else np.uint16

    @property
    def colour_planes(self) -> int:
        """Number of components without alpha."""
        return 1 if self.model == "gray" else 3

    def shifts(self, plane: int) -> tuple[int, int]:
        """(shift_y, shift_x) of component `plane`."""
        return (self.shift_y, self.shift_x) if self.model == "yuv" and plane in (1, 2) else (0, 0)

    def plane_shape(self, plane: int, height: int, width: int) -> tuple[int, int]:
        """(rows, columns) of component `plane` in a frame of `height` x `width`; odd sizes round up as FFmpeg does."""
        shift_y, shift_x = self.shifts(plane)
        return -(-height >> shift_y), -(-width >> shift_x)


def _levels(layout: PixelLayout) -> tuple[float, float, float, float]:
    """(luma offset, luma scale, chroma offset, chroma scale): sample = offset + scale * value, luma in [0, 1]."""
    top = float((1 << layout.bits) - 1)
    unit = float(1 << (layout.bits - 8))
    half = 128.0 * unit
    if layout.full_range or layout.model != "yuv":
        return 0.0, top, half, top
    return 16.0 * unit, 219.0 * unit, half, 224.0 * unit


def _yuv_to_rgb_matrix(layout: PixelLayout) -> NDArray[np.float32]:
    """float32 [3, 4]: rows R, G, B in [0, 1] from raw samples (Y, Cb, Cr, 1)."""
    if layout.matrix == "ycgco":
        base = np.array([[1, -1, 1], [1, 1, 0], [1, -1, -1]], np.float64)
    else:
        kr, kb = _K.get(layout.matrix, _K["bt709"])
        kg = 1 - kr - kb
        base = np.array(
            [[1, 0, 2 * (1 - kr)], [1, -2 * kb * (1 - kb) / kg, -2 * kr * (1 - kr) / kg], [1, 2 * (1 - kb), 0]],
            np.float64,
        )
    luma_0, luma_s, chroma_0, chroma_s = _levels(layout)
    scaled = base / np.array([luma_s, chroma_s, chroma_s])
    offset = -scaled @ np.array([luma_0, chroma_0, chroma_0])
    return np.concatenate([scaled, offset[:, None]], axis=1).astype(np.float32)


@lru_cache(maxsize=16)
def sample_matrices(layout: PixelLayout) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(float32 [3, C + 1] rows R, G, B in [0, 1] from native samples and 1; float32 [C, 4] native samples from R, G, B and 1),
    for C colour planes: `to_rgb` and `from_rgb` of single samples, not cut off."""
    if layout.model == "yuv":
        forward = _yuv_to_rgb_matrix(layout)
    else:
        luma_0, luma_s, _, _ = _levels(layout)
        part = np.eye(3) / luma_s if layout.model == "rgb" else np.full((3, 1), 1 / luma_s)
        forward = np.concatenate([part, np.full((3, 1), -luma_0 / luma_s)], axis=1).astype(np.float32)
    back = np.linalg.pinv(forward[:, :-1].astype(np.float64))
    return forward, np.concatenate([back, -back @ forward[:, -1:]], axis=1).astype(np.float32)


def fitted(plane: NDArray, size: tuple[int, int]) -> NDArray:
    """A plane at the size (height, width) of another component of its frame."""
    return _resize(plane, *size)


def reduced_planes(planes: Sequence[NDArray], layout: PixelLayout, size: tuple[int, int]) -> list[NDArray]:
    """The colour planes, each scaled to `size` (height, width); `to_rgb8` and `to_luma8` may start from them."""
    return [_resize(plane, *size) for plane in planes[: layout.colour_planes]]


def to_rgb(
    planes: Sequence[NDArray], layout: PixelLayout, *, size: tuple[int, int] | None = None
) -> NDArray[np.float32]:
    """RGB of whole planes, or of crops aligned to the chroma grid.

    planes: as `PixelLayout` says, Y [h, w]; alpha is ignored.
    size:   (height, width) to scale to (area averaging when shrinking, linear when enlarging); None keeps the luma size.
    Returns float32 [h, w, 3] RGB in [0, 1], non-linear (display) light, clipped.
    """
    height, width = size or planes[0].shape
    if size is None:
        parts = [_upsampled(plane, layout, c, height, width) for c, plane in enumerate(planes[: layout.colour_planes])]
    else:
        parts = [_resize(plane, height, width) for plane in planes[: layout.colour_planes]]
    if layout.model == "gray":
        luma_0, luma_s, _, _ = _levels(layout)
        grey = (parts[0].astype(np.float32) - luma_0) / luma_s
        return np.clip(np.repeat(grey[..., None], 3, axis=2), 0, 1)
    stacked = cv2.merge([np.ascontiguousarray(part) for part in parts]).astype(np.float32)
    if layout.model == "rgb":
        return stacked / np.float32((1 << layout.bits) - 1)
    return np.clip(cv2.transform(stacked, _yuv_to_rgb_matrix(layout)), 0, 1)


def to_rgb8(
    planes: Sequence[NDArray], layout: PixelLayout, *, size: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """Like `to_rgb`, as uint8 [h, w, 3] in 0..255: for detectors, sheets and screens."""
    if layout.model == "rgb" and layout.bits == 8:
        height, width = size or planes[0].shape
        return cv2.merge([_resize(np.ascontiguousarray(plane), height, width) for plane in planes[:3]])
    return cv2.convertScaleAbs(to_rgb(planes, layout, size=size), alpha=255.0)


def from_rgb(rgb: NDArray[np.floating], layout: PixelLayout) -> list[NDArray]:
    """The colour planes (no alpha) of an RGB image: the inverse of `to_rgb`.

    rgb: float [h, w, 3] in [0, 1]. Returns planes of `layout.dtype`, chroma averaged over the luma samples it covers.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ShapeError(f"expected rgb [h, w, 3], got {rgb.shape}")
    height, width = rgb.shape[:2]
    top = (1 << layout.bits) - 1
    if layout.model == "rgb":
        return [_quantise(rgb[..., c] * top, layout) for c in range(3)]
    forward = np.linalg.inv(_yuv_to_rgb_matrix(layout)[:, :3].astype(np.float64))
    offset = -forward @ _yuv_to_rgb_matrix(layout)[:, 3].astype(np.float64)
    if layout.model == "gray":
        kr, kb = _K["bt601"]
        luma_0, luma_s, _, _ = _levels(layout)
        grey = rgb @ np.array([kr, 1 - kr - kb, kb])
        return [_quantise(grey * luma_s + luma_0, layout)]
    matrix = np.concatenate([forward, offset[:, None]], axis=1).astype(np.float32)
    yuv = cv2.transform(np.ascontiguousarray(rgb, np.float32), matrix)
    planes = [_quantise(yuv[..., 0], layout)]
    rows, columns = layout.plane_shape(1, height, width)
    for c in (1, 2):
        chroma = yuv[..., c]
        pad_y, pad_x = (rows << layout.shift_y) - height, (columns << layout.shift_x) - width
        if pad_y or pad_x:
            chroma = np.pad(chroma, ((0, pad_y), (0, pad_x)), mode="edge")
        if (rows, columns) != chroma.shape:
            chroma = chroma.reshape(rows, 1 << layout.shift_y, columns, 1 << layout.shift_x).mean((1, 3))
        planes.append(_quantise(chroma, layout))
    return planes


def to_luma8(
    planes: Sequence[NDArray], layout: PixelLayout, *, size: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """Brightness as uint8 [h, w], for motion estimation: Y at 8 bits as stored (limited range is left as it is)."""
    if layout.model == "rgb":
        return cv2.cvtColor(to_rgb8(planes, layout, size=size), cv2.COLOR_RGB2GRAY)
    height, width = size or planes[0].shape
    luma = _resize(planes[0], height, width)
    return luma if layout.bits == 8 else cv2.convertScaleAbs(luma, alpha=1.0 / (1 << (layout.bits - 8)))


def chroma_hole(hole: NDArray[np.bool_], layout: PixelLayout, plane: int) -> NDArray[np.bool_]:
    """`hole` on the grid of component `plane`: a chroma sample is in the hole if any luma pixel that it covers is.

    hole: bool [h, w] on the luma grid, its origin on the chroma grid. Returns bool of `layout.plane_shape(plane, h, w)`.
    """
    shift_y, shift_x = layout.shifts(plane)
    if not shift_y and not shift_x:
        return hole
    rows, columns = layout.plane_shape(plane, *hole.shape)
    padded = np.zeros((rows << shift_y, columns << shift_x), bool)
    padded[: hole.shape[0], : hole.shape[1]] = hole
    return np.asarray(padded.reshape(rows, 1 << shift_y, columns, 1 << shift_x).any(axis=(1, 3)), np.bool_)


def shrunk(plane: NDArray, size: tuple[int, int]) -> NDArray:
    """A plane or picture [H, W, ...] reduced to `size` (height, width): halved by means while that divides evenly, which is fast
    (a fifth of the time of `INTER_AREA` at once), then interpolated."""
    height, width = size
    plane = np.ascontiguousarray(plane)
    while (
        plane.shape[0] >= 2 * height and plane.shape[1] >= 2 * width and not any(side % 2 for side in plane.shape[:2])
    ):
        plane = cv2.resize(plane, (plane.shape[1] // 2, plane.shape[0] // 2), interpolation=cv2.INTER_AREA)
    if plane.shape[:2] == size:
        return plane
    is_twice = plane.shape[0] >= 2 * height or plane.shape[1] >= 2 * width
    return cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA if is_twice else cv2.INTER_LINEAR)


def _resize(plane: NDArray, height: int, width: int) -> NDArray:
    if plane.shape == (height, width):
        return plane
    shrinking = height <= plane.shape[0] and width <= plane.shape[1]
    how = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(plane), (width, height), interpolation=how)


def _upsampled(plane: NDArray, layout: PixelLayout, number: int, height: int, width: int) -> NDArray:
    """A chroma plane upsampled to luma size by its exact subsampling factor: odd sizes must not stretch it."""
    shift_y, shift_x = layout.shifts(number)
    return _resize(plane, plane.shape[0] << shift_y, plane.shape[1] << shift_x)[:height, :width]


def _quantise(values: NDArray[np.floating], layout: PixelLayout) -> NDArray:
    return np.clip(np.rint(values), 0, (1 << layout.bits) - 1).astype(layout.dtype)
