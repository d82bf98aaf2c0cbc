"""Static shadow: the shadow of an object that hardly moves, on even ground. No other frame shows the ground under it lit.

It is detected in a single frame: one even patch that starts at the object's base, is darker than nearly all ground around it, has
the ground's colour, and is surrounded by lit ground. On uneven ground (grass, stones) nothing is detected. Pixels that other
frames show far from objects are left out: they may be dark by themselves.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.fill.components import within
from vidrase.fill.flow_completion import dilate

# Evidence for residual.static: `rules.py`. Values of constants without a figure have no record yet.
BLUR_SIZE = 3  # px: box filter against grain
MIN_OBJECT_SHARE = 0.05  # of the largest object's area: smaller ones are ignored, they do not touch the ground
BASE_HEIGHT, SHADOW_HEIGHT = 0.75, 0.6
"""Of an object's height from its top: the base starts at the first, its shadow below the second."""
MAX_CUT_WIDTH = 0.3
"""Of its width: if more touches the lower border, the base lies outside the frame and the object is skipped."""
GROUND_DISTANCE = 0.12  # of its height: the ground is sampled between this distance from the base and three times it
MIN_GROUND_DISTANCE = 6  # px: smallest such distance
MIN_GROUND = 60  # px²: with less ground nothing is detected
MAX_UNEVENNESS = 0.12
"""Largest unevenness of the ground: its 0.9 quantile above its median, as a share of the median. Sand, a street and snow had .04
to .1, a meadow .16 to .18."""
MAX_SHARE, UNEVENNESS_FACTOR = 0.82, 2.5
"""Highest share of the ground's luma in a shadow: the lower of the first, and 1 - the second times the unevenness."""
MAX_TINT = 0.2  # largest difference of that share between red, green and blue
SHADOW_REACH = 0.8  # of the object's longer side: how far its shadow may extend beside and below it
TOUCHING = 5  # px: a patch this near to an object touches it
MIN_AREA = 8  # px²: smallest shadow
MAX_AREA = 1.0  # times the object's area: largest shadow
RIM_INNER, RIM_OUTER = 3, 7
"""Px: distances between which the rim of a patch lies; it must be lit for the patch to have an end."""
MAX_DARK_RIM = 0.2  # share of the rim that may be dark
MAX_PATTERN = 0.35  # of its median luma: a patch whose 0.1 to 0.9 quantiles differ by more is patterned, no shadow


Objects = tuple[NDArray[np.int32], NDArray[np.int32]]
"""Labels [h, w] of the objects, 0: none; and for each label left, top, width, height, area, as OpenCV gives them."""


