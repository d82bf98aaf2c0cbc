"""Queries to tracks."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import instances

from vidrase.errors import OptionError, UnknownLabel
from vidrase.options import SelectOptions
from vidrase.select import select
from vidrase.summary import TrackSummary

NAMES = {0: "person", 1: "car", 2: "backpack"}


def track(number: int, label: str, frames: int = 10, **more: object) -> TrackSummary:
    return TrackSummary(number, label, 0, 9, 0.0, 1.0, frames, 0.1, **more)  # type: ignore[arg-type]


TRACKS = [track(1, "person"), track(2, "person"), track(3, "car")]


@pytest.mark.parametrize(
    ("remove", "keep", "ids"),
    [
        (("person",), (), {1, 2}),
        (("people,car",), (), {1, 2, 3}),
        (("0",), (), {1, 2}),
        (("all",), (), {1, 2, 3}),
        (("all",), ("person",), {3}),
        (("person",), ("id:2",), {1}),
        (("id:2",), ("person",), {2}),
        (("id:2", "id:3"), (), {2, 3}),
        (("id:2",), ("all",), {2}),
        (("backpack",), (), set()),
    ],
)
def test_the_more_specific_query_wins(remove: tuple[str, ...], keep: tuple[str, ...], ids: set[int]) -> None:
    chosen = select(SelectOptions(remove=remove, keep=keep), TRACKS, NAMES)
    assert chosen.ids == ids
    assert sum(chosen.counts().values()) == len(ids)


@pytest.mark.parametrize(
    ("remove", "keep", "message"),
    [
        (("person",), ("people",), "removed and kept"),
        (("id:1",), ("id:1",), "removed and kept"),
        (("all",), ("all",), "removed and kept"),
        (("id:9",), (), r"no track with id:9; there are 1 \(person\)"),
        (("id:x",), (), "expected a number"),
    ],
)
def test_bad_queries_raise_one_line(remove: tuple[str, ...], keep: tuple[str, ...], message: str) -> None:
    with pytest.raises(OptionError, match=message) as caught:
        select(SelectOptions(remove=remove, keep=keep), TRACKS, NAMES)
    assert "\n" not in str(caught.value)


def test_an_unknown_class_is_reported_before_the_run() -> None:
    with pytest.raises(UnknownLabel, match="did you mean 'person'"):
        select(SelectOptions(remove=("persn",)), None, NAMES)


def test_instances_are_chosen_by_id_if_tracks_are_known_else_by_class() -> None:
    mask = np.ones((4, 4), bool)
    frame = instances([mask, mask, mask], labels=["person", "car", "person"], ids=[1, 2, 7])
    known = select(SelectOptions(remove=("person",)), [track(1, "person"), track(2, "person")], NAMES)
    # id 2 is a person in most frames; one frame with the label car does not change that
    assert known.chosen(frame).tolist() == [True, True, False]
    streaming = select(SelectOptions(remove=("person",)), None, NAMES)
    assert streaming.chosen(frame).tolist() == [True, False, True]
    assert streaming.counts() == {"person": 2}


def test_carried_objects_are_removed_with_their_carrier_unless_kept() -> None:
    bag = track(4, "backpack", carriers={1: 8})
    alone = track(5, "backpack", carriers={1: 2})
    chosen = select(SelectOptions(remove=("person",)), [*TRACKS, bag, alone], NAMES)
    assert chosen.ids == {1, 2, 4}
    assert "backpack" in chosen.notes[0]
    assert select(SelectOptions(remove=("person",), keep=("backpack",)), [*TRACKS, bag], NAMES).ids == {1, 2}
    assert select(SelectOptions(remove=("id:2",)), [*TRACKS, bag], NAMES).ids == {2}


def test_a_wide_person_of_low_confidence_is_asked_about() -> None:
    def chosen(**more: object) -> set[int]:
        found = TrackSummary(7, "person", 0, 9, 0.0, 1.0, 10, 0.03, **more)  # type: ignore[arg-type]
        asked = select(SelectOptions(remove=("person",)), [found], NAMES)
        assert bool(asked.notes) == (not asked.ids)
        return set(asked.ids or ())

    assert chosen(aspect=1.2, best_score=0.45) == set()  # a horse
    assert chosen(aspect=1.2, best_score=0.8) == {7}  # somebody lying
    assert chosen(aspect=0.5, best_score=0.45) == {7}
    assert chosen(best_score=0.45) == {7}  # of a track of a box nothing is known


def test_what_may_be_something_else_is_said() -> None:
    tracks = [
        track(1, "person"),
        track(2, "person", rival="bear", doubt=0.7),
        track(3, "person", rival="cow", doubt=0.2),
    ]
    chosen = select(SelectOptions(remove=("person",)), tracks, NAMES)
    assert chosen.ids == {1, 2, 3}
    (said,) = chosen.notes
    assert "id:2 (person, or bear?)" in said
    assert "id:3" not in said
    assert "--keep id:2" in said
    assert not select(SelectOptions(remove=("id:2",)), tracks, NAMES).notes  # it was meant


def test_large_uncertain_tracks_stay_unless_named() -> None:
    tree = track(4, "person", best_score=0.3)  # a tenth of the picture
    chosen = select(SelectOptions(remove=("person",)), [*TRACKS, tree], NAMES)
    assert chosen.ids == {1, 2}
    assert "id:4 (person)" in chosen.notes[0]
    assert select(SelectOptions(remove=("person", "id:4")), [*TRACKS, tree], NAMES).ids == {1, 2, 4}
