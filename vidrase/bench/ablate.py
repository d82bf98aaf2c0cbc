"""The gain of each rule: every case is run with all rules on, then without each group of rules, then without each rule.

A rule is switched off alone only where it can matter: where it was asked for and its whole group makes a difference.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from vidrase import rules
from vidrase.bench.completion import completion_cases
from vidrase.bench.fixed import fixed_names
from vidrase.bench.folders import chosen
from vidrase.bench.masks import people_clips
from vidrase.bench.removal import removal_refs
from vidrase.bench.results import Results, Row
from vidrase.bench.sample import sample_case, sample_folder, sample_removal
from vidrase.bench.scenes import synthetic_cases
from vidrase.bench.shadowclips import shadow_cases
from vidrase.bench.subjects import Completion, EndToEnd, Numbers, Performer, ShadowStage, Subject
from vidrase.errors import OptionError, VidraseError
from vidrase.report import Note

ALL = "everything"
GAINS = {
    "psnr": 1, "ssim": 1, "flicker": -1, "seam": -1, "leftover": -1, "spoilt": -1, "covered": 1, "least": 1, "area": -1,
    "jumps": -1, "blinks": -1, "recall": 1, "false_share": -1, "shadow_db": 1, "ground_db": 1, "cpu_ms": -1,
}  # fmt: skip
"""Measures: +1 higher is better, -1 lower is better. A gain is the change by which the rule makes the measure better."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is measured."""

    data: Path | None
    cases: tuple[str, ...] = ()
    frames: int = 24
    jobs: int = 1
    """Cases that run side by side, a process each."""


def subjects(setting: Setting) -> list[Subject]:
    """Every case that the data allows and the words choose, in a fixed order."""
    data, frames, folder = setting.data, setting.frames, sample_folder()
    found: list[Subject] = [Completion(ref) for ref in synthetic_cases(frames)]
    if folder is not None:
        found.append(Completion(sample_case(folder, frames)))
        found.append(EndToEnd("sample/walk, detected", lambda: sample_removal(folder, 2 * frames)))
    if data is not None:
        found += [Completion(ref) for ref in completion_cases(data, frames)]
        try:
            still = len(fixed_names(data))
        except VidraseError:
            still = 0
        refs = removal_refs(data, frames)
        found += [EndToEnd(name, build) for name, build in refs[: len(refs) - still]]
        found += [EndToEnd(name, build) for name, build in refs[len(refs) - still :]]
        found += [Performer(name, data, frames) for name in people_clips(data)]
        found += [ShadowStage(name, build) for name, build in shadow_cases(data, frames)]
    names = chosen([one.name for one in found], setting.cases)
    return [one for one in found if one.name in names]


def run_ablation(setting: Setting, results: Results) -> None:
    """Measure; rows are means over the cases of a group, `details` holds the gains of single cases."""
    everything = subjects(setting)
    if not everything:
        raise OptionError("no case was chosen")
    done: list[tuple[Subject, dict[str, Numbers]]] = []
    if setting.jobs == 1:
        done = [(one, measured(one, results.say)) for one in everything]
    else:
        with ProcessPoolExecutor(setting.jobs, mp_context=get_context("spawn")) as pool:
            waiting = [pool.submit(_measured_there, setting, number) for number in range(len(everything))]
            for one, future in zip(everything, waiting, strict=True):
                found = future.result()
                done.append((one, found))
                results.say(_line(one.name, found))
    for row in summary(done):
        results.rows.append(row)


def _measured_there(setting: Setting, number: int) -> dict[str, Numbers]:
    """In a process of its own, which makes the case itself; one thread, so that the time is the work."""
    import cv2
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    return measured(subjects(setting)[number], lambda _: None)


def measured(subject: Subject, say: Note) -> dict[str, Numbers]:
    """The numbers of one case: with all rules ("") and without each group and rule that takes part."""
    out: dict[str, Numbers] = {}
    with subject.opened() as run:
        run()  # loads models, fills caches
        with rules.watched() as asked:
            out[""] = run()
        for names in _variants(subject, asked, out):
            with rules.without(*(subject.parts if names == ALL else (names,))):
                out[names] = run()
            if _same(out[names], out[""]):
                del out[names]
    say(_line(subject.name, out))
    return out


def _variants(subject: Subject, asked: set[str], out: dict[str, Numbers]) -> Iterator[str]:
    """Everything, then group by group; the rules of a group only if the group made a difference."""
    yield ALL
    for part in subject.parts:
        if "." not in part or part in asked:
            yield part
        if part in out:
            yield from (rule.name for rule in rules.RULES if rule.group == part and rule.name in asked)


