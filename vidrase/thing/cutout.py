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
FLAT = 3.0  # grey levels, standard deviation: in a box with less there is nothing
LEAST_PX = 12  # fewer pixels are no thing
LEAST_SHARE = 0.03  # of the box: less is a speck
WHOLE = 0.995  # of the box: then nothing stands out from anything
DOUBTFUL = 0.25  # of the box: less is doubtful
BINS = 16  # a channel, of the colours compared
MOVES, STILL = 1.3, 0.5  # strangeness of its motion from which most of a box moves, and below which a pixel does not
CORE_SHARE = 0.12  # of the box's short side: how far inside counts as well inside
GAP_SHARE = 0.3  # of the box's short side: a band of other colours across the thing may be as wide
SPECK = 0.06  # parts smaller than this share of the largest are noise

Mask = NDArray[np.bool_]
Picture = NDArray[np.uint8]


def cut_out(
    picture: Picture, box: tuple[int, int, int, int], beside: Sequence[Picture] = (), flow: FlowModel | None = None
) -> Mask | None:
    """The thing in a box: bool [h, w], None when nothing stands out there.

    picture: uint8 [h, w, 3] RGB; box: (y0, y1, x0, x1) px inside it, half-open; beside: pictures from shortly before and after,
    against which something that moves shows by its motion.
    """
    y0, y1, x0, x1 = box
    inside = picture[y0:y1, x0:x1]
    area = inside.shape[0] * inside.shape[1]
    if area < LEAST_PX or float(inside.std((0, 1)).max()) < FLAT:
        return None
    part = window(box, picture.shape[:2], MARGIN_PX, MARGIN_SHARE)
    crop = _crop(picture, part)
    drawn = np.zeros(crop.shape[:2], bool)
    drawn[y0 - part[0] : y1 - part[0], x0 - part[2] : x1 - part[2]] = True
    if (~drawn).sum() < LEAST_PX:  # the box is the whole picture: its rim has to do for the rest
        drawn[[0, -1]] = drawn[:, [0, -1]] = False
    labels = np.where(drawn, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    hinted = _hinted(crop, drawn, labels, [_crop(other, part) for other in beside], flow)
    found = _grabbed(crop, hinted.copy(), 3)
    if found.sum() < DOUBTFUL * area:  # rather too much than too little: without the hints it is more
        found |= _grabbed(crop, labels, 5)
    if found.sum() < DOUBTFUL * area:  # something round it has its colours: what is well inside is sure then
        found |= _grabbed(crop, _cored(hinted, min(y1 - y0, x1 - x0)), 3)
    found = _joined(without_specks(found), min(y1 - y0, x1 - x0)) & drawn
    if found.sum() < LEAST_PX or not LEAST_SHARE <= found.sum() / area <= WHOLE:
        return None
    full = np.zeros(picture.shape[:2], bool)
    full[part[0] : part[1], part[2] : part[3]] = found
    return full


def _hinted(
    crop: Picture, drawn: Mask, labels: NDArray[np.uint8], beside: Sequence[Picture], flow: FlowModel | None
) -> NDArray[np.uint8]:
    """Labels for GrabCut: what of the box is coloured like its surroundings, or moves with them, is hardly the thing."""
    share = cv2.blur(_unlike(crop, drawn), (5, 5)).clip(0.02, 0.98)
    score = np.log(share / (1 - share))
    still = np.zeros(drawn.shape, bool)
    if beside and flow is not None:
        each = [_strange(crop, other, drawn, flow) for other in beside]
        strange = np.minimum.reduce(each)  # what is only strange towards one side is covered or uncovered there
        if np.quantile(strange[drawn], 0.7) > MOVES:
            score += 1.2 * np.log2(strange.clip(0.35, 4.0))
            still = drawn & (np.maximum.reduce(each) < STILL)
    hinted = labels.copy()
    hinted[drawn & (score <= 0)] = cv2.GC_PR_BGD
    hinted[still] = cv2.GC_BGD
    return hinted


def _unlike(crop: Picture, drawn: Mask) -> NDArray[np.float64]:
    """[h, w] 0..1: how much more frequent a pixel's colour is in the box than round it; 0.5: as frequent."""
    lab = cv2.cvtColor(crop, cv2.COLOR_RGB2LAB).astype(np.int64) * BINS // 256
    which = (lab[..., 0] * BINS + lab[..., 1]) * BINS + lab[..., 2]
    shares = []
    for region in (drawn, ~drawn):
        counts = np.bincount(which[region], minlength=BINS**3).reshape(BINS, BINS, BINS).astype(np.float64)
        for axis in range(3):
            padded = np.pad(counts, [(1, 1) if a == axis else (0, 0) for a in range(3)])
            before, after = (np.take(padded, np.arange(BINS) + k, axis) for k in (0, 2))
            counts = 0.25 * before + 0.5 * counts + 0.25 * after
        shares.append(counts.ravel() / counts.sum())
    return (shares[0] / (shares[0] + shares[1] + 1e-9))[which]


def _strange(crop: Picture, other: Picture, drawn: Mask, flow: FlowModel) -> NDArray[np.float64]:
    """[h, w]: how far each pixel's motion is from that of the surroundings (an affine one), over what is usual there."""
    moved = flow(luma_of(crop)[None], luma_of(other)[None])[0]
    rows, columns = np.indices(drawn.shape)
    places = np.stack([columns, rows, np.ones_like(rows)], -1).astype(np.float64)
    trusted, usual, off = ~drawn, 0.0, np.zeros(drawn.shape)
    for _ in range(4):
        fitted, *_ = np.linalg.lstsq(places[trusted], moved[trusted], rcond=None)
        off = np.linalg.norm(moved - places @ fitted, axis=-1)
        usual = float(np.median(off[~drawn]))
        trusted = ~drawn & (off <= max(2 * usual, 0.5))
    return off / (3 * usual + 0.7)


def refit(picture: Picture, expected: Mask, doubted: Mask, band: int) -> Mask:
    """`expected` bool [h, w] moved by up to about `band` px to where the colours and edges of `picture` change: bool [h, w].

    doubted: bool [h, w], what of it may be none of it anywhere.
    """
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * band + 1, 2 * band + 1))
    wide = cv2.dilate(expected.view(np.uint8), ellipse)
    # what the crop's edge cuts off is not the thing's edge
    core = cv2.erode(expected.view(np.uint8), ellipse, borderType=cv2.BORDER_REPLICATE)
    if not (wide == 0).any():
        return expected
    labels = np.where(expected, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[wide == 0] = cv2.GC_BGD
    labels[core > 0] = cv2.GC_FGD
    labels[doubted] = cv2.GC_PR_BGD
    return _grabbed(picture, labels, 2)


def _cored(hinted: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The labels with what is far inside the likely part as sure."""
    likely = (hinted == cv2.GC_PR_FGD).astype(np.uint8)
    depth = cv2.distanceTransform(likely, cv2.DIST_L2, cv2.DIST_MASK_5)
    out = hinted.copy()
    out[depth > CORE_SHARE * side] = cv2.GC_FGD
    return out


def _joined(mask: Mask, side: int) -> Mask:
    """`mask`, parts joined over gaps narrower than a share of the box's short side: a band, a rim like what is round it."""
    reach = round(GAP_SHARE * side / 2)
    if reach < 1 or not mask.any():
        return mask
    padded = np.pad(mask.view(np.uint8), reach)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, disc)[reach:-reach, reach:-reach]
    return np.asarray(mask | (closed > 0))


def _grabbed(picture: Picture, labels: NDArray[np.uint8], rounds: int) -> Mask:
    if not (labels & 1).any() or (labels & 1).all():  # GrabCut wants to see something of either
        return (labels & 1).astype(bool)
    cv2.setRNGSeed(0)  # its colour models start from random ones: the same clip has to come out the same every time
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(np.ascontiguousarray(picture), labels, None, background, foreground, rounds, cv2.GC_INIT_WITH_MASK)
    return (labels & 1).astype(bool)


def window(
    box: tuple[int, int, int, int], size: tuple[int, ...], spare: float, share: float
) -> tuple[int, int, int, int]:
    """`box` (y0, y1, x0, x1) with `spare` px and `share` of its sides more all round, as far as `size` (h, w) goes."""
    y0, y1, x0, x1 = box
    tall, wide = int(spare + share * (y1 - y0)), int(spare + share * (x1 - x0))
    return max(y0 - tall, 0), min(y1 + tall, size[0]), max(x0 - wide, 0), min(x1 + wide, size[1])


def luma_of(picture: Picture) -> NDArray[np.uint8]:
    """uint8 [h, w] of uint8 [h, w, 3] RGB."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def _crop(picture: Picture, part: tuple[int, int, int, int]) -> Picture:
    return np.ascontiguousarray(picture[part[0] : part[1], part[2] : part[3]])


def bounds(mask: Mask) -> tuple[int, int, int, int]:
    """(y0, y1, x0, x1) round what is True, half-open; something has to be."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def without_specks(mask: Mask) -> Mask:
    """`mask` less its small parts, and without small holes."""
    for shown in (mask, ~mask):
        count, parts, stats, _ = cv2.connectedComponentsWithStats(shown.view(np.uint8), connectivity=4)
        area = stats[:, cv2.CC_STAT_AREA].copy()
        area[0] = 0
        if count > 2 or shown is not mask:
            small = area < SPECK * (area.max() if shown is mask else mask.sum())
            small[0] = False
            mask = mask ^ small[parts]
    return mask
