"""Light that changes: what one picture's light is against another's, and fills of clips that fade, flash, dissolve and
flicker."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import pytest
import synth
from fills import FAST
from numpy.typing import NDArray

from vidrase.bench.case import blanked
from vidrase.bench.light import changes, group_psnr
from vidrase.bench.scenes import blob, texture
from vidrase.cuts import CutDetector, Transition
from vidrase.fill import fill, shadowed
from vidrase.flow import DisFlow
from vidrase.frames import Hole, HoleFrame
from vidrase.inpaint import load_inpainter
from vidrase.light import LightSample, match_light, under_one_light
from vidrase.options import FillOptions
from vidrase.report import FillStats
from vidrase.shots import ShotAnalyzer

SIZE, FRAMES = (120, 216), 26
CHANGES = {change.name: change for change in changes()}
Rgb = NDArray[np.uint8]


def _scene(seed: int, speed: float, count: int = FRAMES) -> list[Rgb]:
    """A view that moves by `speed` px a frame over a texture."""
    world = cv2.GaussianBlur(texture(SIZE[0] + 8, SIZE[1] + int(speed * count) + 8, seed), (0, 0), 1.0)
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    views = (np.array([[1, 0, speed * t], [0, 1, 3.0]]) for t in range(count))
    return [cv2.warpAffine(world, view, SIZE[::-1], flags=flags).astype(np.uint8) for view in views]


def _sample(picture: NDArray, hidden: NDArray[np.bool_] | None = None) -> LightSample:
    frame = synth.as_frames([np.clip(np.rint(picture), 0, 255).astype(np.uint8)])[0]
    return LightSample.of(frame.planes, frame.layout, hidden)


def _filled(pictures: Sequence[Rgb], holes: Sequence[NDArray[np.bool_]]) -> tuple[list[Rgb], list[Rgb], FillStats]:
    """(filled pictures, the truth as decoded, counters): the two passes on given holes."""
    frames, analyzer, stats = synth.as_frames(blanked(pictures, holes)), ShotAnalyzer(), FillStats()
    for frame, hole in zip(frames, holes, strict=True):
        analyzer.add(frame, hole)
    given = [HoleFrame(frame, Hole.of(hole)) for frame, hole in zip(frames, holes, strict=True)]
    models = {"flow": DisFlow(), "inpainter": load_inpainter("telea")}
    out = fill(given, options=FAST, analysis=analyzer.finish(), stats=stats, note=print, **models)  # type: ignore[arg-type]
    return [frame.rgb() for frame in out], [frame.rgb() for frame in synth.as_frames(list(pictures))], stats


@pytest.mark.parametrize(
    "change",
    [lambda x: x * 0.3, lambda x: 0.4 * x + 150, lambda x: x * np.array([1.0, 0.5, 0.6]), lambda x: x * 0.5 + 20],
)
def test_gain_and_offset_of_each_channel_are_found(change: Callable[[NDArray], NDArray]) -> None:
    picture = _scene(1, 0, 1)[0]
    hidden = blob(1, SIZE, 3, moving=False)[0]
    lit = np.clip(change(picture.astype(np.float32)), 0, 255)
    lit[hidden] = 90
    light = match_light(_sample(lit, hidden), _sample(picture))
    assert light is not None
    assert light.confidence > 0.9
    y, x = (v.astype(np.float32) for v in np.nonzero(hidden))
    found = light.at(picture[hidden].astype(np.float32), x, y)
    assert np.abs(found - np.clip(change(picture[hidden].astype(np.float32)), 0, 255)).mean() < 3


def test_bands_of_mains_light_are_found_behind_what_is_hidden() -> None:
    picture, hidden = _scene(1, 0, 1)[0], blob(1, SIZE, 3, moving=False)[0]
    gain = (1 + 0.25 * np.sin(np.arange(SIZE[0]) / 9))[:, None, None]
    light = match_light(_sample(picture * gain, hidden), _sample(picture))
    assert light is not None
    y, x = (v.astype(np.float32) for v in np.nonzero(hidden))
    found = light.at(picture[hidden].astype(np.float32), x, y)
    assert np.abs(found - np.clip(picture * gain, 0, 255)[hidden]).mean() < 5


def test_motion_is_no_change_of_light_and_what_is_burnt_out_cannot_be_matched() -> None:
    pictures = _scene(1, 2.0)
    shift = np.array([[1, 0, 10.0], [0, 1, 0], [0, 0, 1]])
    assert match_light(_sample(pictures[0]), _sample(pictures[5]), shift @ shift) is None  # registered badly
    assert match_light(_sample(pictures[5]), _sample(pictures[0]), shift) is None
    burnt = match_light(_sample(pictures[0]), _sample(pictures[0] * 2.0 + 60))
    assert burnt is not None
    assert burnt.confidence == 0
    dark = match_light(_sample(pictures[0]), _sample(pictures[0] * 0.1))
    assert dark is not None
    assert dark.confidence == 0


def test_flow_is_the_same_under_another_light() -> None:
    a, b = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in _scene(1, 3.0)[:2])
    assert under_one_light(a, b) == (a, b) or all(
        one is other for one, other in zip(under_one_light(a, b), (a, b), strict=True)
    )
    rows = (1 + 0.3 * np.sin(np.arange(SIZE[0]) / 9))[:, None]
    for lit in (b * 0.35, b * 0.4 + 140, b * rows):
        flow = DisFlow()(a[None], np.clip(lit, 0, 255).astype(np.uint8)[None])[0, 10:-10, 10:-14]
        error = np.hypot(flow[..., 0] + 3, flow[..., 1])
        assert np.percentile(error, 90) < 0.6


@pytest.mark.parametrize("name", ["fade-black", "fade-white", "flash", "colours", "bands"])
@pytest.mark.parametrize("speed", [0.0, 1.5])
def test_a_hole_has_the_light_of_its_frame(name: str, speed: float) -> None:
    pictures, holes = _scene(1, speed), blob(FRAMES, SIZE, 5, moving=True, share=0.05)
    change = CHANGES[name]
    filled, truth, stats = _filled(change.apply(pictures, pictures), holes)
    for group, frames in change.groups(FRAMES).items():
        least = 21 if group == "flash" else 27 if name == "bands" else 30
        assert group_psnr(filled, truth, holes, frames) > least, group
    assert stats.relit
    assert bool(stats.light_refused) == (name == "flash" and speed > 0) or name.startswith("fade") or not speed


def test_steady_light_is_left_alone() -> None:
    pictures, holes = _scene(1, 1.5), blob(FRAMES, SIZE, 5, moving=True, share=0.05)
    assert _filled(pictures, holes)[2].relit == 0


def test_a_dissolve_ends_a_shot_and_its_frames_are_mixed_from_both_ends() -> None:
    one, two = _scene(1, 1.0, 34), [255 - picture for picture in _scene(2, 1.0, 34)]
    holes = blob(34, SIZE, 5, moving=True, share=0.05)
    mixed = CHANGES["dissolve"].apply(one, two)
    analyzer = ShotAnalyzer()
    for frame, hole in zip(synth.as_frames(blanked(mixed, holes)), holes, strict=True):
        analyzer.add(frame, hole)
    shots = analyzer.finish().shots
    assert [shot.dissolve for shot in shots] == [False, True, False]
    assert abs(shots[1].start - 12) <= 1
    assert abs(shots[2].start - 22) <= 1
    filled, truth, _ = _filled(mixed, holes)
    assert group_psnr(filled, truth, holes, range(12, 22)) > 27


def _found(pictures: Sequence[NDArray]) -> list[tuple[int, Transition]]:
    detector = CutDetector()
    greys = (cv2.cvtColor(np.clip(p, 0, 255).astype(np.uint8), cv2.COLOR_RGB2GRAY) for p in pictures)
    return [(t, found) for t, grey in enumerate(greys) if (found := detector.transition(grey)) is not None]


def test_light_does_not_end_a_shot_and_another_place_does() -> None:
    pictures = _scene(1, 1.5)
    for name in ("fade-black", "fade-white", "flash", "colours", "bands"):
        assert _found(CHANGES[name].apply(pictures, pictures)) == [], name
    burnt = [picture * 3.0 + 150 if t in (8, 9) else picture for t, picture in enumerate(pictures)]
    assert _found(burnt) == []
    other = [255 - picture for picture in _scene(2, 1.5)]
    assert _found(pictures[:12] + other[12:]) == [(12, Transition(0))]
    shares = [min(abs(t - 12.5) / 6, 1) for t in range(FRAMES)]
    through = [share * (pictures if t < 13 else other)[t] for t, share in enumerate(shares)]
    (at, found), *more = _found(through)
    assert not more
    assert abs(at - found.began - 13) <= 1


def test_a_lamp_is_no_shadow() -> None:
    pictures, holes = _scene(1, 1.5), blob(FRAMES, SIZE, 5, moving=True, share=0.05)
    lamp = [picture * (1 if (t // 4) % 2 else np.array([0.45, 0.6, 1.0])) for t, picture in enumerate(pictures)]
    fading = [picture * max(0.08, 1 - t / 14) + 60 * min(t / 14, 1) for t, picture in enumerate(pictures)]
    for lit in (lamp, fading):
        frames = synth.as_frames([np.clip(picture, 0, 255).astype(np.uint8) for picture in lit])
        given = [HoleFrame(frame, Hole.of(hole)) for frame, hole in zip(frames, holes, strict=True)]
        options = FillOptions(quality="fast", shadows=True)
        out = shadowed(given, options=options, flow=DisFlow(), analysis=None)
        added = [f.hole.full_area().sum() / hole.sum() - 1 for f, hole in zip(out, holes, strict=True) if f.hole]
        assert np.mean(added) < 0.05
