"""The frame on which it is best to invent what no frame shows: the one whose picture of it serves most of what is to come."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.camera import CameraMotion
from vidrase.fill.flow_completion import dilate
from vidrase.fill.trajectories import CAMERA_SUPPORT, trace_trajectories
from vidrase.fill.window_frame import WindowFrame

CANDIDATES = 4
"""Frames ahead that are considered, evenly spaced over the window."""
BETTER = 1.1
"""Times what the frame at hand serves, from which another one is worth being painted and carried back."""
COVERED = 0.95
"""Share of what lacks at hand that the other frame must show."""
RING = 3  # px of the working grid around what is missing: what an inpainter goes by
STEP = 2  # px between the points that are asked
IDENTITY = CameraMotion(np.eye(3), 1.0)


def camera_between(moments: Mapping[int, WindowFrame], start: int, end: int) -> CameraMotion | None:
    """The camera's motion from one moment to another; None where it is not one motion, or not known."""
    homography = np.eye(3)
    for number in range(min(start, end), max(start, end)):
        here, there = moments.get(number), moments.get(number + 1)
        if here is None or there is None or here.flow_pair is None or here.shot != there.shot:
            return None
        if here.flow_pair.camera.support < CAMERA_SUPPORT:
            return None
        homography = here.flow_pair.camera.homography @ homography
    motion = CameraMotion(homography, 1.0)
    return motion if start <= end else motion.inverse()


def select_key_frame(
    moments: Mapping[int, WindowFrame], here: WindowFrame, lacking: NDArray[np.bool_], reach: int
) -> int:
    """The number of the moment, here or ahead, on which to invent what is `lacking`, bool [h, w] of the working grid.

    A moment serves a missing pixel, its own or another moment's, where its picture shows that place: within its borders, not
    coarser than it is wanted, and with something known around what it would have to invent.
    """
    spots = [(here, lacking, IDENTITY)]
    last = here.number
    while last + 1 in moments and moments[last + 1].shot == here.shot and last - here.number < reach:
        last += 1
    steps = np.linspace(0, last - here.number, CANDIDATES + 1).astype(int)[1:]
    for number in (here.number + np.unique(steps)).tolist():
        there = moments[number]
        motion = camera_between(moments, here.number, number)
        if number == here.number or there.query is None or there.dilated_hole is None or motion is None:
            continue
        spots.append((there, _missing(moments, there, reach), motion))
    serves = []
    for key, missing, to_key in spots:
        around = _context(missing)
        total = 0.0
        for number, (_, wanted, to_wanted) in enumerate(spots):
            share, count, scale = _shown(wanted, to_key, to_wanted, key.luma.shape)
            if number == 0 and share < COVERED:
                total = 0.0
                break
            total += share * count * min(scale, 1.0) * around
        serves.append(total)
    best = int(np.argmax(serves))
    return spots[best][0].number if serves[best] > BETTER * serves[0] else here.number


def _missing(moments: Mapping[int, WindowFrame], there: WindowFrame, reach: int) -> NDArray[np.bool_]:
    """bool [h, w]: what of the hole of `there` no chain leads out of."""
    assert there.box is not None
    assert there.dilated_hole is not None
    out = there.dilated_hole.copy()
    for step in (-1, 1):
        out[there.box.span] &= trace_trajectories(moments, there, step, reach).source < 0
    return out


def _context(missing: NDArray[np.bool_]) -> float:
    """Share of the ring around what is missing that the picture shows; the rest lies beyond its borders."""
    inside = dilate(missing, RING) & ~missing
    padded = np.pad(missing, RING)
    whole = int(np.count_nonzero(dilate(padded, RING) & ~padded))
    return int(np.count_nonzero(inside)) / max(whole, 1)


def _shown(
    wanted: NDArray[np.bool_], to_key: CameraMotion, to_wanted: CameraMotion, shape: tuple[int, ...]
) -> tuple[float, int, float]:
    """(share of `wanted` that lies within the key's picture, its px, px of the key for one of its px)."""
    rows, columns = np.nonzero(wanted[::STEP, ::STEP])
    if not len(rows):
        return 1.0, 0, 1.0
    motion = CameraMotion(to_key.homography @ to_wanted.inverse().homography, 1.0)
    x, y = motion.points((columns * STEP).astype(np.float32), (rows * STEP).astype(np.float32))
    inside = (x >= 0) & (y >= 0) & (x <= shape[1] - 1) & (y <= shape[0] - 1)
    cx, cy = float(columns.mean() * STEP), float(rows.mean() * STEP)
    corners = np.array([[[cx, cy], [cx + 1, cy], [cx, cy + 1]]], np.float64)
    a, b, c = cv2.perspectiveTransform(corners, motion.homography)[0]
    scale = float(np.sqrt(abs(np.linalg.det(np.stack([b - a, c - a])))))
    return float(inside.mean()), len(rows), scale
