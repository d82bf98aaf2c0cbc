"""Optical flow between near frames of a stream, and propagation of masks along it, a few frames to either side."""

from __future__ import annotations

from collections import OrderedDict

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.cuts import Shots
from vidrase.flow import FlowModel
from vidrase.frames import Frame

LONG_SIDE = 384  # px: size at which flow is estimated. Limbs are still several px wide, and a pair costs a few ms
MARGIN_PX, MARGIN_SHARE = 20.0, 0.15
"""Margin around masks: px of the reduced frame, and share of the region's longer side."""
MAX_DIFFERENCE = 12  # grey levels (3x3 mean): largest difference between a warped frame and the target where they agree
MAX_ERROR_PX = 1.0  # px of the reduced frame: largest forward-backward error
MAX_ERROR_SHARE = 0.15  # the same as a share of the length of the flow vector; both are added in squares

Box = tuple[int, int, int, int]  # y0, y1, x0, x1


class Motion:
    """Flow between near frames of a stream, at reduced size; each pair of neighbours is estimated once.

    Frames are numbered by their position in the stream (0, 1, ...). Callers do not propagate across cuts: see `same_shot`.
    """

    def __init__(self, flow: FlowModel | None, *, reach: int, shots: Shots | None = None) -> None:
        """shots: shot numbers, if they are known or shared with other stages. flow: None stands for no motion."""
        self._flow = flow
        self._reach = reach
        self._small: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        self._flows: OrderedDict[tuple[int, int], NDArray[np.float32]] = OrderedDict()
        self._agreements: dict[tuple[int, int], NDArray[np.uint8]] = {}
        self._shots: OrderedDict[int, int] = OrderedDict()
        self._shot_number = shots or Shots()
        self._shot = -1
        self._regions: OrderedDict[int, Box | None] = OrderedDict()
        self._size = (0, 0)

    def add(self, index: int, frame: Frame, region: Box | None = None) -> bool:
        """Add the next frame; those more than 2 * reach + 1 back are dropped. Returns whether it starts a new shot.

        region: rows and columns of the displayed frame that hold all masks to be propagated; None: the whole frame.
        """
        self._size = frame.displayed_size
        scale = min(LONG_SIDE / max(frame.size), 1.0)
        size = (max(round(frame.height * scale), 1), max(round(frame.width * scale), 1))
        luma = np.ascontiguousarray(frame.orientation.to_display(frame.luma(size=size)))
        previous, self._shot = self._shot, self._shot_number(frame)
        self._shots[index], self._small[index] = self._shot, luma
        self.focus(index, region)
        oldest = index - 2 * self._reach - 1
        for buffer in (self._small, self._shots, self._regions):
            while buffer and next(iter(buffer)) < oldest:
                buffer.popitem(last=False)
        for pair in [pair for pair in self._flows if min(pair) < oldest]:
            del self._flows[pair]
        for pair in [pair for pair in self._agreements if min(pair) < oldest]:
            del self._agreements[pair]
        return previous not in (-1, self._shot)

    def focus(self, index: int, region: Box | None) -> None:
        """Set the region of a frame after `add`; arguments as there."""
        self._regions[index] = None if region is None else self._reduced(region, self._small[index].shape)

    def same_shot(self, a: int, b: int) -> bool:
        """Whether two frames belong to the same shot."""
        return self._shots[a] == self._shots[b]

    @property
    def reduced(self) -> tuple[int, int]:
        """(height, width) of the reduced frame, as displayed."""
        height, width = next(reversed(self._small.values())).shape
        return height, width

    def picture(self, index: int) -> NDArray[np.uint8]:
        """uint8 [h, w] luma of a frame at reduced size, as displayed."""
        return self._small[index]

    @property
    def short_side(self) -> int:
        """Shorter side of the displayed frame, px."""
        return min(self._size)

    def between(self, a: int, b: int) -> NDArray[np.float32]:
        """Flow float32 [h, w, 2] px of the reduced frame: the point at p in frame a is at p + flow in frame b."""
        if (a, b) not in self._flows:
            if self._flow is None:
                self._flows[a, b] = np.zeros((*self._small[a].shape, 2), np.float32)
            elif abs(a - b) == 1:
                flow = np.zeros((*self._small[a].shape, 2), np.float32)
                part = self.part(a, b)
                flow[part] = self._flow(self._small[a][part][None], self._small[b][part][None])[0]
                self._flows[a, b] = flow
            else:
                near = b + (1 if a > b else -1)
                self._flows[a, b] = _composed(self.between(a, near), self.between(near, b))
        return self._flows[a, b]

    def agreement(self, target: int, source: int) -> NDArray[np.uint8]:
        """uint8 [h, w] of the reduced frame: 1 where `source` warped to `target` agrees with it, in luma and forward-backward."""
        if (target, source) not in self._agreements:
            part = self.part(target, source)
            forward, backward = self.between(target, source)[part], self.between(source, target)
            rows, columns = (np.arange(side.start, side.stop, dtype=np.float32) for side in part)
            x, y = columns[None] + forward[..., 0], rows[:, None] + forward[..., 1]
            warped = cv2.remap(self._small[source], x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            difference = cv2.blur(cv2.absdiff(warped, self._small[target][part]), (3, 3))
            error = forward + cv2.remap(backward, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            error, forward = error * error, forward * forward
            tolerance = MAX_ERROR_PX**2 + MAX_ERROR_SHARE**2 * (forward[..., 0] + forward[..., 1])
            agreed = np.zeros(self._small[target].shape, np.uint8)
            agreed[part] = (difference <= MAX_DIFFERENCE) & (error[..., 0] + error[..., 1] <= tolerance)
            self._agreements[target, source] = agreed
        return self._agreements[target, source]

    def agreed(self, corner: tuple[int, int], shape: tuple[int, int], target: int, source: int) -> NDArray[np.bool_]:
        """bool [h, w] of `shape`: `agreement` in a crop of the displayed frame at `corner` (y, x)."""
        agreement = self.agreement(target, source)
        rows, columns = (
            np.clip(((np.arange(start, start + side) + 0.5) * small / full).astype(int), 0, small - 1)
            for start, side, small, full in zip(corner, shape, agreement.shape, self._size, strict=True)
        )
        return agreement[rows[:, None], columns[None]] > 0

    def carry(
        self, mask: NDArray[np.bool_], corner: tuple[int, int], source: int, target: int
    ) -> tuple[NDArray[np.float32], tuple[int, int]] | None:
        """Warp a mask of frame `source` to frame `target`: (float32 [h, w] in [0, 1], corner), None when it leaves the frame.

        mask: bool [h, w] crop at `corner` (y, x) of the displayed frame.
        """
        flow = self.between(target, source)
        height, width = self._size
        scale_y, scale_x = height / flow.shape[0], width / flow.shape[1]
        box = self._target_box(mask, corner, source, target, (scale_y, scale_x))
        if box is None:
            return None
        y0, y1, x0, x1 = box
        # coordinates of the crop in the reduced frame, pixel centres at integers
        rows = ((np.arange(y0, y1, dtype=np.float32) + 0.5) / scale_y - 0.5)[:, None]
        columns = ((np.arange(x0, x1, dtype=np.float32) + 0.5) / scale_x - 0.5)[None]
        at_x, at_y = np.broadcast_arrays(columns, rows)
        resized_flow = cv2.remap(flow, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        grid_x = (
            np.arange(x0, x1, dtype=np.float32)[None]
            + resized_flow[..., 0] * np.float32(scale_x)
            - np.float32(corner[1])
        )
        grid_y = (
            np.arange(y0, y1, dtype=np.float32)[:, None]
            + resized_flow[..., 1] * np.float32(scale_y)
            - np.float32(corner[0])
        )
        warped = cv2.remap(
            mask.astype(np.float32), grid_x, grid_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0
        )
        return warped.astype(np.float32, copy=False), (y0, x0)

    def part(self, a: int, b: int) -> tuple[slice, slice]:
        """(rows, columns) of the reduced frame in which flow between two frames is needed."""
        one, two, (height, width) = self._regions[a], self._regions[b], self._small[a].shape
        if one is None or two is None:
            return slice(0, height), slice(0, width)
        return slice(min(one[0], two[0]), max(one[1], two[1])), slice(min(one[2], two[2]), max(one[3], two[3]))

    def _reduced(self, region: Box, small: tuple[int, ...]) -> Box:
        """A region of the frame in px of the reduced frame, with a margin for motion out of it."""
        height, width = small
        scale_y, scale_x = height / self._size[0], width / self._size[1]
        y0, y1, x0, x1 = region[0] * scale_y, region[1] * scale_y, region[2] * scale_x, region[3] * scale_x
        margin = MARGIN_PX + MARGIN_SHARE * max(y1 - y0, x1 - x0)
        return (
            max(int(y0 - margin), 0),
            min(int(np.ceil(y1 + margin)), height),
            max(int(x0 - margin), 0),
            min(int(np.ceil(x1 + margin)), width),
        )

    def _target_box(
        self,
        mask: NDArray[np.bool_],
        corner: tuple[int, int],
        source: int,
        target: int,
        scale: tuple[float, float],
    ) -> tuple[int, int, int, int] | None:
        """Rows and columns of `target` in which the warped mask may lie: its box, moved by the range of flow in it."""
        flow = self.between(source, target)
        (y, x), (rows, columns), (scale_y, scale_x) = corner, mask.shape, scale
        top, left = int(y / scale_y), int(x / scale_x)
        bottom, right = int(np.ceil((y + rows) / scale_y)) + 1, int(np.ceil((x + columns) / scale_x)) + 1
        inside = flow[top:bottom, left:right].reshape(-1, 2)
        if not len(inside):
            return None
        low, high = np.percentile(inside, (2, 98), axis=0)
        margin = 4.0
        y0, y1 = y + low[1] * scale_y - margin * scale_y, y + rows + high[1] * scale_y + margin * scale_y
        x0, x1 = x + low[0] * scale_x - margin * scale_x, x + columns + high[0] * scale_x + margin * scale_x
        height, width = self._size
        box = max(int(y0), 0), min(int(np.ceil(y1)), height), max(int(x0), 0), min(int(np.ceil(x1)), width)
        return box if box[1] > box[0] and box[3] > box[2] else None


def _composed(ab: NDArray[np.float32], bc: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compose the flows a to b and b to c into the flow a to c."""
    height, width = ab.shape[:2]
    x = np.arange(width, dtype=np.float32)[None] + ab[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + ab[..., 1]
    return ab + cv2.remap(bc, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
