"""The background plate of a still camera: each sample is the median of the frames that show it.

Invariant: memory is fixed when the first frame is seen: a bounded number of samples per pixel, drawn uniformly over the shot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidrase.frames import Frame

MEMORY = 192 << 20
"""Bytes of samples: 25 a pixel up to 1080p, fewer above."""
MAX_SAMPLES, MIN_SLOTS = 25, 5
MIN_SAMPLES = 2
"""Frames that must show a pixel before its plate value counts as known."""
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
        self._first = tuple(first.planes)
        self._first_visible: list[NDArray[np.bool_] | None] = [None] * len(first.planes)
        self._full = (1 << first.layout.bits) - 1
        self._random = np.random.default_rng(0)

    def add(self, frame: Frame, visible: Sequence[NDArray[np.bool_] | None]) -> None:
        """Add a frame. visible: for each plane bool, its shape, True where no object hides the background; None: everywhere."""
        for number, raw_plane in enumerate(frame.planes):
            count, mask = self._counts[number], visible[number]
            plane = self._match_exposure(number, raw_plane, mask)
            pixels = np.arange(plane.size) if mask is None else np.flatnonzero(mask)
            filled = count[pixels].astype(np.intp)
            slot = filled.copy()
            full = filled >= self._slots
            # One draw a pixel: the k-th sample is kept with probability slots / k.
            slot[full] = (self._random.random(int(full.sum()), np.float32) * (filled[full] + 1)).astype(np.intp)
            keep = slot < self._slots
            self._samples[number][slot[keep], pixels[keep]] = plane.reshape(-1)[pixels[keep]]
            count[pixels] = np.minimum(filled + 1, np.iinfo(np.uint16).max)

    def _match_exposure(self, number: int, plane: NDArray, visible: NDArray[np.bool_] | None) -> NDArray:
        """`plane` with the exposure of the first frame: a median over drifting exposure fits no frame."""
        first = self._first[number]
        grid = np.s_[::4, ::4]
        known = np.ones(plane[grid].shape, bool) if visible is None else visible[grid]
        first_known = self._first_visible[number]
        if first_known is None:
            self._first_visible[number] = first_known = known
        offset = light_offset(plane[grid], first[grid], known & first_known)
        if abs(offset) < 0.5:
            return plane
        shifted = plane.astype(np.int32) + round(offset)
        return np.clip(shifted, 0, np.iinfo(plane.dtype).max if plane.dtype == np.uint8 else self._full).astype(
            plane.dtype
        )

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
