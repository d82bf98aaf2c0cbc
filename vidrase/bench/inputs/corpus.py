"""All cases by their groups, the same on every machine."""

from __future__ import annotations

from functools import cache

from vidrase.bench.inputs import (
    byproducts,
    damage,
    homes,
    limits,
    names,
    permissions,
    random_damage,
    recordings,
    requests,
)
from vidrase.bench.inputs.case import Case

GROUPS: dict[str, list[Case]] = {
    "names": names.CASES,
    "by-products": byproducts.CASES,
    "recordings": recordings.CASES,
    "damage": damage.CASES,
    "requests": requests.CASES,
    "random damage": random_damage.CASES,
    "homes": homes.CASES,
    "memory": limits.CASES,
    "permissions": permissions.CASES,
}
CASES = [case for group in GROUPS.values() for case in group]


@cache
def _by_name() -> dict[str, Case]:
    return {case.name: case for case in CASES}


def named(name: str) -> Case:
    """The case of that name. Raises KeyError."""
    return _by_name()[name]


MENDED = (  # that failed once, and that nothing else in the tests holds
    "zeros 2 in sound.ts",
    "zeros 2 in sound.ts, strict",
    "cut off 0 a.gif",
    "cut off 1 a.avi",
    "flipped 2 a.tif",
    "flipped 2 a.webm",
    "flipped 0 a.ts",
    "flipped 2 a.ts",
)


def _sample() -> list[Case]:
    """What `make test` runs: of each group every few cases, more of those that are refused at once, and what was mended."""
    every = {"names": 6, "by-products": 2, "recordings": 7, "damage": 25, "requests": 2, "random damage": 35}
    picked = [case for group, stride in every.items() for case in GROUPS[group][::stride]]
    return [*(case for case in picked if case.name not in MENDED), *map(named, MENDED)]


SAMPLE = _sample()
"""A few seconds' worth of all groups but `homes`, `memory` and `permissions`, which need processes of their own."""
