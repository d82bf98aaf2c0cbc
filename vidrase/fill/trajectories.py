"""Trajectories: follow hidden pixels through time to a frame where they are visible. They carry coordinates, never colours.

Each point is followed along the completed flow from frame to frame until it leaves the hole. The original frame is then sampled
once, so no pixel is blurred by repeated warping.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.fill.flow_completion import FlowPair
from vidrase.fill.sampling import at
from vidrase.fill.window_frame import Box, SourceMap, WindowFrame

Points = NDArray[np.float32]


def trace_trajectories(
    frames: Mapping[int, WindowFrame],
    start: WindowFrame,
    step: int,
    reach: int,
    *,
    min_hops: int = 1,
    usable: Callable[[WindowFrame, WindowFrame], bool] = lambda *_: True,
) -> SourceMap:
    """Find where the query pixels of `start` are first visible. A source is the `number` of a frame.

    step: +1 forward, -1 backward. reach: largest number of frames to go.
    usable: whether the light of the second frame can be made that of the first; other frames are passed through.
    min_hops: shortest length of a trajectory, frames; larger than 1 it makes visible pixels behave like hidden ones.

    If a trajectory leaves the hole where forward and backward flow disagree, it ends on an occluder in front of the point that it
    follows. That source is kept as long as no better one is found, and the trajectory goes on with the camera's motion.
    """
    assert start.query is not None
    assert start.box is not None
    out = SourceMap.empty(start.box)
    rows, columns = np.nonzero(start.query[start.box.span])
    x0 = (columns + start.box.left).astype(np.float32)
    y0 = (rows + start.box.top).astype(np.float32)
    x, y = x0.copy(), y0.copy()
    active = np.arange(len(x0))
    occluded = np.zeros(len(x0), bool)  # whether the trajectory has met an occluder
    here = start
    height, width = start.luma.shape
    may_be_occluder = _occluder_part(start, rows, columns)
    for hop in range(1, reach + 1):
        there = frames.get(here.number + step)
        if there is None or there.shot != start.shot:
            break
        pair = (here if step > 0 else there).flow_pair
        if pair is None:
            break
        moved_x, moved_y = pair.flow(step, x, y).T
        if occluded.any():
            camera = pair.camera if step > 0 else pair.camera.inverse()
            camera_x, camera_y = camera.points(x[occluded], y[occluded])
            moved_x[occluded], moved_y[occluded] = camera_x - x[occluded], camera_y - y[occluded]
        x, y = x + moved_x, y + moved_y
        inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
        if not inside.all():
            x, y, active, occluded = x[inside], y[inside], active[inside], occluded[inside]
            moved_x, moved_y = moved_x[inside], moved_y[inside]
        if hop >= min_hops and usable(start, there):
            visible = there.samples_known(x, y)
            if there.occluder is not None:
                # an occluder hides the background as the hole does, but the query pixel may belong to the occluder
                on_occluder = there.occluder[np.rint(y).astype(np.intp), np.rint(x).astype(np.intp)]
                visible &= ~on_occluder if may_be_occluder is None else may_be_occluder[active] | ~on_occluder
            shown = np.flatnonzero(visible)
            consistent = np.zeros(len(x), bool)
            consistent[shown] = _is_consistent(pair, step, x[shown], y[shown], moved_x[shown], moved_y[shown])
            landed = shown[consistent[shown] | ~occluded[shown]]
            ended = active[landed]
            at_rows, at_columns = rows[ended], columns[ended]
            out.source[at_rows, at_columns] = there.number
            out.dx[at_rows, at_columns] = x[landed] - x0[ended]
            out.dy[at_rows, at_columns] = y[landed] - y0[ended]
            occluded |= visible
            remaining = np.flatnonzero(~consistent)
            if len(remaining) < len(active):
                x, y, active, occluded = (
                    x.take(remaining),
                    y.take(remaining),
                    active.take(remaining),
                    occluded.take(remaining),
                )
        here = there
        if not len(active):
            break
    return out


def _is_consistent(
    pair: FlowPair, step: int, x: Points, y: Points, moved_x: Points, moved_y: Points
) -> NDArray[np.bool_]:
    """bool [N]: whether the flow back from the points (x, y) agrees with the flow (moved_x, moved_y) that led to them."""
    if not rules.enabled("sources.occlusion"):
        return np.ones(len(x), bool)
    back_x, back_y = pair.flow(-step, x, y).T
    disagreement = _length(moved_x + back_x, moved_y + back_y)
    limit = MAX_DISAGREEMENT + MAX_DISAGREEMENT_SHARE * _length(moved_x, moved_y)
    return np.asarray(disagreement < limit, bool)


def _length(x: Points, y: Points) -> Points:
    """Length of the vectors, [N] px; several times as fast as `np.hypot`."""
    return np.asarray(np.sqrt(x * x + y * y), np.float32)


def _occluder_part(start: WindowFrame, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.bool_] | None:
    """bool [N]: which query pixels of `start`, given within its box, may be hidden parts of a protected object; None: none."""
    assert start.box is not None
    assert start.dilated_hole is not None
    if start.protected is None:
        return None
    hidden = np.pad(start.dilated_hole[start.box.span], 1).astype(np.uint8)
    half_width = float(cv2.distanceTransform(hidden, cv2.DIST_L2, cv2.DIST_MASK_3).max())
    reach = OCCLUDER_REACH * start.luma.shape[0]
    box = start.box.wider(int(2 * half_width + reach) + 2, start.luma.shape)
    distance = cv2.distanceTransform((~start.protected[box.span]).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_3)
    # close to an object, or with the object on both sides (a closing by half the hole's width)
    dilated = np.pad((distance <= half_width + 1).astype(np.uint8), 1, mode="edge")
    enclosed = cv2.distanceTransform(dilated, cv2.DIST_L2, cv2.DIST_MASK_3)[1:-1, 1:-1] > half_width + 1
    near = (distance < reach) | enclosed
    return near[rows + start.box.top - box.top, columns + start.box.left - box.left]  # type: ignore[no-any-return]


# Evidence for sources.occlusion: `rules.py`. Values of constants without a figure have no record yet.
OCCLUDER_REACH = 0.04
"""How far a protected object may extend into the hole, as a share of the frame's height. With every annotated performer of twelve
clips protected, 0.03 gave 24.1 dB over the background and 0.05 23.5; over the performer 0.05 gave 0.5 more."""
MAX_DISAGREEMENT, MAX_DISAGREEMENT_SHARE = 2.0, 0.1
"""px, and share of the forward flow's length: forward and backward flow agree if the vector between start and return is shorter
than their sum (forward-backward consistency)."""


BEYOND = 0.1
"""Share of the frame's height: up to this far beyond a border, pixels that come into view continue the synthesis beside them."""
CAMERA_SUPPORT = 0.5
"""Share of the trusted flow that must follow the camera for synthesis to be warped by its homography; below it by the flow."""


