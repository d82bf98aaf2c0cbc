"""Clips with a person who was never there: cut out of one clip by annotation, pasted, walking, into another.

The truth is the clip before pasting. Edges are soft, as a lens makes them; the person crosses the frame while the
cut-out goes through its own motion, at the height of half the frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.bench.case import Mask, Rgb
from vidrase.bench.folders import clip_names, davis_root, read_annotations, read_clip
from vidrase.errors import UnsupportedSource

SIZE = (360, 640)
PEOPLE = ("lucia", "tennis", "hike", "dance-twirl", "breakdance")
EMPTY = ("camel", "blackswan", "rhino", "flamingo", "car-turn", "boat")
TALL, FEET = 0.55, 0.93  # of the frame's height


@dataclass(frozen=True, slots=True, eq=False)
class Removal:
    """T frames with something to remove, RGB uint8 [H, W, 3]."""

    name: str
    given: Sequence[Rgb]
    truth: Sequence[Rgb]
    masks: Sequence[Mask]
    """bool [H, W]: everything the thing touches."""
    what: str = "person"
    public: bool = False


RemovalRef = tuple[str, Callable[[], Removal]]
"""(name, what makes the clip when its turn comes)."""


def pasted_names(data: Path) -> list[tuple[str, str]]:
    """(background, person) pairs that a DAVIS-like folder can give. Raises when it holds none of the clips known by name."""
    davis = davis_root(data)
    names = set(clip_names(davis))
    backgrounds, people = [n for n in EMPTY if n in names], [n for n in PEOPLE if n in names]
    if not backgrounds or not people:
        missing = "a clip without people" if people else "a person"
        raise UnsupportedSource(f"{davis} holds no DAVIS clip known to show {missing} ({', '.join(PEOPLE + EMPTY)})")
    return [(background, people[k % len(people)]) for k, background in enumerate(backgrounds)]


def pasted(data: Path, background: str, person: str, frames: int, size: tuple[int, int] = SIZE) -> Removal:
    """The clip `background`, scaled to `size` (height, width), with the person of the clip `person` in it."""
    davis = davis_root(data)
    truth = read_clip(davis, background, frames, size)
    actor, outlines = read_clip(davis, person, frames), read_annotations(davis, person, frames)
    count = min(len(truth), len(actor))
    tall = float(np.median([_extent(outline)[1] for outline in outlines if outline.any()]))
    scale = TALL * size[0] / tall
    given, masks = [], []
    for t in range(count):
        across = 0.15 + 0.7 * t / max(count - 1, 1)
        picture, alpha = _paste(truth[t], actor[t], outlines[t], scale, across)
        given.append(picture)
        masks.append(alpha > 0.02)
    return Removal(f"paste/{background}+{person}", given, truth[:count], masks)


def _paste(background: Rgb, actor: Rgb, outline: Mask, scale: float, across: float) -> tuple[Rgb, NDArray[np.float32]]:
    """(picture uint8, cover [H, W] in 0..1) with the actor's middle at `across` of the width, feet at `FEET` of the height."""
    height, width = background.shape[:2]
    if not outline.any():
        return background, np.zeros((height, width), np.float32)
    middle, _, bottom = _extent(outline)
    shift = np.array([[scale, 0, across * width - scale * middle], [0, scale, FEET * height - scale * bottom]])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    alpha = cv2.GaussianBlur(outline.astype(np.float32), (0, 0), 0.8 / scale)
    # the soft edge must not carry the other clip's background along: the actor's colours are grown past the outline
    grown = cv2.inpaint(actor, ((alpha > 0) & ~outline).astype(np.uint8), 2, cv2.INPAINT_TELEA)
    placed = cv2.warpAffine(grown, shift, (width, height), flags=how)
    cover = cv2.warpAffine(alpha, shift, (width, height), flags=how)
    mixed = cover[..., None] * placed + (1 - cover[..., None]) * background
    return np.rint(mixed).astype(np.uint8), cover.astype(np.float32)


def _extent(outline: Mask) -> tuple[float, float, float]:
    """(middle column, height, lowest row) of an outline."""
    rows, columns = np.flatnonzero(outline.any(1)), np.flatnonzero(outline.any(0))
    return float(columns.mean()), float(rows[-1] - rows[0] + 1), float(rows[-1])
