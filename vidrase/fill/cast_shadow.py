"""A cast shadow in one picture: where the ground is darker than in the light, up to where that ends.

It leaves less light but the same colours, and it begins at the feet of its thing. What the light looks like is known around the
rim that the shadow has moved over; from there it goes on to where the ground is as dark and nobody knows whether it is by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.fill.background_bounds import BackgroundBounds, luma_of
from vidrase.fill.flow_completion import dilate

AROUND = 2  # px of such a picture round a hole that are not judged: the thing's edge shows there
DARKEST, LIGHTEST = 0.12, 0.87  # share of the light that a shadow leaves in its middle
RIM, RIM_GAP = 0.94, 5.0  # share of the light, and grey levels: at its soft edge
BETWEEN = 9  # px of such a picture: gaps between a shadow and its thing that belong to it
UPPER = 0.5  # share of a thing's height in which no shadow begins
DEEP, DARKER = 0.66, 0.3
"""Share of the light that a deep shadow leaves at that quantile of it: its darkness alone tells it."""
DEEP_SHARE = 0.8
"""The same of the places themselves, at the median: true ones left .3 to .77, cushions that are moved on a bed .83 and more."""
MOST_SOFT = 0.15  # of the hole: true ones were .03 to .12 of it; stones and sheets that do not keep still .24 and more
SOLID = 5  # px of such a picture: what is narrower are gaps between stones
DARKEST_PART = 0.1  # of it, by which it is told how deep it is
MIDDLE, EDGE = 0.35, 0.12
"""Share of its depth that is missing of the light in its middle, at least, and at its soft edge."""
RIM_REACH = 8  # px of such a picture, so wide
TINT = 0.14  # largest difference between that share of red, green and blue
LEAST_GAP = 10.0  # grey levels
RESTLESS = 0.6  # of the gap: a place whose light varies by more at other moments tells nothing
LEAST_AREA = 0.02  # of the hole: less is a misfit of the rim
MOST = 1.5  # times the hole: more is no shadow
RESHAPED = 0.6  # logarithm of a change of its width for its height
AGREED = 0.15  # of what is expected: so much that moved tells that it is the same shadow
CREEP = 4  # px of such a picture by which it may be wider a moment later
GREW = 1.0  # times what its way lets expect, at most
KEEPS = 0.97  # of the grey level that it stays below, from moment to moment
NEAR = 2  # px of such a picture by which it may lie elsewhere a moment later


@dataclass(frozen=True, slots=True, eq=False)
class ShadowTemplate:
    """The shadow of one moment."""

    area: NDArray[np.bool_]
    """[h, w] the hole."""
    core: NDArray[np.bool_]
    """[h, w] the shadow without its soft edge: with it, it would grow on the way."""
    dark: float
    """Grey level that it stays below."""

    def on(self, area: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
        """bool, the shape of `area`: about where it may lie when its thing fills `area`.

        As high and at the same foot, unless that has another shape: somebody came or went. And as large, under the same head:
        what is found of a thing may end in its shadow.
        """
        if not area.any():
            return []
        (top, bottom, left, right), (to_top, to_bottom, to_left, to_right) = _extent(self.area), _extent(area)
        scale = (to_bottom - to_top + 1) / (bottom - top + 1)
        across = (to_left + to_right) / 2
        ways = [(1.0, across - (left + right) / 2, float(to_top - top))]
        if abs(np.log(scale / ((to_right - to_left + 1) / (right - left + 1)))) < RESHAPED:
            ways.insert(0, (scale, across - scale * (left + right) / 2, to_bottom - scale * bottom))
        elif abs(np.log(scale)) > RESHAPED:
            return []
        shadow = self.core.astype(np.uint8)
        return [cv2.warpAffine(shadow, np.array([[s, 0, x], [0, s, y]]), area.shape[::-1]) > 0 for s, x, y in ways]

    def expected(
        self,
        area: NDArray[np.bool_],
        part: tuple[slice, slice],
        luma: NDArray[np.float32],
        judged: NDArray[np.bool_],
    ) -> ExpectedShadow | None:
        """Where it lies in a `part` when its thing fills `area`, as far as it is as dark there; None: nowhere.

        luma: float32 [h, w] grey levels. judged: bool [h, w] where it is known whether it is dark by itself.
        """
        free = ~area[part]
        below = free & ~judged & (luma < self.dark)
        feet = dilate(shadow_base(~free)[0], BETWEEN)
        best: ExpectedShadow | None = None
        for whole in self.on(area):
            on = dilate(whole[part], NEAR)
            core = below & on
            wider = _connected_region(core, below & dilate(on, CREEP))
            if np.count_nonzero(wider) < GREW * np.count_nonzero(on):
                core = wider
            _, labels = cv2.connectedComponents(core.astype(np.uint8))
            core &= np.isin(labels, labels[feet])
            if core.any() and (best is None or np.count_nonzero(core) > np.count_nonzero(best.core)):
                best = ExpectedShadow(core, whole & area, self.dark)
        return best


@dataclass(frozen=True, slots=True, eq=False)
class ExpectedShadow:
    """What one moment's shadow lets expect of the next one's."""

    core: NDArray[np.bool_]
    """[h, w], in a part of the picture."""
    under: NDArray[np.bool_]
    """[h, w] of the picture: what its thing hides of it."""
    dark: float
    """Grey level that it stays below."""


def _extent(area: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(area.any(1)), np.flatnonzero(area.any(0))
    return int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])


@dataclass(frozen=True, slots=True, eq=False)
class CastShadow:
    """A shadow."""

    core: NDArray[np.bool_]
    """[h, w] without its soft edge."""
    dark: float
    """Grey level that it stays below; 0: it has no end that would be known."""


def detect_cast_shadow(
    own: NDArray[np.float32], free: NDArray[np.bool_], lit: BackgroundBounds, carried: ExpectedShadow | None = None
) -> CastShadow | None:
    """The shadow of what is not `free`, bool [h, w]; None when none touches it.

    own: float32 [h, w, 3] the region as it is. carried: what the one before lets expect.
    """
    shares = cv2.split(own / np.maximum(lit.rgb, 1))
    mean = (shares[0] + shares[1] + shares[2]) / 3
    tint = np.maximum(np.maximum(shares[0], shares[1]), shares[2]) - np.minimum(
        np.minimum(shares[0], shares[1]), shares[2]
    )
    gap = luma_of(lit.rgb) - luma_of(own)
    like = lit.known & free & (mean > DARKEST) & (tint < TINT) & (lit.spread < RESTLESS * gap)
    feet, middle = shadow_base(~free)
    like[:middle] = False
    before = np.zeros_like(free) if carried is None else carried.core
    begins = dilate(feet, 2) | before
    dark = _hysteresis(like & (gap > RIM_GAP), like & (gap > LEAST_GAP), mean, LIGHTEST, RIM, begins)
    if dark.any() and rules.enabled("residual.depth"):
        # beside a deep one, ground that was a little lighter at its lightest moment is none of it
        depth = 1 - float(np.quantile(mean[dark], DARKEST_PART))
        edges = min(LIGHTEST, 1 - MIDDLE * depth), min(RIM, 1 - EDGE * depth)
        dark = _hysteresis(dark, dark, mean, *edges, begins)
    start, least = dark, float(LEAST_AREA * np.count_nonzero(~free))
    if before.any() and np.count_nonzero(dark) >= AGREED * np.count_nonzero(before):  # the same has moved on
        start, least = dark | before, 1.0
    if not least <= np.count_nonzero(start) <= MOST * np.count_nonzero(~free):
        return None
    level, light = float(np.quantile(luma_of(own)[start], DARKER)), float(np.median(luma_of(lit.rgb)[dark]))
    if level > DEEP * light or float(np.median(mean[dark])) > DEEP_SHARE:  # so soft, much else is as dark
        return CastShadow(dark, 0.0) if np.count_nonzero(dark) <= MOST_SOFT * np.count_nonzero(~free) else None
    # what is expected is its darkest part
    end = max((level + light) / 2, 0.0 if carried is None else KEEPS * carried.dark)
    return CastShadow(start, end)


def _hysteresis(
    dark: NDArray[np.bool_],
    core: NDArray[np.bool_],
    share: NDArray[np.float32],
    middle: float,
    edge: float,
    begins: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """bool [h, w]: what of `dark` has less than the share `edge` of the light, is near what of `core` has less than `middle`, and
    hangs together with where a shadow `begins`.
    """
    core = core & (share < middle)
    near = (dark & (share < edge) & dilate(core, RIM_REACH)).astype(np.uint8)
    _, labels = cv2.connectedComponents(cv2.morphologyEx(near, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)))
    touching = np.intersect1d(labels[begins], labels[core])
    return np.isin(labels, touching[touching > 0])


def _connected_region(start: NDArray[np.bool_], below: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """`start` and what of `below` is solid and connected to it."""
    solid = cv2.morphologyEx(below.astype(np.uint8), cv2.MORPH_OPEN, np.ones((SOLID, SOLID), np.uint8))
    _, labels = cv2.connectedComponents(solid)
    return start | np.isin(labels, np.setdiff1d(labels[start], [0]))


def shadow_base(things: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], int]:
    """(bool [h, w] what shadows begin at of `things`: the lower part of each; the row of the highest one's middle).

    Shadows begin below, and fall below: what is darker beside a head has moved.
    """
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(things.astype(np.uint8))
    middles = boxes[:, cv2.CC_STAT_TOP] + UPPER * boxes[:, cv2.CC_STAT_HEIGHT]
    feet = things & (np.arange(len(things))[:, None] >= middles[labels])
    below = np.flatnonzero(things[-1])
    if len(below):  # where it stands lies below the border
        width = below[-1] - below[0] + 1
        feet[-1, max(below[0] - width, 0) : below[-1] + width] = True
    return np.asarray(feet), int(min(middles[1:], default=0))


def close_shadow_gaps(shadow: NDArray[np.bool_], free: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A shadow with what lies between it and what is not `free`, and a pixel more: soft edges would be taken for background."""
    if not rules.enabled("residual.gaps"):
        return dilate(shadow, 1)
    thing = cv2.erode((~free).astype(np.uint8), np.ones((2 * AROUND + 1, 2 * AROUND + 1), np.uint8))
    closed = cv2.morphologyEx(shadow | thing, cv2.MORPH_CLOSE, np.ones((BETWEEN, BETWEEN), np.uint8)) > 0
    whole = dilate(shadow, 1) | (closed & dilate(shadow, BETWEEN))
    _, labels, boxes, _ = cv2.connectedComponentsWithStats((~(whole | thing)).astype(np.uint8), connectivity=4)
    enclosed = boxes[:, cv2.CC_STAT_AREA] < BETWEEN**2
    enclosed[0] = False
    return np.asarray(whole | enclosed[labels], bool)
