"""An honest error without a truth: visible pixels beside the hole are filled as if they were hidden, and compared.

Chains out of the hole's rim must be as long as those of the hole itself; a fill that goes wrong inside goes wrong there as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vidrase.fill.sampling import at
from vidrase.fill.trajectories import trace_trajectories
from vidrase.fill.window_frame import SourceMap, WindowFrame

EVERY = 10  # frames with a hole: below 2 % of the time


@dataclass(slots=True)
class SelfCheck:
    """Squared errors of brightness, 0..255, gathered over a run."""

    squares: float = 0.0
    count: int = 0

    def add(self, gaps: NDArray[np.float32]) -> None:
        """Take in differences, in 8-bit levels."""
        self.squares += float(np.square(gaps, dtype=np.float64).sum())
        self.count += gaps.size

    @property
    def psnr(self) -> float | None:
        """dB; None when nothing was measured."""
        if not self.count:
            return None
        return round(float(10 * np.log10(255.0**2 / max(self.squares / self.count, 1e-3))), 2)

    def try_chains(
        self, here: WindowFrame, chains: list[SourceMap], moments: Mapping[int, WindowFrame], reach: int
    ) -> None:
        """Fill the rim of `here` over chains as long as the hole's, and compare."""
        if here.query is None or here.dilated_hole is None:
            return
        rim = here.query & ~here.dilated_hole
        hops = [np.abs(chain.source[chain.source >= 0] - here.number) for chain in chains]
        least = max(int(np.median(np.concatenate(hops))) if any(len(h) for h in hops) else 1, 1)
        probe = replace(here, query=rim)
        tries = [trace_trajectories(moments, probe, step, reach, least=least) for step in (-1, 1)]
        way = [np.where(one.source < 0, np.inf, np.abs(one.source - here.number)) for one in tries]
        better = way[0] <= way[1]  # the nearer in time
        gaps = []
        for one, chosen in zip(tries, (better, ~better), strict=True):
            rows, columns = np.nonzero(chosen & (one.source >= 0))
            source = one.source[rows, columns]
            x = (columns + one.box.left + one.dx[rows, columns]).astype(np.float32)
            y = (rows + one.box.top + one.dy[rows, columns]).astype(np.float32)
            truth = here.luma[rows + one.box.top, columns + one.box.left].astype(np.float32)
            for number in np.unique(source).tolist():
                use = source == number
                gaps.append(at(moments[number].luma, x[use], y[use], cubic=True).astype(np.float32) - truth[use])
        if gaps:
            self.add(np.concatenate(gaps))
