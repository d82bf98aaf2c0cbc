"""Dynamic texture behind a still camera (leaves, water): frames of the shot played back over the plate.

The median of a moving background is a blur that stands still. Instead a run of frames is played forward and backward. It starts
at the frame that fits the surroundings of the hole (Schödl, Szeliski, Salesin, Essa, "Video Textures", SIGGRAPH 2000). Each
frame is warped to the current position of the texture around the hole, so that no outline is visible.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.fill.composite import PlaneHole
from vidrase.fill.flow_completion import CompletedFlow, dilate
from vidrase.fill.flow_estimation import FlowEstimator
from vidrase.fill.sampling import at
from vidrase.fill.source_planes import SourcePlanes
from vidrase.fill.window_frame import Box, WindowFrame, WorkGrid
from vidrase.flow import FlowModel
from vidrase.plate import Plate, light_offset

# Evidence for sources.playback: `rules.py`. Values of constants without a figure have no record yet.
MIN_SPREAD = 4 / 255
"""Background moves where the plate's spread exceeds the larger of `MIN_SPREAD` of full scale and `MIN_SPREAD_NOISE` times the
noise."""
MIN_SPREAD_NOISE = 4.0
CELL_SIDE, MIN_CELL_SHARE = 24 / 480, 0.3
"""Side of the cells, as a share of the height, and the share of a cell's pixels that must move: a single edge flickers, too."""
MIN_SIDE = 0.03
"""Side, as a share of the height, of a square as large as the hole's moving part. Below it no overlay is used."""
PLAY_COVERAGE, MIN_COVERAGE = 0.97, 0.3
"""Share of the hole's moving part that a frame must show: to continue or start a run, and to be used alone."""
BUFFER = 32  # frames held for playback
BUFFER_BYTES = 128 << 20  # most bytes of them
FADE = 8  # frames over which one run fades into another
MAX_DEVIATION, SPREAD_FACTOR = 7.0, 1.2
"""A work-grid pixel is an outlier where it differs from the plate by more than `MAX_DEVIATION` (0..255) plus `SPREAD_FACTOR`
times the plate's spread."""
NEIGHBOUR_FRAMES, OUTLIER_WINDOW, MAX_OUTLIER_SHARE = 4, 0.06, 0.7
"""Frames on either side, side of the averaging window as a share of the height, and share of outliers in it above which an
object hides the background."""
BOX_MARGIN = 4  # px of the work grid around the moving part in which flow is estimated
MAX_POINTS = 600  # points of the hole's moving part at which coverage is sampled


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """The part of one hole that comes from another frame."""

    source_frame: WindowFrame
    weight: NDArray[np.float32]
    """[h, w] in [0, 1], on the hole's luma."""
    offsets: list[float]
    """Offset to add to each of its planes to match the plate's exposure."""
    motion: CompletedFlow
    """Flow from the current frame to it, on the work grid."""
    grid: WorkGrid

    def at(self, x: NDArray[np.float32], y: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Coordinates in the source frame of the points (x, y), luma px of the current frame."""
        flow = self.motion.at(*self.grid.to_grid(x, y))
        return x + flow[:, 0] / np.float32(self.grid.scale_x), y + flow[:, 1] / np.float32(self.grid.scale_y)


class DynamicTexture:
    """The moving background of one still shot and its playback buffer."""

    def __init__(self, plate: Plate, bits: int, flow: FlowModel) -> None:
        self.plate = plate
        self._flow = flow
        self._full_scale = (1 << bits) - 1
        self.weight = dynamic_background_mask(plate, self._full_scale)
        """float32 [H, W] in [0, 1] of the luma: where the background moves; None: nowhere."""
        self._held: dict[int, WindowFrame] = {}  # least recently used first
        self._current: int | None = None
        self._step = 1
        self._fading: WindowFrame | None = None  # the frame that fades out
        self._fade_left = 0
        self._small_plate: list[
            tuple[NDArray[np.float32], NDArray[np.float32]]
        ] = []  # the plate and its spread, on the work grid
        self._outliers: dict[int, NDArray[np.bool_]] = {}  # by number of the window frame

    def moves(self, hole: PlaneHole) -> bool:
        """Whether the luma `hole` hides enough of the moving background."""
        if self.weight is None:
            return False
        hidden = int(((self.weight[hole.span] > 0.5) & hole.area).sum())
        return hidden >= max((MIN_SIDE * self.weight.shape[0]) ** 2, 16)

    def overlays(
        self, here: WindowFrame, hole: PlaneHole, window: Mapping[int, WindowFrame], grid: WorkGrid
    ) -> list[Overlay]:
        """Overlays for the luma `hole` of `here`, each composited over the one before; empty where no frame shows the moving
        part."""
        if self.weight is None or not self.moves(hole):
            return []
        rows, columns = np.nonzero((self.weight[hole.span] > 0.5) & hole.area)
        sampled = np.linspace(0, len(rows) - 1, min(MAX_POINTS, len(rows))).astype(np.intp)
        x = ((columns[sampled] + hole.left + 0.5) * grid.scale_x).astype(np.intp)
        y = ((rows[sampled] + hole.top + 0.5) * grid.scale_y).astype(np.intp)
        self._advance(here, y, x, window)
        if self._current is None:
            return []
        played = [(self._held[self._current], 1.0)]
        if self._fade_left and self._fading is not None:
            self._fade_left -= 1
            played = [(self._fading, 1.0), (played[0][0], 1 - (self._fade_left + 1) / (FADE + 1))]
        return [self._overlay(here, window_frame, hole, weight, window, grid) for window_frame, weight in played]

    def _advance(
        self, here: WindowFrame, y: NDArray[np.intp], x: NDArray[np.intp], window: Mapping[int, WindowFrame]
    ) -> None:
        """Choose the frame to show, `_current`: the next of the run if it shows the points (x, y) of the work grid, else the
        start of another run. None if no frame shows enough of them."""

        def coverage(number: int) -> float:
            there = self._held.get(number) or window.get(number)
            # The current frame is never used: what moves in its hole may be a shadow that its mask does not cover.
            if there is None or number == here.number or there.shot != here.shot or there.luma.shape != here.luma.shape:
                return 0.0
            return 1.0 if there.area is None else 1 - float(there.area[y, x].mean())

        if self._current is not None:
            for step in (self._step, -self._step):
                if coverage(self._current + step) >= PLAY_COVERAGE:
                    self._visit(self._current + step, window)
                    self._step = step
                    return
            self._fading, self._fade_left = self._held.get(self._current), FADE
        numbers = sorted({*self._held, *window})
        coverages = {number: coverage(number) for number in numbers}
        candidates = [
            n
            for n in numbers
            if coverages[n] >= PLAY_COVERAGE and max(coverages.get(n + 1, 0), coverages.get(n - 1, 0)) >= PLAY_COVERAGE
        ]
        if not candidates:
            best = max(numbers, key=lambda number: coverages[number])
            candidates = [best] if coverages[best] >= MIN_COVERAGE else []
        if not candidates:
            self._current, self._fading = None, None
            return
        rim = self._rim(here, y, x)
        luma = here.luma[rim].astype(np.float32)

        def misfit(number: int) -> float:
            there = self._held.get(number) or window[number]
            difference = there.luma[rim] - luma
            return float(np.abs(difference - np.median(difference)).mean()) if len(luma) else 0.0

        best = min(candidates, key=misfit)
        self._step = 1 if coverages.get(best + 1, 0) >= PLAY_COVERAGE else -1
        self._visit(best, window)

    def _visit(self, number: int, window: Mapping[int, WindowFrame]) -> None:
        window_frame = self._held.pop(number, None) or window[number]
        self._held[number] = replace(window_frame, flow_pair=None, picture=None, synthesized=None)
        frame_bytes = sum(plane.nbytes for plane in window_frame.frame.planes)
        while len(self._held) > max(min(BUFFER, BUFFER_BYTES // max(frame_bytes, 1)), 2):
            del self._held[next(iter(self._held))]
        self._current = number

    def _rim(
        self, here: WindowFrame, y: NDArray[np.intp], x: NDArray[np.intp]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns of work-grid pixels beside the hole, where the frame to play must fit `here`."""
        assert here.area is not None
        region = np.zeros(here.luma.shape, bool)
        region[y, x] = True
        rows, columns = np.nonzero(dilate(region, 6) & ~dilate(here.area, 1))
        return rows, columns

    def _overlay(
        self,
        here: WindowFrame,
        there: WindowFrame,
        hole: PlaneHole,
        weight: float,
        window: Mapping[int, WindowFrame],
        grid: WorkGrid,
    ) -> Overlay:
        """The overlay of the luma `hole` of `here` from frame `there`, with soft borders where `there` does not show the
        background."""
        assert self.weight is not None
        plate = self.plate
        # Estimate the flow around the hole's moving part only.
        dynamic = np.zeros(self.weight.shape, bool)
        dynamic[hole.span] = hole.area & (self.weight[hole.span] > 0)
        target = replace(
            here, box=Box.around(grid.shrink(dynamic), BOX_MARGIN), occluder=None, moving=None, protected=None
        )
        source = replace(there, number=-1 - there.number, box=target.box, occluder=None, moving=None, protected=None)
        motion = FlowEstimator(self._flow).register(target, source).forward
        outliers = self._outlier_mask(there, window, grid)
        holes = there.plane_holes
        if holes is not None:
            source_hole = np.zeros(self.weight.shape, bool)
            source_hole[holes[0].span] = holes[0].area
            outliers |= dilate(source_hole, 2)
        rows, columns = np.nonzero(hole.area)
        x, y = (columns + hole.left).astype(np.float32), (rows + hole.top).astype(np.float32)
        visible = np.zeros(hole.area.shape, np.float32)
        visible[hole.area] = self.weight[hole.span][hole.area]
        offsets = [
            -light_offset(base[::4, ::4], plane[::4, ::4], known[::4, ::4])
            for base, plane, known in zip(plate.planes, there.frame.planes, plate.known, strict=False)
        ]
        overlay = Overlay(there, visible, offsets, motion, grid)
        to_x, to_y = overlay.at(x, y)
        visible[rows, columns] *= at(1 - outliers.astype(np.float32), to_x, to_y)
        # Soft borders where the overlay ends within the hole, not at the hole's own border.
        smoothed = cv2.blur(visible, (5, 5)) / np.maximum(cv2.blur(hole.area.astype(np.float32), (5, 5)), 1e-3)
        return replace(overlay, weight=np.minimum(visible, smoothed) * np.float32(weight))

    def _outlier_mask(self, there: WindowFrame, window: Mapping[int, WindowFrame], grid: WorkGrid) -> NDArray[np.bool_]:
        """bool [H, W] of the luma: where an object other than the moving background is visible in frames near `there`.

        Of swinging leaves only some pixels differ much from the plate; an object in front differs nearly everywhere.
        """
        assert self.weight is not None
        total, count = np.zeros(grid.size, np.float32), np.zeros(grid.size, np.float32)
        for number in range(there.number - NEIGHBOUR_FRAMES, there.number + NEIGHBOUR_FRAMES + 1):
            other = self._held.get(number) or window.get(number)
            if other is None or other.shot != there.shot or other.luma.shape != grid.size:
                continue
            visible = 1.0 if other.area is None else (~other.area).astype(np.float32)
            total += self._deviates(other, grid) * visible
            count += visible
        self._outliers = {n: map_ for n, map_ in self._outliers.items() if n in self._held or n in window}
        side = max(round(OUTLIER_WINDOW * grid.height), 3)
        outliers = dilate(cv2.blur(total / np.maximum(count, 1), (side, side)) > MAX_OUTLIER_SHARE, side)
        height, width = self.weight.shape
        return cv2.resize(outliers.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0

    def _deviates(self, window_frame: WindowFrame, grid: WorkGrid) -> NDArray[np.bool_]:
        """bool [h, w] of the work grid: where any component differs from the plate by more than the moving background does."""
        if window_frame.number not in self._outliers:
            size, scale = (grid.width, grid.height), 255 / self._full_scale

            def small(plane: NDArray) -> NDArray[np.float32]:
                return cv2.resize(plane, size, interpolation=cv2.INTER_AREA).astype(np.float32) * scale

            if not self._small_plate:
                self._small_plate = [
                    (small(a), small(b)) for a, b in zip(self.plate.planes, self.plate.spread, strict=True)
                ]
            outliers = np.zeros(grid.size, bool)
            for plane, (base, spread) in zip(window_frame.frame.planes, self._small_plate, strict=False):
                difference = small(plane) - base
                outliers |= (
                    np.abs(difference - np.median(difference[::4, ::4])) > MAX_DEVIATION + SPREAD_FACTOR * spread
                )
            self._outliers[window_frame.number] = outliers
        return self._outliers[window_frame.number]


def dynamic_background_mask(plate: Plate, full_scale: int) -> NDArray[np.float32] | None:
    """float32 [H, W] in [0, 1]: where the background moves; None: nowhere. full_scale: largest sample value."""
    dynamic = plate.spread[0] > max(MIN_SPREAD * full_scale, MIN_SPREAD_NOISE * plate.noise[0])
    side = max(round(CELL_SIDE * dynamic.shape[0]), 3)
    share = cv2.blur((dynamic & plate.known[0]).astype(np.float32), (side, side))
    cells = (share > MIN_CELL_SHARE).astype(np.uint8)
    if not cells.any():
        return None
    # A cell extends beyond the moving part by half its side. The border is soft; there the plate and the overlay agree.
    closed = cv2.morphologyEx(cells, cv2.MORPH_CLOSE, np.ones((side, side), np.uint8))
    return np.asarray(cv2.blur(closed.astype(np.float32), (side // 2 + 1, side // 2 + 1)), np.float32)


def sample_overlays(
    overlays: list[Overlay], hole: PlaneHole, planes: list[int], x: NDArray[np.float32], y: NDArray[np.float32]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """(values [N, len(planes)], weights [N]) of every overlay at the points (x, y), luma px, of `hole`; `planes` share its
    subsampling."""
    for layer in overlays:
        height, width = layer.weight.shape
        rows = np.clip(y.astype(np.intp) - (hole.top << hole.shift_y), 0, height - 1)
        columns = np.clip(x.astype(np.intp) - (hole.left << hole.shift_x), 0, width - 1)
        values = SourcePlanes(layer.source_frame.frame.planes).at(planes, *layer.at(x, y), hole.shift_y, hole.shift_x)
        yield values + np.array([layer.offsets[plane] for plane in planes], np.float32), layer.weight[rows, columns]
