"""Synthesis that no longer fits its surroundings (focus, border) is inpainted again and faded into."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from fills import filled
from numpy.typing import NDArray
from synth import as_frames, texture

import vidrase.fill.synthesis_cache as synthesis_cache
from vidrase.fill.window_frame import WindowFrame
from vidrase.frames import Hole, HoleFrame

SIZE = (96, 160)
Rgb = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def _out_of_focus(frames: int, last: float = 2.0) -> tuple[list[Rgb], list[Mask]]:
    """A swaying camera and an object that never moves; the picture goes out of focus from frame 10 to 30, to sigma `last` px."""
    world = texture(SIZE[0] + 40, SIZE[1] + 40, 4)
    noise = np.random.default_rng(1).normal(0, 25, (*world.shape[:2], 1))
    world = np.clip(world + noise, 0, 255).astype(np.uint8)
    body = np.zeros(world.shape[:2], np.uint8)
    cv2.ellipse(body, (100, 68), (18, 30), 0, 0, 360, 1, -1)
    truth, masks = [], []
    for t in range(frames):
        view = _view(t)
        picture = cv2.warpAffine(world, view, SIZE[::-1], flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
        blur = last * min(max((t - 10) / 20, 0), 1)
        truth.append(cv2.GaussianBlur(picture, (0, 0), blur) if blur > 0.2 else picture)
        masks.append(cv2.warpAffine(body, view, SIZE[::-1], flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP) > 0)
    return truth, masks


def _view(t: int) -> NDArray[np.float32]:
    return np.float32([[1, 0, 20 + 6 * np.sin(t / 9)], [0, 1, 20 + 3 * np.cos(t / 7)]])


def _filled(truth: list[Rgb], masks: list[Mask]) -> list[Rgb]:
    shown = [
        np.where(mask[..., None], np.uint8((225, 20, 30)), picture) for picture, mask in zip(truth, masks, strict=True)
    ]
    holes = [HoleFrame(frame, Hole.of(mask)) for frame, mask in zip(as_frames(shown), masks, strict=True)]
    return [frame.rgb() for frame in filled(holes, inpainter="auto")]


def _detail(picture: Rgb, mask: Mask) -> float:
    luma = picture.astype(np.float32).mean(2)
    inner = cv2.erode(mask.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    return float(np.abs(luma - cv2.blur(luma, (5, 5)))[inner].mean())


@pytest.fixture(scope="module")
def filled_out_of_focus() -> tuple[list[Rgb], list[Mask], list[Rgb], set[int], list[set[int]]]:
    """(truth, masks, filled, numbers of the inpainted frames that were replaced, those of them still in use, for each frame)."""
    truth, masks = _out_of_focus(60)
    fill, replaced, still_used = synthesis_cache.SynthesisCache.fill, set(), []

    def watched(self: synthesis_cache.SynthesisCache, here: WindowFrame, *args: object) -> tuple[int, int]:
        result = fill(self, here, *args)  # type: ignore[arg-type]
        if self._fading is not None:
            replaced.update(np.unique(self._fading.source[self._fading.source >= 0]).tolist())
        still_used.append(replaced & ({*np.unique(here.synthesized.source).tolist()} | self._cameras.keys()))
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthesis_cache.SynthesisCache, "fill", watched)
        return truth, masks, _filled(truth, masks), replaced, still_used


def test_synthesis_made_in_focus_does_not_stay_sharp(filled_out_of_focus, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    truth, masks, result, *_ = filled_out_of_focus
    assert _detail(result[-1], masks[-1]) < 2 * _detail(truth[-1], masks[-1]) + 1
    steps = []
    for t in range(len(masks) - 1):
        both = cv2.erode((masks[t] & masks[t + 1]).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        view = _view(t + 1)
        view[:, 2] -= _view(t)[:, 2]
        before = cv2.warpAffine(result[t], view, SIZE[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        steps.append(np.abs(before.astype(float) - result[t + 1])[both].mean())
    assert max(steps[15:]) < 8, steps  # it fades, it does not jump
    monkeypatch.setattr(synthesis_cache, "sharpness_mismatch", lambda *_: False)  # nothing is inpainted again
    soft = _filled(truth, masks)
    assert _detail(soft[-1], masks[-1]) < 2 * _detail(truth[-1], masks[-1]) + 1
    monkeypatch.setattr(synthesis_cache.InpaintedFrame, "match_defocus", lambda *_: None)
    assert _detail(_filled(truth, masks)[-1], masks[-1]) > 3 * _detail(truth[-1], masks[-1])


def test_without_a_change_of_focus_nothing_is_inpainted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, masks = _out_of_focus(36, last=0.0)  # the sharpness is checked at frame 32
    result = _filled(truth, masks)
    monkeypatch.setattr(synthesis_cache, "sharpness_mismatch", lambda *_: False)
    monkeypatch.setattr(synthesis_cache.InpaintedFrame, "match_defocus", lambda *_: None)
    assert all((one == other).all() for one, other in zip(result, _filled(truth, masks), strict=True))


def test_a_replaced_synthesis_does_not_come_back(filled_out_of_focus) -> None:  # type: ignore[no-untyped-def]
    *_, replaced, still_used = filled_out_of_focus
    assert replaced
    assert not any(still_used)


@pytest.mark.slow
def test_outpainted_pixels_are_inpainted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A camera that tilts on: what comes into view would be the mirror image of what was there, again and again."""
    world = texture(180, 200, 5)
    truth, masks = [], []
    for t in range(60):
        view = np.float32([[1, 0, 20 + 4 * np.sin(t / 9)], [0, 1, 1.2 * t]])
        truth.append(cv2.warpAffine(world, view, SIZE[::-1], flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP))
        mask = np.zeros(SIZE, bool)
        mask[20:, 64:100] = True
        masks.append(mask)

    def outpainted() -> float:
        counts, fill = [], synthesis_cache.SynthesisCache.fill

        def watched(self: synthesis_cache.SynthesisCache, here: WindowFrame, *args: object) -> tuple[int, int]:
            result = fill(self, here, *args)  # type: ignore[arg-type]
            counts.append(np.count_nonzero(self._guessed(here.synthesized, args[3])))
            return result

        monkeypatch.setattr(synthesis_cache.SynthesisCache, "fill", watched)
        _filled(truth, masks)
        monkeypatch.setattr(synthesis_cache.SynthesisCache, "fill", fill)
        return float(np.mean(counts))

    renewed = outpainted()
    monkeypatch.setattr(
        synthesis_cache.SynthesisCache, "_renew", lambda _, memory, *__: np.zeros_like(memory.source, bool)
    )
    assert 4 * renewed < outpainted()
