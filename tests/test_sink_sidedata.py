"""Side data of frames: what an encoder is told, and that looking costs nothing."""

from __future__ import annotations

import sys

import av

from vidrase.sink import sidedata


def test_looking_at_side_data_does_not_tie_a_frame_to_itself() -> None:
    frame = av.VideoFrame(16, 16, "yuv420p")
    before = sys.getrefcount(frame)
    sidedata.present(frame)
    assert sys.getrefcount(frame) == before  # else every written picture waits for the collector of cycles
