"""First pass over the clip: shots, the camera's motion in each, and the plate behind a still camera.

Invariant: memory does not grow with the length of the clip.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase import keyframes
from vidrase.camera import fit_camera
from vidrase.colour import chroma_hole
from vidrase.cuts import MAX_TRANSITION, THUMB, CutDetector, Shots
from vidrase.flow import DisFlow
from vidrase.frames import Frame
from vidrase.keyframes import KeyframeMosaic, KeyframeMosaicBuilder
from vidrase.light import under_one_light
from vidrase.plate import Plate, PlateBuilder

Camera = Literal["still", "free"]

LUMA_SIDE = 320  # px: long side of the luma on which the camera's motion is measured
MAX_STILL_MOTION = 0.2 / 320
"""Motion against the shot's first frame, as a share of the width, up to which the camera counts as still."""
FLOW_THRESHOLD = 0.3  # px up to which flow follows the same homography
MOVED_SAMPLES = 3
"""Successive sample frames that must show a moved camera: a person close by or a change of exposure spoils single ones."""
MAX_OUTLIER_SHARE = 0.3
"""Largest share of a still shot's sample frames that may show motion."""
MIN_CONTRAST = 12.0
"""Standard deviation of a sample frame's luma, grey levels: one with less, faded to black or white, shows no motion."""
SAMPLE_EVERY = 4  # every how many frames a sample frame is taken
MIN_SAMPLES_STILL = 3  # sample frames: fewer do not show whether a camera is still
MIN_SAMPLES_MOSAIC = 7  # sample frames: the window of the fill covers shorter shots anyway


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """Frames between two cuts, half-open."""

    start: int
    stop: int
    camera: Camera
    plate: Plate | None = None
    """The background plate, for a still camera."""
    mosaic: KeyframeMosaic | None = None
    """Key frames, for a moving camera."""
    dissolve: bool = False
    """Whether these are the frames of a dissolve, which show the shots before and after it."""


@dataclass(frozen=True, slots=True, eq=False)
class ShotAnalysis:
    """The clip's shots, in order, without gaps."""

    shots: tuple[Shot, ...] = ()

    def shot(self, index: int) -> Shot | None:
        """The shot of frame `index`; None beyond the analysed frames."""
        low, high = 0, len(self.shots)
        while low < high:
            middle = (low + high) // 2
            if self.shots[middle].stop <= index:
                low = middle + 1
            else:
                high = middle
        return self.shots[low] if low < len(self.shots) and self.shots[low].start <= index else None


WAITING_BYTES = 192 << 20
"""Bytes of frames that wait until it is known whether a dissolve ends with them: large frames wait less."""


