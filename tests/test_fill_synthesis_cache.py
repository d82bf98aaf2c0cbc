"""Synthesis: nothing is taken from unsearched frames, and no stripes are stretched in from the border."""

from __future__ import annotations

import cv2
import numpy as np
from fills import filled
from numpy.typing import NDArray
from synth import as_frames, texture

from vidrase.fill.source_planes import SourcePlanes
from vidrase.frames import Frame, Hole, HoleFrame

SIZE = (96, 160)
RED = (225, 20, 30)


def _red(frame: Frame, mask: NDArray[np.bool_]) -> int:
    return int((np.abs(frame.rgb()[mask].astype(int) - RED).max(1) < 60).sum())


def test_nothing_is_taken_from_unsearched_frames() -> None:
    # with --time only the frames around are searched: further off the object stands there without a mask
    world = texture(SIZE[0] + 20, SIZE[1] + 20, 4)
    mask = np.zeros(SIZE, bool)
    mask[30:70, 60:90] = True
    shown = []
    for t in range(70):
        view = np.float32([[1, 0, 10 + 3 * np.sin(t / 5)], [0, 1, 10]])
        picture = cv2.warpAffine(world, view, SIZE[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        picture[mask] = RED
        shown.append(picture)
    found = [
        HoleFrame(frame, None, passes=True, searched=False) if t < 8 else HoleFrame(frame, Hole.of(mask))
        for t, frame in enumerate(as_frames(shown))
    ]
    result = filled(found, inpainter="auto")
    assert _red(result[0], mask)
    assert sum(_red(frame, mask) for frame in result[8:]) == 0


def test_newly_visible_rows_at_the_border_are_not_stretched() -> None:
    # a camera that tilts slowly, line by line, and an object at the lower border that hides all new rows
    world = texture(SIZE[0] + 60, SIZE[1], 4)
    shown, truth = [], []
    mask = np.zeros(SIZE, bool)
    mask[60:, 50:110] = True
    for t in range(45):
        view = np.float32([[1, 0, 0], [0, 1, 0.8 * t]])
        picture = cv2.warpAffine(world, view, SIZE[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        truth.append(picture)
        shown.append(np.where(mask[..., None], np.uint8(RED), picture))
    result = filled([HoleFrame(frame, Hole.of(mask)) for frame in as_frames(shown)], inpainter="auto")

    def change(picture: NDArray[np.uint8]) -> float:
        """Mean difference of neighbouring lines where all is new: zero where one line is repeated."""
        new = picture[70:, 55:105].astype(float)
        return float(np.abs(np.diff(new, axis=0)).mean())

    assert change(result[-1].rgb()) > 0.5 * change(truth[-1])


def test_beyond_its_borders_a_picture_is_mirrored() -> None:
    plane = np.arange(20, dtype=np.uint8)[None].repeat(12, 0) * 10
    picture = SourcePlanes((plane,))
    x, y = np.array([-3, 0, 19, 22], np.float32), np.full(4, 5, np.float32)
    assert np.allclose(picture.at([0], x, y, 0, 0)[:, 0], [30, 0, 190, 160], atol=1)


def test_thin_remains_do_not_need_the_network() -> None:
    # the network takes a second to load; a line of a few pixels is closed smoothly
    class Network:
        stride = 1

        def __call__(self, pixels: NDArray[np.float32], hole: NDArray[np.bool_]) -> NDArray[np.float32]:
            raise AssertionError("called for a line")

    mask = np.zeros(SIZE, bool)
    mask[40:43, 50:110] = True
    (frame,) = as_frames([cv2.GaussianBlur(texture(*SIZE, 4), (0, 0), 4)])
    (result,) = filled([HoleFrame(frame, Hole.of(mask))], inpainter=Network())
    assert np.abs(result.rgb()[mask].astype(int) - frame.rgb()[mask]).mean() < 6
