"""Pictures of a single row, column or pixel go the whole way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vidrase


@pytest.mark.parametrize("size", [(1, 40), (40, 1), (2, 2), (1, 1)])
def test_pictures_of_extreme_shapes(size: tuple[int, int], tmp_path: Path) -> None:
    given = np.full((*size, 3), 90, np.uint8)
    mask = np.zeros(size, np.uint8)
    mask[-1, -1] = 255
    Image.fromarray(given).save(tmp_path / "in.png")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    vidrase.erase(tmp_path / "in.png", tmp_path / "out.png", mask=tmp_path / "mask.png")
    assert np.array(Image.open(tmp_path / "out.png")).shape[:2] == size
