"""What somebody has in hand keeps its id however it is swung: a racket is elsewhere in every frame, but its bearer is not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidrase.crops import Crop, area, touching
from vidrase.frames import Instances
from vidrase.labels import CARRIED, GROUP_OF

REACH = 0.015  # of the frame's diagonal: how near a thing lies to who holds it
ALIKE = 3.0  # ratio of its sizes at two looks, at most: turned on edge, a racket is a third of itself
KEPT_LOOKS = 8  # looks for which it may be out of sight


@dataclass(slots=True)
class Held:
    """A carried thing, as last seen."""

    group: str
    bearer: int
    size: int
    """px²."""
    looks: int = 0
    """How long ago."""


class InHand:
    """One shot after another: `same` gives a frame's carried things the ids they had before."""

    def __init__(self) -> None:
        self.new_shot()

    def new_shot(self) -> None:
        """Forget who had what."""
        self._held: dict[int, Held] = {}
        self._known: dict[int, int] = {}  # id of the tracker -> the id that the same thing had before

    def same(self, found: Instances, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """`ids` [K] of the tracker (0: too weak to count) with those of things that went on in the same hands."""
        ids = np.array([self._known.get(int(number), int(number)) for number in ids], np.int64)
        people = [k for k, label in enumerate(found.labels) if label == "person" and ids[k]]
        things = [k for k, label in enumerate(found.labels) if label in CARRIED]
        if people and things:
            self._handed_on(found, ids, people, things)
        for number in [n for n, held in self._held.items() if held.looks >= KEPT_LOOKS]:
            del self._held[number]
        for held in self._held.values():
            held.looks += 1
        return ids

    def _handed_on(self, found: Instances, ids: NDArray[np.int64], people: list[int], things: list[int]) -> None:
        reach = REACH * float(np.hypot(*found.size))
        parts = {k: _crop(found, k) for k in (*people, *things)}
        # the sure ones first: a weak one may be a second look at the same
        for k in sorted(things, key=lambda k: (ids[k] == 0, -found.scores[k])):
            bearers = [int(ids[p]) for p in people if touching(parts[k], parts[p], reach)]
            if not bearers:
                continue
            group, size = GROUP_OF.get(found.labels[k], found.labels[k]), area(parts[k])
            if int(ids[k]) not in self._held:
                lost = [
                    (held.looks, number)
                    for number, held in self._held.items()
                    if held.group == group
                    and held.bearer in bearers
                    and number not in ids
                    and max(held.size, size) <= ALIKE * min(held.size, size)
                ]
                if lost:
                    number = min(lost)[1]
                    if ids[k]:
                        self._known[int(ids[k])] = number
                    ids[k] = number
            if ids[k]:
                before = self._held.get(int(ids[k]))
                bearer = before.bearer if before is not None and before.bearer in bearers else bearers[0]
                self._held[int(ids[k])] = Held(group, bearer, size)


def _crop(found: Instances, k: int) -> Crop:
    y, x = found.corners[k].tolist()
    return found.masks[k], (y, x)
