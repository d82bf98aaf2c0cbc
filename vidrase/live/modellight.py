"""The light of the current picture against the background model's: a lamp, a fade or a flash changes all of it at once.

The model keeps its own light while the picture's differs, and learns nothing; what is shown of it is put into the picture's
light. A light that stays becomes the model's.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.light import SAMPLE_SIDE, Light, LightSample, match_light, smoothed
from vidrase.live.background import BackgroundModel, Rect

SETTLED_FRAMES = 25  # frames: another light that has lasted for so long becomes the model's
STEP = 4  # px of the model from one that is compared to the next
DARKEST = 0.05  # gain below which colours cannot be put back into the model's light


class ModelLight:
    """The light of one stream."""

    def __init__(self) -> None:
        self._frames = 0  # successive frames in another light

    def step(
        self,
        small: NDArray[np.uint8],
        hidden: NDArray[np.bool_],
        background: BackgroundModel,
        homography: NDArray[np.float64] | None,
    ) -> tuple[Light | None, BackgroundModel | RelitBackground]:
        """(the light of the reduced picture `small`, uint8 [h, w, 3], without the `hidden` pixels, bool [h, w], or None: the
        model's; the background in it)."""
        light = match_light(
            _sample_of(small, ~hidden, background.size), _sample_of(*_seen(background, homography), background.size)
        )
        self._frames = 0 if light is None else self._frames + 1
        if light is None or self._frames < SETTLED_FRAMES or light.local is not None or not light.confidence:
            return light, background if light is None else RelitBackground(background, light)
        self._frames = 0
        background.colour[:] = np.clip(background.colour * light.gain + light.offset, 0, 255)
        return None, background


@dataclass(frozen=True, slots=True, eq=False)
class RelitBackground:
    """The model in another light, as the compositor uses it."""

    background: BackgroundModel
    light: Light

    @property
    def noise(self) -> float:
        """Of the model, grey levels."""
        return self.background.noise * max(float(self.light.gain.max()), 1.0)

    def view(
        self, rect: Rect, homography: NDArray[np.float64] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
        """See `BackgroundModel.view`."""
        colour, known, synthesized = self.background.view(rect, homography)
        lit = colour * self.light.gain + self.light.offset
        if self.light.local is not None:
            lit *= self._local(rect)
        return np.clip(lit, 0, 255), known, synthesized

    def store_synthesis(
        self, rect: Rect, colours: NDArray[np.float32], mask: NDArray[np.bool_], homography: NDArray[np.float64] | None
    ) -> None:
        """See `BackgroundModel.store_synthesis`; the colours are put back into the model's light."""
        if self.light.local is not None:
            colours = colours / self._local(rect)
        own = (colours - self.light.offset) / np.maximum(self.light.gain, DARKEST)
        self.background.store_synthesis(rect, np.clip(own, 0, 255).astype(np.float32), mask, homography)

    def _local(self, rect: Rect) -> NDArray[np.float32]:
        """float32 [h, w, 3] the local gain within `rect` of the frame."""
        assert self.light.local is not None
        y0, y1, x0, x1 = rect
        rows, columns = self.light.local.shape[:2]
        sy, sx = rows / self.light.size[0], columns / self.light.size[1]
        warp = np.array([[sx, 0, (x0 + 0.5) * sx - 0.5], [0, sy, (y0 + 0.5) * sy - 0.5]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        size = (x1 - x0, y1 - y0)
        return np.asarray(
            cv2.warpAffine(self.light.local, warp, size, flags=flags, borderMode=cv2.BORDER_REPLICATE), np.float32
        )


def _seen(
    background: BackgroundModel, homography: NDArray[np.float64] | None
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(colour, known) of the model as the frame sees it, every `STEP` px."""
    height, width = background.size
    if homography is None:
        colour, known, _ = background.view((0, height, 0, width), None)
        return np.ascontiguousarray(colour[::STEP, ::STEP]), known[::STEP, ::STEP]
    shift, reduce = np.eye(3), np.diag([1 / STEP, 1 / STEP, 1.0])
    shift[:2, 2] = -background.margin
    size = (-(-width // STEP), -(-height // STEP))
    matrix = reduce @ homography @ shift
    colour = cv2.warpPerspective(background.colour, matrix, size, flags=cv2.INTER_LINEAR)
    known = cv2.warpPerspective((background.weight > 0).astype(np.float32), matrix, size, flags=cv2.INTER_LINEAR)
    return np.asarray(colour, np.float32), known > 0.99


def _sample_of(rgb: NDArray, known: NDArray[np.bool_], size: tuple[int, int]) -> LightSample:
    height, width = size
    scale = min(1.0, SAMPLE_SIDE / max(height, width))
    small = max(round(width * scale), 2), max(round(height * scale), 2)
    share = cv2.resize(known.astype(np.float32), small, interpolation=cv2.INTER_AREA)
    colours = cv2.resize(rgb, small, interpolation=cv2.INTER_AREA).astype(np.float32)
    clear = share > 0.99
    return LightSample(smoothed(colours, clear), clear, size)
