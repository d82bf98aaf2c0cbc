"""Fill the frames of a dissolve: a mix of the two shots, each from its own side.

A frame of a dissolve shows both shots, and its flow is neither's. So both ends, the last frame before it and the first one
after it, are filled first. The camera of each shot goes on as it moved there, and the two filled pictures are mixed as the
frame around the hole is mixed. Nothing is taken across: the shots see nothing of each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidrase.camera import CameraMotion
from vidrase.fill.blending import LIGHT_REACH, Candidate, SampleSites, compensate_exposure
from vidrase.fill.composite import by_grid, composite
from vidrase.fill.light_matching import sample_of, to_luma
from vidrase.fill.source_planes import SourcePlanes
from vidrase.fill.trajectories import CAMERA_SUPPORT
from vidrase.fill.window_frame import RIM, WindowFrame, WorkGrid
from vidrase.frames import Frame
from vidrase.light import LightSample

CAMERA_FRAMES = 4  # frames over which the camera's motion at an end is averaged


@dataclass(frozen=True, slots=True, eq=False)
class DissolveEnd:
    """The filled frame at one end of a dissolve."""

    number: int
    """Of the window frame."""
    filled: Frame
    motion: NDArray[np.float64]
    """The camera's motion a frame, as a homography on luma px."""

    @classmethod
    def of(
        cls, filled: Frame, here: WindowFrame, window: Mapping[int, WindowFrame], grid: WorkGrid, step: int
    ) -> DissolveEnd:
        """The end at `here`. step: -1 before the dissolve, 1 after it: in which direction its shot lies."""
        whole, count = np.eye(3), 0
        for k in range(CAMERA_FRAMES):
            one, other = window.get(here.number + step * k), window.get(here.number + step * (k + 1))
            earlier = one if step > 0 else other
            if one is None or other is None or other.shot != here.shot or earlier is None or earlier.flow_pair is None:
                break
            if earlier.flow_pair.camera.support < CAMERA_SUPPORT:
                break
            camera = earlier.flow_pair.camera.homography
            whole, count = (camera @ whole if step > 0 else whole @ camera), count + 1
        scaling = to_luma(grid)
        whole = scaling @ whole @ np.linalg.inv(scaling)
        motion = np.eye(3) + (whole / whole[2, 2] - np.eye(3)) / max(count, 1)
        return cls(here.number, filled, motion)

    def homography(self, number: int) -> NDArray[np.float64]:
        """From luma px of the window frame `number` to those of this one."""
        return np.asarray(np.linalg.matrix_power(self.motion, self.number - number))


def fill_dissolve(here: WindowFrame, before: DissolveEnd, after: DissolveEnd, grid: WorkGrid) -> Frame:
    """The frame `here` of a dissolve with its hole filled."""
    holes, layout = here.plane_holes, here.frame.layout
    assert holes is not None
    ends = [(end, CameraMotion(end.homography(here.number), 1.0)) for end in (before, after)]
    sample = sample_of(here)
    seen = [LightSample.of(end.filled.planes, layout, None).seen_from(sample, c.homography) for end, c in ends]
    share = mixed_share(sample, *seen)
    values: list[NDArray[np.float32]] = [np.zeros(0, np.float32)] * len(holes)
    for hole, planes in by_grid(holes):
        rows, columns = here.frame.planes[planes[0]].shape
        sites = SampleSites.of(hole, (rows, columns), max(int(RIM / grid.scale_x) >> hole.shift_x, 1))
        shown = [
            SourcePlanes(end.filled.planes).at(planes, *camera.points(sites.x, sites.y), hole.shift_y, hole.shift_x)
            for end, camera in ends
        ]
        mixed = (1 - share) * shown[0] + share * shown[1]
        candidate = Candidate(np.zeros(len(sites.x), np.int32), [np.ascontiguousarray(value) for value in mixed.T])
        rim = sites.rim_of(here.frame.planes, planes)
        compensate_exposure(candidate, sites, rim, LIGHT_REACH * ((1 << layout.bits) - 1))
        for plane, value in zip(planes, candidate.values, strict=True):
            values[plane] = value[: sites.count]
    return composite(here.frame, holes, values)


def mixed_share(sample: LightSample, before: LightSample, after: LightSample) -> float:
    """Share of the second of two pictures in their mix, 0..1, by least squares over what all show."""
    known = sample.known & before.known & after.known
    if not known.any():
        known[:] = True
    apart = (after.rgb - before.rgb)[known]
    total = float((apart * apart).sum())
    return float(np.clip(((sample.rgb - before.rgb)[known] * apart).sum() / max(total, 1e-6), 0, 1))
