"""One frame of the window with what the fill knows about it, on the working grid.

The working grid is the frame scaled so that its long side is at most `GRID_SIDE`: flow and coordinates live there,
colours at full size.
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

GRID_SIDE = {"fast": 360, "default": 640, "best": 960}
RIM = 3  # px around the hole on the working grid whose sources are followed too, to compare light


@dataclass(frozen=True, slots=True)
class WorkGrid:
    """The working grid of one clip."""

    height: int
    width: int
    scale_y: float
    scale_x: float
    """Working px per luma px."""

    @classmethod
    def of(cls, height: int, width: int, side: int) -> WorkGrid:
        """The grid for frames of `height` x `width` with at most `side` px on the long side."""
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
        """Luma px -> working px, centres at integers in both."""
        if self.scale_x == 1 and self.scale_y == 1:
            return x, y
        return (x + 0.5) * np.float32(self.scale_x) - 0.5, (y + 0.5) * np.float32(self.scale_y) - 0.5

    def shrink(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """`mask` bool [H, W] of the frame on the grid: True where any covered pixel is."""
        if mask.shape == self.size:
            return mask
        return cv2.resize(mask.astype(np.uint8) * 255, (self.width, self.height), interpolation=cv2.INTER_AREA) > 0


@dataclass(frozen=True, slots=True)
class Box:
    """A region of the working grid, half-open."""

    top: int
    left: int
    bottom: int
    right: int

    @classmethod
    def around(cls, mask: NDArray[np.bool_], margin: int) -> Box:
        """The box of what is True in `mask`, `margin` px wider, clipped to the grid."""
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
        """`margin` px wider on every side, clipped to `size`."""
        return Box(
            max(self.top - margin, 0),
            max(self.left - margin, 0),
            min(self.bottom + margin, size[0]),
            min(self.right + margin, size[1]),
        )

    @property
    def span(self) -> tuple[slice, slice]:
        """Rows and columns."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.bottom - self.top, self.right - self.left


@dataclass(slots=True, eq=False)
class SourceMap:
    """Where the pixels of a region come from: a source and a displacement each, dense over a box of the working grid."""

    box: Box
    source: NDArray[np.int32]
    """[h, w] number of the moment (or of the invented canvas), -1: nowhere."""
    dx: NDArray[np.float32]
    dy: NDArray[np.float32]
    """[h, w] px: the pixel (x, y) comes from (x + dx, y + dy) of the source."""

    @classmethod
    def empty(cls, box: Box) -> SourceMap:
        """Nothing known yet."""
        shape = box.shape
        zeros = (np.zeros(shape, np.float32) for _ in range(2))
        return cls(box, np.full(shape, -1, np.int32), *zeros)


@dataclass(slots=True, eq=False)
class WindowFrame:
    """A frame in the window."""

    number: int
    """Counted by the fill, from 0."""
    frame: Frame
    hole: Hole | None
    shot: int
    luma: NDArray[np.uint8]
    """[h, w] working grid."""
    dilated_hole: NDArray[np.bool_] | None = None
    """[h, w] working grid: the hole and a pixel around it, where the thing's edge may still show; None: no hole."""
    area: NDArray[np.bool_] | None = None
    """[h, w] working grid: the hole itself: nothing may be taken from here."""
    query: NDArray[np.bool_] | None = None
    """[h, w] working grid: `blocked` and the rim around it."""
    box: Box | None = None
    """Around `wanted`."""
    flow_pair: FlowPair | None = None
    """Motion to the next moment; None at a cut, or where neither of the two has a hole."""
    synthesized: SourceMap | None = None
    """Which of the wanted pixels were made up, and on which canvas."""
    holes: list[PlaneHole] | None = None
    """`hole` on every component, once asked for."""
    picture: SourcePlanes | None = None
    """The frame's planes without what must not be taken, once asked for."""
    nth: int = 0
    """Counted from where the shot begins: schedules and noise go by it, so that they do not hang on what comes before."""
    passes: bool = False
    """Nobody wants this frame filled: its hole only says what others must not take from it."""
    protected_hole: Hole | None = None
    """Things beside the hole that must stay."""
    protected: NDArray[np.bool_] | None = None
    """[h, w] working grid: `kept`; None: nothing of the kind."""
    occluder: NDArray[np.bool_] | None = None
    """[h, w] working grid: what of it moves before the background; None: nothing, or not known yet."""
    footprint: NDArray[np.uint8] | None = None
    """[h, w] see `_touched`, once asked for."""

    @property
    def stays_as_it_is(self) -> bool:
        """Whether the frame leaves as the same object."""
        return self.hole is None or self.passes

    @property
    def plane_holes(self) -> list[PlaneHole] | None:
        """`hole` on every component."""
        if self.holes is None and self.hole is not None:
            self.holes = plane_holes(self.hole, self.frame.layout)
        return self.holes

    @property
    def nbytes(self) -> int:
        """Memory held beside the frame."""
        return (self.flow_pair.nbytes if self.flow_pair is not None else 0) + (
            self.picture.nbytes if self.picture else 0
        )

    def takes_from(self, x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.bool_]:
        """bool [N]: whether the points (x, y) of the working grid show what may be taken."""
        height, width = self.luma.shape
        inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
        if self.area is None:
            return inside
        if self.footprint is None:
            self.footprint = _footprint(self.area)
        if not inside.all():
            x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
        left, top = x.astype(np.int32), y.astype(np.int32)
        touched = self.footprint.ravel().take(top * np.int32(width) + left)
        free = touched == 0
        near = np.flatnonzero(free != (touched < FOOTPRINT))  # here alone it matters where between the pixels it lies
        if len(near):
            corners = (x.take(near) > left.take(near)) + np.uint8(2) * (y.take(near) > top.take(near))
            free[near] = (touched.take(near) >> corners) & 1 == 0
        free &= inside
        return free

    @classmethod
    def of(cls, number: int, frame: Frame, hole: Hole | None, shot: int, grid: WorkGrid) -> WindowFrame:
        """Bring a frame to the working grid."""
        moment = cls(number, frame, hole, shot, frame.luma(size=grid.size))
        if hole is not None:
            moment.area = grid.shrink(hole.full_area())
            moment.dilated_hole = dilate(moment.area, 1)
            moment.query = dilate(moment.dilated_hole, RIM)
            moment.box = Box.around(moment.query, 1)
        return moment


FOOTPRINT = 0b1111
"""Wherever between the pixels."""


def _footprint(area: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """uint8 [h, w]: whether the hole is touched by what is interpolated at a pixel (bit 0), between it and the next one to the
    right (bit 1), the next one below (bit 2), or all four (bit 3).
    """
    wide = np.pad(area, ((0, 1), (0, 1))).astype(np.uint8)
    here, right, below, across = wide[:-1, :-1], wide[:-1, 1:], wide[1:, :-1], wide[1:, 1:]
    return np.asarray(here | (here | right) << 1 | (here | below) << 2 | (here | right | below | across) << 3, np.uint8)
