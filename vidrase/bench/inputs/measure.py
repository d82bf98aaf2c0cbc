"""The whole corpus through the command line: a row for each case, a row for each group, and what must not have happened."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path

from vidrase.bench.folders import chosen
from vidrase.bench.inputs.case import KINDS, Case, Fault, Outcome
from vidrase.bench.peers import OURS
from vidrase.bench.results import Results, Row
from vidrase.errors import VidraseError

TALLY = "all"  # the case of a group's own row


class NotAsExpected(VidraseError):
    """A case of the corpus came to something else."""


def run_inputs(results: Results, words: Sequence[str], jobs: int, *, quick: bool = False) -> None:
    """Every case whose name contains one of `words` (no words: all). quick: every seventh."""
    from vidrase.bench.inputs.corpus import GROUPS  # pictures are drawn for it
    from vidrase.bench.inputs.process import run

    names = chosen([case.name for group in GROUPS.values() for case in group], tuple(words))
    if quick and not words:
        names = names[::7]
    wanted = set(names)
    with ThreadPoolExecutor(jobs) as pool:
        for group, cases in GROUPS.items():
            picked = [case for case in cases if case.name in wanted]
            found = list(zip(picked, pool.map(run, picked), strict=True))
            for case, (outcome, faults) in found:
                results.rows.append(_row(group, case, outcome, faults))
                for fault in faults:
                    results.fail("inputs", case.name, fault.kind, NotAsExpected(fault.text))
            if found:
                results.add(_tally(group, [(outcome, faults) for _, (outcome, faults) in found]))


def _row(group: str, case: Case, outcome: Outcome, faults: Sequence[Fault]) -> Row:
    numbers = {"faults": float(len(faults)), "seconds": round(outcome.seconds, 2)}
    if outcome.code is not None:
        numbers["code"] = float(outcome.code)
    said = [line for line in (outcome.err or outcome.out).splitlines() if line.strip()]
    expected = "0, 1 or 2" if case.code is None else str(case.code)
    texts = {
        "command": " ".join(case.command).encode("unicode_escape").decode()[:200],
        "expected": f"{expected} {case.says}".strip(),
        "found": f"{outcome.code} {_anywhere(said[-1])[:300] if said else ''}".strip(),
    }
    return Row("inputs", group, case.name.encode("unicode_escape").decode(), OURS, numbers, texts=texts)


def _anywhere(line: str) -> str:
    """Without the folders of this machine, which have no place in a record."""
    package = str(Path(str(resources.files("vidrase"))))
    return re.sub(r"[^\s']*vidrase-inputs-\w+/here/?", "", line.replace(package, "vidrase"))


def _tally(group: str, found: Sequence[tuple[Outcome, Sequence[Fault]]]) -> Row:
    """How many cases a group has, what they came to, and how many had a fault of each kind."""
    numbers = {"cases": float(len(found))}
    numbers |= {f"code_{code}": float(sum(outcome.code == code for outcome, _ in found)) for code in (0, 1, 2)}
    for kind in KINDS:
        numbers[kind] = float(sum(any(fault.kind == kind for fault in faults) for _, faults in found))
    return Row("inputs", group, TALLY, OURS, numbers)


def inputs_table(rows: Sequence[Row]) -> list[str]:
    """A line for each group."""
    lines = []
    for row in rows:
        if row.case != TALLY:
            continue
        n = row.numbers
        faults = ", ".join(f"{kind} {n[kind]:.0f}" for kind in KINDS if n[kind]) or "none"
        codes = ", ".join(f"{n[f'code_{code}']:.0f} ended with {code}" for code in (0, 1, 2))
        lines.append(f"{row.group:16s} {n['cases']:4.0f} cases: {codes}; faults: {faults}")
    return lines


def inputs_report(record: dict) -> str:
    """The record as Markdown: groups, then every case with what was expected and found."""
    rows = [row for row in record["rows"] if row["suite"] == "inputs"]
    where = f"commit {record['commit'] or record['version']}{' + changes' if record['dirty'] else ''}"
    tallies = [row for row in rows if row["case"] == TALLY]
    total = sum(row["numbers"]["cases"] for row in tallies)
    lines = ["# Inputs as people have them", ""]
    lines += [f"`vidrase bench --suite inputs`: {total:.0f} cases, {where}, {record['seconds']:.0f} s.", ""]
    lines += [f"| group | cases | 0 | 1 | 2 | {' | '.join(KINDS)} |", "|---" * (5 + len(KINDS)) + "|"]
    for row in tallies:
        n = row["numbers"]
        cells = [f"{n[name]:.0f}" for name in ("cases", "code_0", "code_1", "code_2", *KINDS)]
        lines.append(f"| {row['group']} | {' | '.join(cells)} |")
    for tally in tallies:
        lines += ["", f"## {tally['group']}", "", "| case | expected | found |", "|---|---|---|"]
        for row in rows:
            if row["group"] == tally["group"] and row["case"] != TALLY:
                mark = "**" if row["numbers"]["faults"] else ""
                texts = row["texts"]
                lines.append(
                    f"| {_cell(row['case'])} | {_cell(texts['expected'])} | {mark}{_cell(texts['found'])}{mark} |"
                )
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
