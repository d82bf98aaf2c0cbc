"""Cast shadow detection in one reduced frame, against the background bounds.

A shadow scales the lit background by a share below one, about the same in red, green and blue, and it begins at the base of its
object. The lit background is known only where the shadow has moved. From there the shadow is extended, by the template of the
frame before, to pixels that are as dark and that no other frame shows lit.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.fill.background_bounds import BackgroundBounds, luma_of
from vidrase.fill.components import touching
from vidrase.fill.flow_completion import dilate

# Evidence for residual.cast, residual.depth, residual.gaps: `rules.py`. Values of constants without a figure have no record yet.
HOLE_MARGIN = 2
"""Px of the reduced frame: margin around a hole that is not classified; the object's edge is blurred into it."""
MIN_SHARE, MAX_SHARE = 0.12, 0.87  # share of the lit value in the core of a shadow, lower and upper limit
EDGE_SHARE, EDGE_GAP = 0.94, 5.0  # soft edge: highest share of the lit value, and smallest difference in grey levels
GAP_WIDTH = 9  # px of the reduced frame: gaps between a shadow and its object up to this width are closed
NO_BASE_SHARE = 0.5  # share of an object's height, from the top, at which no shadow begins
SOFT_LUMA_SHARE, LUMA_QUANTILE = 0.66, 0.3
"""Share of the lit value, and quantile of the shadow's luma at which it is measured: a shadow above it is soft.

A shadow that is not soft may be extended by its darkness alone.
"""
SOFT_SHARE = 0.8
"""Share of the lit value, pixel by pixel, at the median: a shadow above it is soft. True shadows left .3 to .77, cushions that
are moved on a bed .83 and more.
"""
MAX_SOFT_AREA = 0.15
"""Of the hole's area: a larger soft shadow is rejected. True ones had .03 to .12; stones and sheets that move .24 and more."""
DEPTH_QUANTILE = 0.1  # quantile of the share of the lit value that measures the depth of a shadow
CORE_DEPTH, EDGE_DEPTH = 0.35, 0.12
"""Shares of its depth (1 - share of the lit value) that a shadow has at least in its core, and at its soft edge."""
EDGE_WIDTH = 8  # px of the reduced frame: largest width of the soft edge
MAX_TINT = 0.14  # largest difference of the share of the lit value between red, green and blue
MIN_GAP = 10.0  # grey levels below the lit value, at least, in the core
MAX_SPREAD = 0.6  # of the difference to the lit value: a pixel whose lit value spreads by more is ignored
MIN_AREA = 0.02  # of the hole's area: less is an error at the rim
MAX_AREA = 1.5  # times the hole's area: more is no shadow
MAX_RESHAPE = 0.6
"""Absolute logarithm of a change: if the aspect ratio changes by more, the template is not scaled; if the height does too, it is
not used at all.
"""
CONFIRMED_SHARE = 0.15
"""Of the expected area: if detection confirms this share, the rest of the expected shadow is taken as well."""
LIMIT_DECAY = 0.97  # factor per frame below which the luma limit of a shadow may not fall
BRIDGE = 5  # px of the reduced frame: an expected shadow may be interrupted by less (bright stones)
MAX_TEMPLATE_SIZE = 3.0
"""Times the area that other frames have shown lit: a larger template takes in only what they show. Without it the template grows
by the position error from frame to frame: in 18 shadow cases of 36 frames .65 of the object's area was removed for nothing, .51
at 3.0 and .44 at 1.5, where hike loses most of its shadow in five frames (recall .737, .754, .741)."""
PROVEN_DECAY = 0.97  # factor per frame of that area
POSITION_ERROR = 3  # px of the reduced frame: position error of the template from frame to frame


