"""Completion: real frames with somebody else's hole in them, at the papers' 432x240.

Moving: a clip's frames with another clip's object masks. Still: a blob that stays where it is. In the papers (STTN,
FuseFormer, E2FGVI, ProPainter) the still masks are a fixed downloaded set; ours are drawn in their manner from a fixed seed,
so our numbers are like theirs in kind, not comparable to the decimal.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from vidrase.bench.case import Case, CaseRef, blanked
from vidrase.bench.folders import clip_names, davis_root, pictures_in, read_annotations, read_clip, read_mask, read_rgb
from vidrase.bench.scenes import blob
from vidrase.errors import ShapeError, UnsupportedSource

SIZE = (240, 432)

Ref = TypeVar("Ref")


def completion_cases(data: Path, frames: int) -> list[CaseRef]:
    """Every clip of a DAVIS-like folder twice: with the masks of the clip five further on, and with a blob."""
    davis = davis_root(data)
    names = clip_names(davis)
    if len(names) < 2:
        raise UnsupportedSource(
            f"{davis} holds one clip only; completion takes the frames of one and the masks of another"
        )
    step = 5 if len(names) > 5 else 1
    moving = [(name, names[(k + step) % len(names)]) for k, name in enumerate(names)]
    refs = [CaseRef(f"moving/{a}+{b}", partial(_moving, davis, a, b, frames)) for a, b in moving]
    return refs + [CaseRef(f"still/{name}", partial(_still, davis, name, k, frames)) for k, name in enumerate(names)]


def _moving(davis: Path, name: str, masks_of: str, frames: int) -> Case:
    _same_native_size(davis, masks_of)
    truth = read_clip(davis, name, frames, SIZE)
    masks = read_annotations(davis, masks_of, len(truth), SIZE)
    truth = truth[: len(masks)]
    if not any(mask.any() for mask in masks):
        raise UnsupportedSource(f"the annotations of '{masks_of}' are black in all of {len(masks)} frames")
    return Case(f"moving/{name}+{masks_of}", "moving", blanked(truth, masks), masks, truth)


def _still(davis: Path, name: str, seed: int, frames: int) -> Case:
    truth = read_clip(davis, name, frames, SIZE)
    masks = blob(len(truth), SIZE, seed=100 + seed, moving=False, share=(0.06, 0.1, 0.16)[seed % 3])
    return Case(f"still/{name}", "still", blanked(truth, masks), masks, truth)


def _same_native_size(davis: Path, name: str) -> None:
    frame = pictures_in(davis / "JPEGImages" / name)[0]
    annotation = pictures_in(davis / "Annotations" / name)
    if annotation:
        pictures = (read_rgb(frame).shape[:2], read_mask(annotation[0]).shape)
        if pictures[0] != pictures[1]:
            raise ShapeError(
                f"clip '{name}' in {davis}: frames are {pictures[0]}, annotations {pictures[1]}; expected one size"
            )


def spread(refs: Sequence[Ref], count: int) -> list[Ref]:
    """`count` of them, evenly spread: the quick set."""
    if count >= len(refs):
        return list(refs)
    return [refs[round(k * (len(refs) - 1) / max(count - 1, 1))] for k in range(count)]
