"""The window of reduced frames in which residuals are detected, and the camera's motion between them.

The camera's motion is estimated here, once a pair, and goes out with the frames (`HoleFrame.camera`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.camera import CameraMotion, fit_camera
from vidrase.colour import reduced_planes, to_luma8, to_rgb8
from vidrase.fill import contact_shadow
from vidrase.fill.background_bounds import BLUR, SIDE, Observation
from vidrase.fill.cast_shadow import HOLE_MARGIN, ShadowTemplate
from vidrase.fill.components import any_in_cells
from vidrase.fill.contact_shadow import ContactRegion
from vidrase.fill.flow_completion import dilate
from vidrase.flow import FlowModel, swift
from vidrase.frames import Frame, HoleFrame, Orientation

MIN_SUPPORT = 0.5
"""Share of the flow that must agree with the camera motion; below it, frames are not compared across that step."""

Matrix = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(slots=True, eq=False)
class ReducedFrame:
    """A frame as the residual stage sees it. All arrays are oriented as displayed."""

    number: int
    """Position in the stream."""
    index: int
    shot: int
    orientation: Orientation
    rgb: NDArray[np.uint8]
    """[h, w, 3] reduced and blurred, 0..255."""
    luma: NDArray[np.uint8]
    """[h, w] reduced."""
    area: Mask
    """[h, w] the hole with a margin."""
    protected: Mask | None = None
    """[h, w] protected objects; None: none."""
    forward: CameraMotion | None = None
    """Camera motion to the next frame, px of the reduced frame as displayed; None: not estimated yet."""
    contact_region: ContactRegion | None = None
    """The hole and its surroundings; None: there is no hole, or detection has run."""
    detected: bool = False
    """Whether detection has run on this frame."""
    shadow: Mask | None = None
    """[h, w] cast shadow; None: none was found."""
    template: ShadowTemplate | None = None
    """The cast shadow as template for the next frames; None: none was found, or it is no good template."""
    residual: Mask | None = None
    """[h, w] residual foreground; None: nothing, or detection has not run."""
    contact_shadow: Mask | None = None
    """[H, W] contact shadow, larger than the reduced frame; None: nothing, or detection has not run."""
    static_shadow: Mask | None = None
    """[H, W] static shadow, of the same size; None: nothing, or detection has not run."""
    _observation: Observation | None = None
    _backward: Matrix | None = None

    @classmethod
    def of(cls, number: int, shot: int, hole_frame: HoleFrame) -> ReducedFrame:
        """The frame number `number` of the stream, in the shot number `shot`."""
        frame, protected = hole_frame.frame, hole_frame.protected_hole
        hidden = None if hole_frame.hole is None else hole_frame.hole.full_area()
        size = reduced_size(frame)
        planes = reduced_planes(frame.planes, frame.layout, reduced_size(frame, contact_shadow.SIDE))
        region = None if hidden is None else ContactRegion.of(frame, hidden, hole_frame.scenery, protected, planes)
        planes = reduced_planes(planes, frame.layout, size)
        rgb = cv2.GaussianBlur(to_rgb8(planes, frame.layout, size=size), (0, 0), BLUR)
        to_display = frame.orientation.to_display
        return cls(
            number,
            frame.index,
            shot,
            frame.orientation,
            np.ascontiguousarray(to_display(rgb), np.uint8),
            np.ascontiguousarray(to_display(to_luma8(planes, frame.layout))),
            np.zeros(to_display(rgb).shape[:2], bool)
            if hidden is None
            else dilate(reduced_mask(hidden, frame), HOLE_MARGIN),
            None if protected is None else reduced_mask(protected.full_area(), frame),
            contact_region=region,
        )

    @property
    def observation(self) -> Observation:
        """The frame, ready to be registered to others."""
        if self._observation is None:
            self._observation = Observation.of(self.rgb, ~self.area)
        return self._observation

    def camera(self, frame: Frame) -> CameraMotion | None:
        """`forward` in luma px of `frame`, this frame as stored; None: it was not estimated."""
        if self.forward is None:
            return None
        size = reduced_size(frame)
        stored = frame.orientation.camera_to_stored(self.forward, frame.orientation.displayed_size(*size))
        return stored.resized(frame.height / size[0], frame.width / size[1])

    def homography(self, step: int, other: ReducedFrame) -> Matrix:
        """The homography to the next (step 1) or to the previous frame (step -1), which is `other`; both are estimated."""
        first = self if step > 0 else other
        assert first.forward is not None
        if step > 0:
            return first.forward.homography
        if first._backward is None:
            first._backward = first.forward.inverse().homography
        return first._backward


class FrameWindow:
    """Reduced frames by number, and the camera's motion between them."""

    def __init__(self, flow: FlowModel) -> None:
        self.frames: dict[int, ReducedFrame] = {}
        self._flow = swift(flow)

    def neighbour(self, current: ReducedFrame, step: int) -> ReducedFrame | None:
        """The frame `step` frames after `current`; None: it is not in the window, or belongs to another shot."""
        frame = self.frames.get(current.number + step)
        return frame if frame is not None and frame.shot == current.shot else None

    def registered(self, current: ReducedFrame, step: int) -> Iterator[tuple[ReducedFrame, Matrix]]:
        """The frames after `current` (step 1) or before it (step -1), nearest first, each with the homography from `current`.

        Ends where the window or the shot does, or where the camera motion is unclear.
        """
        homography, at = np.eye(3), current
        while (following := self.neighbour(at, step)) is not None and self._is_clear(at, following, step):
            homography, at = at.homography(step, following) @ homography, following
            yield at, homography

    def homography_to(self, current: ReducedFrame, earlier: ReducedFrame) -> Matrix | None:
        """The homography from `current` to an earlier frame, or to itself; None when the motion is unclear on the way."""
        if earlier is current:
            return np.eye(3)
        return next((matrix for frame, matrix in self.registered(current, -1) if frame is earlier), None)

    def forget(self, before: int) -> None:
        """Drop the frames with a number below `before`."""
        for old in [number for number in self.frames if number < before]:
            del self.frames[old]

    def _is_clear(self, at: ReducedFrame, following: ReducedFrame, step: int) -> bool:
        """Whether the camera motion between two successive frames is known; it is estimated if need be."""
        first, second = (at, following) if step > 0 else (following, at)
        if first.forward is None:
            flow = self._flow(first.luma[None], second.luma[None])[0]
            first.forward = fit_camera(flow, ~(dilate(first.area, 3) | dilate(second.area, 3)))
        return first.forward.support >= MIN_SUPPORT


def reduced_size(frame: Frame, side: int = SIDE) -> tuple[int, int]:
    """(height, width) of the reduced frame, as stored. side: px, its long side."""
    height, width = frame.size
    scale = min(1.0, side / max(height, width))
    return max(round(height * scale), 1), max(round(width * scale), 1)


def reduced_mask(mask: Mask, frame: Frame) -> Mask:
    """bool [h, w], reduced, as displayed: True where any pixel of `mask`, bool [H, W] as stored, is."""
    return np.ascontiguousarray(frame.orientation.to_display(any_in_cells(mask, reduced_size(frame))))
