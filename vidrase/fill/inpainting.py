"""Inpainting of pixels that no frame shows: once, on a key frame. The result is stored as an inpainted frame and propagated by
coordinates."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.colour import chroma_hole, from_rgb, to_rgb
from vidrase.fill.bars import picture_within, with_bars_filled
from vidrase.fill.membrane import membrane
from vidrase.fill.source_planes import SourcePlanes
from vidrase.frames import Frame, Hole, HoleFrame
from vidrase.inpaint import Choosing, Inpainter

# Evidence for synthesis.*: `rules.py`. Values of constants without a figure have no record yet.
CONTEXT = 1.0  # share of the missing area's size on each side that the inpainter gets as context
MIN_CONTEXT = 48  # px
OUTPAINT_SHARE = 0.15
"""Share of the frame's size by which an inpainted frame extends beyond the frame's borders."""
SLIVER_HALF_WIDTH = 5 / 480
"""Half the width, as a share of the frame's height, up to which a region is a sliver: too thin for texture to show, so a smooth
surface is enough."""


def is_thin(missing: NDArray[np.bool_]) -> bool:
    """Whether the missing pixels, bool [H, W] with at least one True, are slivers only. False if they touch a border: there
    they are the beginning of a larger region."""
    if any(edge.any() for edge in (missing[0], missing[-1], missing[:, 0], missing[:, -1])):
        return False
    rows, columns = np.flatnonzero(missing.any(1)), np.flatnonzero(missing.any(0))
    crop = np.pad(missing[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 1).astype(np.uint8)
    return (
        float(cv2.distanceTransform(crop, cv2.DIST_L2, cv2.DIST_MASK_5).max())
        <= SLIVER_HALF_WIDTH * missing.shape[0] + 1
    )


def inpaint_key_frame(
    frame: Frame,
    missing: NDArray[np.bool_],
    inpainter: Inpainter | None,
    *,
    moves: bool = False,
    made: NDArray[np.bool_] | None = None,
) -> SourcePlanes:
    """`frame` with `missing` pixels (bool [H, W], luma) inpainted: planes of the region around them.

    inpainter: None fills them with a smooth surface, which is enough for slivers. moves: whether the camera moves; then the
    result extends beyond borders of the frame that missing pixels touch. made: bool [H, W] pixels that were synthesized before:
    no texture is taken from them. Known pixels of the region are the frame's own, bit for bit.
    """
    cleared = with_bars_filled(HoleFrame(frame, Hole.of(missing)))
    if cleared.frame is not frame:
        return _within_bars(cleared, inpainter, moves, made)
    layout = frame.layout
    grid_y, grid_x = 1 << layout.shift_y, 1 << layout.shift_x
    margins = (
        _outpaint_margins(missing, grid_y, grid_x)
        if moves and rules.enabled("synthesis.outpaint")
        else ((0, 0), (0, 0))
    )
    missing = np.pad(missing, margins, mode="symmetric")
    rows, columns = np.flatnonzero(missing.any(1)), np.flatnonzero(missing.any(0))
    height, width = missing.shape
    missing_height, missing_width = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
    if made is not None and made.any():  # the pixels next to them may be synthesized, too
        missing_height = missing_width = max(missing_height, missing_width)
    margin_y, margin_x = max(int(CONTEXT * missing_height), MIN_CONTEXT), max(int(CONTEXT * missing_width), MIN_CONTEXT)
    top = max(int(rows[0]) - margin_y, 0) // grid_y * grid_y
    left = max(int(columns[0]) - margin_x, 0) // grid_x * grid_x
    bottom, right = min(int(rows[-1]) + 1 + margin_y, height), min(int(columns[-1]) + 1 + margin_x, width)
    if not any(map(any, margins)):  # black bars are no surroundings
        bounds = picture_within(frame, missing)
        top = max(top, min(-(-bounds[0] // grid_y) * grid_y, int(rows[0]) // grid_y * grid_y))
        left = max(left, min(-(-bounds[1] // grid_x) * grid_x, int(columns[0]) // grid_x * grid_x))
        bottom, right = min(bottom, max(bounds[2], int(rows[-1]) + 1)), min(right, max(bounds[3], int(columns[-1]) + 1))
    hole = missing[top:bottom, left:right]
    crops = []
    for number, plane in enumerate(frame.planes):
        shift_y, shift_x = layout.shifts(number)
        if any(map(any, margins)):
            (above, below), (before, after) = margins
            plane = np.pad(
                plane, ((above >> shift_y, below >> shift_y), (before >> shift_x, after >> shift_x)), mode="symmetric"
            )
        crop_rows, crop_columns = -(-(bottom - top) >> shift_y), -(-(right - left) >> shift_x)
        crops.append(
            plane[
                top >> shift_y : (top >> shift_y) + crop_rows, left >> shift_x : (left >> shift_x) + crop_columns
            ].copy()
        )
    for number, crop in enumerate(crops):
        # Conversion to RGB interpolates chroma: the hole's content would tint the known pixels beside it.
        chroma_missing = chroma_hole(hole, layout, number)
        if chroma_missing.any():
            smooth = membrane(crop.astype(np.float32)[..., None], ~chroma_missing)[..., 0]
            crop[chroma_missing] = np.rint(smooth[chroma_missing]).astype(crop.dtype)
    corner = top, left
    top, left = top - margins[0][0], left - margins[1][0]
    if inpainter is None:
        return SourcePlanes(tuple(crops), top, left)
    if made is not None and made.any() and isinstance(inpainter, Choosing) and rules.enabled("synthesis.seen_texture"):
        synthetic = np.pad(made, margins, mode="symmetric")[corner[0] : bottom, corner[1] : right]
        inpainter = inpainter.without(_padded(synthetic, inpainter.stride)[None, None])
    painted = _inpainted(to_rgb(crops, layout), hole, inpainter)
    for number, plane in enumerate(from_rgb(painted, layout)):
        chroma_missing = chroma_hole(hole, layout, number)
        crops[number][chroma_missing] = plane[chroma_missing]
    return SourcePlanes(tuple(crops), top, left)


def _within_bars(
    cleared: HoleFrame, inpainter: Inpainter | None, moves: bool, made: NDArray[np.bool_] | None
) -> SourcePlanes:
    """The whole frame, whose bars are filled already, with the missing pixels of the picture inpainted."""
    frame = cleared.frame
    if cleared.hole is None:
        return SourcePlanes(frame.planes, 0, 0)
    inner = inpaint_key_frame(frame, cleared.hole.full_area(), inpainter, moves=moves, made=made)
    planes = []
    for number, (plane, crop) in enumerate(zip(frame.planes, inner.planes, strict=True)):
        shift_y, shift_x = frame.layout.shifts(number)
        whole, top, left = plane.copy(), inner.y >> shift_y, inner.x >> shift_x
        rows, columns = max(-top, 0), max(-left, 0)
        crop = crop[rows : plane.shape[0] - top, columns : plane.shape[1] - left]
        whole[top + rows : top + rows + crop.shape[0], left + columns : left + columns + crop.shape[1]] = crop
        planes.append(whole)
    return SourcePlanes(tuple(planes), 0, 0)


def _outpaint_margins(missing: NDArray[np.bool_], grid_y: int, grid_x: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """px by which an inpainted frame is extended, mirrored, beyond the borders of the frame that missing pixels touch: ((above,
    below), (left, right)), multiples of the chroma subsampling."""
    height, width = (
        round(OUTPAINT_SHARE * side) // grid * grid for side, grid in zip(missing.shape, (grid_y, grid_x), strict=True)
    )
    touched = [bool(edge.any()) for edge in (missing[0], missing[-1], missing[:, 0], missing[:, -1])]
    return (height * touched[0], height * touched[1]), (width * touched[2], width * touched[3])


def _inpainted(rgb: NDArray[np.float32], hole: NDArray[np.bool_], inpainter: Inpainter) -> NDArray[np.float32]:
    """float32 [h, w, 3] with the hole filled; the picture is padded to a multiple of the inpainter's stride. All 0.5 if the
    hole is everything."""
    height, width = hole.shape
    if hole.all():
        return np.full_like(rgb, 0.5)
    pixels = _padded(rgb, inpainter.stride).transpose(2, 0, 1)[None]
    filled = inpainter(np.ascontiguousarray(pixels), _padded(hole, inpainter.stride)[None, None])[0]
    return np.ascontiguousarray(filled.transpose(1, 2, 0)[:height, :width])


def _padded(picture: NDArray, stride: int) -> NDArray:
    """[H, W, ...] padded so that both sides are multiples of `stride`."""
    sides = [(0, -side % stride) for side in picture.shape[:2]]
    return np.pad(picture, [*sides, *[(0, 0)] * (picture.ndim - 2)], mode="symmetric")
