"""Which detections show one thing: told by where each thing was a moment ago.

A tracker compares boxes. A dancer whose arm goes up, or who turns upside down, is then found twice (legs under her own id, all of
her under that of somebody lost), or all of her only weakly. Carried along the motion, the mask of the last look says who is who.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vidrase.crops import Crop, area, shared, united
from vidrase.frames import Instances
from vidrase.labels import GROUP_OF
from vidrase.motion import Motion
from vidrase.track.between import region_of

ITSELF = 0.4  # IoU of a detection with where its id is expected, above which nobody else may claim it
STAYS = 0.7  # IoU with where it lay at the last look, above which that need not be worked out
PART = 0.6  # share of a detection that has to lie where a thing is expected for it to be part of that thing
WHOLE = 0.75  # share of what is known of a thing that a larger detection of it holds
LACKING = 0.8  # of the area expected, below which a detection has missed some of the thing
SWOLLEN = 1.6  # times the area expected, beyond which a detection is of more than the thing
ON_IT = 0.5  # share of the smaller mask that has to lie on the other for the two to be one thing
WORTH = 0.6  # times its own confidence, below which a thing's is too low to claim a detection: a doubtful thing owns nothing
KEPT_LOOKS = 3  # looks for which the last whole mask of a thing says where it is
CERTAIN = 0.5  # share of a carried pixel that has to be mask


class Last(NamedTuple):
    """A thing as one detection last showed all of it."""

    place: int
    part: Crop
    label: str
    looks: int
    """How long ago."""


class Parts:
    """One shot after another: `join` takes a frame's detections with the tracker's ids and says what they show."""

    def __init__(self, motion: Motion) -> None:
        self._motion = motion
        self.new_shot()

    def new_shot(self) -> None:
        """Forget what was seen."""
        self._last: dict[int, Last] = {}
        self._carried: dict[int, Crop | None] = {}
        self._worth: dict[int, float] = {}  # confidence of each thing over the last few looks

    def join(self, place: int, found: Instances, ids: NDArray[np.int64]) -> Instances:
        """What is in frame `place`: detections of one thing as one, with its id; what is nobody's part and has no id goes.

        ids: [K], 0 for detections too weak to count on their own.
        """
        self._carried = {}
        corners = [(int(y), int(x)) for y, x in found.corners]
        parts: list[Crop] = list(zip(found.masks, corners, strict=True))
        self._motion.focus(place, region_of([found]))
        ids = self._doubted(place, found, ids, parts)
        owner = ids.copy()
        for k, number in self._claims(place, found, ids, parts).items():
            owner[k] = number
        self._weak(found, owner, parts)
        self._remember(place, found, owner, parts)
        joined = _joined(found, ids, owner, parts)
        for number, score in zip(joined.ids.tolist(), joined.scores.tolist(), strict=True):
            self._worth[number] = (self._worth.get(number, score) + score) / 2
        return joined

    def _doubted(self, place: int, found: Instances, ids: NDArray[np.int64], parts: list[Crop]) -> NDArray[np.int64]:
        """`ids` with 0 for what is much larger than its thing and much less sure: a tree that the thing goes by."""
        ids = ids.copy()
        for k in np.flatnonzero(ids).tolist():
            number = int(ids[k])
            last = self._last.get(number)
            if (
                last is None
                or found.scores[k] >= WORTH * self._worth[number]
                or area(parts[k]) <= SWOLLEN * area(last.part)
            ):
                continue
            where = self.expected(number, place)
            if where is not None and area(parts[k]) > SWOLLEN * area(where):
                ids[k] = 0
        return ids

    def expected(self, number: int, place: int) -> Crop | None:
        """Where a thing seen a moment ago should be in frame `place`; None when that is not known."""
        if number not in self._carried:
            last = self._last.get(number)
            self._carried[number] = None
            if last is not None and self._motion.same_shot(last.place, place):
                moved = self._motion.carry(*last.part, last.place, place)
                if moved is not None and (mask := moved[0] >= CERTAIN).any():
                    self._carried[number] = mask, moved[1]
        return self._carried[number]

    def _claims(self, place: int, found: Instances, ids: NDArray[np.int64], parts: list[Crop]) -> dict[int, int]:
        """Detection -> the thing that it is part of, where that is another than the tracker says.

        Only things whose own detection is missing or lacks something take others in.
        """
        areas = [area(part) for part in parts]
        groups = [GROUP_OF.get(label, label) for label in found.labels]
        claims: dict[int, tuple[int, int]] = {}  # detection -> (shared px, thing)
        own = {int(number): k for k, number in enumerate(ids) if number}
        for k in [k for k in range(len(parts)) if ids[k] and int(ids[k]) not in self._worth]:  # seen for the first time
            for number, other in own.items():
                known = number in self._worth and groups[other] == groups[k]
                if known and shared(parts[k], parts[other]) >= WHOLE * areas[k]:
                    claims[k] = areas[k], number
        for number, last in self._last.items():
            group, mine = GROUP_OF.get(last.label, last.label), own.get(number)
            if mine is not None and areas[mine] >= area(last.part):
                continue
            near = [
                k
                for k in range(len(parts))
                if k != mine
                and groups[k] == group
                and not self._stays(int(ids[k]), parts[k])
                and _near(parts[k], last.part)
            ]
            where = self.expected(number, place) if near else None
            if where is None:
                continue
            size = area(where)
            if mine is not None and shared(parts[mine], where) >= LACKING * size:
                continue
            for k in near:
                if self._worth[number] < WORTH * found.scores[k]:
                    continue
                if ids[k] and _overlap(parts[k], self.expected(int(ids[k]), place)) > ITSELF:
                    continue
                common = shared(parts[k], where)
                if (common >= PART * areas[k] or _whole(parts[k], where, None if mine is None else parts[mine])) and (
                    k not in claims or claims[k][0] < common
                ):
                    claims[k] = common, number
        return {k: number for k, (_, number) in claims.items()}

    def _stays(self, number: int, part: Crop) -> bool:
        """Whether a detection lies where the thing with its id lay: seen without carrying anything, which takes its time."""
        last = self._last.get(number)
        return last is not None and _overlap(part, last.part) > STAYS

    def _weak(self, found: Instances, owner: NDArray[np.int64], parts: list[Crop]) -> None:
        """Give weak detections to one of the same class that they mostly lie on: a second look at it.

        A weak detection of a thing that has a strong one often shows the arm or the shoe that the other lacks.
        """
        areas = [area(part) for part in parts]
        strong = np.flatnonzero(owner).tolist()
        for weak in np.flatnonzero(owner == 0).tolist():
            best, share = 0, ON_IT
            for k in strong:
                if found.labels[k] == found.labels[weak] and areas[weak] <= SWOLLEN * areas[k]:
                    on = shared(parts[k], parts[weak]) / max(min(areas[k], areas[weak]), 1)
                    if on > share:
                        best, share = int(owner[k]), on
            owner[weak] = best

    def _remember(self, place: int, found: Instances, owner: NDArray[np.int64], parts: list[Crop]) -> None:
        """Keep the masks of single detections: pieces put together would take in a little more of the surroundings each time."""
        largest: dict[int, tuple[int, int]] = {}
        for k in np.flatnonzero(owner).tolist():
            largest[int(owner[k])] = max(largest.get(int(owner[k]), (0, -1)), (area(parts[k]), k))
        before = self._last
        self._last = {n: last._replace(looks=last.looks + 1) for n, last in before.items() if last.looks < KEPT_LOOKS}
        for number, (size, k) in largest.items():
            last = self._last.get(number)
            if last is not None and _like(size, area(last.part)):
                lasts = True  # seen without carrying anything, which takes its time
            elif last is not None and (where := self.expected(number, place)) is not None:
                lasts = _like(size, area(where))
            else:
                others = [
                    shared(parts[k], part)
                    for n, one in before.items()
                    if n != number and _near(parts[k], one.part) and (part := self.expected(n, place))
                ]
                lasts = max(others, default=0) < PART * size
            if lasts:
                self._last[number] = Last(place, parts[k], found.labels[k], 1)


def _whole(part: Crop, where: Crop, mine: Crop | None) -> bool:
    """Whether a detection shows all of the thing expected in `where`, of which its own detection shows `mine`."""
    size = area(part)
    if size > SWOLLEN * area(where):
        return False
    if shared(part, where) >= WHOLE * area(where):
        return True
    return mine is not None and shared(part, mine) >= WHOLE * area(mine) and _overlap(part, where) > ITSELF


def _overlap(a: Crop, b: Crop | None) -> float:
    """Intersection over union, 0..1."""
    if b is None:
        return 0.0
    common = shared(a, b)
    return common / max(area(a) + area(b) - common, 1)


def _like(size: int, before: int) -> bool:
    """Whether a mask may be all of a thing and nothing else, by its area in px²."""
    return LACKING * before <= size <= SWOLLEN * before


def _near(a: Crop, b: Crop) -> bool:
    """Whether two crops overlap, or would with half of the second one's size round it: so far it may have moved."""
    (rows, columns), (y, x) = b[0].shape, b[1]
    return (
        a[1][0] < y + 1.5 * rows
        and a[1][0] + a[0].shape[0] > y - 0.5 * rows
        and a[1][1] < x + 1.5 * columns
        and a[1][1] + a[0].shape[1] > x - 0.5 * columns
    )


