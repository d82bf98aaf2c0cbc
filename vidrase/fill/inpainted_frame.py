"""A canvas as it is shown: as sharp as the frame around it, also when the focus has moved since it was painted."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.camera import CameraMotion
from vidrase.fill.flow_completion import dilate
from vidrase.fill.membrane import membrane
from vidrase.fill.registration_quality import SIGMAS, estimate_defocus
from vidrase.fill.source_planes import SourcePlanes
from vidrase.fill.window_frame import Box, WindowFrame, WorkGrid

HALO = 3  # px of the working grid around the hole that are not judged by
AROUND = 24  # px of it around the hole's box that are compared
ENOUGH = 200  # px of it that must be shown by both
STEP = 0.5
"""Steps of `SIGMAS` by which its focus may change at a time: it is not seen to."""
LEAST = 0.25
"""The same, below which it stays as it was painted."""
GUESSED = 0.06
"""Share of the frame's height up to which a canvas may show what lay beyond the border of the frame it was painted on."""
GAP = 4 / 480
"""Share of the frame's height: half the width of what parts two inventions and is not worth being kept."""


@dataclass(slots=True, eq=False)
class InpaintedFrame:
    """What was invented."""

    inpainted: SourcePlanes
    sliver: bool = False
    """Whether it was painted for a sliver: what lies around that is not made for being seen."""
    picture: SourcePlanes = field(init=False)
    """As it is shown now."""
    _blur: NDArray[np.float32] | None = None
    """[h, w] of the working grid: which of `SIGMAS` softens it, and between which."""

    def __post_init__(self) -> None:
        self.picture = self.inpainted

    def match_defocus(self, here: WindowFrame, way: CameraMotion, grid: WorkGrid) -> None:
        """Soften what is sharper than `here`, to which `way` leads back; sharp again where it is not."""
        assert here.box is not None
        assert here.dilated_hole is not None
        luma = self.inpainted.planes[0]
        size = (max(round(luma.shape[1] * grid.scale_x), 1), max(round(luma.shape[0] * grid.scale_y), 1))
        left, top = (self.inpainted.x + 0.5) * grid.scale_x - 0.5, (self.inpainted.y + 0.5) * grid.scale_y - 0.5
        # laid over the frame, as it is shown: between the pixels it is softer than it was painted
        box = here.box.wider(AROUND, here.luma.shape)
        rows, columns = np.indices(box.shape, np.float32)
        x, y = way.points(columns + np.float32(box.left), rows + np.float32(box.top))
        small = cv2.resize(luma, size, interpolation=cv2.INTER_AREA)
        laid = cv2.remap(small, x - left, y - top, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        shows = (x >= left + 1) & (y >= top + 1) & (x <= left + size[0] - 2) & (y <= top + size[1] - 2)
        seen = shows & ~dilate(here.dilated_hole, HALO)[box.span]
        if np.count_nonzero(seen) < ENOUGH:
            return
        blur, _ = estimate_defocus(here.luma[box.span], laid, seen)
        if self._blur is None:
            if not blur[seen].any():
                return
            self._blur = np.zeros(size[::-1], np.float32)
        down, across = np.indices((size[1], size[0]), np.float32)
        x, y = way.inverse().points(across + np.float32(left), down + np.float32(top))
        map_x, map_y = (x - box.left).astype(np.float32), (y - box.top).astype(np.float32)
        there = cv2.remap(seen.astype(np.uint8), map_x, map_y, cv2.INTER_NEAREST) > 0
        wanted = membrane(cv2.remap(blur, map_x, map_y, cv2.INTER_LINEAR)[..., None], there)[..., 0]
        self._blur += np.clip(wanted - self._blur, -STEP, STEP)
        if self._blur.max() < LEAST:
            self._blur, self.picture = None, self.inpainted
        else:
            self.picture = _softened(self.inpainted, self._blur, grid)

    def shows(self, x: NDArray[np.float32], y: NDArray[np.float32], grid: WorkGrid) -> NDArray[np.bool_]:
        """bool, the shape of x: whether it has something to show at points of the working grid."""
        height, width = self.inpainted.planes[0].shape
        rows = (y + 0.5) / grid.scale_y - 0.5 - self.inpainted.y
        columns = (x + 0.5) / grid.scale_x - 0.5 - self.inpainted.x
        inside = (rows >= 0) & (rows <= height - 1) & (columns >= 0) & (columns <= width - 1)
        return np.asarray(inside, bool)

    def shown(self, box: Box, grid: WorkGrid) -> NDArray[np.bool_]:
        """bool [h, w] of the working grid's `box`: where it has something to show."""
        rows, columns = np.indices(box.shape, np.float32)
        return self.shows(columns + box.left, rows + box.top, grid)


def _softened(painted: SourcePlanes, blur: NDArray[np.float32], grid: WorkGrid) -> SourcePlanes:
    planes = []
    for plane in painted.planes:
        level = cv2.resize(blur, plane.shape[::-1], interpolation=cv2.INTER_LINEAR)
        scale = plane.shape[0] / painted.planes[0].shape[0] / grid.scale_y
        out = np.zeros(plane.shape, np.float32)
        for number in range(int(level.min()), min(int(np.ceil(level.max())) + 1, len(SIGMAS))):
            share = np.maximum(1 - np.abs(level - number), 0)
            sigma = SIGMAS[number] * scale
            out += share * (plane if not sigma else cv2.GaussianBlur(plane.astype(np.float32), (0, 0), sigma))
        planes.append(np.rint(out).astype(plane.dtype))
    return SourcePlanes(tuple(planes), painted.y, painted.x)


def inside_frame(x: NDArray[np.float32], y: NDArray[np.float32], grid: WorkGrid) -> NDArray[np.bool_]:
    """bool, the shape of x: whether points of the working grid lie within the frame."""
    return np.asarray((x >= 0) & (y >= 0) & (x <= grid.width - 1) & (y <= grid.height - 1), bool)


def close_gaps(area: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """`area` with narrow gaps, bool [h, w] of the working grid or of a frame."""
    size = 2 * max(round(GAP * area.shape[0]), 1) + 1
    return cv2.morphologyEx(area.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((size, size), np.uint8)) > 0


def is_sliver(area: NDArray[np.bool_], height: int) -> bool:
    """Whether `area`, bool [h, w] of a picture of `height`, consists of slivers."""
    away = cv2.distanceTransform(np.pad(area, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_3)
    return bool(2 * away.max() <= GUESSED * height)
