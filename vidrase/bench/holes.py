"""Masks after the mask stage: is the annotated performer covered in every frame, with how much more, and how steadily?

Evaluated are the tracks that lie mostly on the annotation, and objects attached to them. They are compared with the detector's
own mask of the same performer, frame by frame.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidrase import metrics
from vidrase.bench.case import Mask, Rgb, as_frames
from vidrase.bench.folders import davis_root, read_annotations, read_clip
from vidrase.bench.masks import PlainFinder, people_clips, shipped_weights
from vidrase.bench.peers import OURS
from vidrase.bench.results import Results, Row
from vidrase.bench.tools import coco_weights
from vidrase.errors import VidraseError
from vidrase.flow import DisFlow
from vidrase.mask import mask
from vidrase.options import MaskOptions, ModelOptions, SelectOptions
from vidrase.report import Notes
from vidrase.segment import Segmenter, load_segmenter
from vidrase.select import Selection, select
from vidrase.store import InstanceStore
from vidrase.track import track

COCO = "ultralytics, COCO weights"


def run_holes(data: Path, results: Results, *, quick: bool, device: str = "auto") -> None:
    """Every clip with people, by ours as installed, ours with the weights that come along, and the detector alone."""
    for name in people_clips(data):
        davis, count = davis_root(data), 12 if quick else 80
        pictures, truths = read_clip(davis, name, count), read_annotations(davis, name, count)
        flows = flows_of(pictures)
        for title, ours in _found(pictures, truths, results, f"holes/{name}", device):
            numbers = hole_numbers(ours.holes, truths, flows) | edge_numbers(ours, truths)
            results.add(Row("masks", "holes", f"holes/{name}", title, numbers))


@dataclass(frozen=True, slots=True, eq=False)
class Erased:
    """What `--remove` of the annotated performer comes to, bool [H, W] for each picture."""

    holes: list[Mask]
    """All pixels that change."""
    cores: list[Mask]
    """The object as the mask stage sees it, not dilated."""
    found: list[Mask]
    """The object as it was detected and tracked."""


def erased(pictures: Sequence[Rgb], truths: Sequence[Mask], segmenter: Segmenter) -> Erased:
    """The annotated performer before and after the mask stage."""
    with tracked(pictures, truths, segmenter) as performer:
        holes, cores = _stage(pictures, performer)
        found = [np.zeros(picture.shape[:2], bool) for picture in pictures]
        if performer.chosen is not None:
            for index, mask_of in enumerate(found):
                instances = performer.store.get(index)
                for k in np.flatnonzero(performer.chosen.chosen(instances)).tolist():
                    mask_of |= instances.mask(k)
        return Erased(holes, cores, found)


def edge_numbers(ours: Erased, truths: Sequence[Mask]) -> dict[str, float]:
    """How well outlines follow the annotation's: `edge` after the mask stage, `edge before` it."""
    numbers = {}
    for name, masks in (("edge before", ours.found), ("edge", ours.cores)):
        each = [metrics.boundary_f(one, truth) for one, truth in zip(masks, truths, strict=True)]
        numbers[name] = round(float(np.nanmean(each)), 4)
    return numbers


@dataclass(frozen=True, slots=True, eq=False)
class Performer:
    """The annotated performer, detected and tracked."""

    store: InstanceStore
    chosen: Selection | None
    """None: nobody was found on the annotation."""


@contextmanager
def tracked(pictures: Sequence[Rgb], truths: Sequence[Mask], segmenter: Segmenter) -> Iterator[Performer]:
    """The tracks that lie mostly on the annotation, and what goes along with them."""
    options, notes = ModelOptions(), Notes()
    with InstanceStore() as store:
        for frame, found in track(as_frames(pictures), segmenter, batch=options.batch, note=notes):
            store.append(frame, found)
        tracks = store.tracks()
        on: dict[int, int] = dict.fromkeys((one.id for one in tracks), 0)
        for found, truth in zip(store, truths, strict=True):
            for k, number in enumerate(found.ids.tolist()):
                shown = found.mask(k)
                on[number] += 2 * int((shown & truth).sum()) - int(shown.sum())
        performer = [f"id:{one.id}" for one in tracks if one.label == "person" and on[one.id] > 0]
        wanted = SelectOptions(remove=tuple(performer))
        yield Performer(store, select(wanted, tracks, segmenter.names) if performer else None)


