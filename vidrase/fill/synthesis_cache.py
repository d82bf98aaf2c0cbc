"""Pixels that no frame of the window shows: propagated from the frame before, taken from reference frames, or inpainted once
and cached through the shot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.camera import CameraMotion
from vidrase.fill.blending import LIGHT_REACH, Candidate, SampleSites, compensate_exposure, sample_sources
from vidrase.fill.composite import PlaneHole, by_grid, composite, mixed_at
from vidrase.fill.flow_completion import dilate
from vidrase.fill.inpainted_frame import InpaintedFrame, close_gaps, inside_frame, is_sliver
from vidrase.fill.inpainting import inpaint_key_frame, is_thin
from vidrase.fill.key_frame import IDENTITY, camera_between, select_key_frame
from vidrase.fill.light_matching import LightMatching
from vidrase.fill.propagation import Propagation
from vidrase.fill.reference_frames import FIRST_REFERENCE, ReferenceFrames
from vidrase.fill.sharpness import sharpness_mismatch
from vidrase.fill.synthesis_sources import SynthesisSources, merge, references_only
from vidrase.fill.trajectories import warp_source_map
from vidrase.fill.window_frame import RIM, SourceMap, WindowFrame, WorkGrid
from vidrase.inpaint import Inpainter

Values = list[NDArray[np.float32]]

# Evidence for sources.*, synthesis.*: `rules.py`. Values of constants without a figure have no record yet.
REALIGN = 2
"""Frames after which samples from reference frames are registered again."""
DRIFT_GAIN = 0.5
"""Share of the measured drift that is corrected then. Full correction in each frame flickers (1.35 times as much as a lawn
did); without correction it drifts."""
SEARCH_EVERY = 4
"""Frames between searches for a better source than trajectories over many frames."""
MAX_WAIT = 0.002
"""Share of the hole up to which pixels are synthesized until the next search, though reference frames may show them."""
CHECK_EVERY = 8
"""Frames after which a better key frame is looked for and the sharpness of inpainted frames is checked again."""
RENEW_AFTER, FADE_FRAMES = 32, 12
"""Frames after which inpainted content may be renewed again, and over which the old content fades into the new one."""
MAX_UNUSED = 4
"""Latest inpainted frames that are kept though nothing of them is visible: what they show may come back."""


class SynthesisCache:
    """Cache of synthesized content of one run."""

    def __init__(self, inpainter: Inpainter) -> None:
        self._inpainter = inpainter
        self._inpainted: dict[int, InpaintedFrame] = {}  # in order of creation; the numbers count up
        self._count, self._new = 0, -1  # number of inpainted frames so far; the one created for the current frame
        self._cameras: dict[int, CameraMotion] = {}  # from frame `_current` to the inpainted frames, where known
        self._current, self._alone = 0, True
        self._shot, self._chosen_at, self._renewed_at = -1, -RENEW_AFTER, -RENEW_AFTER  # in frames of the shot
        self._deferred: NDArray[np.bool_] | None = None  # synthesized until the next search
        self._fading: SourceMap | None = None  # content that new inpainting has replaced
        self._pictures = SynthesisSources(self._inpainted, None, None)

    def fill(
        self,
        here: WindowFrame,
        filled: Propagation,
        window: Mapping[int, WindowFrame],
        reach: int,
        grid: WorkGrid,
        references: ReferenceFrames | None,
        propagate_at: Callable[[WindowFrame], Propagation],
        light: LightMatching,
    ) -> tuple[int, int]:
        """Fill the pixels of the hole of `here` that `filled` does not know. Returns (luma samples from reference frames, how
        many of these were unknown before).

        references: reference frames of the shot, if any. propagate_at: propagation for the hole of another frame of the window.
        """
        assert here.box is not None
        before, self._new = window.get(here.number - 1), -1
        self._alone = not reach or not any(m.shot == here.shot for n, m in window.items() if n != here.number)
        if here.shot != self._shot:
            self._shot, self._chosen_at, self._renewed_at = here.shot, -RENEW_AFTER, -RENEW_AFTER
        mosaic_changed = references is not self._pictures.references
        self._pictures, self._deferred = SynthesisSources(self._inpainted, references, light), None
        memory, fading = SourceMap.empty(here.box), self._fading if self._current == here.number - 1 else None
        self._advance(window, here)
        if before is not None and rules.enabled("synthesis.carry"):
            memory = warp_source_map(before.synthesized, before, here)
        self._fading = warp_source_map(fading, before, here) if before is not None and fading is not None else None
        from_references, known_before = 0, int(filled.known[0].sum())
        if mosaic_changed:  # key-frame numbers are valid for one mosaic only
            for source_map in (memory, self._fading):
                if source_map is not None:
                    source_map.source[source_map.source >= FIRST_REFERENCE] = -1
        if references is not None:
            from_references = self._add_references(memory, here, filled, grid, references)
        newly_known = int(filled.known[0].sum()) - known_before
        if here.nth % CHECK_EVERY == 0 and rules.enabled("synthesis.refocus"):
            for number in set(np.unique(memory.source).tolist()) & self._cameras.keys():
                self._inpainted[number].match_defocus(here, self._cameras[number], grid)
        renewed = self._renew(memory, here, grid)
        copied = list(filled.known)
        if (memory.source >= 0).any():
            self._add(memory, here, filled, grid)
        self._recall(memory, here, filled, grid, IDENTITY, renewed)
        missing = filled.missing(here.frame.size)
        if self._choice_due(here, missing):
            self._chosen_at = here.nth
            number = select_key_frame(window, here, grid.shrink(missing), reach)
            ahead = camera_between(window, here.number, number)
            if number != here.number and ahead is not None:
                self._inpaint_ahead(window[number], ahead, grid, references, propagate_at, outside=not renewed.any())
                self._recall(memory, here, filled, grid, IDENTITY, renewed)
        if not filled.known[0].all():
            self._new = self._inpaint(here, filled, copied[0], IDENTITY)
            # Pixels beyond the inpainted frame must not point to it: its border would be stretched to stripes.
            missing = filled.missing(here.frame.size)
            uncovered = grid.shrink(missing)[here.box.span] | (memory.source < 0)
            uncovered &= self._inpainted[self._new].shown(here.box, grid)
            new = SourceMap.empty(here.box)
            new.source[:] = self._new
            self._add(new, here, filled, grid)
            merge(memory, new, uncovered)
        self._fade(here, filled, copied, grid)
        if self._deferred is not None:
            memory.source[self._deferred & (memory.source < FIRST_REFERENCE)] = -1
        here.synthesized = memory
        if before is not None:
            before.synthesized = None
        fading_sources = [] if self._fading is None else np.unique(self._fading.source).tolist()
        self._forget({*np.unique(memory.source).tolist(), *fading_sources})
        return from_references, newly_known

    def _renew(self, memory: SourceMap, here: WindowFrame, grid: WorkGrid) -> NDArray[np.bool_]:
        """Remove (fade out) inpainted frames whose sharpness no longer fits, and content from beyond the border of its key
        frame, from `memory`. Returns where, bool [h, w]."""
        expired, elapsed = np.zeros(memory.source.shape, bool), here.nth - self._renewed_at
        if here.nth % CHECK_EVERY or elapsed <= FADE_FRAMES or not rules.enabled("synthesis.renew"):
            return expired
        expired |= self._guessed(memory, grid)
        if elapsed >= RENEW_AFTER:
            mismatched = [
                number
                for number, camera in self._cameras.items()
                if sharpness_mismatch(here, self._inpainted[number].picture, camera, grid)
            ]
            for number in mismatched:  # they may not come back either
                del self._cameras[number]
            expired |= np.isin(memory.source, mismatched)
        if expired.any():
            expired = close_gaps(expired) & (memory.source >= 0) & (memory.source < FIRST_REFERENCE)
            offsets = memory.dx.copy(), memory.dy.copy()
            self._fading = SourceMap(memory.box, np.where(expired, memory.source, -1), *offsets)
            memory.source[expired] = -1
            self._renewed_at, self._chosen_at = here.nth, -CHECK_EVERY
        return expired

    def _guessed(self, memory: SourceMap, grid: WorkGrid) -> NDArray[np.bool_]:
        """bool [h, w]: content from beyond the border of its key frame, or from around an inpainted sliver; nothing if it is a
        sliver itself."""
        rows, columns = np.indices(memory.source.shape)
        beyond = ~inside_frame(columns + memory.box.left + memory.dx, rows + memory.box.top + memory.dy, grid)
        beyond &= (memory.source >= 0) & (memory.source < FIRST_REFERENCE)
        beyond |= np.isin(memory.source, [number for number, frame in self._inpainted.items() if frame.sliver])
        return np.zeros_like(beyond) if is_sliver(beyond, grid.height) else beyond

    def _fade(self, here: WindowFrame, filled: Propagation, copied: list[NDArray[np.bool_]], grid: WorkGrid) -> None:
        """Blend the replaced content in with falling weight, except at `copied` samples."""
        frames_left = self._renewed_at + FADE_FRAMES - here.nth
        if self._fading is None or frames_left <= 0 or not rules.enabled("synthesis.fade"):
            self._fading = None
            return
        replaced = replace(filled, values=[value.copy() for value in filled.values], known=list(copied))
        self._add(self._fading, here, replaced, grid)
        for value, old, before, now in zip(filled.values, replaced.values, copied, replaced.known, strict=True):
            changed = now & ~before
            value[changed] += (old[changed] - value[changed]) * (frames_left / (FADE_FRAMES + 1))

    def _advance(self, window: Mapping[int, WindowFrame], here: WindowFrame) -> None:
        """Make the homographies to the inpainted frames start at `here`."""
        back = camera_between(window, here.number, self._current) if self._cameras else None
        self._cameras = {} if back is None else {number: camera.after(back) for number, camera in self._cameras.items()}
        self._current = here.number

    def _forget(self, used: set[int]) -> None:
        """Delete inpainted frames that nothing comes from, except the latest ones."""
        for number in list(self._inpainted)[:-MAX_UNUSED]:
            if number not in used:
                del self._inpainted[number]
                self._cameras.pop(number, None)

    def _recall(
        self,
        memory: SourceMap,
        here: WindowFrame,
        filled: Propagation,
        grid: WorkGrid,
        back: CameraMotion,
        expired: NDArray[np.bool_] | None = None,
    ) -> None:
        """Fill unknown samples from inpainted frames; record it in `memory`. back: motion from `here` to the current frame.

        expired: bool [h, w] where content from beyond the border of its key frame is not good enough.
        """
        if filled.known[0].all() or not self._cameras or not rules.enabled("synthesis.recall"):
            return
        assert here.box is not None
        rows, columns = np.nonzero(dilate(grid.shrink(filled.missing(here.frame.size))[here.box.span], RIM + 1))
        x0, y0 = (columns + here.box.left).astype(np.float32), (rows + here.box.top).astype(np.float32)
        outside = np.ones(len(rows), bool) if expired is None else ~expired[rows, columns]
        found = SourceMap.empty(here.box)
        covered_inside = np.zeros(len(rows), bool)
        for number, camera in self._cameras.items():  # the latest wins; inside wins over outside
            x, y = camera.after(back).points(x0, y0)
            inside = inside_frame(x, y, grid) & (not self._inpainted[number].sliver)
            valid = self._inpainted[number].shows(x, y, grid) & (inside | (outside & ~covered_inside))
            covered_inside |= valid & inside
            found.source[rows[valid], columns[valid]] = number
            found.dx[rows[valid], columns[valid]] = (x - x0)[valid]
            found.dy[rows[valid], columns[valid]] = (y - y0)[valid]
        found.source[memory.source >= 0] = -1
        self._add(found, here, filled, grid)
        merge(memory, found, found.source >= 0)

    def _choice_due(self, here: WindowFrame, missing: NDArray[np.bool_]) -> bool:
        """Whether to look for a better key frame now. Slivers do not need one."""
        if not missing.any() or here.nth < self._chosen_at + CHECK_EVERY or not rules.enabled("synthesis.key_frame"):
            return False
        return not is_thin(missing)

    def _inpaint_ahead(
        self,
        there: WindowFrame,
        ahead: CameraMotion,
        grid: WorkGrid,
        references: ReferenceFrames | None,
        propagate_at: Callable[[WindowFrame], Propagation],
        *,
        outside: bool,
    ) -> None:
        """Inpaint on a following frame; `ahead` leads to it from the current one. outside: whether content from beyond borders
        is good enough."""
        assert there.box is not None
        filled, memory = propagate_at(there), SourceMap.empty(there.box)
        if references is not None:
            self._add_references(memory, there, filled, grid, references, may_defer=False)
        copied = filled.known[0]
        expired = None if outside else np.ones(there.box.shape, bool)
        self._recall(memory, there, filled, grid, ahead.inverse(), expired)
        if not filled.known[0].all():
            self._inpaint(there, filled, copied, ahead)

    def _inpaint(self, there: WindowFrame, filled: Propagation, copied: NDArray[np.bool_], ahead: CameraMotion) -> int:
        """Inpaint frame `there`, to which `ahead` leads, from its known pixels. Returns the inpainted frame's number.

        copied: bool [N], which luma samples of the hole were not synthesized.
        """
        missing = filled.missing(there.frame.size)
        # Thin rests of earlier inpainting would split the hole into slivers, for which no texture is made.
        closed = close_gaps(missing)[filled.holes[0].span][filled.holes[0].area]
        missing[filled.holes[0].span][filled.holes[0].area] |= closed & ~copied
        inpainter = None if is_thin(missing) and rules.enabled("synthesis.slivers") else self._inpainter
        self._count += 1
        completed = composite(there.frame, filled.holes, filled.values)
        made = np.zeros_like(missing)
        made[filled.holes[0].span][filled.holes[0].area] = filled.known[0] & ~copied
        picture = inpaint_key_frame(completed, missing, inpainter, moves=not self._alone, made=made)
        light = self._pictures.light
        sliver = is_sliver(missing, missing.shape[0])
        self._inpainted[self._count] = InpaintedFrame(picture, light.of(there) if light is not None else None, sliver)
        self._cameras[self._count] = ahead
        return self._count

    def _add_references(
        self,
        memory: SourceMap,
        here: WindowFrame,
        filled: Propagation,
        grid: WorkGrid,
        references: ReferenceFrames,
        *,
        may_defer: bool = True,
    ) -> int:
        """Fill from reference frames, also over low confidence; record coordinates in `memory`. Returns luma samples added.

        may_defer: whether small rests can wait for the next search.
        """
        assert here.box is not None
        assert here.area is not None
        known = filled.known
        sure = replace(filled, known=[k & ~w for k, w in zip(known, filled.low_confidence, strict=True)])
        if here.nth % REALIGN == 0 and (memory.source >= FIRST_REFERENCE).any() and rules.enabled("sources.realign"):
            references.correct_drift(here, memory, DRIFT_GAIN, here.nth // REALIGN)
        unknown = grid.shrink(filled.missing(here.frame.size))[here.box.span]
        references.grow_region(here, memory, dilate(unknown, RIM + 1))
        references.drop_occluded(memory)
        added = 0
        if (memory.source >= FIRST_REFERENCE).any():
            added += self._add(references_only(memory), here, sure, grid)
        if not sure.known[0].all():
            # Synthesized content stays: replacing it would be visible.
            query = grid.shrink(sure.missing(here.frame.size))[here.box.span] & (memory.source < FIRST_REFERENCE)
            query &= ~(unknown & (memory.source >= 0))
            if may_defer and here.nth % SEARCH_EVERY:  # a few pixels can wait, or those that trajectories reach
                query &= unknown
                self._deferred = query if np.count_nonzero(query) < MAX_WAIT * np.count_nonzero(here.area) else None
            if query.any() and not (may_defer and self._deferred is not None):
                found = references.source_map(here, dilate(query, RIM + 1))
                if (found.source >= 0).any():
                    added += self._add(found, here, sure, grid)
                    merge(memory, found, (found.source >= 0) & (query | (memory.source < 0)))
        for number, confident_known in enumerate(sure.known):
            known[number] = known[number] | confident_known
        return added

    def _add(self, source_map: SourceMap, here: WindowFrame, filled: Propagation, grid: WorkGrid) -> int:
        """Fill unknown samples from `source_map`. Returns how many luma samples come from reference frames."""
        from_references, holes, values, known = 0, filled.holes, filled.values, filled.known
        for hole, planes in by_grid(holes):
            unknown = np.flatnonzero(~known[planes[0]])
            if not len(unknown):
                continue
            shape = here.frame.planes[planes[0]].shape
            rim = max(int(RIM / grid.scale_x) >> hole.shift_x, 1)
            sites = SampleSites.of(hole, (shape[0], shape[1]), rim).only(unknown)
            found = self._sampled(source_map, sites, planes, grid, here)
            distant = (found.source >= 0) & (found.source != self._new)
            if distant.any():
                matched = self._matched(source_map, distant, hole, unknown, rim, here, values, planes, grid)
                for k, value in enumerate(matched):
                    found.values[k][distant] = value
                from_references += int((found.source >= FIRST_REFERENCE).sum()) if planes[0] == 0 else 0
            valid = unknown[found.valid]
            for k, plane in enumerate(planes):
                values[plane][valid] = found.values[k][found.valid]
            now_known = known[planes[0]].copy()
            now_known[valid] = True
            for plane in planes:
                known[plane] = now_known
        return from_references

    def _sampled(
        self, source_map: SourceMap, sites: SampleSites, planes: list[int], grid: WorkGrid, here: WindowFrame
    ) -> Candidate:
        """Samples of the `planes` at `sites`, in the light of `here`."""
        pictures = self._pictures
        return sample_sources(
            source_map,
            sites,
            planes,
            sites.between(grid, source_map.box),
            grid,
            pictures,
            here.frame.layout,
            lambda number: pictures.light_of(here, number),
        )

    def _matched(
        self,
        source_map: SourceMap,
        distant: NDArray[np.bool_],
        hole: PlaneHole,
        unknown: NDArray[np.intp],
        rim: int,
        here: WindowFrame,
        values: Values,
        planes: list[int],
        grid: WorkGrid,
    ) -> Values:
        """Values of the `distant` ones among the `unknown` samples of a hole, with exposure compensated to the known `values`
        and the frame around."""
        frame = here.frame
        inside = np.zeros(hole.area.shape, bool)
        pixels = np.nonzero(hole.area)
        inside[pixels[0][unknown[distant]], pixels[1][unknown[distant]]] = True
        part = PlaneHole(hole.top, hole.left, inside, hole.alpha, hole.shift_y, hole.shift_x)
        shape = frame.planes[planes[0]].shape
        sites = SampleSites.of(part, (shape[0], shape[1]), rim)
        found = self._sampled(source_map, sites, planes, grid, here)
        unknown_area = np.zeros(np.add(hole.area.shape, 2 * rim), bool)  # the crop with the rim around it
        unknown_area[pixels[0][unknown] + rim, pixels[1][unknown] + rim] = True
        found.source[sites.count :][unknown_area[sites.rim[0] - hole.top + rim, sites.rim[1] - hole.left + rim]] = -1
        around = [mixed_at(frame, hole, plane, values[plane], sites.rim) for plane in planes]
        compensate_exposure(found, sites, around, LIGHT_REACH * ((1 << frame.layout.bits) - 1))
        return [value[: sites.count] for value in found.values]
