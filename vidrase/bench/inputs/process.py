"""Runs a case as a process of its own, the whole program: what it says, its exit code, and its end by force when it hangs.

A server with the libraries loaded forks for each case (where the system can fork), so that a case costs what it does, not
the start-up. The case is built there too: encoders of other cases are not in its process.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import time
import traceback
from functools import cache
from multiprocessing.context import BaseContext
from pathlib import Path

from vidrase.bench.inputs.case import Case, Fault, Outcome, evaluate, furnish
from vidrase.bench.inputs.permissions import drop_override

LIMIT_SECONDS = 60.0
TIGHT_SECONDS = 300.0  # of a case with little memory: it starts from nothing
_PRELOADED = ["vidrase.cli.main", "vidrase.cli.erase", "vidrase.inpaint", "vidrase.mask", "vidrase.bench.inputs.corpus"]


def run(case: Case, limit: float = LIMIT_SECONDS) -> tuple[Outcome, list[Fault]]:
    """Build, run and evaluate `case`, one of the corpus, in a folder that is removed again."""
    if case.memory_mib:
        return run_limited(case)
    with tempfile.TemporaryDirectory(prefix="vidrase-inputs-") as made:
        top = Path(made)
        folder = top / "here"
        folder.mkdir()
        process = _context().Process(target=_child, args=(case.name, str(top)))  # type: ignore[attr-defined]
        begun = time.perf_counter()
        process.start()
        process.join(limit)
        hung = process.is_alive()
        if hung:
            process.kill()
            process.join()
        seconds = time.perf_counter() - begun
        code = None if hung else process.exitcode
        process.close()
        if (failed := top / "failed").exists():
            return Outcome(code, "", ""), [Fault("result", f"the case could not be built: {failed.read_text()[-300:]}")]
        out, err = (
            (top / name).read_text(errors="replace") if (top / name).exists() else "" for name in ("out", "err")
        )
        before = json.loads((top / "before").read_text()) if (top / "before").exists() else {}
        outcome = Outcome(code, out, err, seconds)
        return outcome, evaluate(case, folder, before, outcome)


def run_limited(case: Case) -> tuple[Outcome, list[Fault]]:
    """`run` for a case with a limit on its memory: by a new interpreter, which has taken nothing yet."""
    limit = f"import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_AS, 2 * ({case.memory_mib << 20},)); "
    code = limit + "sys.argv[0] = 'vidrase'; runpy.run_module('vidrase', run_name='__main__', alter_sys=True)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with tempfile.TemporaryDirectory(prefix="vidrase-inputs-") as made:
        folder = Path(made)
        before = furnish(case, folder)
        begun = time.perf_counter()
        command = [sys.executable, "-c", code, *case.command]
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=TIGHT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            outcome = Outcome(None, "", "", TIGHT_SECONDS)
        else:
            outcome = Outcome(done.returncode, done.stdout, done.stderr, time.perf_counter() - begun)
        return outcome, evaluate(case, folder, before, outcome)


@cache
def _context() -> BaseContext:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


def _child(name: str, top: str) -> None:
    from vidrase.bench.inputs.corpus import named

    case, folder = named(name), Path(top, "here")
    try:
        Path(top, "before").write_text(json.dumps(furnish(case, folder)))
    except BaseException:  # noqa: BLE001 - told by the parent
        Path(top, "failed").write_text(traceback.format_exc())
        return
    drop_override()
    for variable, value in case.environment.items():
        os.environ.pop(variable, None)
        if value is not None:
            os.environ[variable] = value.replace("{here}", str(folder))
    for stream, called in ((sys.stdout, "out"), (sys.stderr, "err")):
        stream.flush()
        file = os.open(Path(top, called), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(file, stream.fileno())
        os.close(file)
    os.chdir(folder)
    sys.argv = ["vidrase", *case.command]
    runpy.run_module("vidrase", run_name="__main__", alter_sys=True)
