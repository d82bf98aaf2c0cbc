"""Flow that can be trusted near holes: the polluted part thrown away and completed from the camera's motion and the surroundings.

Near the thing the flow is the thing's, not the background's: patches that touch it are polluted. In and near the hole the flow is
the camera's motion plus the residual of the surroundings, interpolated by a membrane.
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

Flow = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """Motion of the background between a picture and the next one, in the region around both their holes."""

    y: int
    x: int
    """Top left pixel of the region, on the working grid."""
    ahead: Flow
    """[h, w, 2] px, from this picture to the next."""
    back: Flow
    """[h, w, 2] px, from the next picture to this one."""
    camera: CameraMotion
    """From this picture to the next, as a whole."""

    def flow(self, step: int, x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
        """Motion [N, 2] at the points (x, y); step +1: to the next picture, -1: from the next to this one."""
        return at(self.ahead if step > 0 else self.back, x - self.x, y - self.y)


def grown(area: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """bool [H, W] `area` and everything within `pixels` of it."""
    if pixels <= 0 or not area.any():
        return area
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return cv2.dilate(area.astype(np.uint8), kernel) > 0


def completed(flow: Flow, trusted: NDArray[np.bool_], wanted: tuple[slice, slice]) -> tuple[Flow, CameraMotion]:
    """(flow float32 [h, w, 2] of the region `wanted`, believed where `trusted` and completed elsewhere; the camera's motion).

    flow: float32 [H, W, 2] px; trusted: bool [H, W].
    """
    camera = fit_camera(flow, trusted)
    region, believed = flow[wanted], trusted[wanted]
    base = camera.flow(wanted[0].start, wanted[1].start, *region.shape[:2])
    return base + membrane(region - base, believed), camera
