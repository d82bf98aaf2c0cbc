"""A batch by a Ray cluster: a task for each clip and, of long ones, for each chunk. Lost workers are Ray's to replace.

Clips, results and work folders lie under the same names on all machines (a shared folder); else only messages travel.
"""

from __future__ import annotations

import itertools
import os
import queue
from collections.abc import Generator, Sequence
from typing import Any

from vidrase.batch.task import Eraser, Heard, Task
from vidrase.chunks.job import ChunkFiller, Job, Tick
from vidrase.chunks.pool import Chunks
from vidrase.errors import DependencyError, ModelError
from vidrase.report import Notes
from vidrase.run import Models

RETRIES = 2  # of a task whose worker is lost
CORES_EACH = 2  # of a task, where there are as many
POLL_SECONDS = 0.2
_MISSING = "--engine ray needs Ray; pip install 'vidrase[ray]', or take --engine local"


def run_ray(tasks: Sequence[Task], address: str | None, gpus: float, heard: Heard) -> None:
    """Erase all of `tasks`. Returns when the last is done or has failed.

    address: of a cluster; None: the one that RAY_ADDRESS names, else one on this machine that ends with the batch.
    gpus: of each task, may be a part of one.
    Raises DependencyError without Ray, ModelError for a cluster that does not answer.
    """
    try:
        import ray
        from ray.util.queue import Queue
    except ImportError as error:
        raise DependencyError(_MISSING) from error
    try:
        ray.init(address=address, include_dashboard=False, log_to_driver=False, ignore_reinit_error=True)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ModelError(f"Ray does not answer at {address or 'its own start'}: {error}") from error
    try:
        cores = int(ray.cluster_resources().get("CPU", 1))
        each = min(CORES_EACH, cores)
        told = Queue(actor_options={"num_cpus": 0})
        erase = ray.remote(num_cpus=each, num_gpus=gpus, max_retries=RETRIES)(_erase)
        size = max(cores // each, 1)
        waiting = {erase.remote(n, task, told, each, gpus, size): n for n, task in enumerate(tasks)}
        while waiting:
            ended, _ = ray.wait(list(waiting), timeout=POLL_SECONDS)
            _listen(told, heard)
            for ref in ended:
                number = waiting.pop(ref)
                try:
                    heard(number, ray.get(ref))
                except ray.exceptions.RayError as error:
                    lost = str(error).strip().splitlines()[0]
                    heard(number, {"failed": f"its worker was lost {RETRIES + 1} times: {lost}", "code": 1})
        _listen(told, heard)
    finally:
        ray.shutdown()


def _listen(told: Any, heard: Heard) -> None:
    try:
        for number, message in told.get_nowait_batch(min(told.qsize(), 1000)):
            heard(number, message)
    except queue.Empty:
        return


def _erase(number: int, task: Task, told: Any, threads: int, gpus: float, size: int) -> dict[str, Any]:
    """On some machine of the cluster: one clip; its last message comes back."""
    messages: list[dict[str, Any]] = [{}]

    def tell(**message: Any) -> None:
        if "report" in message or "failed" in message:
            messages.append(message)
        else:
            told.put_nowait((number, message))

    _limit(threads)
    tell(begun=os.getpid())
    Eraser(ClusterChunks(threads, gpus, size))(task, tell)
    return messages[-1]


class ClusterChunks:
    """Fills chunks by tasks of the cluster: a `ChunkPool`."""

    def __init__(self, threads: int, gpus: float, size: int) -> None:
        self._threads, self._gpus, self.size = threads, gpus, size

    def __call__(self, job: Job, numbers: Sequence[int], tick: Tick) -> Chunks:
        """See `ChunkPool`."""
        return self._in_order(job, numbers, tick)

    def _in_order(self, job: Job, numbers: Sequence[int], tick: Tick) -> Generator[int, None, None]:
        import ray

        fill = ray.remote(num_cpus=self._threads, num_gpus=self._gpus, max_retries=RETRIES)(_fill)
        shared = ray.put(job)
        ahead, todo = dict[int, Any](), iter(numbers)
        try:
            for number in numbers:
                for more in itertools.islice(todo, 2 * self.size - len(ahead)):
                    ahead[more] = fill.remote(shared, more, self._threads)
                ray.get(ahead.pop(number))
                tick(len(job.chunks[number]))
                yield number
        finally:
            for ref in ahead.values():
                ray.cancel(ref, force=True)


def _fill(job: Job, number: int, threads: int) -> None:
    _limit(threads)
    with ChunkFiller(job, Models.load(job.options, Notes(), segmenter=False), threads=threads) as filler:
        filler.fill(number, lambda _: None)


def _limit(threads: int) -> None:
    import cv2

    cv2.setNumThreads(threads)
