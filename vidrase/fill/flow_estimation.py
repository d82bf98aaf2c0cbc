"""Flow of the background between neighbours: measured around their holes, trusted outside a margin, completed elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.camera import CameraMotion, fit_camera
from vidrase.fill.flow_completion import (
    FLOW_MARGIN,
    CompletedFlow,
    FlowPair,
    MeasuredFlow,
    complete_flow,
    dilate,
    split_flow,
)
from vidrase.fill.membrane import membrane
from vidrase.fill.window_frame import Box, WindowFrame
from vidrase.flow import FlowModel
from vidrase.streams import Both, in_turn

# Evidence for flow.*: `rules.py`. Values of constants without a figure have no record yet.
MEASURED_MARGIN = 0.15
"""Width of the surroundings of the holes in which flow is measured, as a share of the frame's height."""


MIN_CAMERA_SUPPORT = 0.3
"""Share of the trusted flow that must follow the camera; below it flow is measured in one step, without warping first."""

MIN_OWN_MOTION, MIN_OWN_SHARE = 0.6, 0.07
"""px per frame, and share of the camera's speed: a protected object moves on its own if its flow differs from the surroundings'
by more than their sum."""
WHOLE_SHARE = 0.5
"""Share of an object's pixels that must move on their own for the whole object to be an occluder."""
BAND = 0.03
"""Share of the frame's height: up to this far beside an object, what moves goes with it (its shadow, an edge that its mask leaves
out). Six clips with people pasted before what moves: 27.03 dB without it, 27.06 with it; car-turn+breakdance end to end 31.3 and
32.9 dB, where without it the car's shadow was torn."""
AVERAGING = 9  # px: side of the window over which the difference in flow is averaged

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Map = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """Camera motion and flow between a frame and another one that was registered to it."""

    forward: CompletedFlow
    """From the frame to the other one."""
    backward: MeasuredFlow
    """From the other frame back."""
    camera: CameraMotion
    """The camera's motion from the frame to the other one."""


