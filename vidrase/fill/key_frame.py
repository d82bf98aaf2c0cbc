"""Choice of the key frame for inpainting: the frame whose inpainted picture serves most of the missing pixels of the following
frames."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.camera import CameraMotion
from vidrase.fill.flow_completion import dilate
from vidrase.fill.trajectories import CAMERA_SUPPORT, trace_trajectories
from vidrase.fill.window_frame import WindowFrame

# Evidence for synthesis.key_frame: `rules.py`. Values of constants without a figure have no record yet.
CANDIDATES = 4
"""Following frames that are considered, evenly spaced over the window."""
MIN_GAIN = 1.1
"""Another frame is chosen if its benefit is more than this many times that of the current frame."""
MIN_COVERAGE = 0.95
"""Share of the current frame's missing pixels that the other frame must show."""
RING_WIDTH = 3  # px of the work grid around missing pixels: the inpainter's context
POINT_STEP = 2  # px between sampled points
IDENTITY = CameraMotion(np.eye(3), 1.0)


def camera_between(window: Mapping[int, WindowFrame], start: int, end: int) -> CameraMotion | None:
    """Camera motion between the frames numbered `start` and `end`, in either direction; None where no single homography
    explains it, a frame is not in the window, or a cut lies between."""
    homography = np.eye(3)
    for number in range(min(start, end), max(start, end)):
        here, there = window.get(number), window.get(number + 1)
        if here is None or there is None or here.flow_pair is None or here.shot != there.shot:
            return None
        if here.flow_pair.camera.support < CAMERA_SUPPORT:
            return None
        homography = here.flow_pair.camera.homography @ homography
    motion = CameraMotion(homography, 1.0)
    return motion if start <= end else motion.inverse()


def select_key_frame(
    window: Mapping[int, WindowFrame], here: WindowFrame, missing: NDArray[np.bool_], reach: int
) -> int:
    """The number of the frame, current or following, on which to inpaint `missing`, bool [h, w] of the work grid.

    A frame benefits the missing pixels of a frame, itself or another one, where they lie within its borders, are not coarser
    than needed, and have known pixels around them. reach: most frames to look ahead.
    """
    candidates = [(here, missing, IDENTITY)]
    last = here.number
    while last + 1 in window and window[last + 1].shot == here.shot and last - here.number < reach:
        last += 1
    steps = np.linspace(0, last - here.number, CANDIDATES + 1).astype(int)[1:]
    for number in (here.number + np.unique(steps)).tolist():
        there = window[number]
        motion = camera_between(window, here.number, number)
        if number == here.number or there.query is None or there.dilated_hole is None or motion is None:
            continue
        candidates.append((there, _missing(window, there, reach), motion))
    benefits = []
    for key, candidate_missing, to_key in candidates:
        context = _context(candidate_missing)
        total = 0.0
        for number, (_, other_missing, to_other) in enumerate(candidates):
            coverage, count, scale = _coverage(other_missing, to_key, to_other, key.luma.shape)
            if number == 0 and coverage < MIN_COVERAGE:
                total = 0.0
                break
            total += coverage * count * min(scale, 1.0) * context
        benefits.append(total)
    best = int(np.argmax(benefits))
    return candidates[best][0].number if benefits[best] > MIN_GAIN * benefits[0] else here.number


def _missing(window: Mapping[int, WindowFrame], there: WindowFrame, reach: int) -> NDArray[np.bool_]:
    """bool [h, w]: pixels of the dilated hole of `there` that no trajectory leads out of."""
    assert there.box is not None
    assert there.dilated_hole is not None
    out = there.dilated_hole.copy()
    for step in (-1, 1):
        out[there.box.span] &= trace_trajectories(window, there, step, reach).source < 0
    return out


def _context(missing: NDArray[np.bool_]) -> float:
    """Share of the ring around the missing pixels that lies within the picture."""
    inside = dilate(missing, RING_WIDTH) & ~missing
    padded = np.pad(missing, RING_WIDTH)
    whole = int(np.count_nonzero(dilate(padded, RING_WIDTH) & ~padded))
    return int(np.count_nonzero(inside)) / max(whole, 1)


def _coverage(
    missing: NDArray[np.bool_], to_key: CameraMotion, to_other: CameraMotion, shape: tuple[int, ...]
) -> tuple[float, int, float]:
    """(share of `missing` that lies within the key frame, number of its sampled px, px of the key frame per px of the other
    frame)."""
    rows, columns = np.nonzero(missing[::POINT_STEP, ::POINT_STEP])
    if not len(rows):
        return 1.0, 0, 1.0
    motion = CameraMotion(to_key.homography @ to_other.inverse().homography, 1.0)
    x, y = motion.points((columns * POINT_STEP).astype(np.float32), (rows * POINT_STEP).astype(np.float32))
    inside = (x >= 0) & (y >= 0) & (x <= shape[1] - 1) & (y <= shape[0] - 1)
    cx, cy = float(columns.mean() * POINT_STEP), float(rows.mean() * POINT_STEP)
    corners = np.array([[[cx, cy], [cx + 1, cy], [cx, cy + 1]]], np.float64)
    a, b, c = cv2.perspectiveTransform(corners, motion.homography)[0]
    scale = float(np.sqrt(abs(np.linalg.det(np.stack([b - a, c - a])))))
    return float(inside.mean()), len(rows), scale
