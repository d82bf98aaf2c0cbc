"""Camera motion between two images: the homography and its changes of scale."""

from __future__ import annotations

import numpy as np

from vidrase.camera import CameraMotion


def test_a_resized_motion_takes_the_same_points_along() -> None:
    motion = CameraMotion(np.array([[1.02, 0.01, 3.0], [-0.02, 0.99, -2.0], [1e-5, -2e-5, 1.0]]), 0.8)
    small = motion.resized(0.5, 0.25)
    x, y = np.array([10.0, 200.0], np.float32), np.array([30.0, 90.0], np.float32)
    full_x, full_y = motion.points(x, y)
    small_x, small_y = small.points((x + 0.5) * 0.25 - 0.5, (y + 0.5) * 0.5 - 0.5)
    assert np.allclose(small_x, (full_x + 0.5) * 0.25 - 0.5, atol=1e-3)
    assert np.allclose(small_y, (full_y + 0.5) * 0.5 - 0.5, atol=1e-3)
    assert small.support == 0.8
