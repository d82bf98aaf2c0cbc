"""What of a picture somebody drew counts as mask: white on black as a rule, and the other ways in which people make one.

Plain: the brightest channel above half of its range. A grey picture of zeros and ones is told by its values; a palette with
colours is a label map, where everything that is not black goes; transparency is read by what is under it.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.frames import Frame
from vidrase.imagemeta import ImageNative

HALF = 127  # of 255
ALIKE = 0.01  # difference of two aspects that rounding to whole pixels makes
PHOTO = 0.1  # share of the opaque pixels that are neither black nor white: no mask was drawn there, it is the picture itself


def mask_of(frame: Frame) -> tuple[NDArray[np.bool_], str]:
    """(bool [H, W] displayed: what goes by `frame`, how it was understood when it is not plain black and white)."""
    how = ""
    if frame.layout.model == "gray":
        values = frame.planes[0]
        bright: NDArray = values > (1 << frame.layout.bits) // 2 - 1
        if values.max() == 1 and _exact(frame):
            bright, how = values > 0, "holds zeros and ones: one goes"
        deep = frame.layout.bits > 8
        colours: NDArray = (np.asarray(values >> (frame.layout.bits - 8), np.uint8) if deep else values)[..., None]
    else:
        colours = frame.orientation.to_stored(frame.rgb())
        if _is_label_map(frame, colours):
            mask = np.asarray(colours.any(2))
            return _shown(frame, mask), "a palette with colours: everything that is not black goes"
        bright = np.asarray(colours.max(2) > HALF)
        if colours.max() == 1 and _exact(frame):
            bright, how = np.asarray(colours.any(2)), "holds zeros and ones: one goes"
    if frame.layout.alpha:
        solid = frame.planes[-1] > (1 << frame.layout.bits) // 2 - 1
        if not solid.all():
            bright, how = _by_transparency(colours, bright, solid)
    return _shown(frame, bright), how


def fitted(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """`mask` bool [H, W] scaled to `size` (height, width)."""
    if mask.shape == size:
        return mask
    smaller = size[0] < mask.shape[0]
    scaled = cv2.resize(
        mask.astype(np.float32), (size[1], size[0]), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    )
    return np.asarray(scaled >= 0.5)


def same_aspect(a: tuple[int, int], b: tuple[int, int]) -> bool:
    """Whether a mask of size `a` (height, width) can be scaled to `b` without being bent."""
    return abs(a[0] * b[1] / (a[1] * b[0]) - 1) <= ALIKE


def _by_transparency(colours: NDArray, bright: NDArray, solid: NDArray) -> tuple[NDArray, str]:
    shown = colours[solid]
    if not len(shown):
        return ~solid, "transparent all over: all of it goes"
    one = bool((shown == shown[0]).all())
    if one and not (shown[0].max() <= HALF and solid.mean() > 0.5):
        return solid, "one colour on a transparent ground: what is opaque goes"
    levels = shown.max(1)
    drawn = one or ((levels > 32) & (levels < 223)).mean() > PHOTO or (np.ptp(shown, axis=1) > 32).mean() > PHOTO
    if drawn:
        return ~solid, "a picture with transparent places: what is transparent goes"
    return bright & solid, ""


def _shown(frame: Frame, mask: NDArray) -> NDArray[np.bool_]:
    return np.array(frame.orientation.to_display(mask))


def _exact(frame: Frame) -> bool:
    """Whether the samples are what was drawn, and not a coder's noise round black."""
    return frame.native.lossless if isinstance(frame.native, ImageNative) else frame.layout.model == "gray"


def _is_label_map(frame: Frame, colours: NDArray) -> bool:
    native = frame.native
    if not (isinstance(native, ImageNative) and native.mode in ("P", "PA")):
        return False
    return bool((colours.max(2) != colours.min(2)).any())
