"""Cast shadows before a moving camera: found where they fall, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest
import synth
from numpy.typing import NDArray

from vidrase.errors import OptionError
from vidrase.fill.shadows import LOOK, with_shadows
from vidrase.flow import DisFlow
from vidrase.frames import Hole, HoleFrame

SIZE = (120, 200)
Shown = list[NDArray[np.uint8]]


def _clip(darkness: float, tint: tuple[float, float, float] = (1, 1, 1)) -> tuple[list[HoleFrame], list[NDArray]]:
    """A square that walks with a slanted patch of `darkness` beside it, under a panning camera."""
    shown, masks, _ = synth.clip(36, *SIZE, pan=(0.2, 1.5), step=(0, 4), size=30, seed=3)
    shadows = []
    for picture, mask in zip(shown, masks, strict=True):
        shadow = np.zeros(SIZE, bool)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if len(columns):
            bottom, right = rows[-1] + 1, columns[-1] + 1
            shadow[bottom - 4 : bottom + 10, max(right - 34, 0) : right] = True
        shadow &= ~mask
        picture[shadow] = np.clip(picture[shadow] * darkness * np.array(tint), 0, 255).astype(np.uint8)
        shadows.append(shadow)
    frames = synth.as_frames(shown)
    holes = [Hole.of(mask, mask) if mask.any() else None for mask in masks]
    return [HoleFrame(frame, hole) for frame, hole in zip(frames, holes, strict=True)], shadows


def _found(clip: list[HoleFrame], *, still: bool = False) -> list[HoleFrame]:
    return list(with_shadows(clip, DisFlow(), lambda _: still))


def test_a_shadow_that_moves_joins_the_hole() -> None:
    clip, shadows = _clip(0.55)
    out = _found(clip)
    assert [found.frame for found in out] == [found.frame for found in clip]
    middle = range(8, 28)
    covered = [out[t].hole.full_area()[shadows[t]].mean() for t in middle]
    extra = [(out[t].hole.full_area() & ~clip[t].hole.full_area()).sum() / shadows[t].sum() for t in middle]
    assert np.mean(covered) > 0.9
    assert np.mean(extra) < 2.0


def test_no_shadow_no_change() -> None:
    clip, _ = _clip(1.0)
    assert all(now is then for now, then in zip(_found(clip), clip, strict=True))


def test_what_has_another_colour_is_no_shadow() -> None:
    clip, _ = _clip(0.6, (1.6, 0.7, 0.3))
    assert sum(now is not then for now, then in zip(_found(clip), clip, strict=True)) < 4


def test_where_the_background_is_known_frames_pass() -> None:
    clip, _ = _clip(0.55)
    assert all(now is then for now, then in zip(_found(clip, still=True), clip, strict=True))


def test_what_must_stay_stays() -> None:
    clip, shadows = _clip(0.55)
    kept = [HoleFrame(f.frame, f.hole, kept=Hole.of(s, s)) for f, s in zip(clip, shadows, strict=True)]
    for found, shadow in zip(_found(kept), shadows, strict=True):
        if found.hole is not None:
            assert not (found.hole.full_area() & shadow).any()


def test_it_reads_only_so_far_ahead_and_closes_its_source() -> None:
    clip, _ = _clip(0.55)
    read: list[int] = []

    def source():
        try:
            for number, found in enumerate(clip * 3):
                read.append(number)
                yield found
        finally:
            read.append(-1)

    stage = with_shadows(source(), DisFlow(), lambda _: True)
    next(stage)
    assert read[-1] <= LOOK + 2
    stage.close()
    assert read[-1] == -1


def test_errors_come_through() -> None:
    def source():
        yield from _clip(0.55)[0][:3]
        raise OptionError("broken")

    with pytest.raises(OptionError, match="broken"):
        list(with_shadows(source(), DisFlow(), lambda _: False))


def test_a_region_keeps_shadows_inside_it_too() -> None:
    from vidrase.options import Rectangle
    from vidrase.passes import _kept_beyond

    clip, _ = _clip(0.55)
    region = Rectangle(0, 0, 200, 72)
    frames = [HoleFrame(f.frame, f.hole, kept=_kept_beyond(f, region)) for f in clip]
    assert all(not found.hole.full_area()[72:].any() for found in _found(frames) if found.hole is not None)
