"""Optical flow between near frames of a stream, and propagation of masks along it, a few frames to either side.

All of it happens on reduced frames: a detector's masks are no finer. A mask is reduced once and enlarged once.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase import colour
from vidrase.colour import PixelLayout
from vidrase.crops import Crop, paste_crop
from vidrase.cuts import Shots
from vidrase.flow import FlowModel
from vidrase.frames import Box, Frame
from vidrase.light import under_one_light

LONG_SIDE = 384  # px: size at which flow is estimated. Limbs are still several px wide, and a pair costs a few ms
MARGIN_PX, MARGIN_SHARE = 20.0, 0.15
"""Margin around masks: px of the reduced frame, and share of the region's longer side."""
MAX_DIFFERENCE = 12  # grey levels (3x3 mean): largest difference between a warped frame and the target where they agree
MAX_ERROR_PX = 1.0  # px of the reduced frame: largest forward-backward error
MAX_ERROR_SHARE = 0.15  # the same as a share of the length of the flow vector; both are added in squares
LANDING_STEP = 4  # px between the points that are traced to find where a mask will lie
LANDING_MARGIN = 4  # px around a mask in which a traced point counts as the mask's
HALF = 128  # of 255: share of a reduced pixel from which on it belongs to a mask

SoftMask = tuple[NDArray[np.uint8], tuple[int, int]]
"""Crop of a mask of the reduced frame: uint8 [h, w], 255 times the share of each pixel that it covers, and its corner (y, x)."""


