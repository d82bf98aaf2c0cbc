"""Through time: a thing that the detector missed for some frames is carried along the motion, and its edge does not flicker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.crops import Crop, area, intersection_area, paste_crop, trim, union
from vidrase.cuts import Shots
from vidrase.flow import FlowModel
from vidrase.frames import Frame, Instances
from vidrase.mask.morphology import dilate, erode
from vidrase.mask.motion_residual import MotionResidual
from vidrase.motion import Motion

STEADY = 1  # frames to either side whose masks are united with a frame's own, where the frames agree
VOTES = 1  # how many of those have to have a pixel that the own mask lacks
TAIL = 4  # frames by which a thing is carried beyond where it was last (or will first be) seen
SETTLED = 3  # frames a thing is seen in before it is carried beyond them
FLASH = 0.45  # a single hit below this confidence is taken for a false one
RIM_SHARE = (
    0.004  # of the frame's short side: what a carried mask loses all round before it is united with a frame's own
)
SWOLLEN = (
    1.4  # times the larger of a thing's masks just before and after, beyond which its mask is checked against them
)
SUPPORT_SHARE = 0.02  # of the frame's short side: how far beyond those a swollen mask may reach
LOOKED = 4  # frames to either side in which those are looked for
KEPT_SHARE = 0.7  # of them that has to be left of it, or the motion between was not understood
SWIFT = 0.3  # of its size a frame: motion beyond which a thing is looked for on the way between two sightings as well
ALONG = 0.5  # share of a carried mask that has to lie on the way, for one that is hidden or swift
EDGE = 6  # frames to either side in which more of a thing at the border may have been seen
EDGE_BAND = 0.05  # of the frame's long side: along the border, where that is believed
EDGE_NEAR = 0.012  # of the frame's short side: how near to the border a mask counts as touching it
FULLER = 1.25  # times what is seen now: more was seen
BRIEF = 3  # frames between two sightings, beyond which the thing was behind something rather than overlooked
CERTAIN = 0.5  # share of a carried pixel that has to be mask


class ObjectMask(NamedTuple):
    """One thing in one frame."""

    mask: NDArray[np.bool_]
    corner: tuple[int, int]
    score: float

    @property
    def crop(self) -> Crop:
        """Mask and corner."""
        return self.mask, self.corner


@dataclass(frozen=True, slots=True, eq=False)
class MaskFrame:
    """A frame and the chosen things in it, by id."""

    place: int
    frame: Frame
    pieces: dict[int, ObjectMask]


@dataclass(frozen=True, slots=True, eq=False)
class FrameObject:
    """One thing in one frame, all that is known of it taken together."""

    mask: NDArray[np.bool_]
    """bool [h, w] crop, displayed."""
    corner: tuple[int, int]
    """(y, x) of the crop."""
    whole: bool = True
    """False for a piece that hangs on another thing."""


class TemporalMaskFilter:
    """Reads a stream once, frame by frame; `things` then says what is where, with the frames around it at hand."""

    def __init__(self, flow: FlowModel | None, *, reach: int, shots: Shots | None = None) -> None:
        self._reach = reach
        self._motion = Motion(flow, reach=reach, shots=shots)
        self._trace = MotionResidual(self._motion, reach=reach)
        # (thing, from, to) -> its mask there, carried: asked for by the frame itself and by those beside it
        self._moved: dict[
            tuple[int, int, int], tuple[ObjectMask, tuple[NDArray[np.float32], tuple[int, int]] | None]
        ] = {}
        self._checked: dict[
            tuple[int, int], ObjectMask
        ] = {}  # (frame, thing) -> its mask, cut back where it was swollen

    def add(self, place: int, frame: Frame, instances: Instances, others: Instances | None = None) -> MaskFrame:
        """The next frame of the stream with what was chosen in it, and what was found beside that."""
        pieces: dict[int, ObjectMask] = {}
        for k, number in enumerate(instances.ids.tolist()):
            y, x = instances.corners[k].tolist()
            # untracked instances have no past and no future; each gets a number of its own
            crop = (instances.masks[k], (y, x))
            pieces[number or -1 - k - 100_000 * (place + 1)] = ObjectMask(*crop, float(instances.scores[k]))
        self._motion.add(place, frame, _region(pieces))
        for key in [key for key in self._checked if key[0] < place - 2 * self._reach]:
            del self._checked[key]
        for moved in [moved for moved in self._moved if min(moved[1:]) < place - self._reach - 2]:
            del self._moved[moved]
        if others is None:
            others = Instances.none(frame.displayed_size)
        alike = np.array([label in instances.labels for label in others.labels], bool)
        apart = _crops(others.where(~alike))
        self._trace.add(place, frame, _crops(others.where(alike)), apart)
        return MaskFrame(place, frame, pieces)

    def things(
        self, before: tuple[MaskFrame, ...], now: MaskFrame, after: tuple[MaskFrame, ...], *, exact: bool = False
    ) -> Iterator[FrameObject]:
        """What is in frame `now`; exact: masks as they were found, only gaps are bridged."""
        things = list(self._things(before, now, after, exact=exact))
        yield from things
        if not exact and rules.enabled("mask.motion_residual"):
            near = {seen.place for seen in (*before, *after) if self._motion.same_shot(seen.place, now.place)}
            crops = [(thing.mask, thing.corner) for thing in things]
            for piece in self._trace.parts(now.place, near, crops, now.frame.displayed_size):
                yield FrameObject(*piece, whole=False)

    def _things(
        self, before: tuple[MaskFrame, ...], now: MaskFrame, after: tuple[MaskFrame, ...], *, exact: bool
    ) -> Iterator[FrameObject]:
        near = {seen.place: seen for seen in (*before, now, *after) if self._motion.same_shot(seen.place, now.place)}
        ids = {number: None for seen in near.values() for number in seen.pieces}
        for number in ids:
            places = [place for place in sorted(near) if number in near[place].pieces]
            here = now.pieces.get(number)
            if here is None:
                parts = self._bridged(number, now, near, places) if rules.enabled("mask.bridge") else []
            elif _is_flash(here, places, near) and number > 0 and rules.enabled("mask.flash"):
                continue
            else:
                steady = not exact and rules.enabled("mask.union")
                beside = [p for p in places if p != now.place and abs(p - now.place) <= STEADY] if steady else []
                others = [
                    self._carried(number, self._reasonable(number, place, near), place, now.place, sure=True)
                    for place in beside
                ]
                own = here.crop if exact else self._reasonable(number, now.place, near).crop
                parts = [own, _adjacent(own, _majority([part for part in others if part is not None]))]
                if not exact and rules.enabled("mask.leaving"):
                    parts += self._leaving(number, now, near, places)
            whole = union([part for part in parts if part is not None])
            if whole is not None:
                yield FrameObject(*whole)

    def _bridged(self, number: int, now: MaskFrame, near: dict[int, MaskFrame], places: list[int]) -> list[Crop | None]:
        """Where a thing that was not found in `now` should be, as the frames `places` around say."""
        ends = _ends(places, now.place)
        parts = [self._carried(number, self._reasonable(number, place, near), place, now.place) for place in ends]
        if len(ends) < 2 or not rules.enabled("mask.between"):
            return parts
        one, two = (self._reasonable(number, place, near) for place in ends)
        swift = _distance(one, two) > SWIFT * (ends[1] - ends[0]) * min(*one.mask.shape, *two.mask.shape)
        if not swift and ends[1] - ends[0] <= BRIEF:
            return parts
        way = (now.place - ends[0]) / (ends[1] - ends[0])
        between = _interpolated(one, two, way, now.frame.displayed_size)
        # what the flow brings is of use only where it brings the thing, and not what the thing is behind
        return [
            *between,
            *(p for p in parts if p is not None and max(intersection_area(p, b) for b in between) >= ALONG * area(p)),
        ]

    def _leaving(self, number: int, now: MaskFrame, near: dict[int, MaskFrame], places: list[int]) -> list[Crop | None]:
        """Of a thing that is half out of the picture detectors see a shoe and miss the coat: what was seen of it a little
        further in, carried to `now`, as far as it lies along the borders that the thing touches."""
        height, width = now.frame.displayed_size
        band = round(EDGE_BAND * max(height, width))
        strip = np.zeros((height, width), bool)
        own = now.pieces[number]
        (top, left), (rows, columns) = own.corner, own.mask.shape
        reach = EDGE_NEAR * min(height, width)
        strip[: band if top <= reach else 0] = True
        strip[:, : band if left <= reach else 0] = True
        strip[height - band if top + rows >= height - reach else height :] = True
        strip[:, width - band if left + columns >= width - reach else width :] = True
        fuller = [
            p
            for p in places
            if 0 < abs(p - now.place) <= EDGE and area(near[p].pieces[number].crop) > FULLER * area(own.crop)
        ]
        if not fuller or not strip.any():
            return []
        best = min(fuller, key=lambda p: (abs(p - now.place), -area(near[p].pieces[number].crop)))
        carried = self._carried(number, near[best].pieces[number], best, now.place)
        if carried is None:
            return []
        mask, (y, x) = carried
        return [trim((mask & paste_crop((strip, (0, 0)), (y, x), mask.shape), (y, x)))]

    def _reasonable(self, number: int, place: int, near: dict[int, MaskFrame]) -> ObjectMask:
        """A thing's mask in frame `place`, without what nobody saw just before and just after if that is much."""
        piece = near[place].pieces[number]
        if (place, number) in self._checked:
            return self._checked[place, number]
        before = next(
            (p for p in range(place - 1, place - LOOKED - 1, -1) if p in near and number in near[p].pieces), None
        )
        after = next((p for p in range(place + 1, place + LOOKED + 1) if p in near and number in near[p].pieces), None)
        if before is None or after is None:
            return piece
        beside = [near[p].pieces[number] for p in (before, after)]
        parts = [self._carried(number, one, p, place) for one, p in zip(beside, (before, after), strict=True)]
        support = union([part for part in parts if part is not None])
        if support is not None:
            kept = piece.mask
            swollen = area(piece.crop) > SWOLLEN * max(area(one.crop) for one in beside)
            if swollen and rules.enabled("mask.swollen"):
                cut = kept & self._within(support, piece, SUPPORT_SHARE)
                kept = cut if np.count_nonzero(cut) >= KEPT_SHARE * area(support) else kept
            if after - before == 2 and rules.enabled("mask.static"):
                # the same background, seen as such before and after: two against one
                same = [self._motion.agreed(piece.corner, kept.shape, place, p) for p in (before, after)]
                kept = kept & ~(same[0] & same[1] & ~self._within(support, piece, RIM_SHARE))
            crop = trim((kept, piece.corner))
            if crop is not None and np.count_nonzero(kept) < np.count_nonzero(piece.mask):
                piece = ObjectMask(*crop, piece.score)
        self._checked[place, number] = piece
        return piece

    def _within(self, support: Crop, piece: ObjectMask, share: float) -> NDArray[np.bool_]:
        """bool of the piece's crop: where it is no farther from `support` than `share` of the frame's short side."""
        room = round(share * self._motion.short_side) + 1
        (y, x), (rows, columns) = piece.corner, piece.mask.shape
        roomy = paste_crop(support, (y - room, x - room), (rows + 2 * room, columns + 2 * room))
        return dilate(roomy, room)[room : room + rows, room : room + columns]

    def _carried(self, number: int, piece: ObjectMask, source: int, target: int, *, sure: bool = False) -> Crop | None:
        """A thing's mask of frame `source` as it lies in `target`; sure: only well inside, and where the two frames agree."""
        key = number, source, target
        if key not in self._moved or self._moved[key][0] is not piece:
            self._moved[key] = piece, self._motion.carry(piece.mask, piece.corner, source, target)
        moved = self._moved[key][1]
        if moved is None:
            return None
        mask, corner = moved[0] >= CERTAIN, moved[1]
        if sure:
            mask &= self._motion.agreed(corner, mask.shape, target, source)
            # its rim is background that moves otherwise: only what is well inside says that something is missing
            mask = erode(mask, RIM_SHARE * self._motion.short_side)
        return mask, corner


