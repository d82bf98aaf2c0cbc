"""What is in a frame that the detector did not look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vidrase.crops import Crop, united
from vidrase.frames import Instances
from vidrase.motion import Box, Motion

CERTAIN = 0.5  # share of a carried pixel that has to be mask


def carried(place: int, known: Mapping[int, Instances], motion: Motion) -> Instances:
    """The things of other frames as they lie in frame `place`: one for each id, where it is seen from any side.

    known: frame -> its instances, with ids; those in another shot than `place` are left out.
    """
    size = next(iter(known.values())).size
    parts: dict[int, list[Crop]] = {}
    about: dict[int, tuple[str, float]] = {}
    for source, found in known.items():
        if not motion.same_shot(source, place):
            continue
        for k, number in enumerate(found.ids.tolist()):
            y, x = found.corners[k].tolist()
            moved = motion.carry(found.masks[k], (y, x), source, place)
            if moved is None or not (mask := moved[0] >= CERTAIN).any():
                continue
            parts.setdefault(number, []).append((mask, moved[1]))
            score = float(found.scores[k])
            if number not in about or score < about[number][1]:
                about[number] = (found.labels[k], score)
    if not parts:
        return Instances.none(size)
    crops = [crop for some in parts.values() if (crop := united(some)) is not None]
    boxes = [(x, y, x + mask.shape[1], y + mask.shape[0]) for mask, (y, x) in crops]
    return Instances(
        np.array(list(parts), np.int64),
        tuple(about[number][0] for number in parts),
        np.array([about[number][1] for number in parts], np.float32),
        np.array(boxes, np.float32),
        tuple(mask for mask, _ in crops),
        np.array([corner for _, corner in crops], np.int32),
        size,
    )


def region_of(some: Sequence[Instances]) -> Box | None:
    """Rows and columns round all things of some frames; None when there are none in any."""
    boxes = np.concatenate([found.boxes for found in some])
    if not len(boxes):
        return None
    (x0, y0), (x1, y1) = np.floor(boxes[:, :2].min(0)), np.ceil(boxes[:, 2:].max(0))
    return int(y0), int(y1), int(x0), int(x1)
