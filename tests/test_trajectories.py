"""Trajectories: where hidden pixels are found, on window frames made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from synth import as_frames

from vidrase.camera import STILL
from vidrase.fill.flow_completion import CompletedFlow, FlowPair
from vidrase.fill.trajectories import trace_trajectories
from vidrase.fill.window_frame import WindowFrame, WorkGrid
from vidrase.frames import Hole

SIZE = (24, 32)
AREA = np.s_[8:14, 10:16]


def _motion(right: float = 0.0) -> CompletedFlow:
    flow = np.zeros((*SIZE, 2), np.float32)
    flow[..., 0] = right
    return CompletedFlow(0, 0, flow, None)


def _window_frames(backs: list[float]) -> dict[int, WindowFrame]:
    """A hole in the first frame alone; forward flow is zero, `backs` is the backward flow, px, from each frame on."""
    hole = np.zeros(SIZE, bool)
    hole[AREA] = True
    frames = as_frames([np.zeros((*SIZE, 3), np.uint8)] * (len(backs) + 1))
    window_frames = {
        f.index: WindowFrame.of(f.index, f, None if f.index else Hole.of(hole), 0, WorkGrid.of(*SIZE, 99))
        for f in frames
    }
    for number, back in enumerate(backs):
        window_frames[number].flow_pair = FlowPair(None, _motion(back), _motion(), STILL)
    return window_frames


@pytest.mark.parametrize(("backs", "source"), [([0, 0, 0], 1), ([6, 0, 0], 2), ([6, 6, 0], 3), ([6, 6, 6], 1)])
def test_trajectories_pass_an_occluder_where_the_background_is_visible_later(backs: list[float], source: int) -> None:
    window_frames = _window_frames(backs)
    found = trace_trajectories(window_frames, window_frames[0], 1, 9)
    box = window_frames[0].box
    assert box is not None
    inner = np.s_[8 - box.top : 14 - box.top, 10 - box.left : 16 - box.left]
    assert (found.source[inner] == source).all()
    assert (found.dx[inner] == 0).all()


def test_nothing_is_taken_from_between_a_hole_and_its_neighbour() -> None:
    window_frame = _window_frames([0])[0]
    x = np.array([8.9, 9.0, 9.1, 15.9, 16.0], np.float32)
    assert window_frame.samples_known(x, np.full(5, 10, np.float32)).tolist() == [True, True, False, False, True]
