"""Pictures for the page: before, mask, after, truth, difference, and a row through time."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from vidrase.bench.case import Case, Mask, Rgb
from vidrase.bench.results import Strip

TALL = 168  # px of a picture on the page
GAIN = 4  # differences are shown four times as large


def strip_of(
    case: Case, filled: Sequence[Rgb], caption: str, worth: float, rival: tuple[str, Sequence[Rgb]] | None
) -> Strip:
    """The moment with the largest error, cropped around the hole; for clips also one row of pixels through time.

    rival: (name, frames) of the best of the others, to see what it would have looked like.
    """
    t = worst_moment(case, filled)
    hole, crop = case.holes[t], around(case.holes[t])
    pictures = [("given", case.shown[t]), ("mask", marked(case.truth[t], hole)), ("vidrase", filled[t])]
    pictures += [(rival[0], rival[1][t])] if rival else []
    pictures += [("truth", case.truth[t]), (f"difference ×{GAIN}", difference(filled[t], case.truth[t]))]
    cropped = [(title, scaled(picture[crop])) for title, picture in pictures]
    if len(filled) > 2:
        row = int(np.flatnonzero(hole.any(1)).mean())
        for title, clip in (("vidrase", filled), ("truth", case.truth)):
            cropped.append(
                (f"{title}, row {row} over time", scaled(np.stack([f[row, crop[1]] for f in clip]), least=1.2))
            )
    return Strip(case.name, f"{caption} · frame {t}", cropped, case.public, worth)


def worst_moment(case: Case, filled: Sequence[Rgb]) -> int:
    """Index of the frame whose hole is furthest from the truth, by summed absolute error."""
    errors = [
        float(np.abs(f[h].astype(np.int16) - t[h]).sum())
        for f, h, t in zip(filled, case.holes, case.truth, strict=True)
    ]
    return int(np.argmax(errors))


def around(hole: Mask, share: float = 0.35) -> tuple[slice, slice]:
    """Rows and columns of the hole with a margin of `share` of its size, about as wide as tall at least; all when empty."""
    if not hole.any():
        return slice(None), slice(None)
    spans = []
    tall = 0
    for axis in (1, 0):
        at = np.flatnonzero(hole.any(axis))
        size = int(at[-1] - at[0]) + 1
        margin = max(24, int(share * size), (tall - size) // 2)
        tall = size + 2 * margin
        spans.append(slice(max(int(at[0]) - margin, 0), int(at[-1]) + margin + 1))
    return spans[0], spans[1]


def marked(picture: Rgb, hole: Mask) -> Rgb:
    """The picture with the hole tinted red."""
    tinted = picture.copy()
    tinted[hole] = (tinted[hole] * 0.35 + np.array([235, 40, 60]) * 0.65).astype(np.uint8)
    return tinted


def difference(a: Rgb, b: Rgb) -> Rgb:
    """Absolute difference, `GAIN` times as large."""
    return np.clip(np.abs(a.astype(np.int16) - b) * GAIN, 0, 255).astype(np.uint8)


def scaled(picture: Rgb, *, least: float = 0.0) -> Rgb:
    """At the page's height, at least `least` times as wide; few rows (one through time) are repeated: moments stay apart."""
    height, width = picture.shape[:2]
    wide = max(24, int(least * TALL), min(round(width * TALL / height), 2 * TALL))
    how = cv2.INTER_AREA if height > TALL else cv2.INTER_NEAREST if height < TALL / 2 else cv2.INTER_LINEAR
    return cv2.resize(picture, (wide, TALL), interpolation=how).astype(np.uint8)
