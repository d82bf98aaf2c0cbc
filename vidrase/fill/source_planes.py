"""What colours are taken from: the planes of a frame, or of a part of it, with what must not be taken painted over.

Interpolation reaches two samples beyond the cell that it lands in. Around a hole these are the thing's; they are replaced, once,
by what lies on the near side of the edge, and every later sampling is a plain one.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.fill.composite import PlaneHole
from vidrase.fill.sampling import at

TAPS = 2  # samples that bicubic interpolation reaches beyond the cell
NEAR = 24  # samples around a hole: most chains land there


class SourcePlanes:
    """Planes to sample from; beyond their borders they go on mirrored.

    planes: of the frame, or crops of them.
    y, x:   where the crops lie, in luma samples, on the chroma grid.
    holes:  what of each plane must not be taken; None: everything may be.
    """

    def __init__(
        self, planes: tuple[NDArray, ...], y: int = 0, x: int = 0, holes: list[PlaneHole] | None = None
    ) -> None:
        self.planes, self.y, self.x = planes, y, x
        self._holes = holes
        self._clean: dict[tuple[int, ...], tuple[int, int, NDArray]] = {}

    @property
    def nbytes(self) -> int:
        """Memory held beside the planes."""
        return sum(crop.nbytes for _, _, crop in self._clean.values())

    def at(
        self, planes: list[int], x: NDArray[np.float32], y: NDArray[np.float32], shift_y: int, shift_x: int
    ) -> NDArray[np.float32]:
        """float32 [N, len(planes)]: the planes, which share a grid, at the points (x, y) luma px, bicubic.

        shift_y, shift_x: how often the grid halves the luma's.
        """
        grid_y, grid_x = np.float32(1 << shift_y), np.float32(1 << shift_x)
        x = (x - self.x - (grid_x - 1) / 2) / grid_x
        y = (y - self.y - (grid_y - 1) / 2) / grid_y
        if self._holes is None or not rules.enabled("blend.clean_taps"):
            return self._plain(planes, x, y)
        if tuple(planes) not in self._clean:
            self._clean[tuple(planes)] = self._cleaned(planes, self._holes[planes[0]])
        top, left, crop = self._clean[tuple(planes)]
        height, width = self.planes[planes[0]].shape
        bottom, right = top + crop.shape[0], left + crop.shape[1]
        # the crop's border is not the picture's: nothing may be sampled across it
        inside = x >= (left + TAPS if left else -1)
        inside &= x <= (right - 1 - TAPS if right < width else width)
        inside &= y >= (top + TAPS if top else -1)
        inside &= y <= (bottom - 1 - TAPS if bottom < height else height)
        if inside.all():
            return at(crop, x - left, y - top, cubic=True).reshape(len(x), -1).astype(np.float32)
        values = np.empty((len(x), len(planes)), np.float32)
        values[inside] = at(crop, x[inside] - left, y[inside] - top, cubic=True).reshape(-1, len(planes))
        values[~inside] = self._plain(planes, x[~inside], y[~inside])
        return values

    def _plain(self, planes: list[int], x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
        height, width = self.planes[planes[0]].shape
        x, y = _mirrored(x, width), _mirrored(y, height)
        return np.stack([at(self.planes[plane], x, y, cubic=True) for plane in planes], axis=1).astype(np.float32)

    def _cleaned(self, planes: list[int], hole: PlaneHole) -> tuple[int, int, NDArray]:
        """(top, left, crop [h, w(, C)]) around `hole`: its outermost samples continue what lies beside them."""
        shape = self.planes[planes[0]].shape
        rows, columns = hole.area.shape
        top, left = max(hole.top - NEAR, 0), max(hole.left - NEAR, 0)
        bottom, right = min(hole.top + rows + NEAR, shape[0]), min(hole.left + columns + NEAR, shape[1])
        crop = np.stack([self.planes[plane][top:bottom, left:right] for plane in planes], axis=2)
        # a pixel of margin, so that every pixel has eight neighbours
        free = np.zeros((crop.shape[0] + 2, crop.shape[1] + 2), np.uint8)
        free[1:-1, 1:-1] = 1
        free[
            hole.top - top + 1 : hole.top - top + rows + 1, hole.left - left + 1 : hole.left - left + columns + 1
        ] = ~hole.area
        values = np.pad(crop, ((1, 1), (1, 1), (0, 0))).astype(np.float32).reshape(-1, len(planes))
        width = free.shape[1]
        around = [dy * width + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]
        for _ in range(TAPS):  # ring by ring
            reached = cv2.dilate(free, np.ones((3, 3), np.uint8))[1:-1, 1:-1] > free[1:-1, 1:-1]
            edge_rows, edge_columns = np.nonzero(reached)
            edge = (edge_rows + 1) * width + edge_columns + 1
            share, known = np.zeros((len(edge), 1), np.float32), np.zeros((len(edge), len(planes)), np.float32)
            for step in around:
                beside = free.ravel().take(edge + step).astype(np.float32)[:, None]
                share += beside
                known += beside * values.take(edge + step, axis=0)
            values[edge] = known / share
            crop[edge_rows, edge_columns] = np.rint(values[edge]).astype(crop.dtype)
            free.ravel()[edge] = 1
        return top, left, crop if len(planes) > 1 else np.ascontiguousarray(crop[..., 0])


def _mirrored(x: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Positions along a side of `size` samples, those beyond its ends folded back."""
    if not len(x) or (x.min() >= -1 and x.max() <= size):
        return x
    last = np.float32(max(size - 1, 1))
    return (last - np.abs(np.mod(x, 2 * last) - last)).astype(np.float32)  # type: ignore[no-any-return]
