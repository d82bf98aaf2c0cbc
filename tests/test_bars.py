"""Black bars beside the picture: a hole across their border smears neither into the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import synth
from clips import write_clip
from numpy.typing import NDArray
from PIL import Image

import vidrase

BAR, HEIGHT, WIDTH = 16, 96, 128
MASK = np.zeros((HEIGHT, WIDTH), bool)
MASK[30:70, 6:44] = True


def barred() -> Sequence[NDArray[np.uint8]]:
    textures = synth.clip(8, HEIGHT, WIDTH - 2 * BAR, size=14, step=(0, 3), seed=3)[2]
    return [np.pad(cv2.GaussianBlur(t, (0, 0), 1.2), ((0, 0), (BAR, BAR), (0, 0))) for t in textures]


def removed(where: Path, to: Path, **options: object) -> None:
    Image.fromarray(MASK.astype(np.uint8) * 255).save(where.parent / "mask.png")
    vidrase.erase(where, to, mask=where.parent / "mask.png", **options)  # type: ignore[arg-type]


def check(out: NDArray[np.uint8], given: NDArray[np.uint8]) -> None:
    inside = np.zeros_like(MASK)
    inside[:, BAR:-BAR] = True
    assert out[MASK & ~inside].max() <= 2, "the picture smears into the bar"
    edge = np.zeros_like(MASK)
    edge[:, BAR : BAR + 4] = True
    darkened = out[MASK & inside].mean() - out[MASK & edge].mean()
    assert darkened < 12, "the bar smears into the picture"
    untouched = ~cv2.dilate(MASK.astype(np.uint8), np.ones((25, 25))).astype(bool)
    assert np.array_equal(out[untouched], given[untouched])


def test_a_still_with_bars(tmp_path: Path) -> None:
    given = barred()[0]
    Image.fromarray(given).save(tmp_path / "in.png")
    removed(tmp_path / "in.png", tmp_path / "out.png")
    check(np.array(Image.open(tmp_path / "out.png").convert("RGB")), given)


def test_a_clip_with_bars(tmp_path: Path) -> None:
    given = barred()
    write_clip(tmp_path / "in.mkv", given, codec="ffv1", pix_fmt="bgr0")
    removed(tmp_path / "in.mkv", tmp_path / "out.mkv", codec="ffv1")
    with vidrase.source.open_source(tmp_path / "out.mkv") as source:  # type: ignore[attr-defined]
        for frame, before in zip(source, given, strict=True):
            check(frame.rgb(), before)
