"""The thing's own traces beside its mask: its cast shadow, what it holds, a limb that the mask cut off.

Where the background is known, whatever differs from it and hangs together with the hole is the thing's: it joins the hole.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.fill.flow_completion import dilate
from vidrase.frames import Frame, Hole
from vidrase.plate import Plate, light_offset

DARKEST, LIGHTEST = 0.3, 0.94
"""A shadow leaves this share of the light: below it is a thing, above it noise."""
TINT = 8 / 255
"""Largest change of chroma in a shadow, of full scale."""
THING = 26 / 255
"""Least difference of a held thing or a limb, of full scale: well above noise and what a codec leaves."""
REACH = 0.8  # of the hole's longer side: how far from it traces are looked for
MOST = 1.5  # times the hole: more is not a trace, the background is not what it was
KEPT = 4 / 480  # of the frame's height: what stays keeps its soft edge
RING = 3 / 480  # of the frame's height: soft edge of a trace


def subtract_background(frame: Frame, hole: Hole, plate: Plate, kept: Hole | None = None) -> Hole:
    """`hole` and the traces of its thing, seen against `plate`; the same object when there are none.

    kept: what must stay, however it hangs together with the hole.
    """
    full = float((1 << frame.layout.bits) - 1)
    rows, columns = hole.span
    reach = int(REACH * max(hole.area.shape))
    grid_y, grid_x = 1 << frame.layout.shift_y, 1 << frame.layout.shift_x
    top, left = max(rows.start - reach, 0) // grid_y * grid_y, max(columns.start - reach, 0) // grid_x * grid_x
    bottom, right = min(rows.stop + reach, hole.size[0]), min(columns.stop + reach, hole.size[1])
    area = np.zeros((bottom - top, right - left), bool)
    core = area.copy()
    inner = np.s_[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    area[inner], core[inner] = hole.area, hole.core
    known = plate.known[0][top:bottom, left:right]
    calm = plate.spread[0][top:bottom, left:right] < 0.5 * THING * full
    now, clean = (_smooth(planes[0][top:bottom, left:right]) for planes in (frame.planes, plate.planes))
    clean += light_offset(clean[::4, ::4], now[::4, ::4], (known & ~area)[::4, ::4])
    gap = now - clean
    tint = np.zeros_like(gap)
    for number in range(1, frame.layout.colour_planes):
        shift_y, shift_x = frame.layout.shifts(number)
        part = np.s_[top >> shift_y : -(-bottom >> shift_y), left >> shift_x : -(-right >> shift_x)]
        change = np.abs(_smooth(frame.planes[number][part]) - _smooth(plate.planes[number][part]))
        tint = np.maximum(tint, cv2.resize(change, gap.shape[::-1], interpolation=cv2.INTER_LINEAR))
    share = now / np.maximum(clean, 1)
    shadow = (share > DARKEST) & (share < LIGHTEST) & (tint < TINT * full) & (gap < -2.5 * max(plate.noise[0], 1))
    thing = np.maximum(np.abs(gap), 2 * tint) > THING * full
    different = (shadow | thing) & known & calm & ~area
    if kept is not None:
        different &= ~dilate(kept.full_area()[top:bottom, left:right], max(round(KEPT * hole.size[0]), 2))
    different = cv2.morphologyEx(different.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
    trace = _touching(different, dilate(area, 2))
    if not trace.any() or trace.sum() > MOST * area.sum():
        return hole
    soft = dilate(trace, max(round(RING * hole.size[0]), 2))
    whole_core, whole_area = np.zeros(hole.size, bool), np.zeros(hole.size, bool)
    whole_core[top:bottom, left:right] = core | trace
    whole_area[top:bottom, left:right] = area | soft
    return Hole.of(whole_core, whole_area) or hole


def _smooth(plane: NDArray) -> NDArray[np.float32]:
    return cv2.GaussianBlur(plane.astype(np.float32), (0, 0), 1.2)


def _touching(mask: NDArray[np.bool_], area: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The connected parts of `mask` that touch `area`."""
    _, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    touched = np.unique(labels[area & mask])
    return np.isin(labels, touched[touched > 0])