def waiting_frames(frame: Frame) -> int:
    """The number of frames of this size that wait, at most `MAX_TRANSITION`."""
    size = sum(plane.nbytes for plane in frame.planes)
    return int(np.clip(WAITING_BYTES // max(size, 1), 2, MAX_TRANSITION))


def shots_of(analysis: ShotAnalysis | None) -> Shots:
    """Shot numbers of a clip as the first pass found them; without an analysis cuts are detected frame by frame."""
    return Shots([shot.start for shot in analysis.shots] if analysis is not None and analysis.shots else None)


class ShotAnalyzer:
    """Analyses every frame of the first pass once, in order."""

    MAX_PLATES = 24
    """Most plates kept, those of the longest shots: a clip may have hundreds of still shots."""
    MOSAIC_BYTES = 2 * keyframes.MEMORY
    """Most bytes of mosaics kept, those of the longest shots."""

    def __init__(self) -> None:
        self._cuts, self._size = CutDetector(), (0, 0)
        self._waiting: deque[tuple[Frame, NDArray[np.bool_] | None, bool]] = deque()
        self._starts: dict[int, bool] = {}  # first frames of shots to come, by number: whether it is a dissolve
        self._dissolve = False
        self._flow = DisFlow(finest_scale=1, iterations=12, refinements=0)
        self._shots: list[Shot] = []
        self._start = self._count = 0
        self._reference: tuple[NDArray[np.uint8], NDArray[np.bool_]] | None = None
        self._still = True
        self._samples = self._outliers = self._outlier_run = 0
        self._plate: PlateBuilder | None = None
        self._mosaic: KeyframeMosaicBuilder | None = None

    def add(self, frame: Frame, hole: NDArray[np.bool_] | None, *, searched: bool = True) -> None:
        """Add a frame. hole: bool [H, W], stored orientation, full size: objects that may hide the background, undilated.

        searched: False if no detector ran on it: it is not used as background, since objects in it look like camera motion.
        """
        seen = self._count + len(self._waiting)
        transition = self._cuts.transition(frame.luma(size=THUMB))
        if transition is not None:
            start = max(seen - transition.began, self._count)
            if transition.mixed and start - transition.mixed > self._start:
                self._starts[max(start - transition.mixed, self._count)] = True
            self._starts[start] = False
        if self._size not in ((0, 0), frame.size):
            self._starts[seen] = False
        self._size = frame.size
        self._waiting.append((frame, hole, searched))
        while len(self._waiting) > waiting_frames(frame):
            self._next()

    def _next(self) -> None:
        """Analyse the frame that has waited longest: by now it is known whether a shot begins with it."""
        frame, hole, searched = self._waiting.popleft()
        if self._count in self._starts:
            self._close()
            self._dissolve = self._starts.pop(self._count)
        if (self._count - self._start) % SAMPLE_EVERY == 0 and searched and not self._dissolve:
            self._sample(frame, hole)
        self._count += 1

    def finish(self) -> ShotAnalysis:
        """The shots so far."""
        while self._waiting:
            self._next()
        self._close()
        return ShotAnalysis(tuple(self._shots))

    def _sample(self, frame: Frame, hole: NDArray[np.bool_] | None) -> None:
        """Decide whether the camera is still and collect the background: samples for the plate while it is still, key frames in
        any case."""
        height, width = frame.size
        scale = min(1.0, LUMA_SIDE / max(height, width))
        size = (max(round(height * scale), 1), max(round(width * scale), 1))
        luma = frame.luma(size=size)
        known = np.ones(size, bool)
        if hole is not None and hole.any():
            hole = _dilated(hole, max(3, round(0.012 * height)))
            known = cv2.resize(hole.astype(np.uint8) * 255, size[::-1], interpolation=cv2.INTER_AREA) == 0
        if self._reference is None or self._reference[0].shape != size:
            self._reference = (luma, known)
            self._plate = PlateBuilder(frame)
            self._mosaic = KeyframeMosaicBuilder.of(frame, self._flow)
        elif self._still:
            if self._reference[0].std() < MIN_CONTRAST < luma.std():  # the shot begins in the dark
                self._reference = (luma, known)
            static = self._is_static(self._reference[0], luma, known & self._reference[1])
            self._outlier_run = 0 if static else self._outlier_run + 1
            self._outliers += not static
            self._still = self._outlier_run < MOVED_SAMPLES
        self._samples += 1
        if self._mosaic is not None:
            self._mosaic.add(frame, hole, luma, known)
        if not self._still:
            self._plate = None
        elif self._plate is not None and not self._outlier_run:
            visible = [
                None if hole is None else ~chroma_hole(hole, frame.layout, number)
                for number in range(len(frame.planes))
            ]
            self._plate.add(frame, visible)

    def _is_static(self, a: NDArray[np.uint8], b: NDArray[np.uint8], known: NDArray[np.bool_]) -> bool:
        """Whether the camera has not moved between `a` and `b` (uint8 [h, w]), evaluated at `known` pixels, bool [h, w]."""
        if known.mean() < 0.1:
            return True  # too little to compare; a later sample frame decides
        flow = self._flow(a[None], b[None])[0]
        a, b = under_one_light(a, b)
        textured = cv2.morphologyEx(a, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8)) > 12
        use = known & textured
        if use.sum() < 200:
            return float(np.abs(a.astype(int) - b)[known].mean()) < 12
        speed = np.hypot(flow[..., 0], flow[..., 1])[use]
        camera = fit_camera(flow, use, threshold=FLOW_THRESHOLD)
        height, width = a.shape
        # Most of the inliers of one homography must move: in swaying trees some leaves always fit a rotating camera.
        residual = flow - camera.flow(0, 0, height, width)
        inlier_speed = speed[np.hypot(residual[..., 0], residual[..., 1])[use] < FLOW_THRESHOLD]
        camera_speed = float(np.percentile(inlier_speed, 70)) if len(inlier_speed) else 0.0
        return float(np.median(speed)) < 1.5 * MAX_STILL_MOTION * width and (
            camera.support < 0.5 or camera_speed < 3.5 * MAX_STILL_MOTION * width
        )

    def _close(self) -> None:
        """End the shot before the current frame."""
        if self._count > self._start:
            still = (
                self._still
                and not self._dissolve
                and self._samples >= MIN_SAMPLES_STILL
                and self._outliers <= MAX_OUTLIER_SHARE * self._samples
            )
            plate = self._plate.finish() if still and self._plate is not None else None
            mosaic = (
                self._mosaic.finish()
                if not still and self._mosaic is not None and self._samples >= MIN_SAMPLES_MOSAIC
                else None
            )
            camera: Camera = "still" if still else "free"
            self._shots.append(Shot(self._start, self._count, camera, plate, mosaic, self._dissolve))
            with_plate = [shot for shot in self._shots if shot.plate is not None]
            if len(with_plate) > self.MAX_PLATES:
                self._drop_shortest(with_plate)
            with_mosaic = [shot for shot in self._shots if shot.mosaic is not None]
            while sum(shot.mosaic.nbytes for shot in with_mosaic if shot.mosaic is not None) > self.MOSAIC_BYTES:
                with_mosaic.remove(self._drop_shortest(with_mosaic))
        self._start, self._reference, self._plate, self._mosaic = self._count, None, None, None
        self._still = True
        self._samples = self._outliers = self._outlier_run = 0

    def _drop_shortest(self, shots: list[Shot]) -> Shot:
        """Remove plate and mosaic of the shortest of `shots`; returns it as it was."""
        shortest = min(shots, key=lambda shot: shot.stop - shot.start)
        self._shots[self._shots.index(shortest)] = replace(shortest, plate=None, mosaic=None)
        return shortest


def _dilated(hole: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return cv2.dilate(hole.astype(np.uint8), kernel) > 0
