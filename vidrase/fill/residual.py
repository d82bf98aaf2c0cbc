"""Cast shadows where the camera moves: what was lighter at other moments, hangs together with a hole and moves with its thing.

And whatever else its mask left of the thing: see `foreign` and `contact`.

A shadow overlaps itself from frame to frame, so moments are compared that lie further apart, brought together by the camera's
motion. It leaves less light but the same colours; that, and that it touches the hole, tells it from other things that moved.
Where the camera stands still and there is a plate, `traces` knows the background better.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.camera import CameraMotion, fit_camera
from vidrase.cuts import Shots
from vidrase.fill.background_bounds import (
    MARGIN,
    RankFilter,
    bounds_from_thumbnails,
    luma_of,
    match_exposure,
    near_objects,
    reduced_mask,
    reduced_rgb,
    reduced_size,
    warp_region,
)
from vidrase.fill.background_subtraction import subtract_background
from vidrase.fill.cast_shadow import AROUND, ShadowTemplate, close_shadow_gaps, detect_cast_shadow
from vidrase.fill.contact_shadow import ContactRegion
from vidrase.fill.flow_completion import dilate
from vidrase.fill.residual_foreground import detect_residual_foreground
from vidrase.fill.temporal_vote import confirmed_by_neighbours, merge_residual, resized, static_shadow_vote
from vidrase.flow import FlowModel
from vidrase.frames import Frame, HoleFrame, Orientation
from vidrase.keyframes import KeyframeMosaic
from vidrase.plate import Plate
from vidrase.streams import closing_all

LOOK_AHEAD = 32  # frames ahead
MEMORY = 128 << 20
"""Bytes of frames that wait for what comes after them: large ones look less far ahead."""
OFFSETS = (3, 7, 12, 18, 25, 32, 48)  # frames between a frame and those it is compared with
REACH = 0.8  # of the hole's longer side: how far from it shadows are looked for
ANCHOR = 8  # frames that the whole shot is laid over one of
INWARD = np.array([[1.0, 0, MARGIN], [0, 1, MARGIN], [0, 0, 1]])
SUPPORT = 0.5  # of the picture has to move as the camera does, or frames are not compared across
CARRY = 12  # frames by which the first shadow of a shot is carried back to where nobody knows what was in the light
WHOLE = 0.7  # of what was expected, by what was found before, that a shadow must have for the next ones to go by it
MISSED = 3  # frames around in which what must stay is looked for
STAYS = 2  # px of a reduced picture around it


@dataclass(slots=True, eq=False)
class _Frame:
    number: int
    index: int
    shot: int
    orientation: Orientation
    rgb: NDArray[np.float32]
    """[h, w, 3] reduced and blurred, grey levels; like all that follows as displayed."""
    luma: NDArray[np.uint8]
    area: NDArray[np.bool_]
    """[h, w] the hole, and a little around it."""
    protected: NDArray[np.bool_] | None = None
    """[h, w] things that must stay; None: none."""
    forward: CameraMotion | None = None
    """To the next moment, once asked for."""
    shadow: NDArray[np.bool_] | None = None
    """[h, w]; None: none was found."""
    cast: ShadowTemplate | None = None
    """The same as its thing carries it along."""
    asked: bool = False
    """Whether it was looked for."""
    apart: NDArray[np.bool_] | None = None
    """[h, w] where nothing is near, once asked."""
    residual: NDArray[np.bool_] | None = None
    """[h, w] what else was left of its thing; None: nothing, or it was not looked for."""
    foot: ContactRegion | None = None
    """The surroundings of the hole; None: there is none."""
    dark: NDArray[np.bool_] | None = None
    """[H, W] what is dark there, larger than the other pictures; None: nothing, or not asked yet."""
    static: NDArray[np.bool_] | None = None
    """[H, W] the same of shadows that keep their place."""


def look_ahead(frame: Frame) -> int:
    """Frames that wait behind one that leaves."""
    size = sum(plane.nbytes for plane in frame.planes)
    return int(np.clip(MEMORY // max(size, 1), OFFSETS[1], LOOK_AHEAD))


def add_residuals(
    upstream: Iterable[HoleFrame],
    flow: FlowModel,
    plate_of: Callable[[Frame], Plate | None],
    album_of: Callable[[Frame], KeyframeMosaic | None] = lambda _: None,
    shots: Shots | None = None,
) -> Generator[HoleFrame, None, None]:
    """Each frame, its hole with the shadows of what is in it: one out for each in.

    plate_of: frame -> the background plate of its shot, if there is one.
    album_of: frame -> what the first pass kept of its shot, if anything.
    shots: the numbers of the shots, where they are known or others ask as well.
    """
    number_of, run, shot = shots or Shots(), None, 0
    finder = _Finder(flow, plate_of, album_of)
    waiting: deque[HoleFrame] = deque()
    look = LOOK_AHEAD
    with closing_all(upstream) as source:
        for number, found in enumerate(source):
            look = look_ahead(found.frame)
            # where nobody looked for it the thing may stand in the light: nothing is taken from there, as from beyond a cut
            before, run = run, (number_of(found.frame), found.searched)
            shot += run != before
            finder.moments[number] = _reduced_frame(number, shot, found, still=plate_of(found.frame) is not None)
            waiting.append(found)
            del found
            while len(waiting) > look + 1:  # one more: neighbours' shadows are compared
                yield finder.leave(number + 1 - len(waiting), waiting.popleft())
        for number in range(max(finder.moments, default=-1) + 1 - len(waiting), max(finder.moments, default=-1) + 1):
            yield finder.leave(number, waiting.popleft())


class _Finder:
    """The moments at hand, and how they hang together."""

    def __init__(
        self,
        flow: FlowModel,
        plate_of: Callable[[Frame], Plate | None],
        album_of: Callable[[Frame], KeyframeMosaic | None],
    ) -> None:
        self.moments: dict[int, _Frame] = {}
        self._flow, self._plate_of, self._album_of = flow, plate_of, album_of
        self._anchor: tuple[_Frame, RankFilter] | None = None
        self._last: _Frame | None = None  # that had a shadow
        self._proven = 0  # moments that had one

    def leave(self, number: int, found: HoleFrame) -> HoleFrame:
        """The moment `number`, `found`, with its shadows; forgets what nobody needs any more."""
        here, plate = self.moments[number], self._plate_of(found.frame)
        if found.hole is None:
            result = found
        elif plate is not None:
            known = rules.enabled("residual.plate")
            traced = subtract_background(found.frame, found.hole, plate, found.protected_hole) if known else found.hole
            result = found if traced is found.hole else replace(found, hole=traced)
        else:
            album = self._album_of(found.frame)
            beside = [self._asked(here, number + step, album) for step in (0, -1, 1)]
            if here.shadow is None and self._before(here) is None and rules.enabled("residual.carry_back"):
                self._ahead(here, album)
            shadow = confirmed_by_neighbours(
                here.shadow, [moment.shadow for moment in beside[1:] if moment is not None]
            )
            if shadow is not None and here.cast is not None:
                self._proven = self._proven + 1 if self._before(here) is not None else 1
                self._last = here
            more = confirmed_by_neighbours(
                here.residual, [moment.residual for moment in beside[1:] if moment is not None]
            )
            steady = self._agreed(here)
            whole = merge_residual(found, [mask for mask in (shadow, more, here.dark, steady) if mask is not None])
            result = found if whole is None else replace(found, hole=whole)
            here.dark = None
        for old in [old for old in self.moments if old < number - max(OFFSETS)]:
            del self.moments[old]
        return result

    def _agreed(self, here: _Frame) -> NDArray[np.bool_] | None:
        """bool [H, W]: shadows that keep their place, here and as neighbours say; None: none. A miss is copied into the rest."""
        beside = []
        for step in (-1, 1):
            there = self.moments.get(here.number + step)
            if there is None or there.shot != here.shot or there.static is None:
                continue
            way = self._onward(np.eye(3), here, there, step)
            if way is not None:
                size = there.static.shape
                larger = np.diag([size[1] / here.area.shape[1], size[0] / here.area.shape[0], 1.0])
                way = larger @ way @ np.linalg.inv(larger)
                both = np.dstack([there.static, resized(there.area, size)]).astype(np.float32)
                beside.append(warp_region(both, there.static, way, (0, 0), size)[0] > 0.5)
        return static_shadow_vote(here.static, beside)

    def _asked(self, here: _Frame, number: int, album: KeyframeMosaic | None) -> _Frame | None:
        """A moment of the shot of `here`, its shadow looked for."""
        moment = self.moments.get(number)
        if moment is None or moment.shot != here.shot:
            return None
        if not moment.asked and moment.area.any():
            moment.shadow, moment.asked = self._shadow(moment, album), True
        return moment

    def _ahead(self, here: _Frame, album: KeyframeMosaic | None) -> None:
        """Look for the first shadow of a shot where the next ones let expect it."""
        for distance in range(1, CARRY + 1):
            there, after = (self._asked(here, here.number + distance + step, album) for step in (0, 1))
            if there is not None and there.cast is not None and after is not None and after.cast is not None:
                self._last, self._proven = there, 0
                for moment in (self.moments[number] for number in range(here.number, there.number)):
                    if moment.area.any():
                        moment.shadow = self._shadow(moment, album)
                return

    def _before(self, here: _Frame) -> ShadowTemplate | None:
        """The last shadow that was found, if that is not longer ago than there were others before."""
        last = self._last
        if last is None or last.shot != here.shot or here.number - last.number > self._proven:
            return None
        return last.cast

    def _shadow(self, here: _Frame, album: KeyframeMosaic | None) -> NDArray[np.bool_] | None:
        """bool [h, w]: what was lighter at other moments and touches the hole; None when there is nothing of the kind."""
        part = _search_region(here.area)
        top, left = part[0].start, part[1].start
        own, free = here.rgb[part], ~here.area[part]
        stays = self._staying(here)
        wide = album is not None and rules.enabled("residual.shot_light")
        moments = self._far(here, album, (top, left), own.shape[:2]) if wide and album is not None else None
        moments = moments or RankFilter.of(own.shape[:2])
        self._near(here, (top, left), own, free, moments)
        lit = moments.lit()
        if lit is not None and stays is not None:
            known = ~stays[part]
            lit = replace(lit, known=lit.known & known, sure=lit.sure & known, has_evidence=lit.has_evidence | ~known)
        more = (
            None if lit is None or not rules.enabled("residual.foreign") else detect_residual_foreground(own, free, lit)
        )
        here.residual = None if more is None else _placed(close_shadow_gaps(more, free), part, here.area.shape)
        if here.foot is not None:
            if rules.enabled("residual.contact"):
                here.dark = here.foot.dark(lit, part, here.area.shape)
            if rules.enabled("residual.static"):
                here.static = here.foot.static(lit, part, here.area.shape)
            for dark in (here.dark, here.static):
                if dark is not None and stays is not None:
                    dark &= ~resized(stays, dark.shape)
            here.foot = None
        last = self._before(here) if rules.enabled("residual.carry") else None
        carried = None
        if last is not None:
            judged = lit.has_evidence if lit is not None else np.zeros(free.shape, bool)
            carried = last.expected(here.area, part, luma_of(own), judged)
        found = (
            None if lit is None or not rules.enabled("residual.cast") else detect_cast_shadow(own, free, lit, carried)
        )
        if found is None and carried is None:
            return None
        before = np.zeros(free.shape, bool) if carried is None else carried.core
        core = np.zeros(free.shape, bool) if found is None else found.core
        if found is not None and found.dark and np.count_nonzero(core) >= WHOLE * np.count_nonzero(before):
            whole = _placed(core, part, here.area.shape)
            here.cast = ShadowTemplate(here.area, whole if carried is None else whole | carried.under, found.dark)
        return _placed(close_shadow_gaps(core | before, free), part, here.area.shape)

    def _staying(self, here: _Frame) -> NDArray[np.bool_] | None:
        """bool [h, w]: what must stay, as moments around say as well: detectors miss things now and then. None: nothing."""
        near = (self.moments.get(here.number + step) for step in range(-MISSED, MISSED + 1))
        masks = [
            moment.protected for moment in near if moment and moment.shot == here.shot and moment.protected is not None
        ]
        return dilate(np.logical_or.reduce(masks), STAYS) if masks and rules.enabled("residual.protect") else None

    def _far(
        self, here: _Frame, album: KeyframeMosaic, corner: tuple[int, int], size: tuple[int, ...]
    ) -> RankFilter | None:
        """What moments beyond the window show of a region of `here`: laid over a moment close by, brought here from there."""
        way: NDArray[np.float64] | None = None
        if self._anchor is not None:
            anchor = self._anchor[0]
            near = anchor.shot == here.shot and 0 <= here.number - anchor.number < ANCHOR
            way = self._way(here, anchor) if near else None
        if way is None or self._anchor is None:
            self._anchor = (
                here,
                bounds_from_thumbnails(album, here.index, here.orientation, max(OFFSETS), here.rgb, ~here.area),
            )
            way = np.eye(3)
        return self._anchor[1].at(INWARD @ way, corner, size)

    def _near(
        self,
        here: _Frame,
        corner: tuple[int, int],
        own: NDArray[np.float32],
        free: NDArray[np.bool_],
        into: RankFilter,
    ) -> None:
        """Add what moments of the window show of a region of `here`."""
        for step in (-1, 1):
            way: NDArray[np.float64] | None = np.eye(3)
            at = here
            for distance in range(1, max(OFFSETS) + 1):
                there = self.moments.get(here.number + step * distance)
                if there is None or there.shot != here.shot:
                    break
                way = self._onward(way, at, there, step)
                if way is None:
                    break
                at = there
                if distance in OFFSETS:
                    shown, seen = warp_region(there.rgb, ~there.area, way, corner, own.shape[:2])
                    lit = match_exposure(shown, seen, own, free)
                    if lit is not None:
                        if there.apart is None:
                            there.apart = ~near_objects(there.area)
                        apart = warp_region(there.luma, there.apart, way, corner, own.shape[:2])[1]
                        into.add(lit, seen, apart)

    def _way(self, here: _Frame, before: _Frame) -> NDArray[np.float64] | None:
        """The homography from `here` to a moment before; None when frames do not tell."""
        way: NDArray[np.float64] | None = np.eye(3)
        for number in range(here.number, before.number, -1):
            there = self.moments.get(number - 1)
            way = self._onward(way, self.moments[number], there, -1) if there is not None else None
        return way

    def _onward(
        self, way: NDArray[np.float64] | None, at: _Frame, there: _Frame, step: int
    ) -> NDArray[np.float64] | None:
        """The homography from the first moment to `there`, from that to its neighbour `at`; None when frames do not tell."""
        first, second = (at, there) if step > 0 else (there, at)
        if first.forward is None:
            motion = self._flow(first.luma[None], second.luma[None])[0]
            first.forward = fit_camera(motion, ~(dilate(first.area, 3) | dilate(second.area, 3)))
        if way is None or first.forward.support < SUPPORT:
            return None
        link = first.forward.homography if step > 0 else first.forward.inverse().homography
        return np.asarray(link @ way)


def _reduced_frame(number: int, shot: int, found: HoleFrame, *, still: bool) -> _Frame:
    frame, hole, foot = found.frame, None if still else found.hole, None
    rgb = reduced_rgb(frame)
    area = np.zeros(rgb.shape[:2], bool)
    if hole is not None and hole.area.any():
        full = hole.full_area()
        area, foot = (
            dilate(reduced_mask(full, frame), AROUND),
            ContactRegion.of(frame, full, found.place, found.protected_hole),
        )
    luma = np.ascontiguousarray(frame.orientation.to_display(frame.luma(size=reduced_size(frame))))
    stays = None if still or found.protected_hole is None else reduced_mask(found.protected_hole.full_area(), frame)
    return _Frame(number, frame.index, shot, frame.orientation, rgb, luma, area, protected=stays, foot=foot)


def _search_region(area: NDArray[np.bool_]) -> tuple[slice, slice]:
    """(rows, columns) in which shadows of what is in `area` are looked for."""
    rows, columns = np.flatnonzero(area.any(1)), np.flatnonzero(area.any(0))
    reach = round(REACH * (max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1))
    top, left = max(int(rows[0]) - reach, 0), max(int(columns[0]) - reach, 0)
    return slice(top, int(rows[-1]) + 1 + reach), slice(left, int(columns[-1]) + 1 + reach)


def _placed(mask: NDArray[np.bool_], part: tuple[slice, slice], size: tuple[int, ...]) -> NDArray[np.bool_]:
    """bool, of `size`: `mask` in its `part`."""
    out = np.zeros(size, bool)
    out[part] = mask
    return out


def residual_of_key_frame(frame: Frame, hidden: NDArray[np.bool_], album: KeyframeMosaic) -> NDArray[np.bool_]:
    """bool [h, w], smaller than `frame`: the shadows of what is `hidden`, bool [H, W], by what its album shows."""
    area = dilate(reduced_mask(hidden, frame), AROUND)
    foot = ContactRegion.of(frame, hidden)
    if not area.any() or foot is None:
        return np.zeros(reduced_size(frame), bool)
    own, part, size = reduced_rgb(frame), _search_region(area), area.shape
    whole = np.zeros(size, bool)
    lit = bounds_from_thumbnails(album, frame.index, frame.orientation, 0, own, ~area).at(INWARD, (0, 0), size).lit()
    if lit is None:
        return np.ascontiguousarray(frame.orientation.to_stored(whole))
    lit = lit.of(part)
    found, more = (
        detect_cast_shadow(own[part], ~area[part], lit),
        detect_residual_foreground(own[part], ~area[part], lit),
    )
    for core in (None if found is None else found.core, more):
        whole |= False if core is None else _placed(close_shadow_gaps(core, ~area[part]), part, size)
    for dark in (foot.dark(lit, part, size), foot.static(lit, part, size)):
        whole = whole if dark is None else dark | resized(whole, dark.shape)
    return np.ascontiguousarray(frame.orientation.to_stored(whole))
