"""Flow across a few frames whose light hides the picture: a flash burns it out, a strobe leaves it dark.

Flow to and from such a frame is wrong, and every trajectory passes through it. It is measured between the frames before and
after, and shared out evenly over the frames between.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from vidrase import rules
from vidrase.camera import CameraMotion
from vidrase.fill.flow_completion import CompletedFlow, FlowPair, MeasuredFlow
from vidrase.fill.flow_estimation import FlowEstimator
from vidrase.fill.light_matching import LightMatching
from vidrase.fill.window_frame import WindowFrame

# Evidence for flow.bridge: `rules.py`.
MAX_FRAMES = 3  # of a flash that are bridged, at most


def bridge_flash(
    frames: Mapping[int, WindowFrame], now: WindowFrame, estimator: FlowEstimator, light: LightMatching
) -> None:
    """Replace the flow through the frames just before `now`, if their light cannot be matched and that before them can.

    `now` and the frames before are in `frames` and in `light`.
    """
    before = frames.get(now.number - 1)
    if before is None or before.shot != now.shot or light.usable(now, before) or not rules.enabled("flow.bridge"):
        return
    for number in range(now.number - 2, now.number - 2 - MAX_FRAMES, -1):
        start = frames.get(number)
        if start is None or start.shot != now.shot or start.flow_pair is None:
            return
        if light.usable(now, start) and light.usable(start, now):
            break
    else:
        return
    two_before = frames.get(start.number - 1)
    whole = estimator(start, now, two_before.flow_pair if two_before is not None else None)
    share = 1 / (now.number - start.number)
    for number in range(start.number, now.number):
        frames[number].flow_pair = _part(whole, share)
        light.add(frames[number + 1], frames[number])


def _part(pair: FlowPair, share: float) -> FlowPair:
    """The flow of `share` of the way."""
    assert pair.measured_forward is not None
    forward, backward = pair.measured_forward, pair.backward
    half = np.float16(share)
    measured = MeasuredFlow(forward.y, forward.x, forward.base * half, forward.residual * half, forward.trusted)
    prior = (
        None
        if backward.prior is None
        else replace(backward.prior, residual=backward.prior.residual * np.float32(share))
    )
    completed = CompletedFlow(backward.y, backward.x, backward.flow * np.float32(share), prior)
    homography = (1 - share) * np.eye(3) + share * pair.camera.homography / pair.camera.homography[2, 2]
    kept = _part(pair.kept, share) if pair.kept is not None else None
    return FlowPair(measured, completed, None, CameraMotion(homography, pair.camera.support), kept)
