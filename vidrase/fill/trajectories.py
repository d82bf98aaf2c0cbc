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
    kept: bool = False,
    usable: Callable[[WindowFrame, WindowFrame], bool] = lambda *_: True,
) -> SourceMap:
    """Find where the query pixels of `start` are first visible. A source is the `number` of a frame.

    step: +1 forward, -1 backward. reach: largest number of frames to go.
    usable: whether the light of the second frame can be made that of the first; other frames are passed through.
    min_hops: shortest length of a trajectory, frames; larger than 1 it makes visible pixels behave like hidden ones.
    kept: whether the pixels are followed as parts of protected objects that move on their own. Otherwise they are background, and
    such an object hides them as the hole does.

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
    for hop in range(1, reach + 1):
        there = frames.get(here.number + step)
        if there is None or there.shot != start.shot:
            break
        pair = (here if step > 0 else there).flow_pair
        pair = pair.kept if pair is not None and kept else pair
        if pair is None:
            break
        moved_x, moved_y = pair.flow(step, x, y).T
        if occluded.any() and not kept:
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
            if there.occluder is not None and not kept:
                visible &= ~_touches(there.occluder, x, y)
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


def fits_better(here: WindowFrame, there: WindowFrame, shift: tuple[float, float]) -> bool:
    """Whether the protected objects of `here`, moved by `shift` (dx, dy) px, cover those of `there` better than moved along with
    the hole. Flow beside a hole is uncertain, and who walks along with the removed object is not behind it."""
    if here.area is None or there.area is None or here.protected is None or there.protected is None:
        return True
    (y0, x0), (y1, x1) = (np.argwhere(area).mean(0) for area in (here.area, there.area))
    along = float(x1 - x0), float(y1 - y0)
    if np.hypot(shift[0] - along[0], shift[1] - along[1]) < MIN_APART:
        return False
    return _overlap(here, there, shift) > _overlap(here, there, along)


def _overlap(here: WindowFrame, there: WindowFrame, shift: tuple[float, float]) -> float:
    """Intersection over union of the protected objects of `here`, moved by `shift`, and those of `there`, where neither is
    hidden."""
    assert here.area is not None
    assert there.area is not None
    assert here.protected is not None
    assert there.protected is not None
    height, width = here.area.shape
    move = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
    moved, hidden = (
        cv2.warpAffine(mask.view(np.uint8), move, (width, height), flags=cv2.INTER_NEAREST, borderValue=border) > 0
        for mask, border in ((here.protected, 0), (here.area, 1))
    )
    visible = ~(hidden | there.area)
    union = int(np.count_nonzero((moved | there.protected) & visible))
    return int(np.count_nonzero(moved & there.protected & visible)) / max(union, 1)


MIN_APART = (
    2.0  # px that an object must have moved otherwise than the hole (`tests/test_fill.py`: a friend who walks along)
)


def _touches(area: NDArray[np.bool_], x: Points, y: Points) -> NDArray[np.bool_]:
    """bool [N]: whether interpolation at the points (x, y) uses a pixel of `area`, bool [h, w]; nearly whole numbers use one."""
    out = np.zeros(len(x), bool)
    for row in (np.floor(y + NEARLY), np.ceil(y - NEARLY)):
        for column in (np.floor(x + NEARLY), np.ceil(x - NEARLY)):
            out |= area[row.astype(np.intp), column.astype(np.intp)]
    return out


NEARLY = 0.25
"""px: this near to a pixel a point is taken for it. With the nearest pixel alone, a person who walks past a hole leaves a line
in it (21.7 instead of 22.1 dB, `tests/test_fill_protected.py`); 1 px around objects costs .17 dB over six pasted clips."""


def shows_kept(frames: Mapping[int, WindowFrame], source_map: SourceMap) -> NDArray[np.bool_]:
    """bool [h, w]: which pixels of the map come from a protected object that moves on its own."""
    out = np.zeros(source_map.source.shape, bool)
    for number in np.unique(source_map.source[source_map.source >= 0]).tolist():
        moving = frames[number].moving
        if moving is None:
            continue
        rows, columns = np.nonzero(source_map.source == number)
        x = columns + source_map.box.left + source_map.dx[rows, columns]
        y = rows + source_map.box.top + source_map.dy[rows, columns]
        out[rows, columns] = moving[np.rint(y).astype(np.intp), np.rint(x).astype(np.intp)]
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


# Evidence for sources.occlusion: `rules.py`. Values of constants without a figure have no record yet.
MAX_DISAGREEMENT, MAX_DISAGREEMENT_SHARE = 2.0, 0.1
"""px, and share of the forward flow's length: forward and backward flow agree if the vector between start and return is shorter
than their sum (forward-backward consistency)."""


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


def warp_source_map(previous_map: SourceMap | None, previous: WindowFrame, now: WindowFrame) -> SourceMap:
    """Warp the synthesis of `previous` to the query pixels of `now` by the camera's motion.

    The completed flow is not used: interpolated into the hole it is right to a tenth of a pixel, but over hundreds of frames such
    errors tear the synthesis into stripes. One homography per frame keeps it in one piece.
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
    inside = (x >= box.left) & (y >= box.top) & (x <= box.right - 1) & (y <= box.bottom - 1)
    source, dx, dy = interpolate(previous_map, GridPoints.of(box, x, y))
    source = np.where(inside, source, -1)
    out.source[rows, columns] = source
    out.dx[rows, columns] = x + dx - x0
    out.dy[rows, columns] = y + dy - y0
    return out
