"""Writes filled values into the native planes of a frame, and nowhere else than in its hole.

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

RAMP = 4 / 480
"""Width of the transition at the outer edge of the ring as a share of the frame's height. The ring holds the thing's soft
edge and motion blur: further in, nothing of the old picture may stay."""

RAMP_SHARE = 0.5  # of the ring, at most


@dataclass(frozen=True, slots=True, eq=False)
class PlaneHole:
    """The hole on the grid of one component."""

    top: int
    left: int
    """Where the crop lies in the plane."""
    area: NDArray[np.bool_]
    """[h, w] samples that may change."""
    alpha: NDArray[np.float32]
    """[h, w] share of the new value: 1 on the core, falling to 0 at the outer edge of the ring."""
    shift_y: int
    shift_x: int

    @property
    def span(self) -> tuple[slice, slice]:
        """Rows and columns of the crop within the plane."""
        rows, columns = self.area.shape
        return slice(self.top, self.top + rows), slice(self.left, self.left + columns)

    def points(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(x, y) luma px of the centres of the samples that may change, float32 [N] each, row by row."""
        rows, columns = np.nonzero(self.area)
        x = (columns + self.left).astype(np.float32) * (1 << self.shift_x) + ((1 << self.shift_x) - 1) / 2
        y = (rows + self.top).astype(np.float32) * (1 << self.shift_y) + ((1 << self.shift_y) - 1) / 2
        return x, y


def plane_holes(hole: Hole, layout: PixelLayout) -> list[PlaneHole]:
    """The hole on every component (alpha too, when the layout has it); chroma planes share one object."""
    grid_y, grid_x = 1 << layout.shift_y, 1 << layout.shift_x
    top, left = hole.y // grid_y * grid_y, hole.x // grid_x * grid_x
    pad = ((hole.y - top, 0), (hole.x - left, 0))
    area, core = np.pad(hole.area, pad), np.pad(hole.core, pad)
    alpha = ring_alpha(core, area, hole.size[0])
    made: dict[tuple[int, int], PlaneHole] = {}
    out = []
    for plane in range(layout.colour_planes + layout.alpha):
        shifts = layout.shifts(plane)
        if shifts not in made:
            down_y, down_x = shifts
            where = area if shifts == (0, 0) else chroma_hole(area, layout, plane)
            share = alpha if shifts == (0, 0) else _largest(alpha, where.shape, down_y, down_x)
            made[shifts] = PlaneHole(top >> down_y, left >> down_x, where, share, down_y, down_x)
        out.append(made[shifts])
    return out


def ring_alpha(core: NDArray[np.bool_], area: NDArray[np.bool_], height: int) -> NDArray[np.float32]:
    """float32 [h, w]: 1 on `core` and well inside `area`, falling to 0 at the outer edge of the ring, 0 outside."""
    if not (area & ~core).any() or not rules.enabled("blend.soft_edge"):
        return area.astype(np.float32)
    framed = np.pad(area, 1).astype(np.uint8)
    depth = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]
    to_core = cv2.distanceTransform((~core).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    ramp = max(RAMP * height, 1.5)
    # the inner half of a narrow ring is covered as fully as the core: there the thing's soft edge lies
    reach = np.minimum(ramp, RAMP_SHARE * (depth + to_core))
    alpha = np.clip(depth / np.maximum(reach, 1e-3), 0, 1)
    alpha = alpha * alpha * (3 - 2 * alpha)
    return np.where(core, 1.0, np.where(area, alpha, 0.0)).astype(np.float32)


def mixed_at(
    frame: Frame,
    hole: PlaneHole,
    plane: int,
    values: NDArray[np.float32],
    at: tuple[NDArray[np.intp], NDArray[np.intp]],
) -> NDArray:
    """[R] samples of one plane at (rows, columns) as `composite` leaves them there; what it costs goes by the hole."""
    rows, columns = at
    out = frame.planes[plane][rows, columns]
    height, width = hole.area.shape
    down, across = rows - hole.top, columns - hole.left
    inside = np.flatnonzero((down >= 0) & (across >= 0) & (down < height) & (across < width))
    inside = inside[hole.area[down[inside], across[inside]]]
    down, across = down[inside], across[inside]
    nth = np.searchsorted(np.flatnonzero(hole.area), down * width + across)  # in the order of `PlaneHole.points`
    out[inside] = _mixed(hole.alpha[down, across], values[nth], out[inside], frame.layout.bits)
    return out


def composite(frame: Frame, holes: list[PlaneHole], values: list[NDArray[np.float32]]) -> Frame:
    """`frame` with `values` (float32 [N] a plane, in the order of `PlaneHole.points`) laid into its holes."""
    planes = []
    for number, plane in enumerate(frame.planes):
        if number >= len(values):
            planes.append(plane)
            continue
        hole, new = holes[number], plane.copy()
        crop = new[hole.span]
        crop[hole.area] = _mixed(hole.alpha[hole.area], values[number], crop[hole.area], frame.layout.bits)
        planes.append(new)
    return frame.with_planes(tuple(planes))


def _mixed(share: NDArray[np.float32], new: NDArray[np.float32], old: NDArray, bits: int) -> NDArray:
    """[N] of the dtype of `old`: of it nothing where the share of the `new` is 1, not even a rounding."""
    mixed = share * new + (1 - share) * old.astype(np.float32)
    return np.clip(np.rint(mixed), 0, (1 << bits) - 1).astype(old.dtype)


def _largest(alpha: NDArray[np.float32], shape: tuple[int, ...], shift_y: int, shift_x: int) -> NDArray[np.float32]:
    rows, columns = shape
    padded = np.zeros((rows << shift_y, columns << shift_x), np.float32)
    padded[: alpha.shape[0], : alpha.shape[1]] = alpha
    cells = [padded[y :: 1 << shift_y, x :: 1 << shift_x] for y in range(1 << shift_y) for x in range(1 << shift_x)]
    return np.maximum.reduce(cells)


def by_grid(holes: list[PlaneHole]) -> list[tuple[PlaneHole, list[int]]]:
    """Planes that share a sampling grid, together."""
    grids: dict[int, tuple[PlaneHole, list[int]]] = {}
    for number, hole in enumerate(holes):
        grids.setdefault(id(hole), (hole, []))[1].append(number)
    return list(grids.values())
