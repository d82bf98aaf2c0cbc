"""Flow completion: flow near a hole is discarded and completed from the camera's motion and the flow around it.

Near an object the flow is the object's, not the background's, because the flow's patches touch the object. In and near the hole
the flow is the camera's motion plus the residual flow of the surroundings, interpolated by a membrane.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.camera import CameraMotion, fit_camera
from vidrase.fill.membrane import membrane
from vidrase.fill.sampling import at

# Evidence for flow.snap_to_plane: `rules.py`. Values of constants without a figure have no record yet.
FLOW_MARGIN = 6 / 240
"""Margin around the hole in which measured flow is not trusted, as a share of the frame's height. 3 px at 240p gave 20.4 dB,
7-10 px 23.0 dB over six clip pairs."""

Flow = NDArray[np.float32]


CONFIDENCE_DECAY = 0.6
"""Factor per frame on the confidence that a hidden point goes on moving as it did before."""
MIN_CONFIDENCE = 0.02
"""Confidence below which a motion prior says nothing: of an object that was hidden for eight frames."""
PRIOR_WEIGHT = 0.3  # weight of the motion prior in the completion, per unit of confidence; measured flow has 1
MAX_SNAP = 0.6
"""px: residual flow below it counts as error where the homography explains nearly all of the flow."""
SNAP_RANGE = (0.5, 1.0)
"""px: bounds on the 90th percentile of the trusted residual flow. Below the first `MAX_SNAP` holds in full; above the second
nothing is snapped; it falls linearly in between."""


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredFlow:
    """Flow between two neighbours in one direction, before completion, in a region of the work grid."""

    y: int
    x: int
    """(y, x) is the top left pixel of the region."""
    base: NDArray[np.float16]
    """[h, w, 2] px: the camera's motion. Half precision, because a window holds many of these."""
    residual: NDArray[np.float16]
    """[h, w, 2] px: the measured flow less the camera's motion."""
    trusted: NDArray[np.bool_]
    """[h, w] where the measured flow is the background's."""

    @property
    def nbytes(self) -> int:
        """Memory held."""
        return self.base.nbytes + self.residual.nbytes + self.trusted.nbytes

    @property
    def span(self) -> tuple[slice, slice]:
        """Slices of rows and columns of the work grid."""
        rows, columns = self.trusted.shape
        return slice(self.y, self.y + rows), slice(self.x, self.x + columns)

    def at(self, x: NDArray[np.float32], y: NDArray[np.float32]) -> tuple[Flow, NDArray[np.bool_]]:
        """(flow [N, 2] px at the points (x, y), bool [N] whether it is trusted there)."""
        flow = at((self.base + self.residual).astype(np.float32), x - self.x, y - self.y)
        return flow, at(self.trusted.astype(np.float32), x - self.x, y - self.y) > 0.99


@dataclass(frozen=True, slots=True, eq=False)
class MotionPrior:
    """How points move beyond the camera's motion: a prior for the hidden points of the neighbouring pair."""

    residual: Flow
    """[h, w, 2] px: flow less the camera's motion."""
    confidence: NDArray[np.float32]
    """[h, w] in [0, 1]: 1 where the flow was measured; it falls the longer a point is hidden."""


@dataclass(frozen=True, slots=True, eq=False)
class CompletedFlow:
    """Flow in one direction, known everywhere in its region."""

    y: int
    x: int
    flow: Flow
    """[h, w, 2] px."""
    prior: MotionPrior | None
    """None: dropped once the neighbouring pair is completed, to save memory."""

    def without_prior(self) -> CompletedFlow:
        """The flow without its motion prior."""
        return replace(self, prior=None)

    @property
    def nbytes(self) -> int:
        """Memory held."""
        return self.flow.nbytes + (
            self.prior.residual.nbytes + self.prior.confidence.nbytes if self.prior is not None else 0
        )

    def at(self, x: NDArray[np.float32], y: NDArray[np.float32]) -> Flow:
        """Flow [N, 2] px at the points (x, y), work grid px."""
        return at(self.flow, x - self.x, y - self.y)


@dataclass(slots=True, eq=False)
class FlowPair:
    """Flow of the background between a frame and the next one, in the region around both holes."""

    measured_forward: MeasuredFlow | None
    """None once the frame has left the window: it is not completed again."""
    backward: CompletedFlow
    """From the next frame to this one. Hidden points move as they did before they were covered."""
    forward: CompletedFlow | None
    """From this frame to the next. Hidden points move as they do after they are uncovered, once that is known; None: not
    completed yet, see `completed_forward`."""
    camera: CameraMotion
    """The camera's motion from this frame to the next."""
    kept: FlowPair | None = None
    """The same pair, completed from the flow of protected objects that move on their own; None: no such object is near."""

    @property
    def nbytes(self) -> int:
        """Memory held."""
        return (
            self.backward.nbytes
            + (self.forward.nbytes if self.forward is not None else 0)
            + (self.measured_forward.nbytes if self.measured_forward is not None else 0)
            + (self.kept.nbytes if self.kept is not None else 0)
        )

    def complete_forward(self, later: FlowPair | None) -> None:
        """Complete the forward flow of both layers; `later` is the next pair, completed already; None: there is none."""
        assert self.measured_forward is not None
        self.forward = complete_flow(self.measured_forward, later.forward if later is not None else None)
        if self.kept is not None:
            self.kept.complete_forward(later.kept if later is not None else None)

    def drop_forward_prior(self) -> None:
        """Drop the motion prior of the forward flow: the pair before it is completed."""
        if self.forward is not None:
            self.forward = self.forward.without_prior()
        if self.kept is not None:
            self.kept.drop_forward_prior()

    def settle(self) -> None:
        """Complete the forward flow, if that has not been done, and drop what it is completed from."""
        self.completed_forward()
        self.measured_forward = None
        if self.kept is not None:
            self.kept.settle()

    def remembers(self) -> bool:
        """Whether the backward flow still says how hidden points move."""
        prior = self.backward.prior
        return prior is not None and bool((prior.confidence > MIN_CONFIDENCE).any())

    def drop_prior(self) -> None:
        """Drop the motion prior of the backward flow: the next pair is completed."""
        self.backward = self.backward.without_prior()
        if self.kept is not None:
            self.kept.drop_prior()

    def flow(self, step: int, x: NDArray[np.float32], y: NDArray[np.float32]) -> Flow:
        """Flow [N, 2] px at the points (x, y). step: +1 to the next frame, -1 from the next frame to this one."""
        return (self.completed_forward() if step > 0 else self.backward).at(x, y)

    def completed_forward(self) -> CompletedFlow:
        """`forward`; completed without knowing the future if that has not been done."""
        if self.forward is None:
            assert self.measured_forward is not None
            self.forward = complete_flow(self.measured_forward, None).without_prior()
        return self.forward


