"""Key frames of a shot with a moving camera and their poses: background that is hidden now may be visible minutes later.

Sample frames of the first pass are registered by homographies, each to the oldest key frame that shows enough of it, so that
errors do not add up and a returning camera finds the earlier key frames. A sample frame becomes a key frame when it shows
something that no key frame shows. The mosaic is never rendered: the fill samples the single key frames, sharp and unchanged.

Invariant: memory is fixed when the first frame is seen, except for 80 bytes per sample frame.
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
"""Bytes of key-frame planes per shot."""
MAX_KEY_FRAMES, MIN_KEY_FRAMES = 32, 4
MIN_NEW, MIN_NEW_DEFERRED = 0.04, 0.003
"""Share of a sample frame that no key frame shows: above `MIN_NEW` the frame is kept at once, above `MIN_NEW_DEFERRED` it waits
for a better one."""
MIN_OVERLAP = 0.35
"""Share of a sample frame that a key frame must show for the sample frame to be registered to it."""
MIN_SUPPORT = 0.5
"""Share of the flow that must follow one homography for a pose by registration to a key frame."""
MIN_CHAIN_SUPPORT = 0.25
"""The same share for two successive sample frames: the pose need not be exact, the fill registers again."""
MIN_COMMON = 0.15
"""Share of a frame that must be known in both frames to measure a homography between them."""
MAX_SAMPLE_DISTANCE = 8
"""Frames to the nearest sample frame beyond which the pose of a frame is unknown."""
MIN_SCALE = 1 / 16
"""Smallest area scale of a pose against the first frame of its part; the largest is the reciprocal. Outside this range a new
part begins."""
CELL_SIDE = 8  # small px a side of the cells in which visible area is counted
THUMBNAILS = 64
"""Most thumbnails kept, evenly spaced over the shot."""

Matrix = NDArray[np.float64]
Luma = NDArray[np.uint8]
Known = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Keyframe:
    """A stored full frame with its pose."""

    frame: Frame
    """The frame without the decoder's native frame object."""
    hole: NDArray[np.uint8]
    """Bits of bool [H, W]: objects that may hide the background; see `hidden`."""
    luma: Luma
    """[h, w] small."""
    known: Known
    """[h, w] small: no object hides the pixel, nor is one near."""
    pose: Matrix
    """Homography from its small px to those of the first sample frame of its part."""
    part: int

    def hidden(self) -> NDArray[np.bool_]:
        """bool [H, W] of the frame, stored orientation: objects that may hide the background, with a margin."""
        height, width = self.frame.size
        return np.unpackbits(self.hole, count=height * width).reshape(height, width).astype(bool)


@dataclass(frozen=True, slots=True, eq=False)
class Thumbnail:
    """A small stored sample frame with its pose."""

    index: int
    """Index of the frame."""
    rgb: NDArray[np.uint8]
    """[h, w, 3] small."""
    known: Known
    """[h, w] small: no object hides the pixel, nor is one near."""
    pose: Matrix
    part: int
    """Pose and part as of a `Keyframe`."""


