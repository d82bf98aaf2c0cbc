"""Planes to RGB and back, against values worked by hand from the ITU recommendations."""

from __future__ import annotations

import numpy as np
import pytest

from vidrase.colour import PixelLayout, chroma_hole, from_rgb, to_luma8, to_rgb, to_rgb8
from vidrase.frames import Hole, Orientation

LAYOUTS = [
    PixelLayout("yuv420p", "yuv", 8, 1, 1, matrix="bt601"),
    PixelLayout("yuv422p", "yuv", 8, 1, 0),
    PixelLayout("yuv444p10le", "yuv", 10, matrix="bt2020"),
    PixelLayout("yuvj420p", "yuv", 8, 1, 1, matrix="bt601", full_range=True),
    PixelLayout("gbrp", "rgb", 8, full_range=True),
]


def test_red_in_bt601_limited() -> None:
    y, cb, cr = from_rgb(np.array([[[1.0, 0, 0]]]), PixelLayout("yuv444p", "yuv", 8, matrix="bt601"))
    assert (int(y[0, 0]), int(cb[0, 0]), int(cr[0, 0])) == (81, 90, 240)  # BT.601 colour bars, 100 % red


def test_red_in_bt709_ten_bit() -> None:
    y, cb, cr = from_rgb(np.array([[[1.0, 0, 0]]]), PixelLayout("yuv444p10le", "yuv", 10, matrix="bt709"))
    assert (int(y[0, 0]), int(cb[0, 0]), int(cr[0, 0])) == (250, 409, 960)  # 64+876*.2126, 512-896*.1146, 512+448


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda x: x.name)
def test_round_trip_of_smooth_colour(layout: PixelLayout) -> None:
    ramp = np.linspace(0.1, 0.9, 33, dtype=np.float32)
    rgb = np.stack(np.broadcast_arrays(ramp[None, :], ramp[:, None] * 0.5 + 0.2, ramp[None, ::-1]), axis=2)
    planes = from_rgb(rgb, layout)
    assert [p.shape for p in planes] == [layout.plane_shape(c, 33, 33) for c in range(3)]
    assert np.abs(to_rgb(planes, layout) - rgb)[2:-2, 2:-2].max() < 0.03


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda x: x.name)
def test_views_have_the_asked_size(layout: PixelLayout) -> None:
    planes = from_rgb(np.full((41, 57, 3), 0.5, np.float32), layout)
    assert to_rgb8(planes, layout, size=(20, 30)).shape == (20, 30, 3)
    assert to_luma8(planes, layout, size=(20, 30)).shape == (20, 30)
    assert abs(int(to_rgb8(planes, layout)[20, 20, 1]) - 128) <= 2


def test_a_chroma_sample_is_in_the_hole_when_any_pixel_it_covers_is() -> None:
    hole = np.zeros((5, 7), bool)
    hole[4, 6] = True
    hole[1, 1] = True
    chroma = chroma_hole(hole, LAYOUTS[0], 1)
    assert chroma.shape == (3, 4)
    assert sorted(zip(*np.nonzero(chroma), strict=True)) == [(0, 0), (2, 3)]


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_orientation_there_and_back(turns: int, mirrored: bool) -> None:
    picture = np.arange(12).reshape(3, 4)
    orientation = Orientation(turns, mirrored)
    shown = orientation.to_display(picture)
    assert shown.shape == orientation.displayed_size(3, 4)
    assert np.array_equal(orientation.to_stored(shown), picture)
    if turns == 1 and not mirrored:
        assert shown[0, 0] == picture[-1, 0]  # clockwise: the bottom left corner comes to the top left


def test_hole_is_cropped_and_comes_back() -> None:
    core = np.zeros((20, 30), bool)
    core[5:9, 7:11] = True
    area = np.zeros_like(core)
    area[4:10, 6:12] = True
    hole = Hole.of(core, area)
    assert hole is not None
    assert hole.area.shape == (6, 6)
    assert np.array_equal(hole.full_core(), core)
    assert np.array_equal(hole.full_area(), area)
    assert Hole.of(np.zeros((4, 4), bool)) is None
