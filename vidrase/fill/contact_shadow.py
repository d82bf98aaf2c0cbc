"""Contact shadow: the dark ground right at an object's base that its mask leaves, under a car or between shoes and ground.

It is too small for the reduced frames of `cast_shadow`, and it lies next to the hole: a rest of it would be copied into the fill.
The lit background comes from the reduced frames. The frame itself, at a larger size, tells which pixels are far darker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.colour import reduced_planes, to_rgb8
from vidrase.fill.background_bounds import BackgroundBounds
from vidrase.fill.components import any_in_cells, touching, within
from vidrase.fill.flow_completion import dilate
from vidrase.fill.static_shadow import (
    MIN_OBJECT_SHARE,
    SHADOW_REACH,
    Objects,
    detect_static_shadow,
    median_colour,
    objects_of,
    quantiles,
)
from vidrase.frames import Frame, Hole

# Evidence for residual.contact: `rules.py`. Values of constants without a figure have no record yet.
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


@dataclass(slots=True, eq=False)
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
    _objects: Objects | None = None

    @classmethod
    def of(
        cls,
        frame: Frame,
        hidden: NDArray[np.bool_],
        scenery: Hole | None = None,
        protected: Hole | None = None,
        planes: Sequence[NDArray] | None = None,
    ) -> ContactRegion | None:
        """The region around `hidden`, bool [H, W] as stored, in `frame`; None when `hidden` is empty.

        scenery: scenery found in the frame. protected: protected objects. planes: the colour planes of the frame with a long
        side of `SIDE` px, if somebody has reduced them.
        """
        if planes is None:
            scale = min(1.0, SIDE / max(frame.size))
            size = max(round(frame.height * scale), 1), max(round(frame.width * scale), 1)
            planes = reduced_planes(frame.planes, frame.layout, size)
        to_display, stored_size = frame.orientation.to_display, planes[0].shape
        area = to_display(any_in_cells(hidden, stored_size))
        if not area.any():
            return None
        rows, columns = np.flatnonzero(area.any(1)), np.flatnonzero(area.any(0))
        margin = int(SHADOW_REACH * max(rows[-1] + 1 - rows[0], columns[-1] + 1 - columns[0])) + EDGE_WIDTH
        top, left = max(int(rows[0]) - margin, 0), max(int(columns[0]) - margin, 0)
        span = np.s_[top : int(rows[-1]) + 1 + margin, left : int(columns[-1]) + 1 + margin]
        part = area[span].copy()
        rgb = to_rgb8([to_display(plane)[span] for plane in planes], frame.layout, size=part.shape)
        crops = []
        for hole in (scenery, protected):
            crop = None
            if hole is not None:
                mask = (
                    cv2.resize(hole.full_area().view(np.uint8), stored_size[::-1], interpolation=cv2.INTER_NEAREST) > 0
                )
                crop = np.ascontiguousarray(to_display(mask)[span])
            crops.append(crop)
        return cls(area.shape, top, left, rgb, part, crops[0], crops[1])

    def dark(
        self, bounds: BackgroundBounds | None, region: tuple[slice, slice], size: tuple[int, ...]
    ) -> NDArray[np.bool_] | None:
        """bool [H, W] of `self.size`: the contact shadow; None: none.

        bounds: background bounds in the `region` (rows, columns) of the reduced frame, whose (height, width) is `size`; None: no
        other frame shows the region, nothing is detected.
        """
        if bounds is None:
            return None
        # the reduced frame is blurred: a dark background bleeds by some px, so the darkest value nearby counts
        lit = np.where(bounds.known[..., None], bounds.rgb, 255).astype(np.uint8)
        lit = cv2.erode(lit, np.ones((BLUR_SIZE, BLUR_SIZE), np.uint8)) * bounds.known[..., None]
        shadow = np.zeros_like(self.area)
        labels, stats = self._found_objects()
        largest = stats[1:, cv2.CC_STAT_AREA].max(initial=0)
        for label in range(1, len(stats)):
            left, top, width, height, pixels = stats[label].tolist()
            if pixels < MIN_OBJECT_SHARE * largest:
                continue
            reach = max(round(REACH * height), EDGE_WIDTH)
            first_row, margin = top + min(round(BASE_HEIGHT * height), height - 1), 2 * reach
            window = np.s_[first_row : top + height + margin, max(left - margin, 0) : left + width + margin]
            rgb = np.ascontiguousarray(self.rgb[window])
            luma, lit_part = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), self._enlarged(lit, region, size, window)
            near_base, surroundings = within(labels[window] == label, reach, 2 * reach)
            ground = surroundings & ~near_base & ~self.area[window]
            if ground.any():
                dark_ground, median = quantiles(luma[ground], DARK_GROUND_SHARE, 0.5)
                if dark_ground > MAX_SHARE * median:
                    lit_part[(lit_part == 0).all(2)] = median_colour(rgb, ground)
            lit_luma = cv2.cvtColor(lit_part, cv2.COLOR_RGB2GRAY).astype(np.float32)
            dark = near_base & (luma < np.minimum(MAX_SHARE * lit_luma, lit_luma - MIN_GAP))
            shares = rgb[dark] / np.maximum(lit_part[dark], 1)
            dark[dark] = shares.max(1, initial=0) - shares.min(1, initial=np.inf) < MAX_TINT
            shadow[window] |= dark
        shadow &= ~self.area
        if np.count_nonzero(shadow) < MIN_AREA:
            return None
        # chroma is subsampled: the object's colours run over its edge
        object_area = dilate(self.area, EDGE_WIDTH)
        solid = cv2.morphologyEx(
            (shadow | object_area).view(np.uint8), cv2.MORPH_OPEN, np.ones((OPENING, OPENING), np.uint8)
        )
        shadow &= touching(solid > 0, object_area)
        return self._full_size(shadow) if np.count_nonzero(shadow) >= MIN_AREA else None

    def static(
        self, bounds: BackgroundBounds | None, region: tuple[slice, slice], size: tuple[int, ...]
    ) -> NDArray[np.bool_] | None:
        """bool [H, W] of `self.size`: the static shadow; None: none. Arguments as of `dark`."""
        if bounds is None:
            return None
        whole = np.s_[0 : self.area.shape[0], 0 : self.area.shape[1]]
        has_evidence = self._enlarged(bounds.has_evidence, region, size, whole)
        left_out = has_evidence if self.scenery is None else has_evidence | self.scenery
        found = detect_static_shadow(self.rgb, self.area, left_out, self.protected, self._found_objects())
        return None if found is None else self._full_size(found)

    def _found_objects(self) -> Objects:
        """The objects in `area`."""
        if self._objects is None:
            self._objects = objects_of(self.area)
        return self._objects

    def _enlarged(
        self, image: NDArray, region: tuple[slice, slice], size: tuple[int, ...], window: tuple[slice, slice]
    ) -> NDArray:
        """`image` [h, w, ...] in the `region` of a frame of `size`, at this scale and in a `window` of this region; 0 outside."""
        shape = self.area[window].shape
        out, inside, indices = np.zeros((*shape, *image.shape[2:]), image.dtype), [], []
        for axis, start in enumerate((self.top, self.left)):
            source = (np.arange(shape[axis]) + start + window[axis].start) * size[axis] // self.size[axis]
            source -= region[axis].start
            known = np.flatnonzero((source >= 0) & (source < image.shape[axis]))
            if not len(known):
                return out
            inside.append(slice(int(known[0]), int(known[-1]) + 1))
            indices.append(source[known])
        out[tuple(inside)] = image.take(indices[0], 0).take(indices[1], 1)
        return out

    def _full_size(self, found: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """bool [H, W] of `self.size`: `found`, grown by its soft edge."""
        out = np.zeros(self.size, bool)
        out[self.top :, self.left :][: found.shape[0], : found.shape[1]] = dilate(found, EDGE_WIDTH)
        return out
