"""What no frame of the window shows: carried on, taken from distant pictures, or invented once, and kept through the shot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidrase.fill.chains import carried
from vidrase.fill.colours import LIGHT_REACH, Places, coloured, match_light
from vidrase.fill.complete import grown
from vidrase.fill.composite import PlaneHole, by_grid, composite
from vidrase.fill.distant import FIRST, Distant
from vidrase.fill.invent import canvas, thin
from vidrase.fill.moment import RIM, Box, Grid, Moment, Origins
from vidrase.fill.picture import Picture
from vidrase.inpaint import Inpainter

Values = list[NDArray[np.float32]]
Known = list[NDArray[np.bool_]]

REALIGN = 2
"""Frames after which what comes from distant pictures is laid over anew."""
PULL = 0.5
"""How far it is moved there then. All the way in each frame it flickers (1.35 times as much as a lawn did); never, it drifts."""
LOOK = 4
"""Frames after which it is looked for something better than chains over many frames."""


class Unseen:
    """The memory of one run for what is not seen."""

    def __init__(self, inpainter: Inpainter) -> None:
        self._inpainter = inpainter
        self._canvases: dict[int, Picture] = {}
        self._picture = _Pictures(self._canvases, None)

    def fill(
        self,
        here: Moment,
        before: Moment | None,
        holes: list[PlaneHole],
        values: Values,
        known: Known,
        weak: Known,
        grid: Grid,
        distant: Distant | None,
    ) -> tuple[int, int]:
        """Fill what is not `known` of the hole of `here`. Returns how many luma samples come from distant pictures, and how many
        of these were not known.

        before: the moment before, filled; None: none. values, known: [N] a plane, in the order of `PlaneHole.points`, updated.
        weak: what is known, but would be better from a distant picture. distant: the shot's album, if there is one.
        """
        assert here.box is not None
        self._picture = _Pictures(self._canvases, distant)
        memory = carried(before, here) if before is not None else Origins.empty(here.box)
        shown, before_that = 0, int(known[0].sum())
        if distant is not None:
            shown = self._from_distant(memory, here, holes, values, known, weak, grid, distant)
        else:
            memory.source[memory.source >= FIRST] = -1
        learned = int(known[0].sum()) - before_that
        if (memory.source >= 0).any():
            self._add(memory, here, holes, values, known, grid)
        if not known[0].all():
            frame = composite(here.frame, holes, values)
            missing = np.zeros(here.frame.size, bool)
            crop = missing[holes[0].span]
            crop[holes[0].area] = ~known[0]
            made = canvas(frame, missing, None if thin(missing) else self._inpainter)
            self._canvases[here.number] = made
            # what the canvas does not show must not point to it: it would be filled with its border, drawn out to stripes
            lacking = (grid.shrink(missing)[here.box.span] | (memory.source < 0)) & _shown(made, here.box, grid)
            fresh = Origins.empty(here.box)
            fresh.source[:] = here.number
            self._add(fresh, here, holes, values, known, grid)
            _merge(memory, fresh, lacking)
        here.invented = memory
        used = set(np.unique(memory.source).tolist())
        if before is not None:
            before.invented = None
        for number in [n for n in self._canvases if n not in used]:
            del self._canvases[number]
        return shown, learned

    def _from_distant(
        self,
        memory: Origins,
        here: Moment,
        holes: list[PlaneHole],
        values: Values,
        known: Known,
        weak: Known,
        grid: Grid,
        distant: Distant,
    ) -> int:
        """Put in what the album shows, also over what is `weak`; `memory` learns where it lies."""
        sure = [k & ~w for k, w in zip(known, weak, strict=True)]
        if here.number % REALIGN == 0 and (memory.source >= FIRST).any():
            distant.realigned(here, memory, PULL)
        distant.forget_hidden(memory)
        shown = 0
        if (memory.source >= FIRST).any():
            shown += self._add(_far(memory), here, holes, values, sure, grid)
        if not sure[0].all():
            # what was invented stays as it is: it would change under the eyes
            lacking = self._lacking(here, holes, sure, grid) & (memory.source < FIRST)
            unknown = self._lacking(here, holes, known, grid)
            lacking &= ~(unknown & (memory.source >= 0))
            if (lacking & unknown).any() or (here.number % LOOK == 0 and lacking.any()):
                seen = distant.origins(here, grown(lacking, RIM + 1))
                if (seen.source >= 0).any():
                    shown += self._add(seen, here, holes, values, sure, grid)
                    _merge(memory, seen, (seen.source >= 0) & (lacking | (memory.source < 0)))
        for number, also in enumerate(sure):
            known[number] = known[number] | also
        return shown

    def _lacking(self, here: Moment, holes: list[PlaneHole], known: Known, grid: Grid) -> NDArray[np.bool_]:
        """bool [h, w] in the box of `here`: what is not known, on the working grid."""
        assert here.box is not None
        missing = np.zeros(here.frame.size, bool)
        missing[holes[0].span][holes[0].area] = ~known[0]
        return grid.shrink(missing)[here.box.span]

    def _add(
        self, origins: Origins, here: Moment, holes: list[PlaneHole], values: Values, known: Known, grid: Grid
    ) -> int:
        """Put colours where nothing is known yet. Returns how many luma samples come from distant pictures."""
        distant = 0
        around = composite(here.frame, holes, values).planes if (origins.source >= FIRST).any() else ()
        for hole, planes in by_grid(holes):
            unknown = np.flatnonzero(~known[planes[0]])
            if not len(unknown):
                continue
            shape = here.frame.planes[planes[0]].shape
            rim = max(int(RIM / grid.scale_x) >> hole.shift_x, 1)
            places = Places.of(hole, (shape[0], shape[1]), rim).only(unknown)
            found = coloured(origins, places, planes, places.between(grid, origins.box), grid, self._picture)
            far = found.source >= FIRST
            if far.any():
                lit = self._lit(origins, far, hole, unknown, rim, around, planes, grid, here.frame.layout.bits)
                for k, value in enumerate(lit):
                    found.values[k][far] = value
                distant += int(far.sum()) if planes[0] == 0 else 0
            use = unknown[found.valid]
            for k, plane in enumerate(planes):
                values[plane][use] = found.values[k][found.valid]
            fresh = known[planes[0]].copy()
            fresh[use] = True
            for plane in planes:
                known[plane] = fresh
        return distant

    def _lit(
        self,
        origins: Origins,
        far: NDArray[np.bool_],
        hole: PlaneHole,
        unknown: NDArray[np.intp],
        rim: int,
        around: tuple[NDArray, ...],
        planes: list[int],
        grid: Grid,
        bits: int,
    ) -> Values:
        """What distant pictures show at `far` among the `unknown` places of a hole, in the light of what is `around`."""
        inside = np.zeros(hole.area.shape, bool)
        here = np.nonzero(hole.area)
        inside[here[0][unknown[far]], here[1][unknown[far]]] = True
        part = PlaneHole(hole.top, hole.left, inside, hole.alpha, hole.shift_y, hole.shift_x)
        shape = around[planes[0]].shape
        places = Places.of(part, (shape[0], shape[1]), rim)
        found = coloured(origins, places, planes, places.between(grid, origins.box), grid, self._picture)
        empty = np.zeros((shape[0], shape[1]), bool)
        empty[hole.span][here[0][unknown], here[1][unknown]] = True
        found.source[places.count :][empty[places.rim]] = -1
        match_light(found, places, planes, around, LIGHT_REACH * ((1 << bits) - 1))
        return [value[: places.count] for value in found.values]


@dataclass(frozen=True, slots=True)
class _Pictures:
    """What source numbers stand for."""

    canvases: dict[int, Picture]
    distant: Distant | None

    def __call__(self, number: int) -> Picture:
        if number >= FIRST:
            assert self.distant is not None
            return self.distant.picture(number)
        return self.canvases[number]


def _far(memory: Origins) -> Origins:
    """Only what comes from distant pictures."""
    return Origins(memory.box, np.where(memory.source >= FIRST, memory.source, -1), memory.dx, memory.dy, memory.cost)


def _merge(into: Origins, other: Origins, where: NDArray[np.bool_]) -> None:
    for name in ("source", "dx", "dy", "cost"):
        getattr(into, name)[where] = getattr(other, name)[where]


def _shown(picture: Picture, box: Box, grid: Grid) -> NDArray[np.bool_]:
    """bool [h, w] of the working grid's `box`: where `picture`, a crop of the frame, has something to show."""
    height, width = picture.planes[0].shape
    rows = (np.arange(box.top, box.bottom) + 0.5) / grid.scale_y - 0.5 - picture.y
    columns = (np.arange(box.left, box.right) + 0.5) / grid.scale_x - 0.5 - picture.x
    return ((rows >= 0) & (rows <= height - 1))[:, None] & ((columns >= 0) & (columns <= width - 1))
