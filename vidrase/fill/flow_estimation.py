"""The background's motion between neighbours: measured around their holes, believed where it is the background's, completed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.camera import CameraMotion, fit_camera
from vidrase.fill.flow_completion import (
    POLLUTION,
    CompletedFlow,
    FlowPair,
    MeasuredFlow,
    complete_flow,
    dilate,
    split_flow,
)
from vidrase.fill.membrane import membrane
from vidrase.fill.window_frame import WindowFrame
from vidrase.flow import FlowModel

SURROUNDINGS = 0.15
"""Width of the surroundings in which motion is measured, as a share of the frame's height."""


SUPPORT = 0.3
"""Share of the flow that must follow the camera, for the flow to be measured beyond its motion."""

OWN_MOTION, OWN_SHARE = 0.6, 0.07
"""px a frame, and share of the camera's speed, by which a thing must move apart from its surroundings to move on its own."""
LARGER = 1.0
"""Times the hole, beyond which a thing beside it is rather what the hole hides a part of: at 2.0 people pasted before a camel and
a rhino went 1.9 and 0.9 dB worse."""
MOST = 0.5
"""Share of a thing that must do so for all of it to count."""
CALM = 9  # px over which motion is averaged for this

Picture = NDArray[np.uint8]
Hidden = NDArray[np.bool_]
Map = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """What is left of the motion between a moment and a picture that was laid over it."""

    forward: CompletedFlow
    """To the picture."""
    backward: MeasuredFlow
    camera: CameraMotion
    """To the picture, as a whole."""


