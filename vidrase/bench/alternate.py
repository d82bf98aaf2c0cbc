"""Several ways to do one thing, timed in turn: A B C A B C ...

A machine that is slow for a while is then slow for all of them, and their ratios hold where single times do not.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

from vidrase.bench.results import median_iqr

Key = TypeVar("Key", bound=Hashable)
Found = TypeVar("Found")


def alternated(
    runs: Mapping[Key, Callable[[], Found]], repetitions: int, failed: Callable[[Key, Exception], None]
) -> dict[Key, list[Found]]:
    """What every repetition of each run returned, in the order A B C A B C.

    One that raises is told to `failed`, is not tried again and is left out of the result.
    """
    found: dict[Key, list[Found]] = {name: [] for name in runs}
    for _ in range(repetitions):
        for name in list(found):
            try:
                found[name].append(runs[name]())
            except Exception as error:  # noqa: BLE001 - one contender must not end the run; the failure is reported
                failed(name, error)
                del found[name]
    return found


def ratio(seconds: Sequence[float], to: Sequence[float]) -> tuple[float, float]:
    """(median of `seconds` over the median of `to`, interquartile range of the repetitions' own ratios)."""
    _, spread = median_iqr([a / b for a, b in zip(seconds, to, strict=True)])
    return statistics.median(seconds) / statistics.median(to), spread
