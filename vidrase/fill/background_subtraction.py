"""Background subtraction: residuals of an object beside its mask (shadow, held objects, cut-off limbs), against a still plate.

Pixels that differ from the plate and are connected to the hole join the hole.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.fill.components import touching
from vidrase.fill.flow_completion import dilate
from vidrase.frames import Frame, Hole
from vidrase.light import LightSample, match_light
from vidrase.plate import Plate, light_offset

# Evidence for residual.plate: `rules.py`. Values of constants without a figure have no record yet.
MIN_SHARE, MAX_SHARE = 0.3, 0.94
"""Share of the plate's luma in a shadow: below the first the pixel belongs to an object, above the second it is noise."""
MAX_CHROMA_CHANGE = 8 / 255
"""Largest change of chroma in a shadow, as a share of full scale."""
MIN_DIFFERENCE = 26 / 255
"""Smallest difference of foreground, as a share of full scale: well above noise and compression artefacts."""
SEARCH_REACH = 0.8  # of the hole's longer side: the search region extends this far beyond the hole
MAX_AREA = 1.5  # times the hole's area: more is no residual, the background itself has changed
PROTECT_MARGIN = 4 / 480  # of the frame's height: margin around protected objects, their soft edge
EDGE_WIDTH = 3 / 480  # of the frame's height: width of a residual's soft edge
BLOCK_ROWS = 32  # rows that are compared at a time: larger arrays leave the cache


def subtract_background(frame: Frame, hole: Hole, plate: Plate, protected: Hole | None = None) -> Hole:
    """`hole` united with the foreground that touches it; the same object when there is none.

    protected: protected objects, which are left out even where they touch the hole.
    """
    full_scale = float((1 << frame.layout.bits) - 1)
    plate_planes = _in_light_of(frame, hole, plate) if rules.enabled("residual.light") else plate.planes
    if plate_planes is None:
        return hole
    rows, columns = hole.span
    reach = int(SEARCH_REACH * max(hole.area.shape))
    grid_y, grid_x = 1 << frame.layout.shift_y, 1 << frame.layout.shift_x
    top, left = max(rows.start - reach, 0) // grid_y * grid_y, max(columns.start - reach, 0) // grid_x * grid_x
    bottom, right = min(rows.stop + reach, hole.size[0]), min(columns.stop + reach, hole.size[1])
    area = np.zeros((bottom - top, right - left), bool)
    core = area.copy()
    inner = np.s_[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    area[inner], core[inner] = hole.area, hole.core
    known = plate.known[0][top:bottom, left:right]
    spread = plate.spread[0][top:bottom, left:right]
    current, background = (_smooth(planes[0][top:bottom, left:right]) for planes in (frame.planes, plate_planes))
    background += light_offset(background[::4, ::4], current[::4, ::4], (known & ~area)[::4, ::4])
    tint = np.zeros((1, 1), np.float32)
    for plane in range(1, frame.layout.colour_planes):
        shift_y, shift_x = frame.layout.shifts(plane)
        crop = np.s_[top >> shift_y : -(-bottom >> shift_y), left >> shift_x : -(-right >> shift_x)]
        change = cv2.absdiff(_smooth(frame.planes[plane][crop]), _smooth(plate_planes[plane][crop]))
        tint = change if tint.shape != change.shape else cv2.max(tint, change)
    tint = cv2.resize(tint, current.shape[::-1], interpolation=cv2.INTER_LINEAR)
    changed, noise = MIN_DIFFERENCE * full_scale, 2.5 * max(plate.noise[0], 1)
    different = known & (spread < 0.5 * changed) & ~area
    for start in range(0, len(different), BLOCK_ROWS):
        rows_ = slice(start, start + BLOCK_ROWS)
        now, lit, colour = current[rows_], background[rows_], tint[rows_]
        foreground = cv2.compare(cv2.max(cv2.absdiff(now, lit), 2 * colour), changed, cv2.CMP_GT)
        at_least, at_most = (
            MIN_SHARE * cv2.max(lit, 1.0),
            cv2.min(MAX_SHARE * cv2.max(lit, 1.0), lit - np.float32(noise)),
        )
        shadow = (now > at_least) & (now < at_most) & (colour < MAX_CHROMA_CHANGE * full_scale)
        different[rows_] &= shadow | (foreground > 0)
    if protected is not None:
        different &= ~dilate(
            protected.full_area()[top:bottom, left:right], max(round(PROTECT_MARGIN * hole.size[0]), 2)
        )
    different = cv2.morphologyEx(different.view(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
    residual = touching(different, dilate(area, 2))
    if not residual.any() or np.count_nonzero(residual) > MAX_AREA * np.count_nonzero(area):
        return hole
    soft = dilate(residual, max(round(EDGE_WIDTH * hole.size[0]), 2))
    whole_core, whole_area = np.zeros(hole.size, bool), np.zeros(hole.size, bool)
    whole_core[top:bottom, left:right] = core | residual
    whole_area[top:bottom, left:right] = area | soft
    return Hole.of(whole_core, whole_area) or hole


def _in_light_of(frame: Frame, hole: Hole, plate: Plate) -> Sequence[NDArray] | None:
    """The plate's planes in the light of `frame`; None: it cannot be matched."""
    sample = LightSample.of(plate.planes, frame.layout, ~plate.known[0])
    light = match_light(LightSample.of(frame.planes, frame.layout, hole.full_area()), sample)
    if light is None:
        return plate.planes
    return light.relit_planes(plate.planes, frame.layout) if light.confidence > 0 else None


def _smooth(plane: NDArray) -> NDArray[np.float32]:
    """float32 [h, w]: a plane blurred against noise."""
    return cv2.GaussianBlur(plane.astype(np.float32), (0, 0), 1.2)
