"""Judging the mask stage: the performer alone counts, whoever else is found."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import FakeSegmenter, SceneSegmenter
from synth import clip

from vidrase.bench.holes import edge_numbers, erased, hole_numbers


def test_only_the_annotated_one_is_evaluated() -> None:
    pictures, masks, _ = clip(5, 120, 216, step=(0, 0), size=40)
    y, x = np.argwhere(masks[0])[0].tolist()
    found = SceneSegmenter(("person", x, y, x + 40, y + 40), ("person", 150, 20, 190, 110))
    ours = erased(pictures, masks, found)
    holes = ours.holes
    assert edge_numbers(ours, masks)["edge"] > 0.9
    assert all(hole[mask].all() and not hole[:, 140:].any() for hole, mask in zip(holes, masks, strict=True))


def test_nobody_found_covers_nothing() -> None:
    pictures, masks, _ = clip(4)
    nothing = erased(pictures, masks, FakeSegmenter(masks, missed=range(4)))
    holes = nothing.holes
    assert edge_numbers(nothing, masks) == {"edge before": 0, "edge": 0}
    assert not any(hole.any() for hole in holes)
    still = np.zeros((*masks[0].shape, 2), np.float32)
    assert hole_numbers(holes, masks, [(still, still)] * 3) == {"covered": 0, "least": 0, "dropouts": 1, "area": 0}


def test_numbers_of_a_perfect_hole_and_of_one_that_flashes() -> None:
    _, masks, _ = clip(4, step=(0, 0))
    still = np.zeros((*masks[0].shape, 2), np.float32)
    flows = [(still, still)] * 3
    numbers = hole_numbers(masks, masks, flows)
    assert numbers == {"covered": 1, "least": 1, "dropouts": 0, "area": 1, "jumps": 0, "blinks": 0}
    flashing = [masks[0], np.zeros_like(masks[0]), masks[2], masks[3]]
    numbers = hole_numbers(flashing, masks, flows)
    assert numbers["covered"] == pytest.approx(0.75)
    assert numbers["dropouts"] == pytest.approx(0.25)
    assert numbers["jumps"] > 1
    assert numbers["blinks"] > 0.3
