"""Stand-ins for the models: they know the answer, so that what is tested is everything else."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vidrase.frames import Frame, Instances


def instances(
    masks: Sequence[NDArray[np.bool_]],
    *,
    labels: Sequence[str] | None = None,
    scores: Sequence[float] | None = None,
    ids: Sequence[int] | None = None,
    size: tuple[int, int] | None = None,
) -> Instances:
    """Instances of full-size masks bool [H, W]; empty ones are left out."""
    shown = [k for k, mask in enumerate(masks) if mask.any()]
    if not shown:
        return Instances.none(size or masks[0].shape)
    crops, corners, boxes = [], [], []
    for k in shown:
        rows, columns = np.flatnonzero(masks[k].any(1)), np.flatnonzero(masks[k].any(0))
        y0, y1, x0, x1 = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        crops.append(masks[k][y0:y1, x0:x1].copy())
        corners.append((y0, x0))
        boxes.append((x0, y0, x1, y1))
    return Instances(
        np.array([ids[k] if ids else 0 for k in shown], np.int64),
        tuple(labels[k] if labels else "person" for k in shown),
        np.array([scores[k] if scores else 0.9 for k in shown], np.float32),
        np.array(boxes, np.float32),
        tuple(crops),
        np.array(corners, np.int32),
        masks[0].shape,
    )


class FakeSegmenter:
    """Knows the square of `synth.clip`: masks bool [H, W] as displayed, by frame index."""

    names: ClassVar = {0: "person", 1: "car"}
    recommended_conf = 0.25
    description = "fake"

    def __init__(
        self,
        masks: Sequence[NDArray[np.bool_]],
        *,
        missed: Collection[int] = (),
        score: float = 0.9,
        label: str = "person",
    ) -> None:
        self._masks, self._missed, self._score, self._label = masks, missed, score, label
        self.calls: list[int] = []

    def __call__(self, frames: Sequence[Frame]) -> list[Instances]:
        self.calls.append(len(frames))
        return [
            Instances.none(frame.displayed_size)
            if frame.index in self._missed
            else instances([self._masks[frame.index]], scores=[self._score], labels=[self._label])
            for frame in frames
        ]


class FakeFlow:
    """The same motion (dx, dy) px a frame everywhere, over flat pictures that get brighter by STEP with each frame."""

    name = "fake"
    STEP = 10

    def __init__(self, dx: float = 0.0, dy: float = 0.0) -> None:
        self._shift = np.array([dx, dy], np.float32)

    def __call__(self, a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float32]:
        later = (b.mean((1, 2)) - a.mean((1, 2))).round() / self.STEP
        return np.broadcast_to(later[:, None, None, None] * self._shift, (*a.shape, 2)).astype(np.float32)


class SceneSegmenter:
    """Finds several objects, each in a box (label, x0, y0, x1, y1) px of the displayed picture."""

    names: ClassVar = {0: "person", 1: "car"}
    recommended_conf = 0.25

    def __init__(self, *objects: tuple[str, int, int, int, int], description: str = "fake") -> None:
        self.objects, self.description = objects, description
        self.frames = 0
        """Frames processed so far."""

    def __call__(self, frames: Sequence[Frame]) -> list[Instances]:
        self.frames += len(frames)
        return [self._found(frame.displayed_size) for frame in frames]

    def _found(self, size: tuple[int, int]) -> Instances:
        masks = []
        for _, x0, y0, x1, y1 in self.objects:
            mask = np.zeros(size, bool)
            mask[y0:y1, x0:x1] = True
            masks.append(mask)
        return instances(masks, labels=[one[0] for one in self.objects], size=size)
