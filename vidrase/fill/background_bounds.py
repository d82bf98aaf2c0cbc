"""Background bounds: the highest and lowest value that each pixel of the background has in registered frames of the shot.

The highest is the background without shadow (lit). A value outside the bounds belongs to the foreground.

A shadow overlaps itself in neighbouring frames, and the shadow of a slow object overlaps itself through the whole window. So the
thumbnails of the key frame mosaic, which are spread over the shot, are used as well.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.frames import Orientation
from vidrase.keyframes import KeyframeMosaic
from vidrase.light import (
    MAX_AMPLIFICATION,
    MAX_BURNT_SHARE,
    MAX_MISFIT,
    MIN_GAIN_OF_FIT,
    burnt_share,
    fit_gain,
    spread_of,
)

Matrix = NDArray[np.float64]

# Evidence for residual.cast, residual.shot_light: `rules.py`. Values of constants without a figure have no record yet.
SIDE = 240  # px: long side of the reduced frames that are compared
BLUR = 1.5  # px, standard deviation: registration is accurate to about a pixel
MIN_FRAMES = 3  # frames that must show a pixel; with fewer its bounds are unknown
MIN_FRAMES_SURE = 6  # frames that must show a pixel before a value outside its bounds counts as foreground
RANKS = 3  # values kept of each pixel: the third brightest counts as lit, with fewer than `MIN_FRAMES_SURE` frames the second
EXPOSURE_SAMPLES = 1000  # pixels at which the exposure of two frames is compared, at most about
MIN_SAMPLES = 20  # samples that both frames must show; with fewer the exposure is not matched
MIN_LIGHT_ERROR, MIN_LIGHT_CHANGE = 12.0, 0.15
"""Median error of the gains in grey levels, and logarithm of a gain, from which on the light may have changed by more than
exposure."""
MIN_SAMPLE_STEP = 4  # px between those samples, at least
SHADOW_REACH = 0.8  # of an object's longer side: its shadow may lie this far from it
MARGIN = 24  # px beyond the frame's borders: the camera moves while the bounds are in use
LEVELS = np.arange(256, dtype=np.float32)[None, :, None]
ALL_FREE = 253  # of 255: a warped mask is True from this value on; all pixels that it is interpolated from are


@dataclass(frozen=True, slots=True, eq=False)
class BackgroundBounds:
    """Bounds of the background in a region."""

    rgb: NDArray[np.float32]
    """[h, w, 3] upper bound (lit), grey levels."""
    dim: NDArray[np.float32]
    """[h, w, 3] lower bound, grey levels."""
    spread: NDArray[np.float32]
    """[h, w] spread of the brightest values, grey levels."""
    known: NDArray[np.bool_]
    """[h, w] whether enough frames show the pixel (`MIN_FRAMES`)."""
    sure: NDArray[np.bool_]
    """[h, w] whether enough frames show it to tell foreground (`MIN_FRAMES_SURE`)."""
    has_evidence: NDArray[np.bool_]
    """[h, w] whether enough frames show it far from objects that may shade it (`MIN_FRAMES`)."""

    def of(self, part: tuple[slice, slice]) -> BackgroundBounds:
        """The bounds of a part (rows, columns) of the region."""
        return BackgroundBounds(*(getattr(self, field.name)[part] for field in fields(self)))


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """A reduced picture, ready to be registered to others."""

    rgba: NDArray[np.uint8]
    """[h, w, 4] RGB, 0..255, and 255 where it shows background."""
    unshaded: NDArray[np.uint8]
    """[h, w] 255 where it shows background and no object is near."""

    @classmethod
    def of(cls, rgb: NDArray[np.uint8], free: NDArray[np.bool_]) -> Observation:
        """Of a picture, uint8 [h, w, 3], in which `free` pixels, bool [h, w], show background."""
        alpha = free.astype(np.uint8) * np.uint8(255)
        return cls(
            cv2.merge([*cv2.split(rgb), alpha]), cv2.bitwise_and(alpha, alpha, mask=_as_bytes(~near_objects(~free)))
        )


@dataclass(slots=True, eq=False)
class RankFilter:
    """The few brightest and darkest values of each pixel and channel over frames: memory does not grow with their number."""

    ranks: NDArray[np.uint8]
    """[RANKS, 2, h, w, 3] brightest first: of the values, and of 255 minus the values."""
    count: NDArray[np.uint8]
    """[h, w] number of frames that show the pixel, 255 at most."""
    unshaded: NDArray[np.uint8]
    """[h, w] number of those in which no object is near it."""

    @classmethod
    def of(cls, size: tuple[int, ...]) -> RankFilter:
        """An empty filter for a region [h, w]."""
        return cls(np.zeros((RANKS, 2, *size, 3), np.uint8), np.zeros(size, np.uint8), np.zeros(size, np.uint8))

    def add(self, observation: Observation, homography: Matrix, corner: tuple[int, int], exposure: Exposure) -> None:
        """Add a picture, warped to the region at `corner` (y, x) and matched in exposure; nothing if that cannot be matched.

        homography: from px of the frame that holds the region to px of the picture. exposure: of the region in that frame.
        """
        size = self.count.shape
        warped = warp_region(observation.rgba, homography, corner, size)
        rgb, valid = cv2.cvtColor(warped, cv2.COLOR_RGBA2RGB), _all_free(cv2.extractChannel(warped, 3))
        table = exposure.table_for(rgb, valid)
        if table is None:
            return
        matched = cv2.LUT(rgb, table)
        candidate = np.stack([cv2.bitwise_and(matched, matched, mask=valid), cv2.bitwise_not(matched, mask=valid)])
        displaced = np.empty_like(candidate)
        for rank in self.ranks:
            np.minimum(rank, candidate, out=displaced)
            np.maximum(rank, candidate, out=rank)
            candidate, displaced = displaced, candidate
        far = _all_free(warp_region(observation.unshaded, homography, corner, size))
        for counter, mask in ((self.count, valid), (self.unshaded, far)):
            cv2.add(counter, 1, dst=counter, mask=mask)

    def at(self, homography: Matrix, corner: tuple[int, int], size: tuple[int, ...]) -> RankFilter:
        """The filter warped to a region of `size` at `corner` (y, x); `homography` leads from its px to px of this region."""
        counts = cv2.merge([self.count, self.unshaded, _as_bytes(self.count > 0)])
        warped = warp_region(counts, homography, corner, size)
        inside = _all_free(cv2.extractChannel(warped, 2))
        count, unshaded = (cv2.bitwise_and(part, part, mask=inside) for part in cv2.split(warped)[:2])
        ranks = [
            [
                cv2.bitwise_and(part, part, mask=inside)
                for part in (warp_region(image, homography, corner, size) for image in pair)
            ]
            for pair in self.ranks
        ]
        return RankFilter(np.array(ranks, np.uint8), count, unshaded)

    def bounds(self) -> BackgroundBounds | None:
        """The bounds; None when no pixel is shown by enough frames."""
        known, sure = self.count >= MIN_FRAMES, self.count >= MIN_FRAMES_SURE
        if not known.any():
            return None
        lit, inverse = (
            cv2.copyTo(self.ranks[2, side], _as_bytes(sure), self.ranks[1, side].copy()).astype(np.float32)
            for side in (0, 1)
        )
        spread = luma_of(self.ranks[0, 0].astype(np.float32)) - luma_of(lit)
        return BackgroundBounds(lit, 255 - inverse, spread, known, sure, self.unshaded >= MIN_FRAMES)


def warp_region(image: NDArray, homography: Matrix, corner: tuple[int, int], size: tuple[int, ...]) -> NDArray:
    """`image`, uint8 [h, w] or [h, w, C], warped to the region of `size` at `corner` (y, x); 0 beyond its borders.

    homography: from px of the frame that holds the region to px of `image`.
    """
    matrix = homography @ np.array([[1.0, 0, corner[1]], [0, 1, corner[0]], [0, 0, 1]])
    return cv2.warpPerspective(image, matrix, (size[1], size[0]), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def _all_free(warped: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 [h, w]: 255 where all pixels that a warped mask, 0..255, was interpolated from are True, else 0."""
    return np.asarray(cv2.threshold(warped, ALL_FREE - 1, 255, cv2.THRESH_BINARY)[1], np.uint8)