@dataclass(frozen=True, slots=True, eq=False)
class GridPoints:
    """Points between the pixels of a box of the work grid, with their cells, computed once for all fields."""

    x: Points
    y: Points
    """px from the box's top left pixel."""
    left: NDArray[np.int32]
    top: NDArray[np.int32]
    """The pixel above and left of the point, within the box."""
    near: NDArray[np.int32]
    """Flat index of the nearest pixel of the box."""

    @classmethod
    def of(cls, box: Box, x: Points, y: Points) -> GridPoints:
        """The points (x, y), work grid px, clipped to `box`."""
        height, width = box.shape
        x, y = np.clip(x - box.left, 0, width - 1), np.clip(y - box.top, 0, height - 1)
        near = np.rint(y).astype(np.int32) * np.int32(width) + np.rint(x).astype(np.int32)
        return cls(x, y, x.astype(np.int32), y.astype(np.int32), near)


def interpolate(source_map: SourceMap, points: GridPoints) -> tuple[NDArray[np.int32], Points, Points]:
    """(source, dx, dy), each [N], at points between the pixels of the map's box.

    The source is the nearest pixel's. Displacements are interpolated only between pixels of that source.
    """
    height, width = source_map.source.shape
    source = source_map.source.ravel().take(points.near)
    fields = [source_map.dx, source_map.dy]
    values = at(np.dstack(fields), points.x, points.y)  # correct where all four corners have one source
    left, top = points.left, points.top
    mixed = np.flatnonzero(_source_border(source_map.source).ravel().take(top * np.int32(width) + left))
    if len(mixed):
        left, top = left.take(mixed), top.take(mixed)
        wx, wy = points.x.take(mixed) - left, points.y.take(mixed) - top
        wx, wy, nearest_source = wx.astype(np.float32), wy.astype(np.float32), source.take(mixed)
        total, sums = np.zeros(len(mixed), np.float32), np.zeros((2, len(mixed)), np.float32)
        for row, down in ((top, 1 - wy), (np.minimum(top + 1, height - 1), wy)):
            for column, along in ((left, 1 - wx), (np.minimum(left + 1, width - 1), wx)):
                corner = row * np.int32(width) + column
                weight = down * along * (source_map.source.ravel().take(corner) == nearest_source)
                total += weight
                for k, displacement in enumerate(fields):
                    sums[k] += weight * displacement.ravel().take(corner)
        values[mixed] = (sums / np.maximum(total, 1e-6)).T
    return source, values[:, 0], values[:, 1]


