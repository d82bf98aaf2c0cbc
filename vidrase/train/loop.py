"""Common parts of the training runs: seeding, learning-rate schedule, batch prefetching, checkpoints, log lines.

A sample depends on (seed, step) only, so a resumed run repeats the steps of an uninterrupted one.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from vidrase.errors import ModelError, WeightsCorrupt, WeightsMissing

SAVE_EVERY = 240.0  # seconds
PATIENCE = 20  # steps with a non-finite gradient in a row, after which the run is stopped
AHEAD = 3  # batches prepared ahead

T = TypeVar("T")


def begin(seed: int, *, threads: int = 0) -> None:
    """Seed torch; `threads`: threads per operation, 0 keeps torch's default.

    Two cores, pconv of width 24, batch 16 at 128 px, load 2.4: 0.34 s per step with one thread, 0.31 s with two, but occasionally
    more than 7 s with two, when other programs used a core and the threads waited for each other at every layer.
    """
    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(seed)


def rate_at(progress: float, *, step: int, rate: float, warm: int, decay: float) -> float:
    """Learning rate of a step: linear warm-up over `warm` steps, then `rate`, then linear decay to 0 over the last share `decay`.

    progress: 0 … 1, see `Clock`.
    """
    return rate * min(1.0, (step + 1) / warm, max(0.0, (1 - progress) / max(decay, 1e-6)))


def batches(make: Callable[[int], T], start: int, stop: int) -> Iterator[T]:
    """Yield `make(step)` for the steps `start` … `stop`, prepared a few steps ahead in one thread."""
    with ThreadPoolExecutor(1, thread_name_prefix="pictures") as pool:
        queue: deque[Future[T]] = deque()
        for step in range(start, stop):
            queue.append(pool.submit(make, step))
            if len(queue) > AHEAD:
                yield queue.popleft().result()
        while queue:
            yield queue.popleft().result()


@torch.no_grad()
def move_towards(average: nn.Module, network: nn.Module, decay: float) -> None:
    """One step of an exponential moving average of parameters and buffers; non-float buffers are copied."""
    new = network.state_dict()
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(new[name], 1 - decay)
        else:
            value.copy_(new[name])


def save_checkpoint(state: Mapping[str, Any], path: Path) -> None:
    """Write a run's state, complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    torch.save(dict(state), part)
    part.replace(path)


def load_checkpoint(path: Path, take: Callable[[dict[str, Any]], None], *, what: str, device: torch.device) -> None:
    """Load a file of `save_checkpoint` and pass it to `take`. Unpickles no code. Raises WeightsMissing or WeightsCorrupt.

    what: "segmenter", for the message.
    """
    try:
        take(torch.load(path, map_location=device, weights_only=True))
    except FileNotFoundError as error:
        raise WeightsMissing(f"nothing to resume at {path}; leave --resume away to start") from error
    except Exception as error:
        raise WeightsCorrupt(f"{path.name} is no checkpoint of this {what} ({type(error).__name__})") from error


class Clock:
    """Progress of a run by its steps or by its time limit, whichever is further."""

    def __init__(self, hours: float = 0.0) -> None:
        self._began, self._given = time.monotonic(), hours * 3600

    def progress(self, step: int, steps: int) -> float:
        """0 at the start … 1 at the end of this run and `steps`; with `hours` 0 only the steps count."""
        spent = (time.monotonic() - self._began) / self._given if self._given else 0.0
        return min(1.0, max(step / steps, spent))


class Log:
    """Averages the losses into regular log lines; stops a run whose gradients stay non-finite."""

    def __init__(self, say: Callable[[str], None], *, every: int, steps: int) -> None:
        self._say, self._every, self._steps = say, every, steps
        self._sums: dict[str, float] = {}
        self._counted = self._bad = 0
        self._began = time.monotonic()

    def add(self, step: int, parts: Mapping[str, float], rate: float) -> None:
        """Add the loss and its parts after step number `step`; "norm" is the gradient norm. Raises ModelError."""
        self._bad = 0 if math.isfinite(parts["norm"]) else self._bad + 1
        if self._bad == PATIENCE:
            raise ModelError(f"the loss is {parts['loss']} since step {step - self._bad}; lower the rate and resume")
        self._counted += 1
        for name, value in parts.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        if step % self._every == 0:
            now = time.monotonic()
            means = " ".join(f"{name} {value / self._counted:.3f}" for name, value in self._sums.items())
            seconds = (now - self._began) / self._counted
            self._say(f"step {step}/{self._steps} {means} lr {rate:.1e} {seconds:.2f} s")
            self._sums, self._counted, self._began = {}, 0, now


class Saving:
    """Timer for the next checkpoint."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def due(self) -> bool:
        """True once `SAVE_EVERY` seconds have passed since the last time."""
        if time.monotonic() - self._last <= SAVE_EVERY:
            return False
        self._last = time.monotonic()
        return True
