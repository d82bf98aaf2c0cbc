"""Who fills the chunks: this process, or several. Chunks come out in order, whoever was quicker."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from vidrase.chunks.job import ChunkFiller, Job, Tick
from vidrase.chunks.worker import Told
from vidrase.crew import ATTEMPTS, Crew
from vidrase.errors import ModelError
from vidrase.run import FirstPass, Models
from vidrase.streams import prefetch

Chunks = Generator[int, None, None]
"""Numbers of chunks, each once its file is complete."""


class ChunkPool(Protocol):
    """Others who fill chunks, such as a cluster."""

    size: int
    """Chunks at a time."""

    def __call__(self, job: Job, numbers: Sequence[int], tick: Tick) -> Chunks:
        """Fill the chunks `numbers`; their numbers come out in order."""
        ...


class WorkerDied(ModelError):
    """A worker process ended in the middle of a chunk, again and again."""


def in_this_process(job: Job, numbers: Sequence[int], models: Models, known: FirstPass, tick: Tick) -> Chunks:
    """Fill the chunks `numbers` one after the other, in a thread: the one before is encoded meanwhile."""

    def one_by_one() -> Chunks:
        if numbers:
            with ChunkFiller(job, models, known=known) as filler:
                for number in numbers:
                    filler.fill(number, tick)
                    yield number

    return prefetch(one_by_one(), depth=1, name="chunks")


@dataclass(frozen=True, slots=True)
class Machine:
    """What the workers are given."""

    workers: int
    threads: int = 1
    """Of each."""
    devices: tuple[str, ...] = ()
    """Dealt out to the workers in turn; none: as the options say."""
    why: str = "as asked"
    """What their number follows from."""

    def device(self, place: int, otherwise: str) -> str:
        """The device of worker number `place`."""
        return self.devices[place % len(self.devices)] if self.devices else otherwise


def in_processes(job: Job, numbers: Sequence[int], machine: Machine, tick: Tick) -> Chunks:
    """Fill the chunks `numbers` in processes of their own.

    Raises WorkerDied, and what is raised in a worker.
    """
    counted = dict.fromkeys(numbers, 0)

    def heard(number: int, message: dict[str, Any]) -> None:
        frames = -counted[number] if "died" in message else int(message["frames"])
        counted[number] += frames
        tick(frames)

    def gave_up(number: int, how: str) -> None:
        chunk = job.chunks[number]
        raise WorkerDied(
            f"a worker ended with {how} {ATTEMPTS} times at frames {chunk.start} to {chunk.stop - 1};"
            " if memory is short, give fewer --workers; the same command goes on from here"
        )

    def told(place: int) -> Told:
        models = job.options.models
        options = replace(job.options, models=replace(models, device=machine.device(place, models.device)))
        return Told(replace(job, options=options), machine.threads)

    crew = Crew(
        "vidrase.chunks.worker:serve",
        told,
        numbers,
        size=machine.workers,
        threads=machine.threads,
        heard=heard,
        gave_up=gave_up,
    )
    with crew:
        for number in numbers:
            crew.wait(number)
            yield number
