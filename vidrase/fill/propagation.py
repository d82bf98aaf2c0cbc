"""What a hole is known to show: followed to other frames of the window, coloured from there, matched and mixed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.fill.blending import LIGHT_REACH, Candidate, SampleSites, blend, compensate_exposure, sample_sources
from vidrase.fill.composite import PlaneHole, by_grid
from vidrase.fill.seams import blend_seams
from vidrase.fill.source_planes import SourcePlanes
from vidrase.fill.trajectories import trace_trajectories
from vidrase.fill.window_frame import RIM, SourceMap, WindowFrame, WorkGrid

FAR = {"fast": 24, "default": 10, "best": 10}
"""Frames: over longer ways a picture that is laid over this one directly is nearer the truth than a chain. It takes time."""
MISFIT = 16 / 255
"""Mean difference at the rim, of full scale, from which a frame deserves a look; plain texture and noise stay below it."""


@dataclass(slots=True, eq=False)
class Propagation:
    """What is known of one hole; lists go by plane, arrays in the order of `PlaneHole.points`."""

    holes: list[PlaneHole]
    values: list[NDArray[np.float32]]
    """[N] sample values."""
    known: list[NDArray[np.bool_]]
    """[N] which of them mean anything."""
    low_confidence: list[NDArray[np.bool_]]
    """[N] what is known, but would be better from a distant picture."""
    trajectories: list[SourceMap]
    rim_mismatch: bool
    """Whether the rim does not fit what was found."""

    def missing(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        """bool [H, W] of the frame: luma of the hole that is not known."""
        out = np.zeros(size, bool)
        out[self.holes[0].span][self.holes[0].area] = ~self.known[0]
        return out


def propagate(
    moments: Mapping[int, WindowFrame], here: WindowFrame, grid: WorkGrid, reach: int, quality: str
) -> Propagation:
    """What the moments within `reach` frames show of the hole of `here`."""
    holes = here.plane_holes
    assert holes is not None
    chains = [trace_trajectories(moments, here, step, reach) for step in (-1, 1)] if reach else []
    chains = [chain for chain in chains if (chain.source >= 0).any()]
    count = len(here.frame.planes)
    nothing, none = np.zeros(0, np.float32), np.zeros(0, bool)
    out = Propagation(holes, [nothing] * count, [none] * count, [none] * count, chains, False)

    def picture_of(number: int) -> SourcePlanes:
        moment = moments[number]
        if moment.picture is None:
            moment.picture = SourcePlanes(moment.frame.planes, holes=moment.plane_holes)
        return moment.picture

    full = (1 << here.frame.layout.bits) - 1
    for hole, planes in by_grid(holes):
        shape = here.frame.planes[planes[0]].shape
        places = SampleSites.of(hole, (shape[0], shape[1]), max(int(RIM / grid.scale_x) >> hole.shift_x, 1))
        found: list[Candidate] = []
        if chains:
            points = places.between(grid, chains[0].box)
            found = [sample_sources(chain, places, planes, points, grid, picture_of) for chain in chains]
            rim = places.rim_of(here.frame.planes, planes)
            for candidate in found:
                compensate_exposure(candidate, places, rim, LIGHT_REACH * full)
                if quality != "fast" and rules.enabled("blend.seams"):
                    blend_seams(candidate, places, full)
            values, known = blend(found, places.count)
            if 0 in planes:
                out.rim_mismatch = _misfits(found, full)
        else:
            values, known = [np.zeros(places.count, np.float32) for _ in planes], np.zeros(places.count, bool)
        weak = known & _far_off(found, places.count, here.number, FAR[quality])
        if weak.any() and not rules.enabled("sources.keyframes_over_far"):
            weak[:] = False
        for plane, value in zip(planes, values, strict=True):
            out.values[plane], out.known[plane], out.low_confidence[plane] = value, known, weak
    return out


def _misfits(found: list[Candidate], full: int) -> bool:
    doubts = [float(candidate.rim_error.mean()) for candidate in found if candidate.rim_error is not None]
    return bool(doubts) and min(doubts) > MISFIT * full


def _far_off(found: list[Candidate], count: int, number: int, far: int) -> NDArray[np.bool_]:
    """bool [count]: which points are seen nowhere within `far` frames of the moment `number`."""
    out = np.ones(count, bool)
    for one in found:
        out &= (one.source[:count] < 0) | (np.abs(one.source[:count] - number) > far)
    return out
