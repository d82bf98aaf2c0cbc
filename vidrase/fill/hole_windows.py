"""A large still is filled in windows around its holes: time and memory are those of the holes, not of the picture.

A window that is itself large is filled at a size that an ordinary photograph has, and enlarged inside the hole.
Invariant: nothing of the picture outside a window is looked at, and planes outside the hole are bit-identical.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.fill.composite import composite, plane_holes
from vidrase.fill.inpainting import CONTEXT, MIN_CONTEXT
from vidrase.frames import Box, Frame, Hole, HoleFrame

LARGE = 16_000_000
"""Pixels of a still from which windows are used. Whole, a hole of 600x400 px in 100 megapixels took 12 of 28 s of processor time
for masks, distances and reductions of the whole picture."""
WHOLE = 12_000_000
"""Pixels of a window up to which it is filled as it is. A person of 5.5 % of 100 megapixels, with surroundings, took 6 GB and
more than nine minutes of processor time."""
COARSE = 8  # px of the hole's crop that are one when its parts are looked for
SPARE = 32  # px around what the inpainter looks at: the rim of the hole that is compared

FillWhole = Callable[[HoleFrame], Frame]
"""Fills one frame as a whole."""


def windows(still: HoleFrame) -> list[Box]:
    """The windows around the parts of the hole, which do not overlap; empty: the picture is to be filled whole."""
    height, width = still.frame.size
    if still.hole is None or still.passes or height * width < LARGE:
        return []
    return _apart([_with_context(box, still.frame) for box in _parts(still.hole)])


def fill_in_windows(still: HoleFrame, boxes: list[Box], fill_whole: FillWhole) -> Frame:
    """`still` with each of the windows `boxes` filled as a picture of its own."""
    frame, hole = still.frame, still.hole
    assert hole is not None
    planes = [plane.copy() for plane in frame.planes]
    for box in boxes:
        window = HoleFrame(_cut_out(frame, box), _hole_in(hole, box))
        factor = math.ceil(math.sqrt(window.frame.height * window.frame.width / WHOLE))
        filled = fill_whole(window) if factor == 1 else _enlarged(window, fill_whole(_reduced(window, factor)), factor)
        for number, part in enumerate(filled.planes):
            planes[number][_span(frame, box, number)] = part
    return frame.with_planes(tuple(planes))


def _parts(hole: Hole) -> list[Box]:
    """The boxes of the separate parts of the hole, in the frame."""
    rows, columns = hole.area.shape
    size = (-(-columns // COARSE), -(-rows // COARSE))
    coarse = cv2.resize(hole.area.view(np.uint8) * np.uint8(255), size, interpolation=cv2.INTER_AREA) > 0
    count, _, stats, _ = cv2.connectedComponentsWithStats(coarse.view(np.uint8), connectivity=8)
    boxes = []
    for x, y, wide, high, _ in stats[1:count].tolist():
        # a pixel of the reduced crop may lie across two of its cells
        y0, x0 = max((y - 1) * COARSE, 0), max((x - 1) * COARSE, 0)
        y1, x1 = min((y + high + 1) * COARSE, rows), min((x + wide + 1) * COARSE, columns)
        boxes.append((hole.y + y0, hole.y + y1, hole.x + x0, hole.x + x1))
    return boxes


def _with_context(box: Box, frame: Frame) -> Box:
    """What the inpainter looks at around a hole in `box`, on the grid of the chroma."""
    y0, y1, x0, x1 = box
    margin_y, margin_x = (round(max(CONTEXT * side, MIN_CONTEXT)) + SPARE for side in (y1 - y0, x1 - x0))
    grid_y, grid_x = 1 << frame.layout.shift_y, 1 << frame.layout.shift_x
    top, left = max(y0 - margin_y, 0) // grid_y * grid_y, max(x0 - margin_x, 0) // grid_x * grid_x
    bottom, right = -(-(y1 + margin_y) // grid_y) * grid_y, -(-(x1 + margin_x) // grid_x) * grid_x
    return top, min(bottom, frame.height), left, min(right, frame.width)


def _apart(boxes: list[Box]) -> list[Box]:
    """`boxes` with those that overlap joined, so that no window holds a part of another's hole."""
    apart: list[Box] = []
    for box in boxes:
        while overlapping := [other for other in apart if _overlap(box, other)]:
            for other in overlapping:
                apart.remove(other)
                box = min(box[0], other[0]), max(box[1], other[1]), min(box[2], other[2]), max(box[3], other[3])
        apart.append(box)
    return apart


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[1] and b[0] < a[1] and a[2] < b[3] and b[2] < a[3]


