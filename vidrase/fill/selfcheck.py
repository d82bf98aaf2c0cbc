"""Estimate the fill's error without ground truth: fill visible pixels beside the hole as if they were hidden, and compare.

The trajectories of these rim pixels are made as long as those of the hole, so that errors inside the hole also occur at the rim.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vidrase.fill.sampling import at
from vidrase.fill.trajectories import trace_trajectories
from vidrase.fill.window_frame import SourceMap, WindowFrame

CHECK_INTERVAL = 10  # frames with a hole from one check to the next; the checks take less than 2 % of the time


@dataclass(slots=True)
class SelfCheck:
    """Sum of squared luma errors, levels 0..255, over a run."""

    squares: float = 0.0
    count: int = 0

    def add(self, errors: NDArray[np.float32]) -> None:
        """Add differences, float32 [N], in 8-bit levels."""
        self.squares += float(np.square(errors, dtype=np.float64).sum())
        self.count += errors.size

    @property
    def psnr(self) -> float | None:
        """PSNR, dB; None if nothing was measured."""
        if not self.count:
            return None
        return round(float(10 * np.log10(255.0**2 / max(self.squares / self.count, 1e-3))), 2)

    def check_trajectories(
        self, here: WindowFrame, trajectories: list[SourceMap], frames: Mapping[int, WindowFrame], reach: int
    ) -> None:
        """Fill the rim of `here` by trajectories as long as those of the hole, and add the errors."""
        if here.query is None or here.dilated_hole is None:
            return
        rim = here.query & ~here.dilated_hole
        hops = [np.abs(trajectory.source[trajectory.source >= 0] - here.number) for trajectory in trajectories]
        min_hops = max(int(np.median(np.concatenate(hops))) if any(len(h) for h in hops) else 1, 1)
        probe = replace(here, query=rim)
        traced = [trace_trajectories(frames, probe, step, reach, min_hops=min_hops) for step in (-1, 1)]
        distance = [
            np.where(source_map.source < 0, np.inf, np.abs(source_map.source - here.number)) for source_map in traced
        ]
        backward_nearer = distance[0] <= distance[1]  # the source nearer in time is used
        errors = []
        for source_map, chosen in zip(traced, (backward_nearer, ~backward_nearer), strict=True):
            rows, columns = np.nonzero(chosen & (source_map.source >= 0))
            source = source_map.source[rows, columns]
            x = (columns + source_map.box.left + source_map.dx[rows, columns]).astype(np.float32)
            y = (rows + source_map.box.top + source_map.dy[rows, columns]).astype(np.float32)
            truth = here.luma[rows + source_map.box.top, columns + source_map.box.left].astype(np.float32)
            for number in np.unique(source).tolist():
                use = source == number
                errors.append(at(frames[number].luma, x[use], y[use], cubic=True).astype(np.float32) - truth[use])
        if errors:
            self.add(np.concatenate(errors))
