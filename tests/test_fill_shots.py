"""A shot is filled as it is, whatever comes before it: nothing hangs on the number that a frame has in its clip."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import fills
import numpy as np
import pytest
import synth
from numpy.typing import NDArray

from vidrase.fill import shadowed
from vidrase.flow import load_flow
from vidrase.frames import Frame, Hole, HoleFrame
from vidrase.options import FillOptions
from vidrase.shots import ShotAnalysis, ShotAnalyzer

SIZE = (96, 128)
COUNT = 26
Numbered = tuple[list[HoleFrame], ShotAnalysis]


def _shot(pan: tuple[float, float]) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.bool_]]]:
    """A square that walks with its shadow, noise, and what no frame shows: a box that stays in its place."""
    shown, masks, _ = synth.clip(COUNT, *SIZE, pan=pan, step=(0, 3), size=26, seed=3)
    noise = np.random.default_rng(0)
    for picture, mask in zip(shown, masks, strict=True):
        shadow = np.roll(mask, (18, 4), (0, 1)) & ~mask
        picture[shadow] = picture[shadow] * 0.55
        picture[:] = np.clip(picture + noise.normal(0, 3, picture.shape), 0, 255).astype(np.uint8)
        mask[60:84, 50:90] = True
        picture[mask] = (200, 30, 40)
    return shown, masks


def _after(
    count: int, shot: tuple[list[NDArray[np.uint8]], list[NDArray[np.bool_]]], *, holes: bool = False
) -> Numbered:
    """The shot after `count` frames of another one, and the shot analysis of both."""
    other = synth.texture(*SIZE, 9)[::-1] // 3
    before = np.zeros(SIZE, bool)
    before[20:50, 20:50] = holes
    pictures, masks = [other] * count + shot[0], [before] * count + shot[1]
    frames, builder = synth.as_frames(pictures), ShotAnalyzer()
    for frame, mask in zip(frames, masks, strict=True):
        builder.add(frame, mask)
    analysis = builder.finish()
    assert [shown.start for shown in analysis.shots] == ([0, count] if count else [0])
    return [HoleFrame(f, Hole.of(mask, mask)) for f, mask in zip(frames, masks, strict=True)], analysis


def _filled(numbered: Numbered, options: FillOptions, *, analysed: bool) -> list[Frame]:
    return fills.filled(numbered[0], options, analysis=numbered[1] if analysed else None)[-COUNT:]


@pytest.mark.parametrize(
    ("pan", "analysed", "counts"),
    [((0.3, 1.5), True, (7, 13)), ((0.3, 1.5), False, (1, 7)), ((0.0, 0.0), True, (1, 7, 13))],
    ids=["key frames", "window", "plate"],
)
def test_the_fill_of_a_shot_does_not_hang_on_what_is_before_it(
    pan: tuple[float, float], analysed: bool, counts: tuple[int, ...]
) -> None:
    shot = _shot(pan)
    run = partial(_filled, options=replace(fills.FAST, quality="default"), analysed=analysed)
    first = run(_after(0, shot))
    for count in counts:
        again = run(_after(count, shot, holes=count == 7))
        for one, other in zip(first, again, strict=True):
            assert all((a == b).all() for a, b in zip(one.planes, other.planes, strict=True))


@pytest.mark.parametrize(("pan", "analysed"), [((0.3, 1.5), True), ((0.3, 1.5), False), ((0.0, 0.0), True)])
def test_nor_do_the_shadows(pan: tuple[float, float], analysed: bool) -> None:
    shot = _shot(pan)

    def run(numbered: Numbered) -> list[HoleFrame]:
        analysis = numbered[1] if analysed else None
        stage = shadowed(numbered[0], options=FillOptions(shadows=True), flow=load_flow(note=print), analysis=analysis)
        return list(stage)[-COUNT:]

    for one, other in zip(run(_after(0, shot)), run(_after(7, shot)), strict=True):
        assert one.hole is not None
        assert other.hole is not None
        assert (one.hole.full_area() == other.hole.full_area()).all()
        assert (one.hole.full_core() == other.hole.full_core()).all()
