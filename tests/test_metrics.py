"""Metrics against values worked by hand and against scikit-image."""

from __future__ import annotations

import math

import numpy as np
import pytest
from synth import texture

from vidrase import metrics
from vidrase.errors import ShapeError


def pair(height: int = 96, width: int = 120) -> tuple[np.ndarray, np.ndarray]:
    a = texture(height, width, 1)
    noise = np.random.default_rng(2).normal(0, 12, a.shape)
    return a, np.clip(a + noise, 0, 255).astype(np.uint8)


def test_l1_l2_psnr_by_hand() -> None:
    a = np.zeros((2, 2), np.uint8)
    b = np.array([[0, 51], [102, 0]], np.uint8)  # 51 = 255/5, 102 = 2·255/5
    assert metrics.l1(a, b) == pytest.approx((0.2 + 0.4) / 4)
    assert metrics.l2(a, b) == pytest.approx((0.04 + 0.16) / 4)
    assert metrics.psnr(a, b) == pytest.approx(10 * math.log10(1 / 0.05))
    where = np.array([[False, True], [False, False]])
    assert metrics.l1(a, b, where) == pytest.approx(0.2)
    assert metrics.psnr(a, b, where) == pytest.approx(10 * math.log10(25))


def test_equal_pictures_are_finite_and_no_pixels_are_nan() -> None:
    a = np.zeros((4, 4, 3), np.uint8)
    assert metrics.psnr(a, a) == metrics.PSNR_CEILING
    assert math.isnan(metrics.psnr(a, a, np.zeros((4, 4), bool)))
    assert math.isnan(metrics.ssim(np.zeros((20, 20)), np.zeros((20, 20)), np.zeros((20, 20), bool)))


def test_psnr_is_scikit_images() -> None:
    measure = pytest.importorskip("skimage.metrics")
    a, b = pair()
    assert metrics.psnr(a, b) == pytest.approx(measure.peak_signal_noise_ratio(a, b), rel=1e-12)


def test_ssim_is_scikit_images() -> None:
    measure = pytest.importorskip("skimage.metrics")
    a, b = pair()
    gauss = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    want, full = measure.structural_similarity(a, b, channel_axis=2, data_range=255, full=True, **gauss)
    assert metrics.ssim(a, b) == pytest.approx(want, abs=1e-9)
    where = np.zeros(a.shape[:2], bool)
    where[20:50, 30:80] = True
    assert metrics.ssim(a, b, where) == pytest.approx(full[where].mean(), abs=1e-9)
    # the completion papers' call: ProPainter core/metrics.py, calculate_psnr_and_ssim
    papers = measure.structural_similarity(a, b, data_range=255, channel_axis=-1, win_size=65)
    assert metrics.ssim(a, b, window=65) == pytest.approx(papers, abs=1e-9)


def test_ssim_of_two_flat_pictures_by_hand() -> None:
    # no variance: SSIM = (2·100·120 + C1) / (100² + 120² + C1), C1 = (0.01·255)² = 6.5025
    a, b = np.full((32, 32), 100.0), np.full((32, 32), 120.0)
    assert metrics.ssim(a, b) == pytest.approx((24000 + 6.5025) / (24400 + 6.5025), abs=1e-9)


def test_ms_ssim_weighs_scales() -> None:
    a, b = pair(200, 220)
    assert metrics.ms_ssim(a, a) == pytest.approx(1.0)
    # flat pictures: contrast terms are 1 at every scale, the luminance term counts with the last weight alone
    flat = metrics.ms_ssim(np.full((200, 200), 100.0), np.full((200, 200), 120.0))
    assert flat == pytest.approx(((24000 + 6.5025) / (24400 + 6.5025)) ** 0.1333, abs=1e-6)
    assert metrics.ssim(a, b) < metrics.ms_ssim(a, b) < 1  # fine noise fades at coarse scales
    small = metrics.ms_ssim(a[:40, :40], b[:40, :40])
    assert 0 < small < 1


