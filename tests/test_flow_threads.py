"""Flow depends on the two pictures alone: not on the thread that asks, nor on what was asked before."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import synth

from vidrase.flow import load_flow


def test_two_threads_get_what_one_gets() -> None:
    flow = load_flow("dis", note=print)
    pairs = []
    for height, width, seed in ((96, 128, 0), (60, 200, 1), (130, 90, 2), (48, 64, 3)):
        picture = synth.texture(height, width + 8, seed)[..., 0]
        pairs.append((np.ascontiguousarray(picture[None, :, :-8]), np.ascontiguousarray(picture[None, :, 3:-5])))
    alone = [flow(a, b) for a, b in pairs]
    with ThreadPoolExecutor(4, thread_name_prefix="test") as pool:
        for _ in range(10):
            together = list(pool.map(lambda pair: flow(*pair), pairs))
            assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_a_small_picture_leaves_no_trace() -> None:
    picture = synth.texture(64, 104, 1)[..., 0]
    pair = np.ascontiguousarray(picture[None, :, :-8]), np.ascontiguousarray(picture[None, :, 3:-5])
    small = synth.texture(24, 30, 2)[..., 0]
    flow = load_flow("dis", note=print)
    alone = flow(*pair)
    flow(small[None], np.roll(small, 1, 1)[None])
    assert np.array_equal(flow(*pair), alone)
