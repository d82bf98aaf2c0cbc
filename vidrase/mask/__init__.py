"""From detections to holes: gaps bridged, edges steadied and grown, so that nothing of a thing stays visible in any frame.

Rather too much than too little is covered: a rim or a shoe that stays is seen at once, a little more filled background is not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.cuts import Shots
from vidrase.errors import ShapeError
from vidrase.flow import FlowModel
from vidrase.frames import Frame, Hole, HoleFrame, Instances
from vidrase.mask.guided_edge import refine_edge
from vidrase.mask.hole_canvas import HoleCanvas, add_object
from vidrase.mask.temporal_filter import MaskFrame, TemporalMaskFilter
from vidrase.options import MaskOptions
from vidrase.streams import closing_all, windows

REACH = 8  # frames to either side that a mask may be carried

Chosen = Callable[[Instances], NDArray[np.bool_]] | Collection[int] | None


def frames_held(options: MaskOptions) -> int:  # noqa: ARG001 - the same for all of them so far
    """Most frames that `mask` holds at once."""
    return 2 * REACH + 2


def mask(
    seen: Iterable[tuple[Frame, Instances]],
    *,
    chosen: Chosen = None,
    options: MaskOptions,
    flow: FlowModel | None,
    shots: Shots | None = None,
) -> Generator[HoleFrame, None, None]:
    """Each frame with the hole that the chosen things make in it: one out for each in.

    chosen: instances -> bool [K], or ids, or None for all. flow: None carries masks as if nothing moved.
    shots: the numbers of the shots, where they are known or others ask as well.
    """
    bridge = TemporalMaskFilter(flow, reach=REACH, shots=shots)

    def entries() -> Generator[MaskFrame, None, None]:
        with closing_all(seen) as source:
            for place, (frame, instances) in enumerate(source):
                goes = _which(chosen, instances)
                yield bridge.add(place, frame, instances.where(goes), instances.where(~goes))
                del frame, instances

    with closing(windows(entries(), core=1, before=REACH, after=REACH)) as runs:  # type: ignore[type-var]
        for run in runs:
            now = run.core[0]
            canvas = HoleCanvas(now.frame.displayed_size)
            things = list(bridge.things(run.before, now, run.after, exact=options.dilate == 0))
            sharpen = options.dilate != 0 and options.shape == "dilated" and any(thing.whole for thing in things)
            picture = now.frame.rgb() if sharpen else None
            for thing in things:
                shape, corner = thing.mask, thing.corner
                if picture is not None and thing.whole and rules.enabled("mask.guided_edge"):
                    shape, corner = refine_edge(picture, shape, corner)
                add_object(canvas, shape, corner, options, whole=thing.whole)
            if options.dilate != 0 and options.shape == "dilated" and rules.enabled("mask.join"):
                canvas.joined()
            yield HoleFrame(now.frame, canvas.hole(now.frame.orientation))
            del run, now


def holes_from_masks(
    frames: Iterable[Frame], masks: Iterable[NDArray[np.bool_]], options: MaskOptions
) -> Generator[HoleFrame, None, None]:
    """Each frame with the hole that its mask makes; masks bool [H, W] as displayed, taken as they are but for the dilation."""
    with closing_all(frames) as source, closing_all(masks) as shown:
        for frame, given in zip(source, shown, strict=True):
            if given.shape != frame.displayed_size:
                raise ShapeError(
                    f"expected a mask bool {frame.displayed_size} as displayed, got {given.dtype} {given.shape}"
                )
            canvas = HoleCanvas(frame.displayed_size)
            rows, columns = np.flatnonzero(given.any(1)), np.flatnonzero(given.any(0))
            if len(rows):
                y, x = int(rows[0]), int(columns[0])
                crop = given[y : rows[-1] + 1, x : columns[-1] + 1].astype(bool)
                add_object(canvas, crop, (y, x), options, whole=False)
            yield HoleFrame(frame, canvas.hole(frame.orientation))
            del frame, given


def _which(chosen: Chosen, instances: Instances) -> NDArray[np.bool_]:
    if chosen is None:
        return np.ones(len(instances), bool)
    if callable(chosen):
        return chosen(instances)
    return np.array([int(number) in chosen for number in instances.ids], bool)


__all__ = ["REACH", "Hole", "frames_held", "holes_from_masks", "mask"]
