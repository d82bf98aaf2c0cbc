"""What was found beside a hole, put to it: what lasts from moment to moment, with soft edges, and without slits between.

What must stay is spared.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.fill.flow_completion import dilate
from vidrase.frames import Hole, HoleFrame

ALIKE = 0.35  # of its neighbours' shadows: what lasts a frame only is none
MORE = 2.0  # times it: so much more than it that they say is another one's
RING = 3 / 480  # of the frame's height: a shadow's soft edge
SLIT = 5 / 480  # of the frame's height: half of what may be left between a thing and its shadow
KEPT = 4 / 480  # of the frame's height: what stays keeps its soft edge
HALF = 0.5  # of a patch that another moment has to show as shadow, or to hide


def confirmed_by_neighbours(
    shadow: NDArray[np.bool_] | None, beside: list[NDArray[np.bool_] | None]
) -> NDArray[np.bool_] | None:
    """The shadow of a moment where a neighbour has one about there, too, and what both neighbours say."""
    if shadow is None or not rules.enabled("residual.vote"):
        return shadow
    size, there = int(np.count_nonzero(shadow)), [other for other in beside if other is not None]
    if not any(np.count_nonzero(dilate(other, 2) & shadow) > ALIKE * size for other in there):
        return None
    both = there[0] & there[1] if len(there) == 2 else shadow
    return shadow | both if np.count_nonzero(both) < MORE * size else shadow


def static_shadow_vote(own: NDArray[np.bool_] | None, beside: list[NDArray[np.bool_]]) -> NDArray[np.bool_] | None:
    """A shadow that keeps its place: of its patches those that another moment shows or hides, and what all others say.

    own: bool [h, w]. beside: bool [h, w, 2], shadow and what is hidden, of each moment that has one, laid over this one.
    """
    if not beside:
        return None
    shadows = [both[..., 0] for both in beside]
    out = np.logical_and.reduce(shadows) if len(shadows) > 1 else np.zeros_like(shadows[0])
    if own is not None:
        count, labels = cv2.connectedComponents(own.astype(np.uint8))
        sizes = np.bincount(labels.ravel(), minlength=count)
        for both in beside:
            shared = np.bincount(labels[both.any(2)], minlength=count) >= HALF * sizes
            shared[0] = False
            out |= shared[labels]
    return np.asarray(out) if out.any() else None


def merge_residual(found: HoleFrame, shadows: list[NDArray[np.bool_]]) -> Hole | None:
    """The hole of `found` with the shadows, at full size; None: there are none."""
    hole = found.hole
    if hole is None or not shadows:
        return None
    core = np.zeros(hole.size, bool)
    for shadow in shadows:
        core |= resized(np.ascontiguousarray(found.frame.orientation.to_stored(shadow)), hole.size)
    full, area = hole.full_area(), dilate(core, max(round(RING * hole.size[0]), 2))
    area |= close_slits(full, area)
    if found.protected_hole is not None:
        stays = dilate(found.protected_hole.full_area(), max(round(KEPT * hole.size[0]), 2)) & ~full
        core, area = core & ~stays, area & ~stays
    return Hole.of(hole.full_core() | core, full | area) or hole


def close_slits(thing: NDArray[np.bool_], shadow: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """bool [h, w]: what is left between them, and in them: texture made from what shows there would be as dark."""
    reach = max(round(SLIT * len(thing)), 2)
    out, rows, columns = np.zeros_like(thing), np.flatnonzero(shadow.any(1)), np.flatnonzero(shadow.any(0))
    if len(rows):
        top, left = max(int(rows[0]) - 4 * reach, 0), max(int(columns[0]) - 4 * reach, 0)
        span = np.s_[top : int(rows[-1]) + 1 + 4 * reach, left : int(columns[-1]) + 1 + 4 * reach]
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        closed = cv2.morphologyEx((thing | shadow)[span].astype(np.uint8), cv2.MORPH_CLOSE, kernel)
        out[span] = (closed > 0) & dilate(shadow[span], 2 * reach)
    return out


def resized(mask: NDArray[np.bool_], size: tuple[int, ...]) -> NDArray[np.bool_]:
    """bool [h, w] of `size`, with smooth edges."""
    return cv2.resize(mask.astype(np.float32), (size[1], size[0]), interpolation=cv2.INTER_LINEAR) >= 0.5
