"""Masks for every frame from detections in some frames.

All arrays have a reduced size (`WORKING_SIDE` px long). Masks are propagated by dense flow: past detections forwards, a detection
in a later frame backwards. A masked pixel stays masked for some time: a hole that is too large still shows the true background,
one that is too small shows the person for a moment.
"""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.flow import DisFlow
from vidrase.live.detect import Detection

WORKING_SIDE = 384
MAX_HISTORY = 16  # frames over which a late detection can be warped
PART_DECAY = 0.62  # factor on a pixel's mask value per detection that misses the pixel but finds the rest of the object
LOST_DECAY = 0.93  # the same factor when the whole object is missed
MASK_THRESHOLD = 100  # of 255; a smaller mask value is background


@dataclass(slots=True, eq=False)
class LiveFrame:
    """One frame in the pipeline."""

    index: int
    rgb: NDArray[np.uint8] | None
    seconds: float
    arrived: float
    """Monotonic seconds."""
    gray: NDArray[np.uint8]
    """uint8 [h, w], reduced."""
    small: NDArray[np.uint8] | None = None
    """uint8 [h, w, 3]."""
    backward_flow: NDArray[np.float32] | None = None
    """Flow to the previous frame, float32 [h, w, 2] reduced px; None until needed."""
    detection_mask: NDArray[np.uint8] | None = None
    """Mask of the detections in this frame, 0 or 255 [h, w]."""