def _same(a: Numbers, b: Numbers) -> bool:
    return all(value == b.get(name) for name, value in a.items() if name != "cpu_ms")


def _line(name: str, found: dict[str, Numbers]) -> str:
    on = found[""]
    worth = sorted(
        ((on["psnr"] - numbers["psnr"], rule) for rule, numbers in found.items() if rule and "psnr" in numbers),
        reverse=True,
    )
    best = "  ".join(f"{rule} {gain:+.2f}" for gain, rule in worth[:6])
    shown = f"{_key(on)} {on[_key(on)]:.4g}"
    return f"  {name:34s} {shown}  {best}"


def summary(done: Sequence[tuple[Subject, dict[str, Numbers]]]) -> list[Row]:
    """A row for each rule and group of cases: mean gains, and how far the gain of `psnr` goes from case to case."""
    rows = []
    groups = dict.fromkeys(one.group for one, _ in done)
    for group in groups:
        cases = [(one, found) for one, found in done if one.group == group]
        on = {
            name: float(np.mean([f[""][name] for _, f in cases if name in f[""]]))
            for name in _names([found[""] for _, found in cases])
        }
        rows.append(
            Row("ablation", group, f"{len(cases)} cases", "all rules on", {k: round(v, 5) for k, v in on.items()})
        )
        parts = cases[0][0].parts
        for off in dict.fromkeys((ALL, *parts, *(rule.name for rule in rules.RULES if rule.group in parts))):
            gains = [_gains(found[""], found.get(off)) for _, found in cases]
            numbers = {name: round(float(np.mean([g[name] for g in gains if name in g])), 5) for name in _names(gains)}
            key = _key(numbers)
            single = [gain[key] for gain in gains if key in gain]
            numbers |= {"changed": float(sum(off in found for _, found in cases))}
            numbers |= {f"{key}_least": round(min(single), 4), f"{key}_most": round(max(single), 4)}
            rows.append(Row("ablation", group, f"{len(cases)} cases", f"gain of {off}", numbers))
    return rows


def _names(numbers: Sequence[Numbers]) -> list[str]:
    """The measures that any case has: a case without a shadow, say, has no recall of it."""
    return list(dict.fromkeys(name for one in numbers for name in one))


def _gains(on: Numbers, off: Numbers | None) -> Numbers:
    """By how much the rule makes each measure better; zeros where leaving it out changed nothing."""
    out = {}
    for name, sign in GAINS.items():
        if name not in on:
            continue
        a, b = on[name], on[name] if off is None else off.get(name, on[name])
        if name in ("flicker", "seam"):  # 1 is right for both
            a, b = abs(a - 1), abs(b - 1)
        out[name] = sign * (a - b)
    return out


SHOWN = (
    "psnr", "ssim", "flicker", "seam", "leftover", "spoilt", "covered", "least", "area", "recall", "false_share", "cpu_ms",
)  # fmt: skip


def _key(names: Collection[str]) -> str:
    """The measure whose span over the cases is given."""
    return next(name for name in ("psnr", "covered", "recall", "false_share") if name in names)


def ablation_table(rows: Sequence[Row]) -> str:
    """Rule by rule and group by group, as Markdown; only what made a difference."""
    lines = []
    for group in dict.fromkeys(row.group for row in rows):
        mine = [row for row in rows if row.group == group]
        names = [name for name in SHOWN if name in mine[1].numbers]
        key = _key(names)
        lines += [f"## {group}: {mine[0].case}", ""]
        on = mine[0].numbers
        lines += ["all rules on: " + ", ".join(f"{name} {on[name]:.4g}" for name in names), ""]
        lines += [f"| gain of | {' | '.join(names)} | {key}, case by case | cases changed |"]
        lines += ["|" + "---|" * (len(names) + 3)]
        for row in mine[1:]:
            if not row.numbers["changed"]:
                continue
            values = " | ".join(f"{row.numbers[name]:+.3f}" for name in names)
            span = f"{row.numbers[f'{key}_least']:+.2f} to {row.numbers[f'{key}_most']:+.2f}"
            title = row.method.removeprefix("gain of ")
            lines.append(f"| {title} | {values} | {span} | {row.numbers['changed']:.0f} |")
        lines.append("")
    return "\n".join(lines)