def _source_border(source: NDArray[np.int32]) -> NDArray[np.bool_]:
    """bool [h, w]: whether the 2 x 2 cell whose top left pixel this is has more than one source."""
    out = np.zeros(source.shape, bool)
    out[:, :-1] |= source[:, :-1] != source[:, 1:]
    out[:-1] |= out[1:] | (source[:-1] != source[1:])
    out[:-1, :-1] |= source[:-1, 1:] != source[1:, 1:]
    return out


def warp_source_map(
    previous_map: SourceMap | None, previous: WindowFrame, now: WindowFrame, reach: float = 0.0
) -> SourceMap:
    """Warp the synthesis of `previous` to the query pixels of `now` by the camera's motion.

    The completed flow is not used: interpolated into the hole it is right to a tenth of a pixel, but over hundreds of frames such
    errors tear the synthesis into stripes. One homography per frame keeps it in one piece.

    reach: share of the frame's height; up to this far beyond the frame's border the map is extended. There an inpainted frame is
    mirrored. Pixels that come into view would otherwise be synthesized line by line and repeat the last line.
    """
    assert now.box is not None
    assert now.query is not None
    out = SourceMap.empty(now.box)
    if previous_map is None or previous.flow_pair is None or previous.shot != now.shot:
        return out
    rows, columns = np.nonzero(now.query[now.box.span])
    x0, y0 = (columns + now.box.left).astype(np.float32), (rows + now.box.top).astype(np.float32)
    if previous.flow_pair.camera.support >= CAMERA_SUPPORT:
        x, y = previous.flow_pair.camera.inverse().points(x0, y0)
    else:
        motion = previous.flow_pair.flow(-1, x0, y0)
        x, y = x0 + motion[:, 0], y0 + motion[:, 1]
    box = previous_map.box
    height, width = now.luma.shape
    margin = reach * height
    left, top = box.left - margin * (box.left == 0), box.top - margin * (box.top == 0)
    right, bottom = box.right - 1 + margin * (box.right == width), box.bottom - 1 + margin * (box.bottom == height)
    inside = (x >= left) & (y >= top) & (x <= right) & (y <= bottom)
    source, dx, dy = interpolate(previous_map, GridPoints.of(box, x, y))
    source = np.where(inside, source, -1)
    out.source[rows, columns] = source
    out.dx[rows, columns] = x + dx - x0
    out.dy[rows, columns] = y + dy - y0
    return out
