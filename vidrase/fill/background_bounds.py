"""What a place looks like in the light: other moments laid over one, and of what they show there the brightest that lasts.

And the darkest: what is beyond both is foreign to the place.

A shadow overlaps itself from frame to frame, and that of a slow thing through the whole window: where there is an album, moments
spread over the whole shot are looked at as well.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.colour import to_rgb8
from vidrase.frames import Frame, Orientation
from vidrase.keyframes import KeyframeMosaic

Matrix = NDArray[np.float64]

SIDE = 240  # px: long side of the pictures compared
BLUR = 1.5  # px: motion is known to about a pixel
LEAST_MOMENTS = 3  # that must show a place
SURE = 6  # that must, to say what does not belong there
LIT, LIGHT = (0.3, 2), (0.1, 0)
"""Share of the moments, and how many at most, that are brighter than what counts as lit, and than the brightest that counts."""
ENOUGH = 20  # px in steps of `COARSE` that must be shown by both for the light to be compared
COARSE = 4
NEAR = 0.8  # of its longer side: how far from a thing its shadow may lie
MARGIN = 24  # px beyond the borders: the camera moves while a picture serves


def reduced_size(frame: Frame) -> tuple[int, int]:
    """(height, width) of the pictures compared, as stored; shadows fall downward as displayed."""
    height, width = frame.size
    scale = min(1.0, SIDE / max(height, width))
    return max(round(height * scale), 1), max(round(width * scale), 1)


def reduced_rgb(frame: Frame) -> NDArray[np.float32]:
    """RGB [h, w, 3] as displayed, grey levels, reduced and blurred."""
    rgb = to_rgb8(frame.planes, frame.layout, size=reduced_size(frame)).astype(np.float32)
    return np.ascontiguousarray(frame.orientation.to_display(cv2.GaussianBlur(rgb, (0, 0), BLUR)), np.float32)


def reduced_mask(mask: NDArray[np.bool_], frame: Frame) -> NDArray[np.bool_]:
    """bool [h, w] as displayed, reduced: where any of `mask`, bool [H, W] of the `frame`, is."""
    shown = cv2.resize(mask.astype(np.uint8) * 255, reduced_size(frame)[::-1], interpolation=cv2.INTER_AREA) > 0
    return np.ascontiguousarray(frame.orientation.to_display(shown))


def stored_at(orientation: Orientation, height: int, width: int) -> Matrix:
    """From displayed px to px of the picture as stored, `height` x `width`: [3, 3]."""
    across = orientation.displayed_size(height, width)[1]
    mirror = np.array([[-1.0, 0, across - 1], [0, 1, 0], [0, 0, 1]]) if orientation.mirrored else np.eye(3)
    turns = (
        np.eye(3),
        np.array([[0.0, 1, 0], [-1, 0, height - 1], [0, 0, 1]]),
        np.array([[-1.0, 0, width - 1], [0, -1, height - 1], [0, 0, 1]]),
        np.array([[0.0, -1, width - 1], [1, 0, 0], [0, 0, 1]]),
    )
    return turns[orientation.quarter_turns % 4] @ mirror


@dataclass(frozen=True, slots=True, eq=False)
class BackgroundBounds:
    """A region as it looks in the light."""

    rgb: NDArray[np.float32]
    """[h, w, 3] grey levels."""
    dim: NDArray[np.float32]
    """[h, w, 3] the darkest that lasts."""
    spread: NDArray[np.float32]
    """[h, w] grey levels by which the brightest moments differ."""
    known: NDArray[np.bool_]
    """[h, w] whether enough moments show it."""
    sure: NDArray[np.bool_]
    """[h, w] whether enough do to say what does not belong there."""
    has_evidence: NDArray[np.bool_]
    """[h, w] whether enough do while nothing is near that may shade it."""

    def of(self, part: tuple[slice, slice]) -> BackgroundBounds:
        """A part of the region."""
        return BackgroundBounds(*(getattr(self, field.name)[part] for field in fields(self)))


@dataclass(slots=True, eq=False)
class RankFilter:
    """The brightest and the darkest that moments show of a region, channel by channel: memory does not grow with their number."""

    bright: NDArray[np.uint8]
    """[ranks, h, w, 3] the brightest first."""
    dark: NDArray[np.uint8]
    """[ranks, h, w, 3] the darkest first."""
    count: NDArray[np.intp]
    """[h, w] of moments that show it."""
    apart: NDArray[np.intp]
    """[h, w] of those in which nothing is near."""

    @classmethod
    def of(cls, size: tuple[int, ...]) -> RankFilter:
        """Of none, for a region [h, w]."""
        ranks = np.zeros((LIT[1] + 1, *size, 3), np.uint8)
        return cls(ranks, ~ranks, np.zeros(size, np.intp), np.zeros(size, np.intp))

    def add(self, rgb: NDArray[np.float32], seen: NDArray[np.bool_], apart: NDArray[np.bool_]) -> None:
        """One moment more, brought to the region and its light, where it shows it, and where nothing is near."""
        rest = np.clip(rgb, 0, 255).astype(np.uint8) * seen[..., None]
        more = rest | ~seen[..., None] * np.uint8(255)
        for held in self.bright:
            less = np.minimum(held, rest)
            np.maximum(held, rest, out=held)
            rest = less
        for held in self.dark:
            less = np.maximum(held, more)
            np.minimum(held, more, out=held)
            more = less
        self.count += seen
        self.apart += seen & apart

    def at(self, way: Matrix, corner: tuple[int, int], size: tuple[int, ...]) -> RankFilter:
        """The region of `size` at `corner` (y, x) from which the homography `way` leads into this one."""
        known = self.count > 0
        bright, dark = (
            np.stack([warp_region(one, known, way, corner, size)[0] for one in ranked])
            for ranked in (self.bright, self.dark)
        )
        counts, seen = warp_region(np.dstack([self.count, self.apart]).astype(np.float32), known, way, corner, size)
        count, apart = cv2.split(np.where(seen[..., None], np.rint(counts), 0).astype(np.float32))
        dark[:, ~seen] = 255
        return RankFilter(bright, dark, count.astype(np.intp), apart.astype(np.intp))

    def lit(self) -> BackgroundBounds | None:
        """What lasts of it; None: too few moments."""
        known = self.count >= LEAST_MOMENTS
        if not known.any():
            return None

        def rank(ranked: NDArray[np.uint8], share: float, most: int) -> NDArray[np.float32]:
            place = np.minimum(np.rint(share * np.maximum(self.count - 1, 0)), most).astype(np.intp)
            return np.take_along_axis(ranked, place[None, ..., None], 0)[0].astype(np.float32)

        lit, dim = rank(self.bright, *LIT), rank(self.dark, *LIT)
        wander = luma_of(rank(self.bright, *LIGHT)) - luma_of(lit)
        return BackgroundBounds(lit, dim, wander, known, self.count >= SURE, self.apart >= LEAST_MOMENTS)


def warp_region(
    picture: NDArray, free: NDArray[np.bool_], way: Matrix, corner: tuple[int, int], size: tuple[int, ...]
) -> tuple[NDArray, NDArray[np.bool_]]:
    """The region of `size` at `corner` (y, x), from which `way` leads to a picture, as that shows it, and where it is `free`."""
    matrix = way @ np.array([[1.0, 0, corner[1]], [0, 1, corner[0]], [0, 0, 1]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    shown = cv2.warpPerspective(picture, matrix, (size[1], size[0]), flags=flags)
    seen = cv2.warpPerspective(free.astype(np.float32), matrix, (size[1], size[0]), flags=flags)
    return shown, seen > 0.99


def match_exposure(
    shown: NDArray[np.float32], seen: NDArray[np.bool_], own: NDArray[np.float32], free: NDArray[np.bool_]
) -> NDArray[np.float32] | None:
    """`shown` in the light of `own`, judged where both show the background; None where that is too little."""
    step = np.s_[::COARSE, ::COARSE]
    use = (seen & free)[step]
    if np.count_nonzero(use) < ENOUGH:
        return None
    light = np.median(own[step][use] / np.maximum(shown[step][use], 4), axis=0)
    return np.asarray(shown * light.astype(np.float32), np.float32)


def near_objects(things: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """bool [h, w]: where what is in the way may cast a shadow."""
    if not things.any():
        return things
    rows, columns = np.flatnonzero(things.any(1)), np.flatnonzero(things.any(0))
    reach = NEAR * (max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1)
    away = cv2.distanceTransform((~things).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_3)
    return np.asarray(away < reach, bool)


def bounds_from_thumbnails(
    album: KeyframeMosaic,
    index: int,
    orientation: Orientation,
    around: int,
    own: NDArray[np.float32],
    free: NDArray[np.bool_],
) -> RankFilter:
    """The frame `index` and `MARGIN` around it, from moments of the whole shot more than `around` frames away.

    own: float32 [h, w, 3] as of `small`; free: bool [h, w] where it shows the background; both as displayed.
    """
    height, width = free.shape
    stored = orientation.displayed_size(height, width)  # the swap is its own inverse
    turned = stored_at(orientation, *stored)
    corner, size = (-MARGIN, -MARGIN), (height + 2 * MARGIN, width + 2 * MARGIN)
    own = cv2.copyMakeBorder(own, MARGIN, MARGIN, MARGIN, MARGIN, cv2.BORDER_CONSTANT).astype(np.float32)
    free = np.pad(free, MARGIN)
    out = RankFilter.of(size)
    for glimpse in album.thumbnails:
        way = album.homography_to(index, glimpse, stored) if abs(glimpse.index - index) > around else None
        if way is not None:
            way = way @ turned
            shown, seen = warp_region(glimpse.rgb, glimpse.known, way, corner, size)
            lit = match_exposure(cv2.GaussianBlur(shown.astype(np.float32), (0, 0), BLUR), seen, own, free)
            if lit is not None:
                out.add(
                    lit, seen, warp_region(glimpse.rgb[..., 0], ~near_objects(~glimpse.known), way, corner, size)[1]
                )
    return out


def luma_of(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """[h, w] of RGB [h, w, 3]."""
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.float32)
