"""Sample a picture at scattered points.

Invariant: a point at integer coordinates gives exactly the pixel there.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_ROW_LENGTH = 1024  # points per row: OpenCV needs two-dimensional maps of less than 32768 px a side


def at(picture: NDArray, x: NDArray[np.float32], y: NDArray[np.float32], *, cubic: bool = False) -> NDArray:
    """Sample `picture`, [H, W] or [H, W, C], at the points (x, y), float32 [N] px. Beyond the border its last pixel is repeated.

    Returns [N] or [N, C] of the picture's dtype. Interpolation is linear; with `cubic` it is bicubic.
    """
    count = len(x)
    shape = (picture.shape[2],) if picture.ndim == 3 else ()
    if not count:
        return np.zeros((0, *shape), picture.dtype)
    rows = -(-count // _ROW_LENGTH)
    width = min(count, _ROW_LENGTH)
    map_x, map_y = _as_rows(x, rows, width), _as_rows(y, rows, width)
    interpolation = cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR
    values = cv2.remap(picture, map_x, map_y, interpolation, borderMode=cv2.BORDER_REPLICATE)
    return values.reshape(rows * width, *shape)[:count]


def _as_rows(points: NDArray[np.float32], rows: int, width: int) -> NDArray[np.float32]:
    """Reshape [N] to [rows, width], padded with zeros at the end."""
    if rows * width == len(points):
        return np.ascontiguousarray(points, np.float32).reshape(rows, width)
    out = np.zeros(rows * width, np.float32)
    out[: len(points)] = points
    return out.reshape(rows, width)
