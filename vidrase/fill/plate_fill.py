"""Fill from the background plate of a still camera: no flow, no trajectories, the same background in every frame of the shot.

Invariant: pixels that no frame of the shot shows are inpainted once, on the plate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.fill.blending import LIGHT_REACH, Candidate, SampleSites, compensate_exposure, relit_samples
from vidrase.fill.composite import PlaneHole
from vidrase.fill.dynamic_texture import Overlay, sample_overlays
from vidrase.fill.grain import grain, measured_grain
from vidrase.fill.inpainting import inpaint_key_frame
from vidrase.fill.source_planes import SourcePlanes
from vidrase.frames import Frame
from vidrase.inpaint import Inpainter
from vidrase.light import Light, LightSample, match_light
from vidrase.plate import Plate, light_offset

# Evidence for blend.local_light: `rules.py`. Values of constants without a figure have no record yet.
RIM = 10  # samples around the hole that measure the exposure offset to the plate
MAX_RIM_DEVIATION = 7 / 255
"""If the difference of a rim sample to the plate exceeds this, of full scale, after the offset of the whole frame, the sample
shows something else than the background (edge of a shadow, another person). Light that falls off across the frame stays
below it."""
MAX_SPREAD, MIN_NOISE = 3.0, 1 / 255
"""Spread, as a multiple of the noise (at least this share of full scale), up to which a sample of the rim is static and used to
measure exposure and noise."""
MAX_GRAIN = 2.0
"""Most grain of the fill, as a multiple of the noise of the whole plate: more comes from something that moves."""
MAX_LOCAL_OFFSET = 4 / 255
"""Largest local exposure offset besides that of the whole frame, of full scale."""


@dataclass(slots=True, eq=False)
class PlateFill:
    """The plate of one shot with its unknown pixels inpainted."""

    plate: Plate
    planes: tuple[NDArray, ...]
    """The plate's planes, completed."""
    sample: LightSample
    """Of the plate, to compare light with."""

    @classmethod
    def of(cls, plate: Plate, like: Frame, inpainter: Inpainter) -> PlateFill:
        """Complete `plate`; like: any frame of the shot, for its pixel layout."""
        unknown = ~plate.known[0]
        for known in plate.known[1:]:
            ratio_x, ratio_y = unknown.shape[1] / known.shape[1], unknown.shape[0] / known.shape[0]
            if ratio_x > 1 or ratio_y > 1:
                resized = (
                    cv2.resize((~known).astype(np.uint8), unknown.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
                )
                unknown = unknown | resized
        planes = tuple(plane.copy() for plane in plate.planes)
        if unknown.any() and not unknown.all():
            inpainted = inpaint_key_frame(replace(like, planes=planes), unknown, inpainter)
            filled = []
            for plane, crop, number in zip(plate.planes, inpainted.planes, range(len(planes)), strict=True):
                shift_y, shift_x = like.layout.shifts(number)
                completed = plane.copy()
                top, left = inpainted.y >> shift_y, inpainted.x >> shift_x
                completed[top : top + crop.shape[0], left : left + crop.shape[1]] = crop
                filled.append(completed)
            planes = tuple(filled)
        return cls(plate, planes, LightSample.of(plate.planes, like.layout, ~plate.known[0]))

    def light_of(self, frame: Frame, hidden: NDArray[np.bool_] | None) -> Light | None:
        """The light of `frame` against the plate; None: the same. hidden: bool [H, W] of any size, what hides the background."""
        if not rules.enabled("blend.light"):
            return None
        return match_light(LightSample.of(frame.planes, frame.layout, hidden), self.sample)

    def values_in(
        self,
        frame: Frame,
        hole: PlaneHole,
        planes: list[int],
        overlays: list[Overlay],
        nth: int,
        light: Light | None,
    ) -> tuple[list[NDArray[np.float32]], NDArray[np.bool_]]:
        """(values [N] of each of `planes` in the hole, bool [N] whether a frame of the shot shows them).

        light: of the frame against the plate, see `light_of`. layers: overlays for dynamic texture. nth: number of the frame
        in its shot, for the grain.
        """
        shape = frame.planes[planes[0]].shape
        sites = SampleSites.of(hole, (shape[0], shape[1]), RIM)
        rows = ((sites.y - ((1 << hole.shift_y) - 1) / 2) / (1 << hole.shift_y)).astype(np.intp)
        columns = ((sites.x - ((1 << hole.shift_x) - 1) / 2) / (1 << hole.shift_x)).astype(np.intp)
        values = [self.planes[plane][rows, columns].astype(np.float32) for plane in planes]
        plate_values = [value.copy() for value in values]
        full_scale = (1 << frame.layout.bits) - 1
        known = self.plate.known[planes[0]][rows, columns]
        source = np.zeros(len(rows), np.int32)
        rim_rows, rim_columns = sites.rim
        if light is None:
            for k, plane in enumerate(planes):
                values[k] += self._exposure_offset(frame, plane, hole)
        else:
            picture, layout = SourcePlanes(self.planes), frame.layout
            values = list(relit_samples(picture, planes, sites.x, sites.y, layout, light, sites.x, sites.y).T.copy())
        difference = frame.planes[planes[0]][rim_rows, rim_columns].astype(np.float32) - values[0][sites.count :]
        dynamic = ~self._is_static(planes[0], sites.rim, full_scale)
        source[sites.count :][
            (np.abs(difference) > MAX_RIM_DEVIATION * full_scale) | ~known[sites.count :] | dynamic
        ] = -1
        candidate = Candidate(source, values)
        if light is not None or rules.enabled("blend.local_light"):
            reach = (MAX_LOCAL_OFFSET if light is None else LIGHT_REACH) * full_scale
            compensate_exposure(candidate, sites, sites.rim_of(frame.planes, planes), reach)
        valid = candidate.valid[sites.count :]
        strengths = []
        for plane in planes:
            static = valid & self._is_static(plane, sites.rim, full_scale)
            measured = measured_grain(frame.planes[plane], self.plate.planes[plane], sites.rim, static)
            strengths.append(min(measured, MAX_GRAIN * self.plate.noise[plane]))
        out = []
        points = sites.x[: sites.count], sites.y[: sites.count]
        sampled = list(sample_overlays(overlays, hole, planes, *points))
        for k, plane in enumerate(planes):
            base = plate_values[k][: sites.count]
            overlay_offset, plate_weight = np.zeros_like(base), np.ones_like(base)
            for overlay_values, weight in sampled:
                overlay_offset = overlay_offset * (1 - weight) + weight * (overlay_values[:, k] - base)
                plate_weight *= 1 - weight  # overlays have their own grain
            value = candidate.values[k][: sites.count] + overlay_offset
            out.append(value + plate_weight * grain(hole.area, strengths[k], nth, plane))
        return out, known[: sites.count]

    def _is_static(
        self, plane: int, rim: tuple[NDArray[np.intp], NDArray[np.intp]], full_scale: int
    ) -> NDArray[np.bool_]:
        """bool [N]: which rim samples are static; only those measure exposure and noise (moving leaves do not)."""
        # type: ignore[no-any-return]
        return self.plate.spread[plane][rim] <= MAX_SPREAD * max(self.plate.noise[plane], MIN_NOISE * full_scale)

    def _exposure_offset(self, frame: Frame, plane: int, hole: PlaneHole) -> float:
        """Median offset of the frame to the plate, in sample values, outside the hole."""
        known = self.plate.known[plane].copy()
        known[hole.span] &= ~hole.area
        grid = np.s_[::4, ::4]
        return light_offset(self.planes[plane][grid], frame.planes[plane][grid], known[grid])
