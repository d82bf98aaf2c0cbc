"""The numbers of one filled clip or picture, against its truth."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase import metrics
from vidrase.bench.case import Case, Mask, Rgb
from vidrase.bench.perceptual import load_lpips

INVISIBLE = 50.0  # dB: beyond it nobody sees a difference, and one exact case must not carry the mean of many
PROTOCOL_WINDOW = 65  # px, uniform: the SSIM of the completion papers (ProPainter core/metrics.py)


class Evaluation:
    """Judges fillings of one case; the truth's flow is computed once for all of them."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self._flow = _TruthFlow(case) if len(case.truth) > 1 else None
        self._lpips = load_lpips()

    def __call__(self, filled: Sequence[Rgb]) -> dict[str, float]:
        """Name -> number; see `MEASURES` for what they mean. Numbers that do not exist for the case are left out."""
        case = self.case
        if len(filled) != len(case.truth):
            return {"frames_missing": float(len(case.truth) - len(filled))}
        numbers = self._pixels(filled)
        if self._flow is not None:
            numbers |= self._flow.flicker(filled)
        order = [name for name in MEASURES if name in numbers]
        return {name: round(numbers[name], 5) for name in order if math.isfinite(numbers[name])}

    def _pixels(self, filled: Sequence[Rgb]) -> dict[str, float]:
        rows: dict[str, list[float]] = {}
        errors = weight = 0.0
        for result, hole, truth in zip(filled, self.case.holes, self.case.truth, strict=True):
            rows.setdefault("changed_outside", []).append(float((result != truth).any(-1)[~hole].sum()))
            rows.setdefault("psnr_frame", []).append(metrics.psnr(result, truth))
            window = PROTOCOL_WINDOW if min(hole.shape) >= PROTOCOL_WINDOW else None
            rows.setdefault("ssim_frame", []).append(metrics.ssim(result, truth, window=window))
            if not hole.any():
                continue
            errors += metrics.l2(result, truth, hole) * float(hole.sum())
            weight += float(hole.sum())
            crop = _around(hole)
            here, real, gap = result[crop], truth[crop], hole[crop]
            values = {
                "l1": metrics.l1(here, real, gap),
                "ssim": metrics.ssim(here, real, gap),
                "gmsd": metrics.gmsd(here, real),
                "seam": metrics.seam_error(here, gap) / metrics.seam_error(real, gap),
                "texture": metrics.gradient_norm(here, gap) - metrics.gradient_norm(real, gap),
            }
            if len(self.case.truth) == 1:
                values["ms_ssim"] = metrics.ms_ssim(result, truth)
            if self._lpips is not None:
                values["lpips"] = self._lpips(here, real)
            for name, value in values.items():
                rows.setdefault(name, []).append(value)
        numbers = {name: float(np.nanmean(values)) for name, values in rows.items() if not np.isnan(values).all()}
        numbers["changed_outside"] = float(np.sum(rows["changed_outside"]))
        if weight:
            numbers["psnr"] = min(metrics.psnr_of(errors / weight), INVISIBLE)
        return numbers


MEASURES = {
    "psnr": ("hole dB", "PSNR of all hole pixels of the clip together", 1),
    "ssim": ("hole SSIM", "SSIM map averaged over hole pixels", 1),
    "l1": ("hole L1", "mean absolute error in the hole, 0..1", -1),
    "flicker": ("flicker", "temporal error in the hole over the truth's; 1 = as steady", -1),
    "seam": ("seam", "step across the rim over plain texture, over the same in the truth; 1 = invisible", -1),
    "texture": ("texture", "gradient norm, hole minus outside, minus the truth's; below 0 = blurred", 0),
    "gmsd": ("GMSD", "gradient magnitude similarity deviation around the hole", -1),
    "ms_ssim": ("MS-SSIM", "multi-scale SSIM of the whole picture", 1),
    "lpips": ("LPIPS", "learned perceptual distance around the hole", -1),
    "psnr_frame": ("frame dB", "the papers' PSNR: whole frame, composited, mean over frames", 1),
    "ssim_frame": ("frame SSIM", "the papers' SSIM: whole frame, 65 px window", 1),
    "changed_outside": ("changed px", "pixels changed outside the hole; must be 0", -1),
    "share_copied": ("copied", "share of hole pixels that are real pixels of another frame", 0),
    "cpu_ms_per_frame": (
        "cpu ms",
        "processor milliseconds a frame, all threads: steadier than the clock on a busy machine",
        -1,
    ),
    "ms_per_frame": ("ms/frame", "wall milliseconds a frame, in this run", -1),
}
"""name -> (heading, meaning, +1 higher is better / -1 lower is better / 0 neither)."""


class _TruthFlow:
    """Motion of the truth (DIS, full size), and where the hole's pixels can be compared with the next frame."""

    def __init__(self, case: Case) -> None:
        dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in case.truth]
        self._flows: list[NDArray[np.float32]] = []
        self._where: list[Mask] = []
        for t in range(len(grey) - 1):
            ahead, back = dis_flow(dis, grey[t], grey[t + 1]), dis_flow(dis, grey[t + 1], grey[t])
            self._flows.append(ahead)
            self._where.append(metrics.steady(ahead, back) & case.holes[t])
        self._truth = self._error(case.truth)

    def _error(self, frames: Sequence[Rgb]) -> float:
        """Warp error pooled over all pairs."""
        total = weight = 0.0
        for t, (flow, where) in enumerate(zip(self._flows, self._where, strict=True)):
            if where.any():
                total += metrics.warp_error(frames[t], frames[t + 1], flow, where) * float(where.sum())
                weight += float(where.sum())
        return total / weight if weight else math.nan

    def flicker(self, filled: Sequence[Rgb]) -> dict[str, float]:
        return {"flicker": metrics.flicker_ratio(self._error(filled), self._truth)}


def dis_flow(dis: cv2.DISOpticalFlow, a: NDArray, b: NDArray) -> NDArray[np.float32]:
    """Flow float32 [H, W, 2] from grey uint8 `a` to `b`; apart from the engine's own flow, so that neither evaluates itself."""
    start = np.zeros((*a.shape, 2), np.float32)
    return dis.calc(a, b, start).astype(np.float32)


def _around(hole: Mask, margin: int = 12) -> tuple[slice, slice]:
    """The hole's rows and columns and a margin, at least 16 px: local measures need not see the whole frame."""
    rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
    (top, bottom), (left, right) = ((max(int(k[0]) - margin, 0), int(k[-1]) + margin + 1) for k in (rows, columns))
    return slice(top, max(bottom, top + 16)), slice(left, max(right, left + 16))
