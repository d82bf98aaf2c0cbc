"""Sample the sources of a hole plane by plane at native resolution, compensate their exposure and blend them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.colour import PixelLayout
from vidrase.fill.composite import PlaneHole
from vidrase.fill.flow_completion import dilate
from vidrase.fill.membrane import membrane
from vidrase.fill.sampling import at
from vidrase.fill.source_planes import SourcePlanes
from vidrase.fill.trajectories import GridPoints, Points, interpolate
from vidrase.fill.window_frame import Box, SourceMap, WorkGrid
from vidrase.light import Light

Values = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class SampleSites:
    """The points of one plane grid that need a value: those of the hole, then those of the rim around it."""

    hole: PlaneHole
    x: Points
    y: Points
    """[N] luma px."""
    count: int
    """Number of points in the hole; the others are the rim's."""
    rim: tuple[NDArray[np.intp], NDArray[np.intp]]
    """(rows, columns) of the rim's samples in the plane, [R] each."""
    reach: int
    """Width of the rim, samples."""

    @classmethod
    def of(cls, hole: PlaneHole, shape: tuple[int, int], rim: int) -> SampleSites:
        """The points of `hole` in a plane of `shape` (rows, columns), with a rim of `rim` samples around it."""
        x, y = hole.points()
        rows, columns = hole.area.shape
        top, left = max(hole.top - rim, 0), max(hole.left - rim, 0)
        bottom, right = min(hole.top + rows + rim, shape[0]), min(hole.left + columns + rim, shape[1])
        area = np.zeros((bottom - top, right - left), bool)
        area[hole.top - top : hole.top - top + rows, hole.left - left : hole.left - left + columns] = hole.area
        rim_rows, rim_columns = np.nonzero(dilate(area, rim) & ~area)
        rim_rows, rim_columns = rim_rows + top, rim_columns + left
        grid_y, grid_x = 1 << hole.shift_y, 1 << hole.shift_x
        rim_x = (rim_columns * grid_x + (grid_x - 1) / 2).astype(np.float32)
        rim_y = (rim_rows * grid_y + (grid_y - 1) / 2).astype(np.float32)
        return cls(hole, np.concatenate([x, rim_x]), np.concatenate([y, rim_y]), len(x), (rim_rows, rim_columns), rim)

    def between(self, grid: WorkGrid, box: Box) -> GridPoints:
        """The points on the work grid, within `box`."""
        return GridPoints.of(box, *grid.to_grid(self.x, self.y))

    def rim_of(self, planes: Sequence[NDArray], numbers: list[int]) -> list[NDArray]:
        """[R] samples of the rim for each of the `planes` in `numbers`."""
        return [planes[number][self.rim] for number in numbers]

    def only(self, chosen: NDArray[np.intp]) -> SampleSites:
        """The points of the hole with the indices `chosen`, without a rim."""
        nothing = np.zeros(0, np.intp)
        return SampleSites(self.hole, self.x[chosen], self.y[chosen], len(chosen), (nothing, nothing), self.reach)


@dataclass(slots=True, eq=False)
class Candidate:
    """One set of values for the points of a plane grid, from one source map."""

    source: NDArray[np.int32]
    """[N] number of the source; -1: none."""
    values: list[Values]
    """[N] sample values for each plane of this grid."""
    weight: Values | None = None
    """[N] of a source whose light had to be changed, 0..1; None: 1 everywhere."""
    rim_error: Values | None = None
    """[sites.count] expected error, sample values: the difference at the rim, interpolated into the hole."""

    @property
    def valid(self) -> NDArray[np.bool_]:
        """bool [N]: which points have a source."""
        return self.source >= 0


def sample_sources(
    source_map: SourceMap,
    sites: SampleSites,
    planes: list[int],
    points: GridPoints,
    grid: WorkGrid,
    picture_of: Callable[[int], SourcePlanes],
    layout: PixelLayout,
    light_of: Callable[[int], Light | None],
) -> Candidate:
    """Sample the `planes` of the sources in `source_map` at `sites`, in the light of the frame.

    points: the sites within the box of `source_map`, see `SampleSites.between`. picture_of: the planes of a source by its number.
    light_of: the frame's light against that of a source; None: the same. Sources whose light cannot be matched are left out.
    """
    source, dx, dy = interpolate(source_map, points)
    # int16 sorts several times as fast
    order = np.argsort(source.astype(np.int16) if source.max(initial=0) < 1 << 15 else source, kind="stable")
    by_source = source.take(order)
    x = (sites.x + dx / np.float32(grid.scale_x)).take(order)
    y = (sites.y + dy / np.float32(grid.scale_y)).take(order)
    starts = np.flatnonzero(np.diff(by_source, prepend=by_source[:1] - 1)) if len(order) else np.zeros(0, np.intp)
    values, weight = np.zeros((len(order), len(planes)), np.float32), None
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(order)], strict=True):
        if by_source[start] >= 0:
            picture, light = picture_of(int(by_source[start])), light_of(int(by_source[start]))
            part = slice(start, end)
            if light is None:
                values[part] = picture.at(planes, x[part], y[part], sites.hole.shift_y, sites.hole.shift_x)
                continue
            if weight is None:
                weight = np.ones(len(order), np.float32)
            weight[order[part]] = light.confidence
            if light.confidence > 0:
                here = order[part]
                values[part] = relit_samples(
                    picture, planes, x[part], y[part], layout, light, sites.x[here], sites.y[here]
                )
    samples = np.empty((len(planes), len(order)), np.float32)
    samples[:, order] = values.T
    if weight is not None:
        source = np.where(weight > 0, source, -1)
    return Candidate(source, list(samples), weight)


