"""Select the tracks to remove.

A query is a class (name or id), `all`, or one track (`id:3`). The more specific query wins: `--remove person --keep id:3`
keeps one person, `--remove id:3 --keep person` removes one. What a removed person carries is removed too, unless it is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vidrase.errors import OptionError
from vidrase.frames import Instances
from vidrase.labels import EVERYTHING, require
from vidrase.options import SelectOptions
from vidrase.summary import TrackSummary

# A large track of low confidence is kept: a tree detected as a person for a few frames would cost a large part of the frame, and
# a real person of that size has a higher confidence in at least one frame. Small uncertain tracks are removed.
UNCERTAIN_AREA_SHARE = 0.04  # mean mask area / frame area; above it a track of low confidence is kept
UNCERTAIN_SCORE = 0.4  # best confidence of the track, 0..1; below it the confidence is low
# A person of low confidence who is wider than tall is kept: four-legged. Of the shipped model's tracks that cover a hundredth of
# the frame and more, in 24 frames each of 16 clips: 7 of 10 on animals and 2 on trees, none of about 90 on people.
WIDE = 1.05  # mean width / mean height
WIDE_SCORE = 0.5  # best confidence of the track, 0..1
WIDE_AREA_SHARE = 0.01  # mean mask area / frame area
DOUBT = 0.5  # evidence for another class over that for the track's; from here on the user is told
CARRIED_SHARE = 0.6  # frames touching one person / all frames of an object; from here on that person carries it


@dataclass(frozen=True, slots=True)
class Query:
    """One parsed entry of --remove or --keep."""

    text: str
    label: str | None = None
    """Class name; None with `id` None: every class."""
    id: int | None = None

    def matches(self, id: int, label: str) -> bool:
        """Whether an instance matches."""
        return self.id == id if self.id is not None else self.label in (None, label)

    @property
    def specificity(self) -> int:
        """0: everything, 1: a class, 2: one track."""
        return 2 if self.id is not None else 1 if self.label is not None else 0


@dataclass(slots=True)
class Selection:
    """What is removed: by track id where tracks are known, by class in a single pass."""

    remove: tuple[Query, ...]
    keep: tuple[Query, ...]
    ids: frozenset[int] | None = None
    """Ids of removed tracks; None in a single pass, where each instance is chosen by its class."""
    notes: tuple[str, ...] = ()
    """Messages for the user, such as that a carried object is removed too."""
    explanations: dict[int, str] = field(default_factory=dict)
    """Track id -> why it is removed or kept, one sentence."""
    _labels: dict[int, str] = field(default_factory=dict)

    def chosen(self, instances: Instances) -> NDArray[np.bool_]:
        """bool [K]: the instances to remove."""
        if self.ids is not None:
            return np.array([int(number) in self.ids for number in instances.ids], bool)
        removed = [_is_removed(self, int(n), label) for n, label in zip(instances.ids, instances.labels, strict=True)]
        for number, label, go in zip(instances.ids.tolist(), instances.labels, removed, strict=True):
            if go:
                self._labels[number] = label
        return np.array(removed, bool)

    def counts(self) -> dict[str, int]:
        """Number of removed objects by class."""
        return dict(Counter(self._labels.values()))


def select(options: SelectOptions, tracks: Sequence[TrackSummary] | None, names: Mapping[int, str]) -> Selection:
    """Select the tracks to remove; `tracks` is None where they are not known beforehand.

    Raises UnknownLabel for a class that the model does not have, OptionError for contradictory queries and for an unknown id.
    A known class without any track is no error.
    """
    remove, keep = _queries(options.remove, names), _queries(options.keep, names)
    for query in remove:
        for other in keep:
            if (query.label, query.id) == (other.label, other.id):
                raise OptionError(f"'{query.text}' is to be removed and kept; take it out of --remove or of --keep")
    if any(query.specificity == 0 for query in keep) and not any(query.specificity for query in remove):
        raise OptionError("everything is to be kept; then there is nothing to remove")
    selection = Selection(remove, keep)
    if tracks is None:
        return selection
    known = {track.id: track for track in tracks}
    for query in (*remove, *keep):
        if query.id is not None and query.id not in known:
            raise OptionError(f"there is no track with id:{query.id}; {_ids_in_clip(tracks)}")
    ids = {track.id for track in tracks if _is_removed(selection, track.id, track.label)}
    uncertain = [track for track in tracks if track.id in ids and _is_uncertain(selection, track)]
    ids -= {track.id for track in uncertain}
    along, notes = _carried_along(selection, ids, tracks)
    doubtful = [
        track
        for track in tracks
        if track.id in ids and track.doubt >= DOUBT and not any(query.id == track.id for query in selection.remove)
    ]
    if doubtful:
        listed = ", ".join(f"id:{track.id} ({track.label}, or {track.rival}?)" for track in doubtful[:8])
        notes.append(f"removed, but look at it: {listed}; --keep id:{doubtful[0].id} leaves it")
    if uncertain:
        listed = ", ".join(f"id:{track.id} ({track.label})" for track in uncertain[:8])
        notes.append(f"kept, because large or wide and of low confidence: {listed}; name the id to remove it")
    selection.ids = frozenset(ids | along)
    selection.notes = tuple(notes)
    selection._labels = {number: known[number].label for number in selection.ids}
    return selection


def explain(
    selection: Selection, tracks: Sequence[TrackSummary], prompt_explanations: Mapping[int, str]
) -> dict[int, str]:
    """Explain every removed or requested track: by its prompt's explanation (id -> sentence), or by its query."""
    explanations = {}
    for track in tracks:
        removed = selection.ids is not None and track.id in selection.ids
        queries = selection.remove if removed else selection.keep
        fitting = [query for query in queries if query.matches(track.id, track.label)]
        if track.id in prompt_explanations and fitting:
            explanations[track.id] = prompt_explanations[track.id]
        elif fitting:
            best = max(fitting, key=lambda query: query.specificity)
            explanations[track.id] = f"{'asked for' if removed else 'kept'} as '{best.text}'"
        elif removed:
            explanations[track.id] = "removed together with the person who carries it"
    return explanations


