"""Steps between patches from different source frames: gone where they meet, the rest untouched."""

from __future__ import annotations

import numpy as np
import pytest

from vidrase.colour import PixelLayout
from vidrase.fill.blending import Candidate, SampleSites
from vidrase.fill.composite import plane_holes
from vidrase.fill.seams import blend_seams
from vidrase.frames import Hole

GREY = PixelLayout("gray", "gray", 8)
SIDE = 60


def _candidate(step: float, doubt: float) -> tuple[Candidate, SampleSites]:
    """A square hole, its left half from frame 3, its right half from frame 7 and `step` lighter; fine texture all over."""
    mask = np.zeros((80, 80), bool)
    mask[10 : 10 + SIDE, 10 : 10 + SIDE] = True
    hole = plane_holes(Hole.of(mask, mask), GREY)[0]
    sites = SampleSites.of(hole, mask.shape, 3)
    columns = np.nonzero(hole.area)[1]
    right = columns >= SIDE // 2
    texture = np.random.default_rng(0).normal(0, 2, sites.count).astype(np.float32)
    rim = np.zeros(len(sites.x) - sites.count, np.float32)
    source = np.concatenate([np.where(right, 7, 3), np.full(len(rim), -1)]).astype(np.int32)
    values = np.concatenate([100 + step * right + texture, rim]).astype(np.float32)
    return Candidate(source, [values], rim_error=np.full(sites.count, doubt, np.float32)), sites


def _step(candidate: Candidate, sites: SampleSites) -> tuple[float, float]:
    """(lightness just right of the seam less just left of it, the same far from it)."""
    grid = candidate.values[0][: sites.count].reshape(SIDE, SIDE)
    middle = SIDE // 2
    near = grid[20:40, middle : middle + 2].mean() - grid[20:40, middle - 2 : middle].mean()
    return float(near), float(grid[20:40, -3:].mean() - grid[20:40, :3].mean())


def test_a_step_fades_away_from_the_seam() -> None:
    candidate, sites = _candidate(30.0, 20.0)
    blend_seams(candidate, sites, 255)
    near, far = _step(candidate, sites)
    assert abs(near) < 8
    assert far == pytest.approx(30, abs=6)


@pytest.mark.parametrize(("step", "doubt"), [(2.0, 20.0), (30.0, 1.0)])
def test_small_steps_and_sure_rims_are_left_alone(step: float, doubt: float) -> None:
    candidate, sites = _candidate(step, doubt)
    before = candidate.values[0].copy()
    blend_seams(candidate, sites, 255)
    assert np.abs(candidate.values[0] - before).max() < 0.5
