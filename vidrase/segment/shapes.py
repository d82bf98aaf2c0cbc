"""Between the detector's canvas and the frame: where a picture lies on the canvas, and masks cut out of its logits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

BEYOND = 0.04  # share of the box by which a mask may reach beyond it: boxes cut off hands and shoes
BEYOND_PX = 2.0  # the same in px of the canvas, at least
# Logit above which a pixel is mask. Not 0: what the network is unsure of are blurred legs, thin arms and rims, and for equal
# area this reaches more of them than growing the mask does. Six DAVIS performers, pixels covered at 1.55 x their area:
# level 0 grown by 7 px .956, -1 grown by 4 .972, -1.5 grown by 2 .976.
LEVEL = -1.2
SPECK = 0.02  # parts smaller than this share of the largest are noise of the prototypes


@dataclass(frozen=True, slots=True)
class Grid:
    """How a frame is laid onto the canvas that the network sees."""

    size: tuple[int, int]
    """(height, width) of the displayed frame."""
    canvas: tuple[int, int]
    """(height, width), multiples of the largest stride."""
    shown: tuple[int, int]
    """(height, width) of the scaled picture on the canvas."""

    @classmethod
    def fit(cls, size: tuple[int, int], imgsz: int, stride: int) -> Grid:
        """The smallest canvas for a frame of `size`, its long side scaled to `imgsz` (rounded up to `stride`)."""
        long = math.ceil(imgsz / stride) * stride
        scale = long / max(size)
        height, width = (max(round(side * scale), 1) for side in size)
        return cls(size, (math.ceil(height / stride) * stride, math.ceil(width / stride) * stride), (height, width))

    @property
    def offset(self) -> tuple[int, int]:
        """(top, left) of the picture on the canvas."""
        return (self.canvas[0] - self.shown[0]) // 2, (self.canvas[1] - self.shown[1]) // 2

    @property
    def scale(self) -> tuple[float, float]:
        """Canvas px a frame px, (y, x)."""
        return self.shown[0] / self.size[0], self.shown[1] / self.size[1]

    def to_frame(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 [K, 4] x0 y0 x1 y1 of the canvas -> of the frame, not clipped."""
        (top, left), (scale_y, scale_x) = self.offset, self.scale
        shift = np.array([left, top, left, top], np.float32)
        factor = np.array([scale_x, scale_y, scale_x, scale_y], np.float32)
        return np.divide(boxes - shift, factor, dtype=np.float32)

    def places(self, strides: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        """(float32 [N, 2] cell centres (x, y) in strides, float32 [N] the stride), in the network's order."""
        return _places(self.canvas, strides)


@lru_cache(maxsize=8)
def _places(canvas: tuple[int, int], strides: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    centres, sizes = [], []
    for stride in strides:
        rows, columns = canvas[0] // stride, canvas[1] // stride
        y, x = torch.meshgrid(torch.arange(rows) + 0.5, torch.arange(columns) + 0.5, indexing="ij")
        centres.append(torch.stack([x, y], -1).view(-1, 2))
        sizes.append(torch.full((rows * columns,), float(stride)))
    return torch.cat(centres), torch.cat(sizes)


def crop_of_logits(
    logits: NDArray[np.float32], box: NDArray[np.float32], grid: Grid, *, level: float = LEVEL
) -> tuple[NDArray[np.bool_], tuple[int, int]] | None:
    """The mask where `logits` exceed `level`, at frame size: (bool [h, w], (y, x) of its corner), None when there is none.

    logits: float32 [h', w'] over the whole canvas; box: x0 y0 x1 y1 px of the frame.
    """
    height, width = grid.size
    (top, left), (scale_y, scale_x) = grid.offset, grid.scale
    spare_x = max(BEYOND * (box[2] - box[0]), BEYOND_PX / scale_x)
    spare_y = max(BEYOND * (box[3] - box[1]), BEYOND_PX / scale_y)
    x0, x1 = max(math.floor(box[0] - spare_x), 0), min(math.ceil(box[2] + spare_x), width)
    y0, y1 = max(math.floor(box[1] - spare_y), 0), min(math.ceil(box[3] + spare_y), height)
    if x1 <= x0 or y1 <= y0:
        return None
    # pixel centres: frame -> canvas -> prototypes, one affine step
    fine_y, fine_x = grid.canvas[0] / logits.shape[0], grid.canvas[1] / logits.shape[1]
    step_y, step_x = scale_y / fine_y, scale_x / fine_x
    shift_y = ((y0 + 0.5) * scale_y + top) / fine_y - 0.5
    shift_x = ((x0 + 0.5) * scale_x + left) / fine_x - 0.5
    matrix = np.array([[step_x, 0, shift_x], [0, step_y, shift_y]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    sharp = cv2.warpAffine(logits, matrix, (x1 - x0, y1 - y0), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    mask = _without_specks((sharp > level).view(np.uint8))
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    trimmed = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy()
    return trimmed, (y0 + int(rows[0]), x0 + int(columns[0]))


def _without_specks(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    if count <= 2:
        return mask.view(np.bool_)
    area = stats[:, cv2.CC_STAT_AREA].copy()
    area[0] = 0
    keep = area >= SPECK * area.max()
    return keep[parts]
