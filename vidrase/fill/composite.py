"""Write filled values into the native planes of a frame, only in its hole.

Invariant: planes outside `hole.area` (chroma: outside `chroma_hole` of it) are bit-identical.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.colour import PixelLayout, chroma_hole
from vidrase.frames import Frame, Hole

# Evidence for blend.soft_edge: `rules.py`. Values of constants without a figure have no record yet.
RAMP = 4 / 480
"""Width of the transition at the outer edge of the ring, as a share of the frame's height. The ring holds the object's soft edge
and motion blur, so further in nothing of the old frame may stay."""

RAMP_SHARE = 0.5  # share of the ring's width that the transition covers at most


@dataclass(frozen=True, slots=True, eq=False)
class PlaneHole:
    """The hole on the grid of one plane."""

    top: int
    left: int
    """(top, left): position of the crop in the plane, samples."""
    area: NDArray[np.bool_]
    """[h, w] samples that may change."""
    alpha: NDArray[np.float32]
    """[h, w] weight of the new value: 1 on the core, falling to 0 at the outer edge of the ring."""
    shift_y: int
    shift_x: int
    """log2 of the subsampling against luma."""

    @property
    def span(self) -> tuple[slice, slice]:
        """Slices of the crop's rows and columns within the plane."""
        rows, columns = self.area.shape
        return slice(self.top, self.top + rows), slice(self.left, self.left + columns)

    def points(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(x, y) luma px of the centres of the samples that may change, float32 [N] each, row by row."""
        rows, columns = np.nonzero(self.area)
        x = (columns + self.left).astype(np.float32) * (1 << self.shift_x) + ((1 << self.shift_x) - 1) / 2
        y = (rows + self.top).astype(np.float32) * (1 << self.shift_y) + ((1 << self.shift_y) - 1) / 2
        return x, y


def plane_areas(hole: Hole, layout: PixelLayout) -> list[tuple[tuple[slice, slice], NDArray[np.bool_]]]:
    """For every plane, also alpha if the layout has it: (span of the hole's crop, bool [h, w] samples that may change)."""
    area, top, left = _on_chroma_grid(hole, layout, hole.area)
    by_shift: dict[tuple[int, int], tuple[tuple[slice, slice], NDArray[np.bool_]]] = {}
    shifts = [layout.shifts(plane) for plane in range(layout.colour_planes + layout.alpha)]
    for plane, (down_y, down_x) in enumerate(shifts):
        if (down_y, down_x) not in by_shift:
            inside = chroma_hole(area, layout, plane) if down_y or down_x else area
            y, x = top >> down_y, left >> down_x
            by_shift[down_y, down_x] = (slice(y, y + inside.shape[0]), slice(x, x + inside.shape[1])), inside
    return [by_shift[one] for one in shifts]


def plane_holes(hole: Hole, layout: PixelLayout) -> list[PlaneHole]:
    """The hole on every plane, also alpha if the layout has it. Planes with the same subsampling share one object."""
    area, _, _ = _on_chroma_grid(hole, layout, hole.area)
    alpha = ring_alpha(_on_chroma_grid(hole, layout, hole.core)[0], area, hole.size[0])
    by_shift: dict[tuple[int, int], PlaneHole] = {}
    out = []
    for plane, ((rows, columns), inside) in enumerate(plane_areas(hole, layout)):
        shifts = layout.shifts(plane)
        if shifts not in by_shift:
            share = alpha if shifts == (0, 0) else _max_pool(alpha, inside.shape, *shifts)
            by_shift[shifts] = PlaneHole(rows.start, columns.start, inside, share, *shifts)
        out.append(by_shift[shifts])
    return out


def _on_chroma_grid(hole: Hole, layout: PixelLayout, mask: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], int, int]:
    """(a crop of the hole, padded so that it begins at a chroma sample, its top, its left)."""
    grid_y, grid_x = 1 << layout.shift_y, 1 << layout.shift_x
    top, left = hole.y // grid_y * grid_y, hole.x // grid_x * grid_x
    return np.pad(mask, ((hole.y - top, 0), (hole.x - left, 0))), top, left


def ring_alpha(core: NDArray[np.bool_], area: NDArray[np.bool_], height: int) -> NDArray[np.float32]:
    """float32 [h, w]: 1 on `core` and well inside `area`, falling to 0 at the outer edge of the ring, 0 outside."""
    if not (area & ~core).any() or not rules.enabled("blend.soft_edge"):
        return area.astype(np.float32)
    padded = np.pad(area, 1).astype(np.uint8)
    edge_distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]
    core_distance = cv2.distanceTransform((~core).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    ramp = max(RAMP * height, 1.5)
    # the object's soft edge lies in the inner half of a narrow ring: alpha is 1 there, as on the core
    ramp_width = np.minimum(ramp, RAMP_SHARE * (edge_distance + core_distance))
    alpha = np.clip(edge_distance / np.maximum(ramp_width, 1e-3), 0, 1)
    alpha = alpha * alpha * (3 - 2 * alpha)
    return np.where(core, 1.0, np.where(area, alpha, 0.0)).astype(np.float32)


def mixed_at(
    frame: Frame,
    hole: PlaneHole,
    plane: int,
    values: NDArray[np.float32],
    at: tuple[NDArray[np.intp], NDArray[np.intp]],
) -> NDArray:
    """[R] samples of one plane at `at` (rows, columns) as `composite` would leave them, without compositing the plane.

    values: float32 [N] in the order of `PlaneHole.points`.
    """
    rows, columns = at
    out = frame.planes[plane][rows, columns]
    height, width = hole.area.shape
    crop_rows, crop_columns = rows - hole.top, columns - hole.left
    inside = np.flatnonzero((crop_rows >= 0) & (crop_columns >= 0) & (crop_rows < height) & (crop_columns < width))
    inside = inside[hole.area[crop_rows[inside], crop_columns[inside]]]
    crop_rows, crop_columns = crop_rows[inside], crop_columns[inside]
    index = np.searchsorted(
        np.flatnonzero(hole.area), crop_rows * width + crop_columns
    )  # `values` are in the order of `PlaneHole.points`
    out[inside] = _mix(hole.alpha[crop_rows, crop_columns], values[index], out[inside], frame.layout.bits)
    return out


def composite(frame: Frame, holes: list[PlaneHole], values: list[NDArray[np.float32]]) -> Frame:
    """A copy of `frame`, its holes blended with `values`: float32 [N] per plane, in the order of `PlaneHole.points`."""
    planes = []
    for number, plane in enumerate(frame.planes):
        if number >= len(values):
            planes.append(plane)
            continue
        hole, new = holes[number], plane.copy()
        crop = new[hole.span]
        crop[hole.area] = _mix(hole.alpha[hole.area], values[number], crop[hole.area], frame.layout.bits)
        planes.append(new)
    return frame.with_planes(tuple(planes))


def _mix(alpha: NDArray[np.float32], new: NDArray[np.float32], old: NDArray, bits: int) -> NDArray:
    """[N] of the dtype of `old`: alpha times `new` plus the rest of `old`. Where alpha is 1 the result is `new` rounded."""
    mixed = alpha * new + (1 - alpha) * old.astype(np.float32)
    return np.clip(np.rint(mixed), 0, (1 << bits) - 1).astype(old.dtype)


def _max_pool(alpha: NDArray[np.float32], shape: tuple[int, ...], shift_y: int, shift_x: int) -> NDArray[np.float32]:
    """Reduce `alpha` to `shape` by the maximum over cells of (1 << shift_y) x (1 << shift_x) samples."""
    rows, columns = shape
    padded = np.zeros((rows << shift_y, columns << shift_x), np.float32)
    padded[: alpha.shape[0], : alpha.shape[1]] = alpha
    cells = [padded[y :: 1 << shift_y, x :: 1 << shift_x] for y in range(1 << shift_y) for x in range(1 << shift_x)]
    return np.maximum.reduce(cells)


def by_grid(holes: list[PlaneHole]) -> list[tuple[PlaneHole, list[int]]]:
    """Group the planes by sampling grid: (hole, plane numbers) for each grid."""
    grids: dict[int, tuple[PlaneHole, list[int]]] = {}
    for number, hole in enumerate(holes):
        grids.setdefault(id(hole), (hole, []))[1].append(number)
    return list(grids.values())
