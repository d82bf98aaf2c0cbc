"""Pictures of a shot with a moving camera, kept with where they lie: what is hidden now may be seen minutes later.

The survey's looks are laid one over the other by homographies, each against the oldest kept picture that shows enough of it, so
that errors do not add up and a camera that comes back finds what it left. A picture is kept when it shows something that no
kept one shows. It is a mosaic that is never painted: the fill takes from the single pictures, sharp and as they were.

Invariant: memory is fixed when the first frame is seen, but for 80 bytes a look.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.camera import CameraMotion, fit_camera
from vidrase.colour import to_rgb8
from vidrase.flow import FlowModel
from vidrase.frames import Frame

MEMORY = 192 << 20
"""Bytes of planes kept a shot."""
MOST, LEAST = 32, 4
NEW, LITTLE = 0.04, 0.003
"""Share of a look that no kept picture shows, from which it is kept at once, and from which it waits for a better one."""
OVERLAP = 0.35
"""Share of a look that a kept picture must show for the look to be laid over it."""
SUPPORT = 0.5
"""Share of the flow that must follow one homography, for a look to be placed by a kept picture."""
LEAST_SUPPORT = 0.25
"""The same for two looks in succession: where a thing lies need not be exact, the fill measures it anew."""
LEAST_SEEN = 0.15
"""Share of a look that must be seen in both, for a homography between them to be measured."""
NEAR = 8
"""Frames from the nearest look beyond which nothing is known of a frame's place."""
LEAST_SCALE = 1 / 16
"""Area that a look may show, as a multiple or a share of what the first one of its part shows."""
COARSE = 8  # small px a side of the cells in which is counted what is shown
THUMBNAILS = 64
"""Small pictures kept, at most, of moments evenly spread over the shot."""

Matrix = NDArray[np.float64]
Luma = NDArray[np.uint8]
Known = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Keyframe:
    """A picture that is kept."""

    frame: Frame
    """Without the decoder's own frame."""
    hole: NDArray[np.uint8]
    """What may be in the way, bits of bool [H, W]; see `hidden`."""
    luma: Luma
    """[h, w] small."""
    known: Known
    """[h, w] small: nothing in the way, nor near."""
    place: Matrix
    """Homography from its small px to those of the first picture of its part."""
    part: int

    def hidden(self) -> NDArray[np.bool_]:
        """bool [H, W] of the frame, stored orientation: what may be in the way, with a border."""
        height, width = self.frame.size
        return np.unpackbits(self.hole, count=height * width).reshape(height, width).astype(bool)


@dataclass(frozen=True, slots=True, eq=False)
class Thumbnail:
    """A moment, small."""

    index: int
    """Of the frame."""
    rgb: NDArray[np.uint8]
    """[h, w, 3] small."""
    known: Known
    """[h, w] small: nothing in the way, nor near."""
    place: Matrix
    part: int
    """Both as of a `Page`."""


@dataclass(frozen=True, slots=True, eq=False)
class KeyframeMosaic:
    """The kept pictures of one shot."""

    key_frames: tuple[Keyframe, ...]
    thumbnails: tuple[Thumbnail, ...]
    """In order of time."""
    size: tuple[int, int]
    """(height, width) of the small pictures, in whose px the homographies are."""
    _looks: array[int]
    """Frame indices."""
    _parts: array[int]
    """Of each look: which pages its place refers to."""
    _places: array[float]
    """Nine of each look."""

    def place(self, index: int) -> tuple[int, Matrix] | None:
        """(part, homography from small px to those of the part) of frame `index`, between looks in proportion; None: unknown."""
        after = bisect_right(self._looks, index)
        near = [k for k in (after - 1, after) if 0 <= k < len(self._looks) and abs(self._looks[k] - index) <= NEAR]
        if not near:
            return None
        if len(near) == 2 and self._parts[near[0]] == self._parts[near[1]]:
            share = (index - self._looks[near[0]]) / (self._looks[near[1]] - self._looks[near[0]])
            return self._parts[near[0]], (1 - share) * self._matrix(near[0]) + share * self._matrix(near[1])
        closest = min(near, key=lambda k: abs(self._looks[k] - index))
        return self._parts[closest], self._matrix(closest)

    @property
    def nbytes(self) -> int:
        """Memory held, but for the places."""
        pages = sum(sum(plane.nbytes for plane in page.frame.planes) + page.hole.nbytes for page in self.key_frames)
        return pages + sum(glimpse.rgb.nbytes + glimpse.known.nbytes for glimpse in self.thumbnails)

    def homography_to(self, index: int, kept: Keyframe | Thumbnail, size: tuple[int, int]) -> Matrix | None:
        """Homography from px of frame `index` at `size` (height, width) to small px of what is kept; None: it is unknown."""
        lies = self.place(index)
        if lies is None or lies[0] != kept.part:
            return None
        high, wide = self.size[0] / size[0], self.size[1] / size[1]
        down = np.array([[wide, 0, (wide - 1) / 2], [0, high, (high - 1) / 2], [0, 0, 1]])
        return np.asarray(_inverse(kept.place) @ lies[1] @ down)

    def _matrix(self, look: int) -> Matrix:
        return np.array(self._places[9 * look : 9 * look + 9]).reshape(3, 3)


