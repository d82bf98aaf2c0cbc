"""Cast shadows where the camera moves: what was lighter at other moments, hangs together with a hole and moves with its thing.

A shadow overlaps itself from frame to frame, so moments are compared that lie further apart, brought together by the camera's
motion. It leaves less light but the same colours; that, and that it touches the hole, tells it from other things that moved.
Where the camera stands still, `traces` knows the background better.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.camera import CameraMotion, fit_camera
from vidrase.colour import to_rgb8
from vidrase.cuts import CutDetector
from vidrase.fill.complete import grown
from vidrase.flow import FlowModel
from vidrase.frames import Frame, Hole, HoleFrame
from vidrase.streams import closing_all

LOOK = 32  # frames ahead
MEMORY = 128 << 20
"""Bytes of frames that wait for what comes after them: large ones look less far ahead."""
OFFSETS = (3, 7, 12, 18, 25, 32, 48)  # frames between a frame and those it is compared with
SIDE = 240  # px: long side of the pictures compared
AROUND = 2  # px of such a picture round a hole that are not judged: the thing's edge shows there
BLUR = 1.5  # px: motion is known to about a pixel after that many frames
REACH = 0.8  # of the hole's longer side: how far from it shadows are looked for
SUPPORT = 0.5  # of the picture has to move as the camera does, or frames are not compared across
LEAST_MOMENTS = 3  # that must show a place
LIT = 0.7  # quantile of the moments that counts as lit: in some of them the shadow lies there, too
DARKEST, LIGHTEST = 0.25, 0.87  # share of the light that a shadow leaves in its middle
RIM, RIM_GAP = 0.94, 5.0  # share of the light, and grey levels: at its soft edge
TINT = 0.14  # largest difference between that share of red, green and blue
LEAST_GAP = 10.0  # grey levels
RESTLESS = 0.6  # of the gap: a place whose light varies by more at other moments tells nothing
LEAST_AREA = 0.02  # of the hole: less is a misfit of the rim
MOST = 1.5  # times the hole: more is no shadow
ALIKE = 0.35  # of its neighbours' shadows: what lasts a frame only is none
RING = 3 / 480  # of the frame's height: a shadow's soft edge
KEPT = 4 / 480  # of the frame's height: what stays keeps its soft edge


@dataclass(slots=True, eq=False)
class _Moment:
    number: int
    shot: int
    rgb: NDArray[np.float32]
    """[h, w, 3] reduced and blurred, grey levels."""
    luma: NDArray[np.uint8]
    area: NDArray[np.bool_]
    """[h, w] the hole, and a little around it."""
    ahead: CameraMotion | None = None
    """To the next moment, once asked for."""
    shadow: NDArray[np.bool_] | None = None
    """[h, w]; None: not looked for."""


def look_of(frame: Frame) -> int:
    """Frames that wait behind one that leaves."""
    size = sum(plane.nbytes for plane in frame.planes)
    return int(np.clip(MEMORY // max(size, 1), OFFSETS[1], LOOK))


def with_shadows(
    upstream: Iterable[HoleFrame], flow: FlowModel, still: Callable[[Frame], bool]
) -> Generator[HoleFrame, None, None]:
    """Each frame, its hole with the shadows of what is in it: one out for each in.

    still: frame -> whether its shot has a background plate; it passes as it is.
    """
    cut, shot = CutDetector(), 0
    moments: deque[_Moment] = deque()
    waiting: deque[HoleFrame] = deque()
    look = LOOK
    with closing_all(upstream) as source:
        for number, found in enumerate(source):
            look = look_of(found.frame)
            now = _moment(number, shot, found)
            if cut(now.luma) or (moments and moments[-1].luma.shape != now.luma.shape):
                shot += 1
                now.shot = shot
            moments.append(now)
            waiting.append(found)
            del found, now
            while len(waiting) > look + 1:  # one more: neighbours' shadows are compared
                yield _leave(waiting, moments, flow, still)
        while waiting:
            yield _leave(waiting, moments, flow, still)


def _leave(
    waiting: deque[HoleFrame], moments: deque[_Moment], flow: FlowModel, still: Callable[[Frame], bool]
) -> HoleFrame:
    """The first of those that wait, with its shadows; forgets what nobody needs any more."""
    number = moments[-1].number - len(waiting) + 1
    found = waiting.popleft()
    by_number = {moment.number: moment for moment in moments}
    here = by_number[number]
    if found.hole is None or still(found.frame):
        result = found
    else:
        for near in (number, number + 1):
            moment = by_number.get(near)
            if moment is not None and moment.shadow is None and moment.area.any():
                moment.shadow = _shadow(moment, by_number, flow)
        beside = [by_number.get(near) for near in (number - 1, number + 1)]
        shadow = _lasting(here, [b.shadow for b in beside if b is not None and b.shot == here.shot])
        result = found if shadow is None else HoleFrame(found.frame, _joined(found, shadow), found.passes, found.kept)
    while moments and moments[0].number < number - max(OFFSETS):
        moments.popleft()
    return result


def _moment(number: int, shot: int, found: HoleFrame) -> _Moment:
    height, width = found.frame.size
    scale = min(1.0, SIDE / max(height, width))
    size = max(round(height * scale), 1), max(round(width * scale), 1)
    rgb = to_rgb8(found.frame.planes, found.frame.layout, size=size).astype(np.float32)
    rgb = cv2.GaussianBlur(rgb, (0, 0), BLUR)
    area = np.zeros(size, bool)
    if found.hole is not None:
        full = found.hole.full_area().astype(np.uint8) * 255
        area = grown(cv2.resize(full, size[::-1], interpolation=cv2.INTER_AREA) > 0, AROUND)
    return _Moment(number, shot, rgb, found.frame.luma(size=size), area)


def _shadow(here: _Moment, moments: dict[int, _Moment], flow: FlowModel) -> NDArray[np.bool_] | None:
    """bool [h, w]: what was lighter at other moments and touches the hole; None when there is nothing of the kind."""
    rows, columns = np.flatnonzero(here.area.any(1)), np.flatnonzero(here.area.any(0))
    extent = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    reach = round(REACH * extent)
    top, left = max(int(rows[0]) - reach, 0), max(int(columns[0]) - reach, 0)
    part = np.s_[top : int(rows[-1]) + 1 + reach, left : int(columns[-1]) + 1 + reach]
    own = here.rgb[part]
    free = ~here.area[part]
    samples, valid = [], []
    for step in (-1, 1):
        way: NDArray[np.float64] | None = np.eye(3)
        at = here
        for distance in range(1, max(OFFSETS) + 1):
            there = moments.get(here.number + step * distance)
            if there is None or there.shot != here.shot:
                break
            way = _onward(way, at, there, step, flow)
            if way is None:
                break
            at = there
            if distance in OFFSETS:
                shown, seen = _brought(there, way, (top, left), own.shape[:2])
                use = (seen & free)[::4, ::4]
                if use.sum() > 20:
                    light = np.median(own[::4, ::4][use] / np.maximum(shown[::4, ::4][use], 4), axis=0)
                    samples.append(shown * light.astype(np.float32))
                    valid.append(seen)
    if len(samples) < LEAST_MOMENTS:
        return None
    lit, wander, known = _lit(np.stack(samples), np.stack(valid))
    shares = cv2.split(own / np.maximum(lit, 1))
    mean = (shares[0] + shares[1] + shares[2]) / 3
    tint = np.maximum(np.maximum(shares[0], shares[1]), shares[2]) - np.minimum(
        np.minimum(shares[0], shares[1]), shares[2]
    )
    gap = _grey(lit) - _grey(own)
    like = known & free & (mean > DARKEST) & (tint < TINT) & (wander < RESTLESS * gap)
    dark = like & (mean < RIM) & (gap > RIM_GAP)
    dark = cv2.morphologyEx(dark.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
    _, labels = cv2.connectedComponents(dark.astype(np.uint8), connectivity=8)
    touching = np.intersect1d(labels[grown(~free, 2)], labels[dark & (mean < LIGHTEST) & (gap > LEAST_GAP)])
    dark = np.isin(labels, touching[touching > 0])
    size = int(np.count_nonzero(~free))
    if not LEAST_AREA * size <= np.count_nonzero(dark) <= MOST * size:
        return None
    out = np.zeros(here.area.shape, bool)
    whole = cv2.morphologyEx(dark.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)) > 0
    # a pixel more: what is left of the soft edge would be taken for background elsewhere; and what lies between it and the hole
    out[part] = grown(whole, 1) | (grown(whole, 2 * AROUND) & ~free)
    return out


def _onward(
    way: NDArray[np.float64] | None, at: _Moment, there: _Moment, step: int, flow: FlowModel
) -> NDArray[np.float64] | None:
    """The homography from the first moment to `there`, from that to its neighbour `at`; None when frames do not tell."""
    first, second = (at, there) if step > 0 else (there, at)
    if first.ahead is None:
        motion = flow(first.luma[None], second.luma[None])[0]
        first.ahead = fit_camera(motion, ~(grown(first.area, 3) | grown(second.area, 3)))
    if way is None or first.ahead.support < SUPPORT:
        return None
    link = first.ahead.homography if step > 0 else first.ahead.inverse().homography
    return np.asarray(link @ way)


def _brought(
    there: _Moment, way: NDArray[np.float64], corner: tuple[int, int], size: tuple[int, ...]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The crop at `corner` (y, x) of `size` as `there` shows it, and where it does."""
    matrix = way @ np.array([[1.0, 0, corner[1]], [0, 1, corner[0]], [0, 0, 1]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    shown = cv2.warpPerspective(there.rgb, matrix, (size[1], size[0]), flags=flags)
    free = (~there.area).astype(np.float32)
    seen = cv2.warpPerspective(free, matrix, (size[1], size[0]), flags=flags) > 0.99
    return shown, seen


def _lit(
    samples: NDArray[np.float32], valid: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """(RGB [h, w, 3] without shadow, how much the lighter moments differ [h, w], where enough moments show it [h, w])."""
    luma = np.stack([_grey(sample) for sample in samples])
    order = np.argsort(np.where(valid, luma, np.inf), axis=0)
    count = valid.sum(0)

    def quantile(share: float) -> NDArray[np.intp]:
        place = np.clip(np.rint(share * (count - 1)).astype(np.intp), 0, None)
        return np.take_along_axis(order, place[None], 0)

    middle, light = quantile(LIT), quantile(0.9)
    wander = (np.take_along_axis(luma, light, 0) - np.take_along_axis(luma, middle, 0))[0]
    return np.take_along_axis(samples, middle[..., None], 0)[0], wander, count >= LEAST_MOMENTS


def _grey(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.float32)


def _lasting(here: _Moment, beside: list[NDArray[np.bool_] | None]) -> NDArray[np.bool_] | None:
    """The shadow of `here` where a neighbour has one about there, too."""
    if here.shadow is None:
        return None
    size = int(np.count_nonzero(here.shadow))
    for other in beside:
        if other is not None and np.count_nonzero(grown(other, 2) & here.shadow) > ALIKE * size:
            return here.shadow
    return None


def _joined(found: HoleFrame, shadow: NDArray[np.bool_]) -> Hole:
    """The hole of `found` with the shadow, at full size."""
    hole = found.hole
    assert hole is not None
    height, width = hole.size
    soft = cv2.resize(shadow.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    core, area = soft >= 0.5, grown(soft >= 0.5, max(round(RING * height), 2))
    if found.kept is not None:
        stays = grown(found.kept.full_area(), max(round(KEPT * height), 2)) & ~hole.full_area()
        core, area = core & ~stays, area & ~stays
    return Hole.of(hole.full_core() | core, hole.full_area() | area) or hole
