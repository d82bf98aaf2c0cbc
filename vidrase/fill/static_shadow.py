"""The shadow of a thing that hardly moves from its place, on even ground: no other moment shows the ground under it in the light.

It is told by one picture: one even patch, darker than nearly all of the ground around, of the same colours, with light ground all
round it, and it begins at a foot. On grass or stones nothing is told so; nor is what other moments show to be dark by itself.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.fill.flow_completion import dilate

SMOOTH = 3  # px over which grain is averaged
SPECK = 0.05  # of the largest thing: what is smaller stands nowhere
FEET, LIES = 0.75, 0.6  # of a thing's height: below that it stands on the ground, and its shadow lies
BELOW = 0.3  # of its width that touches the lower border: where it stands lies below that
REACH = 0.12  # of its height: how far from its feet the ground is looked at
LEAST_REACH = 6  # px
LEAST_GROUND = 60  # px
EVEN = 0.12
"""How far the lightest tenth of the ground may be above its median, as a share of that: sand, a street and snow had .04 to .1, a
meadow .16 to .18."""
DARK, CLEAR = 0.82, 2.5
"""Share of the ground's light that a shadow leaves at most: the first, or 1 less so many times how uneven the ground is."""
TINT = 0.2  # largest difference between that share of red, green and blue
FAR = 0.8  # of the thing's longer side: how far it may reach beside and below it
TOUCHING = 5  # px
LEAST = 8  # px
MOST = 1.0  # times the thing
INNER, OUTER = 3, 7  # px: between them lies the rim by which it is judged whether the dark has an end
OPEN = 0.2  # share of it that may be dark
PLAIN = 0.35  # what is within it may differ by so much of its median: more is a thing with a pattern


def detect_static_shadow(
    rgb: NDArray[np.uint8],
    hidden: NDArray[np.bool_],
    judged: NDArray[np.bool_],
    others: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_] | None:
    """bool [h, w]: the shadows of what is `hidden`, bool [h, w]; None: none of this kind.

    rgb: uint8 [h, w, 3], some 480 px wide. judged: bool [h, w] where other moments tell whether it is dark by itself.
    others: bool [h, w] things that stay: what begins at one of them is its own.
    """
    near = dilate(others, TOUCHING) if others is not None else np.zeros_like(hidden)
    colour = cv2.blur(rgb, (SMOOTH, SMOOTH))
    out = np.zeros_like(hidden)
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(hidden.astype(np.uint8))
    largest = boxes[1:, cv2.CC_STAT_AREA].max(initial=0)
    for label in range(1, len(boxes)):
        left, top, width, height, size = boxes[label].tolist()
        below = top + height == len(hidden) and np.count_nonzero(labels[-1] == label) > BELOW * width
        if size < SPECK * largest or below:
            continue
        first, far = top + round(LIES * height), int(FAR * max(width, height))
        at = np.s_[first : top + height + far, max(left - far, 0) : left + width + far]
        feet = labels[at] == label
        feet[: top + round(FEET * height) - first] = False
        out[at] |= _of_one(colour[at], feet, hidden[at], judged[at], near[at], height, size)
    return out if out.any() else None


def _of_one(
    colour: NDArray[np.uint8],
    feet: NDArray[np.bool_],
    hidden: NDArray[np.bool_],
    judged: NDArray[np.bool_],
    others: NDArray[np.bool_],
    height: int,
    size: int,
) -> NDArray[np.bool_]:
    """bool [h, w]: the shadow of one thing, which begins at its `feet`. height, size: px and px² of the whole thing."""
    out, luma = np.zeros_like(feet), cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)
    reach = max(round(REACH * height), LEAST_REACH)
    ground = dilate(feet, 3 * reach) & ~dilate(feet, reach) & ~dilate(hidden, INNER)
    if np.count_nonzero(ground) < LEAST_GROUND:
        return out
    light = float(np.median(luma[ground]))
    uneven = (float(np.quantile(luma[ground], 0.9)) - light) / max(light, 1.0)
    if uneven > EVEN:
        return out
    below = min(DARK, 1 - CLEAR * uneven) * light
    shares = colour / np.maximum(np.median(colour[ground], axis=0), 1)
    dark = (luma < below) & (shares.max(2) - shares.min(2) < TINT) & ~hidden & ~judged
    dark = cv2.morphologyEx(dark.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, labels = cv2.connectedComponents(dark)
    for label in np.setdiff1d(labels[dilate(feet, TOUCHING)], [0, *np.unique(labels[others])]).tolist():
        patch = labels == label
        rim = dilate(patch, OUTER) & ~dilate(patch, INNER) & ~hidden
        low, middle, high = np.quantile(luma[patch], (0.1, 0.5, 0.9))
        plain = high - low < PLAIN * middle
        cut = patch[0].any() or patch[-1].any() or patch[:, 0].any() or patch[:, -1].any()
        ends = not cut and (not rim.any() or np.quantile(luma[rim], OPEN) >= below)
        lies = np.median(np.nonzero(patch)[0]) >= round((FEET - LIES) * height)  # what rises beside a thing is a wall
        if plain and ends and lies and LEAST <= np.count_nonzero(patch) <= MOST * size:
            out |= patch
    return out