def _is_flash(here: ObjectMask, places: list[int], near: dict[int, MaskFrame]) -> bool:
    """Whether a thing is seen weakly, in one frame of many."""
    return len(places) == 1 and len(near) >= SETTLED and here.score < FLASH


def _crops(found: Instances) -> list[Crop]:
    return [(mask, (int(y), int(x))) for mask, (y, x) in zip(found.masks, found.corners, strict=True)]


def _region(pieces: dict[int, ObjectMask]) -> tuple[int, int, int, int] | None:
    """Rows and columns round all pieces; None when there are none: what is carried here may lie anywhere."""
    if not pieces:
        return None
    corners = np.array([piece.corner for piece in pieces.values()])
    ends = corners + np.array([piece.mask.shape for piece in pieces.values()])
    (y0, x0), (y1, x1) = corners.min(0).tolist(), ends.max(0).tolist()
    return y0, y1, x0, x1


def _distance(one: ObjectMask, two: ObjectMask) -> float:
    """Px between the middles of two pieces."""
    middles = [np.add(piece.corner, np.divide(piece.mask.shape, 2)) for piece in (one, two)]
    return float(np.hypot(*(middles[1] - middles[0])))


def _ends(places: list[int], now: int) -> list[int]:
    """From which frames a thing that was not found in `now` is carried there: the nearest before and after it."""
    past, future = [p for p in places if p < now], [p for p in places if p > now]
    if past and future:
        return [past[-1], future[0]]
    if len(places) < SETTLED:
        return []
    near = past[-1] if past else future[0]
    return [near] if abs(near - now) <= TAIL else []


