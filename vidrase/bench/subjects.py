"""What an ablation is measured on: cases that are prepared once and then run many times, each time with other rules off.

The detector runs once a case: detections, background and window are the same for every rule.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import numpy as np

from vidrase.bench.case import CaseRef, Mask, Rgb, as_rgb
from vidrase.bench.clipfile import read_rgb_frames, write_clip
from vidrase.bench.evaluation import Evaluation
from vidrase.bench.folders import davis_root, read_annotations, read_clip
from vidrase.bench.holes import flows_of, hole_numbers, holes_of, tracked
from vidrase.bench.pasted import Removal
from vidrase.bench.peers import Vidrase
from vidrase.bench.removal import evaluate_removal
from vidrase.bench.shadows import StageModels, evaluate_shadow_stage
from vidrase.choice import choose
from vidrase.engine import first_pass
from vidrase.options import ModelOptions, options_from
from vidrase.passes import fill_frames, find_holes
from vidrase.report import FillStats, Notes
from vidrase.run import Models, Run
from vidrase.segment import load_segmenter
from vidrase.source import open_source
from vidrase.timing import Clock

Numbers = dict[str, float]


class Subject(Protocol):
    """One case."""

    @property
    def name(self) -> str:
        """Of the case."""
        ...

    @property
    def group(self) -> str:
        """Cases that are averaged together."""
        ...

    @property
    def parts(self) -> tuple[str, ...]:
        """Groups of rules, and single rules, that are measured on it."""
        ...

    def opened(self) -> AbstractContextManager[Callable[[], Numbers]]:
        """Prepare the case; gives a function that runs it once, with the rules that are on then."""
        ...


ONLY_DETECTED = (
    "flow.foreground",
    "sources.plate",
    "sources.playback",
    "sources.keyframe_shadows",
    "blend.soft_edge",
    "blend.grain",
    "blend.local_light",
)
"""Rules of the fill that have no part, or hardly one, where holes are given: they need objects that stay, or soft edges."""


@dataclass(frozen=True, slots=True)
class Completion:
    """Holes given, truth known: the fill alone."""

    ref: CaseRef
    parts: tuple[str, ...] = ("flow", "sources", "synthesis", "blend")

    @property
    def name(self) -> str:
        """Of the case."""
        return self.ref.name

    @property
    def group(self) -> str:
        """First part of the name: moving, still, synthetic, sample."""
        return self.ref.name.split("/", 1)[0]

    @contextmanager
    def opened(self) -> Iterator[Callable[[], Numbers]]:
        """See `Subject`."""
        case, engine = self.ref.build(), Vidrase()
        evaluate = Evaluation(case)
        yield lambda: _timed(lambda: engine.complete(case.shown, case.holes), len(case.shown), evaluate)


@dataclass(frozen=True, slots=True)
class EndToEnd:
    """A person to remove, truth known: detected and tracked once, then masks, residual and fill, without the encoder."""

    name: str
    build: Callable[[], Removal]
    parts: tuple[str, ...] = ("mask", "residual", *ONLY_DETECTED)

    @property
    def group(self) -> str:
        """First part of the name: paste, fixed, sample (as walk, with the detector)."""
        first = self.name.split("/", 1)[0]
        return "walk" if first == "sample" else first

    @contextmanager
    def opened(self) -> Iterator[Callable[[], Numbers]]:
        """See `Subject`."""
        case = self.build()
        with TemporaryDirectory(prefix="vidrase-ablate-") as folder, ExitStack() as stack:
            clip = Path(folder) / "clip.mp4"
            write_clip(clip, case.given)
            given = list(read_rgb_frames(clip))
            options = options_from({"remove": case.what})
            notes = Notes()
            models = Models.load(options, notes)
            source = stack.enter_context(open_source(clip, note=notes))
            run = Run(options, models, notes)
            known = first_pass(source, run, stack)
            assert known.store is not None
            chosen = choose(run, source.info, known.store, known.seconds)

            def once() -> Numbers:
                run.clock, run.stats = Clock(), FillStats()
                begun = time.process_time()
                holes: list[Mask] = []

                def noted() -> Iterator:
                    for found in find_holes(source, run, known, chosen):
                        holes.append(np.zeros(found.frame.size, bool) if found.hole is None else found.hole.full_area())
                        yield found

                filled = [as_rgb(frame) for frame in fill_frames(noted(), run, known.analysis)]
                seconds = time.process_time() - begun
                numbers = evaluate_removal(case, given, filled) | _covered(case, holes)
                return numbers | {"cpu_ms": 1000 * seconds / len(given)} | _outside(case, given, filled)

            yield once


@dataclass(frozen=True, slots=True)
class Performer:
    """The masks of an annotated performer, after the mask stage."""

    clip: str
    data: Path
    frames: int
    group: str = "performers"
    parts: tuple[str, ...] = ("mask",)

    @property
    def name(self) -> str:
        """Of the case."""
        return f"performer/{self.clip}"

    @contextmanager
    def opened(self) -> Iterator[Callable[[], Numbers]]:
        """See `Subject`."""
        davis = davis_root(self.data)
        pictures, truths = read_clip(davis, self.clip, self.frames), read_annotations(davis, self.clip, self.frames)
        flows, segmenter = flows_of(pictures), load_segmenter(ModelOptions(), note=Notes())
        with tracked(pictures, truths, segmenter) as found:
            yield lambda: _timed(
                lambda: holes_of(pictures, found), len(pictures), lambda masks: hole_numbers(masks, truths, flows)
            )


@dataclass(frozen=True, slots=True)
class ShadowStage:
    """The residual stage alone, given the true mask of a person whose shadow is known."""

    name: str
    build: Callable[[], Removal]
    parts: tuple[str, ...] = ("residual",)

    @property
    def group(self) -> str:
        """With a shadow, or without one: then whatever is added is a mistake."""
        return "no shadow" if self.name.endswith("none") else "shadows"

    @contextmanager
    def opened(self) -> Iterator[Callable[[], Numbers]]:
        """See `Subject`."""
        case, models = self.build(), StageModels()

        def once() -> Numbers:
            numbers = evaluate_shadow_stage(case, models, filling=False)
            return {WITHOUT_WALL[name]: value for name, value in numbers.items() if name in WITHOUT_WALL}

        yield once


WITHOUT_WALL = {"shadow_recall": "recall", "false_share": "false_share", "cpu_ms_per_frame": "cpu_ms"}
"""Measures of the shadow stage that an ablation compares, by the names that it gives them."""


def _timed(work: Callable[[], list], frames: int, evaluate: Callable[[list], Numbers]) -> Numbers:
    begun = time.process_time()
    result = work()
    seconds = time.process_time() - begun
    return evaluate(result) | {"cpu_ms": 1000 * seconds / frames}


def _covered(case: Removal, holes: Sequence[Mask]) -> Numbers:
    """Share of the person's pixels that the hole covers (mean and least over frames), and its area over theirs."""
    rows, columns = holes[0].shape
    masks = [mask[:rows, :columns] for mask in case.masks]
    shares = [float(hole[mask].mean()) for hole, mask in zip(holes, masks, strict=True) if mask.any()]
    area = sum(int(hole.sum()) for hole in holes) / max(sum(int(mask.sum()) for mask in masks), 1)
    return {"covered": float(np.mean(shares)), "least": min(shares), "area": area} if shares else {}


def _outside(case: Removal, given: Sequence[Rgb], filled: Sequence[Rgb]) -> Numbers:
    """Share of the frame, away from the person, that was changed and is farther from the truth than before."""
    rows, columns = given[0].shape[:2]
    worse, count = 0, 0
    for result, before, truth, mask in zip(filled, given, case.truth, case.masks, strict=True):
        real = truth[:rows, :columns].astype(np.int16)
        apart, was = np.abs(result.astype(np.int16) - real).max(2), np.abs(before.astype(np.int16) - real).max(2)
        free = ~mask[:rows, :columns]
        worse += int(((apart > was + WORSE) & free).sum())
        count += int(free.sum())
    return {"spoilt": worse / max(count, 1)}


WORSE = 24
"""Grey levels of the most different channel that a pixel must be farther from the truth than before to count as spoilt."""
