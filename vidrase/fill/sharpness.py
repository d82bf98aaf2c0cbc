"""Whether an inpainted frame is still as sharp as its surroundings: focus and distance change, the inpainted frame does not."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.camera import CameraMotion
from vidrase.fill.flow_completion import dilate
from vidrase.fill.registration_quality import FINE, QUIET
from vidrase.fill.source_planes import SourcePlanes
from vidrase.fill.window_frame import WindowFrame, WorkGrid
from vidrase.light import matched_luma

# Evidence for synthesis.renew: `rules.py`. Values of constants without a figure have no record yet.
RING_WIDTH = 12  # px of the work grid around the hole that are compared
MIN_PIXELS = 200  # px that both must show
MAX_RATIO, MIN_RATIO = 1.8, 0.45
"""If the inpainted frame's detail over the frame's, at the same pixels, is outside this range, it no longer fits."""


def sharpness_mismatch(
    here: WindowFrame, inpainted: SourcePlanes, homography_to_it: CameraMotion, grid: WorkGrid
) -> bool:
    """Whether `inpainted`, reached from `here` by `homography_to_it`, is much sharper or softer than the frame in the ring
    around the hole. False if fewer than 200 px are visible in both."""
    assert here.box is not None
    assert here.dilated_hole is not None
    box = here.box.wider(RING_WIDTH, here.luma.shape)
    rows, columns = np.indices(box.shape, np.float32)
    x, y = homography_to_it.points((columns + box.left).ravel(), (rows + box.top).ravel())
    luma = inpainted.planes[0]
    size = (max(round(luma.shape[1] * grid.scale_x), 1), max(round(luma.shape[0] * grid.scale_y), 1))
    small = cv2.resize(luma, size, interpolation=cv2.INTER_AREA)
    x = ((x + 0.5) - inpainted.x * grid.scale_x - 0.5).reshape(box.shape)
    y = ((y + 0.5) - inpainted.y * grid.scale_y - 0.5).reshape(box.shape)
    valid = (x >= 1) & (y >= 1) & (x <= size[0] - 2) & (y <= size[1] - 2)
    dilated_hole = here.dilated_hole[box.span]
    ring = dilate(dilated_hole, RING_WIDTH) & ~dilate(dilated_hole, FINE) & valid & ~dilate(~valid, FINE)
    if np.count_nonzero(ring) < MIN_PIXELS:
        return False
    warped = cv2.remap(
        small, x.astype(np.float32), y.astype(np.float32), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    frame = here.luma[box.span]
    warped = matched_luma(np.asarray(warped, np.uint8), frame, ring)
    ratio = (_detail(warped, ring) + QUIET) / (_detail(frame, ring) + QUIET)
    return not MIN_RATIO < ratio < MAX_RATIO


def _detail(luma: NDArray, where: NDArray[np.bool_]) -> float:
    fine = luma.astype(np.float32)
    return float(np.abs(fine - cv2.blur(fine, (FINE, FINE)))[where].mean())