def _majority(parts: list[Crop]) -> Crop | None:
    """Where at least two of the crops agree (one, when there are fewer than three), as one crop."""
    return union(parts, VOTES if len(parts) > VOTES else 1)


def _interpolated(one: ObjectMask, two: ObjectMask, way: float, size: tuple[int, int]) -> list[Crop]:
    """Both masks where their thing should be at `way` (0..1) between them, moving evenly: the flow there is of what hides it."""
    middles = [np.add(piece.corner, np.divide(piece.mask.shape, 2)) for piece in (one, two)]
    here = middles[0] + (middles[1] - middles[0]) * way
    out: list[Crop] = []
    for piece in (one, two):
        y, x = np.rint(here - np.divide(piece.mask.shape, 2)).astype(int).tolist()
        mask = piece.mask[max(-y, 0) : max(size[0] - y, 0), max(-x, 0) : max(size[1] - x, 0)]
        out.append((mask, (max(y, 0), max(x, 0))))
    return out


def _adjacent(own: Crop, more: Crop | None) -> Crop | None:
    """Those pieces of `more` that touch `own`: a carried speck in the middle of nowhere is an error of the motion."""
    if more is None:
        return None
    mask, (y, x) = more
    count, labels, _, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    spare = 2
    ours = np.zeros((mask.shape[0] + 2 * spare, mask.shape[1] + 2 * spare), np.uint8)
    top, left = own[1][0] - y + spare, own[1][1] - x + spare
    rows = slice(max(top, 0), max(top + own[0].shape[0], 0))
    columns = slice(max(left, 0), max(left + own[0].shape[1], 0))
    part = own[0][max(-top, 0) :, max(-left, 0) :]
    room = ours[rows, columns]
    room[:] = part[: room.shape[0], : room.shape[1]]
    near = cv2.dilate(ours, np.ones((2 * spare + 1, 2 * spare + 1), np.uint8))[spare:-spare, spare:-spare] > 0
    touching = np.zeros(count, bool)
    touching[np.unique(labels[near])] = True
    touching[0] = False
    return touching[labels], more[1]