def _as_bytes(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """uint8 [h, w]: 255 where `mask` is True, else 0."""
    return mask.view(np.uint8) * np.uint8(255)


class Exposure:
    """The exposure of a region, to which that of registered pictures is matched."""

    def __init__(self, rgb: NDArray[np.uint8], visible: NDArray[np.bool_]) -> None:
        """rgb: uint8 [h, w, 3] the region. visible: bool [h, w] where it shows the background."""
        step = max(int(np.sqrt(visible.size / EXPOSURE_SAMPLES)), MIN_SAMPLE_STEP)
        self._grid = np.s_[::step, ::step]
        self._rgb, self._visible = rgb[self._grid].astype(np.float32), visible[self._grid]

    def table_for(self, warped: NDArray[np.uint8], valid: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
        """uint8 [1, 256, 3]: for each value of `warped`, uint8 [h, w, 3], its value at this exposure; None: too few samples, or a
        light that cannot be matched.

        valid: uint8 [h, w], 0 where `warped` does not show the background. The gain of each channel is the median ratio; where
        the light has changed, gain and offset are fitted.
        """
        shared = self._visible & (valid[self._grid] > 0)
        count = np.count_nonzero(shared)
        if count < MIN_SAMPLES:
            return None
        here, there = self._rgb[shared], warped[self._grid][shared].astype(np.float32)
        ratios = np.sort((here / np.maximum(there, 4)).T, axis=1)
        gain = (ratios[:, (count - 1) // 2] + ratios[:, count // 2]) / 2
        error = np.median(np.abs(there * gain - here).max(1))
        if not rules.enabled("residual.light") or (
            error < MIN_LIGHT_ERROR and np.abs(np.log(gain)).max() < MIN_LIGHT_CHANGE
        ):
            return cv2.convertScaleAbs(LEVELS * gain)
        fitted = fit_gain(there, here)
        if fitted is None:
            return cv2.convertScaleAbs(LEVELS * gain)
        if (
            fitted[2] > MAX_MISFIT * spread_of(here)
            or fitted[0].max() > MAX_AMPLIFICATION
            or burnt_share(there, here) > MAX_BURNT_SHARE
        ):
            return None
        if fitted[2] < MIN_GAIN_OF_FIT * error:
            return np.clip(np.rint(LEVELS * fitted[0] + fitted[1]), 0, 255).astype(np.uint8)
        return cv2.convertScaleAbs(LEVELS * gain)


def near_objects(objects: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """bool [h, w]: pixels near `objects`, bool [h, w], on which their shadows may fall."""
    if not objects.any():
        return objects
    rows, columns = np.flatnonzero(objects.any(1)), np.flatnonzero(objects.any(0))
    reach = SHADOW_REACH * (max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1)
    distance = cv2.distanceTransform((~objects).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_3)
    return np.asarray(distance < reach, bool)


def ranks_from_thumbnails(
    mosaic: KeyframeMosaic,
    index: int,
    orientation: Orientation,
    around: int,
    rgb: NDArray[np.uint8],
    visible: NDArray[np.bool_],
    observations: dict[int, Observation] | None = None,
) -> RankFilter | None:
    """Rank filter for frame `index`, padded by `MARGIN`, from thumbnails of the shot more than `around` frames away.

    rgb: uint8 [h, w, 3] as of `ReducedFrame`. visible: bool [h, w] where it shows the background. Both as displayed.
    observations: of this mosaic, by frame index; those that are missing are added. Returns None when the shot has no such
    thumbnails.
    """
    height, width = visible.shape
    stored = orientation.displayed_size(height, width)  # swapping height and width is its own inverse
    to_stored = orientation.points_to_stored(*orientation.displayed_size(*stored))
    overlapping = []
    for thumbnail in mosaic.thumbnails:
        homography = mosaic.homography_to(index, thumbnail, stored) if abs(thumbnail.index - index) > around else None
        if homography is not None and _overlaps(homography @ to_stored, visible.shape, thumbnail.known.shape):
            overlapping.append((thumbnail, homography @ to_stored))
    if not overlapping:
        return None
    corner, size = (-MARGIN, -MARGIN), (height + 2 * MARGIN, width + 2 * MARGIN)
    rgb = cv2.copyMakeBorder(rgb, MARGIN, MARGIN, MARGIN, MARGIN, cv2.BORDER_CONSTANT).astype(np.uint8)
    exposure, ranks = Exposure(rgb, np.pad(visible, MARGIN)), RankFilter.of(size)
    seen = {} if observations is None else observations
    for thumbnail, homography in overlapping:
        if thumbnail.index not in seen:
            blurred = cv2.GaussianBlur(thumbnail.rgb, (0, 0), BLUR * thumbnail.rgb.shape[1] / stored[1])
            seen[thumbnail.index] = Observation.of(np.asarray(blurred, np.uint8), thumbnail.known)
        ranks.add(seen[thumbnail.index], homography, corner, exposure)
    return ranks


def _overlaps(homography: Matrix, shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether a frame of `shape` and a picture of the shape `other`, to which `homography` leads, may show the same place."""
    height, width = shape
    corners = homography @ np.array([[0, width, width, 0], [0, 0, height, height], [1, 1, 1, 1]])
    if (corners[2] <= 0).any():
        return True  # the horizon lies in the frame: the corners tell nothing
    x, y = corners[:2] / corners[2]
    return bool(x.max() > 0 and y.max() > 0 and x.min() < other[1] and y.min() < other[0])


def luma_of(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """Luma float32 [h, w] of RGB float32 [h, w, 3]."""
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.float32)
