"""What got better or worse between two records, beyond noise."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from vidrase.bench.evaluation import MEASURES
from vidrase.bench.masks import MASK_MEASURES
from vidrase.bench.ratios import RATIOS
from vidrase.bench.removal import REMOVAL_MEASURES

DIRECTION = {
    **{
        name: direction
        for table in (MEASURES, REMOVAL_MEASURES, MASK_MEASURES)
        for name, (_, _, direction) in table.items()
    },
    **dict.fromkeys(RATIOS, -1),
    "start_seconds": -1,
    "ms_per_frame": -1,
    "cpu_ms_per_frame": -1,
    "cold_seconds": -1,
    "peak_mib": -1,
    "gpu_peak_mib": -1,
    "fps": 1,
}
SMALLEST_CHANGE = {  # smallest change worth a line: about what an eye or a stopwatch can tell
    "psnr": 0.1, "psnr_frame": 0.1, "psnr_outside": 0.3, "ssim": 0.003, "ssim_frame": 0.002, "l1": 0.001, "flicker": 0.03,
    "seam": 0.03, "gmsd": 0.003, "ms_ssim": 0.003, "leftover": 0.01, "redetected": 0.04, "ap50": 0.01, "iou": 0.01,
    "recall": 0.01, "dropouts": 0.03, "restless": 0.005, "changed_outside": 1, "peak_mib": 15, "gpu_peak_mib": 15,
    "frames_equal": 0.5,
    "times_equal": 0.5, "audio_equal": 0.5, "shadow_left": 0.02, "shadow_psnr": 0.1, "false_removal": 0.0005,
    "shadow_recall": 0.02, "false_share": 0.01, "ring_psnr": 0.2,
}  # fmt: skip
TIMED = {"ms_per_frame", "cpu_ms_per_frame", "cold_seconds", "fps", "start_seconds", *RATIOS}
TIMED_SHARE = 0.07  # of the older value: runs on a shared machine repeat no better


@dataclass(frozen=True, slots=True)
class Change:
    """One number, before and after."""

    suite: str
    group: str
    case: str
    """"" for the mean over a group."""
    name: str
    before: float
    after: float
    noise: float
    """Changes up to here say nothing."""

    @property
    def better(self) -> bool:
        """Whether `after` is the better one."""
        return (self.after - self.before) * DIRECTION[self.name] > 0

    @property
    def beyond_noise(self) -> bool:
        """Whether it says anything."""
        return abs(self.after - self.before) > self.noise


def changes(before: dict[str, Any], after: dict[str, Any], method: str = "vidrase") -> list[Change]:
    """All numbers of `method` that both records hold: group means first (noise: twice the standard error of the pairs'
    differences), then single cases (noise: the interquartile ranges; for exact numbers the least that matters)."""
    pairs = list(_pairs(before, after, method))
    groups: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    singles = []
    for old, new, name in pairs:
        a, b = float(old["numbers"][name]), float(new["numbers"][name])
        groups.setdefault((new["suite"], new["group"], name), []).append((a, b))
        noise = _least(name, a) + max(old["iqr"].get(name, 0.0), new["iqr"].get(name, 0.0))
        singles.append(Change(new["suite"], new["group"], new["case"], name, a, b, noise))
    means = []
    for (suite, group, name), values in groups.items():
        a, b = np.mean(values, axis=0)
        steps = [new - old for old, new in values]
        error = 2 * float(np.std(steps, ddof=1)) / math.sqrt(len(steps)) if len(steps) > 2 else 0.0
        means.append(Change(suite, group, "", name, float(a), float(b), max(error, _least(name, float(a)))))
    return means + singles


def report(before: dict[str, Any], after: dict[str, Any]) -> str:
    """The comparison as text; losses first."""
    lines = [f"{_title(before)}  ->  {_title(after)}"]
    lines += [f"note: {warning}" for warning in _warnings(before, after)]
    found = changes(before, after)
    if not found:
        return "\n".join([*lines, "the two records have no case in common"])
    real = [change for change in found if change.beyond_noise]
    for word, better in (("WORSE", False), ("better", True)):
        chosen = [change for change in real if change.better == better]
        lines.append(f"{word}: {len(chosen) or 'nothing'}")
        for change in chosen:
            where = change.case or f"mean of {change.group}"
            step = f"{change.before:.4g} -> {change.after:.4g}"
            lines.append(f"  {where:36s} {change.name:16s} {step:24s} (noise {change.noise:.2g})")
    lines.append(f"unchanged within noise: {len(found) - len(real)} of {len(found)} numbers")
    missing = {row["case"] for row in before["rows"]} ^ {row["case"] for row in after["rows"]}
    if missing:
        lines.append(f"in one record only: {', '.join(sorted(missing))}")
    return "\n".join(lines)


def _pairs(
    before: dict[str, Any], after: dict[str, Any], method: str
) -> Iterator[tuple[dict[str, Any], dict[str, Any], str]]:
    old = {(row["suite"], row["case"], row["method"]): row for row in before["rows"]}
    for row in after["rows"]:
        twin = old.get((row["suite"], row["case"], row["method"]))
        if twin is None or row["method"] != method:
            continue
        for name in row["numbers"]:
            if name in twin["numbers"] and DIRECTION.get(name, 0):
                yield twin, row, name


def _least(name: str, value: float) -> float:
    return abs(value) * TIMED_SHARE if name in TIMED else SMALLEST_CHANGE.get(name, abs(value) * 0.01)


def _warnings(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    if before["machine"]["name"] != after["machine"]["name"]:
        yield f"different machines ({before['machine']['name']}, {after['machine']['name']}): times say nothing"
    for record in (before, after):
        load = record["machine"].get("load") or [0]
        if load[0] > record["machine"]["cores"]:
            yield f"{_title(record)} was measured under load {load[0]}: its times are too long"
    if before["settings"] != after["settings"]:
        yield f"different settings: {before['settings']} and {after['settings']}"


def _title(record: dict[str, Any]) -> str:
    return f"{record['suite']} {record['commit'] or record['version']}{'+' if record['dirty'] else ''} ({record['date'][:16]})"
