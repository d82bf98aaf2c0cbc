"""Instances on disk, and their summaries."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeSegmenter, instances
from synth import as_frames, clip, texture

from vidrase.errors import ShapeError
from vidrase.frames import Instances
from vidrase.store import InstanceStore


def same(a: Instances, b: Instances) -> bool:
    fields = ("ids", "scores", "boxes", "corners")
    arrays = all(np.array_equal(getattr(a, name), getattr(b, name)) for name in fields)
    return (
        arrays
        and a.labels == b.labels
        and a.rivals == b.rivals
        and a.size == b.size
        and all(map(np.array_equal, a.masks, b.masks))
    )


def test_random_access_returns_what_was_stored() -> None:
    pictures, masks, _ = clip(8, height=95, width=127)
    rng = np.random.default_rng(1)
    frames = as_frames(pictures)
    noise = [rng.random((95, 127)) > 0.7 for _ in frames]
    given = [instances([m, n], labels=["person", "car"], ids=[1, 2]) for m, n in zip(masks, noise, strict=True)]
    given[3] = Instances.none((95, 127))
    with InstanceStore() as store:
        for frame, found in zip(frames, given, strict=True):
            store.append(frame, found)
        assert len(store) == 8
        assert all(map(same, store, given))
        assert all(same(store.get(index), given[index]) for index in (7, 0, 3, 5))
        with pytest.raises(IndexError):
            store.get(8)


def test_frames_must_come_in_order() -> None:
    pictures, masks, _ = clip(2)
    with InstanceStore() as store, pytest.raises(ShapeError, match="expected frame 0 next, got 1"):
        store.append(as_frames(pictures)[1], instances([masks[1]], ids=[1]))


def test_track_summaries() -> None:
    pictures, masks, _ = clip(10)
    frames = as_frames(pictures)
    with InstanceStore() as store:
        for frame, mask in zip(frames, masks, strict=True):
            label = "car" if frame.index == 4 else "person"
            seen = 2 <= frame.index < 8
            store.append(frame, instances([mask], ids=[5], labels=[label]) if seen else Instances.none(mask.shape))
        (track,) = store.tracks()
    assert (track.id, track.label, track.first_index, track.last_index, track.frames) == (5, "person", 2, 7, 6)
    assert track.last_seconds == pytest.approx(7 / 25)
    assert track.area_share == pytest.approx(masks[2].mean())
    assert track.thumbnail is not None
    # the square is red and fills most of its own thumbnail
    assert np.median(track.thumbnail.reshape(-1, 3), axis=0)[0] > 180
    shown = track.as_dict()
    assert shown["class"] == "person"
    assert shown["frames"] == 6


def test_carriers_are_counted() -> None:
    pictures, masks, _ = clip(3)
    beside = [np.roll(mask, 24, axis=1) for mask in masks]
    far = [np.roll(mask, 70, axis=1) for mask in masks]
    with InstanceStore() as store:
        for frame, who, bag, other in zip(as_frames(pictures), masks, beside, far, strict=True):
            labels = ["person", "backpack", "handbag"]
            store.append(frame, instances([who, bag, other], ids=[1, 2, 3], labels=labels))
        tracks = {track.id: track for track in store.tracks()}
    assert tracks[2].carriers == {1: 3}
    assert tracks[3].carriers == {}


def test_all_labels_of_a_track_are_known() -> None:
    pictures, masks, _ = clip(3)
    with InstanceStore() as store:
        for frame, mask, label in zip(as_frames(pictures), masks, ("person", "bench", "person"), strict=True):
            store.append(frame, instances([mask], ids=[1], labels=[label]))
        assert store.tracks()[0].label == "person"
        assert store.tracks()[0].labels == {"person", "bench"}


def test_a_class_that_wavers_is_decided_once_by_the_sum_of_evidence() -> None:
    pictures, masks, _ = clip(9)
    frames = as_frames(pictures)

    def tracks(person: float, bear: float) -> tuple[list[tuple[int, str, int]], list[int], float]:
        with InstanceStore() as store:
            for frame, mask in zip(frames, masks, strict=True):
                k = frame.index % 3  # a person, then a bear, then both at once
                shown = [[0], [1], [0, 1]][k]
                store.append(
                    frame,
                    instances(
                        [mask] * len(shown),
                        ids=[(3, 4)[one] for one in shown],
                        labels=[("person", "bear")[one] for one in shown],
                        scores=[(person, bear)[one] for one in shown],
                    ),
                )
            found = store.tracks()
            counts = [len(store.get(index)) for index in range(9)]
            return [(track.id, track.label, track.frames) for track in found], counts, found[0].doubt

    assert tracks(0.3, 0.5)[:2] == ([(4, "bear", 9)], [1] * 9)
    found, counts, doubt = tracks(0.5, 0.3)
    assert (found, counts) == ([(3, "person", 9)], [1] * 9)
    assert doubt == pytest.approx(0.6)


def test_a_rider_and_the_horse_stay_two() -> None:
    pictures, masks, _ = clip(6)
    with InstanceStore() as store:
        for frame, mask in zip(as_frames(pictures), masks, strict=True):
            horse = mask | np.roll(mask, 20, axis=0) | np.roll(mask, 12, axis=1)
            store.append(frame, instances([mask, horse], ids=[1, 2], labels=["person", "horse"]))
        assert [track.label for track in store.tracks()] == ["person", "horse"]
        assert len(store.get(0)) == 2


def test_what_else_an_object_may_be_is_summed_up() -> None:
    pictures, masks, _ = clip(4)
    with InstanceStore() as store:
        for frame, mask in zip(as_frames(pictures), masks, strict=True):
            one = instances([mask], ids=[1], scores=[0.5])
            known = frame.index < 2  # between detections nothing is known
            store.append(frame, replace(one, rivals=(("cow", 0.3),)) if known else one)
        (track,) = store.tracks()
    assert (track.label, track.rival) == ("person", "cow")
    assert track.doubt == pytest.approx(0.6)


def test_the_file_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    pictures, masks, _ = clip(2)
    found = FakeSegmenter(masks)(as_frames(pictures))
    with InstanceStore() as store:
        for frame, seen in zip(as_frames(pictures), found, strict=True):
            store.append(frame, seen)
    assert not os.listdir(tmp_path)  # noqa: PTH208


def test_a_track_continues_after_a_gap() -> None:
    pictures, masks, _ = clip(24, width=300, step=(0, 6))
    with InstanceStore() as store:
        for frame, mask in zip(as_frames(pictures), masks, strict=True):
            number = 1 if frame.index < 8 else 9
            seen = frame.index < 8 or frame.index >= 15
            elsewhere = np.roll(mask, -40, axis=0) if frame.index >= 15 else np.zeros_like(mask)
            found = instances([mask, elsewhere], ids=[number, 12])
            store.append(frame, found if seen else Instances.none(mask.shape))
        tracks = store.tracks()
        assert [(track.id, track.first_index, track.last_index, track.frames) for track in tracks] == [
            (1, 0, 23, 17),
            (12, 15, 23, 9),
        ]
        assert store.get(3).ids.tolist() == [1]
        assert store.get(20).ids.tolist() == [1, 12]


def test_instances_added_later_are_merged_into_their_frames() -> None:
    frames = as_frames([texture(40, 60)] * 4)
    one, two = np.zeros((40, 60), bool), np.zeros((40, 60), bool)
    one[5:15, 5:15] = two[20:30, 30:50] = True
    with InstanceStore() as store:
        assert store.unused_id == 1
        for frame in frames:
            store.append(frame, instances([one], ids=[3]))
        assert store.unused_id == 4
        for frame in frames[1:3]:
            store.extend(frame, instances([two], ids=[4], labels=["thing"]))
        assert [found.ids.tolist() for found in store] == [[3], [3, 4], [3, 4], [3]]
        assert np.array_equal(store.get(2).mask(1), two)
        assert [(track.id, track.label, track.first_index, track.last_index) for track in store.tracks()] == [
            (3, "person", 0, 3),
            (4, "thing", 1, 2),
        ]


def test_a_saved_store_is_loaded_as_it_was(tmp_path: Path) -> None:
    pictures, masks, _ = clip(8, height=95, width=127)
    frames = as_frames(pictures)
    with InstanceStore(tmp_path / "instances") as store:
        for frame, mask in zip(frames, masks, strict=True):
            number = 1 if frame.index < 4 else 2  # a track that goes on under another id
            one = instances([mask, np.roll(mask, 4, 0)], labels=["person", "frisbee"], ids=[number, 7])
            wavers = instances([mask], labels=["bear"], ids=[5], scores=[0.4])  # the same as the person, in turn
            one = replace(one, rivals=(("bear", 0.6), ("", 0.0)))
            store.append(frame, one if frame.index % 3 else wavers)
        store.save(tmp_path / "rest")
        tracks, given = store.tracks(), list(store)
    with InstanceStore.load(tmp_path / "instances", tmp_path / "rest") as again:
        assert [track.as_dict() for track in again.tracks()] == [track.as_dict() for track in tracks]
        assert [(track.rival, track.doubt) for track in again.tracks()] == [(t.rival, t.doubt) for t in tracks]
        assert tracks[0].doubt > 0
        assert [track.carriers for track in again.tracks()] == [track.carriers for track in tracks]
        for one, other in zip(tracks, again.tracks(), strict=True):
            assert np.array_equal(one.thumbnail, other.thumbnail)
        assert all(map(same, again, given))
        assert again.unused_id == 8
