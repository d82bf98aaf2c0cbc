"""The sliding window of the fill: frames come in, motion is linked, and frames leave filled."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.cuts import Shots
from vidrase.fill.composite import PlaneHole, by_grid, composite
from vidrase.fill.dynamic_texture import DynamicTexture
from vidrase.fill.flow_estimation import FlowEstimator, complete_from_future
from vidrase.fill.plate_fill import PlateFill
from vidrase.fill.propagation import Propagation, propagate
from vidrase.fill.reference_frames import ReferenceFrames
from vidrase.fill.selfcheck import EVERY, SelfCheck
from vidrase.fill.synthesis_cache import SynthesisCache
from vidrase.fill.window_frame import GRID_SIDE, WindowFrame, WorkGrid
from vidrase.flow import FlowModel, rough, swift
from vidrase.frames import Frame, HoleFrame
from vidrase.inpaint import Inpainter
from vidrase.options import FillOptions
from vidrase.plate import Plate
from vidrase.report import FillStats
from vidrase.shots import ShotAnalysis

REACH = {"fast": 24, "default": 60, "best": 90}
"""Frames looked at on either side. One published clip shows 68 % of what is hidden within 24 frames, 91 % within 72."""
MEMORY = 512 << 20
"""Bytes of planes the window may hold: a 4K clip gets a shorter reach."""
LOOK_BACK_EVERY = 15  # frames: each time costs one completion for every frame ahead
LINK_MEMORY = 256 << 20
"""Bytes of motion the window may hold; holes as large as the frame get a shorter reach."""
EASED = 0.8
"""Share of that from which on the reach grows again."""
LEAST_REACH = 8
SEEN_ENOUGH = 0.6
"""Share of the hole that was seen, below which a frame deserves a look."""


def window_radius(options: FillOptions) -> int:
    """Frames looked at on either side, at most."""
    return 0 if options.mode == "image" else REACH[options.quality]


def plate_of(survey: ShotAnalysis | None, options: FillOptions, frame: Frame) -> Plate | None:
    """The background plate to fill `frame` from, if its shot has one and the mode allows it."""
    if survey is None or options.mode in ("flow", "image"):
        return None
    shot = survey.shot(frame.index)
    if shot is None or shot.plate is None or shot.plate.planes[0].shape != frame.size:
        return None
    return shot.plate if rules.enabled("sources.plate") else None


class Filler:
    """One run of the fill over one stream. `push` frames in order, `pop` them while `ready`."""

    def __init__(
        self,
        options: FillOptions,
        flow: FlowModel,
        inpainter: Inpainter,
        survey: ShotAnalysis | None,
        stats: FillStats,
        note: Callable[[str], None],
        shots: Shots,
    ) -> None:
        fast = options.quality == "fast"
        self._options, self._flow, self._inpainter = options, swift(flow) if fast else flow, inpainter
        self._survey, self._stats, self._note = survey, stats, note
        self._moments: dict[int, WindowFrame] = {}
        self._unseen = SynthesisCache(inpainter)
        self._distant: dict[int, ReferenceFrames] = {}  # by the start of the shot
        self._linker = FlowEstimator(self._flow, rough(flow) if fast else None)
        self._grid: WorkGrid | None = None
        self._number_of, self._run = shots, (-1, True)
        self._shot = self._begun = 0
        self._pushed = self._popped = 0
        self._most = self._reach = window_radius(options)
        self._looked_back = -1  # in which shot
        self._still: PlateFill | None = None
        self._moving: DynamicTexture | None = None
        self._check = SelfCheck()
        self._with_hole = 0
        self._counted_shot = 0

    def push(self, found: HoleFrame) -> None:
        """Take in the next frame."""
        frame = found.frame
        if self._grid is None or (self._moments and self._last().frame.size != frame.size):
            self._grid = WorkGrid.of(*frame.size, GRID_SIDE[self._options.quality])
            size = sum(plane.nbytes for plane in frame.planes)
            self._most = self._reach = min(window_radius(self._options), max(MEMORY // (2 * max(size, 1)), 2))
        hole = found.hole
        if hole is not None and not hole.area.any():
            hole = None
        # where nobody looked for it the thing may stand unmasked: nothing is taken from there, as from beyond a cut
        before_that, self._run = self._run, (self._number_of(frame), found.searched)
        self._shot += self._run != before_that
        if self._run[0] != before_that[0]:
            self._begun = self._pushed
        now = WindowFrame.of(self._pushed, frame, hole, self._shot, self._grid)
        now.nth = now.number - self._begun
        now.passes, now.protected_hole = found.passes, found.protected_hole
        if found.protected_hole is not None:
            now.protected = self._grid.shrink(found.protected_hole.full_area())
        album = self._album(now)
        if album is not None:
            album.learn(frame, hole)
        before = self._moments.get(now.number - 1)
        if before is not None and before.shot == now.shot and (before.hole or now.hole) and self._chained(now):
            earlier = self._moments.get(before.number - 1)
            before.flow_pair = self._linker(before, now, earlier.flow_pair if earlier is not None else None)
            held = sum(m.nbytes for m in self._moments.values())
            if held > LINK_MEMORY:
                self._reach = max(self._reach - 2, min(LEAST_REACH, self._reach))
            elif held < EASED * LINK_MEMORY:
                self._reach = min(self._reach + 1, self._most)
        self._moments[now.number] = now
        self._pushed += 1

    def _chained(self, here: WindowFrame) -> bool:
        """Whether pixels are followed through time around `here`; a still shot with a plate needs none of it."""
        return self._reach > 0 and plate_of(self._survey, self._options, here.frame) is None

    def _still_shot(self, plate: Plate, here: WindowFrame) -> PlateFill:
        if self._still is None or self._still.plate is not plate:
            self._still = PlateFill.of(plate, here.frame, self._inpainter)
        return self._still

    def _lively(self, plate: Plate, here: WindowFrame) -> DynamicTexture | None:
        """What moves behind a still camera; None where only the plate is wanted."""
        if self._options.mode != "auto" or not self._reach or not rules.enabled("sources.playback"):
            return None
        if self._moving is None or self._moving.plate is not plate:
            self._moving = DynamicTexture(plate, here.frame.layout.bits, self._flow)
        return self._moving

    def _looks_around(self, here: WindowFrame) -> bool:
        """Whether other moments are looked at to fill `here`."""
        if self._chained(here):
            return True
        plate, holes = plate_of(self._survey, self._options, here.frame), here.plane_holes
        if plate is None or holes is None:
            return False
        lively = self._lively(plate, here)
        return lively is not None and lively.moves(holes[0])

    def _album(self, here: WindowFrame) -> ReferenceFrames | None:
        """Distant pictures of the shot of `here`; None: there are none, or they are not wanted."""
        assert self._grid is not None
        if self._survey is None or self._options.mode in ("flow", "image"):
            return None
        shot = self._survey.shot(here.frame.index)
        if shot is None or shot.mosaic is None or shot.mosaic.key_frames[0].frame.size != here.frame.size:
            return None
        if not rules.enabled("sources.keyframes"):
            return None
        if shot.start not in self._distant or self._distant[shot.start].grid is not self._grid:
            for start in [start for start in self._distant if start < shot.start][:-1]:
                del self._distant[start]  # the window spans two long shots at most
            self._distant[shot.start] = ReferenceFrames(
                shot.mosaic, self._grid, self._flow, bool(self._options.shadows)
            )
        return self._distant[shot.start]

    def ready(self) -> bool:
        """Whether a frame may leave: it needs no filling, or all that it may look at is there."""
        here = self._moments.get(self._popped)
        if here is None:
            return False
        return (
            here.stays_as_it_is
            or not self._looks_around(here)
            or self._last().shot != here.shot
            or self._pushed - 1 - self._popped >= self._reach
        )

    def waiting(self) -> bool:
        """Whether frames are left."""
        return self._popped < self._pushed

    def pop(self) -> Frame:
        """The next frame, filled."""
        here = self._moments[self._popped]
        result = here.frame if here.stays_as_it_is else self._filled(here)
        self._popped += 1
        if here.flow_pair is not None:
            here.flow_pair.measured_forward = None  # nobody looks back to before what has left
        for number in [n for n in self._moments if n < self._popped - self._reach]:
            del self._moments[number]
        if here.number - self._reach not in self._moments and self._reach == 0:
            self._moments.pop(here.number, None)
        return result

    def _last(self) -> WindowFrame:
        return self._moments[self._pushed - 1]

    def _filled(self, here: WindowFrame) -> Frame:
        """`here` with its hole filled."""
        assert here.hole is not None
        assert self._grid is not None
        if self._reach and (here.nth % LOOK_BACK_EVERY == 0 or self._looked_back != here.shot):
            ahead = (self._moments[number] for number in range(self._popped, self._pushed))
            complete_from_future([moment for moment in ahead if moment.shot == here.shot])
            self._looked_back = here.shot
        plate = plate_of(self._survey, self._options, here.frame)
        if plate is not None:
            holes = here.plane_holes
            assert holes is not None
            return self._from_plate(here, holes, plate)
        seen = self._look(here)
        self._count_mode(here, "flow" if self._reach else "image")
        if seen.trajectories and self._with_hole % EVERY == 0:
            self._check.try_chains(here, seen.trajectories, self._moments, self._reach)
            self._stats.self_check_db = self._check.psnr
        self._with_hole += 1
        album = self._album(here) if seen.low_confidence[0].any() or not seen.known[0].all() else None
        shown = int(seen.known[0].sum())
        if album is not None or shown < seen.known[0].size:
            distant, learned = self._unseen.fill(here, seen, self._moments, self._reach, self._grid, album, self._look)
            self._stats.distant += distant
            shown += learned
        self._stats.copied += shown
        self._stats.invented += seen.known[0].size - shown
        if seen.rim_mismatch or shown < SEEN_ENOUGH * seen.known[0].size:
            self._stats.doubtful.append(here.frame.index)
        return composite(here.frame, seen.holes, seen.values)

    def _look(self, moment: WindowFrame) -> Propagation:
        """What the window shows of the hole of `moment`, which need not be the next to leave."""
        assert self._grid is not None
        return propagate(self._moments, moment, self._grid, self._reach, self._options.quality)

    def _from_plate(self, here: WindowFrame, holes: list[PlaneHole], plate: Plate) -> Frame:
        shot = self._still_shot(plate, here)
        self._count_mode(here, "plate")
        assert self._grid is not None
        lively = self._lively(plate, here)
        layers = lively.layers(here, holes[0], self._moments, self._grid) if lively is not None else []
        values: list[NDArray[np.float32]] = [np.zeros(0, np.float32)] * len(holes)
        for hole, planes in by_grid(holes):
            colours, seen = shot.colours(here.frame, hole, planes, layers, here.nth)
            for plane, value in zip(planes, colours, strict=True):
                values[plane] = value
            if 0 in planes:
                self._stats.copied += int(seen.sum())
                self._stats.invented += int(seen.size - seen.sum())
        return composite(here.frame, holes, values)

    def _count_mode(self, here: WindowFrame, mode: str) -> None:
        """Count each shot once; say so when it is not what was asked for."""
        if here.shot != self._counted_shot:
            self._counted_shot = here.shot
            self._stats.modes[mode] = self._stats.modes.get(mode, 0) + 1
            if self._options.mode == "plate" and mode != "plate":
                self._note(f"no background plate where the camera moves; filled by {mode} instead")
