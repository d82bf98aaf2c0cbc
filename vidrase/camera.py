"""Camera motion between two images as one homography, fitted to optical flow.

Convention: a homography float64 [3, 3] maps px of the first image to px of the second, pixel centres at integers.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

SAMPLE_STEP = 8  # px between the flow vectors that are sampled for the fit


@dataclass(frozen=True, slots=True, eq=False)
class CameraMotion:
    """Motion of the background as a homography."""

    homography: NDArray[np.float64]
    support: float
    """Share of the trusted flow that agrees within the threshold of the fit, 0..1."""

    def flow(self, y: int, x: int, height: int, width: int) -> NDArray[np.float32]:
        """The motion as flow float32 [height, width, 2] px of the region whose top left pixel is (y, x)."""
        columns, rows = np.arange(x, x + width, dtype=np.float64), np.arange(y, y + height, dtype=np.float64)[:, None]
        h = self.homography
        w = h[2, 0] * columns + (h[2, 1] * rows + h[2, 2])
        scale = (1 / np.where(np.abs(w) < 1e-6, 1e-6, w)).astype(np.float32)
        out = np.empty((height, width, 2), np.float32)
        # The displacement (h x) / w - x over one denominator: sums of one row and one column, small enough for single precision.
        for k, (own, along, across) in enumerate(((columns, columns, rows), (rows, rows, columns))):
            single = (h[k, k] - h[2, 2] - h[2, k] * own) * along + h[k, 2]
            moved = single.astype(np.float32) + (h[k, 1 - k] * across).astype(np.float32)
            moved -= own.astype(np.float32) * (h[2, 1 - k] * across).astype(np.float32)
            np.multiply(moved, scale, out=out[..., k])
        return out

    def points(self, x: NDArray[np.float32], y: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The points (x, y), float32 [N] px each, mapped by the homography."""
        h = self.homography.tolist()  # Python's numbers: numpy's would make every array double
        w = h[2][0] * x + h[2][1] * y + h[2][2]
        if abs(h[2][0]) + abs(h[2][1]) > 0:
            w = np.where(np.abs(w) < 1e-6, np.float32(1e-6), w)
        moved_x, moved_y = (h[0][0] * x + h[0][1] * y + h[0][2]) / w, (h[1][0] * x + h[1][1] * y + h[1][2]) / w
        return moved_x.astype(np.float32, copy=False), moved_y.astype(np.float32, copy=False)

    def after(self, first: CameraMotion) -> CameraMotion:
        """The composition: `first`, then this motion."""
        return CameraMotion(self.homography @ first.homography, min(self.support, first.support))

    def inverse(self) -> CameraMotion:
        """The inverse motion."""
        return CameraMotion(np.linalg.inv(self.homography).astype(np.float64), self.support)


STILL = CameraMotion(np.eye(3), 0.0)


def fit_camera(
    flow: NDArray[np.float32], trusted: NDArray[np.bool_], *, origin: tuple[int, int] = (0, 0), threshold: float = 1.0
) -> CameraMotion:
    """Fit a homography to the trusted flow.

    Robust estimation: Barath, Noskova, Ivashechkin, Matas, "MAGSAC++", CVPR 2020, arXiv 1912.05909.

    flow:      float32 [H, W, 2] px.  trusted: bool [H, W].  origin: (y, x) of the region within the image.
    threshold: px, largest residual of an inlier.
    Returns the median translation when no plausible homography is found, and `STILL` (support 0) with fewer than 12 samples.
    """
    step = SAMPLE_STEP if trusted.size > 64 * SAMPLE_STEP * SAMPLE_STEP else max(SAMPLE_STEP // 4, 1)
    rows, columns = np.nonzero(trusted[::step, ::step])
    if len(rows) < 12:
        return STILL
    rows, columns = rows * step, columns * step
    vectors = flow[rows, columns]
    points = np.stack([columns + origin[1], rows + origin[0]], axis=1).astype(np.float32)
    homography, inliers = cv2.findHomography(points, points + vectors, cv2.USAC_MAGSAC, threshold, None, 500, 0.995)
    if homography is None or not _plausible(homography, trusted.shape):
        shift = np.median(vectors, axis=0)
        agreeing = np.hypot(*(vectors - shift).T) < threshold
        return CameraMotion(np.array([[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1.0]]), float(agreeing.mean()))
    return CameraMotion(homography, float(np.count_nonzero(inliers)) / len(rows))


def _plausible(homography: NDArray[np.float64], shape: tuple[int, ...]) -> bool:
    """Whether the homography has no reflection, no collapse and no horizon in the image; these are errors of the fit."""
    area = np.linalg.det(homography[:2, :2])
    far = homography[2, :2] @ np.array([shape[1], shape[0]])
    return bool(0.25 < area < 4.0 and abs(far) < 0.5)
