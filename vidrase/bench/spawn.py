"""Starting a measurement in a child process, on as many cores as wanted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from vidrase.errors import VidraseError

LIMIT_SECONDS = 900


class ChildFailed(VidraseError):
    """A measured process ended with an error."""


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
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ChildFailed(f"gave up after {LIMIT_SECONDS} s on {clip.name}") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [""]
        if done.returncode < 0:
            raise ChildFailed(f"crashed with signal {-done.returncode} on {clip.name} {lines[-1]}".rstrip())
        raise ChildFailed(lines[-1] or f"ended with code {done.returncode} on {clip.name}")
    return json.loads(done.stdout.strip().splitlines()[-1])
