"""One thing in one picture, by its colours and edges: in a box that somebody drew, or near where it should be.

GrabCut: Rother, Kolmogorov, Blake, "GrabCut: interactive foreground extraction using iterated graph cuts", SIGGRAPH 2004.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.flow import FlowModel

MARGIN_SHARE, MARGIN_PX = 0.4, 16  # of the box's sides, and at least: how much of what is round it GrabCut learns from
MIN_CONTRAST = 3.0  # grey levels, standard deviation: in a box with less there is nothing
MIN_AREA_PX = 12  # fewer pixels are no thing
MIN_AREA_SHARE = 0.03  # of the box: less is a speck
MAX_AREA_SHARE = 0.995  # of the box: then nothing stands out from anything
LOW_AREA_SHARE = 0.25  # of the box: less is doubtful
COLOUR_BINS = 16  # a channel, of the colours compared
MIN_RESIDUAL_MOTION, MAX_BACKGROUND_MOTION = (
    1.3,
    0.5,
)  # residual motion: from here most of a box moves; below, a pixel does not
CORE_SHARE = 0.12  # of the box's short side: how far inside counts as well inside
GAP_SHARE = 0.3  # of the box's short side: a band of other colours across the thing may be as wide
MIN_PART_SHARE = 0.06  # parts smaller than this share of the largest are noise

Mask = NDArray[np.bool_]
Picture = NDArray[np.uint8]


def segment_box(
    picture: Picture, box: tuple[int, int, int, int], neighbours: Sequence[Picture] = (), flow: FlowModel | None = None
) -> Mask | None:
    """The thing in a box: bool [h, w], None when nothing stands out there.

    picture: uint8 [h, w, 3] RGB; box: (y0, y1, x0, x1) px inside it, half-open; neighbours: pictures from shortly before and after,
    against which something that moves shows by its motion.
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
    if (~in_box).sum() < MIN_AREA_PX:  # the box is the whole picture: its rim has to do for the rest
        in_box[[0, -1]] = in_box[:, [0, -1]] = False
    labels = np.where(in_box, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    labelled = _initial_labels(crop, in_box, labels, [_crop(other, window) for other in neighbours], flow)
    result = _grabcut(crop, labelled.copy(), 3)
    if result.sum() < LOW_AREA_SHARE * area:  # rather too much than too little: without the hints it is more
        result |= _grabcut(crop, labels, 5)
    if result.sum() < LOW_AREA_SHARE * area:  # something round it has its colours: what is well inside is sure then
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
    """Labels for GrabCut: what of the box is coloured like its surroundings, or moves with them, is hardly the thing."""
    probability = cv2.blur(_foreground_probability(crop, in_box), (5, 5)).clip(0.02, 0.98)
    score = np.log(probability / (1 - probability))
    background = np.zeros(in_box.shape, bool)
    if neighbours and flow is not None:
        residuals = [_residual_motion(crop, other, in_box, flow) for other in neighbours]
        residual = np.minimum.reduce(residuals)  # what is only strange towards one side is covered or uncovered there
        if np.quantile(residual[in_box], 0.7) > MIN_RESIDUAL_MOTION:
            score += 1.2 * np.log2(residual.clip(0.35, 4.0))
            background = in_box & (np.maximum.reduce(residuals) < MAX_BACKGROUND_MOTION)
    labelled = labels.copy()
    labelled[in_box & (score <= 0)] = cv2.GC_PR_BGD
    labelled[background] = cv2.GC_BGD
    return labelled


def _foreground_probability(crop: Picture, in_box: Mask) -> NDArray[np.float64]:
    """[h, w] 0..1: how much more frequent a pixel's colour is in the box than round it; 0.5: as frequent."""
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
    """[h, w]: how far each pixel's motion is from that of the surroundings (an affine one), over what is usual there."""
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
    """`predicted` bool [h, w] moved by up to about `band` px to where the colours and edges of `picture` change: bool [h, w].

    doubted: bool [h, w], what of it may be none of it anywhere.
    """
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * band + 1, 2 * band + 1))
    dilated = cv2.dilate(predicted.view(np.uint8), ellipse)
    # what the crop's edge cuts off is not the thing's edge
    eroded = cv2.erode(predicted.view(np.uint8), ellipse, borderType=cv2.BORDER_REPLICATE)
    if not (dilated == 0).any():
        return predicted
    labels = np.where(predicted, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[dilated == 0] = cv2.GC_BGD
    labels[eroded > 0] = cv2.GC_FGD
    labels[uncertain] = cv2.GC_PR_BGD
    return _grabcut(picture, labels, 2)


def _sure_core(labelled: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The labels with what is far inside the likely part as sure."""
    likely = (labelled == cv2.GC_PR_FGD).astype(np.uint8)
    depth = cv2.distanceTransform(likely, cv2.DIST_L2, cv2.DIST_MASK_5)
    out = labelled.copy()
    out[depth > CORE_SHARE * side] = cv2.GC_FGD
    return out


def _close_gaps(mask: Mask, side: int) -> Mask:
    """`mask`, parts joined over gaps narrower than a share of the box's short side: a band, a rim like what is round it."""
    reach = round(GAP_SHARE * side / 2)
    if reach < 1 or not mask.any():
        return mask
    padded = np.pad(mask.view(np.uint8), reach)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, disc)[reach:-reach, reach:-reach]
    return np.asarray(mask | (closed > 0))


def _grabcut(picture: Picture, labels: NDArray[np.uint8], rounds: int) -> Mask:
    if not (labels & 1).any() or (labels & 1).all():  # GrabCut wants to see something of either
        return (labels & 1).astype(bool)
    cv2.setRNGSeed(0)  # its colour models start from random ones: the same clip has to come out the same every time
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(np.ascontiguousarray(picture), labels, None, background, foreground, rounds, cv2.GC_INIT_WITH_MASK)
    return (labels & 1).astype(bool)


def padded_box(
    box: tuple[int, int, int, int], size: tuple[int, ...], padding: float, probability: float
) -> tuple[int, int, int, int]:
    """`box` (y0, y1, x0, x1) with `padding` px and `probability` of its sides more all round, as far as `size` (h, w) goes."""
    y0, y1, x0, x1 = box
    tall, dilated = int(padding + probability * (y1 - y0)), int(padding + probability * (x1 - x0))
    return max(y0 - tall, 0), min(y1 + tall, size[0]), max(x0 - dilated, 0), min(x1 + dilated, size[1])


def luma_of(picture: Picture) -> NDArray[np.uint8]:
    """uint8 [h, w] of uint8 [h, w, 3] RGB."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def _crop(picture: Picture, window: tuple[int, int, int, int]) -> Picture:
    return np.ascontiguousarray(picture[window[0] : window[1], window[2] : window[3]])


def bounds(mask: Mask) -> tuple[int, int, int, int]:
    """(y0, y1, x0, x1) round what is True, half-open; something has to be."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def remove_small_parts(mask: Mask) -> Mask:
    """`mask` less its small parts, and without small holes."""
    for region in (mask, ~mask):
        count, parts, stats, _ = cv2.connectedComponentsWithStats(region.view(np.uint8), connectivity=4)
        area = stats[:, cv2.CC_STAT_AREA].copy()
        area[0] = 0
        if count > 2 or region is not mask:
            small = area < MIN_PART_SHARE * (area.max() if region is mask else mask.sum())
            small[0] = False
            mask = mask ^ small[parts]
    return mask
