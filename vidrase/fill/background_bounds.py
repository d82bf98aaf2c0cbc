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

from vidrase.colour import to_rgb8
from vidrase.frames import Frame, Orientation
from vidrase.keyframes import KeyframeMosaic

Matrix = NDArray[np.float64]

SIDE = 240  # px: long side of the reduced frames that are compared
BLUR = 1.5  # px, standard deviation: registration is accurate to about a pixel
MIN_FRAMES = 3  # frames that must show a pixel; with fewer its bounds are unknown
MIN_FRAMES_SURE = 6  # frames that must show a pixel before a value outside its bounds counts as foreground
LIT_RANK, HIGHEST_RANK = (0.3, 2), (0.1, 0)
"""Ranks, each a share of the frames and a maximum: frames brighter than the lit value, and brighter than the highest one counted.

The second serves only to measure the spread of the bright values.
"""
MIN_SAMPLES = 20  # samples that both frames must show; with fewer the exposure is not matched
SAMPLE_STEP = 4  # px between those samples
SHADOW_REACH = 0.8  # of an object's longer side: its shadow may lie this far from it
MARGIN = 24  # px beyond the frame's borders: the camera moves while the bounds are in use


def reduced_size(frame: Frame) -> tuple[int, int]:
    """(height, width) of the reduced frame, as stored."""
    height, width = frame.size
    scale = min(1.0, SIDE / max(height, width))
    return max(round(height * scale), 1), max(round(width * scale), 1)


def reduced_rgb(frame: Frame) -> NDArray[np.float32]:
    """RGB float32 [h, w, 3] of a frame, reduced and blurred, 0..255, as displayed."""
    rgb = to_rgb8(frame.planes, frame.layout, size=reduced_size(frame)).astype(np.float32)
    return np.ascontiguousarray(frame.orientation.to_display(cv2.GaussianBlur(rgb, (0, 0), BLUR)), np.float32)


def reduced_mask(mask: NDArray[np.bool_], frame: Frame) -> NDArray[np.bool_]:
    """bool [h, w], reduced, as displayed: True where any pixel of `mask`, bool [H, W] as stored, is."""
    reduced = cv2.resize(mask.astype(np.uint8) * 255, reduced_size(frame)[::-1], interpolation=cv2.INTER_AREA) > 0
    return np.ascontiguousarray(frame.orientation.to_display(reduced))


def stored_at(orientation: Orientation, height: int, width: int) -> Matrix:
    """Matrix [3, 3] from displayed px to px as stored, for a stored size of `height` x `width`."""
    displayed_width = orientation.displayed_size(height, width)[1]
    mirror = np.array([[-1.0, 0, displayed_width - 1], [0, 1, 0], [0, 0, 1]]) if orientation.mirrored else np.eye(3)
    rotations = (
        np.eye(3),
        np.array([[0.0, 1, 0], [-1, 0, height - 1], [0, 0, 1]]),
        np.array([[-1.0, 0, width - 1], [0, -1, height - 1], [0, 0, 1]]),
        np.array([[0.0, -1, width - 1], [1, 0, 0], [0, 0, 1]]),
    )
    return rotations[orientation.quarter_turns % 4] @ mirror


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


@dataclass(slots=True, eq=False)
class RankFilter:
    """The few brightest and darkest values of each pixel and channel over frames: memory does not grow with their number."""

    bright: NDArray[np.uint8]
    """[ranks, h, w, 3] brightest first."""
    dark: NDArray[np.uint8]
    """[ranks, h, w, 3] darkest first."""
    count: NDArray[np.intp]
    """[h, w] number of frames that show the pixel."""
    unshaded: NDArray[np.intp]
    """[h, w] number of those in which no object is near it."""

    @classmethod
    def of(cls, size: tuple[int, ...]) -> RankFilter:
        """An empty filter for a region [h, w]."""
        ranks = np.zeros((LIT_RANK[1] + 1, *size, 3), np.uint8)
        return cls(ranks, ~ranks, np.zeros(size, np.intp), np.zeros(size, np.intp))

    def add(self, rgb: NDArray[np.float32], valid: NDArray[np.bool_], unshaded: NDArray[np.bool_]) -> None:
        """Add a frame that is registered to the region and matched in exposure.

        rgb: float32 [h, w, 3] grey levels. valid: bool [h, w] where it shows background.
        unshaded: bool [h, w] where no object is near.
        """
        candidate = np.clip(rgb, 0, 255).astype(np.uint8) * valid[..., None]
        dark_candidate = candidate | ~valid[..., None] * np.uint8(255)
        for rank in self.bright:
            displaced = np.minimum(rank, candidate)
            np.maximum(rank, candidate, out=rank)
            candidate = displaced
        for rank in self.dark:
            displaced = np.maximum(rank, dark_candidate)
            np.minimum(rank, dark_candidate, out=rank)
            dark_candidate = displaced
        self.count += valid
        self.unshaded += valid & unshaded

    def at(self, homography: Matrix, corner: tuple[int, int], size: tuple[int, ...]) -> RankFilter:
        """The filter warped to a region of `size` at `corner` (y, x); `homography` leads from its px to px of this region."""
        known = self.count > 0
        bright, dark = (
            np.stack([warp_region(image, known, homography, corner, size)[0] for image in ranked])
            for ranked in (self.bright, self.dark)
        )
        counts, valid = warp_region(
            np.dstack([self.count, self.unshaded]).astype(np.float32), known, homography, corner, size
        )
        count, unshaded = cv2.split(np.where(valid[..., None], np.rint(counts), 0).astype(np.float32))
        dark[:, ~valid] = 255
        return RankFilter(bright, dark, count.astype(np.intp), unshaded.astype(np.intp))

    def bounds(self) -> BackgroundBounds | None:
        """The bounds; None when no pixel is shown by enough frames."""
        known = self.count >= MIN_FRAMES
        if not known.any():
            return None

        def rank(ranked: NDArray[np.uint8], share: float, maximum: int) -> NDArray[np.float32]:
            index = np.minimum(np.rint(share * np.maximum(self.count - 1, 0)), maximum).astype(np.intp)
            return np.take_along_axis(ranked, index[None, ..., None], 0)[0].astype(np.float32)

        highest, lowest = rank(self.bright, *LIT_RANK), rank(self.dark, *LIT_RANK)
        spread = luma_of(rank(self.bright, *HIGHEST_RANK)) - luma_of(highest)
        return BackgroundBounds(
            highest, lowest, spread, known, self.count >= MIN_FRAMES_SURE, self.unshaded >= MIN_FRAMES
        )


