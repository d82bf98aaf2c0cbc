"""Background that moves before a still camera (leaves, water): as it moved at another moment, not as its median.

A median of what moves is a blur that stands still. Instead a run of frames is played on and back, entered where it fits what
lies around the hole (Schödl, Szeliski, Salesin, Essa, "Video Textures", SIGGRAPH 2000), and each is bent to where the leaves
around the hole are now, so that no outline shows.
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

RESTLESS = 4 / 255
"""How far samples wander from the median, of full scale and at least, and in multiples of the noise, where something moves."""
NOISE = 4.0
CELL, SHARE = 24 / 480, 0.3
"""Side of the cells, as a share of the height, of which that share must be restless: an edge alone flickers too."""
LEAST = 0.03
"""Side of the restless part of the hole, as a share of the height, from which it is worth it."""
COVERED, BEARABLE = 0.97, 0.3
"""Share of the restless part of the hole that a moment must show: to play on, to be taken at all."""
BUFFER = 32  # frames that are played on and back
MEMORY = 128 << 20  # bytes of them
FADE = 8  # frames over which one run goes over into another
STRAY, WANDER = 7.0, 1.2
"""How far from the plate, 0..255, and beyond how far samples wander there, a pixel of the grid is strange."""
AGES, AROUND, MOST = 4, 0.06, 0.7
"""Frames on either side, side as a share of the height, and share of all pixels there from which somebody stands there."""
MARGIN = 4  # px of the grid around it
POINTS = 600  # of the hole's restless part that are asked whether a moment shows them


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """What of one hole comes from another moment."""

    moment: WindowFrame
    weight: NDArray[np.float32]
    """[h, w] in [0, 1], of the hole's luma."""
    offsets: list[float]
    """What to add to its planes so that they are as bright as the plate's."""
    motion: CompletedFlow
    """From the frame at hand to it, on the working grid."""
    grid: WorkGrid

    def at(self, x: NDArray[np.float32], y: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Where the points (x, y) luma px of the frame at hand are in it."""
        moved = self.motion.at(*self.grid.to_grid(x, y))
        return x + moved[:, 0] / np.float32(self.grid.scale_x), y + moved[:, 1] / np.float32(self.grid.scale_y)


class DynamicTexture:
    """The restless part of one still shot, and which run of frames is played there."""

    def __init__(self, plate: Plate, bits: int, flow: FlowModel) -> None:
        self.plate = plate
        self._flow = flow
        self._full = (1 << bits) - 1
        self.weight = dynamic_background_mask(plate, self._full)
        """float32 [H, W] in [0, 1] of the luma; None: nothing moves."""
        self._held: dict[int, WindowFrame] = {}  # last visited last
        self._at: int | None = None
        self._step = 1
        self._before: WindowFrame | None = None  # what is faded out
        self._fade = 0
        self._small: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []  # the plate and its wander, on the grid
        self._odd: dict[int, NDArray[np.bool_]] = {}  # by moment

    def moves(self, hole: PlaneHole) -> bool:
        """Whether enough of the luma `hole` hides what moves."""
        if self.weight is None:
            return False
        hidden = int(((self.weight[hole.span] > 0.5) & hole.area).sum())
        return hidden >= max((LEAST * self.weight.shape[0]) ** 2, 16)

    def layers(
        self, here: WindowFrame, hole: PlaneHole, moments: Mapping[int, WindowFrame], grid: WorkGrid
    ) -> list[Overlay]:
        """What to lay over the plate in the luma `hole` of `here`, one over the other; nothing where no moment shows it."""
        if self.weight is None or not self.moves(hole):
            return []
        rows, columns = np.nonzero((self.weight[hole.span] > 0.5) & hole.area)
        some = np.linspace(0, len(rows) - 1, min(POINTS, len(rows))).astype(np.intp)
        x = ((columns[some] + hole.left + 0.5) * grid.scale_x).astype(np.intp)
        y = ((rows[some] + hole.top + 0.5) * grid.scale_y).astype(np.intp)
        self._go_on(here, y, x, moments)
        if self._at is None:
            return []
        shown = [(self._held[self._at], 1.0)]
        if self._fade and self._before is not None:
            self._fade -= 1
            shown = [(self._before, 1.0), (shown[0][0], 1 - (self._fade + 1) / (FADE + 1))]
        return [self._layer(here, moment, hole, share, moments, grid) for moment, share in shown]

    def _go_on(
        self, here: WindowFrame, y: NDArray[np.intp], x: NDArray[np.intp], moments: Mapping[int, WindowFrame]
    ) -> None:
        """Find the moment to show, `_at`: the next of the run if it shows the points (x, y) of the grid, another run if not."""

        def shows(number: int) -> float:
            there = self._held.get(number) or moments.get(number)
            # the frame itself never does: what hides there may be a shadow, which its mask does not know
            if there is None or number == here.number or there.shot != here.shot or there.luma.shape != here.luma.shape:
                return 0.0
            return 1.0 if there.area is None else 1 - float(there.area[y, x].mean())

        if self._at is not None:
            for step in (self._step, -self._step):
                if shows(self._at + step) >= COVERED:
                    self._visit(self._at + step, moments)
                    self._step = step
                    return
            self._before, self._fade = self._held.get(self._at), FADE
        numbers = sorted({*self._held, *moments})
        share = {number: shows(number) for number in numbers}
        good = [n for n in numbers if share[n] >= COVERED and max(share.get(n + 1, 0), share.get(n - 1, 0)) >= COVERED]
        if not good:
            best = max(numbers, key=lambda number: share[number])
            good = [best] if share[best] >= BEARABLE else []
        if not good:
            self._at, self._before = None, None
            return
        rim = self._rim(here, y, x)
        luma = here.luma[rim].astype(np.float32)

        def misfit(number: int) -> float:
            there = self._held.get(number) or moments[number]
            gap = there.luma[rim] - luma
            return float(np.abs(gap - np.median(gap)).mean()) if len(luma) else 0.0

        best = min(good, key=misfit)
        self._step = 1 if share.get(best + 1, 0) >= COVERED else -1
        self._visit(best, moments)

    def _visit(self, number: int, moments: Mapping[int, WindowFrame]) -> None:
        moment = self._held.pop(number, None) or moments[number]
        self._held[number] = replace(moment, flow_pair=None, picture=None, synthesized=None)
        size = sum(plane.nbytes for plane in moment.frame.planes)
        while len(self._held) > max(min(BUFFER, MEMORY // max(size, 1)), 2):
            del self._held[next(iter(self._held))]
        self._at = number

    def _rim(
        self, here: WindowFrame, y: NDArray[np.intp], x: NDArray[np.intp]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Where on the grid, beside the hole, what is shown must fit."""
        assert here.area is not None
        region = np.zeros(here.luma.shape, bool)
        region[y, x] = True
        rows, columns = np.nonzero(dilate(region, 6) & ~dilate(here.area, 1))
        return rows, columns

    def _layer(
        self,
        here: WindowFrame,
        there: WindowFrame,
        hole: PlaneHole,
        share: float,
        moments: Mapping[int, WindowFrame],
        grid: WorkGrid,
    ) -> Overlay:
        """The luma `hole` of `here` as `there` shows it, with soft borders where it does not."""
        assert self.weight is not None
        plate = self.plate
        # what moves is measured around the restless part of the hole only
        part = np.zeros(self.weight.shape, bool)
        part[hole.span] = hole.area & (self.weight[hole.span] > 0)
        near = replace(here, box=Box.around(grid.shrink(part), MARGIN), occluder=None, protected=None)
        over = replace(there, number=-1 - there.number, box=near.box, occluder=None, protected=None)
        motion = FlowEstimator(self._flow).over(near, over).forward
        bad = self._strange(there, moments, grid)
        holes = there.plane_holes
        if holes is not None:
            other = np.zeros(self.weight.shape, bool)
            other[holes[0].span] = holes[0].area
            bad |= dilate(other, 2)
        rows, columns = np.nonzero(hole.area)
        x, y = (columns + hole.left).astype(np.float32), (rows + hole.top).astype(np.float32)
        free = np.zeros(hole.area.shape, np.float32)
        free[hole.area] = self.weight[hole.span][hole.area]
        offsets = [
            -light_offset(base[::4, ::4], plane[::4, ::4], known[::4, ::4])
            for base, plane, known in zip(plate.planes, there.frame.planes, plate.known, strict=False)
        ]
        layer = Overlay(there, free, offsets, motion, grid)
        to_x, to_y = layer.at(x, y)
        free[rows, columns] *= at(1 - bad.astype(np.float32), to_x, to_y)
        # soft where it ends within the hole, not at the hole's own border
        inner = cv2.blur(free, (5, 5)) / np.maximum(cv2.blur(hole.area.astype(np.float32), (5, 5)), 1e-3)
        return replace(layer, weight=np.minimum(free, inner) * np.float32(share))

    def _strange(self, there: WindowFrame, moments: Mapping[int, WindowFrame], grid: WorkGrid) -> NDArray[np.bool_]:
        """bool [H, W] of the luma: where something else than what sways stands around the time of `there`.

        Of leaves that swing some are far from where they mostly are; who stands before them differs nearly everywhere.
        """
        assert self.weight is not None
        total, count = np.zeros(grid.size, np.float32), np.zeros(grid.size, np.float32)
        for number in range(there.number - AGES, there.number + AGES + 1):
            other = self._held.get(number) or moments.get(number)
            if other is None or other.shot != there.shot or other.luma.shape != grid.size:
                continue
            free = 1.0 if other.area is None else (~other.area).astype(np.float32)
            total += self._apart(other, grid) * free
            count += free
        self._odd = {n: map_ for n, map_ in self._odd.items() if n in self._held or n in moments}
        side = max(round(AROUND * grid.height), 3)
        strange = dilate(cv2.blur(total / np.maximum(count, 1), (side, side)) > MOST, side)
        height, width = self.weight.shape
        return cv2.resize(strange.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0

    def _apart(self, moment: WindowFrame, grid: WorkGrid) -> NDArray[np.bool_]:
        """bool [h, w] of the grid: where any component is farther from the plate than what sways goes."""
        if moment.number not in self._odd:
            size, scale = (grid.width, grid.height), 255 / self._full

            def small(plane: NDArray) -> NDArray[np.float32]:
                return cv2.resize(plane, size, interpolation=cv2.INTER_AREA).astype(np.float32) * scale

            if not self._small:
                self._small = [(small(a), small(b)) for a, b in zip(self.plate.planes, self.plate.spread, strict=True)]
            odd = np.zeros(grid.size, bool)
            for plane, (base, wander) in zip(moment.frame.planes, self._small, strict=False):
                gap = small(plane) - base
                odd |= np.abs(gap - np.median(gap[::4, ::4])) > STRAY + WANDER * wander
            self._odd[moment.number] = odd
        return self._odd[moment.number]


def dynamic_background_mask(plate: Plate, full: int) -> NDArray[np.float32] | None:
    """float32 [H, W] in [0, 1]: where the background moves; None: nowhere."""
    moves = plate.spread[0] > max(RESTLESS * full, NOISE * plate.noise[0])
    side = max(round(CELL * moves.shape[0]), 3)
    share = cv2.blur((moves & plate.known[0]).astype(np.float32), (side, side))
    where = (share > SHARE).astype(np.uint8)
    if not where.any():
        return None
    # a cell reaches beyond what moves by half its side; the border is soft, there both are the same
    whole = cv2.morphologyEx(where, cv2.MORPH_CLOSE, np.ones((side, side), np.uint8))
    return np.asarray(cv2.blur(whole.astype(np.float32), (side // 2 + 1, side // 2 + 1)), np.float32)


def sample_overlays(
    layers: list[Overlay], hole: PlaneHole, planes: list[int], x: NDArray[np.float32], y: NDArray[np.float32]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """(values [N, len(planes)], weights [N]) of every layer at the points (x, y) luma px of `hole`; `planes` have its grid."""
    for layer in layers:
        height, width = layer.weight.shape
        down = np.clip(y.astype(np.intp) - (hole.top << hole.shift_y), 0, height - 1)
        along = np.clip(x.astype(np.intp) - (hole.left << hole.shift_x), 0, width - 1)
        values = SourcePlanes(layer.moment.frame.planes).at(planes, *layer.at(x, y), hole.shift_y, hole.shift_x)
        yield values + np.array([layer.offsets[plane] for plane in planes], np.float32), layer.weight[down, along]
