"""Inpainting without learning."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.errors import ShapeError


def check(pixels: NDArray[np.float32], hole: NDArray[np.bool_]) -> None:
    """Raise ShapeError unless pixels are [B, 3, H, W] and hole is bool [B, 1, H, W]."""
    if pixels.ndim != 4 or pixels.shape[1] != 3 or hole.shape != (len(pixels), 1, *pixels.shape[2:]):
        raise ShapeError(f"expected pixels [B, 3, H, W] and hole [B, 1, H, W], got {pixels.shape} and {hole.shape}")


class OpenCvInpainter:
    """OpenCV's two inpainters: fast, smooth, for small holes.

    Papers: Telea, "An image inpainting technique based on the fast marching method", JGT 2004; Bertalmio, Bertozzi, Sapiro,
    "Navier-Stokes, fluid dynamics, and image and video inpainting", CVPR 2001.
    """

    stride = 1
    RADIUS = 4.0

    def __init__(self, name: str = "telea") -> None:
        self.name = name
        self._how = cv2.INPAINT_NS if name == "ns" else cv2.INPAINT_TELEA

    def __call__(self, pixels: NDArray[np.float32], hole: NDArray[np.bool_]) -> NDArray[np.float32]:
        """See `Inpainter`."""
        check(pixels, hole)
        out = pixels.copy()
        for picture, where in zip(out, hole[:, 0], strict=True):
            if not where.any() or where.all():
                continue
            eight = cv2.merge([np.rint(np.clip(c, 0, 1) * 255).astype(np.uint8) for c in picture])
            filled = cv2.inpaint(eight, where.astype(np.uint8), self.RADIUS, self._how)
            picture[:, where] = filled[where].T.astype(np.float32) / 255
        return out
