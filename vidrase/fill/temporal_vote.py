"""Temporal vote on residuals, and their union with the hole: with soft edges, without slits, and outside protected objects."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.fill.flow_completion import dilate
from vidrase.frames import Hole, HoleFrame

# Evidence for residual.vote: `rules.py`. Values of constants without a figure have no record yet.
MIN_CONFIRMED = 0.35
"""Of a shadow's area that a neighbour must confirm; otherwise it is dropped, it lasts one frame only."""
MAX_NEIGHBOUR_AREA = 2.0
"""Times a shadow's area: if both neighbours agree on as much or more, ignore them (another object's shadow)."""
EDGE_WIDTH = 3 / 480  # of the frame's height: width of a shadow's soft edge
SLIT_RADIUS = 5 / 480  # of the frame's height: half the width of a slit between object and shadow that is closed
PROTECT_MARGIN = 4 / 480  # of the frame's height: margin around protected objects, their soft edge
MIN_PATCH_SHARE = 0.5  # of a patch: a neighbour must show at least this share as shadow, or occlude it


def confirmed_by_neighbours(
    shadow: NDArray[np.bool_] | None, neighbours: list[NDArray[np.bool_] | None]
) -> NDArray[np.bool_] | None:
    """bool [h, w]: `shadow`, united with the intersection of both neighbours'; None when no neighbour confirms it.

    neighbours: the shadows of the frames before and after; None: none found.
    """
    if shadow is None or not rules.enabled("residual.vote"):
        return shadow
    size, others = int(np.count_nonzero(shadow)), [other for other in neighbours if other is not None]
    if not any(np.count_nonzero(dilate(other, 2) & shadow) > MIN_CONFIRMED * size for other in others):
        return None
    both = others[0] & others[1] if len(others) == 2 else shadow
    return shadow | both if np.count_nonzero(both) < MAX_NEIGHBOUR_AREA * size else shadow


def static_shadow_vote(own: NDArray[np.bool_] | None, neighbours: list[NDArray[np.bool_]]) -> NDArray[np.bool_] | None:
    """bool [h, w]: the patches of a static shadow that a neighbour shows or occludes, and the intersection of both neighbours'.

    own: bool [h, w]; None: none found. neighbours: bool [h, w, 2] each, static shadow and hole of a frame with a static shadow,
    registered to this one. Returns None when no pixel is left.
    """
    if not neighbours:
        return None
    shadows = [neighbour[..., 0] for neighbour in neighbours]
    out = np.logical_and.reduce(shadows) if len(shadows) > 1 else np.zeros_like(shadows[0])
    if own is not None:
        count, labels = cv2.connectedComponents(own.astype(np.uint8))
        inside = np.nonzero(own)
        numbers = labels[inside]
        sizes = np.bincount(numbers, minlength=count)
        for neighbour in neighbours:
            confirming = neighbour[inside].any(1)
            confirmed = np.bincount(numbers[confirming], minlength=count) >= MIN_PATCH_SHARE * sizes
            out[inside] |= confirmed[numbers]
    return np.asarray(out) if out.any() else None


def merge_residual(hole_frame: HoleFrame, residuals: list[NDArray[np.bool_]]) -> Hole | None:
    """The hole of a frame united with `residuals`, bool [h, w] each, any size, as displayed; None: no hole or no residuals."""
    hole = hole_frame.hole
    if hole is None or not residuals:
        return None
    core = np.zeros(hole.size, bool)
    for residual in residuals:
        core |= resized(np.ascontiguousarray(hole_frame.frame.orientation.to_stored(residual)), hole.size)
    rows, columns = np.flatnonzero(core.any(1)), np.flatnonzero(core.any(0))
    if not len(rows):
        return hole
    edge, full, area = max(round(EDGE_WIDTH * hole.size[0]), 2), hole.full_area(), core.copy()
    span = tuple(slice(max(int(line[0]) - edge, 0), int(line[-1]) + 1 + edge) for line in (rows, columns))
    area[span] = dilate(core[span], edge)
    area |= close_slits(full, area)
    if hole_frame.protected_hole is not None:
        protected = dilate(hole_frame.protected_hole.full_area(), max(round(PROTECT_MARGIN * hole.size[0]), 2)) & ~full
        core, area = core & ~protected, area & ~protected
    return Hole.of(hole.full_core() | core, full | area) or hole


def close_slits(object_mask: NDArray[np.bool_], shadow: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """bool [h, w]: slits between an object and its shadow, and in them. Texture synthesised from such slits would be dark."""
    reach = max(round(SLIT_RADIUS * len(object_mask)), 2)
    out, rows, columns = np.zeros_like(object_mask), np.flatnonzero(shadow.any(1)), np.flatnonzero(shadow.any(0))
    if len(rows):
        top, left = max(int(rows[0]) - 4 * reach, 0), max(int(columns[0]) - 4 * reach, 0)
        span = np.s_[top : int(rows[-1]) + 1 + 4 * reach, left : int(columns[-1]) + 1 + 4 * reach]
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        closed = cv2.morphologyEx((object_mask | shadow)[span].astype(np.uint8), cv2.MORPH_CLOSE, kernel)
        out[span] = (closed > 0) & dilate(shadow[span], 2 * reach)
    return out


def resized(mask: NDArray[np.bool_], size: tuple[int, ...]) -> NDArray[np.bool_]:
    """`mask` resized to bool [h, w] of `size`, with smooth edges."""
    bytes_ = mask.view(np.uint8) * np.uint8(255)
    return cv2.resize(bytes_, (size[1], size[0]), interpolation=cv2.INTER_LINEAR) > 127
