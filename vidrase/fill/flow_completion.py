"""Flow that can be trusted near holes: the polluted part thrown away and completed from the camera's motion and the surroundings.

Near the thing the flow is the thing's, not the background's: patches that touch it are polluted. In and near the hole the flow is
the camera's motion plus the residual of the surroundings, interpolated by a membrane.
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

POLLUTION = 6 / 240
"""Reach of pollution as a share of the picture's height: 3 px at 240p gave 20.4 dB, 7-10 px 23.0 dB over six clip pairs."""

Flow = NDArray[np.float32]


FADE = 0.6
"""What is left, a frame, of the belief that a hidden point goes on moving as it did."""
TRUST_MEMORY = 0.3
PLANE = 0.6
"""px beyond the camera's motion that are taken for errors where the camera explains nearly everything."""
CALM = (0.5, 1.0)
"""px beyond the camera's motion that nine in ten trusted points stay under: `PLANE` holds in full below the one, not at all
above the other."""


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredFlow:
    """One direction of the motion between two neighbours, before completion, in a region of the working grid."""

    y: int
    x: int
    """Top left pixel of the region."""
    base: NDArray[np.float16]
    """[h, w, 2] px: the camera's motion. Half precision: a window holds many of these."""
    residual: NDArray[np.float16]
    """[h, w, 2] px: what was measured beyond it."""
    trusted: NDArray[np.bool_]
    """[h, w]"""

    @property
    def nbytes(self) -> int:
        """Memory held."""
        return self.base.nbytes + self.residual.nbytes + self.trusted.nbytes

    def at(self, x: NDArray[np.float32], y: NDArray[np.float32]) -> tuple[Flow, NDArray[np.bool_]]:
        """(motion [N, 2] at the points (x, y), whether it is trusted there bool [N])."""
        flow = at((self.base + self.residual).astype(np.float32), x - self.x, y - self.y)
        return flow, at(self.trusted.astype(np.float32), x - self.x, y - self.y) > 0.99


@dataclass(frozen=True, slots=True, eq=False)
class MotionPrior:
    """How points moved, for the neighbours' points that are hidden."""

    residual: Flow
    """[h, w, 2] px: the part that is not the camera's."""
    confidence: NDArray[np.float32]
    """[h, w] in [0, 1]: 1 where measured, less the longer a point has been hidden."""


@dataclass(frozen=True, slots=True, eq=False)
class CompletedFlow:
    """One direction of the motion, everywhere in its region."""

    y: int
    x: int
    flow: Flow
    """[h, w, 2] px."""
    prior: MotionPrior | None
    """None: forgotten, as the neighbour is completed. A window holds many of these."""

    def without_prior(self) -> CompletedFlow:
        """The same without its memory."""
        return replace(self, prior=None)

    @property
    def nbytes(self) -> int:
        """Memory held."""
        return self.flow.nbytes + (
            self.prior.residual.nbytes + self.prior.confidence.nbytes if self.prior is not None else 0
        )

    def at(self, x: NDArray[np.float32], y: NDArray[np.float32]) -> Flow:
        """Motion [N, 2] at the points (x, y)."""
        return at(self.flow, x - self.x, y - self.y)


@dataclass(slots=True, eq=False)
class FlowPair:
    """Motion of the background between a picture and the next one, in the region around both their holes."""

    measured_forward: MeasuredFlow | None
    """None once the picture has left the window's look ahead."""
    backward: CompletedFlow
    """From the next picture to this one; hidden points move on as they did before they were covered."""
    forward: CompletedFlow
    """From this picture to the next; hidden points move as they do after they are uncovered, once that is known."""
    camera: CameraMotion
    """From this picture to the next, as a whole."""

    @property
    def nbytes(self) -> int:
        """Memory held."""
        return (
            self.backward.nbytes + self.forward.nbytes + (self.measured_forward.nbytes if self.measured_forward else 0)
        )

    def flow(self, step: int, x: NDArray[np.float32], y: NDArray[np.float32]) -> Flow:
        """Motion [N, 2] at the points (x, y); step +1: to the next picture, -1: from the next to this one."""
        return (self.forward if step > 0 else self.backward).at(x, y)


