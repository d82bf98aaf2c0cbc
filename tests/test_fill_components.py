"""Connected components and distances, as the residual stage needs them."""

from __future__ import annotations

import numpy as np

from vidrase.fill.components import any_in_cells, touching, within
from vidrase.fill.static_shadow import median_colour, quantiles


def test_a_component_counts_if_it_touches_every_seed() -> None:
    mask, first, second = (np.zeros((20, 30), bool) for _ in range(3))
    mask[2:6, 2:6], mask[2:6, 10:14], mask[12:16, 2:6] = True, True, True
    first[3, 3], first[3, 12], second[4, 12], second[13, 3], second[9, 9] = True, True, True, True, True
    found = touching(mask, first, second)
    assert found[2:6, 10:14].all()
    assert found.sum() == 16
    assert touching(mask, first).sum() == 32
    assert not touching(np.zeros_like(mask), first).any()


def test_what_lies_within_a_distance() -> None:
    mask = np.zeros((41, 41), bool)
    mask[20, 20] = True
    rows, columns = np.mgrid[:41, :41] - 20
    for distance, found in zip((4, 15), within(mask, 4, 15), strict=True):
        assert found[np.hypot(rows, columns) < 0.95 * distance].all()
        assert not found[np.hypot(rows, columns) > 1.05 * distance].any()
    assert not within(np.zeros_like(mask), 5)[0].any()


def test_no_pixel_of_a_mask_is_lost_when_it_is_reduced() -> None:
    for size in ((480, 854), (97, 61), (240, 426)):
        small = (size[0] * 135 // 480, size[1] * 135 // 480)
        for y, x in ((0, 0), (size[0] - 1, size[1] - 1), (size[0] // 3, size[1] // 3)):
            mask = np.zeros(size, bool)
            mask[y, x] = True
            found = any_in_cells(mask, small)
            assert found[y * small[0] // size[0], x * small[1] // size[1]]
            assert found.sum() <= 4


def test_quantiles_of_bytes() -> None:
    values = np.random.default_rng(0).integers(0, 256, 1001).astype(np.uint8)
    for share in (0.1, 0.5, 0.9):
        assert quantiles(values, share)[0] == np.quantile(values, share)
    rgb = np.random.default_rng(1).integers(0, 256, (20, 31, 3)).astype(np.uint8)
    where = np.random.default_rng(2).random((20, 31)) < 0.5
    assert np.abs(median_colour(rgb, where) - np.median(rgb[where], axis=0)).max() <= 1
