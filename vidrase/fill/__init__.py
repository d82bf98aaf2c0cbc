"""The fill stage: the true background where any frame shows it, elsewhere synthesis that is warped from frame to frame.

Invariants: planes outside a hole are bit-identical. A frame without a hole, or with `passes` set, is returned as the same object
and is not counted. At most `frames_held` frames are held. No pixel comes from the other side of a scene cut.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from functools import partial
from itertools import islice

from vidrase.cuts import Shots
from vidrase.fill.bars import with_bars_filled
from vidrase.fill.filler import Filler, plate_of, window_radius
from vidrase.fill.hole_windows import fill_in_windows, windows
from vidrase.fill.residual import LOOK_AHEAD, add_residuals
from vidrase.flow import FlowModel
from vidrase.frames import Frame, HoleFrame
from vidrase.inpaint import Inpainter
from vidrase.keyframes import KeyframeMosaic
from vidrase.options import FillOptions
from vidrase.report import FillStats
from vidrase.shots import ShotAnalysis, shots_of
from vidrase.streams import iter_closable

__all__ = ["fill", "frames_held", "shadowed", "window_radius"]


def frames_held(options: FillOptions) -> int:
    """The largest number of frames that `fill` holds at once."""
    return (
        2 * window_radius(options)
        + 2
        + (LOOK_AHEAD + 2 if options.shadows is not False and options.mode != "image" else 0)
    )


def shadowed(
    upstream: Iterable[HoleFrame],
    *,
    options: FillOptions,
    flow: FlowModel,
    analysis: ShotAnalysis | None,
    shots: Shots | None = None,
) -> Generator[HoleFrame, None, None]:
    """Add the residuals of the objects (shadows, traces) to the holes if the options ask for it. Yields one item per input item.

    analysis: the shot analysis; None: there was none. It gives the background plate and the key frames.
    shots:  the shot numbers, if other stages share them; None: those of `analysis`.
    """
    if not options.shadows or options.mode == "image":
        return iter_closable(upstream)

    def mosaic_of(frame: Frame) -> KeyframeMosaic | None:
        shot = analysis.shot(frame.index) if analysis is not None else None
        return shot.mosaic if shot is not None else None

    return add_residuals(
        upstream, flow, lambda frame: plate_of(analysis, options, frame), mosaic_of, shots or shots_of(analysis)
    )


def fill(
    upstream: Iterable[HoleFrame],
    *,
    options: FillOptions,
    flow: FlowModel,
    inpainter: Inpainter,
    analysis: ShotAnalysis | None,
    stats: FillStats,
    note: Callable[[str], None],
    shots: Shots | None = None,
) -> Generator[Frame, None, None]:
    """Fill the holes. Yields one frame per input frame, in the same order and with the same times.

    analysis: the shot analysis of the first pass; None: there was none.
    stats:  counters, updated while frames pass.
    note:   called with one line of text for each fallback.
    shots:  the shot numbers, if other stages share them; None: those of `analysis`.
    """
    source = iter(upstream)
    begun = deque(islice(source, 2))
    boxes = windows(begun[0]) if len(begun) == 1 else []
    try:
        if boxes:
            alone = partial(_fill_alone, options=options, flow=flow, inpainter=inpainter, stats=stats, note=note)
            yield fill_in_windows(with_bars_filled(begun.popleft()), boxes, alone)
        else:
            filler = Filler(options, flow, inpainter, analysis, stats, note, shots or shots_of(analysis))
            with closing(filler):
                for hole_frame in _all_of(begun, source):
                    filler.push(with_bars_filled(hole_frame))
                    del hole_frame
                    while filler.ready():
                        yield filler.pop()
                while filler.waiting():
                    yield filler.pop()
    finally:
        close = getattr(source, "close", None)
        if close is not None:
            close()


def _all_of(begun: deque[HoleFrame], source: Iterator[HoleFrame]) -> Iterator[HoleFrame]:
    """The frames read already, which are not held longer than the others, and then those of `source`."""
    while begun:
        yield begun.popleft()
    yield from source


def _fill_alone(
    still: HoleFrame,
    *,
    options: FillOptions,
    flow: FlowModel,
    inpainter: Inpainter,
    stats: FillStats,
    note: Callable[[str], None],
) -> Frame:
    """One frame of which no other is known."""
    counted = FillStats()
    with closing(Filler(options, flow, inpainter, None, counted, note, Shots())) as filler:
        filler.push(still)
        frame = filler.pop()
    stats.invented += counted.invented
    stats.modes |= counted.modes
    if counted.doubtful and stats.doubtful[-1:] != counted.doubtful:
        stats.doubtful += counted.doubtful
    return frame
