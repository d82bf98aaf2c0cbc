"""How long it takes before anything happens: `vidrase --help` and `import vidrase`, each as a whole process."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

from vidrase.bench.alternate import alternated
from vidrase.bench.peers import OURS
from vidrase.bench.results import Results, Row, median_iqr
from vidrase.bench.spawn import timed

PYTHON = "python"
STARTS: dict[str, tuple[str, Sequence[str]]] = {
    "start vidrase --help": (OURS, ("-m", "vidrase", "--help")),
    "start import vidrase": (OURS, ("-c", "import vidrase")),
    "start python alone": (PYTHON, ("-c", "pass")),
}
"""case -> (method, arguments of the interpreter)."""
RUNS = 3


def run_startup(results: Results) -> None:
    """Rows "start": median wall seconds of three processes each, in turn."""
    runs = {case: partial(timed, [sys.executable, *words], what=case) for case, (_, words) in STARTS.items()}
    found = alternated(runs, RUNS, lambda case, error: results.fail("speed", case, STARTS[case][0], error))
    for case, seconds in found.items():
        middle, spread = median_iqr([one.wall for one in seconds])
        results.add(
            Row(
                "speed",
                "start",
                case,
                STARTS[case][0],
                {"start_seconds": round(middle, 3)},
                {"start_seconds": round(spread, 3)},
                len(seconds),
            )
        )
