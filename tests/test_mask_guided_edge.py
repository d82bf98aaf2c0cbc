"""Edges brought to the picture's own, and only as far as they may move."""

import cv2
import numpy as np
import pytest
from synth import as_frames

from vidrase.mask.guided_edge import BAND, refine_edge

SIZE = (200, 260)


def scene(scale: int = 1, contrast: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """(picture, truth) of an ellipse before a background with noise."""
    height, width = SIZE[0] * scale, SIZE[1] * scale
    truth = np.zeros((height, width), np.uint8)
    cv2.ellipse(truth, (130 * scale, 100 * scale), (50 * scale, 70 * scale), 20, 0, 360, 1, -1)
    noise = np.random.default_rng(0).normal(0, 6, (height, width, 3))
    picture = 70 + noise + contrast * truth[..., None]
    return np.clip(picture, 0, 255).astype(np.uint8), truth > 0


def coarse(truth: np.ndarray, cell: int) -> np.ndarray:
    """`truth` as a detector gives it: on a grid of `cell` px, smoothly enlarged, a little off."""
    height, width = truth.shape
    small = cv2.resize(truth.astype(np.float32), (width // cell, height // cell), interpolation=cv2.INTER_AREA)
    shifted = np.roll(small, 1, axis=1)
    return cv2.resize(shifted, (width, height), interpolation=cv2.INTER_LINEAR) > 0.5


def placed(crop: np.ndarray, corner: tuple[int, int], size: tuple[int, ...]) -> np.ndarray:
    out = np.zeros(size[:2], bool)
    out[corner[0] : corner[0] + crop.shape[0], corner[1] : corner[1] + crop.shape[1]] = crop
    return out


def cut(mask: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    corner = int(rows[0]), int(columns[0])
    return mask[corner[0] : rows[-1] + 1, corner[1] : columns[-1] + 1], corner


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize(("scale", "cell"), [(1, 6), (4, 24)])
def test_a_coarse_edge_moves_to_the_pictures_own(scale: int, cell: int) -> None:
    picture, truth = scene(scale)
    given = coarse(truth, cell)
    crop, corner = refine_edge(as_frames([picture])[0], *cut(given))
    assert overlap(placed(crop, corner, picture.shape), truth) > max(overlap(given, truth) + 0.05, 0.95)


def test_it_moves_no_farther_than_the_band() -> None:
    picture, truth = scene()
    given = coarse(truth, 6)
    shape, at = cut(given)
    crop, corner = refine_edge(as_frames([picture])[0], shape, at)
    band = int(BAND * min(shape.shape))
    changed = placed(crop, corner, picture.shape) ^ given
    inside, outside = (cv2.distanceTransform(m.astype(np.uint8), cv2.DIST_L2, 5) for m in (given, ~given))
    assert np.maximum(inside, outside)[changed].max() <= band + 1.5


def test_without_an_edge_in_the_picture_the_mask_stays_about_as_it_was() -> None:
    picture, truth = scene(contrast=0)
    given = coarse(truth, 6)
    crop, corner = refine_edge(as_frames([picture])[0], *cut(given))
    assert overlap(placed(crop, corner, picture.shape), given) > 0.93


def test_what_reaches_the_frames_border_goes_on_reaching_it() -> None:
    picture, truth = scene()
    picture, truth = picture[60:], truth[60:]
    crop, corner = refine_edge(as_frames([picture])[0], *cut(truth))
    assert placed(crop, corner, picture.shape)[0].sum() >= truth[0].sum() - 4


def test_small_masks_are_left_alone() -> None:
    picture, _ = scene()
    mask = np.ones((20, 12), bool)
    crop, corner = refine_edge(as_frames([picture])[0], mask, (50, 60))
    assert crop is mask
    assert corner == (50, 60)