@dataclass(frozen=True, slots=True, eq=False)
class ShadowTemplate:
    """The shadow of one frame, as template for the next frames."""

    area: NDArray[np.bool_]
    """[h, w] the hole with its margin."""
    core: NDArray[np.bool_]
    """[h, w] the shadow without its soft edge: with the edge it would grow from frame to frame."""
    dark: float
    """Luma limit, grey levels: the shadow is darker."""
    proven: float = 0.0
    """px²: area that other frames have shown lit, the largest so far, a little less with each frame."""

    @classmethod
    def of(
        cls,
        area: NDArray[np.bool_],
        region: tuple[slice, slice],
        detected: CastShadow,
        expected: ExpectedShadow | None,
    ) -> ShadowTemplate:
        """The template of a frame in which the object fills `area`, from the shadow found in its `region` (rows, columns)."""
        core, proven = np.zeros(area.shape, bool), float(np.count_nonzero(detected.proven))
        core[region] = detected.core
        if expected is not None:
            proven = max(proven, PROVEN_DECAY * expected.proven)
            if np.count_nonzero(core) > MAX_TEMPLATE_SIZE * proven:
                core[region] &= detected.proven | expected.placed
            core |= expected.under
        return cls(area, core, detected.dark, proven)

    def on(self, area: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
        """List of bool [h, w]: where the shadow may lie when the object fills `area`, bool [h, w].

        Two hypotheses. First the template scaled by the object's height and aligned at its base, unless the aspect ratio has
        changed: then another object came or went. Second the template at its size, aligned at the object's top: the mask of
        an object may end in its shadow.
        """
        if not area.any():
            return []
        (top, bottom, left, right), (to_top, to_bottom, to_left, to_right) = _extent(self.area), _extent(area)
        scale = (to_bottom - to_top + 1) / (bottom - top + 1)
        center = (to_left + to_right) / 2
        placements = [(1.0, center - (left + right) / 2, float(to_top - top))]
        if abs(np.log(scale / ((to_right - to_left + 1) / (right - left + 1)))) < MAX_RESHAPE:
            placements.insert(0, (scale, center - scale * (left + right) / 2, to_bottom - scale * bottom))
        elif abs(np.log(scale)) > MAX_RESHAPE:
            return []
        shadow = self.core.astype(np.uint8)
        return [
            cv2.warpAffine(shadow, np.array([[s, 0, x], [0, s, y]]), area.shape[::-1]) > 0 for s, x, y in placements
        ]

    def expected(
        self,
        area: NDArray[np.bool_],
        region: tuple[slice, slice],
        luma: NDArray[np.float32],
        has_evidence: NDArray[np.bool_],
    ) -> ExpectedShadow | None:
        """The shadow expected in `region` (rows, columns) when the object fills `area`; None: no pixel there is dark enough.

        luma: float32 [h, w] grey levels of the region. has_evidence: bool [h, w] pixels that other frames show far from objects:
        they are left to detection.
        """
        visible = ~area[region]
        dark_enough = visible & ~has_evidence & (luma < self.dark)
        base = dilate(shadow_base(~visible)[0], GAP_WIDTH)
        best: ExpectedShadow | None = None
        for placed in self.on(area):
            on = dilate(placed[region], POSITION_ERROR)
            core = dark_enough & on
            bridged = cv2.morphologyEx(core.view(np.uint8), cv2.MORPH_CLOSE, np.ones((BRIDGE, BRIDGE), np.uint8))
            core &= touching(bridged > 0, base)
            if core.any() and (best is None or np.count_nonzero(core) > np.count_nonzero(best.core)):
                best = ExpectedShadow(core, placed[region], placed & area, self.dark, self.proven)
        return best


@dataclass(frozen=True, slots=True, eq=False)
class ExpectedShadow:
    """The shadow that the template of an earlier frame predicts."""

    core: NDArray[np.bool_]
    """[h, w] of the search region."""
    placed: NDArray[np.bool_]
    """[h, w] of the search region: the template as it was placed; `core` reaches `POSITION_ERROR` beyond it."""
    under: NDArray[np.bool_]
    """[h, w] of the reduced frame: the part of the shadow that the object occludes."""
    dark: float
    """Luma limit, grey levels: the shadow is darker."""
    proven: float
    """px²: as of the template."""


def _extent(area: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """(first row, last row, first column, last column) of `area`."""
    rows, columns = np.flatnonzero(area.any(1)), np.flatnonzero(area.any(0))
    return int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])


@dataclass(frozen=True, slots=True, eq=False)
class CastShadow:
    """A detected cast shadow."""

    core: NDArray[np.bool_]
    """[h, w] the shadow without its soft edge."""
    proven: NDArray[np.bool_]
    """[h, w] the part of it that other frames show lit; the rest was expected."""
    dark: float
    """Luma limit, grey levels; 0: the shadow is too soft for one, it makes no template."""


