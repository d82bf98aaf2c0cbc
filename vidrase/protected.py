"""Protected areas of a frame: objects that stay, and everything outside a region."""

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

DUPLICATE_SHARE = 0.8
"""Of an object's area: if more of it lies in the hole, it is a second detection of the removed object."""


def with_protected(
    holes: Iterable[HoleFrame],
    found_in: Callable[[int], Instances],
    selection: Selection,
    scenery: frozenset[str] = frozenset(),
    labels: Mapping[int, str] = MappingProxyType({}),
) -> Iterator[HoleFrame]:
    """Add protected objects and scenery to each frame: one frame out for each frame in.

    found_in: frame index -> all instances of that frame. labels: id -> class of the whole track, where it is known.
    scenery: classes that are part of the place, such as a bed. They are not protected, or everything that lies on them would be
    too; those that `--keep` names are protected like any other object.
    """
    for hole_frame in holes:
        instances, orientation = found_in(hole_frame.frame.index), hole_frame.frame.orientation
        unchosen = ~selection.chosen(instances)
        is_scenery = _is_scenery(instances, selection, scenery, labels)
        protected = instances.where(unchosen & ~is_scenery)
        protected_area, scenery_area = np.zeros(instances.size, bool), np.zeros(instances.size, bool)
        for k in np.flatnonzero(unchosen & is_scenery):
            scenery_area |= instances.mask(int(k))
        removed = (
            np.zeros_like(protected_area)
            if hole_frame.hole is None
            else orientation.to_display(hole_frame.hole.full_core())
        )
        for mask, (y, x) in zip(protected.masks, protected.corners.tolist(), strict=True):
            window = np.s_[y : y + mask.shape[0], x : x + mask.shape[1]]
            # an object is sometimes detected twice, under two classes: the second one is not protected
            if np.count_nonzero(mask & removed[window]) < DUPLICATE_SHARE * np.count_nonzero(mask):
                protected_area[window] |= mask
        protected_hole, scenery_hole = (
            Hole.of(np.ascontiguousarray(orientation.to_stored(mask))) for mask in (protected_area, scenery_area)
        )
        yield replace(hole_frame, protected_hole=protected_hole, scenery=scenery_hole)
        del hole_frame


def _is_scenery(
    instances: Instances, selection: Selection, scenery: frozenset[str], labels: Mapping[int, str]
) -> NDArray[np.bool_]:
    """bool [K]: instances that are scenery and that `--keep` does not name."""

    def is_kept(number: int, label: str) -> bool:
        return any(query.matches(number, name) for query in selection.keep for name in alike(label))

    classes = [
        labels.get(number, label) for number, label in zip(instances.ids.tolist(), instances.labels, strict=True)
    ]
    identified = zip(instances.ids.tolist(), classes, strict=True)
    return np.array([label in scenery and not is_kept(number, label) for number, label in identified], bool)


def limited_to_region(hole: Hole | None, frame: Frame, region: Rectangle | None) -> Hole | None:
    """The part of the hole inside `region`, px as displayed; None when it is empty."""
    if hole is None or region is None:
        return hole
    displayed = np.zeros(frame.displayed_size, bool)
    displayed[
        max(round(region.y0), 0) : max(round(region.y1), 0), max(round(region.x0), 0) : max(round(region.x1), 0)
    ] = True
    inside = frame.orientation.to_stored(displayed)
    return Hole.of(hole.full_core() & inside, hole.full_area() & inside)


def protected_beyond(hole_frame: HoleFrame, region: Rectangle | None) -> Hole | None:
    """The protected objects of a frame united with everything outside `region`: residuals, found later, end there too."""
    if region is None:
        return hole_frame.protected_hole
    everything = np.ones(hole_frame.frame.size, bool)
    inside = limited_to_region(Hole.of(everything, everything), hole_frame.frame, region)
    outside = everything if inside is None else ~inside.full_area()
    return union_of_holes(hole_frame.protected_hole, Hole.of(outside, outside))


def union_of_holes(a: Hole | None, b: Hole | None) -> Hole | None:
    """The union of two holes; None when both are None."""
    if a is None or b is None:
        return a or b
    return Hole.of(a.full_core() | b.full_core(), a.full_area() | b.full_area())