def dilate(area: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """Dilate `area`, bool [H, W], by a disc of radius `pixels`."""
    if pixels <= 0 or not area.any():
        return area
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return cv2.dilate(area.astype(np.uint8), kernel) > 0


def split_flow(
    flow: Flow,
    trusted: NDArray[np.bool_],
    origin: tuple[int, int],
    span: tuple[slice, slice],
) -> tuple[MeasuredFlow, CameraMotion]:
    """Split a flow into the camera's motion and the residual, and crop it to `span` of the work grid.

    flow: float32 [H, W, 2] px; trusted: bool [H, W]; origin: (y, x) of their top left pixel on the work grid.
    """
    camera = fit_camera(flow, trusted, origin=origin)
    rows, columns = span
    crop = np.s_[rows.start - origin[0] : rows.stop - origin[0], columns.start - origin[1] : columns.stop - origin[1]]
    region = flow[crop]
    base = camera.flow(rows.start, columns.start, *region.shape[:2])
    residual_half = np.clip(_snap_to_plane(region - base, trusted[crop]), -1000, 1000).astype(np.float16)
    base_half = np.clip(base, -1000, 1000).astype(np.float16)
    return MeasuredFlow(rows.start, columns.start, base_half, residual_half, trusted[crop]), camera


def _snap_to_plane(residual: Flow, trusted: NDArray[np.bool_]) -> Flow:
    """Shrink the residual flow [h, w, 2] px where it is error, not parallax.

    Next to an object the patches of the flow touch it, which shifts the flow by tenths of a pixel. The motion prior takes that
    into the hole, and it adds up along a trajectory. Where the rest of the frame follows the camera, hidden points do as well.
    Residuals below the threshold are set to zero; those up to twice the threshold are reduced.
    """
    magnitude = np.hypot(residual[..., 0], residual[..., 1])
    if not trusted.any() or not rules.enabled("flow.snap_to_plane"):
        return residual
    threshold = MAX_SNAP * float(
        np.clip((SNAP_RANGE[1] - np.percentile(magnitude[trusted], 90)) / (SNAP_RANGE[1] - SNAP_RANGE[0]), 0, 1)
    )
    if threshold <= 0:
        return residual
    return (residual * np.clip(magnitude / threshold - 1, 0, 1)[..., None]).astype(np.float32)  # type: ignore[no-any-return]


def complete_flow(measured: MeasuredFlow, previous: CompletedFlow | None) -> CompletedFlow:
    """Complete `measured` where it is not trusted.

    previous: the completed flow that starts at the frame where `measured` ends, in the same direction; None: there is none. A
    hidden point moves, relative to the camera, as it does there.
    """
    confidence = measured.trusted.astype(np.float32)
    base_flow = measured.base.astype(np.float32)
    residual = np.where(measured.trusted[..., None], measured.residual, 0).astype(np.float32)
    prior = previous.prior if previous is not None else None
    if previous is not None and prior is not None and not measured.trusted.all():
        rows, columns = np.nonzero(~measured.trusted)
        start_x, start_y = (columns + measured.x).astype(np.float32), (rows + measured.y).astype(np.float32)
        base = base_flow[rows, columns]
        predicted = np.zeros_like(base)
        for _ in range(2):  # fixed point: the point where the prior is read depends on the flow itself
            x, y = (
                start_x + base[:, 0] + predicted[:, 0] - previous.x,
                start_y + base[:, 1] + predicted[:, 1] - previous.y,
            )
            predicted = at(prior.residual, x, y)
        prior_height, prior_width = prior.confidence.shape
        inside = (x >= 0) & (y >= 0) & (x <= prior_width - 1) & (y <= prior_height - 1)
        residual[rows, columns] = predicted
        confidence[rows, columns] = at(prior.confidence, x, y) * CONFIDENCE_DECAY * inside
    weight = np.where(measured.trusted, 1, PRIOR_WEIGHT * confidence).astype(np.float32)
    filled = membrane(residual, weight)
    return CompletedFlow(measured.y, measured.x, base_flow + filled, MotionPrior(filled, confidence))