def dilate(area: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """bool [H, W] `area` and everything within `pixels` of it."""
    if pixels <= 0 or not area.any():
        return area
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return cv2.dilate(area.astype(np.uint8), kernel) > 0


def split_flow(
    flow: Flow,
    trusted: NDArray[np.bool_],
    origin: tuple[int, int],
    wanted: tuple[slice, slice],
) -> tuple[MeasuredFlow, CameraMotion]:
    """The region `wanted` (of the working grid) of a flow, split into the camera's motion and the rest.

    flow: float32 [H, W, 2] px; trusted: bool [H, W]; origin: (y, x) of their top left pixel on the working grid.
    """
    camera = fit_camera(flow, trusted, origin=origin)
    rows, columns = wanted
    here = np.s_[rows.start - origin[0] : rows.stop - origin[0], columns.start - origin[1] : columns.stop - origin[1]]
    region = flow[here]
    base = camera.flow(rows.start, columns.start, *region.shape[:2])
    rest = np.clip(_snap_to_plane(region - base, trusted[here]), -1000, 1000).astype(np.float16)
    coarse = np.clip(base, -1000, 1000).astype(np.float16)
    return MeasuredFlow(rows.start, columns.start, coarse, rest, trusted[here]), camera


def _snap_to_plane(residual: Flow, trusted: NDArray[np.bool_]) -> Flow:
    """The residual [h, w, 2] less what is error, not parallax.

    Next to a thing the patches of the flow feel the thing, by tenths of a pixel, and memory carries that into the hole and adds
    it up along a chain. Where the rest of the picture moves as the camera does, so does what is hidden.
    """
    size = np.hypot(residual[..., 0], residual[..., 1])
    if not trusted.any() or not rules.enabled("flow.snap_to_plane"):
        return residual
    least = PLANE * float(np.clip((CALM[1] - np.percentile(size[trusted], 90)) / (CALM[1] - CALM[0]), 0, 1))
    if least <= 0:
        return residual
    return (residual * np.clip(size / least - 1, 0, 1)[..., None]).astype(np.float32)  # type: ignore[no-any-return]


def complete_flow(now: MeasuredFlow, before: CompletedFlow | None) -> CompletedFlow:
    """`now` with what is not trusted filled in.

    before: the completed motion of the pair of pictures that came before in the direction of travel: from the picture that `now`
    leads to onwards. A point that is hidden now goes on moving, relative to the camera, as it did there.
    """
    belief = now.trusted.astype(np.float32)
    whole_base = now.base.astype(np.float32)
    residual = np.where(now.trusted[..., None], now.residual, 0).astype(np.float32)
    memory = before.prior if before is not None else None
    if before is not None and memory is not None and not now.trusted.all():
        rows, columns = np.nonzero(~now.trusted)
        here_x, here_y = (columns + now.x).astype(np.float32), (rows + now.y).astype(np.float32)
        base = whole_base[rows, columns]
        guess = np.zeros_like(base)
        for _ in range(2):  # where it comes from depends on how it moves
            x, y = here_x + base[:, 0] + guess[:, 0] - before.x, here_y + base[:, 1] + guess[:, 1] - before.y
            guess = at(memory.residual, x, y)
        rows_before, columns_before = memory.confidence.shape
        inside = (x >= 0) & (y >= 0) & (x <= columns_before - 1) & (y <= rows_before - 1)
        residual[rows, columns] = guess
        belief[rows, columns] = at(memory.confidence, x, y) * FADE * inside
    soft = np.where(now.trusted, 1, TRUST_MEMORY * belief).astype(np.float32)
    filled = membrane(residual, soft)
    return CompletedFlow(now.y, now.x, whole_base + filled, MotionPrior(filled, belief))
