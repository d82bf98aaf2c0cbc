"""Compose the hole of a frame from object masks: extended to the border, dilated, each in its own region; slits closed."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.crops import bounds, trim
from vidrase.frames import Box, Hole, Orientation
from vidrase.mask import morphology
from vidrase.options import MaskOptions

# Evidence for mask.*: `rules.py`. Values of constants without a figure have no record yet.
SLIT_SHARE = 0.01  # of the frame's short side: slits between objects up to twice this width are closed
BORDER_SHARE = 0.012  # of the frame's short side: a mask this near to the border is extended to it


class HoleCanvas:
    """The hole of one frame while it is composed, as displayed."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self.core = np.zeros(size, bool)
        self.area = np.zeros(size, bool)
        self._box: Box | None = None  # all that was added lies in it

    def add(self, core: NDArray[np.bool_], area: NDArray[np.bool_], corner: tuple[int, int]) -> None:
        """Add an object: its core and dilated core, bool [h, w] crops at `corner` (y, x), which lie inside the frame."""
        (y, x), (rows, columns) = corner, area.shape
        self.core[y : y + rows, x : x + columns] |= core
        self.area[y : y + rows, x : x + columns] |= area
        box = self._box or (y, y + rows, x, x + columns)
        self._box = min(box[0], y), max(box[1], y + rows), min(box[2], x), max(box[3], x + columns)

    def joined(self) -> None:
        """Close slits and small holes between masks of different objects: a sliver left between two filled areas is visible."""
        if self._box is None:
            return
        radius = SLIT_SHARE * min(self.size)
        margin = math.ceil(radius) + 1
        y0, y1, x0, x1 = self._box
        self._box = (
            max(y0 - margin, 0),
            min(y1 + margin, self.size[0]),
            max(x0 - margin, 0),
            min(x1 + margin, self.size[1]),
        )
        region = np.s_[self._box[0] : self._box[1], self._box[2] : self._box[3]]
        largest = (3 * radius) ** 2  # px² of a hole that is filled, at most
        self.core[region] = morphology.fill_holes(morphology.close_gaps(self.core[region], radius), largest)
        self.area[region] = morphology.fill_holes(
            morphology.close_gaps(self.area[region], radius) | self.core[region], largest
        )

    def hole(self, orientation: Orientation) -> Hole | None:
        """The hole as stored; None when it is empty."""
        if self._box is None:
            return None
        y0, y1, x0, x1 = self._box
        crop = trim((self.area[y0:y1, x0:x1], (y0, x0)))
        if crop is None:
            return None
        (y, x), (rows, columns) = crop[1], crop[0].shape
        top, _, left, _ = orientation.box_to_stored((y, y + rows, x, x + columns), self.size)
        core, area = (
            np.ascontiguousarray(orientation.to_stored(part))
            for part in (self.core[y : y + rows, x : x + columns], crop[0])
        )
        return Hole(top, left, core, area, orientation.displayed_size(*self.size))


def add_object(
    canvas: HoleCanvas,
    mask: NDArray[np.bool_],
    corner: tuple[int, int],
    options: MaskOptions,
    *,
    whole: bool = True,
    drawn: bool = False,
) -> None:
    """Add the mask of an object to the canvas.

    mask: bool [h, w] crop at `corner` (y, x). whole: it is the mask of a whole object, so it is extended to the frame's border.
    drawn: it was drawn by the user; neither: it holds parts of objects.
    """
    height, width = canvas.size
    exact = options.dilate == 0 or (options.shape == "mask" and options.dilate is None)
    radius = (
        0.0
        if exact
        else float(options.dilate or morphology.dilation_radius(canvas.size, mask.shape if whole or drawn else (0, 0)))
    )
    to_border = whole and options.dilate != 0 and rules.enabled("mask.to_border")
    border = math.ceil(BORDER_SHARE * min(height, width)) + 1 if to_border else 0
    margin = math.ceil(max(radius, border)) + 2
    y0, x0 = max(corner[0] - margin, 0), max(corner[1] - margin, 0)
    y1, x1 = min(corner[0] + mask.shape[0] + margin, height), min(corner[1] + mask.shape[1] + margin, width)
    padded = np.zeros((y1 - y0, x1 - x0), bool)
    padded[corner[0] - y0 : corner[0] - y0 + mask.shape[0], corner[1] - x0 : corner[1] - x0 + mask.shape[1]] = mask
    if options.shape == "box":
        box = bounds(padded)
        if box is not None:
            padded[box[0] : box[1], box[2] : box[3]] = True
    if border:
        padded = morphology.extend_to_border(padded, (y0, x0), canvas.size, border)
    canvas.add(padded, morphology.dilate(padded, radius), (y0, x0))
