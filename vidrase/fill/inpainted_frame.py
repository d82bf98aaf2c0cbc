"""An inpainted frame with its current blur: as sharp as the frame it is shown in, also when the focus has changed since it was
inpainted."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.camera import CameraMotion
from vidrase.fill.flow_completion import dilate
from vidrase.fill.light_matching import FrameLight
from vidrase.fill.membrane import membrane
from vidrase.fill.registration_quality import SIGMAS, estimate_defocus
from vidrase.fill.source_planes import SourcePlanes
from vidrase.fill.window_frame import Box, WindowFrame, WorkGrid
from vidrase.light import matched_luma

# Evidence for synthesis.refocus: `rules.py`. Values of constants without a figure have no record yet.
HOLE_MARGIN = 3  # px of the work grid around the hole that are not compared
BOX_MARGIN = 24  # px around the hole's box that are compared
MIN_PIXELS = 200  # px that both must show
MAX_BLUR_STEP = 0.5
"""Largest change of the blur at a time, in steps of `SIGMAS`: a change this small is not visible."""
MIN_BLUR = 0.25
"""Blur, in steps of `SIGMAS`, below which the inpainted frame stays as it was inpainted."""
SLIVER_WIDTH = 0.06
"""Width, as a share of the frame's height, up to which a region is a sliver. Up to it content from beyond the border of the key
frame may stay."""
GAP_HALF_WIDTH = 4 / 480
"""Half the width, as a share of the frame's height, of gaps between two synthesized regions that are closed."""


@dataclass(slots=True, eq=False)
class InpaintedFrame:
    """A key frame with its missing pixels inpainted."""

    inpainted: SourcePlanes
    light: FrameLight | None = None
    """Of the key frame; None: unknown."""
    sliver: bool = False
    """Whether only slivers were missing: pixels around them are not good enough to be shown."""
    picture: SourcePlanes = field(init=False)
    """The planes with the current blur."""
    _blur: NDArray[np.float32] | None = None
    """[h, w] of the work grid: index into `SIGMAS`, fractional, of the current blur; None: sharp."""

    def __post_init__(self) -> None:
        self.picture = self.inpainted

    def match_defocus(self, here: WindowFrame, homography: CameraMotion, grid: WorkGrid) -> None:
        """Blur pixels that are sharper than `here`, and sharpen them again where they are not. homography: from `here` to the
        inpainted frame. Nothing changes if fewer than 200 px are visible in both."""
        assert here.box is not None
        assert here.dilated_hole is not None
        luma = self.inpainted.planes[0]
        size = (max(round(luma.shape[1] * grid.scale_x), 1), max(round(luma.shape[0] * grid.scale_y), 1))
        left, top = (self.inpainted.x + 0.5) * grid.scale_x - 0.5, (self.inpainted.y + 0.5) * grid.scale_y - 0.5
        # Compare the picture warped to the frame, as it is shown: interpolation makes it softer than it was inpainted.
        box = here.box.wider(BOX_MARGIN, here.luma.shape)
        rows, columns = np.indices(box.shape, np.float32)
        x, y = homography.points(columns + np.float32(box.left), rows + np.float32(box.top))
        small = cv2.resize(luma, size, interpolation=cv2.INTER_AREA)
        warped = cv2.remap(small, x - left, y - top, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        inside = (x >= left + 1) & (y >= top + 1) & (x <= left + size[0] - 2) & (y <= top + size[1] - 2)
        visible = inside & ~dilate(here.dilated_hole, HOLE_MARGIN)[box.span]
        if np.count_nonzero(visible) < MIN_PIXELS:
            return
        warped = matched_luma(np.asarray(warped, np.uint8), here.luma[box.span], visible)
        blur, _ = estimate_defocus(here.luma[box.span], warped, visible)
        if self._blur is None:
            if not blur[visible].any():
                return
            self._blur = np.zeros(size[::-1], np.float32)
        own_rows, own_columns = np.indices((size[1], size[0]), np.float32)
        x, y = homography.inverse().points(own_columns + np.float32(left), own_rows + np.float32(top))
        map_x, map_y = (x - box.left).astype(np.float32), (y - box.top).astype(np.float32)
        measured = cv2.remap(visible.astype(np.uint8), map_x, map_y, cv2.INTER_NEAREST) > 0
        target = membrane(cv2.remap(blur, map_x, map_y, cv2.INTER_LINEAR)[..., None], measured)[..., 0]
        self._blur += np.clip(target - self._blur, -MAX_BLUR_STEP, MAX_BLUR_STEP)
        if self._blur.max() < MIN_BLUR:
            self._blur, self.picture = None, self.inpainted
        else:
            self.picture = _blurred(self.inpainted, self._blur, grid)

    def shows(self, x: NDArray[np.float32], y: NDArray[np.float32], grid: WorkGrid) -> NDArray[np.bool_]:
        """bool, the shape of x: whether points of the work grid lie within the inpainted frame."""
        height, width = self.inpainted.planes[0].shape
        rows = (y + 0.5) / grid.scale_y - 0.5 - self.inpainted.y
        columns = (x + 0.5) / grid.scale_x - 0.5 - self.inpainted.x
        inside = (rows >= 0) & (rows <= height - 1) & (columns >= 0) & (columns <= width - 1)
        return np.asarray(inside, bool)

    def shown(self, box: Box, grid: WorkGrid) -> NDArray[np.bool_]:
        """bool [h, w]: which pixels of the work grid's `box` lie within the inpainted frame."""
        rows, columns = np.indices(box.shape, np.float32)
        return self.shows(columns + box.left, rows + box.top, grid)


def _blurred(inpainted: SourcePlanes, blur: NDArray[np.float32], grid: WorkGrid) -> SourcePlanes:
    planes = []
    for plane in inpainted.planes:
        level = cv2.resize(blur, plane.shape[::-1], interpolation=cv2.INTER_LINEAR)
        scale = plane.shape[0] / inpainted.planes[0].shape[0] / grid.scale_y
        out = np.zeros(plane.shape, np.float32)
        for number in range(int(level.min()), min(int(np.ceil(level.max())) + 1, len(SIGMAS))):
            weight = np.maximum(1 - np.abs(level - number), 0)
            sigma = SIGMAS[number] * scale
            out += weight * (plane if not sigma else cv2.GaussianBlur(plane.astype(np.float32), (0, 0), sigma))
        planes.append(np.rint(out).astype(plane.dtype))
    return SourcePlanes(tuple(planes), inpainted.y, inpainted.x)


def inside_frame(x: NDArray[np.float32], y: NDArray[np.float32], grid: WorkGrid) -> NDArray[np.bool_]:
    """bool, the shape of x: whether points of the work grid lie within the frame."""
    return np.asarray((x >= 0) & (y >= 0) & (x <= grid.width - 1) & (y <= grid.height - 1), bool)


def close_gaps(area: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """`area` with narrow gaps closed, bool [h, w] of the work grid or of a frame."""
    size = 2 * max(round(GAP_HALF_WIDTH * area.shape[0]), 1) + 1
    return cv2.morphologyEx(area.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((size, size), np.uint8)) > 0


def is_sliver(area: NDArray[np.bool_], height: int) -> bool:
    """Whether `area`, bool [h, w] of a picture of `height` px, consists of slivers."""
    distance = cv2.distanceTransform(np.pad(area, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_3)
    return bool(2 * distance.max() <= SLIVER_WIDTH * height)
