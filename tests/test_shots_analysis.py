"""The shot analysis: shots, still cameras, and their background plates."""

from __future__ import annotations

import numpy as np
from synth import as_frames, clip, texture

from vidrase.shots import ShotAnalysis, ShotAnalyzer


def _analysis(frames, masks) -> ShotAnalysis:  # type: ignore[no-untyped-def]
    builder = ShotAnalyzer()
    for frame, mask in zip(frames, masks, strict=True):
        builder.add(frame, mask)
    return builder.finish()


def test_a_still_camera_gives_the_plate() -> None:
    shown, masks, truth = clip(24, 96, 160, step=(0, 6))
    analysis = _analysis(as_frames(shown), masks)
    assert [(s.start, s.stop, s.camera) for s in analysis.shots] == [(0, 24, "still")]
    plate = analysis.shots[0].plate
    assert plate is not None
    wanted = as_frames(truth)[0]
    for plane, known, true in zip(plate.planes, plate.known, wanted.planes, strict=True):
        assert known.mean() > 0.95
        assert np.abs(plane.astype(int) - true)[known].max() <= 1


def test_a_moving_camera_is_not_still() -> None:
    shown, masks, _ = clip(24, 96, 160, pan=(0, 1.5), step=(0, 5))
    analysis = _analysis(as_frames(shown), masks)
    assert [s.camera for s in analysis.shots] == ["free"]
    assert analysis.shots[0].plate is None


def test_shots_are_told_apart_and_found_again() -> None:
    one = [texture(90, 160, 1)] * 14
    two = [255 - texture(90, 160, 2)[:, ::-1] // 3] * 14
    analysis = _analysis(as_frames(one + two), [None] * 28)
    assert [(s.start, s.stop) for s in analysis.shots] == [(0, 14), (14, 28)]
    assert analysis.shot(13) is analysis.shots[0]
    assert analysis.shot(14) is analysis.shots[1]
    assert analysis.shot(28) is None


def test_drifting_light_does_not_smear_the_plate() -> None:
    picture = texture(90, 160, 1).astype(int)
    shown = [np.clip(picture // 2 + 40 + 2 * t, 0, 255).astype(np.uint8) for t in range(20)]
    plate = _analysis(as_frames(shown), [None] * 20).shots[0].plate
    assert plate is not None
    first = as_frames(shown)[0].planes[0].astype(int)
    assert np.abs(plate.planes[0] - first).mean() < 2


def test_unsearched_frames_do_not_count_as_camera_motion() -> None:
    background = texture(96, 160, 1)
    crowd = texture(96, 160, 9)
    builder = ShotAnalyzer()
    for t, frame in enumerate(
        as_frames([background] * 24 + [np.roll(crowd, 5 * t, 1) // 8 + background // 2 for t in range(24)])
    ):
        builder.add(frame, None, searched=t < 24)
    (shot,) = builder.finish().shots[:1]
    assert shot.camera == "still"
    assert shot.plate is not None
    assert np.abs(shot.plate.planes[0].astype(int) - as_frames([background])[0].planes[0]).max() <= 1
