"""Cuts the second pass into chunks that do not depend on each other.

A chunk ends at a cut where it can: a shot is filled the same whatever comes before it. A longer shot is divided into stretches.
The stages need frames on either side of a stretch (the halo), and what they carry from frame to frame begins anew with it. So a
stretch also fills the last frames of the one before it (the lead), and `join` fades from one to the other there.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from vidrase import fill, mask
from vidrase.options import Options
from vidrase.passes import within
from vidrase.shots import ShotAnalysis

LONGEST = 1500
"""Frames: what a kill costs at most, a minute of film."""
SHORTEST = 600
"""Frames of a stretch for workers. A seam within a shot, with its halos and lead, costs the processor time of about 46 frames
(benchmarks/README.md): 8 % of 600, 3 % of `LONGEST`."""
LEAD = 12
"""Frames over which one stretch fades into the next: as many as the synthesis takes to replace content within a shot."""
HALO_MARGIN = 4  # frames: the shadows of neighbours are compared


@dataclass(frozen=True, slots=True)
class Chunk:
    """Frames `start` to `stop` (half-open) of the clip, filled together."""

    start: int
    stop: int
    lead: int = 0
    """Frames before `start` that are filled too."""
    first: int = 0
    """First frame that is read."""
    last: int = 0
    """Frame at which reading stops."""

    def __len__(self) -> int:
        return self.stop - self.start


def halo(options: Options) -> int:
    """Frames on either side of a stretch that its stages look at."""
    return fill.window_radius(options.fill) + mask.REACH + HALO_MARGIN


def target(frames: int, workers: int) -> int:
    """How long a chunk should be, for a clip of so many `frames`: all workers end together, after as many chunks each."""
    if workers < 2:
        return LONGEST
    each = max(round(frames / (workers * (SHORTEST + LONGEST) / 2)), 1)
    return min(max(-(-frames // (each * workers)), SHORTEST), LONGEST)


def bounds(analysis: ShotAnalysis | None, frames: int, length: int) -> list[int]:
    """The first frame of each chunk of about `length` frames, and the number of all `frames` as the last entry."""
    shots = [(shot.start, shot.stop) for shot in analysis.shots] if analysis is not None else [(0, frames)]
    starts = [0]
    for start, stop in shots:
        if start > starts[-1] and stop - starts[-1] > length:
            starts.append(start)
        pieces = max(round((stop - starts[-1]) / length), 1)
        begin = starts[-1]
        starts += [begin + (stop - begin) * k // pieces for k in range(1, pieces)]
    return [*starts, frames]


def chunks_of(
    edges: Sequence[int], analysis: ShotAnalysis | None, seconds: Sequence[float], options: Options
) -> list[Chunk]:
    """The chunks between `edges`, without the frames at either end that lie outside the selected times.

    seconds: the time of every frame. A chunk without any selected frame is left out.
    """
    cuts = {shot.start: shot.stop for shot in analysis.shots} if analysis is not None else {}
    reach, made = halo(options), list[Chunk]()
    for low, high in itertools.pairwise(edges):
        asked = [n for n in range(low, high) if within(seconds[n] - seconds[0], options.select.times)]
        if not asked:
            continue
        start, stop = asked[0], asked[-1] + 1
        shot, end = _shot(analysis, start), _shot(analysis, stop - 1)
        begins, ends = (shot[0], end[1]) if shot and end else (0, len(seconds))
        follows = made and made[-1].stop == start and start not in cuts
        lead = min(LEAD, len(made[-1])) if follows else 0
        made.append(
            Chunk(start, stop, lead, max(begins, start - lead - reach), min(ends, stop + reach)),
        )
    return made


def _shot(analysis: ShotAnalysis | None, index: int) -> tuple[int, int] | None:
    shot = analysis.shot(index) if analysis is not None else None
    return None if shot is None else (shot.start, shot.stop)