def _joined(found: Instances, ids: NDArray[np.int64], owner: NDArray[np.int64], parts: list[Crop]) -> Instances:
    """One instance for each thing of `owner` (0: nobody's), in the order of their first detections."""
    members: dict[int, list[int]] = {}
    for k in np.flatnonzero(owner):
        members.setdefault(int(owner[k]), []).append(int(k))
    things = []
    for number, some in members.items():
        # the tracker's own choice speaks for the thing, else the surest
        first = next((k for k in some if ids[k] == number), max(some, key=lambda k: found.scores[k]))
        things.append((number, first, some))
    whole = {number: united([parts[k] for k in some]) for number, _, some in things}
    things = [thing for thing in things if whole[thing[0]] is not None]
    masks = [whole[number] for number, _, _ in things]
    firsts = [first for _, first, _ in things]
    boxes = [
        found.boxes[first] if len(some) == 1 else _box(part)
        for (_, first, some), part in zip(things, masks, strict=True)
    ]
    return Instances(
        np.array([number for number, _, _ in things], np.int64),
        tuple(found.labels[k] for k in firsts),
        np.array([max(found.scores[k] for k in some) for _, _, some in things], np.float32),
        np.array(boxes, np.float32).reshape(-1, 4),
        tuple(part[0] for part in masks if part is not None),
        np.array([part[1] for part in masks if part is not None], np.int32).reshape(-1, 2),
        found.size,
    )


def _box(part: Crop | None) -> tuple[int, int, int, int]:
    assert part is not None
    (y, x), (rows, columns) = part[1], part[0].shape
    return x, y, x + columns, y + rows
