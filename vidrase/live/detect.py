"""The detector in its own thread: it takes the newest frame whenever it is free; callers choose how long they wait."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase import labels
from vidrase.colour import PixelLayout
from vidrase.errors import OptionError
from vidrase.frames import Frame, Instances
from vidrase.segment import Segmenter

RGB8 = PixelLayout("rgb24", "rgb", 8, full_range=True)
# live threshold / recommended confidence: lower than for files, because a missed person is worse than a false detection
CONFIDENCE_FACTOR = 0.8


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """The detections in one frame."""

    index: int
    instances: Instances
    """Only objects to remove, at the size of the detector's input, not of the frame."""
    seconds: float
    """Duration of the detection."""


class Detector:
    """Detects the classes to remove. A context manager; the thread starts with the first frame.

    segmenter_for: long side px -> segmenter.  threaded: False detects inside `offer`: slower, but repeatable.
    """

    def __init__(
        self,
        segmenter_for: Callable[[int], Segmenter],
        remove: tuple[str, ...],
        keep: tuple[str, ...] = (),
        *,
        threaded: bool = True,
    ) -> None:
        self._segmenter_for = segmenter_for
        self._requested = remove, keep
        self._threaded = threaded
        self._segmenters: dict[int, Segmenter] = {}
        self._classes: frozenset[str] | None = None
        self._state = threading.Condition()
        self._task: tuple[int, NDArray[np.uint8], int] | None = None
        self._working: int | None = None
        self._ready: deque[Detection] = deque()
        self._error: BaseException | None = None
        self._stop = False
        self._thread: threading.Thread | None = None
        self.seconds = 0.05
        """Mean duration of a detection."""
        self.newest = -1
        """Index of the latest frame that was processed."""
        self.runs = 0
        self.description = ""

    def offer(self, index: int, rgb: NDArray[np.uint8], imgsz: int) -> bool:
        """Detect in frame `index`, uint8 [H, W, 3], at `imgsz` px long side; returns False when the detector is busy."""
        if not self._threaded:
            self._ready.append(self._detect(index, rgb, imgsz))
            return True
        with self._state:
            self._raise()
            if self._task is not None or self._working is not None:
                return False
            self._task = index, rgb, imgsz
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="vidrase-live-detector", daemon=True)
                self._thread.start()
            self._state.notify_all()
            return True

    def take(self) -> list[Detection]:
        """Detections since the last call, oldest first. Raises the detector's error, if any."""
        with self._state:
            self._raise()
            instances = list(self._ready)
            self._ready.clear()
            return instances

    def wait_for(self, index: int, seconds: float) -> None:
        """Wait up to `seconds` for a detection in frame `index` or later, if one was offered."""
        deadline = time.monotonic() + seconds
        with self._state:
            while not self._error and not self._stop:
                if any(instances.index >= index for instances in self._ready):
                    return
                pending = [
                    number for number in (self._working, self._task[0] if self._task else None) if number is not None
                ]
                left = deadline - time.monotonic()
                if left <= 0 or not any(number >= index for number in pending):
                    return
                self._state.wait(left)

    def close(self) -> None:
        """Stop and join the thread; may be called again."""
        with self._state:
            self._stop = True
            self._state.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _raise(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _work(self) -> None:
        try:
            while True:
                with self._state:
                    while self._task is None and not self._stop:
                        self._state.wait()
                    if self._stop or self._task is None:
                        return
                    index, rgb, imgsz = self._task
                    self._task, self._working = None, index
                instances = self._detect(index, rgb, imgsz)
                with self._state:
                    self._working = None
                    self.newest = max(self.newest, index)
                    self._ready.append(instances)
                    self._state.notify_all()
        except BaseException as error:  # noqa: BLE001 - handed to the owner, who raises it
            with self._state:
                self._working, self._error = None, error
                self._state.notify_all()

    def _detect(self, index: int, rgb: NDArray[np.uint8], imgsz: int) -> Detection:
        segmenter = self._segmenters.get(imgsz)
        if segmenter is None:
            segmenter = self._segmenters[imgsz] = self._segmenter_for(imgsz)
            self.description = getattr(segmenter, "description", type(segmenter).__name__)
            if self._classes is None:
                self._classes = removed_classes(segmenter.names, *self._requested)
            if hasattr(segmenter, "only"):  # faster than filtering the result below
                segmenter.only = frozenset(k for k, name in segmenter.names.items() if name in self._classes)
        assert self._classes is not None
        start = time.perf_counter()
        height, width = rgb.shape[:2]
        scale = imgsz / max(height, width)
        if scale < 1:
            rgb = cv2.resize(rgb, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
        planes = tuple(np.ascontiguousarray(rgb[..., channel]) for channel in range(3))
        instances = segmenter([Frame(planes, RGB8, index, index, Fraction(1, 25), 1)])[0]
        least = CONFIDENCE_FACTOR * getattr(segmenter, "recommended_conf", 0.0)
        selected = [
            label in self._classes and score >= least
            for label, score in zip(instances.labels, instances.scores, strict=True)
        ]
        seconds = time.perf_counter() - start
        if index >= 0:  # the warm-up detection is slow and not representative
            self.runs += 1
            self.seconds += 0.1 * (seconds - self.seconds)
        return Detection(index, instances.where(np.array(selected, bool)), seconds)


def removed_classes(names: dict[int, str], remove: tuple[str, ...], keep: tuple[str, ...]) -> frozenset[str]:
    """The classes to remove. Raises UnknownLabel, or OptionError when nothing is left."""
    everything = any(word.lower() == "all" for word in remove)
    selected = set(names.values()) if everything else {labels.require(word, names) for word in remove}
    selected -= {labels.require(word, names) for word in keep}
    if not selected:
        raise OptionError(f"--keep {','.join(keep)} leaves nothing of --remove {','.join(remove)}")
    return frozenset(selected)
