"""How far a picture, a clip or a mask is from the truth; pure numpy and OpenCV, no models.

Convention: pictures are uint8 or float [H, W] or [H, W, C] on a scale of 0..`peak` (255 unless told); `where` bool [H, W]
restricts a measure to the pixels that are True. A measure over no pixel at all is nan, never a flattering number.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.errors import ShapeError

Picture = NDArray[np.uint8] | NDArray[np.floating]
Mask = NDArray[np.bool_]

PSNR_CEILING = 100.0
"""dB reported for two equal pictures, so that records stay strict JSON and means stay finite."""


def l1(a: Picture, b: Picture, where: Mask | None = None, *, peak: float = 255.0) -> float:
    """Mean |a - b| / peak, in [0, 1]."""
    difference = _difference(a, b, where)
    return float(np.abs(difference).mean()) / peak if difference.size else float("nan")


def l2(a: Picture, b: Picture, where: Mask | None = None, *, peak: float = 255.0) -> float:
    """Mean squared error of values scaled to [0, 1]: mean((a - b)²) / peak²."""
    difference = _difference(a, b, where)
    return float(np.square(difference).mean()) / peak**2 if difference.size else float("nan")


def psnr(a: Picture, b: Picture, where: Mask | None = None, *, peak: float = 255.0) -> float:
    """Peak signal-to-noise ratio in dB, 10 log10(1 / l2), capped at `PSNR_CEILING`."""
    return psnr_of(l2(a, b, where, peak=peak))


def psnr_of(mean_squared: float) -> float:
    """dB of a mean squared error of values in [0, 1]: for errors pooled over a clip."""
    if np.isnan(mean_squared):
        return float("nan")
    return min(PSNR_CEILING, -10.0 * float(np.log10(max(mean_squared, 1e-30))))


def ssim(a: Picture, b: Picture, where: Mask | None = None, *, window: int | None = None, peak: float = 255.0) -> float:
    """Structural similarity, Wang et al. 2004 (IEEE TIP 13/4), equation 13, K1 = 0.01, K2 = 0.03; mean over channels.

    window: None: Gaussian, sigma 1.5, 11 px, as in the paper; odd int: uniform of that size with sample covariance, which
            is what the video completion papers print (65). A border of half the window is left out unless `where` is given.
    """
    similar, _, radius = _ssim_maps(a, b, window, peak)
    return _mean_of_map(similar, where, radius)


MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def ms_ssim(a: Picture, b: Picture, *, peak: float = 255.0) -> float:
    """Multi-scale SSIM, Wang, Simoncelli, Bovik 2003 (Asilomar), equation 7, with its five weights.

    Contrast·structure at each scale, luminance at the coarsest only. Pictures below 176 px use as many scales as fit (the
    weights then made to sum to 1): the number is comparable only between pictures of one size.
    """
    _check(a, b)
    x, y = a.astype(np.float64), b.astype(np.float64)
    scales = 1
    while scales < len(MS_SSIM_WEIGHTS) and min(x.shape[:2]) >> scales >= 11:
        scales += 1
    weights = np.array(MS_SSIM_WEIGHTS[:scales]) / sum(MS_SSIM_WEIGHTS[:scales])
    result = 1.0
    for scale, weight in enumerate(weights):
        similar, contrast, radius = _ssim_maps(x, y, None, peak)
        term = _mean_of_map(similar if scale == scales - 1 else contrast, None, radius)
        result *= max(term, 0.0) ** float(weight)
        x, y = _halved(x), _halved(y)
    return result


def gmsd(a: Picture, b: Picture, *, peak: float = 255.0) -> float:
    """Gradient magnitude similarity deviation, Xue et al. 2014 (IEEE TIP 23/2), equations 4-6; 0 = equal, larger = worse.

    Brightness, averaged 2x2 and halved; Prewitt gradients; c = 170 on the scale of 255.
    """
    _check(a, b)
    low = [_halved(_luma(p)) for p in (a, b)]
    prewitt = np.array([[1, 0, -1], [1, 0, -1], [1, 0, -1]], np.float64) / 3
    m1, m2 = (np.hypot(cv2.filter2D(p, -1, prewitt), cv2.filter2D(p, -1, prewitt.T)) for p in low)
    c = 170.0 * (peak / 255.0) ** 2
    return float(((2 * m1 * m2 + c) / (m1**2 + m2**2 + c)).std())


def gradient_norm(picture: Picture, hole: Mask, *, peak: float = 255.0) -> float:
    """Mean Sobel magnitude of the brightness in the hole minus the same outside, per `peak`; below 0: blurred, above: noisy.

    Pixels whose 3x3 window crosses the rim count for neither side, so a seam does not pass for texture.
    """
    _check_mask(picture, hole)
    grey = _luma(picture)
    magnitude = np.hypot(cv2.Sobel(grey, cv2.CV_64F, 1, 0), cv2.Sobel(grey, cv2.CV_64F, 0, 1)) / (8 * peak)
    inside = cv2.erode(hole.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    outside = cv2.dilate(hole.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0
    if not inside.any() or not outside.any():
        return float("nan")
    return float(magnitude[inside].mean() - magnitude[outside].mean())


def ring(hole: Mask, px: int) -> Mask:
    """bool [H, W]: the pixels outside `hole` within `px` of it (Euclidean)."""
    if not hole.any():
        return np.zeros_like(hole)
    distance = cv2.distanceTransform((~hole).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return (distance > 0) & (distance <= px)


def seam_error(picture: Picture, hole: Mask, *, px: int = 6) -> float:
    """How much the rim of the hole stands out: 1 = like plain texture, 2 = steps across it are twice as large.

    Mean |difference| of the 4-neighbour pairs across the rim, over that of the pairs within `px` of the rim on either
    side of it; half a grey level is added to both, so that flat areas do not divide by nothing.
    """
    _check_mask(picture, hole)
    values = picture.astype(np.float64).reshape(*hole.shape, -1)
    near = ring(hole, px) | ring(~hole, px)
    across, along = [], []
    for axis in (0, 1):
        step = np.abs(np.diff(values, axis=axis)).mean(-1)
        first, second = (np.take(hole, range(k, hole.shape[axis] - 1 + k), axis) for k in (0, 1))
        close = np.take(near, range(hole.shape[axis] - 1), axis) & np.take(near, range(1, hole.shape[axis]), axis)
        across.append(step[close & (first != second)])
        along.append(step[close & (first == second)])
    rim, plain = np.concatenate(across), np.concatenate(along)
    return float((rim.mean() + 0.5) / (plain.mean() + 0.5)) if len(rim) and len(plain) else float("nan")


def warp_error(now: Picture, later: Picture, flow: NDArray[np.float32], where: Mask, *, peak: float = 255.0) -> float:
    """Temporal error: mean squared |now(p) - later(p + flow(p))| over `where`, values in [0, 1].

    Lai et al. 2018 (arXiv 1808.00449), equation 11, with `where` for its non-occluded pixels (here: inside the hole too).

    flow: float32 [H, W, 2] px (dx, dy), from `now` to `later`; take it from the truth, so that the clip cannot choose it.
    """
    _check(now, later)
    if not where.any():
        return float("nan")
    height, width = where.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    warped = cv2.remap(later.astype(np.float32), x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR)
    return float(np.square(now.astype(np.float64) - warped)[where].mean()) / peak**2


def steady(flow_ab: NDArray[np.float32], flow_ba: NDArray[np.float32]) -> Mask:
    """bool [H, W]: where a pixel of `a` is seen in `b` too, by forward-backward agreement.

    Sundaram, Brox, Keutzer 2010, equation 5: |f + b|² < 0.01 (|f|² + |b|²) + 0.5; pixels that leave the picture are not.
    """
    height, width = flow_ab.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    to_x, to_y = x + flow_ab[..., 0], y + flow_ab[..., 1]
    back = cv2.remap(flow_ba, to_x, to_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    inside = (to_x >= 0) & (to_y >= 0) & (to_x <= width - 1) & (to_y <= height - 1)
    gap = np.square(flow_ab + back).sum(-1)
    return inside & (gap < 0.01 * (np.square(flow_ab).sum(-1) + np.square(back).sum(-1)) + 0.5)


def flicker_ratio(result: float, truth: float, *, peak: float = 255.0) -> float:
    """Root of two warp errors as a ratio, one grey level added to each: 1 = as steady as the truth, 2 = twice as restless."""
    level = 1.0 / peak
    return (float(np.sqrt(result)) + level) / (float(np.sqrt(truth)) + level)


def iou(a: Mask, b: Mask) -> float:
    """Intersection over union; 1 for two empty masks."""
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 1.0


def recall(found: Mask, truth: Mask) -> float:
    """Share of the true pixels that were found; nan when there are none."""
    total = int(truth.sum())
    return int((found & truth).sum()) / total if total else float("nan")


def boundary_f(found: Mask, truth: Mask, px: float = 2.0) -> float:
    """F measure of the outlines within `px` (Perazzi et al. 2016): 1 when each lies along the other; nan without a truth."""
    if not truth.any():
        return float("nan")
    a, b = _outline(found), _outline(truth)
    if not a.any() or not b.any():
        return float(not a.any() and not b.any() and found.any())
    precision, recalled = (float((_distance_to(to)[of] <= px).mean()) for of, to in ((a, b), (b, a)))
    return 2 * precision * recalled / (precision + recalled) if precision + recalled else 0.0


def _outline(mask: Mask) -> Mask:
    """Pixels of the mask beside one that is not; the frame's border is no outline."""
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderType=cv2.BORDER_REPLICATE)
    return mask & (inner == 0)


