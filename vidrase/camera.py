"""The camera's motion between two pictures as one homography, and what it leaves over.

Convention: a homography float64 [3, 3] takes px of the first picture to px of the second, pixel centres at integers.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

GRID = 8  # px between the flow vectors that vote


@dataclass(frozen=True, slots=True, eq=False)
class CameraMotion:
    """How the background moves as a whole."""

    homography: NDArray[np.float64]
    support: float
    """Share of the trusted flow that agrees within a pixel, 0..1."""

    def flow(self, y: int, x: int, height: int, width: int) -> NDArray[np.float32]:
        """The motion as flow float32 [height, width, 2] px of the region whose top left pixel is (y, x)."""
        columns, rows = np.meshgrid(
            np.arange(x, x + width, dtype=np.float64), np.arange(y, y + height, dtype=np.float64)
        )
        h = self.homography
        w = h[2, 0] * columns + h[2, 1] * rows + h[2, 2]
        w = np.where(np.abs(w) < 1e-6, 1e-6, w)
        out = np.empty((height, width, 2), np.float32)
        out[..., 0] = (h[0, 0] * columns + h[0, 1] * rows + h[0, 2]) / w - columns
        out[..., 1] = (h[1, 0] * columns + h[1, 1] * rows + h[1, 2]) / w - rows
        return out

    def points(self, x: NDArray[np.float32], y: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Where the points (x, y), [N] px each, go."""
        h = self.homography
        w = h[2, 0] * x + h[2, 1] * y + h[2, 2]
        w = np.where(np.abs(w) < 1e-6, 1e-6, w)
        moved_x, moved_y = (h[0, 0] * x + h[0, 1] * y + h[0, 2]) / w, (h[1, 0] * x + h[1, 1] * y + h[1, 2]) / w
        return moved_x.astype(np.float32), moved_y.astype(np.float32)

    def after(self, first: CameraMotion) -> CameraMotion:
        """This motion, `first` before it."""
        return CameraMotion(self.homography @ first.homography, min(self.support, first.support))

    def inverse(self) -> CameraMotion:
        """The way back."""
        return CameraMotion(np.linalg.inv(self.homography).astype(np.float64), self.support)


STILL = CameraMotion(np.eye(3), 0.0)


def fit_camera(
    flow: NDArray[np.float32], trusted: NDArray[np.bool_], *, origin: tuple[int, int] = (0, 0), threshold: float = 1.0
) -> CameraMotion:
    """The homography that most of the trusted flow follows.

    Robust estimation: Barath, Noskova, Ivashechkin, Matas, "MAGSAC++", CVPR 2020, arXiv 1912.05909.

    flow:      float32 [H, W, 2] px.  trusted: bool [H, W].  origin: (y, x) of the region within the picture.
    threshold: px that count as agreement.
    Falls back to the median shift when too little is trusted for eight unknowns.
    """
    step = GRID if trusted.size > 64 * GRID * GRID else max(GRID // 4, 1)
    rows, columns = np.nonzero(trusted[::step, ::step])
    if len(rows) < 12:
        return STILL
    rows, columns = rows * step, columns * step
    vectors = flow[rows, columns]
    start = np.stack([columns + origin[1], rows + origin[0]], axis=1).astype(np.float32)
    homography, inliers = cv2.findHomography(start, start + vectors, cv2.USAC_MAGSAC, threshold, None, 500, 0.995)
    if homography is None or not _sane(homography, trusted.shape):
        shift = np.median(vectors, axis=0)
        agree = np.hypot(*(vectors - shift).T) < threshold
        return CameraMotion(np.array([[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1.0]]), float(agree.mean()))
    return CameraMotion(homography, float(np.count_nonzero(inliers)) / len(rows))


def _sane(homography: NDArray[np.float64], shape: tuple[int, ...]) -> bool:
    """No mirror, no collapse, no horizon inside the picture: between neighbouring frames these are errors of the fit."""
    area = np.linalg.det(homography[:2, :2])
    far = homography[2, :2] @ np.array([shape[1], shape[0]])
    return bool(0.25 < area < 4.0 and abs(far) < 0.5)
