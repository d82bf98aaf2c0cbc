"""The fill as the tests run it: everything in, everything out."""

from __future__ import annotations

from collections.abc import Iterable

from vidrase.fill import fill
from vidrase.flow import load_flow
from vidrase.frames import Frame, HoleFrame
from vidrase.inpaint import Inpainter, load_inpainter
from vidrase.options import FillOptions
from vidrase.report import FillStats
from vidrase.shots import ShotAnalysis

FAST = FillOptions(quality="fast", shadows=False)


def filled(
    holes: Iterable[HoleFrame],
    options: FillOptions = FAST,
    *,
    inpainter: str | Inpainter = "telea",
    analysis: ShotAnalysis | None = None,
) -> list[Frame]:
    """One frame out for each in. inpainter: "auto" for the one that ships."""
    result = fill(
        holes,
        options=options,
        flow=load_flow(note=print),
        inpainter=load_inpainter(inpainter) if isinstance(inpainter, str) else inpainter,
        analysis=analysis,
        stats=FillStats(),
        note=print,
    )
    return list(result)
