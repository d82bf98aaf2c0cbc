"""One thing's mask to what it makes of the hole: closed, taken to the border, grown; all in its own region of the frame."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.frames import Hole, Orientation
from vidrase.mask import morphology
from vidrase.options import MaskOptions

CLOSE_SHARE = (
    0.025  # of a thing's height: gaps up to twice this wide are closed (between fingers, arm and body, bag and back)
)
FILL_SHARE = 0.04  # of a thing's area: larger holes inside it are background seen through it
SLIT_SHARE = 0.01  # of the frame's short side: slits up to twice as wide are closed
BORDER_SHARE = 0.012  # of the frame's short side: how near to the border a mask counts as reaching it


class HoleCanvas:
    """The hole of one frame while it is put together, as displayed."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self.core = np.zeros(size, bool)
        self.area = np.zeros(size, bool)

    def joined(self) -> None:
        """Close slits and peepholes between parts that were found one by one: what stands between filled ones is seen."""
        rows, columns = np.flatnonzero(self.area.any(1)), np.flatnonzero(self.area.any(0))
        if not len(rows):
            return
        radius = SLIT_SHARE * min(self.size)
        spare = math.ceil(radius) + 1
        part = np.s_[
            max(int(rows[0]) - spare, 0) : int(rows[-1]) + 1 + spare,
            max(int(columns[0]) - spare, 0) : int(columns[-1]) + 1 + spare,
        ]
        largest = (3 * radius) ** 2  # px² of a peephole left between them
        self.core[part] = morphology.fill_holes(morphology.close_gaps(self.core[part], radius), largest)
        self.area[part] = morphology.fill_holes(
            morphology.close_gaps(self.area[part], radius) | self.core[part], largest
        )

    def hole(self, orientation: Orientation) -> Hole | None:
        """The hole in stored orientation; None when there is nothing in it."""
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
    """Add a thing to the canvas.

    mask: bool [h, w] crop at `corner` (y, x); whole: it stands for a thing (not a drawn mask), so small gaps
    in it are closed and it is taken on to the frame's border.
    """
    height, width = canvas.size
    exact = options.dilate == 0 or (options.shape == "mask" and options.dilate is None)
    radius = 0.0 if exact else float(options.dilate or morphology.dilation_radius(canvas.size, mask.shape))
    close = CLOSE_SHARE * mask.shape[0] if whole and options.dilate != 0 else 0.0
    close *= rules.enabled("mask.close")
    onward = whole and options.dilate != 0 and rules.enabled("mask.to_border")
    border = math.ceil(BORDER_SHARE * min(height, width)) + 1 if onward else 0
    spare = math.ceil(max(radius + close, border)) + 2
    y0, x0 = max(corner[0] - spare, 0), max(corner[1] - spare, 0)
    y1, x1 = min(corner[0] + mask.shape[0] + spare, height), min(corner[1] + mask.shape[1] + spare, width)
    roomy = np.zeros((y1 - y0, x1 - x0), bool)
    roomy[corner[0] - y0 : corner[0] - y0 + mask.shape[0], corner[1] - x0 : corner[1] - x0 + mask.shape[1]] = mask
    if options.shape == "box":
        rows, columns = np.flatnonzero(roomy.any(1)), np.flatnonzero(roomy.any(0))
        roomy[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    elif close:
        roomy = morphology.close_gaps(roomy, close)
        if rules.enabled("mask.fill_holes"):
            roomy = morphology.fill_holes(roomy, FILL_SHARE * float(np.count_nonzero(mask)))
    if border:
        roomy = morphology.extend_to_border(roomy, (y0, x0), canvas.size, border)
    canvas.core[y0:y1, x0:x1] |= roomy
    canvas.area[y0:y1, x0:x1] |= morphology.dilate(roomy, radius)
