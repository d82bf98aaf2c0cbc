"""The background plate of a still camera: each sample the median of the moments that show it.

Invariant: memory is fixed when the first frame is seen: a bounded number of samples for each pixel, drawn evenly over the shot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidrase.frames import Frame

MEMORY = 192 << 20
"""Bytes of samples: 25 a pixel up to 1080p, fewer above."""
MOST, LEAST = 25, 5
SEEN = 2
"""Moments that must show a pixel before the plate is believed there."""
_ROWS = 64  # sorted at a time


@dataclass(frozen=True, slots=True, eq=False)
class Plate:
    """The background in native planes."""

    planes: tuple[NDArray, ...]
    known: tuple[NDArray[np.bool_], ...]
    """A plane each: seen often enough."""
    spread: tuple[NDArray, ...]
    """A plane each, its dtype: half the spread of the middle half of the samples; large where the background moves."""
    noise: tuple[float, ...]
    """A plane each: standard deviation of the sensor's noise in sample values."""


class PlateBuilder:
    """Collects samples of unhidden pixels.

    For each pixel: Vitter, "Random sampling with a reservoir", TOMS 1985, algorithm R.
    """

    def __init__(self, first: Frame) -> None:
        size = sum(plane.nbytes for plane in first.planes)
        self._slots = int(np.clip(MEMORY // max(size, 1), LEAST, MOST))
        self._samples = [np.zeros((self._slots, plane.size), plane.dtype) for plane in first.planes]
        self._counts = [np.zeros(plane.size, np.uint16) for plane in first.planes]
        self._shapes = [plane.shape for plane in first.planes]
        self._first = tuple(first.planes)
        self._first_free: list[NDArray[np.bool_] | None] = [None] * len(first.planes)
        self._full = (1 << first.layout.bits) - 1
        self._random = np.random.default_rng(0)

    def add(self, frame: Frame, free: Sequence[NDArray[np.bool_] | None]) -> None:
        """Take in a frame. free: for each plane bool, True where nothing is in the way; None: nowhere anything."""
        for number, seen_plane in enumerate(frame.planes):
            count, mask = self._counts[number], free[number]
            plane = self._like_first(number, seen_plane, mask)
            places = np.arange(plane.size) if mask is None else np.flatnonzero(mask)
            seen = count[places].astype(np.intp)
            slot = seen.copy()
            full = seen >= self._slots
            # one draw a pixel: the k-th sample stays with probability slots / k
            slot[full] = (self._random.random(int(full.sum()), np.float32) * (seen[full] + 1)).astype(np.intp)
            keep = slot < self._slots
            self._samples[number][slot[keep], places[keep]] = plane.reshape(-1)[places[keep]]
            count[places] = np.minimum(seen + 1, np.iinfo(np.uint16).max)

    def _like_first(self, number: int, plane: NDArray, free: NDArray[np.bool_] | None) -> NDArray:
        """`plane` in the light of the first frame: exposure drifts, and a median over drifting light is nobody's light."""
        first = self._first[number]
        grid = np.s_[::4, ::4]
        known = np.ones(plane[grid].shape, bool) if free is None else free[grid]
        before = self._first_free[number]
        if before is None:
            self._first_free[number] = before = known
        offset = light_offset(plane[grid], first[grid], known & before)
        if abs(offset) < 0.5:
            return plane
        shifted = plane.astype(np.int32) + round(offset)
        return np.clip(shifted, 0, np.iinfo(plane.dtype).max if plane.dtype == np.uint8 else self._full).astype(
            plane.dtype
        )

    def finish(self) -> Plate:
        """The plate of what was seen."""
        planes, known, wander, noise = [], [], [], []
        for samples, counts, shape in zip(self._samples, self._counts, self._shapes, strict=True):
            middle, spread = np.zeros(counts.size, samples.dtype), np.zeros(counts.size, samples.dtype)
            step = _ROWS * shape[1]
            for start in range(0, counts.size, step):
                part = slice(start, start + step)
                middle[part], spread[part] = _median(samples[:, part], np.minimum(counts[part], self._slots))
            seen = counts >= min(SEEN, self._slots)
            planes.append(middle.reshape(shape))
            known.append(seen.reshape(shape))
            wander.append(spread.reshape(shape))
            often = counts >= LEAST
            # the middle half of a normal distribution is +-0.674 sigma wide
            noise.append(
                float(np.mean(np.sort(spread[often])[: int(often.sum() * 0.7) + 1])) / 0.674 if often.any() else 0.0
            )
        return Plate(tuple(planes), tuple(known), tuple(wander), tuple(noise))


def light_offset(plane: NDArray, like: NDArray, known: NDArray[np.bool_]) -> float:
    """What to add to `plane` so that most of it is as bright as `like`; 0 when too little is known."""
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
