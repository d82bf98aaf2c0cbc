"""Statistics of a live run, for `--report` and the overlay. Memory use is bounded."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

from vidrase.part import Part, save
from vidrase.timing import peak_memory_mib

RECENT = 4096  # latencies from which percentiles are computed
SERIES = 720  # points of the history; when full, every second one is dropped


class Stats:
    """Statistics of one run; call `add` for every frame."""

    def __init__(self) -> None:
        self.frames = 0
        self.dropped = 0
        self.out_dropped: dict[str, int] = {}
        self.with_hole = 0
        self.known = 0.0
        self._latency: deque[float] = deque(maxlen=RECENT)
        self._work: deque[float] = deque(maxlen=RECENT)
        self._times: deque[float] = deque(maxlen=60)
        self._began: float | None = None
        self._series: list[dict[str, float]] = []
        self._every = 1.0
        self._next = 0.0
        self._mark = (0.0, 0)
        self._lock = threading.Lock()

    def add(self, latency: float, work: float, *, known: float, hole: bool, dropped: int, level: int) -> None:
        """Add one output frame: `latency` seconds since it was decoded, `work` seconds of them processing."""
        now = time.monotonic()
        with self._lock:
            self._began = now if self._began is None else self._began
            self.frames += 1
            self.with_hole += hole
            self.known += known if hole else 0.0
            self.dropped = dropped
            self._latency.append(latency)
            self._work.append(work)
            self._times.append(now)
            since = now - self._began
            if since >= self._next:
                then, frames = self._mark
                fps = (self.frames - frames) / (since - then) if since > then else 0.0
                recent = list(self._latency)[-max(self.frames - frames, 1) :]
                self._series.append(
                    {
                        "seconds": round(since, 2),
                        "fps": round(fps, 2),
                        "latency_ms": round(float(np.median(recent)) * 1e3, 1),
                        "dropped": dropped,
                        "memory_mib": round(memory_mib(), 1),
                        "level": level,
                    }
                )
                self._mark = since, self.frames
                if len(self._series) >= SERIES:
                    self._series = self._series[::2]
                    self._every *= 2
                self._next = since + self._every

    @property
    def fps(self) -> float:
        """Frames per second over about two seconds."""
        with self._lock:
            if len(self._times) < 2 or self._times[-1] == self._times[0]:
                return 0.0
            return (len(self._times) - 1) / (self._times[-1] - self._times[0])

    @property
    def latency(self) -> float:
        """Median seconds from decoding to output, over recent frames."""
        with self._lock:
            recent = list(self._latency)[-60:]
        return float(np.median(recent)) if recent else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain types only, for JSON."""
        with self._lock:
            seconds = time.monotonic() - self._began if self._began is not None else 0.0
            latency = np.array(self._latency or [0.0]) * 1e3
            work = np.array(self._work or [0.0]) * 1e3
            return {
                "seconds": round(seconds, 2),
                "frames": self.frames,
                "fps": round(self.frames / seconds, 2) if seconds > 0 else 0.0,
                "dropped": self.dropped,
                "dropped_by_output": dict(self.out_dropped),
                "latency_ms": {f"p{p}": round(float(np.percentile(latency, p)), 1) for p in (50, 90, 95, 99, 100)},
                "step_ms": {f"p{p}": round(float(np.percentile(work, p)), 1) for p in (50, 90, 95, 99, 100)},
                "frames_with_hole": self.with_hole,
                "share_real": round(self.known / self.with_hole, 4) if self.with_hole else 1.0,
                "peak_memory_mib": round(peak_memory_mib(), 1),
                "series": list(self._series),
            }


def memory_mib() -> float:
    """Resident memory of this process, MiB; the peak where the system reports nothing else."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, ValueError, AttributeError):
        return peak_memory_mib()


def write_json(to: Path | Part, what: dict[str, Any]) -> None:
    """Strict JSON (no NaN). Raises SinkError."""
    save(to, (json.dumps(what, indent=2, allow_nan=False) + "\n").encode())