def relit_samples(
    picture: SourcePlanes,
    planes: list[int],
    x: Points,
    y: Points,
    layout: PixelLayout,
    light: Light,
    target_x: Points,
    target_y: Points,
) -> Values:
    """float32 [N, len(planes)]: samples at (x, y) in another light, that of the points (target_x, target_y). Light scales R, G
    and B: all components are needed."""
    colours = [plane for plane in planes if plane < layout.colour_planes]
    samples = np.empty((len(x), layout.colour_planes), np.float32)
    for number in range(layout.colour_planes):
        samples[:, number : number + 1] = picture.at([number], x, y, *layout.shifts(number))
    lit = light.relit(samples, layout, target_x, target_y)
    if len(colours) == len(planes):
        return lit[:, colours]
    alpha = picture.at([layout.colour_planes], x, y, 0, 0)
    return np.concatenate([lit, alpha], axis=1)[:, planes]


# Evidence for blend.exposure, blend.mix: `rules.py`. Values of constants without a figure have no record yet.
LIGHT_REACH = 24 / 255
"""Largest exposure difference between two frames that is compensated, share of full scale."""
CELL = 4  # samples: side of the cells over which the difference at the rim is averaged; texture out of register cancels out


def compensate_exposure(candidate: Candidate, sites: SampleSites, rim_values: Sequence[NDArray], reach: float) -> None:
    """Add a smooth offset per plane, so that the candidate agrees with the frame at the rim. Also sets `rim_error`.

    rim_values: [R] samples of the frame at the rim, for each plane of the candidate. reach: largest offset, sample values.
    """
    valid = candidate.valid[sites.count :]
    if not valid.any() or not rules.enabled("blend.exposure"):
        return
    hole = sites.hole
    rows, columns = hole.area.shape
    pad = CELL * (sites.reach // CELL + 1)
    shape = ((rows + 2 * pad) // CELL + 1, (columns + 2 * pad) // CELL + 1)
    rim_rows, rim_columns = (v[valid] for v in sites.rim)
    cell = ((rim_rows - hole.top + pad) // CELL) * shape[1] + (rim_columns - hole.left + pad) // CELL
    count = np.bincount(cell, minlength=shape[0] * shape[1]).astype(np.float32).reshape(shape)
    offsets = np.empty((*shape, len(rim_values)), np.float32)
    for k, rim_plane in enumerate(rim_values):
        difference = rim_plane[valid].astype(np.float32) - candidate.values[k][sites.count :][valid]
        if k == 0:
            mismatch = np.minimum(np.abs(difference), 3 * reach)
        difference = np.clip(difference, -reach, reach)
        offsets[..., k] = np.bincount(cell, difference, minlength=shape[0] * shape[1]).reshape(shape)
    cell_error = np.bincount(cell, mismatch, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float32)
    cell_error = cv2.GaussianBlur(cell_error, (0, 0), 1.0)[..., None]
    weight = cv2.GaussianBlur(count, (0, 0), 1.0)
    mean = cv2.GaussianBlur(offsets, (0, 0), 1.0).reshape(offsets.shape) / np.maximum(weight, 1e-6)[..., None]
    cell_weight = np.where(count > 0, np.minimum(weight, 1), 0).astype(np.float32)
    field = membrane(np.concatenate([mean, cell_error / np.maximum(weight, 1e-6)[..., None]], axis=2), cell_weight)
    area_rows, area_columns = np.nonzero(hole.area)
    x = ((area_columns + pad + 0.5) / CELL - 0.5).astype(np.float32)
    y = ((area_rows + pad + 0.5) / CELL - 0.5).astype(np.float32)
    correction = at(field, x, y)
    for k in range(len(rim_values)):
        candidate.values[k][: sites.count] += correction[:, k]
    candidate.rim_error = correction[:, len(rim_values)]


def blend(candidates: list[Candidate], count: int) -> tuple[list[Values], NDArray[np.bool_]]:
    """(values [count] per plane, bool [count] where any candidate is valid): the mean of the valid candidates, weighted by
    what their light allows.

    Weights by the length of a trajectory and by the error at the rim were tried: -0.02 and 0.00 dB over twelve moving pairs (the
    record of the ablation).
    """
    weights = np.stack([c.valid[:count] * (1.0 if c.weight is None else c.weight[:count]) for c in candidates])
    weights = weights.astype(np.float32)
    if not rules.enabled("blend.mix"):
        weights *= np.cumsum(weights > 0, 0) == 1  # the first valid one
    total = weights.sum(0)
    weights /= np.maximum(total, 1e-6)
    values = []
    for k in range(len(candidates[0].values)):
        values.append(sum(w * c.values[k][:count] for w, c in zip(weights, candidates, strict=True)).astype(np.float32))
    return values, total > 0