def holes_of(pictures: Sequence[Rgb], performer: Performer) -> list[Mask]:
    """bool [H, W] for each picture: the hole that the mask stage makes of the performer."""
    return _stage(pictures, performer)[0]


def _stage(pictures: Sequence[Rgb], performer: Performer) -> tuple[list[Mask], list[Mask]]:
    """(holes, their cores)."""
    if performer.chosen is None:
        return tuple([np.zeros(picture.shape[:2], bool) for picture in pictures] for _ in range(2))  # type: ignore[return-value]
    holes, cores = [], []
    seen = ((frame, performer.store.get(frame.index)) for frame in as_frames(pictures))
    for one in mask(seen, chosen=performer.chosen.chosen, options=MaskOptions(), flow=DisFlow()):
        area, core = np.zeros((2, *one.frame.size), bool)
        if one.hole:
            rows, columns = one.hole.area.shape
            region = np.s_[one.hole.y : one.hole.y + rows, one.hole.x : one.hole.x + columns]
            area[region], core[region] = one.hole.area, one.hole.core
        holes.append(area)
        cores.append(core)
    return holes, cores


def hole_numbers(
    masks: Sequence[Mask], truths: Sequence[Mask], flows: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]
) -> dict[str, float]:
    """Measures of one clip; flows: for neighbouring frames, (there, back) float32 [H, W, 2] px."""
    shares = np.array([metrics.recall(one, truth) for one, truth in zip(masks, truths, strict=True) if truth.any()])
    numbers = {
        "covered": round(float(shares.mean()), 4),
        "least": round(float(shares.min()), 4),
        "dropouts": round(float((shares < 0.5).mean()), 4),
        "area": round(sum(int(one.sum()) for one in masks) / max(sum(int(truth.sum()) for truth in truths), 1), 3),
        "jumps": round(metrics.mask_jumps(masks, [back for _, back in flows]), 4),
        "blinks": round(metrics.mask_blinks(masks, flows), 4),
    }
    return {name: value for name, value in numbers.items() if np.isfinite(value)}  # nothing found: nothing that jumps


def _found(
    pictures: Sequence[Rgb], truths: Sequence[Mask], results: Results, case: str, device: str
) -> Iterator[tuple[str, Erased]]:
    """(method, its masks) of everything that can be compared here."""
    coco: Path | None = None
    try:
        coco = coco_weights()
    except VidraseError:
        results.skipped.append(f"{case}: no COCO weights for the detector alone")
    for title, model in ((OURS, None), *((f"vidrase, {path.stem}", str(path)) for path in shipped_weights())):
        try:
            segmenter = load_segmenter(ModelOptions(model=model, device=device), note=Notes())
            yield title, erased(pictures, truths, segmenter)
        except VidraseError as error:
            results.fail("masks", case, title, error)
    if coco:
        plain = PlainFinder(coco, device, None)
        alone = [_on(plain(picture).masks, truth) for picture, truth in zip(pictures, truths, strict=True)]
        yield COCO, Erased(alone, alone, alone)


def _on(masks: Sequence[Mask], truth: Mask) -> Mask:
    """Those that lie mostly on the annotation, as one."""
    mine = [one for one in masks if 2 * int((one & truth).sum()) > int(one.sum())]
    return np.logical_or.reduce(mine) if mine else np.zeros(truth.shape, bool)


def flows_of(pictures: Sequence[Rgb]) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """(there, back) for every two neighbours, float32 [H, W, 2] px."""
    flow = DisFlow()
    lumas = [frame.luma() for frame in as_frames(pictures)]
    return [(flow(a[None], b[None])[0], flow(b[None], a[None])[0]) for a, b in itertools.pairwise(lumas)]