def combine_choices(
    steps: Sequence[tuple[Sequence[str], Sequence[str]]], tracks: Sequence[TrackSummary], names: Mapping[int, str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Combine a sequence of (remove, keep), without phrases, into one (remove, keep).

    A later entry revokes the same earlier one; a kept class also revokes single tracks of that class.
    """
    labels = {track.id: track.label for track in tracks}
    removed: list[Query] = []
    kept: list[Query] = []
    for remove_texts, keep_texts in steps:
        remove, keep = _queries(remove_texts, names), _queries(keep_texts, names)
        removed = [old for old in removed if not any(_revokes(query, old, labels) for query in keep)]
        kept = [old for old in kept if not any((query.label, query.id) == (old.label, old.id) for query in remove)]
        removed += remove
        kept += keep
    return tuple(dict.fromkeys(query.text for query in removed)), tuple(dict.fromkeys(query.text for query in kept))


def _revokes(keep: Query, old: Query, labels: Mapping[int, str]) -> bool:
    if (keep.label, keep.id) == (old.label, old.id):
        return True
    return old.id is not None and old.id in labels and keep.matches(old.id, labels[old.id])


def _queries(texts: Sequence[str], names: Mapping[int, str]) -> tuple[Query, ...]:
    parts = [part.strip() for text in texts for part in text.split(",") if part.strip()]
    return tuple(dict.fromkeys(_query(part, names) for part in parts))


def _query(text: str, names: Mapping[int, str]) -> Query:
    lower = text.lower()
    if lower in EVERYTHING:
        return Query(text)
    if lower.startswith("id:"):
        number = lower[3:].strip()
        if not number.isdecimal():
            raise OptionError(f"expected a number after id:, got '{text}' (ids are shown by --list)")
        return Query(text, id=int(number))
    return Query(text, label=require(text, names))


def _is_removed(selection: Selection, id: int, label: str) -> bool:
    """Whether the most specific matching query removes the instance; if equally specific, it is kept."""
    removal = max((query.specificity for query in selection.remove if query.matches(id, label)), default=-1)
    keep = max((query.specificity for query in selection.keep if query.matches(id, label)), default=-1)
    return removal > keep


def _is_uncertain(selection: Selection, track: TrackSummary) -> bool:
    if any(query.id == track.id for query in selection.remove):
        return False
    if track.label == "person" and track.aspect > WIDE and track.area_share > WIDE_AREA_SHARE:
        return track.best_score < WIDE_SCORE
    return track.area_share > UNCERTAIN_AREA_SHARE and track.best_score < UNCERTAIN_SCORE


def _carried_along(selection: Selection, ids: set[int], tracks: Sequence[TrackSummary]) -> tuple[set[int], list[str]]:
    """Ids of objects carried by removed people, and the messages about them."""
    along: set[int] = set()
    labels: Counter[str] = Counter()
    for track in tracks:
        if (
            track.id in ids
            or not track.carriers
            or any(query.matches(track.id, track.label) for query in selection.keep)
        ):
            continue
        bearer, together = max(track.carriers.items(), key=lambda pair: pair[1])
        removed = sum(n for other, n in track.carriers.items() if other in ids)
        if bearer in ids and max(together, removed) >= CARRIED_SHARE * track.frames:
            along.add(track.id)
            labels[track.label] += 1
    if not along:
        return along, []
    first = next(iter(labels))
    return along, [f"removed together with the person who carries it: {', '.join(labels)} (--keep '{first}' leaves it)"]


def _ids_in_clip(tracks: Sequence[TrackSummary]) -> str:
    if not tracks:
        return "nothing was detected in this clip"
    listed = ", ".join(f"{track.id} ({track.label})" for track in tracks[:12])
    return f"there are {listed}" + (f" and {len(tracks) - 12} more (see --list)" if len(tracks) > 12 else "")