def warp_region(
    image: NDArray, free: NDArray[np.bool_], homography: Matrix, corner: tuple[int, int], size: tuple[int, ...]
) -> tuple[NDArray, NDArray[np.bool_]]:
    """(image warped to the region of `size` at `corner` (y, x), bool [h, w] where it is `free`).

    homography: from px of the frame that holds the region to px of `image`. free: bool, of the size of `image`.
    """
    matrix = homography @ np.array([[1.0, 0, corner[1]], [0, 1, corner[0]], [0, 0, 1]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpPerspective(image, matrix, (size[1], size[0]), flags=flags)
    valid = cv2.warpPerspective(free.astype(np.float32), matrix, (size[1], size[0]), flags=flags)
    return warped, valid > 0.99


def match_exposure(
    warped: NDArray[np.float32], valid: NDArray[np.bool_], target: NDArray[np.float32], visible: NDArray[np.bool_]
) -> NDArray[np.float32] | None:
    """`warped` with the exposure of `target`, float32 [h, w, 3] each; None when too few samples show the background in both.

    The gain of each channel is the median ratio over pixels that are `valid` in `warped` and `visible` in `target`.
    """
    step = np.s_[::SAMPLE_STEP, ::SAMPLE_STEP]
    shared = (valid & visible)[step]
    if np.count_nonzero(shared) < MIN_SAMPLES:
        return None
    gain = np.median(target[step][shared] / np.maximum(warped[step][shared], 4), axis=0)
    return np.asarray(warped * gain.astype(np.float32), np.float32)


def near_objects(objects: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """bool [h, w]: pixels near `objects`, bool [h, w], on which their shadows may fall."""
    if not objects.any():
        return objects
    rows, columns = np.flatnonzero(objects.any(1)), np.flatnonzero(objects.any(0))
    reach = SHADOW_REACH * (max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1)
    distance = cv2.distanceTransform((~objects).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_3)
    return np.asarray(distance < reach, bool)


def bounds_from_thumbnails(
    mosaic: KeyframeMosaic,
    index: int,
    orientation: Orientation,
    around: int,
    rgb: NDArray[np.float32],
    visible: NDArray[np.bool_],
) -> RankFilter:
    """Rank filter for frame `index`, padded by `MARGIN`, from thumbnails of the shot more than `around` frames away.

    rgb: float32 [h, w, 3] as of `reduced_rgb`. visible: bool [h, w] where it shows the background. Both as displayed.
    """
    height, width = visible.shape
    stored = orientation.displayed_size(height, width)  # swapping height and width is its own inverse
    to_stored = stored_at(orientation, *stored)
    corner, size = (-MARGIN, -MARGIN), (height + 2 * MARGIN, width + 2 * MARGIN)
    rgb = cv2.copyMakeBorder(rgb, MARGIN, MARGIN, MARGIN, MARGIN, cv2.BORDER_CONSTANT).astype(np.float32)
    visible = np.pad(visible, MARGIN)
    ranks = RankFilter.of(size)
    for thumbnail in mosaic.thumbnails:
        homography = mosaic.homography_to(index, thumbnail, stored) if abs(thumbnail.index - index) > around else None
        if homography is not None:
            homography = homography @ to_stored
            warped, valid = warp_region(thumbnail.rgb, thumbnail.known, homography, corner, size)
            matched = match_exposure(cv2.GaussianBlur(warped.astype(np.float32), (0, 0), BLUR), valid, rgb, visible)
            if matched is not None:
                ranks.add(
                    matched,
                    valid,
                    warp_region(thumbnail.rgb[..., 0], ~near_objects(~thumbnail.known), homography, corner, size)[1],
                )
    return ranks


def luma_of(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """Luma float32 [h, w] of RGB float32 [h, w, 3]."""
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.float32)
