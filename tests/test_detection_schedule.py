"""Which frames are detected."""

from __future__ import annotations

import pytest
from fakes import FakeSegmenter
from synth import as_frames, clip, texture

from vidrase.motion import Motion
from vidrase.track import track
from vidrase.track.schedule import MAX_INTERVAL, DetectionScheduler


def detected_frames(pictures: list, every: int | None) -> list[int]:
    """Indices of the frames that are due, when frames are added one by one."""
    motion = Motion(None, reach=4)
    scheduler = DetectionScheduler(motion, every)
    due: set[int] = set()
    for index, frame in enumerate(as_frames(pictures)):
        due |= scheduler.due(index, start=motion.add(index, frame))
    return sorted(index for index in due if index >= 0)


def test_a_static_scene_is_detected_every_second_frame() -> None:
    assert detected_frames([texture(96, 128)] * 8, None) == [0, 2, 4, 6]


def test_a_camera_pan_adds_no_detections() -> None:
    pictures, _, _ = clip(9, 216, 384, pan=(0.0, 3.0), step=(0, 0), size=1)
    assert detected_frames(pictures, None) == [0, 2, 4, 6, 8]


def test_fast_motion_needs_detection_in_every_frame() -> None:
    pictures, _, _ = clip(9, 216, 384, step=(0, 9), size=60)
    assert detected_frames(pictures, None) == list(range(9))


def test_detection_on_both_sides_of_a_jump() -> None:
    pictures, _, _ = clip(9, 216, 384, step=(0, 9), size=60)
    calm = [pictures[0]] * 4 + [pictures[1]] * 5  # one jump, from frame 3 to frame 4
    assert detected_frames(calm, None) == [0, 2, 3, 4, 6, 8]


@pytest.mark.parametrize("every", [1, 3])
def test_a_fixed_interval(every: int) -> None:
    pictures, _, _ = clip(9, 216, 384, step=(0, 9), size=60)
    assert detected_frames(pictures, every) == list(range(0, 9, every))


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 16])
def test_detection_does_not_depend_on_the_batch(batch: int) -> None:
    pictures, masks, _ = clip(11, 216, 384, step=(0, 9), size=60)
    pictures = [pictures[0]] * 5 + pictures[:6]
    masks = [masks[0]] * 5 + masks[:6]
    segmenter = FakeSegmenter(masks)
    tracked = list(track(as_frames(pictures), segmenter, batch=batch, note=lambda text: None))
    assert sum(segmenter.calls) == 9 < len(pictures)
    assert MAX_INTERVAL == 2
    for (_, instances), truth in zip(tracked, masks, strict=True):
        assert (instances.mask(0) & truth).sum() > 0.98 * truth.sum()
