"""From what the user wants gone to the tracks that go.

A wish is a class (name or id), `all`, or one thing (`id:3`). The more particular wish wins: `--remove person --keep id:3`
keeps one, `--remove id:3 --keep person` removes one. What a removed person carries goes along unless it is kept.
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

# A tree that is taken for a person for a few frames would cost a good part of the picture, and what is that large and a person is
# found with more confidence in at least one frame. Small doubtful things go: their place is filled with what was there.
DOUBT_AREA = 0.04  # of the picture
DOUBT_SCORE = 0.4  # best confidence of the whole track
CARRIED_SHARE = 0.6  # of the frames a thing is seen in, it touches the same bearer


@dataclass(frozen=True, slots=True)
class Wish:
    """One entry of --remove or --keep, understood."""

    text: str
    label: str | None = None
    """Class name; None with `id` None: everything."""
    id: int | None = None

    def fits(self, id: int, label: str) -> bool:
        """Whether a thing is meant."""
        return self.id == id if self.id is not None else self.label in (None, label)

    @property
    def rank(self) -> int:
        """How particular it is."""
        return 2 if self.id is not None else 1 if self.label is not None else 0


@dataclass(slots=True)
class Selection:
    """What goes. With tracks known, by id; in one pass over an unknown clip, by class as it comes."""

    remove: tuple[Wish, ...]
    keep: tuple[Wish, ...]
    ids: frozenset[int] | None = None
    """Tracks that go; None: the clip is not known yet, each instance is judged by its class."""
    notes: tuple[str, ...] = ()
    """Things worth telling the user, such as that a carried thing goes along."""
    readings: dict[int, str] = field(default_factory=dict)
    """Track -> a sentence: how it came to go, or to stay."""
    _labels: dict[int, str] = field(default_factory=dict)

    def chosen(self, instances: Instances) -> NDArray[np.bool_]:
        """bool [K]: those that go."""
        if self.ids is not None:
            return np.array([int(number) in self.ids for number in instances.ids], bool)
        goes = [_goes(self, int(n), label) for n, label in zip(instances.ids, instances.labels, strict=True)]
        for number, label, go in zip(instances.ids.tolist(), instances.labels, goes, strict=True):
            if go:
                self._labels[number] = label
        return np.array(goes, bool)

    def counts(self) -> dict[str, int]:
        """How many things go, by class."""
        return dict(Counter(self._labels.values()))


def select(options: SelectOptions, tracks: Sequence[TrackSummary] | None, names: Mapping[int, str]) -> Selection:
    """The tracks that `options` want gone; `tracks` None when they are not known beforehand.

    Raises UnknownLabel for a class that the model does not have, OptionError for wishes that contradict each other and for an id
    that no track has. Nothing found of a known class is no error.
    """
    remove, keep = _wishes(options.remove, names), _wishes(options.keep, names)
    for wish in remove:
        for other in keep:
            if (wish.label, wish.id) == (other.label, other.id):
                raise OptionError(f"'{wish.text}' is to be removed and kept; take it out of --remove or of --keep")
    if any(wish.rank == 0 for wish in keep) and not any(wish.rank for wish in remove):
        raise OptionError("everything is to be kept; then there is nothing to remove")
    selection = Selection(remove, keep)
    if tracks is None:
        return selection
    known = {track.id: track for track in tracks}
    for wish in (*remove, *keep):
        if wish.id is not None and wish.id not in known:
            raise OptionError(f"there is no thing with id:{wish.id}; {_listed(tracks)}")
    ids = {track.id for track in tracks if _goes(selection, track.id, track.label)}
    doubtful = [track for track in tracks if track.id in ids and _doubtful(selection, track)]
    ids -= {track.id for track in doubtful}
    along, notes = _carried(selection, ids, tracks)
    if doubtful:
        listed = ", ".join(f"id:{track.id} ({track.label})" for track in doubtful[:8])
        notes.append(f"stays, being large and hardly like what was asked for: {listed}; name the id to remove it")
    selection.ids = frozenset(ids | along)
    selection.notes = tuple(notes)
    selection._labels = {number: known[number].label for number in selection.ids}
    return selection


def explained(selection: Selection, tracks: Sequence[TrackSummary], told: Mapping[int, str]) -> dict[int, str]:
    """A sentence for every track that goes or is kept on request: that of `told` (id -> sentence), or the wish it fits."""
    readings = {}
    for track in tracks:
        goes = selection.ids is not None and track.id in selection.ids
        wishes = selection.remove if goes else selection.keep
        fitting = [wish for wish in wishes if wish.fits(track.id, track.label)]
        if track.id in told and fitting:
            readings[track.id] = told[track.id]
        elif fitting:
            best = max(fitting, key=lambda wish: wish.rank)
            readings[track.id] = f"{'asked for' if goes else 'kept'} as '{best.text}'"
        elif goes:
            readings[track.id] = "goes along with who carries it"
    return readings


def joined(
    steps: Sequence[tuple[Sequence[str], Sequence[str]]], tracks: Sequence[TrackSummary], names: Mapping[int, str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(remove, keep) of several (remove, keep) said one after the other: classes, ids or `all`, no phrases.

    What was said later takes back the same thing said before; a class that is kept takes back single things of it, too.
    """
    labels = {track.id: track.label for track in tracks}
    gone: list[Wish] = []
    kept: list[Wish] = []
    for remove_texts, keep_texts in steps:
        remove, keep = _wishes(remove_texts, names), _wishes(keep_texts, names)
        gone = [old for old in gone if not any(_takes_back(wish, old, labels) for wish in keep)]
        kept = [old for old in kept if not any((wish.label, wish.id) == (old.label, old.id) for wish in remove)]
        gone += remove
        kept += keep
    return tuple(dict.fromkeys(wish.text for wish in gone)), tuple(dict.fromkeys(wish.text for wish in kept))


