"""One frame of the window with its masks, flow and sources, on the work grid.

The work grid is the frame scaled so that its long side is at most `GRID_SIDE` px. Flow and coordinates are computed on it;
samples are taken at full size.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.fill.composite import PlaneHole, plane_holes
from vidrase.fill.flow_completion import FlowPair, dilate
from vidrase.fill.source_planes import SourcePlanes
from vidrase.frames import Frame, Hole

GRID_SIDE = {"fast": 360, "default": 640, "best": 960}  # px: long side of the work grid, by quality
RIM = 3  # px on the work grid around the dilated hole that are queried as well, to compare exposure


@dataclass(frozen=True, slots=True)
class WorkGrid:
    """The work grid of one clip."""

    height: int
    width: int
    scale_y: float
    scale_x: float
    """Work grid px per luma px."""

    @classmethod
    def of(cls, height: int, width: int, side: int) -> WorkGrid:
        """The grid for frames of `height` x `width` luma px; its long side is at most `side` px."""
        scale = min(1.0, side / max(height, width))
        rows, columns = max(round(height * scale), 1), max(round(width * scale), 1)
        return cls(rows, columns, rows / height, columns / width)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    def to_grid(
        self, x: NDArray[np.float32], y: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Convert luma px to work grid px, float32 [N]; pixel centres are at integers in both."""
        if self.scale_x == 1 and self.scale_y == 1:
            return x, y
        return (x + 0.5) * np.float32(self.scale_x) - 0.5, (y + 0.5) * np.float32(self.scale_y) - 0.5

    def shrink(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Reduce `mask`, bool [H, W] of the frame, to the grid: True where any pixel under the grid pixel is True."""
        if mask.shape == self.size:
            return mask
        return cv2.resize(mask.astype(np.uint8) * 255, (self.width, self.height), interpolation=cv2.INTER_AREA) > 0


TOUCHING = 6 / 240
"""Share of the frame's height: a protected object this near to the hole may go on in it. The margin in which flow beside a hole
is not trusted (`FLOW_MARGIN`); other values were not measured."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of the work grid, half-open, px."""

    top: int
    left: int
    bottom: int
    right: int

    @classmethod
    def around(cls, mask: NDArray[np.bool_], margin: int) -> Box:
        """The bounding box of the True pixels of `mask`, `margin` px wider on every side, clipped to the mask's size."""
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        height, width = mask.shape
        return cls(
            max(int(rows[0]) - margin, 0),
            max(int(columns[0]) - margin, 0),
            min(int(rows[-1]) + 1 + margin, height),
            min(int(columns[-1]) + 1 + margin, width),
        )

    def joined(self, other: Box) -> Box:
        """The box around both."""
        return Box(
            min(self.top, other.top),
            min(self.left, other.left),
            max(self.bottom, other.bottom),
            max(self.right, other.right),
        )

    def wider(self, margin: int, size: tuple[int, int]) -> Box:
        """The box, `margin` px wider on every side, clipped to `size` (height, width)."""
        return Box(
            max(self.top - margin, 0),
            max(self.left - margin, 0),
            min(self.bottom + margin, size[0]),
            min(self.right + margin, size[1]),
        )

    @property
    def span(self) -> tuple[slice, slice]:
        """Slices of rows and columns."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.bottom - self.top, self.right - self.left


@dataclass(slots=True, eq=False)
class SourceMap:
    """A source and a displacement for each pixel of a box of the work grid."""

    box: Box
    source: NDArray[np.int32]
    """[h, w] number of the source (window frame, reference frame or inpainted frame); -1: none."""
    dx: NDArray[np.float32]
    dy: NDArray[np.float32]
    """[h, w] px: the pixel (x, y) comes from (x + dx, y + dy) of the source."""

    @classmethod
    def empty(cls, box: Box) -> SourceMap:
        """A map of `box` without sources."""
        shape = box.shape
        zeros = (np.zeros(shape, np.float32) for _ in range(2))
        return cls(box, np.full(shape, -1, np.int32), *zeros)


@dataclass(slots=True, eq=False)
class WindowFrame:
    """A frame in the window. Masks are bool [h, w] on the work grid."""

    number: int
    """Counted by the fill, from 0."""
    frame: Frame
    hole: Hole | None
    shot: int
    luma: NDArray[np.uint8]
    """[h, w] on the work grid."""
    dilated_hole: NDArray[np.bool_] | None = None
    """The hole and one pixel around it, where the object's edge may still show; None: no hole."""
    area: NDArray[np.bool_] | None = None
    """The hole itself: nothing is sampled here."""
    query: NDArray[np.bool_] | None = None
    """All pixels that are looked up: `dilated_hole` and a rim of `RIM` px."""
    box: Box | None = None
    """Bounding box of `query`."""
    flow_pair: FlowPair | None = None
    """Flow to the next frame; None at a cut, or if neither of the two has a hole."""
    synthesized: SourceMap | None = None
    """For the query pixels that were synthesized: the inpainted or reference frame and the coordinates in it."""
    holes: list[PlaneHole] | None = None
    """`hole` on every plane, cached by `plane_holes`."""
    picture: SourcePlanes | None = None
    """The frame's planes as a source, without the hole; made on first use."""
    nth: int = 0
    """Frame number within the shot. Schedules and noise use it, so that a shot's result does not depend on earlier shots."""
    dissolve: bool = False
    """The frame is one of a dissolve: it shows the shots before and after it."""
    passes: bool = False
    """The frame is not filled; its hole only keeps other frames from sampling there."""
    protected_hole: Hole | None = None
    """Protected objects beside the hole."""
    protected: NDArray[np.bool_] | None = None
    """`protected_hole` on the work grid; None: there is none."""
    occluder: NDArray[np.bool_] | None = None
    """The part of `protected` that moves in front of the background; None: none, or not known yet."""
    moving: NDArray[np.bool_] | None = None
    """`occluder` and what moves with it beside it, such as its shadow; None as there."""
    footprint: NDArray[np.uint8] | None = None
    """[h, w] bits, see `_footprint`; made on first use."""

    @property
    def unchanged(self) -> bool:
        """Whether the frame is returned as the same object."""
        return self.hole is None or self.passes

    def touches_protected(self) -> bool:
        """Whether a protected object lies within `TOUCHING` of the hole."""
        if self.protected is None or self.dilated_hole is None or self.box is None:
            return False
        reach = max(round(TOUCHING * self.luma.shape[0]), 1)
        box = self.box.wider(reach, self.luma.shape)
        return bool((dilate(self.dilated_hole[box.span], reach) & self.protected[box.span]).any())

    @property
    def plane_holes(self) -> list[PlaneHole] | None:
        """`hole` on every plane; None: no hole."""
        if self.holes is None and self.hole is not None:
            self.holes = plane_holes(self.hole, self.frame.layout)
        return self.holes

    @property
    def nbytes(self) -> int:
        """Memory held beside the frame."""
        return (self.flow_pair.nbytes if self.flow_pair is not None else 0) + (
            self.picture.nbytes if self.picture else 0
        )

    def samples_known(self, x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.bool_]:
        """bool [N]: whether the points (x, y), work grid px, lie in the frame and interpolate no pixel of the hole."""
        height, width = self.luma.shape
        inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
        if self.area is None:
            return inside
        if self.footprint is None:
            self.footprint = _footprint(self.area)
        if not inside.all():
            x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
        left, top = x.astype(np.int32), y.astype(np.int32)
        footprint = self.footprint.ravel().take(top * np.int32(width) + left)
        usable = footprint == 0
        # only here does it matter where between the pixels the point lies
        partial = np.flatnonzero(usable != (footprint < ALL_POSITIONS))
        if len(partial):
            corners = (x.take(partial) > left.take(partial)) + np.uint8(2) * (y.take(partial) > top.take(partial))
            usable[partial] = (footprint.take(partial) >> corners) & 1 == 0
        usable &= inside
        return usable

    @classmethod
    def of(cls, number: int, frame: Frame, hole: Hole | None, shot: int, grid: WorkGrid) -> WindowFrame:
        """Reduce a frame and its hole to the work grid."""
        window_frame = cls(number, frame, hole, shot, frame.luma(size=grid.size))
        if hole is not None:
            window_frame.area = grid.shrink(hole.full_area())
            window_frame.dilated_hole = dilate(window_frame.area, 1)
            window_frame.query = dilate(window_frame.dilated_hole, RIM)
            window_frame.box = Box.around(window_frame.query, 1)
        return window_frame


ALL_POSITIONS = 0b1111
"""All four bits of `_footprint`: the hole is touched wherever the point lies between the pixels."""


def _footprint(area: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """uint8 [h, w]: whether linear interpolation uses a pixel of `area`: at this pixel (bit 0), between it and the pixel to the
    right (bit 1), between it and the pixel below (bit 2), between all four (bit 3).
    """
    padded = np.pad(area, ((0, 1), (0, 1))).astype(np.uint8)
    own, right, below, diagonal = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    return np.asarray(own | (own | right) << 1 | (own | below) << 2 | (own | right | below | diagonal) << 3, np.uint8)
