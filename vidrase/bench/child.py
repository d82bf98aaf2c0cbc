"""One measurement in a process of its own: cold start, then repeated runs, and the memory they took.

    python -m vidrase.bench.child '{"clip": "a.mp4", "out": "b.mp4", "choices": {"mask": "m.mkv"}, "runs": 3}'

Prints one line of JSON. A process of its own, because the peak of resident memory of a process never falls again.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

START = time.perf_counter()  # before the heavy imports: they are part of a cold start


def measure(clip: str, out: str, choices: dict[str, Any], runs: int) -> dict[str, Any]:
    """Seconds from here to the first result, then seconds, stages and memory of `runs` more."""
    from vidrase import erase
    from vidrase.timing import peak_memory_mib

    idle = peak_memory_mib()
    begun = time.perf_counter()
    report = erase(clip, out, overwrite=True, **choices)
    first, after_first = time.perf_counter() - START, peak_memory_mib()
    walls, works, stages = [time.perf_counter() - begun], [time.process_time()], [dict(report.seconds)]
    for _ in range(runs):
        begun, worked = time.perf_counter(), time.process_time()
        report = erase(clip, out, overwrite=True, **choices)
        walls.append(time.perf_counter() - begun)
        works.append(time.process_time() - worked)
        stages.append(dict(report.seconds))
    return {
        "frames": report.frames,
        "cold_seconds": first,
        "walls": walls[1:] or walls,
        "works": works[1:] or works,
        "stages": stages[1:] or stages,
        "idle_mib": idle,
        "first_peak_mib": after_first,
        "peak_mib": peak_memory_mib(),
        "gpu_peak_mib": _gpu_peak(),
        "frames_in_flight": report.peak_frames_in_flight,
        "hole_share": report.hole_share,
        "share_copied": report.share_copied,
        "fallbacks": report.fallbacks,
    }


def _gpu_peak() -> float:
    torch = sys.modules.get("torch")  # not loaded: then no GPU was used
    if torch is None or not torch.cuda.is_available():
        return 0.0
    return float(torch.cuda.max_memory_allocated()) / 2**20


def main(argv: Sequence[str]) -> None:
    """Run what the JSON argument asks for; only the result goes to stdout."""
    with redirect_stdout(sys.stderr):
        found = measure(**json.loads(argv[0]))
    print(json.dumps(found, allow_nan=False))


if __name__ == "__main__":
    main(sys.argv[1:])
