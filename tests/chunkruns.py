"""A small clip in shots, filled in chunks that are short enough for a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import synth
from clips import write_clip
from numpy.typing import NDArray

from vidrase import engine
from vidrase.chunks import plan
from vidrase.flow import load_flow
from vidrase.frames import Frame
from vidrase.inpaint import load_inpainter
from vidrase.options import Choices, options_from
from vidrase.report import Report
from vidrase.run import Models
from vidrase.source import open_source

MASKS, CLIP = "masks.mkv", "clip.mp4"


def models(segmenter: object = None) -> Models:
    return Models(load_flow("dis", note=print), load_inpainter("telea"), segmenter)  # type: ignore[arg-type]


def make_clip(folder: Path, *shots: int, pan: tuple[float, float] = (0.0, 0.7)) -> list[NDArray[np.bool_]]:
    """A clip with sound, B-frames and one shot for each number of frames, and its masks as a video; returns the masks."""
    shown, masks = [], []
    for seed, count in enumerate(shots):
        pictures, holes, _ = synth.clip(count, 64, 96, pan=pan, step=(0, 3), size=16, seed=seed)
        shown += [np.clip(p.astype(int) + (60 if seed % 2 else -60), 0, 255).astype(np.uint8) for p in pictures]
        masks += holes
    write_masked(folder, shown, masks)
    return masks


def write_masked(folder: Path, shown: list[NDArray[np.uint8]], masks: list[NDArray[np.bool_]]) -> None:
    """Pictures as a clip with sound and B-frames, their masks as a video."""
    write_clip(folder / CLIP, shown, audio=True, options={"qp": "0", "g": "12", "bf": "2"}, pix_fmt="yuv420p")
    white = [np.repeat(mask[..., None], 3, 2).astype(np.uint8) * 255 for mask in masks]
    write_clip(folder / MASKS, white, codec="ffv1", pix_fmt="gray")


@contextmanager
def short_chunks(length: int, *, lead: int = 4) -> Iterator[None]:
    """Chunks of about `length` frames, whatever the workers."""
    before = plan.LONGEST, plan.SHORTEST, plan.LEAD
    plan.LONGEST, plan.SHORTEST, plan.LEAD = length, length, lead
    try:
        yield
    finally:
        plan.LONGEST, plan.SHORTEST, plan.LEAD = before


def run(
    folder: Path,
    to: str,
    *,
    clip: str = CLIP,
    made: Models | None = None,
    say: Any = None,
    by_products: engine.ByProducts | None = None,
    **choices: Any,
) -> Report:
    """Erase with the masks of `make_clip`, losslessly, unless `choices` say otherwise."""
    given: Choices = {"mask": folder / MASKS, "lossless": True, "quality": "fast", "overwrite": True}
    if "remove" in choices:
        del given["mask"]
    given |= choices  # type: ignore[typeddict-item]
    options = options_from(given)
    return engine.erase(folder / clip, folder / to, options, models=made or models(), say=say, by_products=by_products)


def decoded(path: Path) -> list[Frame]:
    with open_source(path) as source:
        return list(source)


def same(a: Path, b: Path) -> bool:
    """Whether two clips have the same frames, at the same times."""
    return all(
        one.pts * one.time_base == other.pts * other.time_base
        and all(np.array_equal(p, q) for p, q in zip(one.planes, other.planes, strict=True))
        for one, other in zip(decoded(a), decoded(b), strict=True)
    )


def dilated(mask: NDArray[np.bool_], px: int = 12) -> NDArray[np.bool_]:
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * px + 1, 2 * px + 1), np.uint8)) > 0