def _distance_to(outline: Mask) -> NDArray[np.float32]:
    """float32 [H, W] px to the nearest pixel of the outline, which has some."""
    return cv2.distanceTransform((~outline).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)  # type: ignore[return-value]


def mask_jumps(masks: Sequence[Mask], backs: Sequence[NDArray[np.float32]]) -> float:
    """Mean change of a mask's area that motion does not explain, as a share of the area; nan when all are empty.

    backs: for each mask but the first, the flow from its frame to the one before, float32 [H, W, 2] px.
    """
    jumps = []
    for before, now, back in zip(masks, masks[1:], backs, strict=False):
        here, there = int(now.sum()), int(_carried(before, back).sum())
        if here or there:
            jumps.append(2 * abs(here - there) / (here + there))
    return float(np.mean(jumps)) if jumps else float("nan")


def mask_blinks(masks: Sequence[Mask], flows: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> float:
    """Mean area, as a share of the mask's, in which a frame contradicts both its neighbours: on for one frame, or off for one.

    flows: for each two neighbours (there, back) float32 [H, W, 2] px: a to b, b to a.
    """
    shares = []
    for t in range(1, len(masks) - 1):
        before, after = _carried(masks[t - 1], flows[t - 1][1]), _carried(masks[t + 1], flows[t][0])
        total = int(before.sum()) + int(after.sum())
        if total:
            shares.append(2 * int(((before == after) & (masks[t] != before)).sum()) / total)
    return float(np.mean(shares)) if shares else float("nan")


def _carried(mask: Mask, flow: NDArray[np.float32]) -> Mask:
    """A mask as seen from the frame that `flow` leads from."""
    height, width = mask.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    moved = cv2.remap(mask.astype(np.float32), x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR)
    return np.asarray(moved >= 0.5, bool)


def average_precision(scores: Sequence[float], hits: Sequence[bool], positives: int) -> float:
    """Area under the precision-recall curve, precision made monotone, 101 recall points (COCO's cocoeval).

    hits: for each detection whether it matched a so far unmatched truth; positives: number of truths.
    """
    if not positives:
        return float("nan")
    if not len(scores):
        return 0.0
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    hit = np.asarray(hits, bool)[order]
    found = np.cumsum(hit)
    precision = found / np.arange(1, len(hit) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(found / positives, np.linspace(0, 1, 101), side="left")
    return float(np.where(at < len(precision), precision[np.minimum(at, len(precision) - 1)], 0.0).mean())


def match_instances(
    found: Sequence[Mask], scores: Sequence[float], truth: Sequence[Mask], *, threshold: float = 0.5
) -> list[bool]:
    """For each of `found`, in its own order: did it match a truth of IoU >= `threshold` that no better-scored one took?"""
    overlaps = _overlaps(found, truth)
    hits, free = [False] * len(found), np.ones(len(truth), bool)
    for k in np.argsort(-np.asarray(scores, np.float64), kind="stable"):
        candidates = np.where(free, overlaps[k], -1.0)
        if len(candidates) and candidates.max() >= threshold:
            free[int(candidates.argmax())] = False
            hits[int(k)] = True
    return hits


def _overlaps(found: Sequence[Mask], truth: Sequence[Mask]) -> NDArray[np.float64]:
    """IoU of every pair, [len(found), len(truth)]."""
    if not len(found) or not len(truth):
        return np.zeros((len(found), len(truth)))
    a, b = (np.stack([mask.ravel() for mask in masks]).astype(np.float32) for masks in (found, truth))
    shared = (a @ b.T).astype(np.float64)
    union = a.sum(1, dtype=np.float64)[:, None] + b.sum(1, dtype=np.float64)[None] - shared
    return np.where(union > 0, shared / np.maximum(union, 1), 1.0)


def _ssim_maps(
    a: Picture, b: Picture, window: int | None, peak: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """(SSIM map, its contrast·structure part, radius of the window); float64, shape of the pictures."""
    _check(a, b)
    x, y = a.astype(np.float64), b.astype(np.float64)
    size = window or 11
    if min(x.shape[:2]) < size:
        raise ShapeError(f"ssim with a window of {size} px needs pictures at least as large, got {x.shape}")

    def mean(p: NDArray[np.float64]) -> NDArray[np.float64]:
        if window is None:
            return np.asarray(cv2.GaussianBlur(p, (11, 11), 1.5, borderType=cv2.BORDER_REFLECT), np.float64)
        return np.asarray(cv2.blur(p, (window, window), borderType=cv2.BORDER_REFLECT), np.float64)

    unbiased = 1.0 if window is None else window**2 / (window**2 - 1.0)
    ux, uy = mean(x), mean(y)
    vx, vy, vxy = (
        unbiased * (mean(p * q) - up * uq) for p, q, up, uq in ((x, x, ux, ux), (y, y, uy, uy), (x, y, ux, uy))
    )
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    contrast = (2 * vxy + c2) / (vx + vy + c2)
    return (2 * ux * uy + c1) / (ux**2 + uy**2 + c1) * contrast, contrast, size // 2


def _mean_of_map(values: NDArray[np.float64], where: Mask | None, radius: int) -> float:
    if where is None:
        return float(values[radius : values.shape[0] - radius, radius : values.shape[1] - radius].mean())
    return float(values[where].mean()) if where.any() else float("nan")


def _halved(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means of 2x2 pixels."""
    mean = cv2.blur(values, (2, 2), anchor=(0, 0), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(mean[::2, ::2], np.float64)


def _luma(picture: Picture) -> NDArray[np.float64]:
    """BT.601 brightness, float64 [H, W]."""
    values = picture.astype(np.float64)
    return values if values.ndim == 2 else values[..., :3] @ np.array([0.299, 0.587, 0.114])


def _difference(a: Picture, b: Picture, where: Mask | None) -> NDArray[np.float64]:
    _check(a, b)
    if where is None:
        return a.astype(np.float64) - b.astype(np.float64)
    _check_mask(a, where)
    return a[where].astype(np.float64) - b[where].astype(np.float64)


def _check(a: Picture, b: Picture) -> None:
    if a.shape != b.shape:
        raise ShapeError(f"expected two pictures of one size, got {a.shape} and {b.shape}")


def _check_mask(picture: Picture, mask: Mask) -> None:
    if mask.dtype != np.bool_ or mask.shape != picture.shape[:2]:
        raise ShapeError(f"expected a mask bool {picture.shape[:2]} like the picture, got {mask.dtype} {mask.shape}")
