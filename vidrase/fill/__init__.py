"""The fill stage: the true background where any frame shows it, elsewhere an invention carried through time.

Invariants: planes outside a hole are bit-identical; a frame without a hole, or that passes, leaves as the same object and is not
counted; at most `frames_held` frames are held; nothing is taken from the other side of a scene cut.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable

from vidrase.album import Album
from vidrase.cuts import Shots
from vidrase.fill.bars import with_bars_filled
from vidrase.fill.filler import Filler, plate_of, reach_of
from vidrase.fill.shadows import LOOK, with_shadows
from vidrase.flow import FlowModel
from vidrase.frames import Frame, HoleFrame
from vidrase.inpaint import Inpainter
from vidrase.options import FillOptions
from vidrase.report import FillStats
from vidrase.streams import iter_closable
from vidrase.survey import Survey, shots_of

__all__ = ["fill", "frames_held", "reach_of", "shadowed"]


def frames_held(options: FillOptions) -> int:
    """The most frames that `fill` holds at once."""
    return 2 * reach_of(options) + 2 + (LOOK + 2 if options.shadows is not False and options.mode != "image" else 0)


def shadowed(
    upstream: Iterable[HoleFrame],
    *,
    options: FillOptions,
    flow: FlowModel,
    survey: Survey | None,
    shots: Shots | None = None,
) -> Generator[HoleFrame, None, None]:
    """Complete holes, with the shadows and traces of what is in them where the options want it: one out for each in.

    shots: the numbers of the shots, if other stages ask as well; None: the survey's.
    """
    if not options.shadows or options.mode == "image":
        return iter_closable(upstream)

    def album_of(frame: Frame) -> Album | None:
        shot = survey.shot(frame.index) if survey is not None else None
        return shot.album if shot is not None else None

    return with_shadows(
        upstream, flow, lambda frame: plate_of(survey, options, frame), album_of, shots or shots_of(survey)
    )


def fill(
    upstream: Iterable[HoleFrame],
    *,
    options: FillOptions,
    flow: FlowModel,
    inpainter: Inpainter,
    survey: Survey | None,
    stats: FillStats,
    note: Callable[[str], None],
    shots: Shots | None = None,
) -> Generator[Frame, None, None]:
    """Frames with their holes filled: one out for each in, same order and times.

    survey: what the first pass saw of the background; None when there was none.
    stats:  counted into while frames pass.
    shots:  the numbers of the shots, if other stages ask as well; None: the survey's.
    """
    source = iter(upstream)
    filler = Filler(options, flow, inpainter, survey, stats, note, shots or shots_of(survey))
    try:
        for found in source:
            filler.push(with_bars_filled(found))
            del found
            while filler.ready():
                yield filler.pop()
        while filler.waiting():
            yield filler.pop()
    finally:
        close = getattr(source, "close", None)
        if close is not None:
            close()
