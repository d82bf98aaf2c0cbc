"""One decision about where a shot ends, for all stages of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import fakes
import fills
import numpy as np
import pytest
import synth
from numpy.typing import NDArray

from vidrase.cuts import Shots
from vidrase.fill import shadowed
from vidrase.flow import load_flow
from vidrase.frames import Frame, Hole, HoleFrame, Orientation
from vidrase.mask import mask
from vidrase.motion import Motion
from vidrase.options import FillOptions, MaskOptions
from vidrase.shots import Shot, ShotAnalysis, ShotAnalyzer

SIZE = (96, 128)


def _analysed(frames: list[Frame]) -> list[int]:
    builder = ShotAnalyzer()
    for frame in frames:
        builder.add(frame, None)
    return [shot.start for shot in builder.finish().shots[1:]]


def _motions(frames: list[Frame]) -> list[int]:
    motion = Motion(None, reach=2)
    return [t for t, frame in enumerate(frames) if motion.add(t, frame)]


def _alone(frames: list[Frame]) -> list[int]:
    shots = Shots()
    numbers = [shots(frame) for frame in frames]
    return [t for t in range(1, len(frames)) if numbers[t] != numbers[t - 1]]


@pytest.mark.parametrize("orientation", [Orientation(), Orientation(1)])
def test_a_borderline_cut_is_one_for_all_or_for_nobody(orientation: Orientation) -> None:
    one, two = (synth.texture(270, 480, seed).astype(np.float32) for seed in (1, 2))
    one = 128 + (one - one.mean()) / 2
    seen = []
    for contrast in (0.7, *np.linspace(0.845, 0.865, 21), 1.0):
        second = np.clip(128 + (two - two.mean()) * contrast, 0, 255)
        frames = synth.as_frames([one.astype(np.uint8), second.astype(np.uint8)])
        frames = [replace(frame, orientation=orientation) for frame in frames]
        found = [where(frames) for where in (_alone, _analysed, _motions)]
        assert found[0] == found[1] == found[2]
        seen.append(found[0])
    assert (seen[0], seen[-1]) == ([], [1])


def test_whoever_asks_first_decides_and_frames_of_another_size_are_another_shot() -> None:
    frames = synth.as_frames([synth.texture(*SIZE, 1)] * 2 + [synth.texture(*SIZE, 2)] * 2 + [synth.texture(64, 64, 2)])
    shots = Shots()
    assert [shots(frame) for frame in frames] == [0, 0, 1, 1, 2]
    assert [shots(frame) for frame in frames] == [0, 0, 1, 1, 2]  # a stage that lags behind
    known = Shots([0, 3])
    assert [known(frame) for frame in frames] == [0, 0, 0, 1, 1]


def _walk(cut: int | None) -> tuple[list[Frame], list[NDArray[np.bool_]], ShotAnalysis]:
    """A walk without any cut, and a shot analysis with one at frame `cut`."""
    shown, masks, _ = synth.clip(20, *SIZE, pan=(0.3, 1.5), step=(0, 4), size=26, seed=3)
    for picture, body in zip(shown, masks, strict=True):
        shadow = np.roll(body, (18, 4), (0, 1)) & ~body
        picture[shadow] = picture[shadow] * 0.55
    shots = [Shot(0, 20, "free")] if cut is None else [Shot(0, cut, "free"), Shot(cut, 20, "free")]
    return synth.as_frames(shown), masks, ShotAnalysis(tuple(shots))


def _same(one: list[Frame], two: list[Frame]) -> bool:
    return all((a == b).all() for f, g in zip(one, two, strict=True) for a, b in zip(f.planes, g.planes, strict=True))


def test_the_fill_and_the_residual_stage_end_a_shot_where_the_analysis_does() -> None:
    frames, masks, analysis = _walk(9)
    holes = [HoleFrame(frame, Hole.of(body, body)) for frame, body in zip(frames, masks, strict=True)]
    options, flow = FillOptions(quality="fast", shadows=True), load_flow(note=print)

    def shadows(clip: list[HoleFrame], analysis: ShotAnalysis | None = None) -> list[NDArray[np.bool_]]:
        stage: Callable = shadowed
        return [f.hole.full_area() for f in stage(clip, options=options, flow=flow, analysis=analysis)]

    assert _same(fills.filled(holes, analysis=analysis), fills.filled(holes[:9]) + fills.filled(holes[9:]))
    assert not _same(fills.filled(holes), fills.filled(holes[:9]) + fills.filled(holes[9:]))
    assert np.array_equal(shadows(holes, analysis), shadows(holes[:9]) + shadows(holes[9:]))


def test_a_mask_is_not_propagated_where_the_analysis_ends_a_shot() -> None:
    frames, masks, _ = _walk(None)

    def holes(shots: Shots | None) -> list[bool]:
        # the object is detected up to frame 8 and not in 9, to which its mask would be propagated
        nothing = fakes.instances([np.zeros(SIZE, bool)])
        found = [fakes.instances([body], ids=[1]) if t < 9 else nothing for t, body in enumerate(masks)]
        seen = zip(frames, found, strict=True)
        stage = mask(seen, options=MaskOptions(), flow=load_flow(note=print), shots=shots)
        return [found.hole is not None for found in stage]

    assert holes(None)[9]
    assert holes(Shots([0, 9])) == [t < 9 for t in range(20)]
