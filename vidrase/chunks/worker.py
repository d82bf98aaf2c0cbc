"""A process of the crew that fills chunks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vidrase import rules
from vidrase.chunks.job import ChunkFiller, Job
from vidrase.crew import Tell
from vidrase.report import Notes
from vidrase.run import Models


@dataclass(frozen=True, slots=True)
class Told:
    """What it is told at first."""

    job: Job
    threads: int
    """Of OpenCV and the decoder each."""


def serve(told: Told, numbers: Iterator[int], tell: Tell) -> None:
    """Fill the chunks as they are named."""
    import cv2

    cv2.setNumThreads(told.threads)
    models = Models.load(told.job.options, Notes(), segmenter=False)
    with rules.without(*told.job.rules_off), ChunkFiller(told.job, models, threads=told.threads) as filler:
        for number in numbers:
            filler.fill(number, lambda frames: tell(frames=frames))
            tell(done=number)
