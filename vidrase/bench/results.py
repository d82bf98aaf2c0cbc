"""What a run found: rows of numbers, pictures to look at, and what failed."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from vidrase.bench.case import Rgb
from vidrase.report import Note


@dataclass(frozen=True, slots=True)
class Row:
    """One method on one case."""

    suite: str
    group: str
    """Cases that are averaged together in tables: "moving", "irregular 20-30 %", "480p"."""
    case: str
    method: str
    numbers: dict[str, float]
    iqr: dict[str, float] = field(default_factory=dict)
    """For numbers that are medians of several runs: the interquartile range. The others are exact on repetition."""
    runs: int = 1
    texts: dict[str, str] = field(default_factory=dict)
    """What is no number: of the suite `inputs` the command, what it has to come to and what it came to."""


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """Pictures of one case side by side; all uint8 RGB of one height."""

    case: str
    caption: str
    pictures: Sequence[tuple[str, Rgb]]
    """(title, picture)"""
    public: bool
    worth: float = 0.0
    """dB in the hole: the worst comes first on the page."""


@dataclass(slots=True)
class Results:
    """Everything that the page, the table and the record show."""

    say: Note = print
    rows: list[Row] = field(default_factory=list)
    strips: list[Strip] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)
    """{"suite", "case", "method", "error"}: printed as plainly as the numbers."""
    skipped: list[str] = field(default_factory=list)
    """What could not be measured here, and why."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall seconds of each suite."""
    checkout: tuple[str, bool] | None = None
    """(commit, whether files differ from it) at the start; None: as it is when the record is written."""

    def add(self, row: Row) -> None:
        """Keep a row and say it."""
        self.rows.append(row)
        shown = "  ".join(f"{name} {value:.4g}" for name, value in list(row.numbers.items())[:6])
        self.say(f"  {row.case:34s} {row.method:18s} {shown}")

    def fail(self, suite: str, case: str, method: str, error: BaseException) -> None:
        """Keep a failure and say it."""
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
        self.failures.append({"suite": suite, "case": case, "method": method, "error": text})
        self.say(f"  {case:34s} {method:18s} FAILED {text}")

    def skip(self, why: str) -> None:
        """Keep and say, once, what is not measured."""
        if why not in self.skipped:
            self.skipped.append(why)
            self.say(f"  not measured: {why}")


def median_iqr(values: Sequence[float]) -> tuple[float, float]:
    """(median, interquartile range); the range of a single value is 0."""
    if len(values) < 2:
        return float(values[0]), 0.0
    low, high = np.percentile(values, [25, 75])
    return statistics.median(values), float(high - low)


def mean_by(rows: Sequence[Row], key: Callable[[Row], str], name: str) -> dict[str, float]:
    """Mean of one number over the rows of each key, rows without the number left out."""
    held: dict[str, list[float]] = {}
    for row in rows:
        if name in row.numbers:
            held.setdefault(key(row), []).append(row.numbers[name])
    return {group: float(np.mean(values)) for group, values in held.items()}
