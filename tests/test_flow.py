"""Flow: direction, order of (dx, dy), sizes; camera fit; cuts."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from synth import texture

from vidrase.camera import fit_camera
from vidrase.cuts import CutDetector
from vidrase.errors import OptionError, ShapeError
from vidrase.flow import load_flow


def _note(text: str) -> None:
    raise AssertionError(text)


def test_shift_gives_its_direction_and_size() -> None:
    world = cv2.cvtColor(texture(140, 180), cv2.COLOR_RGB2GRAY)
    a, b = world[20:116, 20:148], world[17:113, 15:143]  # what a shows at (x, y) is at (x + 5, y + 3) in b
    flow = load_flow(note=_note)(np.stack([a, a]), np.stack([b, a]))
    assert flow.shape == (2, 96, 128, 2)
    assert flow.dtype == np.float32
    inner = flow[0, 16:-16, 16:-16]
    assert np.allclose(np.median(inner, axis=(0, 1)), (5, 3), atol=0.15)
    assert not flow[1].any(), "equal pictures must give exactly zero"


def test_tiny_pictures_pass() -> None:
    a = np.zeros((1, 5, 7), np.uint8)
    assert load_flow(note=_note)(a, a + 9).shape == (1, 5, 7, 2)


def test_bad_requests_say_so() -> None:
    with pytest.raises(OptionError, match="no flow model 'nope'"):
        load_flow("nope", note=_note)
    with pytest.raises(ShapeError, match="uint8"):
        load_flow(note=_note)(np.zeros((1, 32, 32), np.float32), np.zeros((1, 32, 32), np.float32))  # type: ignore[arg-type]


def test_camera_is_found_among_other_motion() -> None:
    rows, columns = np.mgrid[0:120, 0:160].astype(np.float32)
    flow = np.stack([0.01 * columns + 3, 0.005 * rows - 2], axis=2).astype(np.float32)
    flow[30:70, 40:80] = (-9, 7)
    camera = fit_camera(flow, np.ones((120, 160), bool))
    assert camera.support > 0.8
    found = camera.flow(0, 0, 120, 160)
    assert np.abs(found[:20] - flow[:20]).max() < 0.3
    home = camera.inverse().flow(0, 0, 120, 160)
    assert np.abs(home[60, 80] + found[60, 80]).max() < 0.3


def test_cut_is_seen_and_a_pan_is_not() -> None:
    one, other = (cv2.cvtColor(texture(200, 400, seed), cv2.COLOR_RGB2GRAY) for seed in (1, 2))
    other = np.where(other > 128, 235, 20).astype(np.uint8)
    detector = CutDetector()
    shown = [picture[:, 4 * t : 200 + 4 * t] for picture in (one, other) for t in range(10)]
    cuts = [t for t, picture in enumerate(shown) if detector(np.ascontiguousarray(picture))]
    assert cuts == [10]