@dataclass(frozen=True, slots=True, eq=False)
class KeyframeMosaic:
    """The key frames of one shot."""

    key_frames: tuple[Keyframe, ...]
    thumbnails: tuple[Thumbnail, ...]
    """In order of time."""
    size: tuple[int, int]
    """(height, width) of the small pictures, in whose px the homographies are."""
    _samples: array[int]
    """Frame indices of the sample frames."""
    _parts: array[int]
    """Of each sample frame: the part that its pose refers to."""
    _poses: array[float]
    """Nine numbers for each sample frame."""

    def pose(self, index: int) -> tuple[int, Matrix] | None:
        """(part, homography from small px to those of the part) of frame `index`, interpolated linearly between sample frames;
        None: unknown."""
        after = bisect_right(self._samples, index)
        near = [
            k
            for k in (after - 1, after)
            if 0 <= k < len(self._samples) and abs(self._samples[k] - index) <= MAX_SAMPLE_DISTANCE
        ]
        if not near:
            return None
        if len(near) == 2 and self._parts[near[0]] == self._parts[near[1]]:
            share = (index - self._samples[near[0]]) / (self._samples[near[1]] - self._samples[near[0]])
            return self._parts[near[0]], (1 - share) * self._matrix(near[0]) + share * self._matrix(near[1])
        closest = min(near, key=lambda k: abs(self._samples[k] - index))
        return self._parts[closest], self._matrix(closest)

    def samples(self) -> tuple[array[int], array[int], array[float]]:
        """(frame indices, parts, poses: nine numbers each) of the sample frames, in the order of the constructor."""
        return self._samples, self._parts, self._poses

    @property
    def nbytes(self) -> int:
        """Bytes of key frames and thumbnails, without the poses."""
        key_frame_bytes = sum(
            sum(plane.nbytes for plane in key_frame.frame.planes) + key_frame.hole.nbytes
            for key_frame in self.key_frames
        )
        return key_frame_bytes + sum(thumbnail.rgb.nbytes + thumbnail.known.nbytes for thumbnail in self.thumbnails)

    def homography_to(self, index: int, target: Keyframe | Thumbnail, size: tuple[int, int]) -> Matrix | None:
        """Homography from px of frame `index` at `size` (height, width) to small px of `target`; None: unknown, or in another
        part."""
        pose = self.pose(index)
        if pose is None or pose[0] != target.part:
            return None
        scale_y, scale_x = self.size[0] / size[0], self.size[1] / size[1]
        to_small = np.array([[scale_x, 0, (scale_x - 1) / 2], [0, scale_y, (scale_y - 1) / 2], [0, 0, 1]])
        return np.asarray(_inverse(target.pose) @ pose[1] @ to_small)

    def _matrix(self, sample: int) -> Matrix:
        return np.array(self._poses[9 * sample : 9 * sample + 9]).reshape(3, 3)


