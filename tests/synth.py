"""Clips with known truth: a textured background seen by a moving camera, and a square that moves before it."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.colour import PixelLayout, from_rgb
from vidrase.frames import Frame


def texture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """uint8 [H, W, 3]: smooth noise on several scales, so that flow has something to hold on to."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3), np.float32)
    for scale, weight in ((4, 0.25), (12, 0.35), (40, 0.4)):
        small = rng.random((height // scale + 2, width // scale + 2, 3), dtype=np.float32)
        picture += weight * cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(picture * 255, 0, 255).astype(np.uint8)


def clip(
    frames: int = 12,
    height: int = 96,
    width: int = 128,
    *,
    pan: tuple[float, float] = (0.0, 0.0),
    step: tuple[int, int] = (0, 6),
    size: int = 24,
    seed: int = 0,
) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.bool_]], list[NDArray[np.uint8]]]:
    """(frames with the square, masks of the square, truth without it), RGB uint8 [H, W, 3] and bool [H, W].

    pan: camera motion (dy, dx) px a frame; step: the square's motion (dy, dx) px a frame.
    """
    margin = int(max(abs(pan[0]), abs(pan[1])) * frames) + 4
    world = texture(height + 2 * margin, width + 2 * margin, seed)
    shown, masks, truth = [], [], []
    for t in range(frames):
        shift = np.float32([[1, 0, margin + pan[1] * t], [0, 1, margin + pan[0] * t]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        background = cv2.warpAffine(world, shift, (width, height), flags=flags)
        mask = np.zeros((height, width), bool)
        y, x = height // 3 + step[0] * t, 8 + step[1] * t
        mask[max(y, 0) : max(y + size, 0), max(x, 0) : max(x + size, 0)] = True
        picture = background.copy()
        picture[mask] = (230, 30, 40)
        shown.append(picture)
        masks.append(mask)
        truth.append(background)
    return shown, masks, truth


YUV420 = PixelLayout("yuv420p", "yuv", 8, 1, 1)


def as_frames(pictures: list[NDArray[np.uint8]], layout: PixelLayout = YUV420) -> list[Frame]:
    """Frames at 25 fps, in any layout."""
    return [
        Frame(tuple(from_rgb(p.astype(np.float32) / 255, layout)), layout, t, t, Fraction(1, 25), 1)
        for t, p in enumerate(pictures)
    ]
