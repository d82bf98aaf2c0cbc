"""Carrying masks along the motion of the picture, a few frames to either side."""

from __future__ import annotations

from collections import OrderedDict

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.cuts import Shots
from vidrase.flow import FlowModel
from vidrase.frames import Frame

LONG_SIDE = 384  # px at which motion is estimated: limbs are still several px wide, and a pair costs a few ms
ROOM_PX, ROOM_SHARE = 20.0, 0.15  # round what is carried: in px of the reduced picture, and of its size
UNLIKE = 12  # grey levels between a carried and a seen pixel (3x3 mean), above which they are not the same thing
ASTRAY_PX = 1.0  # of the reduced picture: how far a carried pixel may miss its start when carried back
ASTRAY_SHARE = 0.15  # the same as a share of its way

Box = tuple[int, int, int, int]  # y0, y1, x0, x1


class Motion:
    """Flow between near frames of a stream, at reduced size, each step estimated once.

    A frame is named by its place in the stream (0, 1, ...). Nothing is carried across a scene cut.
    """

    def __init__(self, flow: FlowModel | None, *, reach: int, shots: Shots | None = None) -> None:
        """shots: the numbers of the shots, where they are known or others ask as well."""
        self._flow = flow
        self._reach = reach
        self._small: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        self._steps: OrderedDict[tuple[int, int], NDArray[np.float32]] = OrderedDict()
        self._agreements: dict[tuple[int, int], NDArray[np.uint8]] = {}
        self._shots: OrderedDict[int, int] = OrderedDict()
        self._number_of = shots or Shots()
        self._shot = -1
        self._regions: OrderedDict[int, Box | None] = OrderedDict()
        self._size = (0, 0)

    def add(self, place: int, frame: Frame, region: Box | None = None) -> bool:
        """The next frame of the stream; those more than 2 * reach + 1 back are forgotten. Returns whether it starts a new shot.

        region: where in the displayed frame there is anything to be carried; None: it may be anywhere.
        """
        self._size = frame.displayed_size
        scale = min(LONG_SIDE / max(frame.size), 1.0)
        size = (max(round(frame.height * scale), 1), max(round(frame.width * scale), 1))
        luma = np.ascontiguousarray(frame.orientation.to_display(frame.luma(size=size)))
        before, self._shot = self._shot, self._number_of(frame)
        self._shots[place], self._small[place] = self._shot, luma
        self.focus(place, region)
        oldest = place - 2 * self._reach - 1
        for held in (self._small, self._shots, self._regions):
            while held and next(iter(held)) < oldest:
                held.popitem(last=False)
        for pair in [pair for pair in self._steps if min(pair) < oldest]:
            del self._steps[pair]
        for pair in [pair for pair in self._agreements if min(pair) < oldest]:
            del self._agreements[pair]
        return before not in (-1, self._shot)

    def focus(self, place: int, region: Box | None) -> None:
        """Say later what `add` was not told: where in that frame there is anything to be carried."""
        self._regions[place] = None if region is None else self._reduced(region, self._small[place].shape)

    def same_shot(self, a: int, b: int) -> bool:
        """Whether no cut lies between two frames."""
        return self._shots[a] == self._shots[b]

    @property
    def reduced(self) -> tuple[int, int]:
        """(height, width) of the reduced picture, as displayed."""
        height, width = next(reversed(self._small.values())).shape
        return height, width

    def picture(self, place: int) -> NDArray[np.uint8]:
        """uint8 [h, w] luma of a frame at reduced size, as displayed."""
        return self._small[place]

    @property
    def short_side(self) -> int:
        """Px of the displayed frame."""
        return min(self._size)

    def between(self, a: int, b: int) -> NDArray[np.float32]:
        """float32 [h, w, 2] px of the reduced picture: what is at p in frame a is at p + flow in frame b."""
        if (a, b) not in self._steps:
            if self._flow is None:
                self._steps[a, b] = np.zeros((*self._small[a].shape, 2), np.float32)
            elif abs(a - b) == 1:
                flow = np.zeros((*self._small[a].shape, 2), np.float32)
                part = self.part(a, b)
                flow[part] = self._flow(self._small[a][part][None], self._small[b][part][None])[0]
                self._steps[a, b] = flow
            else:
                near = b + (1 if a > b else -1)
                self._steps[a, b] = _then(self.between(a, near), self.between(near, b))
        return self._steps[a, b]

    def agreement(self, target: int, source: int) -> NDArray[np.uint8]:
        """uint8 [h, w] of the reduced picture: 1 where `source` carried to `target` looks like it and finds its way back."""
        if (target, source) not in self._agreements:
            part = self.part(target, source)
            there, back = self.between(target, source)[part], self.between(source, target)
            rows, columns = (np.arange(side.start, side.stop, dtype=np.float32) for side in part)
            x, y = columns[None] + there[..., 0], rows[:, None] + there[..., 1]
            seen = cv2.remap(self._small[source], x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            unlike = cv2.blur(cv2.absdiff(seen, self._small[target][part]), (3, 3))
            astray = there + cv2.remap(back, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            astray, there = astray * astray, there * there
            room = ASTRAY_PX**2 + ASTRAY_SHARE**2 * (there[..., 0] + there[..., 1])
            agreed = np.zeros(self._small[target].shape, np.uint8)
            agreed[part] = (unlike <= UNLIKE) & (astray[..., 0] + astray[..., 1] <= room)
            self._agreements[target, source] = agreed
        return self._agreements[target, source]

    def agreed(self, corner: tuple[int, int], shape: tuple[int, int], target: int, source: int) -> NDArray[np.bool_]:
        """bool `shape` px of the displayed frame from `corner` (y, x) on: where `agreement` is."""
        agreement = self.agreement(target, source)
        rows, columns = (
            np.clip(((np.arange(start, start + side) + 0.5) * small / full).astype(int), 0, small - 1)
            for start, side, small, full in zip(corner, shape, agreement.shape, self._size, strict=True)
        )
        return agreement[rows[:, None], columns[None]] > 0

    def carry(
        self, mask: NDArray[np.bool_], corner: tuple[int, int], source: int, target: int
    ) -> tuple[NDArray[np.float32], tuple[int, int]] | None:
        """A mask of frame `source` as it lies in frame `target`: (float32 [h, w] in [0, 1], its corner), None when it left.

        mask: bool [h, w] at `corner` (y, x) of the displayed frame.
        """
        flow = self.between(target, source)
        height, width = self._size
        scale_y, scale_x = height / flow.shape[0], width / flow.shape[1]
        box = self._where(mask, corner, source, target, (scale_y, scale_x))
        if box is None:
            return None
        y0, y1, x0, x1 = box
        # coordinates of the crop in the reduced picture, pixel centres at integers
        rows = ((np.arange(y0, y1, dtype=np.float32) + 0.5) / scale_y - 0.5)[:, None]
        columns = ((np.arange(x0, x1, dtype=np.float32) + 0.5) / scale_x - 0.5)[None]
        at_x, at_y = np.broadcast_arrays(columns, rows)
        fine = cv2.remap(flow, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        grid_x = np.arange(x0, x1, dtype=np.float32)[None] + fine[..., 0] * np.float32(scale_x) - np.float32(corner[1])
        grid_y = (
            np.arange(y0, y1, dtype=np.float32)[:, None] + fine[..., 1] * np.float32(scale_y) - np.float32(corner[0])
        )
        carried = cv2.remap(
            mask.astype(np.float32), grid_x, grid_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0
        )
        return carried.astype(np.float32, copy=False), (y0, x0)

    def part(self, a: int, b: int) -> tuple[slice, slice]:
        """Rows and columns of the reduced picture in which motion between two frames matters."""
        one, two, (height, width) = self._regions[a], self._regions[b], self._small[a].shape
        if one is None or two is None:
            return slice(0, height), slice(0, width)
        return slice(min(one[0], two[0]), max(one[1], two[1])), slice(min(one[2], two[2]), max(one[3], two[3]))

    def _reduced(self, region: Box, small: tuple[int, ...]) -> Box:
        """A region of the frame in the reduced picture, with room round it for what moves out of it."""
        height, width = small
        scale_y, scale_x = height / self._size[0], width / self._size[1]
        y0, y1, x0, x1 = region[0] * scale_y, region[1] * scale_y, region[2] * scale_x, region[3] * scale_x
        spare = ROOM_PX + ROOM_SHARE * max(y1 - y0, x1 - x0)
        return (
            max(int(y0 - spare), 0),
            min(int(np.ceil(y1 + spare)), height),
            max(int(x0 - spare), 0),
            min(int(np.ceil(x1 + spare)), width),
        )

    def _where(
        self,
        mask: NDArray[np.bool_],
        corner: tuple[int, int],
        source: int,
        target: int,
        scale: tuple[float, float],
    ) -> tuple[int, int, int, int] | None:
        """Rows and columns of `target` in which the mask may lie: its box moved as far as anything in it moves."""
        flow = self.between(source, target)
        (y, x), (rows, columns), (scale_y, scale_x) = corner, mask.shape, scale
        top, left = int(y / scale_y), int(x / scale_x)
        bottom, right = int(np.ceil((y + rows) / scale_y)) + 1, int(np.ceil((x + columns) / scale_x)) + 1
        inside = flow[top:bottom, left:right].reshape(-1, 2)
        if not len(inside):
            return None
        low, high = np.percentile(inside, (2, 98), axis=0)
        spare = 4.0
        y0, y1 = y + low[1] * scale_y - spare * scale_y, y + rows + high[1] * scale_y + spare * scale_y
        x0, x1 = x + low[0] * scale_x - spare * scale_x, x + columns + high[0] * scale_x + spare * scale_x
        height, width = self._size
        box = max(int(y0), 0), min(int(np.ceil(y1)), height), max(int(x0), 0), min(int(np.ceil(x1)), width)
        return box if box[1] > box[0] and box[3] > box[2] else None


def _then(ab: NDArray[np.float32], bc: NDArray[np.float32]) -> NDArray[np.float32]:
    """Flow a to c of the flows a to b and b to c."""
    height, width = ab.shape[:2]
    x = np.arange(width, dtype=np.float32)[None] + ab[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + ab[..., 1]
    return ab + cv2.remap(bc, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
