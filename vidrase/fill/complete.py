"""Flow that can be trusted near holes: the polluted part thrown away and completed from camera motion and surroundings.

Near the thing the flow is the thing's, not the background's: patches that touch it are polluted. Inside and near the hole the
flow is the camera's motion plus the residual of the surroundings, interpolated by a membrane.
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


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """Background motion between a picture and the next one, in the region around both their holes."""

    y: int
    x: int
    """Top left pixel of the region, on the working grid."""
    ahead: NDArray[np.float32]
    """[h, w, 2] px, from this picture to the next."""
    back: NDArray[np.float32]
    """[h, w, 2] px, from the next picture to this one."""
    support: float
    """Share of the surroundings that follows the camera, 0..1."""

    def flow(self, step: int, x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
        """Motion [N, 2] at the points (x, y); step +1: to the next picture, -1: from the next to this one."""
        return at(self.ahead if step > 0 else self.back, x - self.x, y - self.y)


def grown(area: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """bool [H, W] `area` and everything within `pixels` of it."""
    if pixels <= 0 or not area.any():
        return area
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return cv2.dilate(area.astype(np.uint8), kernel) > 0


def completed(
    flow: NDArray[np.float32],
    trusted: NDArray[np.bool_],
    wanted: tuple[slice, slice],
) -> tuple[NDArray[np.float32], CameraMotion]:
    """Flow of the region `wanted`, believed where `trusted`, elsewhere camera motion plus interpolated residual.

    flow: float32 [H, W, 2]; trusted: bool [H, W]. Returns (float32 [h, w, 2], the camera's motion).
    """
    camera = fit_camera(flow, trusted)
    region = flow[wanted]
    if not trusted.any():
        return np.zeros_like(region), camera
    rows, columns = wanted
    base = camera.flow(rows.start, columns.start, *region.shape[:2])
    believed = trusted[wanted]
    residual = region - base
    return base + membrane(np.clip(residual, -64, 64), believed), camera
