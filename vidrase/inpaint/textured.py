"""A network's colours with the picture's own texture: the network gives the coarse part, shifts of the picture the detail.

A small network continues grass, but paints it smooth. Shifts of the picture bring real blades, but not always in the right
light. The network's output guides the choice of shifts. Where a hole is thick and both agree on the coarse colours, the
shifts are taken as they are; elsewhere only their fine part is added, where the network's own is weaker.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.inpaint.classical import check
from vidrase.inpaint.protocol import Inpainter
from vidrase.inpaint.shifts import completed, surroundings

# Evidence for synthesis.texture: `rules.py`. Values of constants without a figure have no record yet.
SIDE = 256  # px: long side of the surroundings to which the lengths below refer
FINE_SIGMA = 4.0  # px: sigma of the blur that separates fine from coarse
NO_TEXTURE_BELOW = 4.0  # px: half the width of a hole up to which no texture is added (it would not be visible)
THIN, THICK = (
    12.0,
    20.0,
)  # px, half widths: below THIN the network alone gives the coarse part; above THICK shifts may give it alone
AGREE, DISAGREE = 10.0, 30.0
"""Grey levels between the coarse parts: up to AGREE shifts are used as they are, from DISAGREE not at all."""

Picture = NDArray[np.float32]
Mask = NDArray[np.bool_]


class TexturedInpainter:
    """See the module; known pixels come back bit for bit."""

    name = "textured"
    stride = 1

    def __init__(self, load: Callable[[], Inpainter]) -> None:
        """load: called for the network when something has to be synthesized; most clips need none."""
        self._load = load
        self._network: Inpainter | None = None
        self._made: NDArray[np.bool_] | None = None

    def without(self, made: NDArray[np.bool_]) -> TexturedInpainter:
        """See `Choosing`."""
        if self._network is None:
            self._network = self._load()
        other = TexturedInpainter(self._load)
        other._network, other._made = self._network, made
        return other

    def __call__(self, pixels: NDArray[np.float32], hole: NDArray[np.bool_]) -> NDArray[np.float32]:
        """See `Inpainter`."""
        check(pixels, hole)
        if self._network is None:
            self._network = self._load()
        out = self._network(pixels, hole)
        for k, (picture, where) in enumerate(zip(out, hole[:, 0], strict=True)):
            if where.any() and not where.all() and rules.enabled("synthesis.texture"):
                before = None if self._made is None else self._made[k, 0]
                made = textured(np.ascontiguousarray(picture.transpose(1, 2, 0)), where, before)
                picture[:, where] = made[where].T
        return out


def textured(smooth: Picture, hole: Mask, made: Mask | None = None) -> Picture:
    """float32 [H, W, 3] in [0, 1]: `smooth` with texture added in the hole where it has none.

    made: bool [H, W] earlier synthesis: no texture is copied from them.
    """
    crop = surroundings(hole)
    own, where = smooth[crop], hole[crop]
    shifted = completed(smooth, hole, made)[crop]
    unit = max(max(where.shape) / SIDE, 0.25)
    sigma = FINE_SIGMA * unit
    shifted_coarse, own_coarse = (cv2.GaussianBlur(picture, (0, 0), sigma) for picture in (shifted, own))
    fine = shifted - shifted_coarse
    weaker = 1 - _strength(own - own_coarse, where, 2 * sigma) / _strength(fine, where, 2 * sigma)
    thickness = _thickness(where, unit)
    visible = np.clip((thickness - NO_TEXTURE_BELOW) / (THIN - NO_TEXTURE_BELOW), 0, 1)
    mixed = own + (visible * np.clip(weaker, 0, 1))[..., None] * fine
    apart = 255 * np.sqrt(np.square(shifted_coarse - own_coarse).mean(2))
    trust = cv2.GaussianBlur(np.clip((DISAGREE - apart) / (DISAGREE - AGREE), 0, 1), (0, 0), sigma)
    trust = (trust * np.clip((thickness - THIN) / (THICK - THIN), 0, 1))[..., None]
    out = smooth.copy()
    made = np.clip(trust * shifted + (1 - trust) * mixed, 0, 1)
    out[crop] = np.where(where[..., None], made, own)
    return out


def _strength(fine: Picture, where: Mask, sigma: float) -> NDArray[np.float32]:
    """Local root mean square [H, W] of the fine part, over pixels of the hole only: the known part has its own texture."""
    inside = where.astype(np.float32)
    sums = cv2.GaussianBlur(np.square(fine).sum(2) * inside, (0, 0), sigma)
    return np.sqrt(sums / np.maximum(cv2.GaussianBlur(inside, (0, 0), sigma), 1e-3)) + np.float32(1e-4)


def _thickness(where: Mask, unit: float) -> NDArray[np.float32]:
    """Half the width [H, W] of the hole near each pixel, in `unit` px."""
    depth = cv2.distanceTransform(where.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5) / np.float32(unit)
    # at a size where a unit is a pixel or less: the cost of widening grows with the third power of the size
    height, width = where.shape
    scale = min(1.0, 1 / unit)
    small = cv2.resize(
        depth, (max(round(width * scale), 1), max(round(height * scale), 1)), interpolation=cv2.INTER_AREA
    )
    reach = 2 * round(THICK * unit * scale) + 1
    widest = cv2.dilate(small, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    widest = cv2.GaussianBlur(widest, (0, 0), FINE_SIGMA * unit * scale)
    return widest if scale == 1 else cv2.resize(widest, (width, height), interpolation=cv2.INTER_LINEAR)
