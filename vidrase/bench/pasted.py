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
COVERS = 0.02  # of a pixel, from which on it counts as the person's


@dataclass(frozen=True, slots=True, eq=False)
class Removal:
    """T frames with something to remove, RGB uint8 [H, W, 3]."""

    name: str
    given: Sequence[Rgb]
    truth: Sequence[Rgb]
    masks: Sequence[Mask]
    """bool [H, W]: every pixel that the object covers, even in part."""
    what: str = "person"
    public: bool = False
    shadows: Sequence[Mask] | None = None
    """bool [H, W]: every pixel that the object's shadow darkens, faint rims included; it may reach under the object. None: not
    known; all False: it casts none."""

    @property
    def touched(self) -> list[Mask]:
        """bool [H, W] for each frame: the object and, where known, its shadow."""
        if self.shadows is None:
            return list(self.masks)
        return [mask | shadow for mask, shadow in zip(self.masks, self.shadows, strict=True)]


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
    scale = TALL * size[0] / height_of(outlines)
    given, masks = [], []
    for t in range(count):
        across = 0.15 + 0.7 * t / max(count - 1, 1)
        person_there, cover = placed(actor[t], outlines[t], size, scale, (across, FEET))
        given.append(composed(truth[t], person_there, cover))
        masks.append(cover > COVERS)
    no_shadow = [np.zeros_like(mask) for mask in masks]
    return Removal(f"paste/{background}+{person}", given, truth[:count], masks, shadows=no_shadow)


def height_of(outlines: Sequence[Mask]) -> float:
    """Median height in px of the outlines that are not empty."""
    return float(np.median([_extent(outline)[1] for outline in outlines if outline.any()]))


def placed(
    actor: Rgb, outline: Mask, size: tuple[int, int], scale: float, at: tuple[float, float]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(colours [H, W, 3] grey levels, cover [H, W] in 0..1) of the cut-out on a canvas of `size` (height, width).

    at: shares of the canvas' width and height where the cut-out's middle column and its lowest row come to lie.
    """
    height, width = size
    if not outline.any():
        return np.zeros((height, width, 3), np.float32), np.zeros((height, width), np.float32)
    middle, _, bottom = _extent(outline)
    shift = np.array([[scale, 0, at[0] * width - scale * middle], [0, scale, at[1] * height - scale * bottom]])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    alpha = cv2.GaussianBlur(outline.astype(np.float32), (0, 0), 0.8 / scale)
    # the soft edge must not carry the other clip's background along: the actor's colours are grown past the outline
    grown = cv2.inpaint(actor, ((alpha > 0) & ~outline).astype(np.uint8), 2, cv2.INPAINT_TELEA)
    colours = cv2.warpAffine(grown, shift, (width, height), flags=how)
    cover = cv2.warpAffine(alpha, shift, (width, height), flags=how)
    return colours.astype(np.float32), cover.astype(np.float32)


def composed(background: NDArray, colours: NDArray[np.float32], cover: NDArray[np.float32]) -> Rgb:
    """`colours` over `background`, both [H, W, 3] in grey levels, by `cover` [H, W] in 0..1."""
    mixed = cover[..., None] * colours + (1 - cover[..., None]) * background
    return np.rint(mixed).astype(np.uint8)


def _extent(outline: Mask) -> tuple[float, float, float]:
    """(middle column, height, lowest row) of an outline."""
    rows, columns = np.flatnonzero(outline.any(1)), np.flatnonzero(outline.any(0))
    return float(columns.mean()), float(rows[-1] - rows[0] + 1), float(rows[-1])
