"""Where the camera looks, relative to the picture that the background memory is anchored to.

Points of the anchor picture are searched for in every new one (frame to anchor, not frame to frame), so that errors do not
add up. Convention: `homography` float64 [3, 3] takes px of the anchor picture to px of the current one, full size, pixel
centres at integers.
"""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.cuts import CutDetector

CameraState = Literal["still", "moved", "unsure", "lost"]

MAX_POINTS = 160
MIN_POINTS = 14  # points below which a blank wall may as well be standing still
MAX_DRIFT_SHARE = 0.12  # share of the frame that a corner may wander before the memory is anchored anew
STILL_PX = 0.4  # px of the full picture: less is the noise of the estimate, and resampling for it would only blur
MAX_DIFFERENCE = 7  # grey levels that half of the picture may differ when it is the same view
MAX_FAILURES = 12  # pictures without a fit after which the place is given up
_LK: dict[str, Any] = {
    "winSize": (15, 15),
    "maxLevel": 3,
    "criteria": (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 12, 0.03),
}


class CameraTracker:
    """Follows the camera; `step` once a picture, in order."""

    def __init__(self) -> None:
        self.homography = np.eye(3)
        self._cut = CutDetector()
        self._anchor_gray: NDArray[np.uint8] | None = None
        self._points = np.zeros((0, 1, 2), np.float32)
        self._anchor_mean = 1.0
        self._scale = np.eye(3)  # small px -> full px
        self._failures = 0
        self._moving_frames = 0
        self._weak = False
        self._last: tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.float64]] | None = None

    def step(self, gray: NDArray[np.uint8], masked: NDArray[np.bool_], size: tuple[int, int]) -> CameraState:
        """How the camera stands now.

        gray: uint8 [h, w], a small view of the picture.  busy: bool [h, w], where things to remove are: nothing there counts.
        size: (height, width) of the full picture.
        Returns "still" (the homography is exactly the identity), "moved", "unsure" (keep the last pose and do not
        learn) or "lost": another place, forget the memory; the anchor is then this picture.
        """
        cut = self._cut(gray)
        if self._anchor_gray is None or self._anchor_gray.shape != gray.shape or cut:
            lost = self._anchor_gray is not None
            self.anchor(gray, masked, size)
            return "lost" if lost else "still"
        if len(self._points) < MIN_POINTS:
            self._retry_anchor(gray, masked, size)
            return "still" if np.array_equal(self.homography, np.eye(3)) else "unsure"
        estimate = self._estimate(gray, masked)
        if estimate is None:
            estimate = self._estimate_via_last(gray, masked)
        if estimate is None:
            self._failures += 1
            if self._failures > MAX_FAILURES:
                self.anchor(gray, masked, size)
                return "lost"
            return "unsure"
        self._failures = 0
        self._last = gray, masked, estimate
        full = self._scale @ estimate @ np.linalg.inv(self._scale)
        shift = corner_shift(full, size)
        # a camera at rest is believed to move only when it does so for some pictures, or plainly
        resting = np.array_equal(self.homography, np.eye(3))
        self._moving_frames = 0 if shift < (2.5 * STILL_PX if resting else STILL_PX) else self._moving_frames + 1
        if not self._moving_frames or (resting and self._moving_frames < 4 and shift < 6 * STILL_PX):
            self.homography = np.eye(3)
            return "still"
        self.homography = full
        return "moved"

    def needs_new_anchor(self, size: tuple[int, int]) -> bool:
        """Whether the view has left the anchor so far, or shares so little with it, that a new anchor is due."""
        return self._weak or corner_shift(self.homography, size) > MAX_DRIFT_SHARE * min(size)

    def anchor(self, gray: NDArray[np.uint8], masked: NDArray[np.bool_], size: tuple[int, int]) -> None:
        """Make this picture the anchor: the homography is the identity from here."""
        height, width = gray.shape
        sx, sy = size[1] / width, size[0] / height
        self._scale = np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1]])
        moving = not np.array_equal(self.homography, np.eye(3))
        self.homography = np.eye(3)
        self._anchor_gray = gray.copy()
        self._weak = False
        self._last = gray, masked, np.eye(3)
        self._failures = 0
        self._moving_frames = 4 if moving else 0  # a camera that moved goes on to
        free = np.where(masked, 0, 255).astype(np.uint8)
        self._anchor_mean = max(float(cv2.mean(gray, free)[0]), 1.0)
        points = cv2.goodFeaturesToTrack(gray, MAX_POINTS, 0.01, max(min(height, width) / 24, 4), mask=free)
        self._points = np.zeros((0, 1, 2), np.float32) if points is None else points.astype(np.float32)

    def _retry_anchor(self, gray: NDArray[np.uint8], masked: NDArray[np.bool_], size: tuple[int, int]) -> None:
        """A picture without features (a lens cap, a wall): look for some from time to time."""
        self._failures += 1
        if self._failures > MAX_FAILURES:
            pose = self.homography
            self.anchor(gray, masked, size)
            self.homography = pose

    def _estimate(self, gray: NDArray[np.uint8], masked: NDArray[np.bool_]) -> NDArray[np.float64] | None:
        assert self._anchor_gray is not None
        free = np.where(masked, 0, 255).astype(np.uint8)
        gain = self._anchor_mean / max(float(cv2.mean(gray, free)[0]), 1.0)
        exposure_matched = (
            gray if 0.95 < gain < 1.05 else cv2.convertScaleAbs(gray, alpha=gain)
        )  # a lamp switched on is no motion
        small = np.linalg.inv(self._scale) @ self.homography @ self._scale
        guess = cv2.perspectiveTransform(self._points, small).astype(np.float32)
        tracked, status, error = cv2.calcOpticalFlowPyrLK(
            self._anchor_gray, exposure_matched, self._points, guess, flags=cv2.OPTFLOW_USE_INITIAL_FLOW, **_LK
        )
        height, width = gray.shape
        positions = np.rint(tracked[:, 0]).astype(int)
        inside = (
            (positions[:, 0] >= 0) & (positions[:, 0] < width) & (positions[:, 1] >= 0) & (positions[:, 1] < height)
        )
        good = (status[:, 0] == 1) & (error[:, 0] < 25) & inside
        good[good] &= ~masked[positions[good, 1], positions[good, 0]]
        if good.sum() < max(MIN_POINTS, 0.25 * len(self._points)):
            return np.eye(3) if self._matches_anchor(exposure_matched, free) else None
        start, end = self._points[good, 0], tracked[good, 0]
        shifts = np.abs(end - start).max(1)
        resting = np.array_equal(self.homography, np.eye(3))
        if np.mean(shifts < (0.45 if resting else 0.15)) > 0.5:  # most points stand: what moves is not the camera
            return np.eye(3)
        homography, inliers = cv2.findHomography(start, end, cv2.USAC_MAGSAC, 0.8, None, 300, 0.99)
        if homography is None or inliers.sum() < max(MIN_POINTS, 0.45 * len(start)):
            return np.eye(3) if self._matches_anchor(exposure_matched, free) else None
        self._weak = bool(np.count_nonzero(inliers) < max(0.5 * len(self._points), MIN_POINTS))
        if np.count_nonzero(inliers) < 30 or not _is_plausible(homography, gray.shape):
            steady, inliers = cv2.estimateAffinePartial2D(start, end, method=cv2.RANSAC, ransacReprojThreshold=0.8)
            if steady is None or inliers.sum() < max(MIN_POINTS, 0.4 * len(start)):
                return None
            homography = np.vstack([steady, [0, 0, 1]])
        return homography if _is_plausible(homography, gray.shape) else None

    def _estimate_via_last(self, gray: NDArray[np.uint8], masked: NDArray[np.bool_]) -> NDArray[np.float64] | None:
        """The small homography by way of the last picture that was placed, when too little of the anchor is left in view."""
        if self._last is None or self._last[0].shape != gray.shape:
            return None
        last_gray, was_masked, last_homography = self._last
        free = np.where(was_masked, 0, 255).astype(np.uint8)
        points = cv2.goodFeaturesToTrack(last_gray, MAX_POINTS, 0.01, max(min(gray.shape) / 24, 4), mask=free)
        if points is None or len(points) < MIN_POINTS:
            return None
        tracked, status, _ = cv2.calcOpticalFlowPyrLK(last_gray, gray, points, None, **_LK)
        positions = np.clip(np.rint(tracked[:, 0]).astype(int), 0, (gray.shape[1] - 1, gray.shape[0] - 1))
        good = (status[:, 0] == 1) & ~masked[positions[:, 1], positions[:, 0]]
        if good.sum() < MIN_POINTS:
            return None
        step, inliers = cv2.estimateAffinePartial2D(
            points[good, 0], tracked[good, 0], method=cv2.RANSAC, ransacReprojThreshold=0.6
        )
        if step is None or inliers.sum() < max(MIN_POINTS, 0.5 * good.sum()):
            return None
        self._weak = True
        return np.vstack([step, [0, 0, 1]]) @ last_homography

    def _matches_anchor(self, gray: NDArray[np.uint8], free: NDArray[np.uint8]) -> bool:
        """Whether a camera at rest still sees its anchor, though too few points say so."""
        assert self._anchor_gray is not None
        if not np.array_equal(self.homography, np.eye(3)):
            return False
        seen = free > 0
        return bool(seen.any() and np.median(cv2.absdiff(gray, self._anchor_gray)[seen]) < MAX_DIFFERENCE)


def corner_shift(homography: NDArray[np.float64], size: tuple[int, int]) -> float:
    """The farthest that a corner of a picture of `size` (height, width) is moved, px."""
    height, width = size
    corners = np.array([[[0, 0]], [[width - 1, 0]], [[0, height - 1]], [[width - 1, height - 1]]], np.float64)
    return float(np.abs(cv2.perspectiveTransform(corners, homography) - corners).max())


def _is_plausible(homography: NDArray[np.float64], shape: tuple[int, ...]) -> bool:
    """No mirror, no collapse, no horizon inside the picture: between pictures of one place these are errors of the fit."""
    area = np.linalg.det(homography[:2, :2])
    far = homography[2, :2] @ np.array([shape[1], shape[0]])
    return bool(0.4 < area < 2.5 and abs(far) < 0.3)
