"""What the first pass learns of the background: shots, how the camera moves in each, and the plate behind a still camera.

Invariant: memory does not grow with the length of the clip.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase import keyframes
from vidrase.camera import fit_camera
from vidrase.colour import chroma_hole
from vidrase.cuts import Shots
from vidrase.flow import DisFlow
from vidrase.frames import Frame
from vidrase.keyframes import KeyframeMosaic, KeyframeMosaicBuilder
from vidrase.plate import Plate, PlateBuilder

Camera = Literal["still", "free"]

SIDE = 320  # px: long side of the luma on which the camera's motion is judged
STILL = 0.2 / 320
"""Motion against the shot's first frame, as a share of the width, that still counts as still."""
STEADY = 0.3  # px within which flow follows the same motion
PATIENCE = 3
"""Looks in a row that must say that the camera moved: somebody walking by close, or a change of light, spoils single ones."""
MOST_SPOILT = 0.3
"""Share of a shot's looks that may be spoilt."""
SAMPLE_EVERY = 4  # frames
SHORTEST = 3  # looks: fewer do not tell that a camera is still
LONG = 7  # looks: what is shorter the fill sees whole anyway


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """A run of frames without a cut, half-open."""

    start: int
    stop: int
    camera: Camera
    plate: Plate | None = None
    """The background, for a still camera."""
    mosaic: KeyframeMosaic | None = None
    """Pictures of the background, for one that moves."""


@dataclass(frozen=True, slots=True, eq=False)
class ShotAnalysis:
    """The clip's shots, in order, without gaps."""

    shots: tuple[Shot, ...] = ()

    def shot(self, index: int) -> Shot | None:
        """The shot of frame `index`; None beyond what was seen."""
        low, high = 0, len(self.shots)
        while low < high:
            middle = (low + high) // 2
            if self.shots[middle].stop <= index:
                low = middle + 1
            else:
                high = middle
        return self.shots[low] if low < len(self.shots) and self.shots[low].start <= index else None


def shots_of(survey: ShotAnalysis | None) -> Shots:
    """The numbers of a clip's shots: as the first pass saw them; without one they are decided while frames pass."""
    return Shots([shot.start for shot in survey.shots] if survey is not None and survey.shots else None)


class ShotAnalyzer:
    """Sees every frame of the first pass once, in order."""

    MOST_PLATES = 24
    """Plates kept: a clip of hundreds of still shots keeps those of the longest."""
    ALBUMS = 2 * keyframes.MEMORY
    """Bytes of albums kept, again those of the longest shots."""

    def __init__(self) -> None:
        self._number_of, self._number = Shots(), 0
        self._flow = DisFlow(finest_scale=1, iterations=12, refinements=0)
        self._shots: list[Shot] = []
        self._start = self._count = 0
        self._reference: tuple[NDArray[np.uint8], NDArray[np.bool_]] | None = None
        self._still = True
        self._looks = self._spoilt = self._spoilt_run = 0
        self._plate: PlateBuilder | None = None
        self._album: KeyframeMosaicBuilder | None = None

    def add(self, frame: Frame, hole: NDArray[np.bool_] | None, *, searched: bool = True) -> None:
        """Look at a frame; `hole` bool [H, W], stored orientation, full size: what may be in the way, undilated.

        searched: False when nobody looked for things in it: it is no background, and whoever stands in it looks like motion.
        """
        number = self._number_of(frame)
        if number != self._number:
            self._close()
            self._number = number
        if (self._count - self._start) % SAMPLE_EVERY == 0 and searched:
            self._look(frame, hole)
        self._count += 1

    def finish(self) -> ShotAnalysis:
        """What was learned."""
        self._close()
        return ShotAnalysis(tuple(self._shots))

    def _look(self, frame: Frame, hole: NDArray[np.bool_] | None) -> None:
        """Judge the camera and collect the background: its median while the camera is still, pictures of it in any case."""
        height, width = frame.size
        scale = min(1.0, SIDE / max(height, width))
        size = (max(round(height * scale), 1), max(round(width * scale), 1))
        luma = frame.luma(size=size)
        known = np.ones(size, bool)
        if hole is not None and hole.any():
            hole = _grown(hole, max(3, round(0.012 * height)))
            known = cv2.resize(hole.astype(np.uint8) * 255, size[::-1], interpolation=cv2.INTER_AREA) == 0
        if self._reference is None or self._reference[0].shape != size:
            self._reference = (luma, known)
            self._plate = PlateBuilder(frame)
            self._album = KeyframeMosaicBuilder.of(frame, self._flow)
        elif self._still:
            agrees = self._agrees(self._reference[0], luma, known & self._reference[1])
            self._spoilt_run = 0 if agrees else self._spoilt_run + 1
            self._spoilt += not agrees
            self._still = self._spoilt_run < PATIENCE
        self._looks += 1
        if self._album is not None:
            self._album.add(frame, hole, luma, known)
        if not self._still:
            self._plate = None
        elif self._plate is not None and not self._spoilt_run:
            free = [
                None if hole is None else ~chroma_hole(hole, frame.layout, number)
                for number in range(len(frame.planes))
            ]
            self._plate.add(frame, free)

    def _agrees(self, a: NDArray[np.uint8], b: NDArray[np.uint8], both: NDArray[np.bool_]) -> bool:
        """Whether the camera stands where it stood."""
        if both.mean() < 0.1:
            return True  # nothing to judge by; a later look will
        flow = self._flow(a[None], b[None])[0]
        textured = cv2.morphologyEx(a, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8)) > 12
        use = both & textured
        if use.sum() < 200:
            return float(np.abs(a.astype(int) - b)[both].mean()) < 12
        speed = np.hypot(flow[..., 0], flow[..., 1])[use]
        camera = fit_camera(flow, use, threshold=STEADY)
        height, width = a.shape
        # of what follows one motion most must move: in swaying trees some leaves always fit a camera that turns
        rest = flow - camera.flow(0, 0, height, width)
        follows = speed[np.hypot(rest[..., 0], rest[..., 1])[use] < STEADY]
        turned = float(np.percentile(follows, 70)) if len(follows) else 0.0
        return float(np.median(speed)) < 1.5 * STILL * width and (camera.support < 0.5 or turned < 3.5 * STILL * width)

    def _close(self) -> None:
        """End the shot before the current frame."""
        if self._count > self._start:
            still = self._still and self._looks >= SHORTEST and self._spoilt <= MOST_SPOILT * self._looks
            plate = self._plate.finish() if still and self._plate is not None else None
            pages = self._album.finish() if not still and self._album is not None and self._looks >= LONG else None
            self._shots.append(Shot(self._start, self._count, "still" if still else "free", plate, pages))
            plates = [shot for shot in self._shots if shot.plate is not None]
            if len(plates) > self.MOST_PLATES:
                self._forget(plates)
            albums = [shot for shot in self._shots if shot.mosaic is not None]
            while sum(shot.mosaic.nbytes for shot in albums if shot.mosaic is not None) > self.ALBUMS:
                albums.remove(self._forget(albums))
        self._start, self._reference, self._plate, self._album = self._count, None, None, None
        self._still = True
        self._looks = self._spoilt = self._spoilt_run = 0

    def _forget(self, shots: list[Shot]) -> Shot:
        """Leave the shortest of `shots` without plate and album; returns it as it was."""
        short = min(shots, key=lambda shot: shot.stop - shot.start)
        self._shots[self._shots.index(short)] = Shot(short.start, short.stop, short.camera)
        return short


def _grown(hole: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return cv2.dilate(hole.astype(np.uint8), kernel) > 0
