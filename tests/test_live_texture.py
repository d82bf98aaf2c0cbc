from __future__ import annotations

import itertools
import time

import numpy as np
from livefakes import MagentaSegmenter, with_person

from vidrase.live import LiveEraser
from vidrase.live.texture import Texture

SIZE = (180, 224)


def _stripes() -> np.ndarray:
    columns = np.where(np.arange(SIZE[1]) // 4 % 2, 180, 60).astype(np.float32)
    return np.repeat(np.repeat(columns[None, :, None], SIZE[0], 0), 3, 2)


def _hole() -> np.ndarray:
    hole = np.zeros(SIZE, bool)
    hole[60:120, 90:130] = True
    return hole


def test_texture_goes_on_behind_the_hole() -> None:
    texture = Texture(SIZE)
    picture = _stripes()
    picture[_hole()] = 120
    texture.request(picture, _hole())
    assert texture._thread is not None
    texture._thread.join()
    found = texture.view((0, SIZE[0], 0, SIZE[1]))
    assert found is not None
    colour, there = found
    assert (there == _hole()).mean() > 0.99
    assert colour[_hole()].std() > 30  # a smooth fill would have next to none
    texture.reset()
    assert texture.view((0, 8, 0, 8)) is None


def test_no_texture_for_a_wall_and_no_repeated_job() -> None:
    texture = Texture(SIZE, threaded=False)
    texture.request(np.full((*SIZE, 3), 90, np.float32), _hole())
    assert texture.view((0, 8, 0, 8)) is None
    texture.request(_stripes(), _hole())
    first = texture._result
    texture.request(_stripes(), _hole())
    assert first is not None
    assert texture._result is first


def test_a_static_person_before_a_pattern() -> None:
    scene = np.repeat(_stripes().astype(np.uint8)[..., :1], 3, 2)
    outs = []
    with LiveEraser("person", segmenter=MagentaSegmenter(), level=2) as live:
        live.warm_up()
        end = time.monotonic() + 30  # the thread has the lowest priority, and the machine may be busy
        while time.monotonic() < end and not (len(outs) > 40 and outs[-1].std() > 25):
            live.step(with_person(scene, 90, 60), len(outs) / 30)
            assert live.result is not None
            outs.append(live.result.rgb[70:90, 100:120].astype(float))
            time.sleep(0.02)
    assert outs[-1].std() > 25
    assert max(np.abs(a - b).mean() for a, b in itertools.pairwise(outs[3:])) < 8  # it fades in
