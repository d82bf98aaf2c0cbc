"""Past and future brought to agree: chains drift a little, and what both sides show of a point tells how far they drifted apart.

The hidden picture is painted twice, once from each side. Flow between the two paintings is the sum of both drifts; each
side is moved by its share, which grows with the length of its chain.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.fill.links import calmed
from vidrase.fill.moment import Moment, Origins
from vidrase.fill.sampling import at
from vidrase.flow import FlowModel

MARGIN = 16  # px of known surroundings painted along: they hold the flow to zero at the rim
LARGEST = 4.0  # px: drifts beyond are other things seen, not the same thing moved
SMOOTH = 1.5  # px


def painted(origins: Origins, moments: Mapping[int, Moment], onto: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`onto` uint8 [h, w], the box of `origins`, with the luma that they promise, on the working grid."""
    rows, columns = np.nonzero(origins.source >= 0)
    source = origins.source[rows, columns]
    x = (columns + origins.box.left + origins.dx[rows, columns]).astype(np.float32)
    y = (rows + origins.box.top + origins.dy[rows, columns]).astype(np.float32)
    values = np.zeros(len(rows), np.uint8)
    order = np.argsort(source, kind="stable")
    numbers, starts = np.unique(source[order], return_index=True)
    for number, chosen in zip(numbers.tolist(), np.split(order, starts[1:]), strict=True):
        # linear: bicubic taps would reach into that picture's hole
        values[chosen] = at(moments[number].luma, x[chosen], y[chosen])
    out = onto.copy()
    out[rows, columns] = values
    return out


def reconcile(past: Origins, future: Origins, here: Moment, moments: Mapping[int, Moment], flow: FlowModel) -> None:
    """Move both so that they show the same, where both show something."""
    assert here.wanted is not None
    both = (past.source >= 0) & (future.source >= 0)
    hidden = here.wanted[past.box.span]
    if both.sum() < 64:
        return
    wide = past.box.wider(MARGIN, here.luma.shape)
    inner = np.s_[past.box.top - wide.top :, past.box.left - wide.left :]
    inner = np.s_[inner[0].start : inner[0].start + both.shape[0], inner[1].start : inner[1].start + both.shape[1]]
    # what neither shows must not show what is to go
    lacking = here.blocked is not None and (here.blocked[past.box.span] & (past.source < 0) & (future.source < 0)).any()
    ground = calmed(here) if lacking else here.luma
    pictures = []
    for one, other in ((past, future), (future, past)):
        # where only one side shows something, both paintings show that: no difference, no drift
        canvas = ground[wide.span].copy()
        crop = painted(other, moments, canvas[inner])
        canvas[inner] = painted(one, moments, crop)
        pictures.append(canvas)
    apart = flow(pictures[0][None], pictures[1][None])[0][inner]
    apart = cv2.GaussianBlur(apart, (0, 0), SMOOTH)
    size = np.hypot(apart[..., 0], apart[..., 1])
    apart *= (np.clip(2 - size / LARGEST, 0, 1) * (both & hidden))[..., None]
    share = past.cost / np.maximum(past.cost + future.cost, 1e-6)
    _move(past, -share[..., None] * apart, moments)
    _move(future, (1 - share)[..., None] * apart, moments)


def _move(origins: Origins, by: NDArray[np.float32], moments: Mapping[int, Moment]) -> None:
    """Take the origins `by` [h, w, 2] px further, but never into a hole."""
    rows, columns = np.nonzero((origins.source >= 0) & by.any(2))
    source = origins.source[rows, columns]
    dx, dy = origins.dx[rows, columns] + by[rows, columns, 0], origins.dy[rows, columns] + by[rows, columns, 1]
    free = np.zeros(len(rows), bool)
    x, y = columns + origins.box.left + dx, rows + origins.box.top + dy
    for number in np.unique(source).tolist():
        chosen = source == number
        free[chosen] = moments[number].takes_from(x[chosen], y[chosen])
    origins.dx[rows[free], columns[free]] = dx[free]
    origins.dy[rows[free], columns[free]] = dy[free]