def _takes_back(keep: Wish, old: Wish, labels: Mapping[int, str]) -> bool:
    if (keep.label, keep.id) == (old.label, old.id):
        return True
    return old.id is not None and old.id in labels and keep.fits(old.id, labels[old.id])


def _wishes(texts: Sequence[str], names: Mapping[int, str]) -> tuple[Wish, ...]:
    parts = [part.strip() for text in texts for part in text.split(",") if part.strip()]
    return tuple(dict.fromkeys(_wish(part, names) for part in parts))


def _wish(text: str, names: Mapping[int, str]) -> Wish:
    lower = text.lower()
    if lower in EVERYTHING:
        return Wish(text)
    if lower.startswith("id:"):
        number = lower[3:].strip()
        if not number.isdecimal():
            raise OptionError(f"expected a number after id:, got '{text}' (ids are shown by --list)")
        return Wish(text, id=int(number))
    return Wish(text, label=require(text, names))


def _goes(selection: Selection, id: int, label: str) -> bool:
    """The most particular wish that fits decides; between equals the thing stays."""
    wanted = max((wish.rank for wish in selection.remove if wish.fits(id, label)), default=-1)
    kept = max((wish.rank for wish in selection.keep if wish.fits(id, label)), default=-1)
    return wanted > kept


def _doubtful(selection: Selection, track: TrackSummary) -> bool:
    named = any(wish.id == track.id for wish in selection.remove)
    return not named and track.area_share > DOUBT_AREA and track.best_score < DOUBT_SCORE


def _carried(selection: Selection, ids: set[int], tracks: Sequence[TrackSummary]) -> tuple[set[int], list[str]]:
    """Things not asked for that go because somebody who goes has them, and what to say about it."""
    along: set[int] = set()
    labels: Counter[str] = Counter()
    for track in tracks:
        if track.id in ids or not track.carriers or any(wish.fits(track.id, track.label) for wish in selection.keep):
            continue
        bearer, together = max(track.carriers.items(), key=lambda pair: pair[1])
        gone = sum(n for other, n in track.carriers.items() if other in ids)
        if bearer in ids and max(together, gone) >= CARRIED_SHARE * track.frames:
            along.add(track.id)
            labels[track.label] += 1
    if not along:
        return along, []
    first = next(iter(labels))
    return along, [f"goes along with who carries it: {', '.join(labels)} (--keep '{first}' leaves it)"]


def _listed(tracks: Sequence[TrackSummary]) -> str:
    if not tracks:
        return "nothing was found in this clip"
    shown = ", ".join(f"{track.id} ({track.label})" for track in tracks[:12])
    return f"there are {shown}" + (f" and {len(tracks) - 12} more (see --list)" if len(tracks) > 12 else "")