def test_gmsd_by_hand() -> None:
    a, b = pair()
    assert metrics.gmsd(a, a) == pytest.approx(0.0)
    assert metrics.gmsd(a, b) > 0.02
    # a step of 100 against a flat picture: similarity is 1 away from the step and c / (g² + c) at it
    step = np.zeros((40, 40))
    step[:, 20:] = 100.0
    c, size = 170.0, 20  # Prewitt/3 of a step: 100 in the two columns beside it (halved size: 20 columns)
    low = c / (100.0**2 + c)
    share = 2 / size
    want = math.sqrt(share * (1 - share)) * (1 - low)
    assert metrics.gmsd(step, np.zeros((40, 40))) == pytest.approx(want, rel=1e-6)


def test_gradient_norm_tells_blur_from_noise() -> None:
    a, _ = pair()
    hole = np.zeros(a.shape[:2], bool)
    hole[30:60, 40:80] = True
    flat, rough = a.copy(), a.copy()
    flat[hole] = 128
    rough[hole] = np.random.default_rng(0).integers(0, 256, (int(hole.sum()), 3))
    assert metrics.gradient_norm(flat, hole) < metrics.gradient_norm(a, hole) < metrics.gradient_norm(rough, hole)
    # a ramp of 8 levels a column everywhere: Sobel 8·8 = 64, over 8·255, inside and outside alike
    ramp = np.tile(np.arange(0, 240, 8, dtype=np.float64), (30, 1))
    square = np.zeros((30, 30), bool)
    square[10:20, 10:20] = True
    flat_square = ramp.copy()
    flat_square[square] = 0
    inside = 0 - metrics.gradient_norm(flat_square, square)
    assert inside == pytest.approx(8 / 255, rel=0.1)  # the picture's border columns have no slope


def test_ring_is_outside_and_as_wide_as_said() -> None:
    hole = np.zeros((21, 21), bool)
    hole[10, 10] = True
    band = metrics.ring(hole, 3)
    assert not band[10, 10]
    assert band[10, 13]
    assert not band[10, 14]
    assert not metrics.ring(np.zeros((5, 5), bool), 3).any()


def test_seam_error_by_hand() -> None:
    # a ramp of 10 a column, its hole shifted by 30: across the two upright rims |10 + 30| and |10 - 30|, above and below 30
    ramp = np.tile(np.arange(0, 200, 10, dtype=np.float64), (20, 1))
    hole = np.zeros((20, 20), bool)
    hole[8:12, 8:12] = True
    moved = ramp.copy()
    moved[hole] += 30
    across = (4 * 40 + 4 * 20 + 8 * 30) / 16
    upright_and_level = [0.0, 10.0]
    seam = metrics.seam_error(moved, hole, px=3)
    assert (across + 0.5) / (upright_and_level[1] + 0.5) < seam < (across + 0.5) / (upright_and_level[0] + 0.5)
    assert metrics.seam_error(ramp, hole, px=3) == pytest.approx(1.0, abs=0.35)
    assert metrics.seam_error(moved, hole, px=3) > 4


def test_warp_error_follows_the_flow() -> None:
    now = texture(60, 80, 3)
    later = np.roll(now, (2, 5), (0, 1))
    flow = np.zeros((60, 80, 2), np.float32)
    flow[..., 0], flow[..., 1] = 5, 2
    where = np.zeros((60, 80), bool)
    where[5:50, 5:70] = True
    assert metrics.warp_error(now, later, flow, where) == pytest.approx(0.0)
    assert metrics.warp_error(now, later, flow[..., ::-1].copy(), where) > 1e-3  # swapped axes must cost
    brighter = np.clip(later.astype(int) + 51, 0, 255)
    moderate = (now < 200).all(-1) & where
    assert metrics.warp_error(now, brighter, flow, moderate) == pytest.approx(0.04, rel=1e-6)


def test_steady_finds_what_leaves() -> None:
    ahead = np.full((40, 50, 2), (6.0, 0.0), np.float32)
    assert metrics.steady(ahead, -ahead)[:, :43].all()
    assert not metrics.steady(ahead, -ahead)[:, 45:].any()
    assert not metrics.steady(ahead, ahead).any()


def test_flicker_ratio_has_a_floor() -> None:
    assert metrics.flicker_ratio(0.0, 0.0) == 1.0
    assert metrics.flicker_ratio((2 / 255) ** 2, 0.0) == pytest.approx(3.0)


