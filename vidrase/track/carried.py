"""Re-identify carried objects by the person who carries them.

A swung racket is at a different position in every frame, so that box overlap fails; the person who holds it is easy to track.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidrase.crops import Crop, area, is_near
from vidrase.frames import Instances
from vidrase.labels import CARRIED, GROUP_OF

MAX_GAP_SHARE = 0.015  # distance to the person / frame diagonal; up to it the object counts as held
# larger area / smaller area between two detections; above it it is another object (a racket seen edge-on has a third
# of its area)
MAX_SIZE_RATIO = 3.0
MAX_MISSED_DETECTIONS = 8  # detected frames; an object missing for longer is forgotten


@dataclass(slots=True)
class CarriedObject:
    """A carried object at its last detection."""

    group: str
    bearer: int
    size: int
    """px²."""
    missed: int = 0
    """Number of detected frames since then."""


class CarriedObjectReId:
    """`reidentify` gives the carried objects of a frame their earlier ids. Frames come in order; `new_shot` resets."""

    def __init__(self) -> None:
        self.new_shot()

    def new_shot(self) -> None:
        """Forget all carried objects."""
        self._carried: dict[int, CarriedObject] = {}
        self._aliases: dict[int, int] = {}  # tracker's id -> earlier id of the same object

    def reidentify(self, detections: Instances, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """`ids` [K] of the tracker (0: weak detection), with earlier ids for objects that the same person still carries."""
        ids = np.array([self._aliases.get(int(number), int(number)) for number in ids], np.int64)
        people = [k for k, label in enumerate(detections.labels) if label == "person" and ids[k]]
        objects = [k for k, label in enumerate(detections.labels) if label in CARRIED]
        if people and objects:
            self._match_by_bearer(detections, ids, people, objects)
        for number in [n for n, carried in self._carried.items() if carried.missed >= MAX_MISSED_DETECTIONS]:
            del self._carried[number]
        for carried in self._carried.values():
            carried.missed += 1
        return ids

    def _match_by_bearer(
        self, detections: Instances, ids: NDArray[np.int64], people: list[int], objects: list[int]
    ) -> None:
        reach = MAX_GAP_SHARE * float(np.hypot(*detections.size))
        crops = {k: _crop(detections, k) for k in (*people, *objects)}
        # confident detections first: a weak one may be a duplicate
        for k in sorted(objects, key=lambda k: (ids[k] == 0, -detections.scores[k])):
            bearers = [int(ids[p]) for p in people if is_near(crops[k], crops[p], reach)]
            if not bearers:
                continue
            group, size = GROUP_OF.get(detections.labels[k], detections.labels[k]), area(crops[k])
            if int(ids[k]) not in self._carried:
                lost = [
                    (carried.missed, number)
                    for number, carried in self._carried.items()
                    if carried.group == group
                    and carried.bearer in bearers
                    and number not in ids
                    and max(carried.size, size) <= MAX_SIZE_RATIO * min(carried.size, size)
                ]
                if lost:
                    number = min(lost)[1]
                    if ids[k]:
                        self._aliases[int(ids[k])] = number
                    ids[k] = number
            if ids[k]:
                previous = self._carried.get(int(ids[k]))
                bearer = previous.bearer if previous is not None and previous.bearer in bearers else bearers[0]
                self._carried[int(ids[k])] = CarriedObject(group, bearer, size)


def _crop(detections: Instances, k: int) -> Crop:
    y, x = detections.corners[k].tolist()
    return detections.masks[k], (y, x)
