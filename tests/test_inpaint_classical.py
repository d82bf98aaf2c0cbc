"""Picture completion without learning."""

from __future__ import annotations

import numpy as np
import pytest
from synth import texture

from vidrase.errors import OptionError, ShapeError
from vidrase.inpaint import INPAINTERS, LEARNED, load_inpainter


def _case(height: int = 80, width: int = 101):  # type: ignore[no-untyped-def]
    pixels = texture(height, width).astype(np.float32).transpose(2, 0, 1)[None] / 255
    hole = np.zeros((1, 1, height, width), bool)
    hole[..., 30:55, 40:70] = True
    return pixels, hole


CLASSICAL = [name for name in INPAINTERS if name not in LEARNED]


@pytest.mark.parametrize("name", CLASSICAL)
def test_known_pixels_come_back_unchanged(name: str) -> None:
    pixels, hole = _case()
    shown = np.where(hole, 0.9, pixels).astype(np.float32)
    filled = load_inpainter(name)(shown, hole)
    known = ~np.broadcast_to(hole, pixels.shape)
    assert filled.dtype == np.float32
    assert np.array_equal(filled[known], pixels[known])
    assert np.abs(filled - pixels)[~known].mean() < 0.2
    assert filled.min() >= 0
    assert filled.max() <= 1


@pytest.mark.parametrize("name", CLASSICAL)
def test_nothing_to_do_and_nothing_to_go_by(name: str) -> None:
    pixels, _ = _case()
    inpaint = load_inpainter(name)
    assert np.array_equal(inpaint(pixels, np.zeros((1, 1, 80, 101), bool)), pixels)
    assert np.isfinite(inpaint(pixels, np.ones((1, 1, 80, 101), bool))).all()


def test_bad_requests_say_so() -> None:
    with pytest.raises(OptionError, match="no inpainter 'nope'"):
        load_inpainter("nope")
    for name in sorted({*LEARNED} - {"fourier"}):
        with pytest.raises(
            OptionError, match=f"^--inpainter {name} comes without weights; give --inpainter-weights FILE$"
        ):
            load_inpainter(name)
    with pytest.raises(ShapeError, match=r"pixels \[B, 3, H, W\]"):
        load_inpainter("telea")(np.zeros((3, 8, 8), np.float32), np.zeros((1, 1, 8, 8), bool))
