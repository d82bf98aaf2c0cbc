"""Segment one object in one image by colour and edges: inside a drawn box, or near a predicted mask.

GrabCut: Rother, Kolmogorov, Blake, "GrabCut: interactive foreground extraction using iterated graph cuts", SIGGRAPH 2004.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.flow import FlowModel

# what GrabCut learns the background from: a margin around the box, as a share of its sides, and at least this many px
MARGIN_SHARE, MARGIN_PX = 0.4, 16
MIN_CONTRAST = 3.0  # grey levels, standard deviation; a box with less is uniform and holds no object
MIN_AREA_PX = 12  # px; a smaller mask is no object
MIN_AREA_SHARE = 0.03  # mask area / box area; below it the mask is noise
MAX_AREA_SHARE = 0.995  # mask area / box area; above it nothing was separated from the background
LOW_AREA_SHARE = 0.25  # mask area / box area; below it the segmentation is tried again with less prior knowledge
COLOUR_BINS = 16  # per channel, of the colour histograms
# residual motion / 3 times its typical value outside the box; from the first on most of the box moves, below the second
# a pixel is background
MIN_RESIDUAL_MOTION, MAX_BACKGROUND_MOTION = 1.3, 0.5
# distance inside the likely foreground / short side of the box; pixels deeper than this are certain foreground
CORE_SHARE = 0.12
GAP_SHARE = 0.3  # gap width / short side of the box; narrower gaps in the mask (a band of another colour) are closed
MIN_PART_SHARE = 0.06  # part area / largest part's area; smaller parts are noise

Mask = NDArray[np.bool_]
Picture = NDArray[np.uint8]


def segment_box(
    picture: Picture, box: tuple[int, int, int, int], neighbours: Sequence[Picture] = (), flow: FlowModel | None = None
) -> Mask | None:
    """Segment the object in a box: bool [h, w]; None when nothing is separable from the background.

    picture: uint8 [h, w, 3] RGB; box: (y0, y1, x0, x1) px inside it, half-open; neighbours: images from a few frames before and
    after; with them a moving object is separated by its motion.
    """
    y0, y1, x0, x1 = box
    inside = picture[y0:y1, x0:x1]
    area = inside.shape[0] * inside.shape[1]
    if area < MIN_AREA_PX or float(inside.std((0, 1)).max()) < MIN_CONTRAST:
        return None
    window = padded_box(box, picture.shape[:2], MARGIN_PX, MARGIN_SHARE)
    crop = _crop(picture, window)
    in_box = np.zeros(crop.shape[:2], bool)
    in_box[y0 - window[0] : y1 - window[0], x0 - window[2] : x1 - window[2]] = True
    if (~in_box).sum() < MIN_AREA_PX:  # the box is the whole image: its border pixels serve as background
        in_box[[0, -1]] = in_box[:, [0, -1]] = False
    labels = np.where(in_box, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    labelled = _initial_labels(crop, in_box, labels, [_crop(other, window) for other in neighbours], flow)
    result = _grabcut(crop, labelled.copy(), 3)
    if result.sum() < LOW_AREA_SHARE * area:  # too small: GrabCut without the prior labels gives a larger mask
        result |= _grabcut(crop, labels, 5)
    if result.sum() < LOW_AREA_SHARE * area:  # surroundings of the same colour: mark the core as certain foreground
        result |= _grabcut(crop, _sure_core(labelled, min(y1 - y0, x1 - x0)), 3)
    result = _close_gaps(remove_small_parts(result), min(y1 - y0, x1 - x0)) & in_box
    if result.sum() < MIN_AREA_PX or not MIN_AREA_SHARE <= result.sum() / area <= MAX_AREA_SHARE:
        return None
    full = np.zeros(picture.shape[:2], bool)
    full[window[0] : window[1], window[2] : window[3]] = result
    return full


def _initial_labels(
    crop: Picture, in_box: Mask, labels: NDArray[np.uint8], neighbours: Sequence[Picture], flow: FlowModel | None
) -> NDArray[np.uint8]:
    """Initial GrabCut labels: a box pixel with the background's colour or motion is probably background."""
    probability = cv2.blur(_foreground_probability(crop, in_box), (5, 5)).clip(0.02, 0.98)
    score = np.log(probability / (1 - probability))
    background = np.zeros(in_box.shape, bool)
    if neighbours and flow is not None:
        residuals = [_residual_motion(crop, other, in_box, flow) for other in neighbours]
        residual = np.minimum.reduce(residuals)  # a residual towards one neighbour only is an occlusion effect
        if np.quantile(residual[in_box], 0.7) > MIN_RESIDUAL_MOTION:
            score += 1.2 * np.log2(residual.clip(0.35, 4.0))
            background = in_box & (np.maximum.reduce(residuals) < MAX_BACKGROUND_MOTION)
    labelled = labels.copy()
    labelled[in_box & (score <= 0)] = cv2.GC_PR_BGD
    labelled[background] = cv2.GC_BGD
    return labelled


