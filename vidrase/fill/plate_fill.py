"""Fill from the background plate of a still camera: no motion, no chains, the same background in every frame of the shot.

Invariant: what no moment of the shot shows is invented once, on the plate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.fill.blending import Candidate, SampleSites, compensate_exposure
from vidrase.fill.composite import PlaneHole
from vidrase.fill.dynamic_texture import Overlay, sample_overlays
from vidrase.fill.grain import grain, measured_grain
from vidrase.fill.inpainting import inpaint_key_frame
from vidrase.frames import Frame
from vidrase.inpaint import Inpainter
from vidrase.plate import Plate, light_offset

RIM = 10  # samples around the hole that tell how the light differs from the plate's
STRAY = 7 / 255
"""A rim sample that differs this much more than the frame as a whole, of full scale, shows something else than the
background: a shadow's edge, another person. Light that falls off across the frame stays below it."""
MOVES, QUIET = 3.0, 1 / 255
"""Times the noise, which is taken for at least so much of full scale, that a sample of the rim may wander and still tell it."""
NOISIER = 2.0
"""Times the noise of the whole picture that a part of it may have: more is something that moves."""
LOCAL = 4 / 255
"""Largest local departure from the frame's overall change of light, of full scale."""


@dataclass(slots=True, eq=False)
class PlateFill:
    """The plate of one shot, completed."""

    plate: Plate
    planes: tuple[NDArray, ...]
    """The plate's planes with what was never seen made up."""

    @classmethod
    def of(cls, plate: Plate, like: Frame, inpainter: Inpainter) -> PlateFill:
        """Complete `plate`; `like`: any frame of the shot, for layout."""
        unknown = ~plate.known[0]
        for known in plate.known[1:]:
            across, down = unknown.shape[1] / known.shape[1], unknown.shape[0] / known.shape[0]
            if across > 1 or down > 1:
                wide = cv2.resize((~known).astype(np.uint8), unknown.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
                unknown = unknown | wide
        planes = tuple(plane.copy() for plane in plate.planes)
        if unknown.any() and not unknown.all():
            made = inpaint_key_frame(replace(like, planes=planes), unknown, inpainter)
            filled = []
            for plane, crop, number in zip(plate.planes, made.planes, range(len(planes)), strict=True):
                shift_y, shift_x = like.layout.shifts(number)
                whole = plane.copy()
                top, left = made.y >> shift_y, made.x >> shift_x
                whole[top : top + crop.shape[0], left : left + crop.shape[1]] = crop
                filled.append(whole)
            planes = tuple(filled)
        return cls(plate, planes)

    def colours(
        self, frame: Frame, hole: PlaneHole, planes: list[int], layers: list[Overlay], nth: int
    ) -> tuple[list[NDArray[np.float32]], NDArray[np.bool_]]:
        """(values [N] of each of `planes` in the hole, bool [N] where a moment of the shot shows them).

        layers: what to lay over the plate where it moves. nth: which frame of the shot it is, for the noise.
        """
        shape = frame.planes[planes[0]].shape
        places = SampleSites.of(hole, (shape[0], shape[1]), RIM)
        rows = ((places.y - ((1 << hole.shift_y) - 1) / 2) / (1 << hole.shift_y)).astype(np.intp)
        columns = ((places.x - ((1 << hole.shift_x) - 1) / 2) / (1 << hole.shift_x)).astype(np.intp)
        values = [self.planes[plane][rows, columns].astype(np.float32) for plane in planes]
        values_of_plate = [value.copy() for value in values]
        full = (1 << frame.layout.bits) - 1
        seen = self.plate.known[planes[0]][rows, columns]
        source = np.zeros(len(rows), np.int32)
        rim_rows, rim_columns = places.rim
        whole = [self._whole_offset(frame, plane, hole) for plane in planes]
        for k in range(len(planes)):
            values[k] += whole[k]
        gap = frame.planes[planes[0]][rim_rows, rim_columns].astype(np.float32) - values[0][places.count :]
        stirred = ~self._calm(planes[0], places.rim, full)
        source[places.count :][(np.abs(gap) > STRAY * full) | ~seen[places.count :] | stirred] = -1
        candidate = Candidate(source, values)
        if rules.enabled("blend.local_light"):
            compensate_exposure(candidate, places, places.rim_of(frame.planes, planes), reach=LOCAL * full)
        valid = candidate.valid[places.count :]
        strengths = []
        for plane in planes:
            calm = valid & self._calm(plane, places.rim, full)
            measured = measured_grain(frame.planes[plane], self.plate.planes[plane], places.rim, calm)
            strengths.append(min(measured, NOISIER * self.plate.noise[plane]))
        out = []
        points = places.x[: places.count], places.y[: places.count]
        over = list(sample_overlays(layers, hole, planes, *points))
        for k, plane in enumerate(planes):
            base = values_of_plate[k][: places.count]
            moved, bare = np.zeros_like(base), np.ones_like(base)
            for other, weight in over:
                moved = moved * (1 - weight) + weight * (other[:, k] - base)
                bare *= 1 - weight  # what is copied has its own grain
            value = candidate.values[k][: places.count] + moved
            out.append(value + bare * grain(hole.area, strengths[k], nth, plane))
        return out, seen[: places.count]

    def _calm(self, plane: int, rim: tuple[NDArray[np.intp], NDArray[np.intp]], full: int) -> NDArray[np.bool_]:
        """bool [N]: which of the rim's samples tell light and noise: leaves that move there are neither."""
        return self.plate.spread[plane][rim] <= MOVES * max(self.plate.noise[plane], QUIET * full)  # type: ignore[no-any-return]

    def _whole_offset(self, frame: Frame, plane: int, hole: PlaneHole) -> float:
        """How much brighter the frame is than the plate, as a whole, outside the hole."""
        known = self.plate.known[plane].copy()
        known[hole.span] &= ~hole.area
        grid = np.s_[::4, ::4]
        return light_offset(self.planes[plane][grid], frame.planes[plane][grid], known[grid])
