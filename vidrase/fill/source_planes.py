"""Planes to sample from: a whole frame or a crop, with the samples just inside its hole replaced.

Bicubic interpolation uses samples up to two beyond the point. Near a hole these belong to the object. They are replaced once by
the mean of their neighbours outside the hole; after that every sampling is an ordinary one.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.fill.composite import PlaneHole
from vidrase.fill.sampling import at

# Evidence for blend.clean_taps: `rules.py`. Values of constants without a figure have no record yet.
TAPS = 2  # samples on either side of a point that bicubic interpolation uses
CLEAN_MARGIN = 24  # samples around a hole that the cached crop covers; most trajectories end there


class SourcePlanes:
    """Planes to sample from, mirrored beyond their borders.

    planes: the planes of a frame, or crops of them.
    y, x:   position of the crops in the frame, luma samples, a multiple of the chroma grid.
    holes:  the hole on each plane, which is not sampled; None: no hole.
    """

    def __init__(
        self, planes: tuple[NDArray, ...], y: int = 0, x: int = 0, holes: list[PlaneHole] | None = None
    ) -> None:
        self.planes, self.y, self.x = planes, y, x
        self._holes = holes
        self._clean_crops: dict[tuple[int, ...], tuple[int, int, NDArray]] = {}

    @property
    def nbytes(self) -> int:
        """Memory held besides the planes."""
        return sum(crop.nbytes for _, _, crop in self._clean_crops.values())

    def at(
        self, planes: list[int], x: NDArray[np.float32], y: NDArray[np.float32], shift_y: int, shift_x: int
    ) -> NDArray[np.float32]:
        """float32 [N, len(planes)]: bicubic samples at the points (x, y), luma px, of planes that share a grid.

        shift_y, shift_x: log2 of the grid's subsampling against luma.
        """
        grid_y, grid_x = np.float32(1 << shift_y), np.float32(1 << shift_x)
        x = (x - self.x - (grid_x - 1) / 2) / grid_x
        y = (y - self.y - (grid_y - 1) / 2) / grid_y
        if self._holes is None or not rules.enabled("blend.clean_taps"):
            return self._sample(planes, x, y)
        if tuple(planes) not in self._clean_crops:
            self._clean_crops[tuple(planes)] = self._clean_crop(planes, self._holes[planes[0]])
        top, left, crop = self._clean_crops[tuple(planes)]
        height, width = self.planes[planes[0]].shape
        bottom, right = top + crop.shape[0], left + crop.shape[1]
        # the crop ends before the frame does: a point near its border is sampled from the whole plane
        inside = x >= (left + TAPS if left else -1)
        inside &= x <= (right - 1 - TAPS if right < width else width)
        inside &= y >= (top + TAPS if top else -1)
        inside &= y <= (bottom - 1 - TAPS if bottom < height else height)
        if inside.all():
            return at(crop, x - left, y - top, cubic=True).reshape(len(x), -1).astype(np.float32)
        values = np.empty((len(x), len(planes)), np.float32)
        values[inside] = at(crop, x[inside] - left, y[inside] - top, cubic=True).reshape(-1, len(planes))
        values[~inside] = self._sample(planes, x[~inside], y[~inside])
        return values

    def _sample(self, planes: list[int], x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
        height, width = self.planes[planes[0]].shape
        x, y = _mirror(x, width), _mirror(y, height)
        return np.stack([at(self.planes[plane], x, y, cubic=True) for plane in planes], axis=1).astype(np.float32)

    def _clean_crop(self, planes: list[int], hole: PlaneHole) -> tuple[int, int, NDArray]:
        """(top, left, crop [h, w] or [h, w, C]) around `hole`; its outermost `TAPS` samples are means of samples outside it."""
        shape = self.planes[planes[0]].shape
        rows, columns = hole.area.shape
        top, left = max(hole.top - CLEAN_MARGIN, 0), max(hole.left - CLEAN_MARGIN, 0)
        bottom, right = min(hole.top + rows + CLEAN_MARGIN, shape[0]), min(hole.left + columns + CLEAN_MARGIN, shape[1])
        crop = np.stack([self.planes[plane][top:bottom, left:right] for plane in planes], axis=2)
        # a pixel of margin, so that every pixel has eight neighbours
        usable = np.zeros((crop.shape[0] + 2, crop.shape[1] + 2), np.uint8)
        usable[1:-1, 1:-1] = 1
        usable[
            hole.top - top + 1 : hole.top - top + rows + 1, hole.left - left + 1 : hole.left - left + columns + 1
        ] = ~hole.area
        values = np.pad(crop, ((1, 1), (1, 1), (0, 0))).astype(np.float32).reshape(-1, len(planes))
        width = usable.shape[1]
        neighbours = [dy * width + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]
        for _ in range(TAPS):  # ring by ring
            reached = cv2.dilate(usable, np.ones((3, 3), np.uint8))[1:-1, 1:-1] > usable[1:-1, 1:-1]
            edge_rows, edge_columns = np.nonzero(reached)
            edge = (edge_rows + 1) * width + edge_columns + 1
            count, total = np.zeros((len(edge), 1), np.float32), np.zeros((len(edge), len(planes)), np.float32)
            for step in neighbours:
                neighbour_usable = usable.ravel().take(edge + step).astype(np.float32)[:, None]
                count += neighbour_usable
                total += neighbour_usable * values.take(edge + step, axis=0)
            values[edge] = total / count
            crop[edge_rows, edge_columns] = np.rint(values[edge]).astype(crop.dtype)
            usable.ravel()[edge] = 1
        return top, left, crop if len(planes) > 1 else np.ascontiguousarray(crop[..., 0])


def _mirror(x: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Coordinates along a side of `size` samples; those beyond its ends are mirrored."""
    if not len(x) or (x.min() >= -1 and x.max() <= size):
        return x
    last = np.float32(max(size - 1, 1))
    return (last - np.abs(np.mod(x, 2 * last) - last)).astype(np.float32)  # type: ignore[no-any-return]
