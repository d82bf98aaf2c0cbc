"""Relative sharpness of a key frame registered to a frame, and what a key frame out of focus is worth."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from fills import filled
from numpy.typing import NDArray
from synth import as_frames, texture

from vidrase.fill import reference_frames, registration_quality
from vidrase.frames import Hole, HoleFrame
from vidrase.shots import ShotAnalyzer

SIZE = (120, 200)
Rgb = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def _detailed(height: int, width: int) -> Rgb:
    world = texture(height, width, 4)
    noise = np.random.default_rng(1).normal(0, 25, (height, width, 1))
    return np.clip(world + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("sigma", [0.7, 1.4, 2.8])
def test_the_relative_defocus_is_estimated(sigma: float) -> None:
    sharp = cv2.cvtColor(_detailed(160, 200), cv2.COLOR_RGB2GRAY)
    seen = np.ones(sharp.shape, bool)
    seen[60:100, 80:120] = False
    blur, detail = registration_quality.estimate_defocus(cv2.GaussianBlur(sharp, (0, 0), sigma), sharp, seen)
    # up to `SHARPER` it may stay as it is, so one step less is as good
    assert (
        registration_quality.SIGMAS.index(sigma) - 1.2
        < np.median(blur[seen])
        <= registration_quality.SIGMAS.index(sigma) + 0.2
    )
    assert np.median(detail[seen]) == 1
    blur, detail = registration_quality.estimate_defocus(sharp, cv2.GaussianBlur(sharp, (0, 0), sigma), seen)
    assert blur[seen].max() == 0
    assert np.median(detail[seen]) < 0.75


def test_equal_sharpness_needs_no_blur() -> None:
    sharp = cv2.cvtColor(_detailed(160, 200), cv2.COLOR_RGB2GRAY)
    blur, detail = registration_quality.estimate_defocus(sharp, np.roll(sharp, 37, 1), np.ones(sharp.shape, bool))
    assert np.rint(blur).max() == 0
    assert detail.min() > 0.75


def _lingering(sigmas: tuple[float, float], frames: int = 70, leaves: int = 46) -> tuple[list[Rgb], list[Mask]]:
    """A person who stands before a hand-held camera, then leaves; sigmas: blur of the frames before and after that, px."""
    world = _detailed(180, 280)
    truth, masks = [], []
    for t in range(frames):
        view = np.float32([[1, 0, 40 + 9 * np.sin(t / 7)], [0, 1, 30 + 5 * np.cos(t / 5)]])
        flags = cv2.WARP_INVERSE_MAP
        picture = cv2.warpAffine(world, view, SIZE[::-1], flags=cv2.INTER_CUBIC | flags)
        sigma = sigmas[t >= leaves]
        truth.append(cv2.GaussianBlur(picture, (0, 0), sigma) if sigma else picture)
        body = np.zeros(world.shape[:2], np.uint8)
        if t < leaves:
            cv2.ellipse(body, (140, 90), (13, 32), 0, 0, 360, 1, -1)
        masks.append(cv2.warpAffine(body, view, SIZE[::-1], flags=cv2.INTER_NEAREST | flags) > 0)
    return truth, masks


def _detail(pictures: list[Rgb], masks: list[Mask]) -> float:
    """Mean difference, grey levels, from a blur of 5 px in the middle of what was filled."""
    out = []
    for picture, mask in zip(pictures, masks, strict=True):
        luma = picture.astype(np.float32).mean(2)
        inner = cv2.erode(mask.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
        out.append(np.abs(luma - cv2.blur(luma, (5, 5)))[inner].mean())
    return float(np.mean(out))


def _filled(truth: list[Rgb], masks: list[Mask], first: int | None = None) -> list[Rgb]:
    """The `first` frames filled, or all, with a shot analysis of all."""
    shown = [np.where(m[..., None], np.uint8((225, 20, 30)), t) for t, m in zip(truth, masks, strict=True)]
    frames, builder = as_frames(shown), ShotAnalyzer()
    for frame, mask in zip(frames, masks, strict=True):
        builder.add(frame, mask)
    grown = [cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0 for mask in masks]
    holes = [HoleFrame(f, Hole.of(m, g) if m.any() else None) for f, m, g in zip(frames, masks, grown, strict=True)]
    return [frame.rgb() for frame in filled(holes[:first], analysis=builder.finish())]


def test_a_sharp_key_frame_is_blurred_to_match_a_frame_out_of_focus(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, masks = _lingering((1.6, 0.0))
    wanted = _detail(truth[:22], masks[:22])
    assert 0.6 * wanted < _detail(_filled(truth, masks, 22), masks[:22]) < 1.6 * wanted
    monkeypatch.setattr(registration_quality, "SIGMAS", (0.0,))
    assert _detail(_filled(truth, masks, 22), masks[:22]) > 2.5 * wanted


def test_a_key_frame_out_of_focus_is_not_used_for_a_sharp_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, masks = _lingering((0.0, 4.0))
    taken: set[int] = set()
    picture = reference_frames.ReferenceFrames.picture

    def watched(self: reference_frames.ReferenceFrames, source: int) -> object:
        taken.add(
            self.mosaic.key_frames[
                (source - reference_frames.FIRST_REFERENCE) % reference_frames.BLUR_STRIDE
            ].frame.index
        )
        return picture(self, source)

    monkeypatch.setattr(reference_frames.ReferenceFrames, "picture", watched)
    _filled(truth, masks)
    assert max(taken, default=0) < 46


@pytest.mark.parametrize("sigma", [1.2, 3.5, 9.0])
def test_a_wide_blur_approximates_a_gaussian(sigma: float) -> None:
    plane = cv2.cvtColor(_detailed(160, 203), cv2.COLOR_RGB2GRAY).astype(np.float32)
    wanted = cv2.GaussianBlur(plane, (0, 0), sigma)
    found = reference_frames._softened(plane, sigma, sigma)
    assert np.abs(found - wanted)[8:-8, 8:-8].mean() < 0.12 * np.abs(wanted - wanted.mean()).mean()


def test_blur_does_not_mix_hidden_pixels_into_visible_ones() -> None:
    frame = as_frames([np.full((*SIZE, 3), 90, np.uint8)])[0]
    hidden = np.zeros(SIZE, bool)
    hidden[40:80, 60:120] = True
    planes = [plane.copy() for plane in frame.planes]
    planes[0][hidden] = 235
    picture = reference_frames._blurred(frame.with_planes(tuple(planes)), hidden, 4.0)
    assert (picture.planes[0][~hidden] == frame.planes[0][~hidden]).all()