class Motion:
    """Flow between near frames of a stream, at reduced size; each pair of neighbours is estimated once.

    Frames are numbered by their position in the stream (0, 1, ...). Callers do not propagate across cuts: see `same_shot`.
    """

    def __init__(self, flow: FlowModel | None, *, reach: int, shots: Shots | None = None) -> None:
        """shots: shot numbers, if they are known or shared with other stages. flow: None stands for no motion."""
        self._flow = flow
        self._reach = reach
        self._small: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        self._flows: dict[tuple[int, int], NDArray[np.float32]] = {}
        self._agreements: dict[tuple[int, int], NDArray[np.bool_]] = {}
        self._shots: OrderedDict[int, int] = OrderedDict()
        self._shot_number = shots or Shots()
        self._shot = -1
        self._regions: OrderedDict[int, Box | None] = OrderedDict()
        self._sizes: OrderedDict[int, tuple[int, int]] = OrderedDict()
        self._landings: dict[tuple[int, int], tuple[NDArray[np.float32], NDArray[np.float32]]] = {}

    def add(self, index: int, frame: Frame, region: Box | None = None) -> bool:
        """Add the next frame; those more than 2 * reach + 1 back are dropped. Returns whether it starts a new shot.

        region: rows and columns of the displayed frame that hold all masks to be propagated; None: the whole frame.
        """
        self._sizes[index] = frame.displayed_size
        planes, layout = reduced_planes(frame, luma_only=True)
        previous, self._shot = self._shot, self._shot_number(frame)
        self._shots[index], self._small[index] = self._shot, colour.to_luma8(planes, layout)
        self.focus(index, region)
        oldest = index - 2 * self._reach - 1
        for buffer in (self._small, self._shots, self._regions, self._sizes):
            while buffer and next(iter(buffer)) < oldest:
                buffer.popitem(last=False)
        for pairs in (self._flows, self._agreements, self._landings):
            for pair in [pair for pair in pairs if min(pair) < oldest]:
                del pairs[pair]
        return previous not in (-1, self._shot)

    def focus(self, index: int, region: Box | None) -> None:
        """Set the region of a frame after `add`; arguments as there."""
        self._regions[index] = None if region is None else self._reduced_region(index, region)

    def same_shot(self, a: int, b: int) -> bool:
        """Whether two frames belong to the same shot."""
        return self._shots[a] == self._shots[b]

    def reduced_size(self, index: int) -> tuple[int, int]:
        """(height, width) of a reduced frame, as displayed."""
        height, width = self._small[index].shape
        return height, width

    def scale(self, index: int) -> tuple[float, float]:
        """(y, x): px of the displayed frame per px of the reduced one."""
        (height, width), (rows, columns) = self._sizes[index], self._small[index].shape
        return height / rows, width / columns

    def picture(self, index: int) -> NDArray[np.uint8]:
        """uint8 [h, w] luma of a frame at reduced size, as displayed."""
        return self._small[index]

    def between(self, a: int, b: int) -> NDArray[np.float32]:
        """Flow between neighbours, float32 [h, w, 2] px of the reduced frame: a point at p in a is at p + flow in b."""
        if (a, b) not in self._flows:
            flow = np.zeros((*self._small[a].shape, 2), np.float32)
            if self._flow is not None:
                part = self.part(a, b)
                flow[part] = self._flow(self._small[a][part][None], self._small[b][part][None])[0]
            self._flows[a, b] = flow
        return self._flows[a, b]

    def agreement(self, target: int, source: int) -> NDArray[np.bool_]:
        """Where `source` warped to its neighbour `target` agrees with it: bool [h, w] of the reduced frame."""
        if (target, source) not in self._agreements:
            part = self.part(target, source)
            forward, backward = self.between(target, source)[part], self.between(source, target)
            points = self._grid(target)[part] + forward
            warped = cv2.remap(self._small[source], points, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            target_picture, warped = under_one_light(
                self._small[target][part], np.asarray(warped, np.uint8), stretch=False
            )
            difference = cv2.blur(cv2.absdiff(warped, target_picture), (3, 3))
            error = cv2.remap(backward, points, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            error += forward
            # squared error less its tolerance, summed over x and y
            excess = error * error - np.float32(MAX_ERROR_SHARE**2) * (forward * forward)
            excess = cv2.transform(excess, np.ones((1, 2), np.float32))
            agreed = np.zeros(self._small[target].shape, bool)
            agreed[part] = (difference <= MAX_DIFFERENCE) & (excess <= MAX_ERROR_PX**2)
            self._agreements[target, source] = agreed
        return self._agreements[target, source]

    def reduce(self, crop: Crop, index: int) -> SoftMask:
        """A mask of the displayed frame `index` at reduced size."""
        (mask, (y, x)), (scale_y, scale_x), (height, width) = crop, self.scale(index), self.reduced_size(index)
        y0, x0 = int(y / scale_y), int(x / scale_x)
        y1 = min(int(np.ceil((y + mask.shape[0]) / scale_y)), height)
        x1 = min(int(np.ceil((x + mask.shape[1]) / scale_x)), width)
        if y1 <= y0 or x1 <= x0:
            return np.zeros((0, 0), np.uint8), (y0, x0)
        top, left = round(y0 * scale_y), round(x0 * scale_x)
        size = max(round(y1 * scale_y) - top, 1), max(round(x1 * scale_x) - left, 1)
        values = paste_crop(crop, (top, left), size).view(np.uint8) * np.uint8(255)
        if values.shape != (y1 - y0, x1 - x0):
            values = cv2.resize(values, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
        return values, (y0, x0)

    def enlarge(self, soft: SoftMask, index: int) -> Crop:
        """A mask of the reduced frame `index` at the size of the displayed one."""
        (values, (y, x)), (scale_y, scale_x), (height, width) = soft, self.scale(index), self.reduced_size(index)
        # a pixel more on each side, so that the edge is interpolated too
        y0, x0 = max(y - 1, 0), max(x - 1, 0)
        y1, x1 = min(y + values.shape[0] + 1, height), min(x + values.shape[1] + 1, width)
        padded = cv2.copyMakeBorder(
            values, y - y0, y1 - y - values.shape[0], x - x0, x1 - x - values.shape[1], cv2.BORDER_CONSTANT, value=0
        )
        top, left = round(y0 * scale_y), round(x0 * scale_x)
        size = round(x1 * scale_x) - left, round(y1 * scale_y) - top
        if size != padded.shape[::-1]:
            padded = cv2.resize(padded, size, interpolation=cv2.INTER_LINEAR)
        return padded >= HALF, (top, left)

    def warp(self, soft: SoftMask, source: int, target: int) -> SoftMask | None:
        """Warp a reduced mask of frame `source` to frame `target`; None when it leaves the frame."""
        values, (y, x) = soft
        box = self._landing(values.shape, (y, x), source, target) if values.size else None
        if box is None:
            return None
        y0, y1, x0, x1 = box
        points = self._traced(target, source, np.s_[y0:y1, x0:x1]) - np.array([x, y], np.float32)
        return cv2.remap(values, points, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT), (y0, x0)

    def carry(self, crop: Crop, source: int, target: int) -> Crop | None:
        """Warp a mask of frame `source` to frame `target`, both as displayed; None when it leaves the frame."""
        warped = self.warp(self.reduce(crop, source), source, target)
        return None if warped is None else self.enlarge(warped, target)

    def part(self, a: int, b: int) -> tuple[slice, slice]:
        """(rows, columns) of the reduced frame in which flow between two frames is needed."""
        one, two, (height, width) = self._regions[a], self._regions[b], self._small[a].shape
        if one is None or two is None:
            return slice(0, height), slice(0, width)
        return slice(min(one[0], two[0]), max(one[1], two[1])), slice(min(one[2], two[2]), max(one[3], two[3]))

    def _reduced_region(self, index: int, region: Box) -> Box:
        """A region of the frame in px of the reduced frame, with a margin for motion out of it."""
        (height, width), (scale_y, scale_x) = self.reduced_size(index), self.scale(index)
        y0, y1, x0, x1 = region[0] / scale_y, region[1] / scale_y, region[2] / scale_x, region[3] / scale_x
        margin = MARGIN_PX + MARGIN_SHARE * max(y1 - y0, x1 - x0)
        return (
            max(int(y0 - margin), 0),
            min(int(np.ceil(y1 + margin)), height),
            max(int(x0 - margin), 0),
            min(int(np.ceil(x1 + margin)), width),
        )

    def _landing(self, shape: tuple[int, ...], corner: tuple[int, int], source: int, target: int) -> Box | None:
        """Rows and columns of the reduced frame `target` in which a mask of `source` may lie: where points come from its box."""
        height, width = self._small[target].shape
        step = LANDING_STEP
        if (target, source) not in self._landings:
            points = self._traced(target, source, np.s_[::step, ::step])
            self._landings[target, source] = points[..., 0].copy(), points[..., 1].copy()
        x, y = self._landings[target, source]
        top, left = corner[0] - LANDING_MARGIN, corner[1] - LANDING_MARGIN
        bottom, right = corner[0] + shape[0] + LANDING_MARGIN, corner[1] + shape[1] + LANDING_MARGIN
        lands = (x > left) & (x < right) & (y > top) & (y < bottom)
        rows, columns = np.flatnonzero(lands.any(1)), np.flatnonzero(lands.any(0))
        if not len(rows):
            return None
        return (
            max(int(rows[0] - 1) * step, 0),
            min(int(rows[-1] + 1) * step + 1, height),
            max(int(columns[0] - 1) * step, 0),
            min(int(columns[-1] + 1) * step + 1, width),
        )

    def _traced(self, a: int, b: int, pixels: tuple[slice, slice]) -> NDArray[np.float32]:
        """Positions (x, y) in frame b of the given pixels of frame a, float32 [h, w, 2]: from neighbour to neighbour."""
        step = 1 if b > a else -1
        points = self._grid(a)[pixels]
        for number, frame in enumerate(range(a, b, step)):
            flow = self.between(frame, frame + step)
            points = points + (
                flow[pixels]
                if number == 0
                else cv2.remap(flow, points, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            )
        return points

    def _grid(self, index: int) -> NDArray[np.float32]:
        """(x, y) of every pixel of a reduced frame, float32 [h, w, 2]."""
        return _grid(*self._small[index].shape)


@lru_cache(maxsize=4)
def _grid(height: int, width: int) -> NDArray[np.float32]:
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=2).astype(np.float32)
    grid.flags.writeable = False
    return grid


def hard(soft: SoftMask) -> Crop:
    """The pixels of the reduced frame that belong to a mask."""
    return soft[0] >= HALF, soft[1]


def soft_of(reduced: Crop) -> SoftMask:
    """A mask of whole pixels of the reduced frame."""
    return reduced[0].view(np.uint8) * np.uint8(255), reduced[1]


def reduced_planes(frame: Frame, *, luma_only: bool = False) -> tuple[tuple[NDArray, ...], PixelLayout]:
    """(colour planes of a frame, all at reduced size and as displayed; their layout, without subsampling).

    luma_only: leave out the chroma planes.
    """
    scale = min(LONG_SIDE / max(frame.size), 1.0)
    size = (max(round(frame.height * scale), 1), max(round(frame.width * scale), 1))
    layout = replace(frame.layout, shift_y=0, shift_x=0, alpha=False)
    count = 1 if luma_only and layout.model == "yuv" else layout.colour_planes
    planes = (frame.orientation.to_display(colour.shrunk(plane, size)) for plane in frame.planes[:count])
    return tuple(np.ascontiguousarray(plane) for plane in planes), layout