def test_masks_by_hand() -> None:
    a, b = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    assert metrics.iou(a, b) == 1.0
    assert math.isnan(metrics.recall(a, b))
    a[:2], b[1:3] = True, True
    assert metrics.iou(a, b) == pytest.approx(4 / 12)
    assert metrics.recall(a, b) == pytest.approx(0.5)


def test_outlines_are_compared_within_their_tolerance() -> None:
    truth = np.zeros((60, 80), bool)
    truth[10:40, 20:60] = True
    assert metrics.boundary_f(truth, truth) == 1.0
    assert metrics.boundary_f(np.roll(truth, 2, 1), truth) == 1.0
    assert metrics.boundary_f(np.roll(truth, 4, 1), truth) < 0.75  # its left and right sides are missed
    wider = np.zeros_like(truth)
    wider[7:43, 17:63] = True
    assert metrics.boundary_f(wider, truth) == 0.0
    assert metrics.boundary_f(np.zeros_like(truth), truth) == 0.0
    assert np.isnan(metrics.boundary_f(truth, np.zeros_like(truth)))
    whole = np.ones_like(truth)
    assert metrics.boundary_f(truth, whole) == 0.0  # the border of the frame is no outline


def test_average_precision_by_hand() -> None:
    assert metrics.average_precision([0.9, 0.8], [True, True], 2) == pytest.approx(1.0)
    assert metrics.average_precision([], [], 3) == 0.0
    assert math.isnan(metrics.average_precision([0.5], [False], 0))
    # hit, miss, hit of 2 truths: precision 1 up to recall .5 (51 points), then 2/3 (50 points)
    want = (51 * 1 + 50 * 2 / 3) / 101
    assert metrics.average_precision([0.9, 0.8, 0.7], [True, False, True], 2) == pytest.approx(want)
    assert metrics.average_precision([0.7, 0.9, 0.8], [True, True, False], 2) == pytest.approx(
        want
    )  # order is by score


def test_a_truth_is_matched_once() -> None:
    truth = np.zeros((10, 10), bool)
    truth[:5] = True
    half = truth.copy()
    half[3:5] = False
    assert metrics.match_instances([half, truth], [0.5, 0.9], [truth]) == [False, True]
    assert metrics.match_instances([half], [0.5], [truth]) == [True]
    assert metrics.match_instances([half], [0.5], []) == [False]


def test_shapes_are_checked() -> None:
    with pytest.raises(ShapeError, match="one size"):
        metrics.l1(np.zeros((2, 2)), np.zeros((2, 3)))
    with pytest.raises(ShapeError, match="mask bool"):
        metrics.l1(np.zeros((2, 2)), np.zeros((2, 2)), np.zeros((2, 2), np.uint8))  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="window"):
        metrics.ssim(np.zeros((8, 8)), np.zeros((8, 8)))


def moving_squares(frames: int = 6) -> tuple[list[np.ndarray], list[tuple[np.ndarray, np.ndarray]]]:
    """Masks of a square that moves by 3 px a frame, and the flows that say so."""
    masks = []
    for t in range(frames):
        mask = np.zeros((60, 90), bool)
        mask[20:40, 10 + 3 * t : 30 + 3 * t] = True
        masks.append(mask)
    there = np.zeros((60, 90, 2), np.float32)
    there[..., 0] = 3
    return masks, [(there, -there)] * (frames - 1)


def test_what_moves_evenly_neither_jumps_nor_blinks() -> None:
    masks, flows = moving_squares()
    assert metrics.mask_jumps(masks, [back for _, back in flows]) == pytest.approx(0.0)
    assert metrics.mask_blinks(masks, flows) == pytest.approx(0.0)


def test_a_part_that_is_missed_once_jumps_and_blinks() -> None:
    masks, flows = moving_squares()
    masks[3] = masks[3].copy()
    masks[3][20:30] = False
    assert metrics.mask_jumps(masks, [back for _, back in flows]) == pytest.approx(2 * (2 / 3) / 5)
    assert metrics.mask_blinks(masks, flows) == pytest.approx(0.5 / 4)
    assert np.isnan(metrics.mask_jumps([np.zeros((4, 4), bool)] * 3, [np.zeros((4, 4, 2), np.float32)] * 2))
