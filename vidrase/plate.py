"""The background plate of a still camera: each sample is the median of the frames that show it.

Invariant: memory is fixed when the first frame is seen: a bounded number of samples per pixel, drawn uniformly over the shot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidrase.frames import Frame
from vidrase.light import LightSample, match_light

MEMORY = 192 << 20
"""Bytes of samples: 25 a pixel up to 1080p, fewer above."""
MAX_SAMPLES, MIN_SLOTS = 25, 5
MIN_SAMPLES = 2
"""Frames that must show a pixel before its plate value counts as known."""
BETTER = 1.25  # gain from one frame's contrast to another's, above which the other shows more
MAX_BURNT = 0.02  # share of a frame that may be burnt out beyond that of the frame whose light the plate has
MIN_CONFIDENCE = 0.15  # of a light, below which a frame is no sample of the plate: its values are amplified too much
_ROWS_PER_BLOCK = 64  # rows that are sorted at a time


@dataclass(frozen=True, slots=True, eq=False)
class Plate:
    """The background in native planes."""

    planes: tuple[NDArray, ...]
    known: tuple[NDArray[np.bool_], ...]
    """A plane each: shown by enough frames."""
    spread: tuple[NDArray, ...]
    """A plane each, its dtype: half the interquartile range of the samples; large where the background moves."""
    noise: tuple[float, ...]
    """A plane each: standard deviation of the sensor's noise in sample values."""


