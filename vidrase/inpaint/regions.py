"""Regions around the holes of pictures, and the size at which the network gets each.

Only masks are read, on the CPU and in cells of a few pixels, so that nothing here waits for a device.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

CONTEXT = 1.0  # margin on each side, in sizes of the hole: the network's input around it
MIN_CONTEXT = 32  # px, smallest margin
CELL = 4  # px a side; a row of a cell is one 32-bit word of the mask
JOIN_RADIUS = 4  # cells: parts of a hole that join when dilated by this are completed together
GRID = (
    32  # px of the network's picture: context grows to a multiple, so that many regions have one size and share a batch
)

Span = tuple[slice, slice]
"""Rows and columns."""


@dataclass(frozen=True, slots=True)
class Region:
    """A part of one picture that is completed in one forward pass."""

    index: int
    """Index of the picture in its batch."""
    number: int
    """Value of `labels` at the pixels of this region that are to be filled."""
    box: Span
    """px of the picture: the hole and its context."""
    hole: Span
    """px of `box`: the rows and columns with pixels to fill."""
    size: tuple[int, int]
    """px (h, w) of the network's input for `box`: at most its training side; smaller than the box when that is larger."""


def find_regions(hole: NDArray[np.bool_], side: int) -> tuple[NDArray[np.int16], list[Region]]:
    """Regions around the True pixels of bool [B, H, W], and labels int16 [B, H, W]: 0 known, else a region's number.

    side: px, the long side up to which the network was trained. A picture without a known pixel has no region.
    """
    labels = hole.astype(np.int16)
    regions = []
    for index, cells in enumerate(_cells(hole)):
        if not cells.any() or (cells.all() and hole[index].all()):
            continue
        joined = cv2.dilate(cells, np.ones((2 * JOIN_RADIUS + 1, 2 * JOIN_RADIUS + 1), np.uint8))
        count, numbers = cv2.connectedComponents(joined)
        numbers = np.where(cells, numbers, 0).astype(np.int16)
        if count > 2:
            height, width = cells.shape
            pixels = cv2.resize(numbers, (CELL * width, CELL * height), interpolation=cv2.INTER_NEAREST)
            labels[index] *= pixels[: hole.shape[1], : hole.shape[2]]
        regions += [_region(index, number, numbers == number, labels[index], side) for number in range(1, count)]
    return labels, regions


def _cells(hole: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """[B, ⌈H/CELL⌉, ⌈W/CELL⌉]: 1 where a pixel of the cell is to be filled."""
    batch, height, width = hole.shape
    padded = np.pad(hole, ((0, 0), (0, -height % CELL), (0, -width % CELL)))
    words = np.ascontiguousarray(padded).view(np.uint32)
    rows = words.reshape(batch, -1, CELL, words.shape[2])
    return (np.bitwise_or.reduce(rows, axis=2) != 0).view(np.uint8)


def _region(index: int, number: int, cells: NDArray[np.bool_], labels: NDArray[np.int16], side: int) -> Region:
    around = tuple(slice(CELL * first, CELL * (last + 1)) for first, last in (_ends(cells, axis) for axis in (0, 1)))
    own = labels[around] == number
    found = [_ends(own, axis) for axis in (0, 1)]
    edges = [(part.start + first, part.start + last + 1) for part, (first, last) in zip(around, found, strict=True)]
    margin = max(MIN_CONTEXT, int(CONTEXT * max(end - start for start, end in edges)))
    wide = [
        (max(0, start - margin), min(end + margin, limit))
        for (start, end), limit in zip(edges, labels.shape, strict=True)
    ]
    scale = min(1.0, side / max(end - start for start, end in wide))
    box, size = [], []
    for (start, end), limit in zip(wide, labels.shape, strict=True):
        seen = max(1, round((end - start) * scale))
        wanted = min(-(-seen // GRID) * GRID, side)
        grown = max(end, start + round(wanted / scale))
        box.append(slice(start, min(grown, limit)))
        size.append(wanted if grown <= limit else max(1, min(wanted, round((limit - start) * scale))))
    inner = [slice(start - part.start, end - part.start) for (start, end), part in zip(edges, box, strict=True)]
    return Region(index, number, (box[0], box[1]), (inner[0], inner[1]), (size[0], size[1]))


def _ends(mask: NDArray[np.bool_], axis: int) -> tuple[int, int]:
    """The first and the last row (axis 0) or column (axis 1) with a True pixel."""
    there = np.flatnonzero(mask.any(1 - axis))
    return int(there[0]), int(there[-1])