def _foreground_probability(crop: Picture, in_box: Mask) -> NDArray[np.float64]:
    """[h, w] 0..1: frequency of a pixel's colour inside the box against outside; 0.5: equally frequent."""
    lab = cv2.cvtColor(crop, cv2.COLOR_RGB2LAB).astype(np.int64) * COLOUR_BINS // 256
    which = (lab[..., 0] * COLOUR_BINS + lab[..., 1]) * COLOUR_BINS + lab[..., 2]
    shares = []
    for region in (in_box, ~in_box):
        counts = (
            np.bincount(which[region], minlength=COLOUR_BINS**3)
            .reshape(COLOUR_BINS, COLOUR_BINS, COLOUR_BINS)
            .astype(np.float64)
        )
        for axis in range(3):
            padded = np.pad(counts, [(1, 1) if a == axis else (0, 0) for a in range(3)])
            before, after = (np.take(padded, np.arange(COLOUR_BINS) + k, axis) for k in (0, 2))
            counts = 0.25 * before + 0.5 * counts + 0.25 * after
        shares.append(counts.ravel() / counts.sum())
    return (shares[0] / (shares[0] + shares[1] + 1e-9))[which]


def _residual_motion(crop: Picture, other: Picture, in_box: Mask, flow: FlowModel) -> NDArray[np.float64]:
    """[h, w]: each pixel's motion minus an affine model of the background's, relative to the typical background residual."""
    flow_to_other = flow(luma_of(crop)[None], luma_of(other)[None])[0]
    rows, columns = np.indices(in_box.shape)
    coordinates = np.stack([columns, rows, np.ones_like(rows)], -1).astype(np.float64)
    inliers, typical, distance = ~in_box, 0.0, np.zeros(in_box.shape)
    for _ in range(4):
        fitted, *_ = np.linalg.lstsq(coordinates[inliers], flow_to_other[inliers], rcond=None)
        distance = np.linalg.norm(flow_to_other - coordinates @ fitted, axis=-1)
        typical = float(np.median(distance[~in_box]))
        inliers = ~in_box & (distance <= max(2 * typical, 0.5))
    return distance / (3 * typical + 0.7)


def refit(picture: Picture, predicted: Mask, uncertain: Mask, band: int) -> Mask:
    """Refine `predicted` bool [h, w] to the colours and edges of `picture`, moving its border by at most about `band` px.

    uncertain: bool [h, w], the pixels of it that may be background even far inside. Returns bool [h, w].
    """
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * band + 1, 2 * band + 1))
    dilated = cv2.dilate(predicted.view(np.uint8), ellipse)
    # a crop border is no object border
    eroded = cv2.erode(predicted.view(np.uint8), ellipse, borderType=cv2.BORDER_REPLICATE)
    if not (dilated == 0).any():
        return predicted
    labels = np.where(predicted, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[dilated == 0] = cv2.GC_BGD
    labels[eroded > 0] = cv2.GC_FGD
    labels[uncertain] = cv2.GC_PR_BGD
    return _grabcut(picture, labels, 2)


def _sure_core(labelled: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The labels with the core of the probable foreground marked as certain."""
    likely = (labelled == cv2.GC_PR_FGD).astype(np.uint8)
    depth = cv2.distanceTransform(likely, cv2.DIST_L2, cv2.DIST_MASK_5)
    out = labelled.copy()
    out[depth > CORE_SHARE * side] = cv2.GC_FGD
    return out


def _close_gaps(mask: Mask, side: int) -> Mask:
    """`mask` with gaps closed that are narrower than a share of the box's short side: a band, or a rim like the background."""
    reach = round(GAP_SHARE * side / 2)
    if reach < 1 or not mask.any():
        return mask
    padded = np.pad(mask.view(np.uint8), reach)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, disc)[reach:-reach, reach:-reach]
    return np.asarray(mask | (closed > 0))


def _grabcut(picture: Picture, labels: NDArray[np.uint8], rounds: int) -> Mask:
    if not (labels & 1).any() or (labels & 1).all():  # GrabCut needs pixels of both kinds
        return (labels & 1).astype(bool)
    cv2.setRNGSeed(0)  # GrabCut initialises its colour models at random: a fixed seed makes results repeatable
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(np.ascontiguousarray(picture), labels, None, background, foreground, rounds, cv2.GC_INIT_WITH_MASK)
    return (labels & 1).astype(bool)


def padded_box(
    box: tuple[int, int, int, int], size: tuple[int, ...], padding: float, share: float
) -> tuple[int, int, int, int]:
    """`box` (y0, y1, x0, x1) grown by `padding` px plus `share` of its sides on every side, clipped to `size` (h, w)."""
    y0, y1, x0, x1 = box
    tall, wide = int(padding + share * (y1 - y0)), int(padding + share * (x1 - x0))
    return max(y0 - tall, 0), min(y1 + tall, size[0]), max(x0 - wide, 0), min(x1 + wide, size[1])


def luma_of(picture: Picture) -> NDArray[np.uint8]:
    """uint8 [h, w] of uint8 [h, w, 3] RGB."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def _crop(picture: Picture, window: tuple[int, int, int, int]) -> Picture:
    return np.ascontiguousarray(picture[window[0] : window[1], window[2] : window[3]])


def bounds(mask: Mask) -> tuple[int, int, int, int]:
    """(y0, y1, x0, x1), half-open, around the True pixels; there must be one."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def remove_small_parts(mask: Mask) -> Mask:
    """`mask` without small parts and small holes."""
    for region in (mask, ~mask):
        count, parts, stats, _ = cv2.connectedComponentsWithStats(region.view(np.uint8), connectivity=4)
        area = stats[:, cv2.CC_STAT_AREA].copy()
        area[0] = 0
        if count > 2 or region is not mask:
            small = area < MIN_PART_SHARE * (area.max() if region is mask else mask.sum())
            small[0] = False
            mask = mask ^ small[parts]
    return mask