class PlateBuilder:
    """Collects samples of pixels that no object hides.

    For each pixel: Vitter, "Random sampling with a reservoir", TOMS 1985, algorithm R.
    """

    def __init__(self, first: Frame) -> None:
        frame_bytes = sum(plane.nbytes for plane in first.planes)
        self._slots = int(np.clip(MEMORY // max(frame_bytes, 1), MIN_SLOTS, MAX_SAMPLES))
        self._samples = [np.zeros((self._slots, plane.size), plane.dtype) for plane in first.planes]
        self._counts = [np.zeros(plane.size, np.uint16) for plane in first.planes]
        self._shapes = [plane.shape for plane in first.planes]
        self._random = np.random.default_rng(0)
        self._light: LightSample | None = None  # of the frame whose light the plate has
        self._like: tuple[tuple[NDArray, ...], list[NDArray[np.bool_]]] = (
            (),
            [],
        )  # its planes and where they show the background

    def add(self, frame: Frame, visible: Sequence[NDArray[np.bool_] | None]) -> None:
        """Add a frame. visible: for each plane bool, its shape, True where no object hides the background; None: everywhere."""
        planes = self._matched(frame, visible)
        for number, plane in enumerate(planes):
            count, mask = self._counts[number], visible[number]
            pixels = np.arange(plane.size) if mask is None else np.flatnonzero(mask)
            filled = count[pixels].astype(np.intp)
            slot = filled.copy()
            full = filled >= self._slots
            # One draw a pixel: the k-th sample is kept with probability slots / k.
            slot[full] = (self._random.random(int(full.sum()), np.float32) * (filled[full] + 1)).astype(np.intp)
            keep = slot < self._slots
            self._samples[number][slot[keep], pixels[keep]] = plane.reshape(-1)[pixels[keep]]
            count[pixels] = np.minimum(filled + 1, np.iinfo(np.uint16).max)

    def _matched(self, frame: Frame, visible: Sequence[NDArray[np.bool_] | None]) -> Sequence[NDArray]:
        """The planes of `frame` in the plate's light: a median over changing light fits no frame. Empty: the light cannot be
        matched.

        The plate takes the light of the frame that shows most; what was collected from darker or burnt-out ones is dropped.
        """
        sample = LightSample.of(frame.planes, frame.layout, None if visible[0] is None else ~visible[0])
        if self._light is None or self._shows_more(sample, self._light):
            self._light = sample
            self._like = frame.planes, [_known(*pair) for pair in zip(frame.planes, visible, strict=True)]
            for count in self._counts:
                count[:] = 0
            return frame.planes
        light = match_light(self._light, sample)
        if light is None or not light.of_whole:
            pairs = enumerate(zip(frame.planes, visible, strict=True))
            return [self._offset(number, plane, mask, frame) for number, (plane, mask) in pairs]
        if light.confidence < MIN_CONFIDENCE:
            return ()
        return [*light.relit_planes(frame.planes, frame.layout), *frame.planes[frame.layout.colour_planes :]]

    @staticmethod
    def _shows_more(sample: LightSample, than: LightSample) -> bool:
        """Whether a frame shows more of the background than the one whose light the plate has so far."""
        light = match_light(sample, than)
        if light is None or not light.of_whole:
            return False
        return sample.burnt <= than.burnt + MAX_BURNT and (
            float(light.gain.mean()) > BETTER or sample.burnt < than.burnt - MAX_BURNT
        )

    def _offset(self, number: int, plane: NDArray, visible: NDArray[np.bool_] | None, frame: Frame) -> NDArray:
        """`plane` with the median of the plate's light: small drifts of exposure."""
        grid = np.s_[::4, ::4]
        like, like_known = self._like
        offset = light_offset(plane[grid], like[number][grid], (_known(plane, visible) & like_known[number])[grid])
        if abs(offset) < 0.5:
            return plane
        full = (1 << frame.layout.bits) - 1
        shifted = plane.astype(np.int32) + round(offset)
        return np.clip(shifted, 0, full).astype(plane.dtype)

    def finish(self) -> Plate:
        """The plate of the frames added so far."""
        planes, known, spreads, noise = [], [], [], []
        for samples, counts, shape in zip(self._samples, self._counts, self._shapes, strict=True):
            middle, spread = np.zeros(counts.size, samples.dtype), np.zeros(counts.size, samples.dtype)
            step = _ROWS_PER_BLOCK * shape[1]
            for start in range(0, counts.size, step):
                part = slice(start, start + step)
                middle[part], spread[part] = _median(samples[:, part], np.minimum(counts[part], self._slots))
            filled = counts >= min(MIN_SAMPLES, self._slots)
            planes.append(middle.reshape(shape))
            known.append(filled.reshape(shape))
            spreads.append(spread.reshape(shape))
            sampled = counts >= MIN_SLOTS
            # The middle half of a normal distribution is +-0.674 sigma wide.
            noise.append(
                float(np.mean(np.sort(spread[sampled])[: int(sampled.sum() * 0.7) + 1])) / 0.674
                if sampled.any()
                else 0.0
            )
        return Plate(tuple(planes), tuple(known), tuple(spreads), tuple(noise))


def _known(plane: NDArray, visible: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    return np.ones(plane.shape, bool) if visible is None else visible


def light_offset(plane: NDArray, like: NDArray, known: NDArray[np.bool_]) -> float:
    """Offset to add to `plane` so that its median brightness matches `like`, over `known` pixels; 0 if fewer than 100 are
    known."""
    if known.sum() < 100:
        return 0.0
    return float(np.median(like[known].astype(np.float32) - plane[known]))


def _median(samples: NDArray, counts: NDArray[np.uint16]) -> tuple[NDArray, NDArray]:
    """(median, half the interquartile range) of the first `counts` of each column of `samples` [K, N]."""
    count = counts.astype(np.intp)
    used = np.arange(len(samples))[:, None] < count
    ordered = np.sort(np.where(used, samples, np.iinfo(samples.dtype).max), axis=0)
    columns = np.arange(samples.shape[1])
    low, high = np.maximum(count - 1, 0) // 2, count // 2
    high = np.minimum(high, np.maximum(count - 1, 0))
    middle = (ordered[low, columns].astype(np.uint32) + ordered[high, columns] + 1) // 2
    quarter = np.maximum(count - 1, 0) // 4
    spread = ordered[np.maximum(count - 1 - quarter, 0), columns] - ordered[quarter, columns]
    return middle.astype(samples.dtype), (spread + 1) // 2
