"""Cast shadows before a moving camera: found where they fall, and nothing else is."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import synth
from numpy.typing import NDArray

from vidrase.errors import OptionError
from vidrase.fill.background_bounds import BackgroundBounds
from vidrase.fill.cast_shadow import MAX_TEMPLATE_SIZE, CastShadow, ExpectedShadow, ShadowTemplate, detect_cast_shadow
from vidrase.fill.flow_completion import dilate
from vidrase.fill.residual import LOOK_AHEAD, add_residuals, residual_of_key_frame
from vidrase.fill.temporal_vote import close_slits
from vidrase.flow import DisFlow
from vidrase.frames import Hole, HoleFrame, Orientation
from vidrase.keyframes import KeyframeMosaic
from vidrase.shots import ShotAnalyzer

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


def _found(clip: list[HoleFrame]) -> list[HoleFrame]:
    return list(add_residuals(clip, DisFlow(), lambda _: None))


def test_a_moving_shadow_joins_the_hole() -> None:
    clip, shadows = _clip(0.55)
    out = _found(clip)
    assert [found.frame for found in out] == [found.frame for found in clip]
    middle = range(8, 28)
    covered = [out[t].hole.full_area()[shadows[t]].mean() for t in middle]
    extra = [(out[t].hole.full_area() & ~clip[t].hole.full_area()).sum() / shadows[t].sum() for t in middle]
    assert np.mean(covered) > 0.9
    assert np.mean(extra) < 2.0


@pytest.fixture(scope="module")
def slow() -> tuple[list[HoleFrame], list[NDArray], KeyframeMosaic]:
    clip, shadows, mosaic = _slow()
    assert mosaic is not None
    return clip, shadows, mosaic


def _slow(frames: int = 170) -> tuple[list[HoleFrame], list[NDArray], KeyframeMosaic | None]:
    """A square that takes the whole clip to leave its shadow's place, before a hand-held camera; and its key frame mosaic."""
    world = 90 + synth.texture(SIZE[0] + 40, SIZE[1] + 40, 3) // 2
    shown, masks, shadows = [], [], []
    for t in range(frames):
        y, x = 20 + 3 * np.cos(t / 7), 20 + 5 * np.sin(t / 9)
        body, shadow = np.zeros(world.shape[:2], np.uint8), np.zeros(world.shape[:2], np.uint8)
        left = 50 + 0.45 * t
        cv2.rectangle(body, (round(left), 40), (round(left) + 26, 90), 1, -1)
        cv2.rectangle(shadow, (round(left) + 27, 74), (round(left) + 70, 96), 1, -1)
        view = np.float32([[1, 0, x], [0, 1, y]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        picture, body, shadow = (cv2.warpAffine(one, view, SIZE[::-1], flags=flags) for one in (world, body, shadow))
        picture[shadow > 0] = picture[shadow > 0] // 2
        picture[body > 0] = (225, 20, 30)
        shown.append(picture)
        masks.append(body > 0)
        shadows.append((shadow > 0) & ~masks[-1])
    frames_ = synth.as_frames(shown)
    builder = ShotAnalyzer()
    for frame, mask in zip(frames_, masks, strict=True):
        builder.add(frame, mask)
    return (
        [HoleFrame(f, Hole.of(m, m)) for f, m in zip(frames_, masks, strict=True)],
        shadows,
        builder.finish().shots[0].mosaic,
    )


def test_the_shadow_of_a_slow_object_is_detected_by_frames_of_the_whole_shot(slow) -> None:  # type: ignore[no-untyped-def]
    clip, shadows, mosaic = slow
    clip, shadows = clip[40:120], shadows[40:120]  # the mosaic knows the rest
    by_mosaic = list(add_residuals(clip, DisFlow(), lambda _: None, lambda _: mosaic))
    some = range(10, 80, 10)
    assert np.mean([by_mosaic[t].hole.full_area()[shadows[t]].mean() for t in some]) > 0.95
    extra = [(by_mosaic[t].hole.full_area() & ~clip[t].hole.full_area()).sum() / shadows[t].sum() for t in some]
    assert np.mean(extra) < 2.0


def test_shadows_in_a_key_frame_are_detected(slow) -> None:  # type: ignore[no-untyped-def]
    _, shadows, mosaic = slow
    for key_frame in mosaic.key_frames:
        shadow = residual_of_key_frame(key_frame.frame, key_frame.hidden(), mosaic)
        where = cv2.resize(shadow.astype(np.uint8), SIZE[::-1], interpolation=cv2.INTER_NEAREST) > 0
        assert where[shadows[key_frame.frame.index]].mean() > 0.8


def test_where_the_lit_ground_is_unknown_the_shadow_template_is_carried() -> None:
    """A car that comes nearer: what lies in its first shadows is covered by the car for the rest of the clip."""
    world = 90 + synth.texture(160, 240, 3) // 2
    shown, holes, shadows = [], [], []
    for t in range(40):
        body, shadow = np.zeros((160, 240), bool), np.zeros((160, 240), bool)
        bottom, half = 60 + 2 * t, 16 + t // 2
        body[bottom - 40 - t // 2 : bottom, 110 - half : 110 + half] = True
        shadow[bottom : bottom + 5, 110 - half : 110 + half] = True
        picture = world.copy()
        picture[shadow] = picture[shadow] // 4
        picture[body] = (225, 20, 30)
        view = np.float32([[1, 0, 12 + 5 * np.sin(t / 6)], [0, 1, 6]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        picture, *masks = (
            cv2.warpAffine(x, view, (200, 150), flags=flags)
            for x in (picture, body * np.uint8(255), shadow * np.uint8(255))
        )
        shown.append(picture)
        holes.append(masks[0] > 0)
        shadows.append((masks[1] > 0) & ~holes[-1])
    clip = [HoleFrame(f, Hole.of(m, m)) for f, m in zip(synth.as_frames(shown), holes, strict=True)]

    def covered(frames: list[HoleFrame]) -> float:
        out = _found(frames)
        return float(np.mean([out[t].hole.full_area()[shadows[t]].mean() for t in range(5, 11)]))

    assert covered(clip) > 0.9
    clip[2] = HoleFrame(clip[2].frame, None)  # found again only in the next frame
    assert covered(clip) > 0.9


def test_no_shadow_no_change() -> None:
    clip, _ = _clip(1.0)
    assert all(now.hole is then.hole and now.frame is then.frame for now, then in zip(_found(clip), clip, strict=True))


def test_another_colour_is_no_shadow() -> None:
    own, body, shadow = _part()
    everywhere = np.ones(shadow.shape, bool)
    own[shadow] = 90
    assert detect_cast_shadow(own, ~body, _bounds(everywhere, everywhere)) is not None
    own[shadow] = 144, 63, 27
    assert detect_cast_shadow(own, ~body, _bounds(everywhere, everywhere)) is None


def test_where_the_background_is_known_what_differs_from_it_joins_the_hole() -> None:
    shown, masks, _ = synth.clip(24, *SIZE, step=(0, 7), size=30, seed=3)
    shadows = [
        np.roll(mask, (18, 6), (0, 1)) & ~mask if t < 12 else np.zeros(SIZE, bool) for t, mask in enumerate(masks)
    ]
    for picture, shadow in zip(shown, shadows, strict=True):
        picture[shadow] = picture[shadow] * 0.6
    frames, builder = synth.as_frames(shown), ShotAnalyzer()
    for frame, mask in zip(frames, masks, strict=True):
        builder.add(frame, mask)
    plate = builder.finish().shots[0].plate
    assert plate is not None
    clip = [HoleFrame(frame, Hole.of(mask, dilate(mask, 3))) for frame, mask in zip(frames, masks, strict=True)]
    out = list(add_residuals(clip, DisFlow(), lambda _: plate))
    assert np.mean([f.hole.full_area()[s].mean() for f, s in zip(out[2:12], shadows[2:12], strict=True)]) > 0.8
    assert all(after is before for after, before in zip(out[12:20], clip[12:20], strict=True))


def test_protected_objects_are_not_added() -> None:
    clip, shadows = _clip(0.55)
    protected = [HoleFrame(f.frame, f.hole, protected_hole=Hole.of(s, s)) for f, s in zip(clip, shadows, strict=True)]
    for found, shadow in zip(_found(protected), shadows, strict=True):
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

    stage = add_residuals(source(), DisFlow(), lambda _: None)
    next(stage)
    assert read[-1] <= LOOK_AHEAD + 2
    stage.close()
    assert read[-1] == -1


def test_errors_come_through() -> None:
    def source():
        yield from _clip(0.55)[0][:3]
        raise OptionError("broken")

    with pytest.raises(OptionError, match="broken"):
        list(add_residuals(source(), DisFlow(), lambda _: None))


def _part() -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    """(a picture, mask of an object in it, mask of its shadow); lit ground is 150, in the shadow 60."""
    own = np.full((100, 140, 3), 150, np.float32)
    body, shadow = np.zeros((100, 140), bool), np.zeros((100, 140), bool)
    body[20:80, 50:75] = True
    shadow[66:84, 75:115] = True
    own[shadow] = 60
    own[body] = 200
    return own, body, shadow


def _bounds(known: NDArray[np.bool_], evaluated: NDArray[np.bool_]) -> BackgroundBounds:
    light = np.full((*known.shape, 3), 150, np.float32)
    return BackgroundBounds(light, light - 20, np.zeros(known.shape, np.float32), known, known, evaluated)


def test_where_the_dark_has_no_end_it_is_no_shadow() -> None:
    own, body, shadow = _part()
    own[60:, 90:] = 60
    known = np.ones(shadow.shape, bool)
    known[:, 90:] = False
    found = detect_cast_shadow(own, ~body, _bounds(known, np.zeros_like(known)))
    assert found is not None
    assert not found.core[:, 92:].any()


def test_what_is_dark_beside_a_head_is_no_shadow() -> None:
    own, body, shadow = _part()
    own[shadow], own[22:44, 75:115] = 150, 60
    everywhere = np.ones(shadow.shape, bool)
    assert detect_cast_shadow(own, ~body, _bounds(everywhere, everywhere)) is None


def test_a_shadow_template_moves_with_its_object() -> None:
    _, body, shadow = _part()
    there = np.roll(body, (4, 9), (0, 1))
    found = ShadowTemplate(body, shadow, 100.0).on(there)[0]
    assert found[np.roll(shadow, (4, 9), (0, 1))].all()
    assert found.sum() < 1.5 * shadow.sum()


def test_a_template_is_placed_by_the_top_of_its_object_where_its_foot_is_in_shadow() -> None:
    _, body, shadow = _part()
    longer = body.copy()
    rows, columns = np.flatnonzero(body.any(1)), np.flatnonzero(body.any(0))
    longer[rows[-1] : rows[-1] + 12, columns[0] : columns[0] + 4] = True
    luma = np.where(shadow, 40, 150).astype(np.float32)
    nowhere = np.zeros(shadow.shape, bool)
    found = ShadowTemplate(body, shadow, 90.0).expected(longer, np.s_[:, :], luma, nowhere)
    assert found is not None
    assert found.core[shadow & ~longer].mean() > 0.95
    assert found.under[shadow & longer].all()


def test_nothing_is_left_between_an_object_and_its_shadow() -> None:
    body, shadow = np.zeros((240, 320), bool), np.zeros((240, 320), bool)
    body[60:160, 120:200], shadow[140:170, 204:260] = True, True
    left = ~(body | shadow | close_slits(body, shadow))
    assert not left[144:156, 200:204].any()
    assert left[100:130, 205:].all()


@pytest.mark.parametrize("orientation", [Orientation(1), Orientation(2), Orientation(3), Orientation(1, True)])
def test_shadows_fall_downward_as_displayed(orientation: Orientation) -> None:
    clip, shadows = _clip(0.55)

    def stored(array: NDArray) -> NDArray:
        return np.ascontiguousarray(orientation.to_stored(array))

    frames = [
        replace(frame, orientation=orientation)
        for frame in synth.as_frames([stored(found.frame.rgb()) for found in clip])
    ]
    masks = [None if f.hole is None else stored(f.hole.full_area()) for f in clip]
    builder = ShotAnalyzer()
    for frame, mask in zip(frames, masks, strict=True):
        builder.add(frame, mask)
    mosaic = builder.finish().shots[0].mosaic
    holes = [HoleFrame(f, None if m is None else Hole.of(m, m)) for f, m in zip(frames, masks, strict=True)]
    out = list(add_residuals(holes, DisFlow(), lambda _: None, lambda _: mosaic))
    assert np.mean([out[t].hole.full_area()[stored(shadows[t])].mean() for t in range(8, 28)]) > 0.9


def test_the_map_from_displayed_to_stored() -> None:
    stored = np.arange(12).reshape(3, 4)
    for orientation in (Orientation(turns, mirrored) for turns in range(4) for mirrored in (False, True)):
        shown = orientation.to_display(stored)
        for y, x in np.ndindex(shown.shape):
            column, row, _ = orientation.points_to_stored(*orientation.displayed_size(3, 4)) @ (x, y, 1)
            assert stored[int(row), int(column)] == shown[y, x]


def test_ground_beside_a_deep_shadow_that_is_a_little_darker_than_ever_stays() -> None:
    """Registered a pixel off, the brightest of many pictures of a meadow is brighter than each of them."""
    own, body, shadow = _part()
    own[62:90, 115:] = 150 * 0.86
    everywhere = np.ones(shadow.shape, bool)
    found = detect_cast_shadow(own, ~body, _bounds(everywhere, everywhere))
    assert found is not None
    assert found.core[shadow].all()
    assert not found.core[:, 125:].any()


@pytest.mark.parametrize(("right", "taken"), [(82, True), (110, False)])
def test_what_is_a_little_darker_is_a_shadow_if_there_is_little_of_it(right: int, taken: bool) -> None:
    own, body, shadow = _part()
    own[shadow] = 150
    own[60:84, 75:right] = 150 * 0.84
    everywhere = np.ones(shadow.shape, bool)
    assert (detect_cast_shadow(own, ~body, _bounds(everywhere, everywhere)) is not None) == taken


def test_misregistered_dark_objects_are_no_deep_shadow() -> None:
    own, body, shadow = _part()
    own[shadow] = 150
    light = _bounds(np.ones(shadow.shape, bool), np.ones(shadow.shape, bool))
    own[60:84, 75:110], light.rgb[60:84, 75:110] = 52, 62
    light.rgb[60:84, 75:110:4], own[60:84, 75:110:4] = 150, 126
    assert detect_cast_shadow(own, ~body, light) is None


def test_a_template_takes_in_no_more_than_other_frames_have_shown() -> None:
    """It is placed to within some px: what is dark beside it would join it frame after frame."""
    _, body, shadow = _part()
    everything = np.s_[0 : body.shape[0], 0 : body.shape[1]]
    wide = dilate(shadow, 12) & ~body
    assert wide.sum() > MAX_TEMPLATE_SIZE * shadow.sum()
    expected = ExpectedShadow(wide, shadow, np.zeros_like(shadow), 100.0, float(shadow.sum()))
    half = shadow.copy()
    half[:, :95] = False
    grown = ShadowTemplate.of(body, everything, CastShadow(wide, half, 100.0), expected)
    assert np.array_equal(grown.core, shadow)
    proven = ShadowTemplate.of(body, everything, CastShadow(wide, wide, 100.0), expected)
    assert np.array_equal(proven.core, wide)
