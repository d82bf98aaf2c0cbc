"""Mask stage: from detections to holes. Missed detections are filled in, edges are filtered over time and dilated.

A hole rather covers too much than too little: a rim or a shoe that stays is visible at once, some more filled background is
not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.crops import trim
from vidrase.cuts import Shots
from vidrase.errors import ShapeError
from vidrase.flow import FlowModel
from vidrase.frames import Frame, Hole, HoleFrame, Instances
from vidrase.mask.guided_edge import refine_edge
from vidrase.mask.hole_canvas import HoleCanvas, add_object
from vidrase.mask.temporal_filter import MaskFrame, TemporalMaskFilter
from vidrase.options import MaskOptions
from vidrase.streams import closing_all, windows

# Evidence for mask.guided_edge, mask.join: `rules.py`. Values of constants without a figure have no record yet.
REACH = 8  # frames to either side to which a mask may be propagated

Chosen = Callable[[Instances], NDArray[np.bool_]] | Collection[int] | None


def frames_held(options: MaskOptions) -> int:  # noqa: ARG001 - does not depend on them so far
    """Largest number of frames that `mask` holds at once."""
    return 2 * REACH + 2


def mask(
    detections: Iterable[tuple[Frame, Instances]],
    *,
    chosen: Chosen = None,
    options: MaskOptions,
    flow: FlowModel | None,
    shots: Shots | None = None,
) -> Generator[HoleFrame, None, None]:
    """Make the hole of each frame from its chosen instances: one frame out for each frame in, in order.

    chosen: instances -> bool [K], or ids, or None for all. flow: None propagates masks without motion.
    shots: shot numbers, if they are known or shared with other stages.
    """
    temporal_filter = TemporalMaskFilter(flow, reach=REACH, shots=shots)

    def entries() -> Generator[MaskFrame, None, None]:
        with closing_all(detections) as source:
            for index, (frame, instances) in enumerate(source):
                is_chosen = _chosen_mask(chosen, instances)
                yield temporal_filter.add(index, frame, instances.where(is_chosen), instances.where(~is_chosen))
                del frame, instances

    with closing(windows(entries(), core=1, before=REACH, after=REACH)) as runs:  # type: ignore[type-var]
        for run in runs:
            current = run.core[0]
            canvas = HoleCanvas(current.frame.displayed_size)
            objects = list(temporal_filter.objects(run.before, current, run.after, exact=options.dilate == 0))
            refine = options.dilate != 0 and options.shape == "dilated" and rules.enabled("mask.guided_edge")
            for found in objects:
                crop, corner = found.mask, found.corner
                if refine and found.whole:
                    crop, corner = refine_edge(current.frame, crop, corner)
                add_object(canvas, crop, corner, options, whole=found.whole)
            if options.dilate != 0 and options.shape == "dilated" and rules.enabled("mask.join"):
                canvas.joined()
            yield HoleFrame(current.frame, canvas.hole(current.frame.orientation))
            del run, current


def holes_from_masks(
    frames: Iterable[Frame], masks: Iterable[NDArray[np.bool_]], options: MaskOptions
) -> Generator[HoleFrame, None, None]:
    """Make the hole of each frame from a given mask, bool [H, W] as displayed, which is only dilated.

    Raises ShapeError when a mask has another size than its frame.
    """
    with closing_all(frames) as source, closing_all(masks) as mask_source:
        for frame, given in zip(source, mask_source, strict=True):
            if given.shape != frame.displayed_size:
                raise ShapeError(
                    f"expected a mask bool {frame.displayed_size} as displayed, got {given.dtype} {given.shape}"
                )
            canvas = HoleCanvas(frame.displayed_size)
            crop = trim((given.astype(bool, copy=False), (0, 0)))
            if crop is not None:
                add_object(canvas, *crop, options, whole=False, drawn=True)
            yield HoleFrame(frame, canvas.hole(frame.orientation))
            del frame, given


def _chosen_mask(chosen: Chosen, instances: Instances) -> NDArray[np.bool_]:
    """bool [K]: the instances that are chosen."""
    if chosen is None:
        return np.ones(len(instances), bool)
    if callable(chosen):
        return chosen(instances)
    return np.array([int(number) in chosen for number in instances.ids], bool)


__all__ = ["REACH", "Hole", "frames_held", "holes_from_masks", "mask"]
