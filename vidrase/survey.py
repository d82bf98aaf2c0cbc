"""What the first pass learns of the background: cuts, camera motion, plates.

Invariant: memory does not grow with the length of the clip.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vidrase.cuts import CutDetector
from vidrase.frames import Frame


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """Shots of the clip."""

    cuts: tuple[int, ...] = field(default=())
    """Indices of the frames that start a shot, without the first."""


class SurveyBuilder:
    """Sees every frame of the first pass once, in order."""

    def __init__(self) -> None:
        self._cut = CutDetector()
        self._cuts: list[int] = []
        self._count = 0

    def add(self, frame: Frame, hole: NDArray[np.bool_] | None) -> None:
        """Look at a frame; `hole` bool [H, W], stored orientation: what may be in the way, undilated."""
        if self._cut(frame.luma(size=(36, 64))):
            self._cuts.append(self._count)
        self._count += 1

    def finish(self) -> Survey:
        """What was learned."""
        return Survey(tuple(self._cuts))
