"""What must stay though it hangs together with a hole: things that were found beside it, and all that lies beyond a region."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from vidrase.frames import Frame, Hole, HoleFrame, Instances
from vidrase.labels import alike
from vidrase.options import Rectangle
from vidrase.select import Selection

ITSELF = 0.8  # of what was found and is to stay, lying in what goes: the same thing


def with_protected(
    holes: Iterable[HoleFrame],
    found_in: Callable[[int], Instances],
    selection: Selection,
    place: frozenset[str] = frozenset(),
    labels: Mapping[int, str] = MappingProxyType({}),
) -> Iterator[HoleFrame]:
    """Holes with what was found beside them and must stay. found_in: number of a frame -> what was found in it.

    place: classes that are parts of the place, such as a bed: if they were spared, so would be all that lies on them. Named in
    `--keep` they are spared like anything else. labels: id -> class of the whole track, where it is known.
    """
    for found in holes:
        instances, turn = found_in(found.frame.index), found.frame.orientation
        beside = ~selection.chosen(instances)
        parts = _parts(instances, selection, place, labels)
        stay = instances.where(beside & ~parts)
        area, ground = np.zeros(instances.size, bool), np.zeros(instances.size, bool)
        for k in np.flatnonzero(beside & parts):
            ground |= instances.mask(int(k))
        goes = np.zeros_like(area) if found.hole is None else turn.to_display(found.hole.full_core())
        for mask, (y, x) in zip(stay.masks, stay.corners.tolist(), strict=True):
            here = np.s_[y : y + mask.shape[0], x : x + mask.shape[1]]
            # what goes is sometimes found twice, under two names: nothing of it stays
            if np.count_nonzero(mask & goes[here]) < ITSELF * np.count_nonzero(mask):
                area[here] |= mask
        kept, fixed = (Hole.of(np.ascontiguousarray(turn.to_stored(mask))) for mask in (area, ground))
        yield replace(found, protected_hole=kept, place=fixed)
        del found


def _parts(
    instances: Instances, selection: Selection, place: frozenset[str], labels: Mapping[int, str]
) -> NDArray[np.bool_]:
    """bool [K]: parts of the place that nobody asked to be kept."""

    def kept(number: int, label: str) -> bool:
        return any(wish.matches(number, one) for wish in selection.keep for one in alike(label))

    own = [labels.get(number, label) for number, label in zip(instances.ids.tolist(), instances.labels, strict=True)]
    pairs = zip(instances.ids.tolist(), own, strict=True)
    return np.array([label in place and not kept(number, label) for number, label in pairs], bool)


def limited_to_region(hole: Hole | None, frame: Frame, region: Rectangle | None) -> Hole | None:
    """The hole inside `region`; None when none of it is."""
    if hole is None or region is None:
        return hole
    shown = np.zeros(frame.displayed_size, bool)
    shown[max(round(region.y0), 0) : max(round(region.y1), 0), max(round(region.x0), 0) : max(round(region.x1), 0)] = (
        True
    )
    inside = frame.orientation.to_stored(shown)
    return Hole.of(hole.full_core() & inside, hole.full_area() & inside)


def protected_beyond(found: HoleFrame, region: Rectangle | None) -> Hole | None:
    """What must stay, with all that lies outside `region`: shadows and traces, which are found later, end there too."""
    if region is None:
        return found.protected_hole
    everything = np.ones(found.frame.size, bool)
    whole = limited_to_region(Hole.of(everything, everything), found.frame, region)
    outside = everything if whole is None else ~whole.full_area()
    return union_of_holes(found.protected_hole, Hole.of(outside, outside))


def union_of_holes(a: Hole | None, b: Hole | None) -> Hole | None:
    """Both."""
    if a is None or b is None:
        return a or b
    return Hole.of(a.full_core() | b.full_core(), a.full_area() | b.full_area())
