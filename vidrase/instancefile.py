"""Instances as bytes: compressed, self-contained, and never code."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from vidrase.frames import Instances

_HEAD = struct.Struct("<IIII")  # objects, height, width, bytes of class names


def pack(instances: Instances) -> bytes:
    """The instances of one frame, masks as bits."""
    names = "\0".join((*instances.labels, *(name for name, _ in instances.rivals))).encode()
    shapes = np.array([mask.shape for mask in instances.masks], np.int32).reshape(-1, 2)
    arrays = (
        instances.ids.astype(np.int64),
        instances.scores.astype(np.float32),
        instances.boxes.astype(np.float32),
        instances.corners.astype(np.int32),
        shapes,
        np.array([confidence for _, confidence in instances.rivals], np.float32),
    )
    bits = b"".join(np.packbits(mask).tobytes() for mask in instances.masks)
    head = _HEAD.pack(len(instances), *instances.size, len(names)) + names
    return zlib.compress(head + b"".join(np.ascontiguousarray(array).tobytes() for array in arrays) + bits, 1)


def unpack(data: bytes) -> Instances:
    """What `pack` made bytes of."""
    raw = zlib.decompress(data)
    count, height, width, length = _HEAD.unpack_from(raw)
    names = raw[_HEAD.size : _HEAD.size + length].decode()
    offset = _HEAD.size + length

    def take(dtype: type, *shape: int) -> NDArray:
        nonlocal offset
        array: NDArray = np.frombuffer(raw, dtype, int(np.prod(shape)), offset).reshape(shape).copy()
        offset += array.nbytes
        return array

    ids, scores, boxes = take(np.int64, count), take(np.float32, count), take(np.float32, count, 4)
    corners, shapes = take(np.int32, count, 2), take(np.int32, count, 2)
    labels = tuple(names.split("\0")) if count else ()
    others = labels[count:]
    rivals = tuple(zip(others, take(np.float32, len(others)).tolist(), strict=True))
    masks = []
    for rows, columns in shapes.tolist():
        packed = take(np.uint8, (rows * columns + 7) // 8)
        masks.append(np.unpackbits(packed, count=rows * columns).reshape(rows, columns).view(np.bool_))
    return Instances(ids, labels[:count], scores, boxes, tuple(masks), corners, (height, width), rivals)