def objects_of(hidden: NDArray[np.bool_]) -> Objects:
    """The connected components of `hidden`, bool [h, w]."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(hidden.view(np.uint8))
    return labels, stats


def detect_static_shadow(
    rgb: NDArray[np.uint8],
    hidden: NDArray[np.bool_],
    has_evidence: NDArray[np.bool_],
    protected: NDArray[np.bool_] | None = None,
    objects: Objects | None = None,
) -> NDArray[np.bool_] | None:
    """bool [h, w]: static shadows of the objects in `hidden`, bool [h, w]; None: none.

    rgb: uint8 [h, w, 3], long side about 480 px. has_evidence: bool [h, w] pixels that other frames show, and scenery: left out.
    protected: bool [h, w] protected objects: a patch that touches one is its shadow. objects: those of `hidden`, if known.
    """
    near_protected = dilate(protected, TOUCHING) if protected is not None else np.zeros_like(hidden)
    colour = cv2.blur(rgb, (BLUR_SIZE, BLUR_SIZE))
    out = np.zeros_like(hidden)
    labels, stats = objects or objects_of(hidden)
    largest = stats[1:, cv2.CC_STAT_AREA].max(initial=0)
    for label in range(1, len(stats)):
        left, top, width, height, size = stats[label].tolist()
        cut_off = top + height == len(hidden) and np.count_nonzero(labels[-1] == label) > MAX_CUT_WIDTH * width
        if size < MIN_OBJECT_SHARE * largest or cut_off:
            continue
        first_row, reach = top + round(SHADOW_HEIGHT * height), int(SHADOW_REACH * max(width, height))
        window = np.s_[first_row : top + height + reach, max(left - reach, 0) : left + width + reach]
        base = labels[window] == label
        base[: top + round(BASE_HEIGHT * height) - first_row] = False
        out[window] |= _shadow_of_object(
            colour[window], base, hidden[window], has_evidence[window], near_protected[window], height, size
        )
    return out if out.any() else None


def _shadow_of_object(
    colour: NDArray[np.uint8],
    base: NDArray[np.bool_],
    hidden: NDArray[np.bool_],
    has_evidence: NDArray[np.bool_],
    protected: NDArray[np.bool_],
    height: int,
    size: int,
) -> NDArray[np.bool_]:
    """bool [h, w]: the shadow that starts at the base of one object. height, size: its height in px and area in px²."""
    out, luma = np.zeros_like(base), cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)
    reach = max(round(GROUND_DISTANCE * height), MIN_GROUND_DISTANCE)
    near, surroundings = within(base, reach, 3 * reach)
    ground = surroundings & ~near & ~dilate(hidden, RIM_INNER)
    if np.count_nonzero(ground) < MIN_GROUND:
        return out
    ground_luma, bright = quantiles(luma[ground], 0.5, 0.9)
    unevenness = (bright - ground_luma) / max(ground_luma, 1.0)
    if unevenness > MAX_UNEVENNESS:
        return out
    limit = min(MAX_SHARE, 1 - UNEVENNESS_FACTOR * unevenness) * ground_luma
    dark = (luma < limit) & ~hidden & ~has_evidence
    shares = colour[dark] / np.maximum(median_colour(colour, ground), 1)
    dark[dark] = shares.max(1, initial=0) - shares.min(1, initial=np.inf) < MAX_TINT
    opened = cv2.morphologyEx(dark.view(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(opened)
    for label in np.setdiff1d(labels[within(base, TOUCHING)[0]], [0, *np.unique(labels[protected])]).tolist():
        left, top, width, rows, area = stats[label].tolist()
        at_border = 0 in (top, left) or top + rows == len(dark) or left + width == dark.shape[1]
        if at_border or not MIN_AREA <= area <= MAX_AREA * size:
            continue
        box = np.s_[
            max(top - RIM_OUTER, 0) : top + rows + RIM_OUTER, max(left - RIM_OUTER, 0) : left + width + RIM_OUTER
        ]
        patch = labels[box] == label
        rim = dilate(patch, RIM_OUTER) & ~dilate(patch, RIM_INNER) & ~hidden[box]
        low, middle, high = quantiles(luma[box][patch], 0.1, 0.5, 0.9)
        even = high - low < MAX_PATTERN * middle
        has_end = not rim.any() or quantiles(luma[box][rim], MAX_DARK_RIM)[0] >= limit
        # a patch that rises beside an object is a wall
        on_ground = box[0].start + np.median(np.nonzero(patch)[0]) >= round((BASE_HEIGHT - SHADOW_HEIGHT) * height)
        if even and has_end and on_ground:
            out[box] |= patch
    return out


def quantiles(values: NDArray[np.uint8], *shares: float) -> list[int]:
    """The quantiles of `values`, uint8 [N], one for each of the `shares` in [0, 1]; N > 0."""
    below = np.cumsum(np.bincount(values, minlength=256))
    return [int(np.searchsorted(below, share * (len(values) - 1), side="right")) for share in shares]


def median_colour(rgb: NDArray[np.uint8], where: NDArray[np.bool_]) -> NDArray[np.float64]:
    """float64 [3]: the median of each channel of `rgb`, uint8 [h, w, 3], over the pixels `where`, bool [h, w]; not empty."""
    return np.array([quantiles(channel[where], 0.5)[0] for channel in cv2.split(rgb)], np.float64)
