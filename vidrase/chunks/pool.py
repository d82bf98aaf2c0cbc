"""Who fills the chunks: this process, or several. Chunks come out in order, whoever was quicker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from typing import IO, cast

from vidrase.chunks.job import ChunkFiller, Job, Tick
from vidrase.chunks.worker import Setup, error_of, send
from vidrase.errors import ModelError
from vidrase.run import FirstPass, Models
from vidrase.streams import prefetch

ATTEMPTS = 3  # times that a chunk is begun before a worker that dies with it ends the run
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

Chunks = Generator[int, None, None]
"""Numbers of chunks, each once its file is complete."""


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


def in_processes(job: Job, numbers: Sequence[int], machine: Machine, tick: Tick) -> Chunks:
    """Fill the chunks `numbers` in processes of their own.

    Raises WorkerDied, and what is raised in a worker.
    """
    with closing(_Pool(job, numbers, machine, tick)) as pool:
        for number in numbers:
            pool.wait(number)
            yield number


class _Pool:
    """A thread a worker: it names chunks, and listens."""

    def __init__(self, job: Job, numbers: Sequence[int], machine: Machine, tick: Tick) -> None:
        self._job, self._machine, self._tick = job, machine, tick
        self._todo, self._done, self._attempts = deque(numbers), set[int](), dict.fromkeys(numbers, 0)
        self._error: BaseException | None = None
        self._stopped = False
        self._changed = threading.Condition()
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._threads = [
            threading.Thread(target=self._serve, args=(place,), name=f"vidrase-worker-{place}", daemon=True)
            for place in range(min(machine.workers, len(self._todo)))
        ]
        for thread in self._threads:
            thread.start()

    def wait(self, number: int) -> None:
        """Until the chunk is complete. Raises what went wrong."""
        with self._changed:
            self._changed.wait_for(lambda: number in self._done or self._error is not None)
            if self._error is not None:
                raise self._error

    def close(self) -> None:
        """End all workers."""
        with self._changed:
            self._stopped = True
            running = list(self._running.values())
        for process in running:
            with suppress(OSError, ValueError):
                cast(IO[bytes], process.stdin).close()  # at which it ends by itself
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
        for thread in self._threads:
            thread.join()

    def _serve(self, place: int) -> None:
        try:
            while not self._stopped and self._todo:
                self._chunks_of_one(place)
        except BaseException as error:  # noqa: BLE001 - raised in `wait`
            with self._changed:
                self._error = self._error or error
                self._changed.notify_all()

    def _chunks_of_one(self, place: int) -> None:
        """One process, for as long as it lives and there are chunks."""
        process = self._started(place)
        try:
            with suppress(OSError, ValueError):  # it is dead: the chunk is told to have failed below
                send(cast(IO[bytes], process.stdin), self._setup(place))
            while (number := self._next()) is not None:
                if not self._fill(process, number):
                    self._failed(number, process.wait())
                    return
        finally:
            self._running.pop(place, None)
            _end(process)

    def _next(self) -> int | None:
        with self._changed:
            return self._todo.popleft() if self._todo and not self._stopped else None

    def _fill(self, process: subprocess.Popen[bytes], number: int) -> bool:
        """Have a chunk filled; False: the process died. Raises what went wrong in it."""
        assert process.stdin is not None
        assert process.stdout is not None
        counted = 0
        with suppress(OSError, ValueError):
            process.stdin.write(b"%d\n" % number)
            process.stdin.flush()
        for line in process.stdout:
            told = json.loads(line)
            if "error" in told:
                raise error_of(told)
            if "frames" in told:
                counted += told["frames"]
                self._count(told["frames"])
            if told.get("done") == number:
                with self._changed:
                    self._done.add(number)
                    self._changed.notify_all()
                return True
        self._count(-counted)
        return False

    def _count(self, frames: int) -> None:
        with self._changed:
            self._tick(frames)

    def _failed(self, number: int, code: int) -> None:
        with self._changed:
            if self._stopped:
                return
            self._attempts[number] += 1
            self._todo.appendleft(number)
        if self._attempts[number] >= ATTEMPTS:
            chunk = self._job.chunks[number]
            how = f"signal {-code}" if code < 0 else f"code {code}"
            raise WorkerDied(
                f"a worker ended with {how} {ATTEMPTS} times at frames {chunk.start} to {chunk.stop - 1};"
                " if memory is short, give fewer --workers; the same command goes on from here"
            )

    def _setup(self, place: int) -> Setup:
        job, devices = self._job, self._machine.devices
        if devices:
            models = replace(job.options.models, device=devices[place % len(devices)])
            job = replace(job, options=replace(job.options, models=models))
        return Setup(job, self._machine.threads)

    def _started(self, place: int) -> subprocess.Popen[bytes]:
        code = f"import sys; sys.path[:] = {sys.path!r}; from vidrase.chunks.worker import main; main()"
        env = {**os.environ, **dict.fromkeys(_THREADS, str(self._machine.threads))}
        with self._changed:
            process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=env,
                start_new_session=True,  # a Ctrl-C is this process' to handle
            )
            self._running[place] = process
        return process


def _end(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError, ValueError):
            cast(IO[bytes], pipe).close()
    process.kill()
    process.wait()
