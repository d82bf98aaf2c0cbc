"""Flow that can be trusted near holes: the polluted part thrown away and completed, once for each layer of motion.

Near the thing the flow is the thing's, not the background's: patches that touch it are polluted. In and near the hole there are two
hypotheses: the *back* layer moves with the camera, plus the residual of those surroundings that do so too; the *front*
layer moves like those surroundings that do not (somebody else who passes by). Which of the two a pixel belongs to is decided where its chain comes
out of the hole: see `chains`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.camera import CameraMotion, fit_camera
from vidrase.fill.membrane import membrane
from vidrase.fill.sampling import at

POLLUTION = 10 / 240
"""Reach of pollution as a share of the picture's height: 3 px at 240p gave 20.4 dB, 7-10 px 23.0 dB over six clip pairs."""
APART = 0.6
"""px a frame: flow that differs this much from the camera's belongs to the front layer; DIS itself is good to about 0.2."""
LEAST_FRONT = 40  # px of trusted front flow near the hole: fewer are noise

Flow = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One hypothesis of motion between a picture and the next, in the region around both their holes."""

    y: int
    x: int
    """Top left pixel of the region, on the working grid."""
    ahead: Flow
    """[h, w, 2] px, from this picture to the next."""
    back: Flow
    """[h, w, 2] px, from the next picture to this one."""

    def flow(self, step: int, x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
        """Motion [N, 2] at the points (x, y); step +1: to the next picture, -1: from the next to this one."""
        return at(self.ahead if step > 0 else self.back, x - self.x, y - self.y)


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """Motion between a picture and the next one."""

    behind: Layer
    front: Layer | None
    support: float
    """Share of the surroundings that follows the camera, 0..1."""


def grown(area: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """bool [H, W] `area` and everything within `pixels` of it."""
    if pixels <= 0 or not area.any():
        return area
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return cv2.dilate(area.astype(np.uint8), kernel) > 0


@dataclass(frozen=True, slots=True, eq=False)
class Completed:
    """One direction of a link."""

    behind: Flow
    front: Flow | None
    is_front: NDArray[np.bool_]
    """[h, w]: what in this picture moves unlike the camera, guessed from around where the flow is not to be trusted."""
    camera: CameraMotion


def completed(flow: Flow, trusted: NDArray[np.bool_], wanted: tuple[slice, slice]) -> Completed:
    """Flow of the region `wanted` for both layers.

    flow: float32 [H, W, 2] px; trusted: bool [H, W].
    """
    camera = fit_camera(flow, trusted)
    region, believed = flow[wanted], trusted[wanted]
    base = camera.flow(wanted[0].start, wanted[1].start, *region.shape[:2])
    residual = np.clip(region - base, -64, 64)
    apart = np.hypot(residual[..., 0], residual[..., 1]) > APART
    apart = cv2.medianBlur(apart.astype(np.uint8), 5) > 0
    front = believed & apart
    behind = believed & ~apart
    if not behind.any():
        behind, front = believed, np.zeros_like(front)
    behind_flow = base + membrane(residual, behind)
    if int(front.sum()) < LEAST_FRONT:
        return Completed(behind_flow, None, np.zeros_like(front), camera)
    guess = membrane(apart[..., None].astype(np.float32), believed)[..., 0] > 0.5
    return Completed(behind_flow, base + membrane(residual, front), guess, camera)
