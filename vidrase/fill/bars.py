"""Black bars round the picture (letterbox, pillarbox): filled with their own colour, and no border of anything to the picture.

A row or column at the edge of a frame belongs to a bar when everything known of it is black. What a hole covers of a bar is
then black as well, and what it covers of the picture is made up from the picture alone.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vidrase.colour import PixelLayout, chroma_hole
from vidrase.frames import Frame, Hole, HoleFrame

BLACK = 10  # of 255, above the black of the range: what compression makes of it
MIN_KNOWN_SHARE = 0.25  # of a row or column: too little of it says nothing

Bounds = tuple[int, int, int, int]
"""(top, left, bottom, right) of the picture within its bars, half-open."""


def picture_within(frame: Frame, missing: NDArray[np.bool_]) -> Bounds:
    """Where the picture lies within its bars; the whole frame where there are none. missing: bool [H, W], says nothing."""
    height, width = frame.size
    rows, columns = _bars(frame, missing, down=True), _bars(frame, missing, down=False)
    if sum(rows) >= height or sum(columns) >= width:  # a black frame has no picture in it
        return 0, 0, height, width
    return rows[0], columns[0], height - rows[1], width - columns[1]


def with_bars_filled(hole_frame: HoleFrame) -> HoleFrame:
    """`hole_frame` with what its hole covers of bars filled; `hole_frame` itself where it covers none."""
    frame, hole = hole_frame.frame, hole_frame.hole
    if hole is None or hole_frame.passes:
        return hole_frame
    area = hole.full_area()
    top, left, bottom, right = picture_within(frame, area)
    if (top, left, bottom, right) == (0, 0, *frame.size):
        return hole_frame
    outside = np.ones(frame.size, bool)
    outside[top:bottom, left:right] = False
    if not (outside & area).any():
        return hole_frame
    planes = []
    for number, plane in enumerate(frame.planes):
        made, bar = plane.copy(), _samples(outside, frame.layout, number)
        where = chroma_hole(area, frame.layout, number) & bar
        known = plane[bar & ~where]
        made[where] = np.median(known) if known.size else plane[where]
        planes.append(made)
    inner = Hole.of(hole.full_core() & ~outside, area & ~outside)
    return replace(hole_frame, frame=frame.with_planes(tuple(planes)), hole=inner)


def _samples(outside: NDArray[np.bool_], layout: PixelLayout, number: int) -> NDArray[np.bool_]:
    """bool on the grid of a plane: samples that no pixel of the picture shares."""
    return ~chroma_hole(~outside, layout, number)


def _bars(frame: Frame, missing: NDArray[np.bool_], *, down: bool) -> tuple[int, int]:
    """Rows (`down`) or columns of the bars at the beginning and at the end."""
    layout = frame.layout
    light = frame.planes[: 3 if layout.model == "rgb" else 1]
    unit = 1 << (layout.bits - 8)
    most = (BLACK + (0 if layout.full_range or layout.model != "yuv" else 16)) * unit
    count = frame.size[0 if down else 1]

    def black(line: int) -> bool:
        known = ~(missing[line] if down else missing[:, line])
        if known.mean() < MIN_KNOWN_SHARE:
            return False
        return all(int((plane[line] if down else plane[:, line])[known].max()) <= most for plane in light)

    first = next((line for line in range(count) if not black(line)), count)
    last = next((line for line in range(count) if not black(count - 1 - line)), count)
    return first, last
