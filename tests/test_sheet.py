"""The contact sheet, as a picture of known size."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import synth

from vidrase.errors import SinkError
from vidrase.frames import Hole
from vidrase.sheet import Sheet, thumbnails


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_one_row_a_sampled_frame(tmp_path: Path, suffix: str) -> None:
    pictures, masks, truth = synth.clip(2)
    sheet = Sheet()
    for frame, mask, clean in zip(synth.as_frames(pictures), masks, synth.as_frames(truth), strict=True):
        sheet.add(frame, Hole.of(mask), clean)
    sheet.add(synth.as_frames(pictures)[0], None, synth.as_frames(pictures)[0])
    sheet.save(tmp_path / f"sheet{suffix}")
    made = cv2.imread(str(tmp_path / f"sheet{suffix}"))
    assert len(sheet) == 3
    assert made.shape[0] == 3 * (360 + 6)
    assert made.shape[1] > 3 * 480
    assert (
        np.abs(made[100, 100].astype(int) - made[100, 100 + 2 * 486].astype(int)).max() < 60
    )  # outside the hole: alike


def test_an_unknown_suffix_is_one_line(tmp_path: Path) -> None:
    sheet = Sheet()
    sheet.add(synth.as_frames(synth.clip(1)[0])[0], None, synth.as_frames(synth.clip(1)[0])[0])
    with pytest.raises(SinkError, match=r"use \.png or \.jpg"):
        sheet.save(tmp_path / "sheet.xyz")


def test_thumbnails(tmp_path: Path) -> None:
    crop = np.full((30, 20, 3), 200, np.uint8)
    thumbnails([(crop, f"id:{k}") for k in range(7)], tmp_path / "t.png")
    assert cv2.imread(str(tmp_path / "t.png")).shape[0] == 2 * (180 + 24 + 6)