class FlowEstimator:
    """Links one moment after the other.

    Motion is measured twice: the camera's on pictures of half the size, then, between one picture and the other laid over it,
    what is left. In the second look neither picture has an edge where its hole is: what one hides the other lends. Without that
    the patches of the flow that touch a hole are dragged along by it, the farther the faster the camera moves.

    rough: another model for the first look.
    """

    def __init__(self, flow: FlowModel, rough: FlowModel | None = None) -> None:
        self._flow, self._rough = flow, rough or flow
        self._calm: dict[int, NDArray[np.uint8]] = {}  # of the last two moments: each meets both its neighbours

    def __call__(self, before: WindowFrame, now: WindowFrame, earlier: FlowPair | None) -> FlowPair:
        """The motion between two neighbours, in both directions, around both holes. earlier: the link that led to `before`."""
        forth, home, camera = self._measured(before, now)
        behind = complete_flow(home, earlier.backward if earlier is not None and rules.enabled("flow.prior") else None)
        if earlier is not None:
            earlier.backward = earlier.backward.without_prior()
        return FlowPair(forth, behind, complete_flow(forth, None).without_prior(), camera)

    def over(self, here: WindowFrame, picture: WindowFrame) -> Registration:
        """What is left of the motion between a moment and a picture laid over it."""
        forth, home, camera = self._measured(here, picture)
        return Registration(complete_flow(forth, None).without_prior(), home, camera)

    def _measured(self, before: WindowFrame, now: WindowFrame) -> tuple[MeasuredFlow, MeasuredFlow, CameraMotion]:
        """The motion there and back, around both holes, and the camera's on the way there."""
        pollution = max(round(POLLUTION * now.luma.shape[0]), 3) if rules.enabled("flow.margin") else 0
        boxes = [moment.box for moment in (before, now) if moment.box is not None]
        box = boxes[0].joined(boxes[-1]).wider(2 * pollution, now.luma.shape)
        # the camera's motion and the completion need surroundings, not the whole frame
        wide = box.wider(max(round(SURROUNDINGS * now.luma.shape[0]), 32), now.luma.shape)
        polluted = [
            np.zeros(wide.shape, bool)
            if moment.dilated_hole is None
            else dilate(moment.dilated_hole[wide.span], pollution)
            for moment in (before, now)
        ]
        calm = {m.number: self._calm[m.number] if m.number in self._calm else prefill_hole(m) for m in (before, now)}
        self._calm = calm
        pair = np.stack([calm[before.number][wide.span], calm[now.number][wide.span]])
        origin = (wide.top, wide.left)
        hidden = [
            np.zeros(wide.shape, bool) if moment.dilated_hole is None else moment.dilated_hole[wide.span]
            for moment in (before, now)
        ]
        free = ~(polluted[0] | polluted[1])
        most = int(LARGER * max(np.count_nonzero(mask) for mask in hidden))
        stays = [
            None if m.protected is None or not rules.enabled("flow.foreground") else m.protected for m in (before, now)
        ]
        stays = [None if mask is None else mask[wide.span] for mask in stays]
        camera = self._camera(pair, free, origin)
        home_camera = camera.inverse()
        way, way_home = _warp_map(camera, origin, wide.shape), _warp_map(home_camera, origin, wide.shape)
        ahead = self._beyond(camera, way, pair[0], pair[1], hidden[0], hidden[1], origin)
        back = self._beyond(home_camera, way_home, pair[1], pair[0], hidden[1], hidden[0], origin)
        sure = _trusted_flow(polluted[0], polluted[1], way), _trusted_flow(polluted[1], polluted[0], way_home)
        for moment, flow, by, trusted, mask in zip(
            (before, now), (ahead, back), (camera, home_camera), sure, stays, strict=True
        ):
            if mask is not None:
                moved = by.flow(*origin, *mask.shape)
                speed = float(np.median(np.hypot(moved[..., 0], moved[..., 1])))
                moving = independent_motion(mask, flow - moved, trusted, speed, pollution, most)
                if moment.occluder is None:
                    moment.occluder = np.zeros(moment.luma.shape, bool)
                moment.occluder[wide.span] |= moving
        forth, camera = split_flow(ahead, sure[0], origin, box.span)
        return forth, split_flow(back, sure[1], origin, box.span)[0], camera

    def _camera(self, pair: NDArray[np.uint8], trusted: NDArray[np.bool_], origin: tuple[int, int]) -> CameraMotion:
        """The camera's motion, roughly, from pictures of half the size."""
        half = np.stack([cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for picture in pair])
        flow = self._rough(half[:1], half[1:])[0] * 2
        rows, columns = half.shape[1:]
        seen = cv2.resize(trusted.astype(np.uint8) * 255, (columns, rows), interpolation=cv2.INTER_AREA) == 255
        whole = cv2.resize(flow, pair.shape[:0:-1], interpolation=cv2.INTER_LINEAR)
        sure = cv2.resize(seen.astype(np.uint8), pair.shape[:0:-1], interpolation=cv2.INTER_NEAREST) > 0
        return fit_camera(whole, sure, origin=origin)

    def _beyond(
        self,
        camera: CameraMotion,
        way: tuple[Map, Map],
        a: Picture,
        b: Picture,
        a_hidden: Hidden,
        b_hidden: Hidden,
        origin: tuple[int, int],
    ) -> NDArray[np.float32]:
        """Flow [H, W, 2] from `a` to `b`, [H, W] each, measured beyond the camera's motion from `a` to `b`; way: see `_where`."""
        if camera.support < SUPPORT or not rules.enabled("flow.two_steps"):
            return self._flow(a[None], b[None])[0]
        x, y = way
        there = cv2.remap(b, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        lost = (
            cv2.remap(b_hidden.astype(np.uint8), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=1)
            > 0
        )
        # what one of the two does not show is lent by the other: an edge of nothing would drag the flow along
        here = a
        if rules.enabled("flow.lend"):
            here = np.where(a_hidden & ~lost, there, a)
            there = np.where(lost, here, there)
        rest = self._flow(here[None], there[None])[0]
        columns, rows = np.meshgrid(np.arange(a.shape[1], dtype=np.float32), np.arange(a.shape[0], dtype=np.float32))
        x, y = camera.points(columns + rest[..., 0] + origin[1], rows + rest[..., 1] + origin[0])
        return np.dstack([x - columns - origin[1], y - rows - origin[0]]).astype(np.float32)


def complete_from_future(moments: Sequence[WindowFrame]) -> None:
    """Complete the motion ahead, from the end backward: what is uncovered later tells how it moved while hidden."""
    later: FlowPair | None = None
    for moment in reversed(moments):
        link = moment.flow_pair
        if link is not None and link.measured_forward is not None:
            prior = later.forward if later is not None and rules.enabled("flow.prior_future") else None
            link.forward = complete_flow(link.measured_forward, prior)
        if later is not None:
            later.forward = later.forward.without_prior()
        later = link
    if later is not None:
        later.forward = later.forward.without_prior()


def _warp_map(camera: CameraMotion, origin: tuple[int, int], shape: tuple[int, int]) -> tuple[Map, Map]:
    """(x, y), float32 [H, W] px each, counted from `origin`: where the camera's motion takes the pixels of the region there."""
    moved = camera.flow(*origin, *shape)
    columns, rows = np.meshgrid(np.arange(shape[1], dtype=np.float32), np.arange(shape[0], dtype=np.float32))
    return columns + moved[..., 0], rows + moved[..., 1]


def _trusted_flow(here: Hidden, there: Hidden, way: tuple[Map, Map]) -> Hidden:
    """bool [H, W]: where a flow is the background's.

    here, there: bool [H, W] what lies near the thing in the first and in the second picture; way: see `_where`, between the two.
    A vector is the thing's if it starts near the thing. One that ends there, or beyond the region, has measured nothing, whatever
    it says; where it should have ended the camera knows.
    """
    lost = cv2.remap(there.astype(np.uint8), *way, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=1)
    return np.logical_and(~(here | there), lost == 0)


def independent_motion(
    stays: Hidden, beyond: NDArray[np.float32], trusted: Hidden, speed: float, halo: int, most: int
) -> Hidden:
    """bool [H, W]: what of the things that stay moves on its own. A crowd, a chair, a parked car are background.

    beyond: float32 [H, W, 2] px, the flow beyond the camera's; trusted: bool [H, W] where it was measured.
    speed: px, the camera's. halo: px around a thing where the flow is neither its own nor the background's.
    most: px² of the largest thing that counts: what is larger than the hole is what the hole hides a part of.
    """
    rest = np.where(trusted[..., None], beyond, 0).astype(np.float32)
    around = membrane(rest, trusted & ~dilate(stays, halo))
    apart = np.hypot(*np.moveaxis(rest - around, 2, 0)) * (trusted & stays)
    share = cv2.blur((trusted & stays).astype(np.float32), (CALM, CALM))
    moves = stays & (cv2.blur(apart, (CALM, CALM)) > (OWN_MOTION + OWN_SHARE * speed) * share) & (share > 0)
    count, labels = cv2.connectedComponents(stays.astype(np.uint8))
    sizes = np.bincount(labels.ravel(), minlength=count)
    moving = np.bincount(labels[moves], minlength=count)
    whole = moving > MOST * sizes  # a walker's foot stands for a moment
    whole[0] = False
    large = sizes > most
    large[0] = False
    return (moves | whole[labels]) & ~large[labels]  # type: ignore[no-any-return]


def prefill_hole(moment: WindowFrame) -> NDArray[np.uint8]:
    """The luma with a smooth surface instead of the hole: what moves there would drag the flow around it along."""
    if moment.dilated_hole is None or moment.box is None or not rules.enabled("flow.prefill"):
        return moment.luma
    box = moment.box.wider(8, moment.luma.shape)
    crop = moment.luma[box.span].astype(np.float32)[..., None]
    calm = moment.luma.copy()
    where = moment.dilated_hole[box.span]
    calm[box.span][where] = np.rint(membrane(crop, ~where)[..., 0]).astype(np.uint8)[where]
    return calm
