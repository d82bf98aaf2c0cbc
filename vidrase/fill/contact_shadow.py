"""Contact shadow: the dark ground right at an object's base that its mask leaves, under a car or between shoes and ground.

It is too small for the reduced frames of `cast_shadow`, and it lies next to the hole: a rest of it would be copied into the fill.
The lit background comes from the reduced frames. The frame itself, at a larger size, tells which pixels are far darker.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.colour import to_rgb8
from vidrase.fill.background_bounds import BackgroundBounds, luma_of
from vidrase.fill.flow_completion import dilate
from vidrase.fill.static_shadow import MIN_OBJECT_SHARE, SHADOW_REACH, detect_static_shadow
from vidrase.frames import Frame, Hole

SIDE = 480  # px: long side of the reduced frame in which contact and static shadows are detected
REACH = 0.1  # of the object's height: how far below and beside it the ground is examined
MAX_SHARE = 0.6  # highest share of the lit value in a contact shadow
MAX_TINT = 0.2  # largest difference of that share between red, green and blue
DARK_GROUND_SHARE = 0.1
"""Share of the surrounding ground that may be as dark, where it stands in for an unknown lit background."""
BASE_HEIGHT = 0.75  # of the object's height from its top: the part above does not touch the ground
MIN_GAP = 10.0  # grey levels below the lit value, at least
BLUR_SIZE = 5  # px of the reduced frame: extent of its blur
MIN_AREA = 12  # px²: a smaller contact shadow is ignored
OPENING = 3  # px: narrower parts are removed (gaps between stones)
EDGE_WIDTH = 2  # px: soft edge of the shadow, and of the object


@dataclass(frozen=True, slots=True, eq=False)
class ContactRegion:
    """An object and its surroundings in one frame, at `SIDE` px, as displayed."""

    size: tuple[int, int]
    """(height, width) of the whole frame at this scale."""
    top: int
    left: int
    """px: position of the region in it."""
    rgb: NDArray[np.uint8]
    """[h, w, 3] the region, 0..255."""
    area: NDArray[np.bool_]
    """[h, w] the hole."""
    scenery: NDArray[np.bool_] | None = None
    """[h, w] scenery (furniture); None: there is none."""
    protected: NDArray[np.bool_] | None = None
    """[h, w] protected objects; None: there are none."""

    @classmethod
    def of(
        cls, frame: Frame, hidden: NDArray[np.bool_], scenery: Hole | None = None, protected: Hole | None = None
    ) -> ContactRegion | None:
        """The region around `hidden`, bool [H, W] as stored, in `frame`; None when nothing of it is left at this size.

        scenery: scenery found in the frame. protected: protected objects.
        """
        height, width = frame.size
        scale = min(1.0, SIDE / max(height, width))
        size = max(round(height * scale), 1), max(round(width * scale), 1)
        small = cv2.resize(hidden.astype(np.uint8) * 255, size[::-1], interpolation=cv2.INTER_AREA) > 0
        area, rgb = (
            frame.orientation.to_display(image) for image in (small, to_rgb8(frame.planes, frame.layout, size=size))
        )
        if not area.any():
            return None
        rows, columns = np.flatnonzero(area.any(1)), np.flatnonzero(area.any(0))
        margin = int(SHADOW_REACH * max(rows[-1] + 1 - rows[0], columns[-1] + 1 - columns[0])) + EDGE_WIDTH
        top, left = max(int(rows[0]) - margin, 0), max(int(columns[0]) - margin, 0)
        span = np.s_[top : int(rows[-1]) + 1 + margin, left : int(columns[-1]) + 1 + margin]
        parts = []
        for hole in (scenery, protected):
            cropped = None
            if hole is not None:
                mask = cv2.resize(hole.full_area().astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST) > 0
                cropped = np.ascontiguousarray(frame.orientation.to_display(mask)[span])
            parts.append(cropped)
        return cls(area.shape, top, left, rgb[span].copy(), area[span].copy(), *parts)

    def dark(
        self, bounds: BackgroundBounds | None, region: tuple[slice, slice], size: tuple[int, ...]
    ) -> NDArray[np.bool_] | None:
        """bool [H, W] of `self.size`: the contact shadow; None: none.

        bounds: background bounds in the `region` (rows, columns) of the reduced frame, whose (height, width) is `size`; None: no
        other frame shows the region, nothing is detected.
        """
        if bounds is None:
            return None
        lit_rgb = np.zeros((*size, 3), np.float32)
        # the reduced frame is blurred: a dark background bleeds by some px, so the darkest value nearby counts
        eroded = cv2.erode(
            np.where(bounds.known[..., None], bounds.rgb, 255).astype(np.float32), np.ones((BLUR_SIZE, BLUR_SIZE))
        )
        lit_rgb[region] = eroded * bounds.known[..., None]
        lit_rgb = cv2.resize(lit_rgb, self.size[::-1], interpolation=cv2.INTER_NEAREST)
        lit_rgb = lit_rgb[self.top :, self.left :][: self.area.shape[0], : self.area.shape[1]]
        luma = cv2.cvtColor(self.rgb, cv2.COLOR_RGB2GRAY)
        shadow = np.zeros_like(self.area)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(self.area.astype(np.uint8))
        largest = stats[1:, cv2.CC_STAT_AREA].max(initial=0)
        for label in range(1, len(stats)):
            left, top, width, height, pixels = stats[label].tolist()
            if pixels < MIN_OBJECT_SHARE * largest:
                continue
            reach = max(round(REACH * height), EDGE_WIDTH)
            first_row, margin = top + min(round(BASE_HEIGHT * height), height - 1), 2 * reach
            window = np.s_[first_row : top + height + margin, max(left - margin, 0) : left + width + margin]
            near_base = dilate(labels[window] == label, reach)
            ground = dilate(near_base, reach) & ~near_base & ~self.area[window]
            lit_part = lit_rgb[window]
            if ground.any() and np.quantile(luma[window][ground], DARK_GROUND_SHARE) > MAX_SHARE * np.median(
                luma[window][ground]
            ):
                lit_part[(lit_part == 0).all(2)] = np.median(self.rgb[window][ground], axis=0)
            shares = self.rgb[window] / np.maximum(lit_part, 1)
            grey = shares.max(2) - shares.min(2) < MAX_TINT
            shadow[window] |= (
                near_base
                & grey
                & (luma[window] < np.minimum(MAX_SHARE * luma_of(lit_part), luma_of(lit_part) - MIN_GAP))
            )
        # chroma is subsampled: the object's colours run over its edge
        object_area = dilate(self.area, EDGE_WIDTH)
        solid = cv2.morphologyEx(
            (shadow | object_area).astype(np.uint8), cv2.MORPH_OPEN, np.ones((OPENING, OPENING), np.uint8)
        )
        _, labels = cv2.connectedComponents(solid)
        shadow &= ~self.area & (labels > 0) & np.isin(labels, labels[object_area & (labels > 0)])
        return self._full_size(shadow) if np.count_nonzero(shadow) >= MIN_AREA else None

    def static(
        self, bounds: BackgroundBounds | None, region: tuple[slice, slice], size: tuple[int, ...]
    ) -> NDArray[np.bool_] | None:
        """bool [H, W] of `self.size`: the static shadow; None: none. Arguments as of `dark`."""
        if bounds is None:
            return None
        evidence = np.zeros(size, np.uint8)
        evidence[region] = bounds.has_evidence
        has_evidence = cv2.resize(evidence, self.size[::-1], interpolation=cv2.INTER_NEAREST) > 0
        has_evidence = has_evidence[self.top :, self.left :][: self.area.shape[0], : self.area.shape[1]]
        found = detect_static_shadow(
            self.rgb, self.area, has_evidence if self.scenery is None else has_evidence | self.scenery, self.protected
        )
        return None if found is None else self._full_size(found)

    def _full_size(self, found: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """bool [H, W] of `self.size`: `found`, grown by its soft edge."""
        out = np.zeros(self.size, bool)
        out[self.top :, self.left :][: found.shape[0], : found.shape[1]] = dilate(found, EDGE_WIDTH)
        return out