def register(
    flow: FlowModel, a: Luma, a_known: Known, b: Luma, b_known: Known, guess: Matrix, *, rounds: int = 2
) -> CameraMotion | None:
    """The homography from `a` to `b` (uint8 [H, W]; bool [H, W]: pixels to use), starting at `guess`; None: too little in
    common.

    `b` is warped by the current estimate and the residual flow is measured, so that any distance can be bridged. rounds: number
    of iterations.
    """
    columns, rows = np.meshgrid(np.arange(a.shape[1], dtype=np.float32), np.arange(a.shape[0], dtype=np.float32))
    camera = CameraMotion(guess, 1.0)
    for _ in range(rounds):
        x, y = camera.points(columns, rows)
        warped = cv2.remap(b, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        warped_known = cv2.remap(b_known.astype(np.uint8), x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT) > 0
        common = warped_known & a_known
        if common.mean() < MIN_COMMON:
            return None
        residual = flow(a[None], np.where(common, warped, a)[None])[0]
        # Flow patches that touch pixels known in only one of the pictures are wrong.
        reliable = cv2.erode(common.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
        x, y = camera.points(columns + residual[..., 0], rows + residual[..., 1])
        camera = fit_camera(np.dstack([x - columns, y - rows]), reliable)
    return camera


@dataclass(slots=True, eq=False)
class KeyframeMosaicBuilder:
    """Builds the mosaic of one shot from its sample frames, in order."""

    flow: FlowModel
    max_key_frames: int
    _key_frames: list[Keyframe] = field(default_factory=list)
    _samples: array[int] = field(default_factory=lambda: array("q"))
    _parts: array[int] = field(default_factory=lambda: array("l"))
    _poses: array[float] = field(default_factory=lambda: array("d"))
    _last: tuple[Luma, Known, int, Matrix] | None = None
    _motion: Matrix = field(default_factory=lambda: np.eye(3))
    """Homography from the last sample frame to the one before it."""
    _part: int = 0
    _deferred: tuple[float, Keyframe] | None = None
    """The sample frame with the largest new share that was not enough to keep it yet."""
    _thumbnails: list[Thumbnail] = field(default_factory=list)
    _thumbnail_interval: int = 1
    """Sample frames from one thumbnail to the next."""

    @classmethod
    def of(cls, frame: Frame, flow: FlowModel) -> KeyframeMosaicBuilder:
        """For a shot of frames like `frame`. flow: optical flow between small pictures."""
        size = sum(plane.nbytes for plane in frame.planes)
        return cls(flow, int(np.clip(MEMORY // max(size, 1), MIN_KEY_FRAMES, MAX_KEY_FRAMES)))

    def add(self, frame: Frame, hole: NDArray[np.bool_] | None, luma: Luma, known: Known) -> None:
        """Add a sample frame. hole: bool [H, W] objects that may hide the background; luma, known: uint8, bool [h, w] small,
        see `Keyframe`."""
        pose = self._register(luma, known)
        if pose is None:
            self._part += 1
            part, pose = self._part, np.eye(3)
        else:
            part = self._part
        if self._last is not None and self._last[2] == part:
            self._motion = _inverse(self._last[3]) @ pose
        else:
            self._motion = np.eye(3)
        self._last = luma, known, part, pose
        self._samples.append(frame.index)
        self._parts.append(part)
        self._poses.extend(pose.ravel())
        self._add_thumbnail(frame, known, part, pose)
        new_share = self._new_share(known, part, pose)
        deferred = self._deferred
        if deferred is not None and (new_share > MIN_NEW or new_share < deferred[0] / 2 or deferred[1].part != part):
            # Its new content is out of sight again, or more of it has come into view.
            self._deferred = None
            if new_share < deferred[0]:
                self._keep(deferred[1])
                new_share = self._new_share(known, part, pose)
        if new_share > MIN_NEW_DEFERRED and (self._deferred is None or new_share >= self._deferred[0]):
            bits = np.packbits(np.zeros(frame.size, bool) if hole is None else hole)
            key_frame = Keyframe(replace(frame, native=None), bits, luma, known, pose, part)
            if new_share > MIN_NEW:
                self._keep(key_frame)
            else:
                self._deferred = new_share, key_frame

    def _add_thumbnail(self, frame: Frame, known: Known, part: int, pose: Matrix) -> None:
        """Store the sample frame as a thumbnail if its turn has come; halve the density when there are too many."""
        if (len(self._samples) - 1) % self._thumbnail_interval:
            return
        rgb = to_rgb8(frame.planes, frame.layout, size=(known.shape[0], known.shape[1]))
        self._thumbnails.append(Thumbnail(frame.index, rgb, known, pose, part))
        if len(self._thumbnails) > THUMBNAILS:
            self._thumbnails, self._thumbnail_interval = self._thumbnails[::2], 2 * self._thumbnail_interval

    def _keep(self, key_frame: Keyframe) -> None:
        self._key_frames.append(key_frame)
        if len(self._key_frames) > self.max_key_frames:
            self._key_frames.pop(self._most_redundant())

    def finish(self) -> KeyframeMosaic | None:
        """The mosaic; None with fewer than two key frames: a single one shows nothing that a neighbouring frame does not show."""
        if self._deferred is not None:
            self._keep(self._deferred[1])
            self._deferred = None
        if self._last is None or len(self._key_frames) < 2:
            return None
        key_frames, thumbnails = tuple(self._key_frames), tuple(self._thumbnails)
        height, width = self._last[0].shape
        return KeyframeMosaic(key_frames, thumbnails, (height, width), self._samples, self._parts, self._poses)

    def _register(self, luma: Luma, known: Known) -> Matrix | None:
        """Pose of a sample frame in the current part: registered to a key frame if one fits, else to the sample frame before;
        None: neither fits."""
        if self._last is None:
            return None
        before, before_known, part, before_pose = self._last
        guess = before_pose @ self._motion
        candidates = [key_frame for key_frame in self._key_frames if key_frame.part == part]
        candidates = [
            key_frame
            for key_frame in candidates
            if _common_area(key_frame.known, _inverse(key_frame.pose) @ guess, known) > MIN_OVERLAP * known.size
        ]
        for key_frame in dict.fromkeys(
            (*candidates[:1], *candidates[-1:])
        ):  # the oldest first: fewer steps, smaller errors
            found = register(self.flow, luma, known, key_frame.luma, key_frame.known, _inverse(key_frame.pose) @ guess)
            if found is not None and found.support > MIN_SUPPORT:
                return _checked_pose(key_frame.pose @ found.homography)
        found = register(self.flow, luma, known, before, before_known, self._motion)
        if found is None or found.support < MIN_CHAIN_SUPPORT:
            return None
        return _checked_pose(before_pose @ found.homography)

    def _new_share(self, known: Known, part: int, pose: Matrix) -> float:
        """Share of the sample frame that no key frame shows."""
        unseen = _cells(known)
        for key_frame in self._key_frames:
            if key_frame.part == part:
                unseen = unseen & ~_warped_cells(key_frame.known, _inverse(key_frame.pose) @ pose, known.shape)
        return float(unseen.mean())

    def _most_redundant(self) -> int:
        """Number of the key frame with the smallest share that no other one shows; never the newest, which was just found to
        show something new."""
        unique_shares = []
        for number, key_frame in enumerate(self._key_frames[:-1]):
            unique_cells = _cells(key_frame.known)
            for other, other_key_frame in enumerate(self._key_frames):
                if other != number and other_key_frame.part == key_frame.part:
                    unique_cells = unique_cells & ~_warped_cells(
                        other_key_frame.known, _inverse(other_key_frame.pose) @ key_frame.pose, key_frame.known.shape
                    )
            unique_shares.append(float(unique_cells.mean()))
        return int(np.argmin(unique_shares))


def _inverse(matrix: Matrix) -> Matrix:
    return np.linalg.inv(matrix).astype(np.float64)


def _checked_pose(pose: Matrix) -> Matrix | None:
    """`pose` scaled to a 1 in its last entry; None where it cannot be a view of the part's first frame any more (accumulated
    errors)."""
    if not np.isfinite(pose).all() or abs(pose[2, 2]) < MIN_SCALE:
        return None
    pose = pose / pose[2, 2]
    scale = float(np.linalg.det(pose[:2, :2]))
    return pose.astype(np.float64) if MIN_SCALE < scale < 1 / MIN_SCALE else None


def _cells(known: Known) -> Known:
    """bool, one per cell: most of the cell is known."""
    size = (max(known.shape[1] // CELL_SIDE, 1), max(known.shape[0] // CELL_SIDE, 1))
    return cv2.resize(known.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA) > 127


def _warped_cells(known: Known, homography: Matrix, shape: tuple[int, ...]) -> Known:
    """bool, one per cell of a sample frame of `shape`: what is `known` in another picture, to which `homography` leads."""
    rows, columns = max(shape[0] // CELL_SIDE, 1), max(shape[1] // CELL_SIDE, 1)
    x, y = np.meshgrid(
        (np.arange(columns, dtype=np.float32) + 0.5) * (shape[1] / columns) - 0.5,
        (np.arange(rows, dtype=np.float32) + 0.5) * (shape[0] / rows) - 0.5,
    )
    x, y = CameraMotion(homography, 1.0).points(x.astype(np.float32), y.astype(np.float32))
    return cv2.remap(known.astype(np.uint8), x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT) > 0


def _common_area(other_known: Known, to_other: Matrix, known: Known) -> float:
    """Small px of a sample frame that are known both there and in the other picture."""
    cells = _cells(known) & _warped_cells(other_known, to_other, known.shape)
    return float(cells.mean()) * known.size
