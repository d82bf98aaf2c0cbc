"""Fill a hole from other frames of the window: trace trajectories, sample, compensate exposure, blend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.fill.blending import LIGHT_REACH, Candidate, SampleSites, blend, compensate_exposure, sample_sources
from vidrase.fill.composite import PlaneHole, by_grid
from vidrase.fill.light_matching import LightMatching
from vidrase.fill.seams import blend_seams
from vidrase.fill.source_planes import SourcePlanes
from vidrase.fill.trajectories import fits_better, shows_kept, trace_trajectories
from vidrase.fill.window_frame import RIM, SourceMap, WindowFrame, WorkGrid
from vidrase.streams import Both, in_turn

# Evidence for blend.*, sources.*: `rules.py`. Values of constants without a figure have no record yet.
FAR_FRAMES = {"fast": 24, "default": 10, "best": 10}
"""Frames, by quality: a longer trajectory has low confidence, because a reference frame registered directly is more accurate.
Registering takes time."""
MAX_RIM_ERROR = 16 / 255
"""Share of full scale: above this mean rim error the report lists the frame as doubtful. Plain texture and noise stay below."""


CLEARLY_NEARER = 2.0
"""Past and future may differ about whether an object is seen at a point (a moving leg). If one is this many times nearer in time
it decides; otherwise both count and are mixed. People pasted before what moves, 24 frames: 2, 3 and no limit gave 26.39, 26.31
and 26.16 dB over four clips, 1.5 and 2 gave 26.97 and 27.03 over six."""


@dataclass(slots=True, eq=False)
class Propagation:
    """Values of one hole. Lists have one item per plane; arrays are in the order of `PlaneHole.points`."""

    holes: list[PlaneHole]
    values: list[NDArray[np.float32]]
    """[N] sample values."""
    known: list[NDArray[np.bool_]]
    """[N] which values are valid."""
    low_confidence: list[NDArray[np.bool_]]
    """[N] which known values a reference frame would give better."""
    trajectories: list[SourceMap]
    kept: list[NDArray[np.bool_]]
    """[N] which values are hidden parts of protected objects."""
    rim_mismatch: bool
    """Whether the samples differ too much from the frame at the rim, see `MAX_RIM_ERROR`."""

    def missing(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        """bool [H, W] of the frame: luma pixels of the hole without a known value. size: (H, W)."""
        out = np.zeros(size, bool)
        out[self.holes[0].span][self.holes[0].area] = ~self.known[0]
        return out


def propagate(
    frames: Mapping[int, WindowFrame],
    here: WindowFrame,
    grid: WorkGrid,
    reach: int,
    quality: str,
    light: LightMatching,
    both: Both = in_turn,
) -> Propagation:
    """Fill the hole of `here` from the frames within `reach`. both: runs the work of the two directions."""
    holes = here.plane_holes
    assert holes is not None
    count = len(here.frame.planes)
    no_values, no_points = np.zeros(0, np.float32), np.zeros(0, bool)
    out = Propagation(
        holes, [no_values] * count, [no_points] * count, [no_points] * count, [], [no_points] * count, False
    )
    full = (1 << here.frame.layout.bits) - 1
    grids = [(_sites(here, hole, planes, grid), planes) for hole, planes in by_grid(holes)]

    kept = _kept_layer(frames, here, reach, both, light)

    def direction(step: int) -> tuple[SourceMap, list[Candidate]] | None:
        """The trajectories of one direction and their samples on every plane grid; None: they show nothing."""
        trajectory = trace_trajectories(frames, here, step, reach, usable=light.usable)
        if kept is not None:
            for name in ("source", "dx", "dy"):
                getattr(trajectory, name)[kept.masks[step]] = getattr(kept.maps[step], name)[kept.masks[step]]
        if not (trajectory.source >= 0).any():
            return None
        candidates = []
        for sites, planes in grids:
            points = sites.between(grid, trajectory.box)
            candidate = sample_sources(
                trajectory,
                sites,
                planes,
                points,
                grid,
                lambda number: _picture(frames[number]),
                here.frame.layout,
                lambda number: light.between(here, frames[number]),
            )
            compensate_exposure(candidate, sites, sites.rim_of(here.frame.planes, planes), LIGHT_REACH * full)
            if quality != "fast" and rules.enabled("blend.seams"):
                blend_seams(candidate, sites, full)
            candidates.append(candidate)
        return trajectory, candidates

    directions = both(lambda: direction(-1), lambda: direction(1)) if reach else ()
    found = [one for one in directions if one is not None]
    out.trajectories = [trajectory for trajectory, _ in found]
    for k, (sites, planes) in enumerate(grids):
        candidates = [of_grid[k] for _, of_grid in found]
        if candidates:
            values, known = blend(candidates, sites.count)
            if 0 in planes:
                out.rim_mismatch = _rim_mismatch(candidates, full)
        else:
            values, known = [np.zeros(sites.count, np.float32) for _ in planes], np.zeros(sites.count, bool)
        low_confidence = known & _far_in_time(candidates, sites.count, here.number, FAR_FRAMES[quality])
        if low_confidence.any() and not rules.enabled("sources.keyframes_over_far"):
            low_confidence[:] = False
        of_kept = np.zeros(sites.count, bool)
        if kept is not None:
            near = sites.between(grid, kept.maps[1].box).near[: sites.count]
            of_kept = (kept.masks[-1] | kept.masks[1]).ravel().take(near) & known
            low_confidence &= ~of_kept  # key frames are registered to the background
        for plane, value in zip(planes, values, strict=True):
            out.values[plane], out.known[plane], out.low_confidence[plane] = value, known, low_confidence
            out.kept[plane] = of_kept
    return out


@dataclass(frozen=True, slots=True, eq=False)
class _KeptLayer:
    """Hidden parts of protected objects that move on their own."""

    masks: Mapping[int, NDArray[np.bool_]]
    """By step: bool [h, w] of the box, the query pixels that are such parts."""
    maps: Mapping[int, SourceMap]
    """By step: where they are visible, -1 elsewhere."""


def _kept_layer(
    frames: Mapping[int, WindowFrame], here: WindowFrame, reach: int, both: Both, light: LightMatching
) -> _KeptLayer | None:
    """The parts of protected objects that the hole of `here` hides: every query pixel is followed along their motion to the first
    frame that shows it. If that frame, the nearer one of past and future, shows an object there, the pixel is the object's.
    None: no such object is near."""
    pairs = [frame.flow_pair for frame in (here, frames.get(here.number - 1)) if frame is not None]
    if not reach or not any(pair is not None and pair.kept is not None for pair in pairs):
        return None
    past, future = both(
        lambda: trace_trajectories(frames, here, -1, reach, kept=True, usable=light.usable),
        lambda: trace_trajectories(frames, here, 1, reach, kept=True, usable=light.usable),
    )
    for one in (past, future):
        for number in np.unique(one.source[one.source >= 0]).tolist():
            landed = one.source == number
            shift = float(np.median(one.dx[landed])), float(np.median(one.dy[landed]))
            if not fits_better(here, frames[number], shift):
                one.source[landed] = -1
    seen = [one.source >= 0 for one in (past, future)]
    shown = [shows_kept(frames, one) for one in (past, future)]
    distances = [
        np.where(known, np.abs(one.source - here.number), np.inf)
        for one, known in zip((past, future), seen, strict=True)
    ]
    # a source of which the other direction knows better is no object's
    decides = [CLEARLY_NEARER * distances[0] <= distances[1], CLEARLY_NEARER * distances[1] <= distances[0]]
    masks = []
    for k in (0, 1):
        own = shown[k] & ~decides[1 - k]
        other = shown[1 - k] & (decides[1 - k] | ~seen[k])
        (past, future)[k].source[~own] = -1
        masks.append(own | other)
    return _KeptLayer({-1: masks[0], 1: masks[1]}, {-1: past, 1: future}) if masks[0].any() or masks[1].any() else None


def _sites(here: WindowFrame, hole: PlaneHole, planes: list[int], grid: WorkGrid) -> SampleSites:
    shape = here.frame.planes[planes[0]].shape
    return SampleSites.of(hole, (shape[0], shape[1]), max(int(RIM / grid.scale_x) >> hole.shift_x, 1))


def _picture(source: WindowFrame) -> SourcePlanes:
    """The frame as a source. The two directions never ask for the same frame."""
    if source.picture is None:
        source.picture = SourcePlanes(source.frame.planes, holes=source.plane_holes)
    return source.picture


def _rim_mismatch(candidates: list[Candidate], full: int) -> bool:
    rim_errors = [float(candidate.rim_error.mean()) for candidate in candidates if candidate.rim_error is not None]
    return bool(rim_errors) and min(rim_errors) > MAX_RIM_ERROR * full


def _far_in_time(candidates: list[Candidate], count: int, number: int, max_distance: int) -> NDArray[np.bool_]:
    """bool [count]: which points have no source within `max_distance` frames of frame `number`."""
    out = np.ones(count, bool)
    for candidate in candidates:
        out &= (candidate.source[:count] < 0) | (np.abs(candidate.source[:count] - number) > max_distance)
    return out
