"""Compose the hole of a frame from object masks: gaps closed, extended to the border, dilated, each in its own region."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.frames import Hole, Orientation
from vidrase.mask import morphology
from vidrase.options import MaskOptions

CLOSE_SHARE = 0.025
"""Of an object's height: gaps up to twice this width are closed (between fingers, arm and body, bag and back)."""
FILL_SHARE = 0.04  # of an object's area: larger holes in its mask are background seen through it, and stay
SLIT_SHARE = 0.01  # of the frame's short side: slits between objects up to twice this width are closed
BORDER_SHARE = 0.012  # of the frame's short side: a mask this near to the border is extended to it


class HoleCanvas:
    """The hole of one frame while it is composed, as displayed."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self.core = np.zeros(size, bool)
        self.area = np.zeros(size, bool)

    def joined(self) -> None:
        """Close slits and small holes between masks of different objects: a sliver left between two filled areas is visible."""
        rows, columns = np.flatnonzero(self.area.any(1)), np.flatnonzero(self.area.any(0))
        if not len(rows):
            return
        radius = SLIT_SHARE * min(self.size)
        margin = math.ceil(radius) + 1
        region = np.s_[
            max(int(rows[0]) - margin, 0) : int(rows[-1]) + 1 + margin,
            max(int(columns[0]) - margin, 0) : int(columns[-1]) + 1 + margin,
        ]
        largest = (3 * radius) ** 2  # px² of a hole that is filled, at most
        self.core[region] = morphology.fill_holes(morphology.close_gaps(self.core[region], radius), largest)
        self.area[region] = morphology.fill_holes(
            morphology.close_gaps(self.area[region], radius) | self.core[region], largest
        )

    def hole(self, orientation: Orientation) -> Hole | None:
        """The hole as stored; None when it is empty."""
        if not self.area.any():
            return None
        core, area = (np.ascontiguousarray(orientation.to_stored(part)) for part in (self.core, self.area))
        return Hole.of(core, area)


def add_object(
    canvas: HoleCanvas,
    mask: NDArray[np.bool_],
    corner: tuple[int, int],
    options: MaskOptions,
    *,
    whole: bool = True,
) -> None:
    """Add the mask of an object to the canvas.

    mask: bool [h, w] crop at `corner` (y, x). whole: it is the mask of a whole object (not a drawn mask or a part), so small gaps
    in it are closed and it is extended to the frame's border.
    """
    height, width = canvas.size
    exact = options.dilate == 0 or (options.shape == "mask" and options.dilate is None)
    radius = 0.0 if exact else float(options.dilate or morphology.dilation_radius(canvas.size, mask.shape))
    close = CLOSE_SHARE * mask.shape[0] if whole and options.dilate != 0 else 0.0
    close *= rules.enabled("mask.close")
    to_border = whole and options.dilate != 0 and rules.enabled("mask.to_border")
    border = math.ceil(BORDER_SHARE * min(height, width)) + 1 if to_border else 0
    margin = math.ceil(max(radius + close, border)) + 2
    y0, x0 = max(corner[0] - margin, 0), max(corner[1] - margin, 0)
    y1, x1 = min(corner[0] + mask.shape[0] + margin, height), min(corner[1] + mask.shape[1] + margin, width)
    padded = np.zeros((y1 - y0, x1 - x0), bool)
    padded[corner[0] - y0 : corner[0] - y0 + mask.shape[0], corner[1] - x0 : corner[1] - x0 + mask.shape[1]] = mask
    if options.shape == "box":
        rows, columns = np.flatnonzero(padded.any(1)), np.flatnonzero(padded.any(0))
        padded[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    elif close:
        padded = morphology.close_gaps(padded, close)
        if rules.enabled("mask.fill_holes"):
            padded = morphology.fill_holes(padded, FILL_SHARE * float(np.count_nonzero(mask)))
    if border:
        padded = morphology.extend_to_border(padded, (y0, x0), canvas.size, border)
    canvas.core[y0:y1, x0:x1] |= padded
    canvas.area[y0:y1, x0:x1] |= morphology.dilate(padded, radius)
