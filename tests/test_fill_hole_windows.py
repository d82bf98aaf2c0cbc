"""Large stills are filled in windows around their holes."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from fills import FAST
from numpy.typing import NDArray

from vidrase.colour import PixelLayout
from vidrase.fill import fill
from vidrase.fill.hole_windows import LARGE, WHOLE, windows
from vidrase.flow import load_flow
from vidrase.frames import Frame, Hole, HoleFrame
from vidrase.inpaint.classical import OpenCvInpainter
from vidrase.report import FillStats

YUV420 = PixelLayout("yuv420p", "yuv", 8, 1, 1)
SIZE = (3600, 4500)
CORNER, MIDDLE = np.s_[0:60, 0:70], np.s_[2001:2100, 3001:3121]


class Looking(OpenCvInpainter):
    """Remembers the size of what it was shown."""

    def __init__(self) -> None:
        super().__init__("telea")
        self.sizes: list[tuple[int, ...]] = []

    def __call__(self, pixels: NDArray[np.float32], hole: NDArray[np.bool_]) -> NDArray[np.float32]:
        self.sizes.append(hole.shape[2:])
        return super().__call__(pixels, hole)


def still(*places: tuple[slice, slice], size: tuple[int, int] = SIZE) -> HoleFrame:
    """A smooth gradient; black where the hole is."""
    ramp = np.linspace(60, 180, size[1], dtype=np.float32)[None].repeat(size[0], 0).astype(np.uint8)
    core = np.zeros(size, bool)
    for place in places:
        core[place] = True
    luma = np.where(core, 0, ramp).astype(np.uint8)
    chroma = [np.full((size[0] // 2, size[1] // 2), 120, np.uint8) for _ in range(2)]
    return HoleFrame(Frame((luma, *chroma), YUV420, 0, 0, Fraction(1, 25), 1), Hole.of(core))


def filled(hole_frame: HoleFrame, inpainter: OpenCvInpainter, stats: FillStats | None = None) -> Frame:
    (frame,) = fill(
        iter([hole_frame]),
        options=FAST,
        flow=load_flow(note=print),
        inpainter=inpainter,
        analysis=None,
        stats=stats or FillStats(),
        note=print,
    )
    return frame


def test_each_hole_is_filled_and_nothing_else_changes() -> None:
    given, stats, inpainter = still(CORNER, MIDDLE), FillStats(), Looking()
    assert given.hole is not None
    result = filled(given, inpainter, stats)
    area = given.hole.full_area()
    assert np.array_equal(result.planes[0][~area], given.frame.planes[0][~area])
    assert result.edited
    for place, expected in ((CORNER, 60), (MIDDLE, 142)):
        assert np.abs(result.planes[0][place].astype(int) - expected).max() < 12
    assert stats.invented == np.count_nonzero(area)
    assert stats.modes == {"flow": 1}
    assert len(inpainter.sizes) == 2
    assert max(max(size) for size in inpainter.sizes) < 500


def test_memory_is_that_of_the_hole() -> None:
    given = still(MIDDLE)
    whole = sum(plane.nbytes for plane in given.frame.planes)
    tracemalloc.start()
    try:
        filled(given, OpenCvInpainter("telea"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.5 * whole  # the result's planes are one of them


def test_small_pictures_are_filled_whole() -> None:
    assert not windows(still(np.s_[10:20, 10:20], size=(400, 600)))
    assert SIZE[0] * SIZE[1] > LARGE
    assert not windows(HoleFrame(still().frame))


def test_a_large_hole_is_filled_at_a_smaller_size() -> None:
    given, inpainter = still(np.s_[901:2400, 1201:2900]), Looking()
    assert given.hole is not None
    result = filled(given, inpainter)
    area = given.hole.full_area()
    assert np.array_equal(result.planes[0][~area], given.frame.planes[0][~area])
    rim = area.copy()
    rim[911:2390, 1211:2890] = False  # further in it is this inpainter's
    assert np.abs(result.planes[0].astype(int) - still().frame.planes[0])[rim].max() < 8  # black is 90 away
    (size,) = inpainter.sizes
    assert size[0] * size[1] <= WHOLE


@pytest.mark.parametrize("gap", [40, 400, 3000])
def test_windows_do_not_overlap_and_hold_the_holes(gap: int) -> None:
    places = np.s_[1000:1061, 101:164], np.s_[1030:1100, 164 + gap : 230 + gap]
    given = still(*places)
    assert given.hole is not None
    boxes = windows(given)
    covered = np.zeros(SIZE, np.uint8)
    for y0, y1, x0, x1 in boxes:
        covered[y0:y1, x0:x1] += 1
        assert (y0 % 2, x0 % 2) == (0, 0)
    assert covered.max() == 1
    assert covered[given.hole.full_area()].all()
    assert len(boxes) == (2 if gap == 3000 else 1 + (gap == 400))
