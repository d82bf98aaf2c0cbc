"""Clips with known truth: a textured background seen by a moving camera, and a square that moves before it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from vidrase.bench.inputs.clips import moving_square as clip
from vidrase.bench.inputs.clips import texture
from vidrase.colour import PixelLayout, from_rgb
from vidrase.frames import Frame

__all__ = ["YUV420", "as_frames", "clip", "texture"]
YUV420 = PixelLayout("yuv420p", "yuv", 8, 1, 1)


def as_frames(pictures: list[NDArray[np.uint8]], layout: PixelLayout = YUV420) -> list[Frame]:
    """Frames at 25 fps, in any layout."""
    return [
        Frame(tuple(from_rgb(p.astype(np.float32) / 255, layout)), layout, t, t, Fraction(1, 25), 1)
        for t, p in enumerate(pictures)
    ]
