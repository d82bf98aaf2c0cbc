"""Stills: photographs with irregular holes by hole-share bins, and with object silhouettes.

The bins 0-10 … 50-60 % are those of Liu et al. 2018 (arXiv 1804.07723, table 1). Photographs are cropped square in the middle and
scaled to `size`; 256 px is where every peer can take part.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from vidrase.bench.case import Case, CaseRef, Mask, blanked
from vidrase.bench.folders import pictures_in, read_mask, read_rgb
from vidrase.errors import UnsupportedSource

BINS = ("00-10", "10-20", "20-30", "30-40", "40-50", "50-60")


def still_cases(data: Path, size: int, each: int) -> list[CaseRef]:
    """`each` photographs for every bin of irregular masks, and as many with object masks; bins without masks are left out."""
    photographs = pictures_in(data / "images" / "val_kodak")
    if not photographs:
        raise UnsupportedSource(f"no photographs in {data / 'images' / 'val_kodak'}; expected pictures there")
    irregular = pictures_in(data / "masks" / "irregular")
    if not irregular:
        raise UnsupportedSource(
            f"no masks in {data / 'masks' / 'irregular'}; expected pictures named <bin>_<number>, such as 10-20_003.png"
        )
    refs = []
    for number, share in enumerate(BINS):
        masks = [path for path in irregular if path.stem.startswith(share)]
        refs += _pairs(photographs, masks, f"{share} %", size, each, shift=number, public=True)
    objects = pictures_in(data / "masks" / "object")
    return refs + _pairs(
        photographs, objects[:: max(1, len(objects) // each)], "object", size, each, shift=7, public=False
    )


def _pairs(
    photographs: list[Path], masks: list[Path], group: str, size: int, each: int, *, shift: int, public: bool
) -> list[CaseRef]:
    """Photograph k with mask k, the photographs shifted from group to group so that a small set still sees many of them."""
    refs = []
    for k in range(min(each, len(masks))):
        photograph = photographs[(k + shift * each) % len(photographs)]
        name = f"{group}/{photograph.stem}@{size}"
        refs.append(CaseRef(name, partial(_case, name, photograph, masks[k], size, public=public)))
    return refs


def _case(name: str, photograph: Path, mask: Path, size: int, *, public: bool) -> Case:
    picture = read_rgb(photograph)
    side = min(picture.shape[:2])
    y, x = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
    square = _squared(picture[y : y + side, x : x + side], size)
    hole: Mask = read_mask(mask, (size, size))
    if not hole.any():
        raise UnsupportedSource(f"{mask} marks no pixel at {size} px")
    truth, holes = [square], [hole]
    return Case(name, "photo", blanked(truth, holes), holes, truth, public=public)


def _squared(picture: np.ndarray, size: int) -> np.ndarray:
    import cv2

    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
