"""Track the camera relative to the anchor frame of the background model.

Feature points of the anchor are tracked into every frame (anchor to frame, not frame to frame), so that errors do not accumulate.
Convention: `homography` float64 [3, 3] maps anchor px to current px at full size, pixel centres at integers.
"""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.cuts import CutDetector
from vidrase.light import under_one_light

CameraState = Literal["still", "moved", "unsure", "lost"]

MAX_POINTS = 160
MIN_POINTS = 14  # points; with fewer (a blank wall) no motion is estimated
MAX_DRIFT_SHARE = 0.12  # corner shift / shorter side; above it a new anchor is set
STILL_PX = 0.4  # px at full size; a smaller shift is estimation noise and counts as no motion, to avoid resampling
MAX_DIFFERENCE = 7  # grey levels, median over the frame; below it the view is unchanged
MAX_FAILURES = 12  # frames without an estimate; after more the scene counts as lost
_LK: dict[str, Any] = {
    "winSize": (15, 15),
    "maxLevel": 3,
    "criteria": (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 12, 0.03),
}


class CameraTracker:
    """Estimates the camera motion; call `step` for every frame, in order."""

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
        """Estimate the camera position in one frame.

        gray: uint8 [h, w], the reduced frame.  masked: bool [h, w], pixels of objects to remove, which are ignored.
        size: (height, width) of the full frame.
        Returns "still" (the homography is exactly the identity), "moved", "unsure" (keep the last homography and do not update
        the background model) or "lost": another scene; this frame is the new anchor.
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
        # a resting camera counts as moving only after several frames or a large shift
        resting = np.array_equal(self.homography, np.eye(3))
        self._moving_frames = 0 if shift < (2.5 * STILL_PX if resting else STILL_PX) else self._moving_frames + 1
        if not self._moving_frames or (resting and self._moving_frames < 4 and shift < 6 * STILL_PX):
            self.homography = np.eye(3)
            return "still"
        self.homography = full
        return "moved"

    def needs_new_anchor(self, size: tuple[int, int]) -> bool:
        """Whether the view is too far from the anchor, or overlaps it too little."""
        return self._weak or corner_shift(self.homography, size) > MAX_DRIFT_SHARE * min(size)

    def anchor(self, gray: NDArray[np.uint8], masked: NDArray[np.bool_], size: tuple[int, int]) -> None:
        """Make this frame the anchor: the homography is the identity from here on."""
        height, width = gray.shape
        sx, sy = size[1] / width, size[0] / height
        self._scale = np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1]])
        moving = not np.array_equal(self.homography, np.eye(3))
        self.homography = np.eye(3)
        self._anchor_gray = gray.copy()
        self._weak = False
        self._last = gray, masked, np.eye(3)
        self._failures = 0
        self._moving_frames = 4 if moving else 0  # a moving camera is expected to keep moving
        free = np.where(masked, 0, 255).astype(np.uint8)
        self._anchor_mean = max(float(cv2.mean(gray, free)[0]), 1.0)
        points = cv2.goodFeaturesToTrack(gray, MAX_POINTS, 0.01, max(min(height, width) / 24, 4), mask=free)
        self._points = np.zeros((0, 1, 2), np.float32) if points is None else points.astype(np.float32)

    def _retry_anchor(self, gray: NDArray[np.uint8], masked: NDArray[np.bool_], size: tuple[int, int]) -> None:
        """For frames without features (a lens cap, a wall): try a new anchor from time to time."""
        self._failures += 1
        if self._failures > MAX_FAILURES:
            pose = self.homography
            self.anchor(gray, masked, size)
            self.homography = pose

    def _estimate(self, gray: NDArray[np.uint8], masked: NDArray[np.bool_]) -> NDArray[np.float64] | None:
        assert self._anchor_gray is not None
        free = np.where(masked, 0, 255).astype(np.uint8)
        gain = self._anchor_mean / max(float(cv2.mean(gray, free)[0]), 1.0)
        # a lamp that is switched on is no motion
        exposure_matched = gray if 0.95 < gain < 1.05 else under_one_light(self._anchor_gray, gray, stretch=False)[1]
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
        if np.mean(shifts < (0.45 if resting else 0.15)) > 0.5:  # most points are static: the motion is an object's
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
        """Homography at reduced size through the last estimated frame, when too little of the anchor is visible."""
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
        """Whether a resting camera still sees its anchor, although too few points were tracked."""
        assert self._anchor_gray is not None
        if not np.array_equal(self.homography, np.eye(3)):
            return False
        seen = free > 0
        return bool(seen.any() and np.median(cv2.absdiff(gray, self._anchor_gray)[seen]) < MAX_DIFFERENCE)


def corner_shift(homography: NDArray[np.float64], size: tuple[int, int]) -> float:
    """Largest shift of a corner of a frame of `size` (height, width), px."""
    height, width = size
    corners = np.array([[[0, 0]], [[width - 1, 0]], [[0, height - 1]], [[width - 1, height - 1]]], np.float64)
    return float(np.abs(cv2.perspectiveTransform(corners, homography) - corners).max())


def _is_plausible(homography: NDArray[np.float64], shape: tuple[int, ...]) -> bool:
    """Whether the homography has no mirroring, collapse or horizon inside the frame; those are estimation errors."""
    area = np.linalg.det(homography[:2, :2])
    far = homography[2, :2] @ np.array([shape[1], shape[0]])
    return bool(0.4 < area < 2.5 and abs(far) < 0.3)
