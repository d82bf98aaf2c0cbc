"""Cast shadows before a moving camera: found where they fall, and nothing else is."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import synth
from numpy.typing import NDArray

from vidrase.album import Album
from vidrase.errors import OptionError
from vidrase.fill.cast import Carry, cast
from vidrase.fill.contact import Foot
from vidrase.fill.foreign import foreign
from vidrase.fill.lit import Lit, stored_at
from vidrase.fill.shadows import LOOK, _slits, shadow_of, with_shadows
from vidrase.flow import DisFlow
from vidrase.frames import Hole, HoleFrame, Orientation
from vidrase.survey import SurveyBuilder

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


def _slow(frames: int = 170) -> tuple[list[HoleFrame], list[NDArray], Album | None]:
    """A square that takes the whole clip to leave its shadow's place, before a hand-held camera; and what a first pass keeps."""
    world = 90 + synth.texture(SIZE[0] + 40, SIZE[1] + 40, 3) // 2
    shown, masks, shadows = [], [], []
    for t in range(frames):
        y, x = 20 + 3 * np.cos(t / 7), 20 + 5 * np.sin(t / 9)
        thing, shadow = np.zeros(world.shape[:2], np.uint8), np.zeros(world.shape[:2], np.uint8)
        left = 50 + 0.45 * t
        cv2.rectangle(thing, (round(left), 40), (round(left) + 26, 90), 1, -1)
        cv2.rectangle(shadow, (round(left) + 27, 74), (round(left) + 70, 96), 1, -1)
        view = np.float32([[1, 0, x], [0, 1, y]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        picture, thing, shadow = (cv2.warpAffine(one, view, SIZE[::-1], flags=flags) for one in (world, thing, shadow))
        picture[shadow > 0] = picture[shadow > 0] // 2
        picture[thing > 0] = (225, 20, 30)
        shown.append(picture)
        masks.append(thing > 0)
        shadows.append((shadow > 0) & ~masks[-1])
    frames_ = synth.as_frames(shown)
    builder = SurveyBuilder()
    for frame, mask in zip(frames_, masks, strict=True):
        builder.add(frame, mask)
    return (
        [HoleFrame(f, Hole.of(m, m)) for f, m in zip(frames_, masks, strict=True)],
        shadows,
        builder.finish().shots[0].album,
    )


def test_the_shadow_of_a_slow_thing_is_known_by_the_whole_shot() -> None:
    clip, shadows, album = _slow()
    assert album is not None
    by_album = list(with_shadows(clip, DisFlow(), lambda _: False, lambda _: album))
    by_window = _found(clip)
    some = range(10, 150, 10)
    known, guessed = ([out[t].hole.full_area()[shadows[t]].mean() for t in some] for out in (by_album, by_window))
    assert min(np.mean(known), np.mean(guessed)) > 0.95
    extra = [(by_album[t].hole.full_area() & ~clip[t].hole.full_area()).sum() / shadows[t].sum() for t in some]
    assert np.mean(extra) < 2.0


def test_a_page_knows_the_shadows_on_it() -> None:
    _, shadows, album = _slow()
    assert album is not None
    for page in album.pages:
        shadow = shadow_of(page.frame, page.hidden(), album)
        where = cv2.resize(shadow.astype(np.uint8), SIZE[::-1], interpolation=cv2.INTER_NEAREST) > 0
        assert where[shadows[page.frame.index]].mean() > 0.8


def test_where_nobody_knows_the_ground_in_the_light_the_shadow_is_carried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A car that comes nearer: what lies in its first shadows is covered by the car for the rest of the clip."""
    world = 90 + synth.texture(160, 240, 3) // 2
    shown, holes, shadows = [], [], []
    for t in range(40):
        thing, shadow = np.zeros((160, 240), bool), np.zeros((160, 240), bool)
        bottom, half = 60 + 2 * t, 16 + t // 2
        thing[bottom - 40 - t // 2 : bottom, 110 - half : 110 + half] = True
        shadow[bottom : bottom + 5, 110 - half : 110 + half] = True
        picture = world.copy()
        picture[shadow] = picture[shadow] // 4
        picture[thing] = (225, 20, 30)
        view = np.float32([[1, 0, 12 + 5 * np.sin(t / 6)], [0, 1, 6]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        picture, *masks = (
            cv2.warpAffine(x, view, (200, 150), flags=flags)
            for x in (picture, thing * np.uint8(255), shadow * np.uint8(255))
        )
        shown.append(picture)
        holes.append(masks[0] > 0)
        shadows.append((masks[1] > 0) & ~holes[-1])
    clip = [HoleFrame(f, Hole.of(m, m)) for f, m in zip(synth.as_frames(shown), holes, strict=True)]
    monkeypatch.setattr(Foot, "dark", lambda *_: None)

    def covered() -> float:
        out = _found(clip)
        return float(np.mean([out[t].hole.full_area()[shadows[t]].mean() for t in range(5, 11)]))

    assert covered() > 0.9
    clip[2] = HoleFrame(clip[2].frame, None)  # found again only in the next frame
    assert covered() > 0.9
    monkeypatch.setattr("vidrase.fill.shadows.CARRY", 0)
    assert covered() < 0.5


def test_no_shadow_no_change() -> None:
    clip, _ = _clip(1.0)
    assert all(now is then for now, then in zip(_found(clip), clip, strict=True))


def test_what_has_another_colour_is_no_shadow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidrase.fill.shadows.foreign", lambda *_: None)  # but it goes along with its thing
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


def _part() -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    """(a picture, where a thing stands in it, where its shadow lies); lit ground is 150, in the shadow 60."""
    own = np.full((100, 140, 3), 150, np.float32)
    thing, shadow = np.zeros((100, 140), bool), np.zeros((100, 140), bool)
    thing[20:80, 50:75] = True
    shadow[66:84, 75:115] = True
    own[shadow] = 60
    own[thing] = 200
    return own, thing, shadow


def _lit(known: NDArray[np.bool_], judged: NDArray[np.bool_]) -> Lit:
    light = np.full((*known.shape, 3), 150, np.float32)
    return Lit(light, light - 20, np.zeros(known.shape, np.float32), known, known, judged)


def test_a_shadow_goes_on_to_where_it_ends() -> None:
    own, thing, shadow = _part()
    known = np.ones(shadow.shape, bool)
    known[:, 90:] = False
    found = cast(own, ~thing, _lit(known, np.zeros_like(known)))
    assert found is not None
    assert (found.core == shadow).mean() > 0.99
    judged = cast(own, ~thing, _lit(known, ~known))  # what is dark by itself is no shadow
    assert judged is not None
    assert not judged.core[:, 92:].any()


def test_where_the_dark_has_no_end_it_is_no_shadow() -> None:
    own, thing, shadow = _part()
    own[60:, 90:] = 60
    known = np.ones(shadow.shape, bool)
    known[:, 90:] = False
    found = cast(own, ~thing, _lit(known, np.zeros_like(known)))
    assert found is not None
    assert not found.core[:, 92:].any()


def test_what_is_dark_beside_a_head_is_no_shadow() -> None:
    own, thing, shadow = _part()
    own[shadow], own[22:44, 75:115] = 150, 60
    everywhere = np.ones(shadow.shape, bool)
    assert cast(own, ~thing, _lit(everywhere, everywhere)) is None


def test_a_shadow_lies_where_its_thing_is() -> None:
    _, thing, shadow = _part()
    there = np.roll(thing, (4, 9), (0, 1))
    found = Carry(thing, shadow, 100.0).on(there)[0]
    assert found[np.roll(shadow, (4, 9), (0, 1))].all()
    assert found.sum() < 1.5 * shadow.sum()


def _at_the_foot(colour: tuple[float, float, float]) -> tuple[Foot, NDArray[np.bool_]]:
    """A thing on even ground, a patch of `colour` times the ground below it that its mask lacks."""
    picture = np.full((240, 320, 3), 120, np.uint8)
    area, patch = np.zeros((240, 320), bool), np.zeros((240, 320), bool)
    area[60:160, 120:200], patch[150:160, 140:180] = True, True
    area &= ~patch
    picture[area] = (225, 20, 30)
    picture[patch] = (picture[patch] * np.array(colour)).astype(np.uint8)
    return Foot.of(synth.as_frames([picture])[0], area), patch


def test_the_dark_between_a_thing_and_the_ground_belongs_to_it() -> None:
    foot, patch = _at_the_foot((0.3, 0.3, 0.35))
    part = np.s_[0:60, 0:80]
    everywhere = np.ones((60, 80), bool)
    unknown = _lit(~everywhere, ~everywhere)
    dark = foot.dark(unknown, part, (60, 80))
    assert foot.dark(None, part, (60, 80)) is None  # a single picture is taken as it is
    assert dark is not None
    assert dark[patch].all()
    assert dark.sum() < 2 * patch.sum()
    by_itself = replace(_lit(everywhere, everywhere), rgb=np.full((60, 80, 3), 45, np.float32))
    assert foot.dark(by_itself, part, (60, 80)) is None


@pytest.mark.parametrize("colour", [(0.9, 0.9, 0.9), (0.7, 0.3, 0.1)])
def test_what_is_not_dark_or_of_another_colour_at_the_foot_does_not(colour: tuple[float, float, float]) -> None:
    nowhere = np.zeros((60, 80), bool)
    assert _at_the_foot(colour)[0].dark(_lit(nowhere, nowhere), np.s_[0:60, 0:80], (60, 80)) is None


def test_where_the_thing_ends_in_its_shadow_that_lies_under_the_same_head() -> None:
    _, thing, shadow = _part()
    longer = thing.copy()
    rows, columns = np.flatnonzero(thing.any(1)), np.flatnonzero(thing.any(0))
    longer[rows[-1] : rows[-1] + 12, columns[0] : columns[0] + 4] = True
    luma = np.where(shadow, 40, 150).astype(np.float32)
    nowhere = np.zeros(shadow.shape, bool)
    found = Carry(thing, shadow, 90.0).expected(longer, np.s_[:, :], luma, nowhere)
    assert found is not None
    assert found.core[shadow & ~longer].mean() > 0.95
    assert found.under[shadow & longer].all()


def test_what_looks_as_it_does_at_no_other_moment_and_touches_the_hole_belongs_to_it() -> None:
    own, thing, _ = _part()
    own[:] = 140
    arm, apart = np.zeros(thing.shape, bool), np.zeros(thing.shape, bool)
    arm[30:40, 75:90], apart[30:40, 110:125] = True, True
    own[arm | apart] = 230, 160, 140
    everywhere = np.ones(thing.shape, bool)
    found = foreign(own, ~thing, _lit(everywhere, everywhere))
    assert found is not None
    assert (found == arm).all()
    assert foreign(own, ~thing, replace(_lit(everywhere, everywhere), sure=~everywhere)) is None
    own[75:, 75:] = 230  # as large as the thing: somebody else
    assert (foreign(own, ~thing, _lit(everywhere, everywhere)) == arm).all()


def test_an_arm_that_the_mask_leaves_goes_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidrase.fill.lit.SURE", 4)  # no more of so short a clip show a place
    clip, _ = _clip(1.0)
    frames, arms = [], []
    for found in clip:
        arm = np.zeros(SIZE, bool)
        if found.hole is not None:
            rows, columns = (np.flatnonzero(found.hole.full_area().any(axis)) for axis in (1, 0))
            arm[rows[0] + 4 : rows[0] + 12, columns[-1] + 1 : columns[-1] + 16] = True
        picture = 100 + found.frame.rgb() // 5
        picture[arm] = 250, 40, 250
        frames.append(picture)
        arms.append(arm)
    clip = [HoleFrame(f, found.hole) for f, found in zip(synth.as_frames(frames), clip, strict=True)]
    out = _found(clip)
    covered = [out[t].hole.full_area()[arms[t]].mean() for t in range(8, 28) if arms[t].any()]
    assert np.mean(covered) > 0.9


def test_nothing_is_left_between_a_thing_and_its_shadow() -> None:
    thing, shadow = np.zeros((240, 320), bool), np.zeros((240, 320), bool)
    thing[60:160, 120:200], shadow[140:170, 204:260] = True, True
    left = ~(thing | shadow | _slits(thing, shadow))
    assert not left[144:156, 200:204].any()
    assert left[100:130, 205:].all()


@pytest.mark.parametrize("rows", [1, 2, 8])
def test_a_thing_that_enters_from_below_has_no_foot(rows: int) -> None:
    clip, _ = _clip(1.0)
    area = np.zeros(SIZE, bool)
    area[-rows:, 60:90] = True
    assert len(_found([HoleFrame(found.frame, Hole.of(area, area)) for found in clip[:12]])) == 12


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
    builder = SurveyBuilder()
    for frame, mask in zip(frames, masks, strict=True):
        builder.add(frame, mask)
    album = builder.finish().shots[0].album
    holes = [HoleFrame(f, None if m is None else Hole.of(m, m)) for f, m in zip(frames, masks, strict=True)]
    out = list(with_shadows(holes, DisFlow(), lambda _: False, lambda _: album))
    assert np.mean([out[t].hole.full_area()[stored(shadows[t])].mean() for t in range(8, 28)]) > 0.9


def test_the_way_from_what_is_displayed_to_what_is_stored() -> None:
    stored = np.arange(12).reshape(3, 4)
    for orientation in (Orientation(turns, mirrored) for turns in range(4) for mirrored in (False, True)):
        shown = orientation.to_display(stored)
        for y, x in np.ndindex(shown.shape):
            column, row, _ = stored_at(orientation, 3, 4) @ (x, y, 1)
            assert stored[int(row), int(column)] == shown[y, x]


def test_what_stays_does_not_go_along_though_it_was_missed_in_a_frame() -> None:
    shown, masks, _ = synth.clip(40, *SIZE, pan=(0.2, 1.5), step=(0, 3), size=30, seed=3)
    friends = []
    for picture, mask in zip(shown, masks, strict=True):
        picture[:] = np.where(mask[..., None], picture, 100 + picture // 5)
        friend = np.zeros(SIZE, bool)
        if mask.any():
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            friend[rows[0] + 4 : rows[0] + 22, columns[-1] + 3 : columns[-1] + 17] = True
        picture[friend] = 240, 230, 30
        friends.append(friend)
    clip = [
        HoleFrame(f, Hole.of(m, m) if m.any() else None, kept=Hole.of(o, o) if t != 20 and o.any() else None)
        for t, (f, m, o) in enumerate(zip(synth.as_frames(shown), masks, friends, strict=True))
    ]
    eaten = [f.hole.full_area()[o].mean() for f, o in zip(_found(clip), friends, strict=True) if f.hole and o.any()]
    assert max(eaten) < 0.1
