"""Starting what is measured in a process of its own, on as many cores as wanted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vidrase.errors import VidraseError

LIMIT_SECONDS = 900


class ChildFailed(VidraseError):
    """A measured process ended with an error."""


class Elapsed(NamedTuple):
    """Seconds of a whole process, from its start to its end."""

    wall: float
    """What a user waits."""
    processor: float
    """Of all its threads; hardly changes when the machine is busy. 0 where the system does not say (Windows)."""


def timed(command: Sequence[str], environment: Mapping[str, str] | None = None, *, what: str) -> Elapsed:
    """How long a whole process takes.

    environment: added to this process's own. what: names it in a message.
    Raises ChildFailed with the last line that it wrote to stderr.
    """
    before, begun = os.times(), time.perf_counter()
    _finished(command, {**os.environ, **(environment or {})}, what)
    wall, after = time.perf_counter() - begun, os.times()
    worked = after.children_user + after.children_system - before.children_user - before.children_system
    return Elapsed(wall, worked)


def measured(
    clip: Path, out: Path, choices: dict[str, Any], *, runs: int, threads: int | None = None
) -> dict[str, Any]:
    """What `vidrase.bench.child` found; see there. threads: cores the process may run on; None: all of this one's.

    Raises ChildFailed with the child's last line.
    """
    order = json.dumps({"clip": str(clip), "out": str(out), "choices": choices, "runs": runs})
    command = [sys.executable, "-m", "vidrase.bench.child", order]
    environment = dict(os.environ)
    if threads is not None:
        # the libraries size their pools by these; the affinity makes sure that it is true whatever they do
        environment |= {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
        cores = sorted(os.sched_getaffinity(0))[:threads] if hasattr(os, "sched_getaffinity") else []
        if cores:
            pin = f"import os; os.sched_setaffinity(0, {cores}); import runpy, sys; "
            command = [
                sys.executable,
                "-c",
                pin + "runpy.run_module('vidrase.bench.child', run_name='__main__')",
                order,
            ]
    done = _finished(command, environment, clip.name)
    return json.loads(done.stdout.strip().splitlines()[-1])


def _finished(command: Sequence[str], environment: Mapping[str, str], what: str) -> subprocess.CompletedProcess[str]:
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ChildFailed(f"gave up after {LIMIT_SECONDS} s on {what}") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [""]
        if done.returncode < 0:
            raise ChildFailed(f"crashed with signal {-done.returncode} on {what} {lines[-1]}".rstrip())
        raise ChildFailed(lines[-1] or f"ended with code {done.returncode} on {what}")
    return done