def small_size(size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of the reduced frame for a frame of `size`."""
    scale = min(WORKING_SIDE / max(size), 1.0)
    return max(round(size[0] * scale), 2), max(round(size[1] * scale), 2)


class MaskPropagator:
    """Propagates masks; call `step` for every frame, in order. Later frames may have arrived already."""

    def __init__(self, small: tuple[int, int]) -> None:
        self.small = small
        self.any_masked = False
        """Whether anything is masked in the last frame."""
        self.speed = 0.0
        """Motion of the masked pixels, reduced px per frame."""
        self._flow = DisFlow(finest_scale=2, iterations=12, refinements=2)
        self._mask_memory = np.zeros(small, np.uint8)
        self._history: deque[LiveFrame] = deque(maxlen=MAX_HISTORY)
        grid = np.meshgrid(np.arange(small[1], dtype=np.float32), np.arange(small[0], dtype=np.float32))
        self._grid = np.stack(grid, axis=2)

    def reset(self) -> None:
        """Forget all masks after a change of scene."""
        self._mask_memory[:] = 0
        self._history.clear()

    def step(
        self, frame: LiveFrame, later_frames: list[LiveFrame], late_detections: list[Detection], flow_px: int
    ) -> NDArray[np.bool_]:
        """bool [h, w]: mask of `frame`.

        later_frames: later frames that have arrived, in order.  late_detections: detections in earlier frames that arrived only
        now, without kept objects.  flow_px: long side at which the flow is computed.
        """
        previous = self._history[-1] if self._history else None
        next_detected = next(
            (
                k
                for k, later in enumerate(later_frames)
                if later.detection_mask is not None and later.detection_mask.any()
            ),
            None,
        )
        need = bool(self._mask_memory.any()) or next_detected is not None
        if need and previous is not None:
            self._estimate_flow(frame, previous, flow_px)
            if self._mask_memory.any():
                assert frame.backward_flow is not None
                self.speed = self._motion_speed(frame.backward_flow)
                self._mask_memory = self._warp_mask(self._mask_memory, frame.backward_flow)
        for detection in late_detections:
            self._merge(self._warp_forward(rasterize(detection, self.small), detection.index, frame, flow_px))
        if frame.detection_mask is not None:
            self._merge(frame.detection_mask)
        mask = self._mask_memory >= MASK_THRESHOLD
        if next_detected is not None:
            mask |= self._warp_backward(frame, later_frames[: next_detected + 1], flow_px)
        self._history.append(
            LiveFrame(frame.index, None, frame.seconds, frame.arrived, frame.gray, None, frame.backward_flow)
        )
        self.any_masked = bool(mask.any())
        if not self.any_masked:
            self.speed = 0.0
        return mask

    def _merge(self, detection: NDArray[np.uint8]) -> None:
        """Merge a detection mask: its pixels are set, pixels that it does not confirm decay."""
        if not self._mask_memory.any():
            self._mask_memory = detection.copy()
            return
        instances = cv2.dilate(detection, np.ones((9, 9), np.uint8))
        count, parts = cv2.connectedComponents((self._mask_memory >= MASK_THRESHOLD).astype(np.uint8), connectivity=4)
        confirmed = np.zeros(count, bool)
        confirmed[np.unique(parts[instances > 0])] = True
        keep = np.where(confirmed[parts], PART_DECAY, LOST_DECAY).astype(np.float32)
        self._mask_memory = np.maximum(detection, (self._mask_memory * keep).astype(np.uint8))
        self._mask_memory[self._mask_memory < MASK_THRESHOLD] = 0

    def _estimate_flow(self, frame: LiveFrame, previous: LiveFrame, flow_px: int) -> None:
        """Compute `frame.backward_flow` unless it is known."""
        if frame.backward_flow is not None:
            return
        scale = flow_px / max(self.small)
        if scale < 0.99:
            size = (round(self.small[1] * scale), round(self.small[0] * scale))
            a, b = (cv2.resize(gray, size, interpolation=cv2.INTER_AREA) for gray in (frame.gray, previous.gray))
            flow = self._flow(a[None], b[None])[0]
            frame.backward_flow = cv2.resize(flow, self.small[::-1]) / np.float32(scale)
        else:
            frame.backward_flow = self._flow(frame.gray[None], previous.gray[None])[0]

    def _warp_mask(self, mask: NDArray[np.uint8], backward_flow: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The previous frame's `mask`, warped to this one."""
        # nearest neighbour: linear interpolation would erode the border from frame to frame
        return cv2.remap(mask, self._grid + backward_flow, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)

    def _warp_forward(
        self, detection: NDArray[np.uint8], index: int, frame: LiveFrame, flow_px: int
    ) -> NDArray[np.uint8]:
        """The mask detected in frame `index`, warped to `frame`."""
        chain = [later for later in self._history if later.index >= index] + [frame]
        if chain[0].index != index or not detection.any():
            return detection  # older than the history: use it unwarped
        for a, b in itertools.pairwise(chain):
            self._estimate_flow(b, a, flow_px)
            assert b.backward_flow is not None
            detection = self._warp_mask(detection, b.backward_flow)
        return detection

    def _warp_backward(self, frame: LiveFrame, later_frames: list[LiveFrame], flow_px: int) -> NDArray[np.bool_]:
        """A later frame's mask, warped to `frame` by the negated backward flow, which is accurate enough for a step or two."""
        mask = later_frames[-1].detection_mask
        assert mask is not None
        for a, b in zip(reversed([frame, *later_frames[:-1]]), reversed(later_frames), strict=True):
            self._estimate_flow(b, a, flow_px)
            assert b.backward_flow is not None
            spread = cv2.dilate(mask, np.ones((3, 3), np.uint8))
            inside = spread > 0
            step = np.median(b.backward_flow[inside], axis=0) if inside.any() else np.zeros(2)
            # outside the mask use the median motion of the object: static background must not enter the warp
            moved = np.where(inside[..., None], b.backward_flow, step.astype(np.float32))
            mask = cv2.remap(mask, self._grid - moved, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
        return mask > 127

    def _motion_speed(self, backward_flow: NDArray[np.float32]) -> float:
        inside = self._mask_memory >= MASK_THRESHOLD
        if not inside.any():
            return 0.0
        return float(np.percentile(np.abs(backward_flow[inside]).max(1)[::7], 90))


def rasterize(detection: Detection, small: tuple[int, int]) -> NDArray[np.uint8]:
    """Union of all instances of `detection` as a mask, 0 or 255 [h, w]."""
    instances = detection.instances
    if not len(instances):
        return np.zeros(small, np.uint8)
    whole = np.zeros(instances.size, np.uint8)
    for mask, (y, x) in zip(instances.masks, instances.corners, strict=True):
        rows, columns = mask.shape
        whole[y : y + rows, x : x + columns][mask] = 255
    scaled = cv2.resize(
        whole, small[::-1], interpolation=cv2.INTER_AREA if instances.size[0] > small[0] else cv2.INTER_LINEAR
    )
    return np.where(scaled > 90, 255, 0).astype(np.uint8)