def register(
    flow: FlowModel, a: Luma, a_known: Known, b: Luma, b_known: Known, guess: Matrix, *, rounds: int = 2
) -> CameraMotion | None:
    """The homography from `a` to `b` (uint8 [H, W], bool [H, W]: to go by), from a `guess`; None: little in common.

    One picture is laid over the other and what is left is measured, so that any distance can be bridged.
    """
    columns, rows = np.meshgrid(np.arange(a.shape[1], dtype=np.float32), np.arange(a.shape[0], dtype=np.float32))
    camera = CameraMotion(guess, 1.0)
    for _ in range(rounds):
        x, y = camera.points(columns, rows)
        there = cv2.remap(b, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        shown = cv2.remap(b_known.astype(np.uint8), x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT) > 0
        both = shown & a_known
        if both.mean() < LEAST_SEEN:
            return None
        rest = flow(a[None], np.where(both, there, a)[None])[0]
        # patches that touch what only one of them shows have measured that
        sure = cv2.erode(both.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
        x, y = camera.points(columns + rest[..., 0], rows + rest[..., 1])
        camera = fit_camera(np.dstack([x - columns, y - rows]), sure)
    return camera


@dataclass(slots=True, eq=False)
class KeyframeMosaicBuilder:
    """Sees the looks of one shot, in order."""

    flow: FlowModel
    most: int
    _pages: list[Keyframe] = field(default_factory=list)
    _looks: array[int] = field(default_factory=lambda: array("q"))
    _parts: array[int] = field(default_factory=lambda: array("l"))
    _places: array[float] = field(default_factory=lambda: array("d"))
    _last: tuple[Luma, Known, int, Matrix] | None = None
    _motion: Matrix = field(default_factory=lambda: np.eye(3))
    """From the last look to the one before it."""
    _part: int = 0
    _waiting: tuple[float, Keyframe] | None = None
    """The look that shows most of what no kept picture shows, not enough to be kept yet."""
    _glimpses: list[Thumbnail] = field(default_factory=list)
    _every: int = 1
    """Looks from one glimpse to the next."""

    @classmethod
    def of(cls, frame: Frame, flow: FlowModel) -> KeyframeMosaicBuilder:
        """For a shot of frames like `frame`. flow: between small pictures."""
        size = sum(plane.nbytes for plane in frame.planes)
        return cls(flow, int(np.clip(MEMORY // max(size, 1), LEAST, MOST)))

    def add(self, frame: Frame, hole: NDArray[np.bool_] | None, luma: Luma, known: Known) -> None:
        """Take in a look. hole: bool [H, W] what may be in the way; luma, known: uint8, bool [h, w] small, see `Page`."""
        place = self._placed(luma, known)
        if place is None:
            self._part += 1
            part, place = self._part, np.eye(3)
        else:
            part = self._part
        if self._last is not None and self._last[2] == part:
            self._motion = _inverse(self._last[3]) @ place
        else:
            self._motion = np.eye(3)
        self._last = luma, known, part, place
        self._looks.append(frame.index)
        self._parts.append(part)
        self._places.extend(place.ravel())
        self._glimpse(frame, known, part, place)
        new = self._new(known, part, place)
        waiting = self._waiting
        if waiting is not None and (new > NEW or new < waiting[0] / 2 or waiting[1].part != part):
            # what it shows is out of sight again, or has grown to more
            self._waiting = None
            if new < waiting[0]:
                self._keep(waiting[1])
                new = self._new(known, part, place)
        if new > LITTLE and (self._waiting is None or new >= self._waiting[0]):
            bits = np.packbits(np.zeros(frame.size, bool) if hole is None else hole)
            page = Keyframe(replace(frame, native=None), bits, luma, known, place, part)
            if new > NEW:
                self._keep(page)
            else:
                self._waiting = new, page

    def _glimpse(self, frame: Frame, known: Known, part: int, place: Matrix) -> None:
        """Keep the look as a glimpse if it is one's turn."""
        if (len(self._looks) - 1) % self._every:
            return
        rgb = to_rgb8(frame.planes, frame.layout, size=(known.shape[0], known.shape[1]))
        self._glimpses.append(Thumbnail(frame.index, rgb, known, place, part))
        if len(self._glimpses) > THUMBNAILS:
            self._glimpses, self._every = self._glimpses[::2], 2 * self._every

    def _keep(self, page: Keyframe) -> None:
        self._pages.append(page)
        if len(self._pages) > self.most:
            self._pages.pop(self._least())

    def finish(self) -> KeyframeMosaic | None:
        """What was kept; None when that is one picture, from which nothing can be taken that a neighbour does not show."""
        if self._waiting is not None:
            self._keep(self._waiting[1])
            self._waiting = None
        if self._last is None or len(self._pages) < 2:
            return None
        pages, glimpses = tuple(self._pages), tuple(self._glimpses)
        height, width = self._last[0].shape
        return KeyframeMosaic(pages, glimpses, (height, width), self._looks, self._parts, self._places)

    def _placed(self, luma: Luma, known: Known) -> Matrix | None:
        """Where a look lies in the current part: over a kept picture if one fits, else over the look before."""
        if self._last is None:
            return None
        before, before_known, part, before_place = self._last
        guess = before_place @ self._motion
        over = [page for page in self._pages if page.part == part]
        over = [page for page in over if _seen(page.known, _inverse(page.place) @ guess, known) > OVERLAP * known.size]
        for page in dict.fromkeys((*over[:1], *over[-1:])):  # the oldest first: the fewer steps, the fewer errors
            found = register(self.flow, luma, known, page.luma, page.known, _inverse(page.place) @ guess)
            if found is not None and found.support > SUPPORT:
                return _sound(page.place @ found.homography)
        found = register(self.flow, luma, known, before, before_known, self._motion)
        if found is None or found.support < LEAST_SUPPORT:
            return None
        return _sound(before_place @ found.homography)

    def _new(self, known: Known, part: int, place: Matrix) -> float:
        """Share of the look that no kept picture shows."""
        fresh = _shrunk(known)
        for page in self._pages:
            if page.part == part:
                fresh = fresh & ~_warped(page.known, _inverse(page.place) @ place, known.shape)
        return float(fresh.mean())

    def _least(self) -> int:
        """The kept picture that the others make up for best; never the newest, which was just found to show something new."""
        unique = []
        for number, page in enumerate(self._pages[:-1]):
            alone = _shrunk(page.known)
            for other, there in enumerate(self._pages):
                if other != number and there.part == page.part:
                    alone = alone & ~_warped(there.known, _inverse(there.place) @ page.place, page.known.shape)
            unique.append(float(alone.mean()))
        return int(np.argmin(unique))


def _inverse(matrix: Matrix) -> Matrix:
    return np.linalg.inv(matrix).astype(np.float64)


def _sound(place: Matrix) -> Matrix | None:
    """`place` with a 1 at the end; None where it is no view of the part's first picture any more, but a sum of errors."""
    if not np.isfinite(place).all() or abs(place[2, 2]) < LEAST_SCALE:
        return None
    place = place / place[2, 2]
    scale = float(np.linalg.det(place[:2, :2]))
    return place.astype(np.float64) if LEAST_SCALE < scale < 1 / LEAST_SCALE else None


def _shrunk(known: Known) -> Known:
    """bool, a cell each: nothing in the way anywhere in it."""
    size = (max(known.shape[1] // COARSE, 1), max(known.shape[0] // COARSE, 1))
    return cv2.resize(known.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA) > 127


def _warped(known: Known, to_it: Matrix, shape: tuple[int, ...]) -> Known:
    """bool, a cell each of a look of `shape`: what is `known` in a picture to which the homography `to_it` leads."""
    rows, columns = max(shape[0] // COARSE, 1), max(shape[1] // COARSE, 1)
    x, y = np.meshgrid(
        (np.arange(columns, dtype=np.float32) + 0.5) * (shape[1] / columns) - 0.5,
        (np.arange(rows, dtype=np.float32) + 0.5) * (shape[0] / rows) - 0.5,
    )
    x, y = CameraMotion(to_it, 1.0).points(x.astype(np.float32), y.astype(np.float32))
    return cv2.remap(known.astype(np.uint8), x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT) > 0


def _seen(page: Known, to_page: Matrix, known: Known) -> float:
    """Small px of a look that are known both there and in the picture."""
    cells = _shrunk(known) & _warped(page, to_page, known.shape)
    return float(cells.mean()) * known.size
