"""Wall seconds of each stage, frames in memory, peak memory. Costs a few microseconds a frame."""

from __future__ import annotations

import sys
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


class Clock:
    """Seconds spent inside each stage, without the stages that it waits for."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._lock = threading.Lock()
        self._local = threading.local()

    def add(self, stage: str, seconds: float) -> None:
        """Count `seconds` of work of `stage`."""
        with self._lock:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def stage(self, name: str, items: Iterable[T]) -> Generator[T, None, None]:
        """Pass `items` on and count the time to make each for `name`; nested stages of the same thread are counted separately."""
        source = iter(items)
        try:
            while True:
                start = time.perf_counter()
                outer = getattr(self._local, "inner", 0.0)
                self._local.inner = 0.0
                try:
                    item = next(source)
                except StopIteration:
                    return
                finally:
                    whole = time.perf_counter() - start
                    self.add(name, whole - self._local.inner)
                    self._local.inner = outer + whole
                yield item
                del item
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                close()


class InFlight:
    """Counts the objects of a stream that are in memory at once, by weak references."""

    def __init__(self) -> None:
        self.now = 0
        self.peak = 0
        self._lock = threading.Lock()

    def watch(self, items: Iterable[T]) -> Iterator[T]:
        """Pass `items` on; each counts until its last reference is gone."""
        source = iter(items)
        try:
            for item in source:
                with self._lock:
                    self.now += 1
                    self.peak = max(self.peak, self.now)
                weakref.finalize(item, self._gone)
                yield item
                del item
        finally:
            close: Callable[[], Any] | None = getattr(source, "close", None)
            if close is not None:
                close()

    def _gone(self) -> None:
        with self._lock:
            self.now -= 1


def peak_memory_mib() -> float:
    """Largest resident size of this process so far, MiB; 0 where the system does not say."""
    # getrusage only as a last resort: on Linux a new process starts with the peak of its parent
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024) if sys.platform == "darwin" else peak / 1024
