"""The completion cases alone, for work on the fill: `python benchmarks/completion.py [CASE…] [--frames N] [--data DIR]`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from vidrase.bench.case import Case
from vidrase.bench.completion import completion_cases, spread
from vidrase.bench.evaluation import Evaluation
from vidrase.bench.folders import chosen, data_root
from vidrase.bench.peers import Peer, ours, peers
from vidrase.bench.scenes import synthetic_cases
from vidrase.errors import VidraseError

SHOWN = ("psnr", "flicker", "seam", "texture", "psnr_frame", "changed_outside")


def main() -> None:
    """Print a line for each case and method, then the means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", help="parts of case names, such as moving/ synthetic/pan lucia")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--frames", type=int, default=36)
    parser.add_argument("--quality", default="default")
    parser.add_argument("--most", type=int, default=100, help="at most this many cases, evenly spread")
    parser.add_argument("--only-ours", action="store_true")
    given = parser.parse_args()
    data = data_root(given.data)
    refs = (completion_cases(data, given.frames) if data else []) + synthetic_cases(given.frames)
    names = chosen([ref.name for ref in refs], given.cases)
    rivals: list[Peer] = [] if given.only_ours else peers()
    try:
        rivals = [ours(given.quality), *rivals]
    except (VidraseError, ImportError) as error:
        print(f"without our engine: {error}")
    print(f"{'case':34s} {'method':18s} {'ms/frame':>9s} " + " ".join(f"{name:>15s}" for name in SHOWN))
    sums: dict[str, list[dict[str, float]]] = {}
    for ref in spread([ref for ref in refs if ref.name in names], given.most):
        case = ref.build()
        evaluate = Evaluation(case)
        for rival in rivals:
            numbers = _run(rival, case, evaluate)
            sums.setdefault(rival.name, []).append(numbers)
            _row(case.name, rival, numbers)
    for rival in rivals:
        rows = sums[rival.name]
        _row("MEAN", rival, {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]})


def _run(rival: Peer, case: Case, evaluate: Evaluation) -> dict[str, float]:
    begun = time.perf_counter()
    filled = rival.complete(case.shown, case.holes)
    seconds = time.perf_counter() - begun
    return {**evaluate(filled), "ms_per_frame": 1000 * seconds / len(case.shown)}


def _row(name: str, rival: Peer, numbers: dict[str, float]) -> None:
    values = " ".join(f"{numbers.get(key, float('nan')):15.3f}" for key in SHOWN)
    stats = getattr(rival, "stats", None)
    share = stats.copied / max(stats.copied + stats.invented, 1) if stats and name != "MEAN" else None
    extra = f"  copied {share:.0%} {stats.modes}" if share is not None and stats else ""
    print(f"{name:34s} {rival.name:18s} {numbers['ms_per_frame']:9.1f} {values}{extra}", flush=True)


if __name__ == "__main__":
    main()
