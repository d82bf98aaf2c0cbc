"""Detect and track objects: each frame with its instances, whose ids stay constant through the clip.

The detector may skip frames. The masks of a skipped frame are interpolated along the motion from the detected frames around it.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vidrase.errors import OptionError
from vidrase.flow import DisFlow, FlowModel, for_masks
from vidrase.frames import Frame, Instances
from vidrase.motion import Motion
from vidrase.report import Note
from vidrase.streams import closing_all
from vidrase.track.association import MAX_MISSED_DETECTIONS, MaskAssociation
from vidrase.track.carried import CarriedObjectReId
from vidrase.track.interpolate import bounding_region, interpolate_masks
from vidrase.track.schedule import MAX_INTERVAL, DetectionScheduler
from vidrase.track.tracker import Tracker


class Detector(Protocol):
    """What `track` needs of a segmenter (`vidrase.segment.Segmenter` is one)."""

    names: dict[int, str]
    recommended_conf: float

    def __call__(self, frames: Sequence[Frame]) -> list[Instances]:
        """One `Instances` per frame, with ids 0."""
        ...


def frames_held(batch: int, detect_every: int | None) -> int:
    """Maximum number of frames that `track` holds at once."""
    return batch + (detect_every or MAX_INTERVAL) + 1


def track(
    frames: Iterable[Frame],
    segmenter: Detector,
    *,
    batch: int = 4,
    tracker: str = "bytetrack",
    conf: float | None = None,
    classes: set[int] | None = None,
    detect_every: int | None = None,
    flow: FlowModel | None = None,
    note: Note,  # noqa: ARG001 - every stage has one
) -> Generator[tuple[Frame, Instances], None, None]:
    """Yield each frame with its instances. Ids are >= 1 and constant; one item comes out for each frame that goes in.

    batch: number of frames read at a time. conf: minimum confidence; None takes the segmenter's own.
    classes: class ids to detect; None detects all.
    detect_every: detect in every n-th frame and on both sides of a cut; None: in every frame, or in every second frame
    while little moves besides the camera. flow: optical flow for the frames between, None: DIS.
    Raises OptionError for an unknown tracker.
    """
    if tracker not in ("bytetrack", "botsort"):
        raise OptionError(f"tracker: expected one of bytetrack, botsort, got '{tracker}'")
    labels = None if classes is None else {segmenter.names[number] for number in classes}
    every = detect_every or MAX_INTERVAL
    motion = Motion(for_masks(flow or DisFlow()), reach=every + batch + MAX_MISSED_DETECTIONS * every)
    detector = _DetectorTracker(
        segmenter, tracker, segmenter.recommended_conf if conf is None else conf, labels, motion
    )
    return _track(frames, detector, motion, max(batch, 1), DetectionScheduler(motion, detect_every))


class _DetectorTracker:
    """The detector, then the tracker and the two association steps."""

    def __init__(self, segmenter: Detector, kind: str, conf: float, labels: set[str] | None, motion: Motion) -> None:
        self._segmenter, self._kind, self._conf, self._labels, self._motion = segmenter, kind, conf, labels, motion
        self._tracker: Tracker | None = None
        self._carried_reid, self._association = CarriedObjectReId(), MaskAssociation(motion)

    def __call__(self, indices: Sequence[int], frames: Sequence[Frame], starts: Sequence[bool]) -> list[Instances]:
        """Instances of consecutive detected frames; `indices`: their positions in the stream; starts: which ones begin a shot."""
        if self._tracker is None:
            self._tracker = Tracker(self._kind, self._conf, _rate(frames))
        out = []
        for index, frame, detections, start in zip(indices, frames, self._segmenter(frames), starts, strict=True):
            if start:
                self._tracker.new_shot()
                self._carried_reid.new_shot()
                self._association.new_shot()
            if self._labels is not None:
                detections = detections.where(np.array([label in self._labels for label in detections.labels], bool))
            luma = _luma(frame) if self._kind == "botsort" else None
            ids = self._carried_reid.reidentify(detections, self._tracker.step(detections, luma))
            out.append(self._association.associate(index, detections, ids))
        return out


def _track(
    frames: Iterable[Frame], detector: _DetectorTracker, motion: Motion, batch: int, scheduler: DetectionScheduler
) -> Generator[tuple[Frame, Instances], None, None]:
    pending: deque[tuple[int, Frame]] = deque()
    detected: dict[int, Instances] = {}  # detected frames: those pending and the last one before them
    starts: set[int] = set()
    index = 0
    with closing_all(frames) as source:
        while True:
            chunk = list(itertools.islice(source, batch))
            due: set[int] = set()
            for frame in chunk:
                if motion.add(index, frame):
                    starts.add(index)
                due |= scheduler.due(index, start=index in starts)
                pending.append((index, frame))
                index += 1
                del frame
            ended = len(chunk) < batch
            chunk.clear()
            if ended and pending:
                due.add(pending[-1][0])
            chosen = [(number, frame) for number, frame in pending if number in due and number not in detected]
            if chosen:
                indices = [number for number, _ in chosen]
                detections = detector(indices, [frame for _, frame in chosen], [number in starts for number in indices])
                detected |= {number: one for (number, _), one in zip(chosen, detections, strict=True)}
                del chosen, detections
            last = max(detected, default=-1)
            while pending and pending[0][0] <= last:
                number, frame = pending.popleft()
                if number in detected:
                    instances = detected[number]
                    detected = {other: one for other, one in detected.items() if other >= number}
                else:
                    instances = _interpolated(number, detected, motion)
                yield frame, instances
                del frame
            if ended:
                return


def _interpolated(index: int, detected: dict[int, Instances], motion: Motion) -> Instances:
    """Instances of a frame without detection, interpolated from the detected frames before and after it."""
    before, after = max(p for p in detected if p < index), min(p for p in detected if p > index)
    region = bounding_region([detected[before], detected[after]])
    for number in range(before, after + 1):
        motion.focus(number, region)
    return interpolate_masks(index, {p: detected[p] for p in (before, after)}, motion)


def _rate(frames: Sequence[Frame]) -> float:
    """Detected frames per second, estimated from the first few frames; 25 for a still image."""
    if len(frames) < 2 or frames[-1].pts <= frames[0].pts:
        return 25.0
    return float((len(frames) - 1) / ((frames[-1].pts - frames[0].pts) * frames[0].time_base))


def _luma(frame: Frame) -> NDArray[np.uint8]:
    """uint8 [H, W] displayed."""
    return np.ascontiguousarray(frame.orientation.to_display(frame.luma()))


__all__ = ["Detector", "Tracker", "frames_held", "track"]
