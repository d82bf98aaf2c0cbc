"""Values of a picture at scattered points.

Invariant: a point at integer coordinates gives exactly the pixel there.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_ROW = 1024  # OpenCV wants its maps two-dimensional and below 32768 a side


def at(picture: NDArray, x: NDArray[np.float32], y: NDArray[np.float32], *, cubic: bool = False) -> NDArray:
    """`picture` [H, W] or [H, W, C] at the points (x, y) float32 [N] px; the border repeats.

    Returns [N] or [N, C] of the picture's dtype. Linear, or bicubic on request.
    """
    count = len(x)
    shape = (picture.shape[2],) if picture.ndim == 3 else ()
    if not count:
        return np.zeros((0, *shape), picture.dtype)
    rows = -(-count // _ROW)
    width = min(count, _ROW)
    map_x, map_y = _rows(x, rows, width), _rows(y, rows, width)
    how = cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR
    values = cv2.remap(picture, map_x, map_y, how, borderMode=cv2.BORDER_REPLICATE)
    return values.reshape(rows * width, *shape)[:count]


def _rows(points: NDArray[np.float32], rows: int, width: int) -> NDArray[np.float32]:
    """[N] as [rows, width], zeros at the end."""
    if rows * width == len(points):
        return np.ascontiguousarray(points, np.float32).reshape(rows, width)
    out = np.zeros(rows * width, np.float32)
    out[: len(points)] = points
    return out.reshape(rows, width)