class FlowEstimator:
    """Estimates the flow between neighbouring frames, pair by pair.

    Flow is measured in two steps. The first fits the camera's motion to flow at half size. The second warps one frame by that
    motion and measures the residual flow. In the second step neither frame shows the edge of its hole: pixels that one frame
    hides are copied from the other. Otherwise the patches of the flow that touch a hole follow the hole, the more the faster the
    camera moves.

    rough: the flow model of the first step; None: `flow`.
    """

    def __init__(self, flow: FlowModel, rough: FlowModel | None = None, both: Both = in_turn) -> None:
        """both: runs the work of the two directions."""
        self._flow, self._rough, self._both = flow, rough or flow, both
        self._prefilled: dict[int, NDArray[np.uint8]] = {}  # of the last two frames, because a frame is in two pairs

    def __call__(self, before: WindowFrame, now: WindowFrame, previous: FlowPair | None) -> FlowPair:
        """Flow between two neighbours in both directions, around both holes. previous: the pair that ends at `before`."""
        forward, backward, camera = self._measure(before, now)
        kept_forward, kept_backward = _of_kept(forward, before.occluder), _of_kept(backward, now.occluder)
        earlier, kept = previous.kept if previous is not None else None, None
        if kept_forward.trusted.any() or kept_backward.trusted.any() or (earlier is not None and earlier.remembers()):
            kept = _completed(kept_forward, kept_backward, camera, earlier)
            forward, backward = _of_ground(forward, before.occluder), _of_ground(backward, now.occluder)
        pair = _completed(forward, backward, camera, previous)
        pair.kept = kept
        if previous is not None:
            previous.drop_prior()
        return pair

    def register(self, here: WindowFrame, other: WindowFrame) -> Registration:
        """Register `other` to `here`: the camera's motion and the flow between them."""
        measured_forward, measured_backward, camera = self._measure(here, other)
        return Registration(complete_flow(measured_forward, None).without_prior(), measured_backward, camera)

    def _measure(self, before: WindowFrame, now: WindowFrame) -> tuple[MeasuredFlow, MeasuredFlow, CameraMotion]:
        """(flow from `before` to `now`, flow back, camera motion from `before` to `now`), around both holes.

        Sets `occluder` and `moving` of both frames where they have protected objects.
        """
        margin = _margin(now.luma.shape)
        boxes = [frame.box for frame in (before, now) if frame.box is not None]
        box = boxes[0].joined(boxes[-1]).wider(2 * margin, now.luma.shape)
        wide = measured_region(boxes[0].joined(boxes[-1]), now.luma.shape)
        near_hole = [
            np.zeros(wide.shape, bool) if frame.dilated_hole is None else dilate(frame.dilated_hole[wide.span], margin)
            for frame in (before, now)
        ]
        prefilled = {
            frame.number: self._prefilled[frame.number] if frame.number in self._prefilled else prefill_hole(frame)
            for frame in (before, now)
        }
        self._prefilled = prefilled
        pictures = np.stack([prefilled[before.number][wide.span], prefilled[now.number][wide.span]])
        origin = (wide.top, wide.left)
        hidden = [
            np.zeros(wide.shape, bool) if frame.dilated_hole is None else frame.dilated_hole[wide.span]
            for frame in (before, now)
        ]
        clear = ~(near_hole[0] | near_hole[1])
        protected = [
            None if frame.protected is None or not rules.enabled("flow.foreground") else frame.protected
            for frame in (before, now)
        ]
        protected = [None if protected_mask is None else protected_mask[wide.span] for protected_mask in protected]
        camera = self._camera(pictures, clear, origin)
        camera_back = camera.inverse()

        def measured(motion: CameraMotion, first: int, second: int) -> tuple[NDArray[np.float32], Mask]:
            warp = _warp_map(motion, origin, wide.shape)
            flow = self._measure_residual(
                motion, warp, pictures[first], pictures[second], hidden[first], hidden[second], origin
            )
            return flow, _trusted_flow(near_hole[first], near_hole[second], warp)

        (forward, trusted_forward), (backward, trusted_backward) = self._both(
            lambda: measured(camera, 0, 1), lambda: measured(camera_back, 1, 0)
        )
        trusted_masks = trusted_forward, trusted_backward
        for frame, flow, motion, trusted, protected_mask in zip(
            (before, now), (forward, backward), (camera, camera_back), trusted_masks, protected, strict=True
        ):
            if protected_mask is not None:
                camera_flow = motion.flow(*origin, *protected_mask.shape)
                speed = float(np.median(np.hypot(camera_flow[..., 0], camera_flow[..., 1])))
                band = round(BAND * now.luma.shape[0])
                objects, moving = independent_motion(protected_mask, flow - camera_flow, trusted, speed, margin, band)
                if frame.occluder is None or frame.moving is None:
                    frame.occluder, frame.moving = (np.zeros(frame.luma.shape, bool) for _ in range(2))
                frame.occluder[wide.span] |= objects
                frame.moving[wide.span] |= moving
        (measured_forward, camera), (measured_backward, _) = self._both(
            lambda: split_flow(forward, trusted_forward, origin, box.span),
            lambda: split_flow(backward, trusted_backward, origin, box.span),
        )
        return measured_forward, measured_backward, camera

    def _camera(self, pictures: NDArray[np.uint8], trusted: NDArray[np.bool_], origin: tuple[int, int]) -> CameraMotion:
        """Fit the camera's motion to flow between the two pictures, uint8 [2, H, W], at half size."""
        half = np.stack(
            [cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for picture in pictures]
        )
        flow = self._rough(half[:1], half[1:])[0] * 2
        rows, columns = half.shape[1:]
        trusted_half = cv2.resize(trusted.astype(np.uint8) * 255, (columns, rows), interpolation=cv2.INTER_AREA) == 255
        flow_whole = cv2.resize(flow, pictures.shape[:0:-1], interpolation=cv2.INTER_LINEAR)
        trusted_whole = (
            cv2.resize(trusted_half.astype(np.uint8), pictures.shape[:0:-1], interpolation=cv2.INTER_NEAREST) > 0
        )
        return fit_camera(flow_whole, trusted_whole, origin=origin)

    def _measure_residual(
        self,
        camera: CameraMotion,
        warp: tuple[Map, Map],
        first: Picture,
        second: Picture,
        first_hidden: Mask,
        second_hidden: Mask,
        origin: tuple[int, int],
    ) -> NDArray[np.float32]:
        """Flow [H, W, 2] px from `first` to `second`, uint8 [H, W] each, measured after warping `second` by the camera's motion.

        camera: motion from `first` to `second`; warp: the same as maps, see `_warp_map`.
        first_hidden, second_hidden: bool [H, W] their holes.
        """
        if camera.support < MIN_CAMERA_SUPPORT or not rules.enabled("flow.two_steps"):
            return self._flow(first[None], second[None])[0]
        x, y = warp
        warped = cv2.remap(second, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        unseen = (
            cv2.remap(
                second_hidden.astype(np.uint8), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=1
            )
            > 0
        )
        # each frame's hidden pixels are copied from the other one: the flow would follow the edge of a hole
        first_picture = first
        if rules.enabled("flow.lend"):
            first_picture = np.where(first_hidden & ~unseen, warped, first)
            warped = np.where(unseen, first_picture, warped)
        residual = self._flow(first_picture[None], warped[None])[0]
        columns, rows = np.meshgrid(
            np.arange(first.shape[1], dtype=np.float32), np.arange(first.shape[0], dtype=np.float32)
        )
        x, y = camera.points(columns + residual[..., 0] + origin[1], rows + residual[..., 1] + origin[0])
        return np.dstack([x - columns - origin[1], y - rows - origin[0]]).astype(np.float32)


def _completed(
    forward: MeasuredFlow, backward: MeasuredFlow, camera: CameraMotion, previous: FlowPair | None
) -> FlowPair:
    """The pair with its backward flow completed; `previous` is the pair before it, of the same layer."""
    known = previous.backward if previous is not None and rules.enabled("flow.prior") else None
    return FlowPair(forward, complete_flow(backward, known), None, camera)


def _of_kept(measured: MeasuredFlow, objects: Mask | None) -> MeasuredFlow:
    """`measured`, trusted only on `objects`, bool [h, w] of the work grid; None: nowhere."""
    if objects is None or not rules.enabled("sources.kept"):
        return replace(measured, trusted=np.zeros_like(measured.trusted))
    inner = cv2.erode(objects[measured.span].view(np.uint8), np.ones((3, 3), np.uint8)) > 0
    return replace(measured, trusted=measured.trusted & inner)


def _of_ground(measured: MeasuredFlow, objects: Mask | None) -> MeasuredFlow:
    """`measured`, not trusted on `objects`, bool [h, w] of the work grid; None: there are none."""
    return measured if objects is None else replace(measured, trusted=measured.trusted & ~objects[measured.span])


def _margin(size: tuple[int, ...]) -> int:
    """px around a hole in which measured flow is not trusted, in a frame of `size`."""
    return max(round(FLOW_MARGIN * size[0]), 3) if rules.enabled("flow.margin") else 0


def measured_region(box: Box, size: tuple[int, ...]) -> Box:
    """Where flow is measured around holes in `box`: the camera fit and the completion need the surroundings, not the whole frame
    of `size`."""
    height, width = size
    outer = box.wider(2 * _margin(size), (height, width))
    return outer.wider(max(round(MEASURED_MARGIN * height), 32), (height, width))


def complete_from_future(frames: Sequence[WindowFrame]) -> None:
    """Complete the forward flow of consecutive frames, last one first: points uncovered later tell how they move while hidden."""
    later: FlowPair | None = None
    for frame in reversed(frames):
        pair = frame.flow_pair
        if pair is None or pair.measured_forward is None:
            later = None
            continue
        pair.complete_forward(later if rules.enabled("flow.prior_future") else None)
        if later is not None:
            later.drop_forward_prior()
        later = pair
    if later is not None:
        later.drop_forward_prior()


def _warp_map(camera: CameraMotion, origin: tuple[int, int], shape: tuple[int, int]) -> tuple[Map, Map]:
    """Maps (x, y) for `cv2.remap`, float32 [H, W] px from `origin`: where the camera's motion takes each pixel of the region."""
    camera_flow = camera.flow(*origin, *shape)
    columns, rows = np.meshgrid(np.arange(shape[1], dtype=np.float32), np.arange(shape[0], dtype=np.float32))
    return columns + camera_flow[..., 0], rows + camera_flow[..., 1]


def _trusted_flow(near_start: Mask, near_end: Mask, warp: tuple[Map, Map]) -> Mask:
    """bool [H, W]: where a flow is the background's.

    near_start, near_end: bool [H, W] the holes with their margin in the first and the second frame; warp: maps from the first to
    the second, see `_warp_map`. A vector that starts near the hole may be the object's. One that ends near a hole or outside the
    region has matched nothing; where it should end is taken from the camera's motion.
    """
    ends_near_hole = cv2.remap(
        near_end.astype(np.uint8), *warp, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=1
    )
    return np.logical_and(~(near_start | near_end), ends_near_hole == 0)


def independent_motion(
    protected: Mask, residual: NDArray[np.float32], trusted: Mask, speed: float, halo: int, band: int
) -> tuple[Mask, Mask]:
    """(the part of the protected objects that moves on its own, the same and what moves beside it), bool [H, W] each. A crowd, a
    chair, a parked car are background.

    protected: bool [H, W]; residual: float32 [H, W, 2] px, flow less the camera's motion.
    trusted: bool [H, W] where it was measured.
    speed: px, the camera's. halo: px around an object where the flow is neither its own nor the background's. band: px beside an
    object in which what moves goes with it.
    """
    height, width = protected.shape
    half = cv2.resize(protected.view(np.uint8), (-(-width // 2), -(-height // 2)), interpolation=cv2.INTER_AREA) > 0
    count, labels = cv2.connectedComponents(half.view(np.uint8))
    sizes = np.bincount(labels.ravel(), minlength=count)
    sizes[0] = half.size + 1  # what is no object
    if count < 2:
        return np.zeros(protected.shape, bool), np.zeros(protected.shape, bool)
    # motion is smooth: half the size does
    size = half.shape[::-1]
    weight = cv2.resize(trusted.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    known_flow = cv2.resize(
        np.where(trusted[..., None], residual, 0).astype(np.float32), size, interpolation=cv2.INTER_AREA
    )
    known = weight > 0
    known_flow /= np.maximum(weight, 1e-3)[..., None]
    background = membrane(known_flow, known & ~dilate(half, -(-halo // 2)))
    beside = dilate(half, -(-band // 2))
    deviation = np.hypot(*cv2.split(known_flow - background)) * (known & beside)
    side = AVERAGING // 2 | 1
    measured_share = cv2.blur((known & beside).astype(np.float32), (side, side))
    limit = (MIN_OWN_MOTION + MIN_OWN_SHARE * speed) * measured_share
    moves = beside & (cv2.blur(deviation, (side, side)) > limit) & (measured_share > 0)
    moving = np.bincount(labels[moves & half], minlength=count)
    whole = moving > WHOLE_SHARE * sizes  # the foot of a walker does not move while it is on the ground
    # a part right at the hole, where no flow is measured, belongs to what moves
    unmeasured = np.bincount(labels[known & half], minlength=count) == 0
    unmeasured[0] = False
    found = half & (moves | whole[labels] | (unmeasured[labels] & moves.any()))
    along = moves & ~half & known & dilate(found, -(-band // 2))
    objects, along = (
        cv2.resize(part.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0 for part in (found, along)
    )
    objects = protected & objects
    return objects, objects | along


def prefill_hole(frame: WindowFrame) -> NDArray[np.uint8]:
    """uint8 [h, w]: the luma, its hole filled smoothly. Motion in the hole would affect the flow around it."""
    if frame.dilated_hole is None or frame.box is None or not rules.enabled("flow.prefill"):
        return frame.luma
    box = frame.box.wider(8, frame.luma.shape)
    crop = frame.luma[box.span].astype(np.float32)[..., None]
    out = frame.luma.copy()
    where = frame.dilated_hole[box.span]
    out[box.span][where] = np.rint(membrane(crop, ~where)[..., 0]).astype(np.uint8)[where]
    return out
