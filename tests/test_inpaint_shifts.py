"""Completion by shifts of the picture, and a network's colours with that texture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from synth import texture

from vidrase.errors import OptionError
from vidrase.inpaint import load_inpainter, shifts
from vidrase.inpaint.textured import TexturedInpainter, textured

pytest.importorskip("maxflow", reason="PyMaxflow has no build for this platform")


def _tiles(height: int, width: int, tile: int) -> NDArray[np.float32]:
    """A pattern that repeats every `tile` px: float32 [H, W, 3]."""
    one = np.random.default_rng(3).random((tile, tile, 3), np.float32)
    return np.tile(one, (height // tile + 1, width // tile + 1, 1))[:height, :width]


def _hole(size: tuple[int, int]) -> NDArray[np.bool_]:
    hole = np.zeros(size, bool)
    hole[40:72, 50:90] = True
    return hole


def _chw(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(picture.transpose(2, 0, 1))[None]


def test_what_repeats_comes_back_exactly() -> None:
    truth = _tiles(120, 150, 17)
    hole = _hole((120, 150))
    shown = np.where(hole[..., None], np.float32(0.5), truth)
    filled = load_inpainter("shifts")(_chw(shown), hole[None, None])[0].transpose(1, 2, 0)
    assert np.abs(filled - truth)[hole].mean() < 0.01


def test_typical_offsets_are_those_of_the_pattern() -> None:
    offsets = shifts.typical_offsets(255 * _tiles(120, 150, 17), _hole((120, 150)))
    assert len(offsets) > 3
    assert (offsets[:6] % 17 == 0).all()


def test_texture_is_not_averaged_away() -> None:
    picture = texture(160, 200, 6).astype(np.float32) / 255
    hole = _hole((160, 200))
    filled = load_inpainter("shifts")(_chw(picture), hole[None, None])[0].transpose(1, 2, 0)
    assert filled[hole].std(0).mean() > 0.7 * picture[~hole].std(0).mean()


def test_the_hole_is_not_read() -> None:
    picture = texture(120, 150, 6).astype(np.float32) / 255
    hole = _hole((120, 150))
    results = [
        load_inpainter("shifts")(_chw(np.where(hole[..., None], np.float32(value), picture)), hole[None, None])
        for value in (0.0, 1.0)
    ]
    assert np.array_equal(*results)


def test_texture_is_added_only_where_there_is_none() -> None:
    noise = np.random.default_rng(1).random((120, 150, 3), np.float32)
    picture = np.clip(cv2.GaussianBlur(noise, (0, 0), 0.8), 0, 1)
    hole = _hole((120, 150))
    smooth = np.where(hole[..., None], np.float32(0.4), picture)
    made = textured(smooth, hole)
    assert np.array_equal(made[~hole], picture[~hole])
    assert made[50:62, 60:80].std() > 0.5 * picture.std()
    assert abs(float(made[hole].mean()) - 0.4) < 0.05
    line = np.zeros_like(hole)
    line[40:44, 20:120] = True
    assert np.abs(textured(picture, line) - picture)[line].mean() < 0.2 * picture[line].std()


def test_no_texture_is_taken_from_earlier_synthesis() -> None:
    noise = np.random.default_rng(1).random((120, 300, 3), np.float32)
    picture = np.clip(cv2.GaussianBlur(noise, (0, 0), 0.8), 0, 1)
    hole, made = np.zeros((120, 300), bool), np.zeros((120, 300), bool)
    hole[70:110, 100:200], made[10:70, 80:220] = True, True
    picture[made | hole] = 0.5  # smooth, as synthesis from synthesis becomes
    with_it, without = (shifts.completed(picture, hole, mask)[85:105, 115:185] for mask in (None, made))
    assert without.std() > 0.8 * picture[:, :80].std()
    assert without.std() > 1.5 * with_it.std()


def test_second_hand_texture_is_better_than_none() -> None:
    picture = np.random.default_rng(1).random((120, 160, 3), np.float32)
    hole, made = np.zeros((120, 160), bool), np.zeros((120, 160), bool)
    hole[50:70, 70:90], made[22:98, 22:138] = True, True
    picture[hole] = 0.5
    assert shifts.completed(picture, hole, made)[hole].std() > 0.05


def test_the_network_is_loaded_when_it_is_needed() -> None:
    loads = []

    def load() -> object:
        loads.append(1)
        return load_inpainter("telea")

    inpaint = TexturedInpainter(load)  # type: ignore[arg-type]
    assert not loads
    pixels, hole = _chw(texture(120, 150, 6).astype(np.float32) / 255), _hole((120, 150))[None, None]
    inpaint(pixels, hole)
    inpaint(pixels, hole)
    assert len(loads) == 1


def test_without_the_library_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidrase.inpaint.can_shift", lambda: False)
    said: list[str] = []
    assert load_inpainter("auto", note=said.append).name == "fourier"
    assert "PyMaxflow" in said[0]
    with pytest.raises(OptionError, match="pip install PyMaxflow"):
        load_inpainter("shifts")
