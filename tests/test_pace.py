"""Which frames the detector looks at."""

from __future__ import annotations

import pytest
from fakes import FakeSegmenter
from synth import as_frames, clip, texture

from vidrase.motion import Motion
from vidrase.track import track
from vidrase.track.pace import LONGEST, Pace


def looked_at(pictures: list, every: int | None) -> list[int]:
    """Frames that are due, told one by one."""
    motion = Motion(None, reach=4)
    pace = Pace(motion, every)
    due: set[int] = set()
    for place, frame in enumerate(as_frames(pictures)):
        due |= pace.due(place, start=motion.add(place, frame))
    return sorted(place for place in due if place >= 0)


def test_a_still_scene_is_looked_at_every_second_time() -> None:
    assert looked_at([texture(96, 128)] * 8, None) == [0, 2, 4, 6]


def test_a_camera_that_pans_is_no_reason_to_look() -> None:
    pictures, _, _ = clip(9, 216, 384, pan=(0.0, 3.0), step=(0, 0), size=1)
    assert looked_at(pictures, None) == [0, 2, 4, 6, 8]


def test_where_something_is_quick_every_frame_is_looked_at() -> None:
    pictures, _, _ = clip(9, 216, 384, step=(0, 9), size=60)
    assert looked_at(pictures, None) == list(range(9))


def test_both_sides_of_a_quick_moment_are_looked_at() -> None:
    pictures, _, _ = clip(9, 216, 384, step=(0, 9), size=60)
    calm = [pictures[0]] * 4 + [pictures[1]] * 5  # one jump, from frame 3 to frame 4
    assert looked_at(calm, None) == [0, 2, 3, 4, 6, 8]


@pytest.mark.parametrize("every", [1, 3])
def test_a_number_is_taken_at_its_word(every: int) -> None:
    pictures, _, _ = clip(9, 216, 384, step=(0, 9), size=60)
    assert looked_at(pictures, every) == list(range(0, 9, every))


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 16])
def test_the_looks_do_not_depend_on_the_batch(batch: int) -> None:
    pictures, masks, _ = clip(11, 216, 384, step=(0, 9), size=60)
    pictures = [pictures[0]] * 5 + pictures[:6]
    masks = [masks[0]] * 5 + masks[:6]
    segmenter = FakeSegmenter(masks)
    found = list(track(as_frames(pictures), segmenter, batch=batch, note=lambda text: None))
    assert sum(segmenter.calls) == 9 < len(pictures)
    assert LONGEST == 2
    for (_, one), truth in zip(found, masks, strict=True):
        assert (one.mask(0) & truth).sum() > 0.98 * truth.sum()
