"""Follow hidden pixels through time to where they are seen: chains carry coordinates, never colours.

Each point is followed along the completed flow from frame to frame until it leaves the hole; the original picture is then
sampled once, so nothing is blurred by repeated warping.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from vidrase.fill.moment import Box, Moment, Origins

Points = NDArray[np.float32]


def chase(moments: Mapping[int, Moment], start: Moment, step: int, reach: int, *, least: int = 1) -> Origins:
    """Where the wanted pixels of `start` are seen first, going `step` (+1 forward, -1 backward) at most `reach` frames.

    least: frames that a chain must be long at least: for trying out on visible pixels what happens to hidden ones.
    `cost` is the accumulated forward-backward gap, px, plus a little for every frame on the way.

    Where a chain leaves the hole but the motion there and back disagree, it has come out on something that moves in front of what
    it follows. That place is kept for want of a better one, and the chain goes on as the camera moves.
    """
    assert start.wanted is not None
    assert start.box is not None
    out = Origins.empty(start.box)
    rows, columns = np.nonzero(start.wanted[start.box.span])
    x0 = (columns + start.box.left).astype(np.float32)
    y0 = (rows + start.box.top).astype(np.float32)
    x, y, cost = x0.copy(), y0.copy(), np.zeros(len(x0), np.float32)
    live = np.arange(len(x0))
    behind = np.zeros(len(x0), bool)  # something in front of it was met
    here = start
    height, width = start.luma.shape
    for hop in range(1, reach + 1):
        there = moments.get(here.number + step)
        if there is None or there.shot != start.shot:
            break
        link = (here if step > 0 else there).link
        if link is None:
            break
        motion = link.flow(step, x, y)
        if behind.any():
            camera = link.camera if step > 0 else link.camera.inverse()
            motion[behind] = np.stack(camera.points(x[behind], y[behind]), axis=1) - np.stack([x, y], axis=1)[behind]
        x, y = x + motion[:, 0], y + motion[:, 1]
        gap = np.hypot(*(motion + link.flow(-step, x, y)).T)
        cost = cost + STEP_COST + np.minimum(gap, WORST_STEP)
        agree = gap < AGREE + AGREE_SHARE * np.hypot(*motion.T)
        inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
        x, y, cost, live, behind, agree = (a[inside] for a in (x, y, cost, live, behind, agree))
        free = there.takes_from(x, y)
        if hop < least:
            free[:] = False
        landed = free & (agree | ~behind)
        found = live[landed]
        at_rows, at_columns = rows[found], columns[found]
        out.source[at_rows, at_columns] = there.number
        out.dx[at_rows, at_columns] = x[landed] - x0[found]
        out.dy[at_rows, at_columns] = y[landed] - y0[found]
        out.cost[at_rows, at_columns] = cost[landed] + np.where(agree[landed], 0, MISPLACED)
        behind |= free
        on = ~(free & agree)
        x, y, cost, live, behind = (a[on] for a in (x, y, cost, live, behind))
        here = there
        if not len(live):
            break
    return out


STEP_COST = 0.05
"""px a frame: what a chain drifts even where forward and backward agree."""
AGREE, AGREE_SHARE = 2.0, 0.1
"""px, and share of the motion: how far there and back may disagree where a chain comes out of the hole."""
WORST_STEP = 9.0
"""px: the most that one frame adds to the cost of a chain."""
MISPLACED = 2.0
"""px: cost of a place on something in front."""


CAMERA_SUPPORT = 0.5
"""Share of the surroundings that must move as the camera does, for an invention to be carried by that motion alone."""


def spread(origins: Origins, x: Points, y: Points) -> tuple[NDArray[np.int32], Points, Points, Points]:
    """(source, dx, dy, cost), each [N], at the points (x, y) between the pixels of the grid.

    Displacements are interpolated among neighbours of the same source only: between two sources there is nothing.
    """
    height, width = origins.source.shape
    fx = np.clip(x - origins.box.left, 0, width - 1)
    fy = np.clip(y - origins.box.top, 0, height - 1)
    near = np.rint(fy).astype(np.intp) * width + np.rint(fx).astype(np.intp)
    flat = [a.ravel() for a in (origins.source, origins.dx, origins.dy, origins.cost)]
    source = flat[0][near]
    if np.array_equal(fx, np.rint(fx)) and np.array_equal(fy, np.rint(fy)):
        return source, flat[1][near], flat[2][near], flat[3][near]
    left, top = np.floor(fx).astype(np.intp), np.floor(fy).astype(np.intp)
    wx, wy = fx - left, fy - top
    total = np.zeros(len(x), np.float32)
    sums = np.zeros((3, len(x)), np.float32)
    for down in (0, 1):
        for right in (0, 1):
            corner = np.minimum(top + down, height - 1) * width + np.minimum(left + right, width - 1)
            weight = (wx if right else 1 - wx) * (wy if down else 1 - wy) * (flat[0][corner] == source)
            total += weight
            for k in range(3):
                sums[k] += weight * flat[k + 1][corner]
    sums /= np.maximum(total, 1e-6)
    return source, sums[0], sums[1], sums[2]


def carried(previous: Moment, now: Moment) -> Origins:
    """What was invented for `previous`, brought to the wanted pixels of `now` as the camera moves.

    Not by the completed flow: what it interpolates into the hole is right to a tenth of a pixel, but carried on for hundreds of
    frames such errors tear an invention into stripes. One homography a frame keeps it whole.
    """
    assert now.box is not None
    assert now.wanted is not None
    out = Origins.empty(now.box)
    if previous.invented is None or previous.link is None or previous.shot != now.shot:
        return out
    rows, columns = np.nonzero(now.wanted[now.box.span])
    x0, y0 = (columns + now.box.left).astype(np.float32), (rows + now.box.top).astype(np.float32)
    if previous.link.camera.support >= CAMERA_SUPPORT:
        x, y = previous.link.camera.inverse().points(x0, y0)
    else:
        motion = previous.link.flow(-1, x0, y0)
        x, y = x0 + motion[:, 0], y0 + motion[:, 1]
    box = previous.invented.box
    inside = (x >= box.left) & (y >= box.top) & (x <= box.right - 1) & (y <= box.bottom - 1)
    source, dx, dy, cost = spread(previous.invented, x, y)
    source = np.where(inside, source, -1)
    out.source[rows, columns] = source
    out.dx[rows, columns] = x + dx - x0
    out.dy[rows, columns] = y + dy - y0
    out.cost[rows, columns] = cost
    return out


def region(box: Box, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of `box`, clipped."""
    return slice(max(box.top, 0), min(box.bottom, height)), slice(max(box.left, 0), min(box.right, width))
