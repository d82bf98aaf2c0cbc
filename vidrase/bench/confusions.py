"""What the detector takes for something else: people where there are none, and every class against the COCO weights.

`heldout.txt` names photographs that no training of ours sees from now on (`vidrase train segmenter --leave-out`), each with what
it shows: an animal, a vehicle, a thing (tools, clothes, rooms), or `any`. In all but the last nobody is to be seen: the COCO
weights find no person above .25, and they were looked through. Frames of clips with animals and nobody are judged as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import numpy as np

from vidrase import metrics
from vidrase.bench.case import Mask, Rgb, as_frames
from vidrase.bench.folders import clip_names, davis_root, read_clip, read_rgb
from vidrase.bench.masks import shipped_weights
from vidrase.bench.peers import OURS
from vidrase.bench.results import Results, Row
from vidrase.bench.tools import coco_weights
from vidrase.errors import UnsupportedSource, VidraseError
from vidrase.frames import Instances
from vidrase.labels import GROUP_OF
from vidrase.options import ModelOptions
from vidrase.report import Notes
from vidrase.segment import Segmenter, load_segmenter

SURE = 0.5  # confidence from which a find of the COCO weights counts as true
KNOWN = 0.1  # from which it makes a claim of another detector right
CASES = 10  # of a class, from which on it gets a row
ON = 0.5  # share of an animal, or of what is found, that both have in common: the animal is taken for what was found
ANIMALS = frozenset(label for label, group in GROUP_OF.items() if "elephant" in group) | {"bird"}
CLIPS = ("blackswan", "camel", "flamingo", "rhino")
COCO = "vidrase, COCO weights"


@dataclass(slots=True)
class Agreement:
    """One class: finds that the COCO weights are sure of, those matched; claims, those that are right."""

    cases: int = 0
    found: int = 0
    claims: int = 0
    right: int = 0


@dataclass(slots=True)
class Taken:
    """Pictures without people: in how many people were found, and how many animals were taken for people."""

    pictures: int = 0
    peopled: int = 0
    animals: int = 0
    taken: int = 0


@dataclass(slots=True)
class Judged:
    """What one detector made of all pictures."""

    nobody: dict[str, Taken] = field(default_factory=dict)
    classes: dict[str, Agreement] = field(default_factory=dict)

    def judge(self, kind: str, found: Instances, truth: Instances) -> None:
        """Count one picture; truth: finds of the COCO weights of at least `KNOWN`."""
        if kind in ("any", "animal", "vehicle"):
            _agree(self.classes, found, truth)
        if kind == "any":
            return
        people = [found.mask(k) for k, label in enumerate(found.labels) if label == "person"]
        animals = [
            truth.mask(k) for k, label in enumerate(truth.labels) if label in ANIMALS and truth.scores[k] >= SURE
        ]
        row = self.nobody.setdefault(kind, Taken())
        row.pictures += 1
        row.peopled += bool(people)
        row.animals += len(animals)
        row.taken += sum(any(_same(person, animal) for person in people) for animal in animals)


def run_confusions(data: Path, results: Results, *, quick: bool, device: str = "auto") -> None:
    """Every detector on the held-out photographs, the held-out coco128 pictures and frames of clips with animals."""
    try:
        truth = load_segmenter(ModelOptions(model=str(coco_weights()), device=device, conf=KNOWN), note=Notes())
    except VidraseError as error:
        results.skip(f"what is taken for people: {error}")
        return
    named: list[tuple[str, Segmenter]] = []
    for title, model in ((OURS, None), *((f"vidrase, {path.stem}", str(path)) for path in shipped_weights())):
        named.append((title, load_segmenter(ModelOptions(model=model, device=device), note=Notes())))
    judged = {title: Judged() for title, _ in named}
    try:
        for kind, picture in pictures(data, quick=quick):
            (frame,) = as_frames([picture])
            (true,) = truth([frame])
            true = true.where(true.scores >= KNOWN)
            for title, segmenter in named:
                (found,) = segmenter([frame])
                judged[title].judge(kind, found.where(found.scores >= segmenter.recommended_conf), true)
    except VidraseError as error:
        results.fail("masks", "nobody", OURS, error)
        return
    for title, _ in named:
        for row in rows_of(judged[title], title):
            results.add(row)


def rows_of(judged: Judged, title: str) -> Iterator[Row]:
    """The rows of one detector: of each kind of picture, and of each class with enough cases."""
    for kind, taken in sorted(judged.nobody.items()):
        numbers = {"people found": taken.peopled / taken.pictures, "pictures": float(taken.pictures)}
        if taken.animals:
            numbers |= {"taken for people": taken.taken / taken.animals, "animals": float(taken.animals)}
        yield Row("masks", "nobody there", f"nobody/{kind}", title, {k: round(v, 4) for k, v in numbers.items()})
    for label, one in sorted(judged.classes.items()):
        if one.cases >= CASES and one.claims:
            numbers = {"found": one.found / one.cases, "right": one.right / one.claims, "cases": float(one.cases)}
            yield Row("masks", "classes", f"classes/{label}", title, {k: round(v, 4) for k, v in numbers.items()})


def pictures(data: Path, *, quick: bool) -> Iterator[tuple[str, Rgb]]:
    """(kind, picture) of all that is judged; when quick, every fourth photograph."""
    listed = held_out()[:: 4 if quick else 1]
    for kind, name in listed:
        path = next(
            (where for where in (data / "images" / "train" / name, data / "seg" / name) if where.is_file()), None
        )
        if path is None:
            raise UnsupportedSource(f"no {name} under {data / 'images' / 'train'}; expected the photographs there")
        yield kind, read_rgb(path)
    davis = davis_root(data)
    for clip in CLIPS:
        if clip in clip_names(davis):
            for picture in read_clip(davis, clip, 40)[:: 20 if quick else 8]:
                yield "animal in a clip", picture


def held_out() -> Sequence[tuple[str, str]]:
    """(kind, folder/name) of the photographs that no training of ours sees."""
    text = resources.files("vidrase.bench").joinpath("heldout.txt").read_text(encoding="utf-8")
    lines = (line.strip() for line in text.splitlines())
    pairs = (line.split(maxsplit=1) for line in lines if line and not line.startswith("#"))
    return [(kind, name) for kind, name in pairs]


def _agree(classes: dict[str, Agreement], found: Instances, truth: Instances) -> None:
    for label in {*found.labels, *truth.labels}:
        row = classes.setdefault(label, Agreement())
        wanted = [k for k, name in enumerate(truth.labels) if name == label]
        claimed = [k for k, name in enumerate(found.labels) if name == label]
        sure = truth.scores[wanted] >= SURE
        row.cases += int(sure.sum())
        row.claims += len(claimed)
        match = np.array(
            [[metrics.iou(truth.mask(a), found.mask(b)) >= 0.5 for b in claimed] for a in wanted], bool
        ).reshape(len(wanted), len(claimed))
        row.found += int(match[sure].any(1).sum())
        row.right += int(match.any(0).sum())


def _same(person: Mask, animal: Mask) -> bool:
    """Whether what was found as a person is this animal, or half of it."""
    shared = int((person & animal).sum())
    return shared >= ON * min(int(animal.sum()), int(person.sum())) and shared >= 0.1 * int(animal.sum())
