"""Generator tools: threads between stages and sliding windows. Independent of video.

Invariant: a consumer that stops (end, error or `close()`) leaves no thread and no open generator behind.
"""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from vidrase.errors import OptionError

T = TypeVar("T")

A = TypeVar("A")
B = TypeVar("B")

POLL_SECONDS = 0.05  # seconds until a stopped worker notices that nobody takes its items


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_turn(first: Callable[[], A], second: Callable[[], B]) -> tuple[A, B]:
    """The results of both, one after the other: for `SideBySide` where there is one core."""
    return first(), second()


class Both(Protocol):
    """Runs two functions that do not depend on each other."""

    def __call__(self, first: Callable[[], A], second: Callable[[], B]) -> tuple[A, B]:
        """The results of both."""
        ...


class SideBySide:
    """Runs two functions that do not depend on each other at once, the second in a thread of its own."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(1, f"vidrase-{name}")

    def __call__(self, first: Callable[[], A], second: Callable[[], B]) -> tuple[A, B]:
        """The results of both; an error of either is raised once both have ended."""
        other = self._pool.submit(second)
        try:
            one = first()
        finally:
            wait([other])
        return one, other.result()

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown()


@dataclass(frozen=True, slots=True)
class Window(Generic[T]):
    """Consecutive items with context: each item of the stream is in exactly one `core`."""

    before: tuple[T, ...]
    core: tuple[T, ...]
    after: tuple[T, ...]


def windows(upstream: Iterable[T], *, core: int, before: int, after: int) -> Iterator[Window[T]]:
    """Cut `upstream` into windows of `core` items with up to `before` and `after` neighbours; holds no more than their sum."""
    if core < 1 or before < 0 or after < 0:
        raise OptionError(f"expected core >= 1, before >= 0, after >= 0, got {core}, {before}, {after}")
    past: deque[T] = deque(maxlen=before) if before else deque(maxlen=0)
    held: deque[T] = deque()
    source = iter(upstream)
    ended = False
    try:
        while True:
            while not ended and len(held) < core + after:
                try:
                    held.append(next(source))
                except StopIteration:
                    ended = True
            if not held:
                return
            middle = tuple(held.popleft() for _ in range(min(core, len(held))))
            yield Window(tuple(past), middle, tuple(held)[:after])
            past.extend(middle)
    finally:
        close = getattr(source, "close", None)
        if close is not None:
            close()


class _End:
    """Marks the end of the stream, with the worker's error if there was one."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def prefetch(upstream: Iterable[T], *, depth: int, name: str) -> Generator[T, None, None]:
    """The items of `upstream`, read up to `depth` ahead in a thread named `vidrase-<name>`.

    An error in the worker is raised here, in order. Stopping early joins the worker, which closes `upstream` itself.
    The thread starts at the first `next()`, so a chain that never runs leaks nothing.
    """
    if depth < 1:
        raise OptionError(f"expected a prefetch depth of at least 1, got {depth}")
    return _prefetch(upstream, depth, name)


def _prefetch(upstream: Iterable[T], depth: int, name: str) -> Generator[T, None, None]:
    ready: queue.Queue[T | _End] = queue.Queue(maxsize=depth)
    stop = threading.Event()

    def put(item: T | _End) -> bool:
        while not stop.is_set():
            try:
                ready.put(item, timeout=POLL_SECONDS)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        error: BaseException | None = None
        source = iter(upstream)
        try:
            for item in source:
                if not put(item):
                    break
                del item  # the consumer must hold the last reference, otherwise one more frame stays in memory
        except BaseException as caught:  # noqa: BLE001 - handed to the consumer, who raises it
            error = caught
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                try:
                    close()
                except BaseException as caught:  # noqa: BLE001 - the first error is the one to tell
                    error = error or caught
            put(_End(error))

    thread = threading.Thread(target=work, name=f"vidrase-{name}", daemon=True)
    thread.start()
    try:
        while True:
            item = ready.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
            del item
    finally:
        stop.set()
        thread.join()


def closing_all(items: Iterable[T]) -> closing[Generator[T, None, None]]:
    """`items` as a context manager that closes the generator, if it is one."""
    return closing(iter_closable(items))


def iter_closable(items: Iterable[T]) -> Generator[T, None, None]:
    """Any iterable as a generator that closes its source."""
    source = iter(items)
    try:
        yield from source
    finally:
        close = getattr(source, "close", None)
        if close is not None:
            close()
