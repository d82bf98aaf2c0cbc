"""The sliding window of the fill: it takes frames in, estimates flow between neighbours and returns filled frames."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.cuts import Shots
from vidrase.fill.composite import PlaneHole, by_grid, composite
from vidrase.fill.dissolve_fill import DissolveEnd, fill_dissolve
from vidrase.fill.dynamic_texture import DynamicTexture
from vidrase.fill.flow_bridge import bridge_flash
from vidrase.fill.flow_estimation import FlowEstimator, complete_from_future
from vidrase.fill.light_matching import LightMatching
from vidrase.fill.plate_fill import PlateFill
from vidrase.fill.propagation import Propagation, propagate
from vidrase.fill.reference_frames import ReferenceFrames
from vidrase.fill.selfcheck import CHECK_INTERVAL, SelfCheck
from vidrase.fill.synthesis_cache import SynthesisCache
from vidrase.fill.window_frame import GRID_SIDE, WindowFrame, WorkGrid
from vidrase.flow import FlowModel, rough, swift
from vidrase.frames import Frame, HoleFrame
from vidrase.inpaint import Inpainter
from vidrase.options import FillOptions
from vidrase.plate import Plate
from vidrase.report import FillStats
from vidrase.shots import ShotAnalysis
from vidrase.streams import Both, SideBySide, cores, in_turn

# Evidence for sources.*: `rules.py`. Values of constants without a figure have no record yet.
WINDOW_RADIUS = {"fast": 24, "default": 60, "best": 90}
"""Frames on each side that a hole is filled from, by quality. In one published clip 68 % of the hidden pixels are visible within
24 frames, 91 % within 72."""
MAX_PLANE_BYTES = 512 << 20
"""Bytes of planes that the window may hold. Larger frames (4K) get a smaller window."""
FUTURE_INTERVAL = (
    15  # frames between two flow completions from the future; each completes the flow of every frame ahead
)
SETTLED_AFTER = 12
"""Frames: a flow that was completed with so many following ones known is not completed again. `CONFIDENCE_DECAY` leaves the
thirteenth a weight of 0.002."""
MAX_FLOW_BYTES = 256 << 20
"""Bytes of flow that the window may hold. Above it the window shrinks (holes as large as the frame)."""
REGROW_SHARE = 0.8
"""Share of `MAX_FLOW_BYTES`; below it the window grows again."""
MIN_REACH = 8  # frames on each side: the window does not shrink below it for the sake of memory
MIN_KNOWN_SHARE = 0.6
"""Share of the hole with a known source; below it the report lists the frame as doubtful."""


def window_radius(options: FillOptions) -> int:
    """The largest number of frames on each side that a hole is filled from; 0 in mode "image"."""
    return 0 if options.mode == "image" else WINDOW_RADIUS[options.quality]


def plate_of(analysis: ShotAnalysis | None, options: FillOptions, frame: Frame) -> Plate | None:
    """The background plate of the shot of `frame`; None if the shot has none of this size or the mode does not use plates."""
    if analysis is None or options.mode in ("flow", "image"):
        return None
    shot = analysis.shot(frame.index)
    if shot is None or shot.plate is None or shot.plate.planes[0].shape != frame.size:
        return None
    return shot.plate if rules.enabled("sources.plate") else None


class Filler:
    """The fill of one stream. `push` frames in order and `pop` them while `ready`."""

    def __init__(
        self,
        options: FillOptions,
        flow: FlowModel,
        inpainter: Inpainter,
        analysis: ShotAnalysis | None,
        stats: FillStats,
        note: Callable[[str], None],
        shots: Shots,
    ) -> None:
        fast = options.quality == "fast"
        self._options, self._flow, self._inpainter = options, swift(flow) if fast else flow, inpainter
        self._analysis, self._stats, self._note = analysis, stats, note
        self._frames: dict[int, WindowFrame] = {}
        self._synthesis = SynthesisCache(inpainter)
        self._references: dict[int, ReferenceFrames] = {}  # by the first frame of the shot
        self._side_by_side = SideBySide("fill-2") if cores() > 1 else None
        both: Both = self._side_by_side or in_turn
        self._both = both
        self._flow_estimator = FlowEstimator(self._flow, rough(flow) if fast else None, both)
        self._grid: WorkGrid | None = None
        self._light: LightMatching | None = None
        self._shot_number, self._segment = shots, (-1, True)
        self._shot = self._shot_start = 0
        self._pushed = self._popped = 0
        self._max_reach = self._reach = window_radius(options)
        self._future_done = -1  # shot whose flow was last completed from the future
        self._settled = 0  # frames below this number know all of the future that matters to them
        self._plate_fill: PlateFill | None = None
        self._dynamic_texture: DynamicTexture | None = None
        self._self_check = SelfCheck()
        self._filled_count = 0
        self._counted_shot = 0
        self._before: tuple[int, Frame] | None = None  # the last frame that was no frame of a dissolve, filled
        self._ahead: dict[int, Frame] = {}  # the frame after a dissolve, filled before its turn

    def push(self, hole_frame: HoleFrame) -> None:
        """Add the next frame to the window."""
        frame = hole_frame.frame
        if self._grid is None or (self._frames and self._last().frame.size != frame.size):
            self._grid = WorkGrid.of(*frame.size, GRID_SIDE[self._options.quality])
            self._light = LightMatching(self._grid)
            size = sum(plane.nbytes for plane in frame.planes)
            self._max_reach = self._reach = min(
                window_radius(self._options), max(MAX_PLANE_BYTES // (2 * max(size, 1)), 2)
            )
        hole = hole_frame.hole
        if hole is not None and not hole.area.any():
            hole = None
        # a frame that was not searched may show the object without a mask: like a cut, it bounds what frames are used
        previous_segment, self._segment = self._segment, (self._shot_number(frame), hole_frame.searched)
        self._shot += self._segment != previous_segment
        if self._segment[0] != previous_segment[0]:
            self._shot_start = self._pushed - self._frames_into_shot(frame)
        now = WindowFrame.of(self._pushed, frame, hole, self._shot, self._grid)
        now.nth = now.number - self._shot_start
        now.dissolve = self._in_dissolve(frame)
        now.passes, now.protected_hole = hole_frame.passes, hole_frame.protected_hole
        if hole_frame.protected_hole is not None:
            now.protected = self._grid.shrink(hole_frame.protected_hole.full_area())
        references = self._references_for(now)
        if references is not None:
            references.learn(frame, hole)
        previous = self._frames.get(now.number - 1)
        if (
            previous is not None
            and previous.shot == now.shot
            and (previous.hole or now.hole)
            and (self._uses_flow(now) or self._uses_flow(previous))
        ):
            two_before = self._frames.get(previous.number - 1)
            previous.flow_pair = self._flow_estimator(
                previous, now, two_before.flow_pair if two_before is not None else None
            )
            flow_bytes = sum(m.nbytes for m in self._frames.values())
            if flow_bytes > MAX_FLOW_BYTES:
                self._reach = max(self._reach - 2, min(MIN_REACH, self._reach))
            elif flow_bytes < REGROW_SHARE * MAX_FLOW_BYTES:
                self._reach = min(self._reach + 1, self._max_reach)
        assert self._light is not None
        self._light.add(now, previous if previous is not None and previous.shot == now.shot else None)
        self._frames[now.number] = now
        bridge_flash(self._frames, now, self._flow_estimator, self._light)
        self._pushed += 1

    def _frames_into_shot(self, frame: Frame) -> int:
        """Frames of the shot before `frame`, with which the stream may begin: what is done every n-th frame keeps its beat."""
        shot = self._analysis.shot(frame.index) if self._analysis is not None and not self._pushed else None
        return frame.index - shot.start if shot is not None else 0

    def _in_dissolve(self, frame: Frame) -> bool:
        shot = self._analysis.shot(frame.index) if self._analysis is not None else None
        return shot is not None and shot.dissolve and rules.enabled("sources.dissolve")

    def _uses_flow(self, here: WindowFrame) -> bool:
        """Whether flow is needed around `here`. A still shot with a plate needs it only for objects that stay."""
        if not self._reach:
            return False
        return (
            plate_of(self._analysis, self._options, here.frame) is None
            or here.touches_protected()
            or self._follows_kept(here)
        )

    def _follows_kept(self, here: WindowFrame) -> bool:
        """Whether an object that stays and moves is known to be near the hole of `here`, or behind it."""
        pairs = [frame.flow_pair for frame in (self._frames.get(here.number - 1), here) if frame is not None]
        return any(pair is not None and pair.kept is not None for pair in pairs)

    def _plate_fill_for(self, plate: Plate, here: WindowFrame) -> PlateFill:
        if self._plate_fill is None or self._plate_fill.plate is not plate:
            self._plate_fill = PlateFill.of(plate, here.frame, self._inpainter)
        return self._plate_fill

    def _dynamic_texture_for(self, plate: Plate, here: WindowFrame) -> DynamicTexture | None:
        """The dynamic texture behind a still camera; None if the options ask for the plate alone."""
        if self._options.mode != "auto" or not self._reach or not rules.enabled("sources.playback"):
            return None
        if self._dynamic_texture is None or self._dynamic_texture.plate is not plate:
            self._dynamic_texture = DynamicTexture(plate, here.frame.layout.bits, self._flow)
        return self._dynamic_texture

    def _needs_neighbours(self, here: WindowFrame) -> bool:
        """Whether other frames of the window are needed to fill `here`."""
        if self._uses_flow(here):
            return True
        plate, holes = plate_of(self._analysis, self._options, here.frame), here.plane_holes
        if plate is None or holes is None:
            return False
        dynamic = self._dynamic_texture_for(plate, here)
        return dynamic is not None and dynamic.moves(holes[0])

    def _references_for(self, here: WindowFrame) -> ReferenceFrames | None:
        """The reference frames of the shot of `here`; None: it has none, or the options do not use them."""
        assert self._grid is not None
        if self._analysis is None or self._options.mode in ("flow", "image"):
            return None
        shot = self._analysis.shot(here.frame.index)
        if shot is None or shot.mosaic is None or shot.mosaic.key_frames[0].frame.size != here.frame.size:
            return None
        if not rules.enabled("sources.keyframes"):
            return None
        if shot.start not in self._references or self._references[shot.start].grid is not self._grid:
            for start in [start for start in self._references if start < shot.start][:-1]:
                del self._references[start]  # the window spans two long shots at most
            self._references[shot.start] = ReferenceFrames(
                shot.mosaic, self._grid, self._flow, bool(self._options.shadows), self._both
            )
        return self._references[shot.start]

    def close(self) -> None:
        """End the threads."""
        if self._side_by_side is not None:
            self._side_by_side.close()

    def ready(self) -> bool:
        """Whether `pop` may be called: the next frame needs no fill, or all frames that it needs are in the window."""
        here = self._frames.get(self._popped)
        if here is None:
            return False
        if here.dissolve and not here.unchanged:
            return self._pushed - 1 - self._popped >= self._reach
        return (
            here.unchanged
            or not self._needs_neighbours(here)
            or self._last().shot != here.shot
            or self._pushed - 1 - self._popped >= self._reach
        )

    def waiting(self) -> bool:
        """Whether the window still holds frames that were not popped."""
        return self._popped < self._pushed

    def pop(self) -> Frame:
        """Return the next frame, filled."""
        here = self._frames[self._popped]
        result = self._ahead.pop(here.number, None) or (here.frame if here.unchanged else self._fill(here))
        if not here.unchanged and self._light is not None:
            relit, refused = self._light.counted(here.number)
            self._stats.relit += relit
            self._stats.light_refused += refused
        if not here.dissolve:
            self._before = here.number, result
        self._popped += 1
        if here.flow_pair is not None:
            here.flow_pair.settle()  # only flow ahead of the popped frame is completed from the future
        for number in [n for n in self._frames if n < self._popped - self._reach]:
            del self._frames[number]
        if here.number - self._reach not in self._frames and self._reach == 0:
            self._frames.pop(here.number, None)
        assert self._light is not None
        self._light.forget(self._frames)
        return result

    def _last(self) -> WindowFrame:
        return self._frames[self._pushed - 1]

    def _fill(self, here: WindowFrame) -> Frame:
        """Fill the hole of `here`."""
        assert here.hole is not None
        assert self._grid is not None
        if self._reach and (here.nth % FUTURE_INTERVAL == 0 or self._future_done != here.shot):
            if self._future_done != here.shot:
                self._settled = 0
            ahead = (self._frames[number] for number in range(max(self._popped, self._settled), self._pushed))
            complete_from_future([window_frame for window_frame in ahead if window_frame.shot == here.shot])
            self._future_done, self._settled = here.shot, self._pushed - SETTLED_AFTER
        ends = self._dissolve_ends(here) if here.dissolve else None
        if ends is not None:
            self._stats.copied += int(here.hole.full_area().sum())
            return fill_dissolve(here, *ends, self._grid)
        plate = plate_of(self._analysis, self._options, here.frame)
        if plate is not None:
            holes = here.plane_holes
            assert holes is not None
            return self._fill_from_plate(here, holes, plate)
        propagation = self._propagate(here)
        self._count_mode(here, "flow" if self._reach else "image")
        if propagation.trajectories and self._filled_count % CHECK_INTERVAL == 0:
            self._self_check.check_trajectories(here, propagation.trajectories, self._frames, self._reach)
            self._stats.self_check_db = self._self_check.psnr
        self._filled_count += 1
        references = (
            self._references_for(here)
            if propagation.low_confidence[0].any() or not propagation.known[0].all()
            else None
        )
        known_count = int(propagation.known[0].sum())
        assert self._light is not None
        if references is not None or known_count < propagation.known[0].size:
            from_references, newly_known = self._synthesis.fill(
                here, propagation, self._frames, self._reach, self._grid, references, self._propagate, self._light
            )
            self._stats.distant += from_references
            known_count += newly_known
        self._stats.copied += known_count
        self._stats.invented += propagation.known[0].size - known_count
        if propagation.rim_mismatch or known_count < MIN_KNOWN_SHARE * propagation.known[0].size:
            self._stats.doubtful.append(here.frame.index)
        return composite(here.frame, propagation.holes, propagation.values)

    def _dissolve_ends(self, here: WindowFrame) -> tuple[DissolveEnd, DissolveEnd] | None:
        """The filled frames before and after the dissolve of `here`; None: one of them is not in the window, or of another
        size."""
        assert self._grid is not None
        first = last = here.number
        while (one := self._frames.get(first)) is not None and one.dissolve:
            first -= 1
        while (one := self._frames.get(last)) is not None and one.dissolve:
            last += 1
        start, end = self._frames.get(first), self._frames.get(last)
        if start is None or end is None or self._before is None or self._before[0] != first:
            return None
        if start.frame.size != here.frame.size or end.frame.size != here.frame.size:
            return None
        if last not in self._ahead:
            self._ahead[last] = end.frame if end.unchanged else self._fill(end)
        return (
            DissolveEnd.of(self._before[1], start, self._frames, self._grid, -1),
            DissolveEnd.of(self._ahead[last], end, self._frames, self._grid, 1),
        )

    def _propagate(self, target: WindowFrame) -> Propagation:
        """Fill the hole of `target`, any frame of the window, from the window."""
        assert self._grid is not None
        assert self._light is not None
        return propagate(self._frames, target, self._grid, self._reach, self._options.quality, self._light, self._both)

    def _fill_from_plate(self, here: WindowFrame, holes: list[PlaneHole], plate: Plate) -> Frame:
        plate_fill = self._plate_fill_for(plate, here)
        self._count_mode(here, "plate")
        assert self._grid is not None
        dynamic = self._dynamic_texture_for(plate, here)
        overlays = dynamic.overlays(here, holes[0], self._frames, self._grid) if dynamic is not None else []
        values: list[NDArray[np.float32]] = [np.zeros(0, np.float32)] * len(holes)
        assert self._light is not None
        light = self._light.count(here, plate_fill.light_of(here.frame, here.area))
        for hole, planes in by_grid(holes):
            values_in, known = plate_fill.values_in(here.frame, hole, planes, overlays, here.nth, light)
            for plane, value in zip(planes, values_in, strict=True):
                values[plane] = value
            if 0 in planes:
                self._stats.copied += int(known.sum())
                self._stats.invented += int(known.size - known.sum())
        if self._follows_kept(here):  # the plate does not show what passes behind the hole
            propagation = self._propagate(here)
            for value, moved, kept in zip(values, propagation.values, propagation.kept, strict=True):
                value[kept] = moved[kept]
        return composite(here.frame, holes, values)

    def _count_mode(self, here: WindowFrame, mode: str) -> None:
        """Count the mode once per shot. Note it if the plate was asked for and the shot has none."""
        if here.shot != self._counted_shot:
            self._counted_shot = here.shot
            self._stats.modes[mode] = self._stats.modes.get(mode, 0) + 1
            if self._options.mode == "plate" and mode != "plate":
                self._note(f"no background plate where the camera moves; filled by {mode} instead")
