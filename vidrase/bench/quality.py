"""Suites that fill holes in frames and compare with the truth: completion (real, synthetic, sample) and stills."""

from __future__ import annotations

import time
from collections.abc import Sequence

from vidrase.bench.case import Case, CaseRef
from vidrase.bench.judge import Judge
from vidrase.bench.peers import OURS, Biharmonic, Peer
from vidrase.bench.results import Results, Row
from vidrase.bench.strips import strip_of
from vidrase.errors import VidraseError


def run_cases(refs: Sequence[CaseRef], methods: Sequence[Peer], results: Results, suite: str) -> None:
    """Every method on every case. A method that fails on a case is reported and the rest goes on."""
    for ref in refs:
        try:
            case = ref.build()
        except VidraseError as error:
            results.fail(suite, ref.name, "(case)", error)
            continue
        judge = Judge(case)
        for method in methods:
            if isinstance(method, Biharmonic) and case.size[0] * case.size[1] > Biharmonic.most_pixels:
                continue
            _one(case, judge, method, results, suite)


def _one(case: Case, judge: Judge, method: Peer, results: Results, suite: str) -> None:
    begun = time.perf_counter()
    try:
        filled = method.complete(case.shown, case.holes)
        seconds = time.perf_counter() - begun
        numbers = judge(filled)
    except Exception as error:  # noqa: BLE001 - a peer, or an engine in the making, must not end the run; the failure is reported
        results.fail(suite, case.name, method.name, error)
        return
    numbers["ms_per_frame"] = round(1000 * seconds / len(case.shown), 2)
    stats = getattr(method, "stats", None)
    if stats is not None:
        total = max(stats.copied + stats.invented + stats.unfilled, 1)
        for name in ("copied", "invented", "unfilled"):
            numbers[f"share_{name}"] = round(getattr(stats, name) / total, 4)
    results.add(Row(suite, _group(case), case.name, method.name, numbers))
    if method.name == OURS and "psnr" in numbers:
        caption = f"{numbers['psnr']:.1f} dB in the hole"
        if "flicker" in numbers:
            caption += f", flicker {numbers['flicker']:.2f}, seam {numbers.get('seam', float('nan')):.2f}"
        results.strips.append(strip_of(case, filled, caption))


def _group(case: Case) -> str:
    return case.name.split("/", 1)[0] if case.kind == "photo" else case.kind
