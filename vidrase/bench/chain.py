"""A naive flow chain: the least that any flow-based remover does, as the yardstick for ours.

DIS flow between neighbours; flow inside the dilated hole is thrown away and closed by a smooth surface; each hole pixel follows
it forward and backward to the first visible pixel; the nearer of both is copied. No camera model, plate, blending or shot
analysis. Pixels that are never visible: Telea, per frame.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.bench.case import Mask, Rgb
from vidrase.bench.evaluation import dis_flow

Flow = NDArray[np.float32]


class NaiveChain:
    """The chain with flow masks dilated by `dilate` px (at 240p; the hole itself is not dilated)."""

    stills = False
    videos = True

    def __init__(self, dilate: int) -> None:
        self.name = f"naive chain {dilate} px"
        self._dilate = dilate
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def complete(self, shown: Sequence[Rgb], holes: Sequence[Mask]) -> list[Rgb]:
        """See `Peer.complete`."""
        grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in shown]
        # a hole full of noise drags the patches beside it along: a flat colour does so less
        calm = [cv2.inpaint(g, h.astype(np.uint8), 3, cv2.INPAINT_NS) for g, h in zip(grey, holes, strict=True)]
        pairs = range(len(shown) - 1)
        ahead = [self._flow(calm[t], calm[t + 1], holes[t], holes[t + 1]) for t in pairs]
        back = [self._flow(calm[t + 1], calm[t], holes[t + 1], holes[t]) for t in pairs]
        return [self._fill(t, shown, holes, ahead, back) for t in range(len(shown))]

    def _flow(self, a: NDArray, b: NDArray, hole_a: Mask, hole_b: Mask) -> Flow:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * self._dilate + 1,) * 2)
        bad = cv2.dilate((hole_a | hole_b).astype(np.uint8), kernel) > 0
        return _closed(dis_flow(self._dis, a, b), bad)

    def _fill(
        self, t: int, shown: Sequence[Rgb], holes: Sequence[Mask], ahead: Sequence[Flow], back: Sequence[Flow]
    ) -> Rgb:
        rows, columns = np.nonzero(holes[t])
        picture = shown[t].copy()
        if not len(rows):
            return picture
        best, colours = np.full(len(rows), 1 << 30), np.zeros((len(rows), 3), np.uint8)
        for step in (1, -1):
            xy = np.stack([columns, rows], 1).astype(np.float32)
            alive = np.arange(len(rows))
            now = t
            while 0 <= now + step < len(shown) and len(alive):
                xy = xy + _at(ahead[now] if step > 0 else back[now - 1], xy)
                now += step
                height, width = holes[now].shape
                inside = (xy >= 0).all(1) & (xy[:, 0] <= width - 1) & (xy[:, 1] <= height - 1)
                alive, xy = alive[inside], xy[inside]
                if not len(alive):
                    break
                seen = _at(holes[now].astype(np.float32), xy)[:, 0] == 0
                closer = seen & (abs(now - t) < best[alive])
                colours[alive[closer]] = np.rint(_at(shown[now], xy[closer])).astype(np.uint8)
                best[alive[closer]] = abs(now - t)
                alive, xy = alive[~seen], xy[~seen]
        found = best < 1 << 30
        picture[rows[found], columns[found]] = colours[found]
        missing = np.zeros(holes[t].shape, np.uint8)
        missing[rows[~found], columns[~found]] = 1
        return cv2.inpaint(picture, missing, 3, cv2.INPAINT_TELEA).astype(np.uint8) if missing.any() else picture


def _at(image: NDArray, xy: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bilinear samples float32 [N, C] of `image` [H, W(, C)] at points [N, 2] (x, y)."""
    if not len(xy):
        return np.zeros((0, 1 if image.ndim == 2 else image.shape[2]), np.float32)
    rows = 8192  # cv2.remap takes no picture of more than 32767 rows
    parts = []
    for k in range(0, len(xy), rows):
        at = np.ascontiguousarray(xy[k : k + rows, None])
        parts.append(cv2.remap(image, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[:, 0])
    return np.concatenate(parts).reshape(len(xy), -1).astype(np.float32)


def _closed(flow: Flow, bad: Mask) -> Flow:
    """`flow` with the bad pixels closed by a smooth surface: push-pull, each level twice as coarse."""
    if not bad.any() or bad.all():
        return np.zeros_like(flow) if bad.all() else flow
    weight = (~bad).astype(np.float32)[..., None]
    height, width = bad.shape
    half = ((width + 1) // 2, (height + 1) // 2)
    sums = cv2.resize(flow * weight, half, interpolation=cv2.INTER_AREA)
    weights = cv2.resize(weight, half, interpolation=cv2.INTER_AREA)
    known = weights > 1e-3
    coarse = _closed(
        np.where(known[..., None], sums / np.maximum(weights, 1e-3)[..., None], 0).astype(np.float32), ~known
    )
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.where(bad[..., None], smooth, flow).astype(np.float32)
