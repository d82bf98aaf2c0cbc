"""A batch by processes of this machine: each takes the next clip when it is done with one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vidrase.batch.task import Eraser, Heard, Task
from vidrase.crew import ATTEMPTS, Crew, Tell


@dataclass(frozen=True, slots=True)
class Told:
    """What a process is told at first."""

    tasks: tuple[Task, ...]
    threads: int


def serve(told: Told, numbers: Iterator[int], tell: Tell) -> None:
    """Erase the clips as they are named."""
    import cv2

    cv2.setNumThreads(told.threads)
    eraser = Eraser()
    for number in numbers:
        eraser(told.tasks[number], tell)
        tell(done=number)


def run_local(tasks: Sequence[Task], jobs: int, threads: int, heard: Heard) -> None:
    """Erase all of `tasks`, `jobs` at a time. Returns when the last is done or has failed.

    threads: of each process' libraries.
    """

    def gave_up(number: int, how: str) -> None:
        heard(number, {"failed": f"its process ended {ATTEMPTS} times with {how}; is memory short?", "code": 1})

    numbers = range(len(tasks))
    told = Told(tuple(tasks), threads)
    crew = Crew(
        "vidrase.batch.local:serve",
        lambda _: told,
        numbers,
        size=jobs,
        threads=threads,
        heard=heard,
        gave_up=gave_up,
    )
    with crew:
        for number in numbers:
            crew.wait(number)
