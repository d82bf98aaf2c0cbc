"""What synthesized pixels are taken from: inpainted frames and reference frames, under one numbering."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidrase.fill.inpainted_frame import InpaintedFrame
from vidrase.fill.light_matching import LightMatching
from vidrase.fill.reference_frames import FIRST_REFERENCE, ReferenceFrames
from vidrase.fill.source_planes import SourcePlanes
from vidrase.fill.window_frame import SourceMap, WindowFrame
from vidrase.light import Light


@dataclass(frozen=True, slots=True)
class SynthesisSources:
    """Planes and light of what synthesis takes pixels from, by source number."""

    inpainted: dict[int, InpaintedFrame]
    references: ReferenceFrames | None
    light: LightMatching | None

    def light_of(self, here: WindowFrame, number: int) -> Light | None:
        """The light of `here` against that of the source; None: the same, or unknown."""
        if self.light is None:
            return None
        if number >= FIRST_REFERENCE:
            assert self.references is not None
            return self.references.light_of(here, number, self.light)
        return self.light.between(here, self.inpainted[number].light)

    def __call__(self, number: int) -> SourcePlanes:
        """The planes of the source."""
        if number >= FIRST_REFERENCE:
            assert self.references is not None
            return self.references.picture(number)
        return self.inpainted[number].picture


def references_only(memory: SourceMap) -> SourceMap:
    """Only the samples that come from reference frames."""
    return SourceMap(memory.box, np.where(memory.source >= FIRST_REFERENCE, memory.source, -1), memory.dx, memory.dy)


def merge(into: SourceMap, other: SourceMap, where: NDArray[np.bool_]) -> None:
    """Replace the samples of `into` `where`, bool [h, w], by those of `other`."""
    for name in ("source", "dx", "dy"):
        getattr(into, name)[where] = getattr(other, name)[where]
