"""Pictures for the page: before, mask, after, truth, difference, and a row through time."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from vidrase.bench.case import Case, Mask, Rgb
from vidrase.bench.results import Strip

TALL = 168  # px of a picture on the page
GAIN = 4  # differences are shown four times as large


def strip_of(case: Case, filled: Sequence[Rgb], caption: str) -> Strip:
    """The moment with the largest error, cropped around the hole; for clips also one row of pixels through time."""
    t = worst_moment(case, filled)
    hole, crop = case.holes[t], around(case.holes[t])
    pictures = [
        ("given", case.shown[t][crop]),
        ("mask", marked(case.truth[t], hole)[crop]),
        ("vidrase", filled[t][crop]),
        ("truth", case.truth[t][crop]),
        (f"difference ×{GAIN}", difference(filled[t], case.truth[t])[crop]),
    ]
    if len(filled) > 2:
        row = int(np.flatnonzero(hole.any(1)).mean())
        pictures += [
            (f"row {row} over time", np.stack([f[row] for f in filled])),
            ("… of the truth", np.stack([f[row] for f in case.truth])),
        ]
    return Strip(case.name, f"{caption} · frame {t}", [(title, scaled(p)) for title, p in pictures], case.public)


def worst_moment(case: Case, filled: Sequence[Rgb]) -> int:
    """Index of the frame whose hole is furthest from the truth, by summed absolute error."""
    errors = [
        float(np.abs(f[h].astype(np.int16) - t[h]).sum())
        for f, h, t in zip(filled, case.holes, case.truth, strict=True)
    ]
    return int(np.argmax(errors))


def around(hole: Mask, share: float = 0.35) -> tuple[slice, slice]:
    """Rows and columns of the hole with a margin of `share` of its size, at least 24 px each side; all when empty."""
    if not hole.any():
        return slice(None), slice(None)
    spans = []
    for axis in (1, 0):
        at = np.flatnonzero(hole.any(axis))
        margin = max(24, int(share * (at[-1] - at[0])))
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


def scaled(picture: Rgb) -> Rgb:
    """At the page's height; few rows (a row through time) are made tall by repeating, which keeps moments apart."""
    height, width = picture.shape[:2]
    wide = max(24, min(round(width * TALL / height), 2 * TALL))
    how = cv2.INTER_AREA if height > TALL else cv2.INTER_NEAREST if height < TALL / 2 else cv2.INTER_LINEAR
    return cv2.resize(picture, (wide, TALL), interpolation=how).astype(np.uint8)
