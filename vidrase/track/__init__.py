"""Detections to things that last: each frame with what is in it, ids that stay through the clip.

The detector may look at every n-th frame only; what lies between is carried there along the motion, from both sides.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vidrase.errors import OptionError
from vidrase.flow import DisFlow, FlowModel
from vidrase.frames import Frame, Instances
from vidrase.motion import Motion
from vidrase.report import Note
from vidrase.streams import closing_all
from vidrase.track.between import carried, region_of
from vidrase.track.held import InHand
from vidrase.track.pace import LONGEST, Pace
from vidrase.track.parts import KEPT_LOOKS, Parts
from vidrase.track.tracker import Tracker


class Finder(Protocol):
    """What is asked of a segmenter (`vidrase.segment.Segmenter` is one)."""

    names: dict[int, str]
    recommended_conf: float

    def __call__(self, frames: Sequence[Frame]) -> list[Instances]:
        """One `Instances` a frame, ids 0."""
        ...


def frames_held(batch: int, detect_every: int | None) -> int:
    """Most frames that `track` holds at once."""
    return batch + (detect_every or LONGEST) + 1


def track(
    frames: Iterable[Frame],
    segmenter: Finder,
    *,
    batch: int = 4,
    tracker: str = "bytetrack",
    conf: float | None = None,
    classes: set[int] | None = None,
    detect_every: int | None = None,
    flow: FlowModel | None = None,
    note: Note,  # noqa: ARG001 - every stage has one
) -> Generator[tuple[Frame, Instances], None, None]:
    """Each frame with what is in it, ids >= 1 that last: one out for each in.

    batch: frames read at a time. conf: least confidence, None: the segmenter's own. classes: ids to look for, None: all.
    detect_every: the detector looks at every n-th frame, and at both sides of a cut; None: at every one, or every second where
    little moves. flow: for what lies
    between, None: DIS. Raises OptionError for a tracker that does not exist.
    """
    if tracker not in ("bytetrack", "botsort"):
        raise OptionError(f"tracker: expected one of bytetrack, botsort, got '{tracker}'")
    wanted = None if classes is None else {segmenter.names[number] for number in classes}
    every = detect_every or LONGEST
    motion = Motion(flow or DisFlow(), reach=every + batch + KEPT_LOOKS * every)
    looks = _Looks(segmenter, tracker, segmenter.recommended_conf if conf is None else conf, wanted, motion)
    return _track(frames, looks, motion, max(batch, 1), Pace(motion, detect_every))


class _Looks:
    """The detector and the tracker behind it."""

    def __init__(self, segmenter: Finder, kind: str, conf: float, wanted: set[str] | None, motion: Motion) -> None:
        self._segmenter, self._kind, self._conf, self._wanted, self._motion = segmenter, kind, conf, wanted, motion
        self._tracker: Tracker | None = None
        self._in_hand, self._parts = InHand(), Parts(motion)

    def __call__(self, places: Sequence[int], frames: Sequence[Frame], starts: Sequence[bool]) -> list[Instances]:
        """What is in frames that follow each other, at `places` in the stream; starts: which of them begin a shot."""
        if self._tracker is None:
            self._tracker = Tracker(self._kind, self._conf, _rate(frames))
        out = []
        for place, frame, found, start in zip(places, frames, self._segmenter(frames), starts, strict=True):
            if start:
                self._tracker.new_shot()
                self._in_hand.new_shot()
                self._parts.new_shot()
            if self._wanted is not None:
                found = found.where(np.array([label in self._wanted for label in found.labels], bool))
            luma = _luma(frame) if self._kind == "botsort" else None
            ids = self._in_hand.same(found, self._tracker.step(found, luma))
            out.append(self._parts.join(place, found, ids))
        return out


def _track(
    frames: Iterable[Frame], looks: _Looks, motion: Motion, batch: int, pace: Pace
) -> Generator[tuple[Frame, Instances], None, None]:
    waiting: deque[tuple[int, Frame]] = deque()
    known: dict[int, Instances] = {}  # of frames that were looked at: those waiting, and the last one before them
    starts: set[int] = set()
    place = 0
    with closing_all(frames) as source:
        while True:
            run = list(itertools.islice(source, batch))
            due: set[int] = set()
            for frame in run:
                if motion.add(place, frame):
                    starts.add(place)
                due |= pace.due(place, start=place in starts)
                waiting.append((place, frame))
                place += 1
                del frame
            ended = len(run) < batch
            run.clear()
            if ended and waiting:
                due.add(waiting[-1][0])
            chosen = [(number, frame) for number, frame in waiting if number in due and number not in known]
            if chosen:
                places = [number for number, _ in chosen]
                found = looks(places, [frame for _, frame in chosen], [number in starts for number in places])
                known |= {number: one for (number, _), one in zip(chosen, found, strict=True)}
                del chosen, found
            last = max(known, default=-1)
            while waiting and waiting[0][0] <= last:
                number, frame = waiting.popleft()
                if number in known:
                    instances = known[number]
                    known = {other: one for other, one in known.items() if other >= number}
                else:
                    instances = _filled_in(number, known, motion)
                yield frame, instances
                del frame
            if ended:
                return


def _filled_in(place: int, known: dict[int, Instances], motion: Motion) -> Instances:
    """What is in a frame that was not looked at: what was seen before and after it, carried there."""
    before, after = max(p for p in known if p < place), min(p for p in known if p > place)
    region = region_of([known[before], known[after]])
    for number in range(before, after + 1):
        motion.focus(number, region)
    return carried(place, {p: known[p] for p in (before, after)}, motion)


def _rate(frames: Sequence[Frame]) -> float:
    """Looks a second, as far as the first few tell; 25 for a still."""
    if len(frames) < 2 or frames[-1].pts <= frames[0].pts:
        return 25.0
    return float((len(frames) - 1) / ((frames[-1].pts - frames[0].pts) * frames[0].time_base))


def _luma(frame: Frame) -> NDArray[np.uint8]:
    """uint8 [H, W] displayed."""
    return np.ascontiguousarray(frame.orientation.to_display(frame.luma()))


__all__ = ["Finder", "Tracker", "frames_held", "track"]
