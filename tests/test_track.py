"""Constant ids for detections."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from fakes import FakeSegmenter, instances
from synth import as_frames, clip, texture

from vidrase.errors import OptionError
from vidrase.frames import Frame, Instances
from vidrase.track import Tracker, frames_held, track


def quiet(text: str) -> None:
    raise AssertionError(text)


@pytest.mark.parametrize("kind", ["bytetrack", "botsort"])
def test_one_object_keeps_one_id(kind: str) -> None:
    pictures, masks, _ = clip(16, step=(0, 4))
    frames = as_frames(pictures)
    seen = list(track(frames, FakeSegmenter(masks, missed={5, 6}), batch=4, tracker=kind, note=quiet))
    assert [frame for frame, _ in seen] == frames
    assert {number for _, found in seen for number in found.ids.tolist()} == {1}
    assert [len(found) for _, found in seen] == [0 if t in (5, 6) else 1 for t in range(16)]


def test_the_result_does_not_depend_on_the_batch() -> None:
    pictures, masks, _ = clip(9, step=(2, 5))
    ids = []
    for batch in (1, 2, 4, 16):
        segmenter = FakeSegmenter(masks, missed={4})
        ids.append([found.ids.tolist() for _, found in track(as_frames(pictures), segmenter, batch=batch, note=quiet)])
        assert max(segmenter.calls) <= batch
    assert all(one == ids[0] for one in ids)


def test_every_confident_detection_gets_an_id() -> None:
    rng = np.random.default_rng(3)
    pictures, masks, _ = clip(10)
    tracker = Tracker("bytetrack", 0.25, 25.0)
    for _ in pictures:  # jumps about: no tracker confirms it
        jumping = np.zeros_like(masks[0])
        y, x = rng.integers(0, 70), rng.integers(0, 100)
        jumping[y : y + 12, x : x + 12] = True
        ids = tracker.step(instances([jumping], scores=[0.3]))
        assert len(ids) == 1
        assert ids[0] >= 1


def test_weak_detections_only_continue_a_track() -> None:
    _, masks, _ = clip(6, step=(0, 2))
    tracker = Tracker("bytetrack", 0.5, 25.0)
    assert tracker.step(instances([masks[0]], scores=[0.3])).tolist() == [0]
    scores = [0.9, 0.9, 0.3, 0.3, 0.9]
    ids = [tracker.step(instances([mask], scores=[score])).tolist() for mask, score in zip(masks, scores, strict=False)]
    assert ids == [ids[0]] * 5
    assert len(ids[0]) == 1


def test_classes_do_not_pass_ids_to_each_other() -> None:
    _, masks, _ = clip(6, step=(0, 2))
    tracker = Tracker("bytetrack", 0.25, 25.0)
    horse = [tracker.step(instances([masks[t], masks[t]], labels=["horse", "person"])).tolist() for t in range(3)]
    rider = tracker.step(instances([masks[3]], labels=["person"]))
    assert horse[0] == horse[1] == horse[2]
    assert rider[0] == horse[0][1]


def test_ids_do_not_cross_a_cut() -> None:
    pictures, masks, _ = clip(8, step=(0, 2))
    other = texture(96, 128, seed=9)
    pictures[4:] = [255 - other] * 4
    seen = list(track(as_frames(pictures), FakeSegmenter(masks), note=quiet))
    ids = [found.ids[0] for _, found in seen]
    assert len(set(ids[:4])) == len(set(ids[4:])) == 1
    assert ids[3] != ids[4]


def test_no_detections_and_class_filter() -> None:
    pictures, masks, _ = clip(3)
    none = list(track(as_frames(pictures), FakeSegmenter(masks, missed=range(3)), note=quiet))
    assert [len(found) for _, found in none] == [0, 0, 0]
    cars = list(track(as_frames(pictures), FakeSegmenter(masks), classes={1}, note=quiet))
    assert all(isinstance(found, Instances) and not len(found) for _, found in cars)


def test_an_unknown_tracker_raises() -> None:
    with pytest.raises(OptionError, match="bytetrack, botsort"):
        track([], FakeSegmenter([]), tracker="sort", note=quiet)


@pytest.mark.parametrize("every", [2, 3, 5])
@pytest.mark.parametrize("frames_in_all", [1, 2, 9, 16])
def test_masks_are_interpolated_between_detections(every: int, frames_in_all: int) -> None:
    pictures, masks, _ = clip(frames_in_all, step=(0, 3), pan=(0.0, 1.0))
    segmenter = FakeSegmenter(masks)
    seen = list(track(as_frames(pictures), segmenter, batch=4, detect_every=every, note=quiet))
    assert [frame.index for frame, _ in seen] == list(range(frames_in_all))
    assert sum(segmenter.calls) <= -(-frames_in_all // every) + 1
    for (_, found), truth in zip(seen, masks, strict=True):
        assert found.ids.tolist() == [1]
        assert (found.mask(0) & truth).sum() > 0.95 * truth.sum()
        assert found.mask(0).sum() < 1.8 * truth.sum()  # a flat square has little texture for the flow


def test_detection_on_both_sides_of_a_cut() -> None:
    pictures, masks, _ = clip(11, step=(0, 2))
    pictures[6:] = [255 - p[::-1, ::-1] for p in pictures[6:]]
    later = [m[::-1, ::-1] for m in masks]
    truth = [*masks[:6], *later[6:]]
    seen = list(track(as_frames(pictures), FakeSegmenter(truth), batch=4, detect_every=4, note=quiet))
    for (_, found), mask in zip(seen, truth, strict=True):
        assert len(found) == 1
        assert (found.mask(0) & mask).sum() > 0.9 * mask.sum()


def test_the_number_of_frames_held_is_bounded() -> None:
    pictures, masks, _ = clip(30, width=200, step=(0, 2))
    for batch, every in ((4, None), (1, 1), (4, 3), (2, 6)):
        taken = 0

        def counted() -> Iterator[Frame]:
            nonlocal taken
            for frame in as_frames(pictures):
                taken += 1
                yield frame

        stage = track(counted(), FakeSegmenter(masks), batch=batch, detect_every=every, note=quiet)
        for given, _ in enumerate(stage):
            assert taken - given <= frames_held(batch, every)
