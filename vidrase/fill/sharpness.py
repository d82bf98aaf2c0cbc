"""Whether an invention still looks like what is around it: focus and distance change, and a canvas does not."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.camera import CameraMotion
from vidrase.fill.flow_completion import dilate
from vidrase.fill.registration_quality import FINE, QUIET
from vidrase.fill.source_planes import SourcePlanes
from vidrase.fill.window_frame import WindowFrame, WorkGrid

AROUND = 12  # px of the working grid around the hole that are compared
ENOUGH = 200  # px of it that must be shown by both
SHARPER, SOFTER = 1.8, 0.45
"""Detail of the canvas over that of the frame, at the same places, from which it is worn."""


def sharpness_mismatch(here: WindowFrame, canvas: SourcePlanes, way: CameraMotion, grid: WorkGrid) -> bool:
    """Whether beside the hole of `here` a canvas, reached by `way`, is much sharper or softer than the frame."""
    assert here.box is not None
    assert here.dilated_hole is not None
    box = here.box.wider(AROUND, here.luma.shape)
    rows, columns = np.indices(box.shape, np.float32)
    x, y = way.points((columns + box.left).ravel(), (rows + box.top).ravel())
    luma = canvas.planes[0]
    size = (max(round(luma.shape[1] * grid.scale_x), 1), max(round(luma.shape[0] * grid.scale_y), 1))
    small = cv2.resize(luma, size, interpolation=cv2.INTER_AREA)
    x = ((x + 0.5) - canvas.x * grid.scale_x - 0.5).reshape(box.shape)
    y = ((y + 0.5) - canvas.y * grid.scale_y - 0.5).reshape(box.shape)
    shows = (x >= 1) & (y >= 1) & (x <= size[0] - 2) & (y <= size[1] - 2)
    blocked = here.dilated_hole[box.span]
    beside = dilate(blocked, AROUND) & ~dilate(blocked, FINE) & shows & ~dilate(~shows, FINE)
    if np.count_nonzero(beside) < ENOUGH:
        return False
    laid = cv2.remap(
        small, x.astype(np.float32), y.astype(np.float32), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    frame = here.luma[box.span]
    ratio = (_detail(laid, beside) + QUIET) / (_detail(frame, beside) + QUIET)
    return not SOFTER < ratio < SHARPER


def _detail(luma: NDArray, where: NDArray[np.bool_]) -> float:
    fine = luma.astype(np.float32)
    return float(np.abs(fine - cv2.blur(fine, (FINE, FINE)))[where].mean())
