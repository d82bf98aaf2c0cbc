"""Motion between two pictures: dense flow models behind one protocol.

Invariant: a(p) is seen at b(p + flow(p)); equal pictures give zero flow, float32 [B, H, W, 2] px (dx, dy) at the size given.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.errors import OptionError, ShapeError
from vidrase.light import under_one_light

PATCH = 8  # px: side of the patches of OpenCV's preset


class FlowModel(Protocol):
    """Dense motion estimation, batch first, stateless."""

    name: str

    def __call__(self, a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Flow from each picture of `a` to its partner in `b`: uint8 [B, H, W] each -> float32 [B, H, W, 2] px (dx, dy)."""
        ...


class DisFlow:
    """OpenCV's dense inverse search.

    Paper: Kroeger, Timofte, Dai, Van Gool, "Fast Optical Flow using Dense Inverse Search", ECCV 2016, arXiv 1603.03590.
    """

    MIN_SIDE = 24  # px: below this a pyramid of 8 px patches has nothing to hold on to

    def __init__(self, *, finest_scale: int = 1, iterations: int = 16, refinements: int = 5, stride: int = 4) -> None:
        self.name = "dis"
        self._settings = finest_scale, stride, iterations, refinements
        # OpenCV's object keeps its pyramids between calls: shared by mask and fill stage, which run side by side, it crashes
        self._own = threading.local()

    def _search(self) -> cv2.DISOpticalFlow:
        """This thread's own searcher."""
        finest_scale, stride, iterations, refinements = self._settings
        if not hasattr(self._own, "dis"):
            dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
            dis.setGradientDescentIterations(iterations)
            dis.setVariationalRefinementIterations(refinements)
            self._own.dis = dis
        # for a small picture OpenCV chooses others, and keeps them for the next
        self._own.dis.setPatchSize(PATCH)
        self._own.dis.setPatchStride(stride)
        self._own.dis.setFinestScale(finest_scale)
        return self._own.dis

    def __call__(self, a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `FlowModel`. Pictures smaller than 24 px a side are padded by their edge."""
        if a.shape != b.shape or a.ndim != 3 or a.dtype != np.uint8 or b.dtype != np.uint8:
            raise ShapeError(f"expected two uint8 [B, H, W], got {a.dtype} {a.shape} and {b.dtype} {b.shape}")
        height, width = a.shape[1:]
        pad = ((0, 0), (0, max(self.MIN_SIDE - height, 0)), (0, max(self.MIN_SIDE - width, 0)))
        if pad[1][1] or pad[2][1]:
            a, b = np.pad(a, pad, mode="edge"), np.pad(b, pad, mode="edge")
        flow = np.zeros((len(a), *a.shape[1:], 2), np.float32)
        search = self._search()
        for one, two, out in zip(a, b, flow, strict=True):
            if not np.array_equal(one, two):
                one, two = under_one_light(one, two)
                out[:] = search.calc(np.ascontiguousarray(one), np.ascontiguousarray(two), None)
        return flow[:, :height, :width]


def swift(flow: FlowModel) -> FlowModel:
    """The same model in less time, where there is a way that costs little."""
    return DisFlow(iterations=8, refinements=2) if isinstance(flow, DisFlow) else flow


def for_masks(flow: FlowModel) -> FlowModel:
    """The same model as fast as masks of whole objects allow, whose edges are uncertain by some px anyway.

    Coverage of eleven performers .9445 with the full settings, .9441 with these, at a fifth of the time.
    """
    return DisFlow(iterations=8, refinements=0, stride=6) if isinstance(flow, DisFlow) else flow


def rough(flow: FlowModel) -> FlowModel:
    """The same model without refinement, where that saves time: enough for the motion of a whole picture at half its size.

    The finest scale is needed: without it 24.9, without the two finest 24.8 instead of 26.0 dB in 65 frames of samples/walk.mp4
    at quality fast.
    """
    return DisFlow(finest_scale=0, iterations=8, refinements=0) if isinstance(flow, DisFlow) else flow


def load_flow(
    name: str = "dis", *, weights: Path | None = None, device: str = "cpu", note: Callable[[str], None]
) -> FlowModel:
    """The flow model called `name`: "dis" (OpenCV, CPU, nothing to download) or "raft" (torchvision, from `weights`).

    device: of RAFT, "cpu", "cuda", "cuda:1", "mps". Without weights RAFT is replaced by DIS, and `note` is told.
    Raises OptionError for a name that does not exist, ModelError or WeightsCorrupt for a file that holds no RAFT.
    """
    if name == "raft" and weights is not None:
        from vidrase.flow.raft import load_raft

        return load_raft(weights, device)
    if name == "raft":
        note(
            "no RAFT weights on this machine (--flow-weights FILE, or `vidrase models pull raft-large`): motion by DIS"
        )
    elif name != "dis":
        raise OptionError(f"no flow model '{name}'; there are dis and raft")
    return DisFlow()
