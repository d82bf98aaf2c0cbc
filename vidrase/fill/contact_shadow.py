"""The dark at the foot of a thing that its mask leaves: under a car, between shoes and ground.

Too small for the pictures that `cast` compares, and next to the hole: whatever is left of it would be copied into the rest. The
ground is known from those pictures; whether a pixel here is far darker than it, the frame itself tells.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.colour import to_rgb8
from vidrase.fill.background_bounds import BackgroundBounds, luma_of
from vidrase.fill.flow_completion import dilate
from vidrase.fill.static_shadow import FAR, SPECK, detect_static_shadow
from vidrase.frames import Frame, Hole

SIDE = 480  # px: long side of the picture looked at
REACH = 0.1  # of the thing's height: how far below and beside it
DARK = 0.6  # share of the light that is left there at most
TINT = 0.2  # largest difference between that share of red, green and blue
EVEN = 0.1  # share of the ground around that may be as dark by itself, where nobody knows it in the light
LOWEST = 0.75  # of the thing's height: above it, it does not stand on the ground
LEAST_GAP = 10.0  # grey levels
BLURRED = 5  # px of the smaller picture that run together
LEAST = 12  # px of such a picture
SOLID = 3  # px of such a picture: what is narrower are gaps between stones
EDGE = 2  # px of such a picture: its soft edge


@dataclass(frozen=True, slots=True, eq=False)
class ContactRegion:
    """The surroundings of what is hidden in one frame, as displayed."""

    size: tuple[int, int]
    """(height, width) of the whole picture."""
    top: int
    left: int
    """px from its top left corner."""
    rgb: NDArray[np.uint8]
    """[h, w, 3]"""
    area: NDArray[np.bool_]
    """[h, w] what is hidden."""
    place: NDArray[np.bool_] | None = None
    """[h, w] things that are parts of the place; None: there are none."""
    others: NDArray[np.bool_] | None = None
    """[h, w] things that stay; None: there are none."""

    @classmethod
    def of(
        cls, frame: Frame, hidden: NDArray[np.bool_], place: Hole | None = None, kept: Hole | None = None
    ) -> ContactRegion | None:
        """That of what is `hidden`, bool [H, W], in a `frame`; None: nothing that would show at this size."""
        height, width = frame.size
        scale = min(1.0, SIDE / max(height, width))
        size = max(round(height * scale), 1), max(round(width * scale), 1)
        small = cv2.resize(hidden.astype(np.uint8) * 255, size[::-1], interpolation=cv2.INTER_AREA) > 0
        area, rgb = (
            frame.orientation.to_display(one) for one in (small, to_rgb8(frame.planes, frame.layout, size=size))
        )
        if not area.any():
            return None
        rows, columns = np.flatnonzero(area.any(1)), np.flatnonzero(area.any(0))
        wide = int(FAR * max(rows[-1] + 1 - rows[0], columns[-1] + 1 - columns[0])) + EDGE
        top, left = max(int(rows[0]) - wide, 0), max(int(columns[0]) - wide, 0)
        span = np.s_[top : int(rows[-1]) + 1 + wide, left : int(columns[-1]) + 1 + wide]
        parts = []
        for hole in (place, kept):
            shown = None
            if hole is not None:
                mask = cv2.resize(hole.full_area().astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST) > 0
                shown = np.ascontiguousarray(frame.orientation.to_display(mask)[span])
            parts.append(shown)
        return cls(area.shape, top, left, rgb[span].copy(), area[span].copy(), *parts)

    def dark(
        self, lit: BackgroundBounds | None, part: tuple[slice, slice], size: tuple[int, ...]
    ) -> NDArray[np.bool_] | None:
        """bool, of the whole picture: what is dark there; None: nothing.

        lit: the `part` of a smaller picture, of `size`, as it looks in the light; None: there are no other moments.
        """
        if lit is None:
            return None
        light = np.zeros((*size, 3), np.float32)
        # it is blurred: beside what is dark by itself the darkest of it counts
        darkest = cv2.erode(
            np.where(lit.known[..., None], lit.rgb, 255).astype(np.float32), np.ones((BLURRED, BLURRED))
        )
        light[part] = darkest * lit.known[..., None]
        light = cv2.resize(light, self.size[::-1], interpolation=cv2.INTER_NEAREST)
        light = light[self.top :, self.left :][: self.area.shape[0], : self.area.shape[1]]
        luma = cv2.cvtColor(self.rgb, cv2.COLOR_RGB2GRAY)
        below = np.zeros_like(self.area)
        _, labels, boxes, _ = cv2.connectedComponentsWithStats(self.area.astype(np.uint8))
        largest = boxes[1:, cv2.CC_STAT_AREA].max(initial=0)
        for label in range(1, len(boxes)):
            left, top, width, height, size_ = boxes[label].tolist()
            if size_ < SPECK * largest:
                continue
            reach = max(round(REACH * height), EDGE)
            first, spare = top + min(round(LOWEST * height), height - 1), 2 * reach
            at = np.s_[first : top + height + spare, max(left - spare, 0) : left + width + spare]
            near = dilate(labels[at] == label, reach)
            around = dilate(near, reach) & ~near & ~self.area[at]
            here = light[at]
            if around.any() and np.quantile(luma[at][around], EVEN) > DARK * np.median(luma[at][around]):
                here[(here == 0).all(2)] = np.median(self.rgb[at][around], axis=0)
            shares = self.rgb[at] / np.maximum(here, 1)
            even = shares.max(2) - shares.min(2) < TINT
            below[at] |= near & even & (luma[at] < np.minimum(DARK * luma_of(here), luma_of(here) - LEAST_GAP))
        # colours are stored more coarsely than light: the thing's own run over its edge
        thing = dilate(self.area, EDGE)
        solid = cv2.morphologyEx((below | thing).astype(np.uint8), cv2.MORPH_OPEN, np.ones((SOLID, SOLID), np.uint8))
        _, labels = cv2.connectedComponents(solid)
        below &= ~self.area & (labels > 0) & np.isin(labels, labels[thing & (labels > 0)])
        return self._whole(below) if np.count_nonzero(below) >= LEAST else None

    def static(
        self, lit: BackgroundBounds | None, part: tuple[slice, slice], size: tuple[int, ...]
    ) -> NDArray[np.bool_] | None:
        """bool, of the whole picture: shadows that keep their place; None: none. lit: see `dark`."""
        if lit is None:
            return None
        whole = np.zeros(size, np.uint8)
        whole[part] = lit.has_evidence
        judged = cv2.resize(whole, self.size[::-1], interpolation=cv2.INTER_NEAREST) > 0
        judged = judged[self.top :, self.left :][: self.area.shape[0], : self.area.shape[1]]
        found = detect_static_shadow(
            self.rgb, self.area, judged if self.place is None else judged | self.place, self.others
        )
        return None if found is None else self._whole(found)

    def _whole(self, found: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """`found` in the whole picture, with its soft edge."""
        out = np.zeros(self.size, bool)
        out[self.top :, self.left :][: found.shape[0], : found.shape[1]] = dilate(found, EDGE)
        return out