def _span(frame: Frame, box: Box, number: int) -> tuple[slice, slice]:
    """The samples of a plane that lie in `box`."""
    shift_y, shift_x = frame.layout.shifts(number)
    y0, y1, x0, x1 = box
    return slice(y0 >> shift_y, -(-y1 >> shift_y)), slice(x0 >> shift_x, -(-x1 >> shift_x))


def _cut_out(frame: Frame, box: Box) -> Frame:
    planes = tuple(plane[_span(frame, box, number)].copy() for number, plane in enumerate(frame.planes))
    return Frame(planes, frame.layout, frame.index, frame.pts, frame.time_base, frame.duration, frame.orientation)


def _hole_in(hole: Hole, box: Box) -> Hole:
    """The part of `hole` in `box`, which it does not leave."""
    y0, y1, x0, x1 = box
    top, left = max(y0 - hole.y, 0), max(x0 - hole.x, 0)
    inside = np.s_[top : y1 - hole.y, left : x1 - hole.x]
    core, area = hole.core[inside], hole.area[inside]

    def placed(crop: NDArray[np.bool_]) -> NDArray[np.bool_]:
        whole = np.zeros((y1 - y0, x1 - x0), bool)
        row, column = max(hole.y - y0, 0), max(hole.x - x0, 0)
        whole[row : row + crop.shape[0], column : column + crop.shape[1]] = crop
        return whole

    part = Hole.of(placed(core), placed(area))
    assert part is not None
    return part


def _reduced(window: HoleFrame, factor: int) -> HoleFrame:
    """`window` at a whole fraction of its size; a pixel is of the hole where any under it is."""
    frame, hole = window.frame, window.hole
    assert hole is not None
    height, width = (
        -(-side // (factor << shift)) << shift for side, shift in zip(frame.size, _shifts(frame), strict=True)
    )
    planes = []
    for number, plane in enumerate(frame.planes):
        shift_y, shift_x = frame.layout.shifts(number)
        rows, columns = -(-height >> shift_y), -(-width >> shift_x)
        padded = _padded(plane, (rows * factor, columns * factor))
        planes.append(cv2.resize(padded, (columns, rows), interpolation=cv2.INTER_AREA))
    core, area = (
        cv2.resize(
            _padded(mask.astype(np.uint8) * np.uint8(255), (height * factor, width * factor)),
            (width, height),
            interpolation=cv2.INTER_AREA,
        )
        > 0
        for mask in (hole.full_core(), hole.full_area())
    )
    small = Frame(
        tuple(planes), frame.layout, frame.index, frame.pts, frame.time_base, frame.duration, frame.orientation
    )
    return HoleFrame(small, Hole.of(core, area))


def _enlarged(window: HoleFrame, filled: Frame, factor: int) -> Frame:
    """`window` with its hole filled from `filled`, its reduced picture."""
    frame, hole = window.frame, window.hole
    assert hole is not None
    holes, values = plane_holes(hole, frame.layout), []
    for number, place in enumerate(holes):
        small = filled.planes[number]
        rows, columns = (np.arange(side.start, side.stop, dtype=np.float32) for side in place.span)
        # where the centre of each sample lies among those of the reduced plane
        x, y = ((axis + 0.5) / factor - 0.5 for axis in (columns, rows))
        large = cv2.remap(
            small,
            np.broadcast_to(x, place.area.shape),
            np.broadcast_to(y[:, None], place.area.shape),
            cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REPLICATE,
        )
        values.append(large[place.area].astype(np.float32))
    return composite(frame, holes, values)


def _shifts(frame: Frame) -> tuple[int, int]:
    return frame.layout.shift_y, frame.layout.shift_x


def _padded(plane: NDArray, size: tuple[int, int]) -> NDArray:
    """`plane` continued at its lower and right border up to `size`."""
    below, right = size[0] - plane.shape[0], size[1] - plane.shape[1]
    return cv2.copyMakeBorder(plane, 0, below, 0, right, cv2.BORDER_REPLICATE)
