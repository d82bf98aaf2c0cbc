"""What no frame of the window shows: carried on, taken from distant pictures, or invented once, and kept through the shot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.camera import CameraMotion
from vidrase.fill.blending import LIGHT_REACH, SampleSites, compensate_exposure, sample_sources
from vidrase.fill.composite import PlaneHole, by_grid, composite, mixed_at
from vidrase.fill.flow_completion import dilate
from vidrase.fill.inpainted_frame import InpaintedFrame, close_gaps, inside_frame, is_sliver
from vidrase.fill.inpainting import inpaint_key_frame, is_thin
from vidrase.fill.key_frame import IDENTITY, camera_between, select_key_frame
from vidrase.fill.propagation import Propagation
from vidrase.fill.reference_frames import FIRST_REFERENCE, ReferenceFrames
from vidrase.fill.sharpness import sharpness_mismatch
from vidrase.fill.source_planes import SourcePlanes
from vidrase.fill.trajectories import BEYOND, warp_source_map
from vidrase.fill.window_frame import RIM, SourceMap, WindowFrame, WorkGrid
from vidrase.frames import Frame
from vidrase.inpaint import Inpainter

Values = list[NDArray[np.float32]]

REALIGN = 2
"""Frames after which what comes from distant pictures is laid over anew."""
PULL = 0.5
"""How far it is moved there then. All the way in each frame it flickers (1.35 times as much as a lawn did); never, it drifts."""
LOOK = 4
"""Frames after which it is looked for something better than chains over many frames."""
FEW = 0.002
"""Share of the hole that is guessed until then, though pages may show it."""
AGAIN = 8
"""Frames after which a better frame to invent on is looked for again."""
RENEW, FADE = 32, 12
"""Frames after which an invention may be renewed again, and over which the old one goes over into the new one."""
KEPT = 4
"""Canvases that are kept though nothing of them is in sight: what they show may come back."""


class SynthesisCache:
    """The memory of one run for what is not seen."""

    def __init__(self, inpainter: Inpainter) -> None:
        self._inpainter = inpainter
        self._canvases: dict[int, InpaintedFrame] = {}  # in the order in which they were painted, which numbers them
        self._painted, self._fresh = 0, -1  # how many were; the one of the moment at hand
        self._ways: dict[int, CameraMotion] = {}  # from the moment `_at` to those of the canvases, where known
        self._at, self._alone = 0, True
        self._shot, self._chosen, self._renewed = -1, -RENEW, -RENEW  # the last two count within the shot
        self._waiting: NDArray[np.bool_] | None = None  # what is guessed for now
        self._fading: SourceMap | None = None  # what a new invention has replaced
        self._picture = _Pictures(self._canvases, None)

    def fill(
        self,
        here: WindowFrame,
        seen: Propagation,
        moments: Mapping[int, WindowFrame],
        reach: int,
        grid: WorkGrid,
        distant: ReferenceFrames | None,
        look: Callable[[WindowFrame], Propagation],
    ) -> tuple[int, int]:
        """Fill what `seen` does not know of the hole of `here`. Returns how many luma samples come from distant pictures, and how
        many of these were not known.

        distant: the shot's album, if there is one. look: what the window shows of the hole of another moment.
        """
        assert here.box is not None
        before, self._fresh = moments.get(here.number - 1), -1
        self._alone = not reach or not any(m.shot == here.shot for n, m in moments.items() if n != here.number)
        if here.shot != self._shot:
            self._shot, self._chosen, self._renewed = here.shot, -RENEW, -RENEW
        another = distant is not self._picture.distant
        self._picture, self._waiting = _Pictures(self._canvases, distant), None
        memory, fading = SourceMap.empty(here.box), self._fading if self._at == here.number - 1 else None
        self._advance(moments, here)
        if before is not None and rules.enabled("synthesis.carry"):
            memory = warp_source_map(before.synthesized, before, here)
        self._fading = warp_source_map(fading, before, here) if before is not None and fading is not None else None
        shown, before_that = 0, int(seen.known[0].sum())
        if another:  # page numbers are those of one album
            for one in (memory, self._fading):
                if one is not None:
                    one.source[one.source >= FIRST_REFERENCE] = -1
        if distant is not None:
            shown = self._from_distant(memory, here, seen, grid, distant)
        learned = int(seen.known[0].sum()) - before_that
        if here.nth % AGAIN == 0 and rules.enabled("synthesis.refocus"):
            for number in set(np.unique(memory.source).tolist()) & self._ways.keys():
                self._canvases[number].match_defocus(here, self._ways[number], grid)
        renewed = self._renew(memory, here, grid)
        copied = list(seen.known)
        if (memory.source >= 0).any():
            self._add(memory, here, seen, grid)
        self._recalled(memory, here, seen, grid, IDENTITY, renewed)
        missing = seen.missing(here.frame.size)
        if self._worth_choosing(here, missing):
            self._chosen = here.nth
            number = select_key_frame(moments, here, grid.shrink(missing), reach)
            ahead = camera_between(moments, here.number, number)
            if number != here.number and ahead is not None:
                self._paint_ahead(moments[number], ahead, grid, distant, look, guesses=not renewed.any())
                self._recalled(memory, here, seen, grid, IDENTITY, renewed)
        border = before is not None and not renewed.any() and rules.enabled("synthesis.border")
        if border and before is not None and not seen.known[0].all():
            mirrored = warp_source_map(before.synthesized, before, here, BEYOND)
            mirrored.source[mirrored.source >= FIRST_REFERENCE] = -1
            self._add(mirrored, here, seen, grid)
            _merge(memory, mirrored, memory.source < 0)
        if not seen.known[0].all():
            self._fresh = self._paint(here, seen, copied[0], IDENTITY)
            # what the canvas does not show must not point to it: it would be filled with its border, drawn out to stripes
            missing = seen.missing(here.frame.size)
            lacking = grid.shrink(missing)[here.box.span] | (memory.source < 0)
            lacking &= self._canvases[self._fresh].shown(here.box, grid)
            fresh = SourceMap.empty(here.box)
            fresh.source[:] = self._fresh
            self._add(fresh, here, seen, grid)
            _merge(memory, fresh, lacking)
        self._fade(here, seen, copied, grid)
        if self._waiting is not None:
            memory.source[self._waiting & (memory.source < FIRST_REFERENCE)] = -1
        here.synthesized = memory
        if before is not None:
            before.synthesized = None
        faded = [] if self._fading is None else np.unique(self._fading.source).tolist()
        self._forget({*np.unique(memory.source).tolist(), *faded})
        return shown, learned

    def _renew(self, memory: SourceMap, here: WindowFrame, grid: WorkGrid) -> NDArray[np.bool_]:
        """Take out of `memory` canvases that do not look like their surroundings any more, and what was guessed beyond the border
        of the frame they were painted on. It fades out. Returns where there was any, bool [h, w].
        """
        goes, rest = np.zeros(memory.source.shape, bool), here.nth - self._renewed
        if here.nth % AGAIN or rest <= FADE or not rules.enabled("synthesis.renew"):
            return goes
        goes |= self._guessed(memory, grid)
        if rest >= RENEW:
            old = [
                number
                for number, to in self._ways.items()
                if sharpness_mismatch(here, self._canvases[number].picture, to, grid)
            ]
            for number in old:  # nor may they come back
                del self._ways[number]
            goes |= np.isin(memory.source, old)
        if goes.any():
            goes = close_gaps(goes) & (memory.source >= 0) & (memory.source < FIRST_REFERENCE)
            kept = memory.dx.copy(), memory.dy.copy()
            self._fading = SourceMap(memory.box, np.where(goes, memory.source, -1), *kept)
            memory.source[goes] = -1
            self._renewed, self._chosen = here.nth, -AGAIN
        return goes

    def _guessed(self, memory: SourceMap, grid: WorkGrid) -> NDArray[np.bool_]:
        """bool [h, w]: what lies beyond the border of the frame it was painted on, or around a sliver, if it is none itself."""
        rows, columns = np.indices(memory.source.shape)
        out = ~inside_frame(columns + memory.box.left + memory.dx, rows + memory.box.top + memory.dy, grid)
        out &= (memory.source >= 0) & (memory.source < FIRST_REFERENCE)
        out |= np.isin(memory.source, [number for number, one in self._canvases.items() if one.sliver])
        return np.zeros_like(out) if is_sliver(out, grid.height) else out

    def _fade(self, here: WindowFrame, seen: Propagation, copied: list[NDArray[np.bool_]], grid: WorkGrid) -> None:
        """Mix in what fades out, where nothing is `copied`."""
        left = self._renewed + FADE - here.nth
        if self._fading is None or left <= 0 or not rules.enabled("synthesis.fade"):
            self._fading = None
            return
        before = replace(seen, values=[value.copy() for value in seen.values], known=list(copied))
        self._add(self._fading, here, before, grid)
        for value, old, was, now in zip(seen.values, before.values, copied, before.known, strict=True):
            both = now & ~was
            value[both] += (old[both] - value[both]) * (left / (FADE + 1))

    def _advance(self, moments: Mapping[int, WindowFrame], here: WindowFrame) -> None:
        """Let the ways to the canvases begin at `here`."""
        back = camera_between(moments, here.number, self._at) if self._ways else None
        self._ways = {} if back is None else {number: to.after(back) for number, to in self._ways.items()}
        self._at = here.number

    def _forget(self, used: set[int]) -> None:
        """Leave out canvases that nothing comes from, but for the last ones."""
        for number in list(self._canvases)[:-KEPT]:
            if number not in used:
                del self._canvases[number]
                self._ways.pop(number, None)

    def _recalled(
        self,
        memory: SourceMap,
        here: WindowFrame,
        seen: Propagation,
        grid: WorkGrid,
        back: CameraMotion,
        anew: NDArray[np.bool_] | None = None,
    ) -> None:
        """Put in what canvases show of what is not known; `memory` learns of it. back: from `here` to the moment at hand.

        anew: bool [h, w] where what lies beyond the border of the frame that a canvas was painted on is not good enough.
        """
        if seen.known[0].all() or not self._ways or not rules.enabled("synthesis.recall"):
            return
        assert here.box is not None
        rows, columns = np.nonzero(dilate(grid.shrink(seen.missing(here.frame.size))[here.box.span], RIM + 1))
        x0, y0 = (columns + here.box.left).astype(np.float32), (rows + here.box.top).astype(np.float32)
        free = np.ones(len(rows), bool) if anew is None else ~anew[rows, columns]
        found = SourceMap.empty(here.box)
        inner = np.zeros(len(rows), bool)
        for number, to in self._ways.items():  # the last one wins, but guesses yield
            x, y = to.after(back).points(x0, y0)
            sure = inside_frame(x, y, grid) & (not self._canvases[number].sliver)
            shows = self._canvases[number].shows(x, y, grid) & (sure | (free & ~inner))
            inner |= shows & sure
            found.source[rows[shows], columns[shows]] = number
            found.dx[rows[shows], columns[shows]] = (x - x0)[shows]
            found.dy[rows[shows], columns[shows]] = (y - y0)[shows]
        found.source[memory.source >= 0] = -1
        self._add(found, here, seen, grid)
        _merge(memory, found, found.source >= 0)

    def _worth_choosing(self, here: WindowFrame, missing: NDArray[np.bool_]) -> bool:
        """Whether to look for a better frame to invent on. Slivers are no matter."""
        if not missing.any() or here.nth < self._chosen + AGAIN or not rules.enabled("synthesis.key_frame"):
            return False
        return not is_thin(missing)

    def _paint_ahead(
        self,
        there: WindowFrame,
        ahead: CameraMotion,
        grid: WorkGrid,
        distant: ReferenceFrames | None,
        look: Callable[[WindowFrame], Propagation],
        *,
        guesses: bool,
    ) -> None:
        """Invent on a moment to come; `ahead` leads to it from the moment at hand. guesses: whether they are good enough."""
        assert there.box is not None
        seen, memory = look(there), SourceMap.empty(there.box)
        if distant is not None:
            self._from_distant(memory, there, seen, grid, distant, patient=False)
        copied = seen.known[0]
        anew = None if guesses else np.ones(there.box.shape, bool)
        self._recalled(memory, there, seen, grid, ahead.inverse(), anew)
        if not seen.known[0].all():
            self._paint(there, seen, copied, ahead)

    def _paint(self, there: WindowFrame, seen: Propagation, copied: NDArray[np.bool_], ahead: CameraMotion) -> int:
        """Make the canvas of a moment, to which `ahead` leads, from what is known of it. Returns its number.

        copied: bool [N], which luma samples of the hole were not made up.
        """
        missing = seen.missing(there.frame.size)
        # lines left of older inventions would part a hole into slivers, for which no texture is made
        between = close_gaps(missing)[seen.holes[0].span][seen.holes[0].area]
        missing[seen.holes[0].span][seen.holes[0].area] |= between & ~copied
        inpainter = None if is_thin(missing) and rules.enabled("synthesis.slivers") else self._inpainter
        self._painted += 1
        whole = composite(there.frame, seen.holes, seen.values)
        made = np.zeros_like(missing)
        made[seen.holes[0].span][seen.holes[0].area] = seen.known[0] & ~copied
        picture = inpaint_key_frame(whole, missing, inpainter, moves=not self._alone, made=made)
        self._canvases[self._painted] = InpaintedFrame(picture, is_sliver(missing, missing.shape[0]))
        self._ways[self._painted] = ahead
        return self._painted

    def _from_distant(
        self,
        memory: SourceMap,
        here: WindowFrame,
        seen: Propagation,
        grid: WorkGrid,
        distant: ReferenceFrames,
        *,
        patient: bool = True,
    ) -> int:
        """Put in what the album shows, also over what is weak; `memory` learns where it lies.

        patient: whether it is asked again for the next frame.
        """
        assert here.box is not None
        assert here.area is not None
        known = seen.known
        sure = replace(seen, known=[k & ~w for k, w in zip(known, seen.low_confidence, strict=True)])
        if here.nth % REALIGN == 0 and (memory.source >= FIRST_REFERENCE).any() and rules.enabled("sources.realign"):
            distant.correct_drift(here, memory, PULL, here.nth // REALIGN)
        unknown = grid.shrink(seen.missing(here.frame.size))[here.box.span]
        distant.grow_region(here, memory, dilate(unknown, RIM + 1))
        distant.drop_occluded(memory)
        shown = 0
        if (memory.source >= FIRST_REFERENCE).any():
            shown += self._add(_far(memory), here, sure, grid)
        if not sure.known[0].all():
            # what was invented stays as it is: it would change under the eyes
            lacking = grid.shrink(sure.missing(here.frame.size))[here.box.span] & (memory.source < FIRST_REFERENCE)
            lacking &= ~(unknown & (memory.source >= 0))
            if patient and here.nth % LOOK:  # what chains show can wait, and so can a few pixels
                lacking &= unknown
                self._waiting = lacking if np.count_nonzero(lacking) < FEW * np.count_nonzero(here.area) else None
            if lacking.any() and not (patient and self._waiting is not None):
                found = distant.origins(here, dilate(lacking, RIM + 1))
                if (found.source >= 0).any():
                    shown += self._add(found, here, sure, grid)
                    _merge(memory, found, (found.source >= 0) & (lacking | (memory.source < 0)))
        for number, also in enumerate(sure.known):
            known[number] = known[number] | also
        return shown

    def _add(self, origins: SourceMap, here: WindowFrame, seen: Propagation, grid: WorkGrid) -> int:
        """Put colours where nothing is known yet. Returns how many luma samples come from distant pictures."""
        distant, holes, values, known = 0, seen.holes, seen.values, seen.known
        for hole, planes in by_grid(holes):
            unknown = np.flatnonzero(~known[planes[0]])
            if not len(unknown):
                continue
            shape = here.frame.planes[planes[0]].shape
            rim = max(int(RIM / grid.scale_x) >> hole.shift_x, 1)
            places = SampleSites.of(hole, (shape[0], shape[1]), rim).only(unknown)
            found = sample_sources(origins, places, planes, places.between(grid, origins.box), grid, self._picture)
            far = (found.source >= 0) & (found.source != self._fresh)
            if far.any():
                lit = self._lit(origins, far, hole, unknown, rim, here.frame, values, planes, grid)
                for k, value in enumerate(lit):
                    found.values[k][far] = value
                distant += int((found.source >= FIRST_REFERENCE).sum()) if planes[0] == 0 else 0
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
        origins: SourceMap,
        far: NDArray[np.bool_],
        hole: PlaneHole,
        unknown: NDArray[np.intp],
        rim: int,
        frame: Frame,
        values: Values,
        planes: list[int],
        grid: WorkGrid,
    ) -> Values:
        """What distant pictures show at `far` among the `unknown` places of a hole, in the light of what is around: `values`,
        where they are known, and the `frame`."""
        inside = np.zeros(hole.area.shape, bool)
        here = np.nonzero(hole.area)
        inside[here[0][unknown[far]], here[1][unknown[far]]] = True
        part = PlaneHole(hole.top, hole.left, inside, hole.alpha, hole.shift_y, hole.shift_x)
        shape = frame.planes[planes[0]].shape
        places = SampleSites.of(part, (shape[0], shape[1]), rim)
        found = sample_sources(origins, places, planes, places.between(grid, origins.box), grid, self._picture)
        empty = np.zeros(np.add(hole.area.shape, 2 * rim), bool)  # the crop with the rim around it
        empty[here[0][unknown] + rim, here[1][unknown] + rim] = True
        found.source[places.count :][empty[places.rim[0] - hole.top + rim, places.rim[1] - hole.left + rim]] = -1
        around = [mixed_at(frame, hole, plane, values[plane], places.rim) for plane in planes]
        compensate_exposure(found, places, around, LIGHT_REACH * ((1 << frame.layout.bits) - 1))
        return [value[: places.count] for value in found.values]


@dataclass(frozen=True, slots=True)
class _Pictures:
    """What source numbers stand for."""

    canvases: dict[int, InpaintedFrame]
    distant: ReferenceFrames | None

    def __call__(self, number: int) -> SourcePlanes:
        if number >= FIRST_REFERENCE:
            assert self.distant is not None
            return self.distant.picture(number)
        return self.canvases[number].picture


def _far(memory: SourceMap) -> SourceMap:
    """Only what comes from distant pictures."""
    return SourceMap(memory.box, np.where(memory.source >= FIRST_REFERENCE, memory.source, -1), memory.dx, memory.dy)


def _merge(into: SourceMap, other: SourceMap, where: NDArray[np.bool_]) -> None:
    for name in ("source", "dx", "dy"):
        getattr(into, name)[where] = getattr(other, name)[where]
