"""Sampling beside a hole: the object's pixels never bleed into the samples."""

import numpy as np
import pytest

from vidrase.fill.composite import PlaneHole
from vidrase.fill.source_planes import SourcePlanes
from vidrase.fill.trajectories import GridPoints, interpolate
from vidrase.fill.window_frame import Box, SourceMap


def hole_at(top: int, left: int, rows: int, columns: int) -> PlaneHole:
    area = np.ones((rows, columns), bool)
    return PlaneHole(top, left, area, area.astype(np.float32), 0, 0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_object_does_not_bleed_into_samples_beside_it(dtype: type) -> None:
    plane = np.full((80, 90), 100, dtype)
    hole = hole_at(30, 40, 20, 10)
    plane[hole.span] = 255
    picture = SourcePlanes((plane,), holes=[hole])
    x = np.linspace(30, 39, 40, dtype=np.float32)  # up to the hole's edge
    assert np.all(picture.at([0], x, np.full_like(x, 35.3), 0, 0) == 100)
    assert np.all(plane[hole.span] == 255)  # the picture itself is left alone


def test_far_and_near_points_give_the_planes_own_samples() -> None:
    rng = np.random.default_rng(0)
    planes = tuple(rng.integers(0, 256, (120, 160), dtype=np.uint8) for _ in range(2))
    hole = hole_at(50, 60, 10, 10)
    picture = SourcePlanes(planes, holes=[hole, hole])
    rows, columns = np.nonzero(np.ones((120, 160), bool))
    values = picture.at([0, 1], columns.astype(np.float32), rows.astype(np.float32), 0, 0)
    for k, plane in enumerate(planes):
        apart = values[:, k].reshape(plane.shape) != plane
        apart[hole.span] = False
        assert not apart.any()


def test_crops_know_where_they_lie() -> None:
    plane = np.arange(100, dtype=np.uint8).reshape(10, 10)
    picture = SourcePlanes((plane,), y=20, x=40)
    # a half-size plane: its sample (r, c) stands at luma (2 r + 0.5, 2 c + 0.5)
    x, y = np.array([40 + 2 * 3 + 0.5], np.float32), np.array([20 + 2 * 7 + 0.5], np.float32)
    shifted = SourcePlanes((plane,), y=20, x=40).at([0], x, y, 1, 1)
    assert shifted[0, 0] == plane[7, 3]
    assert picture.at([0], np.array([43], np.float32), np.array([27], np.float32), 0, 0)[0, 0] == plane[7, 3]


def test_displacements_are_mixed_among_pixels_of_one_source_only() -> None:
    source_map = SourceMap.empty(Box(0, 0, 4, 6))
    source_map.source[:, :3], source_map.source[:, 3:] = 1, 2
    source_map.dx[:, :3] = np.arange(3)
    source_map.dx[:, 3:] = 100
    x, y = np.array([0.5, 2.4, 2.6, 4.5], np.float32), np.full(4, 1.5, np.float32)
    source, dx, _ = interpolate(source_map, GridPoints.of(source_map.box, x, y))
    assert source.tolist() == [1, 1, 2, 2]
    assert np.allclose(dx, [0.5, 2, 100, 100])