def detect_cast_shadow(
    rgb: NDArray[np.float32],
    visible: NDArray[np.bool_],
    bounds: BackgroundBounds,
    expected: ExpectedShadow | None = None,
) -> CastShadow | None:
    """The cast shadow connected to the object; None when there is none.

    rgb: float32 [h, w, 3] the region in this frame, grey levels. visible: bool [h, w] outside the hole and its margin.
    expected: the shadow predicted from an earlier frame.
    """
    red, green, blue = cv2.split(rgb / np.maximum(bounds.rgb, 1))
    mean = (red + green + blue) / 3
    tint = cv2.max(cv2.max(red, green), blue) - cv2.min(cv2.min(red, green), blue)
    gap = luma_of(bounds.rgb) - luma_of(rgb)
    candidate = bounds.known & visible & (mean > MIN_SHARE) & (tint < MAX_TINT) & (bounds.spread < MAX_SPREAD * gap)
    base, middle_row = shadow_base(~visible)
    candidate[:middle_row] = False
    expected_core = np.zeros_like(visible) if expected is None else expected.core
    seeds = dilate(base, 2) | expected_core
    dark = _hysteresis(candidate & (gap > EDGE_GAP), candidate & (gap > MIN_GAP), mean, MAX_SHARE, EDGE_SHARE, seeds)
    if dark.any() and rules.enabled("residual.depth"):
        # next to a deep shadow, ground that is only a little darker than its lit value does not belong to it
        depth = 1 - float(np.quantile(mean[dark], DEPTH_QUANTILE))
        edges = min(MAX_SHARE, 1 - CORE_DEPTH * depth), min(EDGE_SHARE, 1 - EDGE_DEPTH * depth)
        dark = _hysteresis(dark, dark, mean, *edges, seeds)
    start, minimum_area = dark, float(MIN_AREA * np.count_nonzero(~visible))
    # detection confirms the expected shadow
    if expected_core.any() and np.count_nonzero(dark) >= CONFIRMED_SHARE * np.count_nonzero(expected_core):
        start, minimum_area = dark | expected_core, 1.0
    if not minimum_area <= np.count_nonzero(start) <= MAX_AREA * np.count_nonzero(~visible):
        return None
    level, lit_luma = (
        float(np.quantile(luma_of(rgb)[start], LUMA_QUANTILE)),
        float(np.median(luma_of(bounds.rgb)[dark])),
    )
    # a soft shadow gets no luma limit: other parts of the picture are as dark
    if level > SOFT_LUMA_SHARE * lit_luma or float(np.median(mean[dark])) > SOFT_SHARE:
        return (
            CastShadow(dark, dark, 0.0)
            if np.count_nonzero(dark) <= MAX_SOFT_AREA * np.count_nonzero(~visible)
            else None
        )
    # the expected shadow is only the darkest part: keep its limit from falling
    limit = max((level + lit_luma) / 2, 0.0 if expected is None else LIMIT_DECAY * expected.dark)
    return CastShadow(start, dark, limit)


def _hysteresis(
    dark: NDArray[np.bool_],
    core: NDArray[np.bool_],
    share: NDArray[np.float32],
    middle: float,
    edge: float,
    seeds: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """bool [h, w]: hysteresis threshold of the share of the lit value, restricted to components that touch `seeds`.

    Weak pixels: `dark` with a share below `edge`, near strong ones. Strong pixels: `core` with a share below `middle`.
    """
    core = core & (share < middle)
    if not core.any():
        return core
    near = dark & (share < edge) & dilate(core, EDGE_WIDTH)
    return touching(cv2.morphologyEx(near.view(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0, seeds, core)


def shadow_base(objects: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], int]:
    """(bool [h, w] lower part of each of the `objects`, where shadows begin; the row of the highest object's middle).

    Shadows begin at the base and fall on the ground: a dark pixel beside a head is no shadow but motion.
    """
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(objects.astype(np.uint8))
    middles = boxes[:, cv2.CC_STAT_TOP] + NO_BASE_SHARE * boxes[:, cv2.CC_STAT_HEIGHT]
    base = objects & (np.arange(len(objects))[:, None] >= middles[labels])
    bottom_columns = np.flatnonzero(objects[-1])
    if len(bottom_columns):  # an object cut by the lower border stands below it
        width = bottom_columns[-1] - bottom_columns[0] + 1
        base[-1, max(bottom_columns[0] - width, 0) : bottom_columns[-1] + width] = True
    return np.asarray(base), int(min(middles[1:], default=0))


def close_shadow_gaps(shadow: NDArray[np.bool_], visible: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """bool [h, w]: `shadow` grown by a pixel, and the gaps between it and the object closed.

    Soft edges left in the gaps would be used as background.
    """
    if not rules.enabled("residual.gaps"):
        return dilate(shadow, 1)
    object_mask = cv2.erode((~visible).astype(np.uint8), np.ones((2 * HOLE_MARGIN + 1, 2 * HOLE_MARGIN + 1), np.uint8))
    closed = cv2.morphologyEx(shadow | object_mask, cv2.MORPH_CLOSE, np.ones((GAP_WIDTH, GAP_WIDTH), np.uint8)) > 0
    filled = dilate(shadow, 1) | (closed & dilate(shadow, GAP_WIDTH))
    _, labels, boxes, _ = cv2.connectedComponentsWithStats((~(filled | object_mask)).astype(np.uint8), connectivity=4)
    enclosed = boxes[:, cv2.CC_STAT_AREA] < GAP_WIDTH**2
    enclosed[0] = False
    return np.asarray(filled | enclosed[labels], bool)
