"""Interpolate instances in a frame without detection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vidrase.crops import Crop, union
from vidrase.frames import Instances
from vidrase.motion import Box, Motion


def interpolate_masks(index: int, detected: Mapping[int, Instances], motion: Motion) -> Instances:
    """Instances of other frames warped to frame `index`: one per id, the union of all its warped masks.

    detected: frame index -> its instances with ids; frames of other shots are ignored.
    """
    size = next(iter(detected.values())).size
    crops_by_id: dict[int, list[Crop]] = {}
    label_score: dict[int, tuple[str, float]] = {}
    for source, instances in detected.items():
        if not motion.same_shot(source, index):
            continue
        for k, number in enumerate(instances.ids.tolist()):
            y, x = instances.corners[k].tolist()
            moved = motion.carry((instances.masks[k], (y, x)), source, index)
            if moved is None or not moved[0].any():
                continue
            crops_by_id.setdefault(number, []).append(moved)
            score = float(instances.scores[k])
            if number not in label_score or score < label_score[number][1]:
                label_score[number] = (instances.labels[k], score)
    if not crops_by_id:
        return Instances.none(size)
    crops = [crop for group in crops_by_id.values() if (crop := union(group)) is not None]
    boxes = [(x, y, x + mask.shape[1], y + mask.shape[0]) for mask, (y, x) in crops]
    return Instances(
        np.array(list(crops_by_id), np.int64),
        tuple(label_score[number][0] for number in crops_by_id),
        np.array([label_score[number][1] for number in crops_by_id], np.float32),
        np.array(boxes, np.float32),
        tuple(mask for mask, _ in crops),
        np.array([corner for _, corner in crops], np.int32),
        size,
    )


def bounding_region(group: Sequence[Instances]) -> Box | None:
    """(y0, y1, x0, x1) px around all instances of several frames; None when there are none."""
    boxes = np.concatenate([instances.boxes for instances in group])
    if not len(boxes):
        return None
    (x0, y0), (x1, y1) = np.floor(boxes[:, :2].min(0)), np.ceil(boxes[:, 2:].max(0))
    return int(y0), int(y1), int(x0), int(x1)
