"""Suites that fill holes in frames and compare with the truth: completion (real, synthetic, sample) and stills."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence

from vidrase.bench.case import Case, CaseRef, Rgb
from vidrase.bench.evaluation import Evaluation
from vidrase.bench.logo import LogoFilter
from vidrase.bench.peers import OURS, Biharmonic, Peer
from vidrase.bench.results import Results, Row, Strip
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
        evaluate, filled, rows = Evaluation(case), {}, []
        for method in methods:
            if isinstance(method, Biharmonic) and case.size[0] * case.size[1] > Biharmonic.most_pixels:
                continue
            if isinstance(method, LogoFilter) and not method.can(case.holes):
                continue
            try:
                begun, worked = time.perf_counter(), _worked()
                filled[method.name] = method.complete(case.shown, case.holes)
                seconds, work = time.perf_counter() - begun, _worked() - worked
                numbers = evaluate(filled[method.name])
            except Exception as error:  # noqa: BLE001 - one method must not end the run; the failure is reported
                results.fail(suite, case.name, method.name, error)
                continue
            numbers["ms_per_frame"] = round(1000 * seconds / len(case.shown), 2)
            numbers["cpu_ms_per_frame"] = round(1000 * work / len(case.shown), 2)
            rows.append(Row(suite, _group(case), case.name, method.name, numbers | _shares(method)))
            results.add(rows[-1])
        if strip := _strip(case, filled, rows):
            results.strips.append(strip)


def _worked() -> float:
    """Processor seconds so far, children that have ended (ffmpeg) included."""
    return sum(os.times()[:4])


def _shares(method: Peer) -> dict[str, float]:
    """Where the pixels of our last filling came from."""
    stats = getattr(method, "stats", None)
    if stats is None:
        return {}
    total = max(stats.copied + stats.invented, 1)
    return {f"share_{name}": round(getattr(stats, name) / total, 4) for name in ("copied", "invented")}


def _strip(case: Case, filled: dict[str, list[Rgb]], rows: Sequence[Row]) -> Strip | None:
    ours = next((row for row in rows if row.method == OURS and "psnr" in row.numbers), None)
    if ours is None:
        return None
    numbers = ours.numbers
    caption = f"{numbers['psnr']:.1f} dB in the hole"
    if "flicker" in numbers:
        caption += f", flicker {numbers['flicker']:.2f}, seam {numbers.get('seam', math.nan):.2f}"
    others = [row for row in rows if row.method != OURS and "psnr" in row.numbers]
    best = max(others, key=lambda row: row.numbers["psnr"], default=None)
    rival = None if best is None else (f"{best.method} {best.numbers['psnr']:.1f}", filled[best.method])
    return strip_of(case, filled[OURS], caption, numbers["psnr"], rival)


def _group(case: Case) -> str:
    return case.name.split("/", 1)[0] if case.kind == "photo" else case.kind
