"""Does a detector still find what was removed? At a size that was not used for the masks, so that it can disagree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vidrase.bench.case import Rgb, as_frames
from vidrase.bench.pasted import Removal
from vidrase.options import ModelOptions
from vidrase.report import Notes

IMGSZ = 480  # the masks are made at 640
EVERY = 3  # frames: neighbours say the same
OVERLAP = 0.3  # of the object's pixels covered by one found instance


class Redetector:
    """Runs a segmenter and looks for the object at its old position."""

    def __init__(self, device: str = "auto") -> None:
        from vidrase.segment import load_segmenter

        self._segmenter = load_segmenter(ModelOptions(imgsz=IMGSZ, device=device), note=Notes())

    def rate(self, frames: Sequence[Rgb], case: Removal) -> float:
        """Share of the looked-at frames, with the object in them, where an object of its class is found at its position."""
        wanted = set(case.what.split(","))
        looked = [t for t in range(0, min(len(frames), len(case.masks)), EVERY) if case.masks[t].any()]
        found = 0
        for t in looked:
            rows, columns = frames[t].shape[:2]
            mask = case.masks[t][:rows, :columns]
            instances = self._segmenter(list(as_frames([frames[t]])))[0]
            shares = [
                float((instances.mask(k) & mask).sum() / mask.sum())
                for k in range(len(instances))
                if instances.labels[k] in wanted and instances.scores[k] >= self._segmenter.recommended_conf
            ]
            found += bool(shares) and max(shares) > OVERLAP
        return found / len(looked) if looked else float(np.nan)
