"""`LiveEraser`: object removal frame by frame, inside any loop."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.errors import OptionError, ShapeError
from vidrase.live.background import BackgroundModel
from vidrase.live.cameratracker import CameraTracker
from vidrase.live.compositor import Composite, Compositor
from vidrase.live.detect import Detection, Detector
from vidrase.live.ids import IdAssigner
from vidrase.live.masks import LiveFrame, MaskPropagator, rasterize, small_size
from vidrase.live.modellight import ModelLight
from vidrase.live.quality import QualityController
from vidrase.options import ModelOptions
from vidrase.report import Note, Notes
from vidrase.segment import Segmenter, load_segmenter

MAX_DELAY = 5  # maximum delay in frames, at any frame rate
LATENCY_RESERVE = 0.035  # seconds of the latency reserved for capture, compositing and output
# seconds of the source; a mask is not propagated further than this, the frame waits for a new detection instead
MAX_PROPAGATION_SECONDS = 0.1
MAX_EXTRA_WAIT = 1.5  # seconds; maximum length of that wait
FIRST_DETECTION_TIMEOUT = 30.0  # seconds that the first frame waits for the detector to load


@dataclass(slots=True, eq=False)
class Result:
    """The last output frame."""

    source: NDArray[np.uint8]
    """uint8 [H, W, 3], the input frame."""
    rgb: NDArray[np.uint8]
    area: NDArray[np.bool_]
    """bool [h, w], reduced: the hole."""
    seconds: float
    """Time of the frame, as given to `step`."""
    index: int
    known: float
    """Share of the hole filled with known background, 0..1."""
    boxes: list[tuple[int, tuple[int, int, int, int]]]
    """(id, x0 y0 x1 y1 px) of the objects in the last detection."""


class LiveEraser:
    """Removes objects from live video. Holds all state; call `step` from one thread.

    remove:  class names or ids, comma-separated or several, or "all".
    keep:    classes to keep, of those in `remove`.
    latency: seconds that a frame may be delayed to wait for its own mask.
    learn:   seconds of empty scene at the start, without detection: everything is background.
    plate:   a saved background, see `save_plate`.
    level:   fixes the quality (0 best .. 4); None: the best that the frame interval allows.
    threaded: False detects inside `step`: repeatable, but too slow for live video.
    segmenter: replaces the one that `models` names.
    Raises OptionError for unknown classes and ModelError for missing weights, at the first `step` at the latest.

    >>> with LiveEraser(remove="person") as eraser:  # doctest: +SKIP
    ...     for rgb in camera:
    ...         show(eraser.step(rgb))
    """

    def __init__(
        self,
        remove: str | tuple[str, ...] = "person",
        *,
        keep: str | tuple[str, ...] = (),
        latency: float = 0.1,
        models: ModelOptions | None = None,
        dilate: int | None = None,
        learn: float = 0.0,
        plate: Path | None = None,
        level: int | None = None,
        threaded: bool = True,
        segmenter: Segmenter | None = None,
        say: Note | None = None,
    ) -> None:
        if not 0.0 <= latency <= 10.0:
            raise OptionError(f"latency: expected 0 to 10 seconds, got {latency:g}")
        classes, kept = _split_words(remove), _split_words(keep)
        if not classes:
            raise OptionError("nothing to remove was named; give remove='person'")
        self.notes = Notes(say)
        self.quality = QualityController(fixed=level)
        self.id_assigner = IdAssigner()
        self.result: Result | None = None
        self.fixed_delay: int | None = None
        """Delay in frames, set by the caller's loop; None: from `latency` and the frame rate."""
        options = models or ModelOptions()

        def load(imgsz: int) -> Segmenter:
            if segmenter is not None:
                return segmenter
            one = ModelOptions(
                model=options.model,
                device=options.device,
                precision=options.precision,
                imgsz=imgsz,
                conf=options.conf,
                batch=1,
            )
            return load_segmenter(one, note=self.notes)

        self.detector = Detector(load, classes, kept, threaded=threaded)
        self.latency = latency
        self._threaded = threaded
        self._dilate, self._learn, self._plate = dilate, learn, plate
        if plate is not None:
            BackgroundModel.load(plate)  # report a wrong file before the camera is opened
        self._size: tuple[int, int] | None = None
        self._compositor: Compositor | None = None
        self._light = ModelLight()
        self._count = 0
        self._last_offered = -(10**6)
        self._interval = 1 / 30
        self._last_seconds: float | None = None
        self._began: float | None = None
        self._paint_seconds = 0.02
        self._dropped = 0
        self._offer_times: dict[int, float] = {}
        self._boxes: list[tuple[int, tuple[int, int, int, int]]] = []

    @property
    def interval(self) -> float:
        """Mean seconds between frames."""
        return self._interval

    @property
    def count(self) -> int:
        """Number of input frames; also the next frame's `Result.index`."""
        return self._count

    @property
    def delay(self) -> int:
        """Current delay in frames."""
        if self.fixed_delay is not None:
            return self.fixed_delay
        return int(np.clip((self.latency - LATENCY_RESERVE) / max(self._interval, 1e-3), 0, MAX_DELAY))

    @property
    def pending_frames(self) -> int:
        """Number of frames that wait for their masks."""
        return len(self._pending) if self._size is not None else 0

    def warm_up(self) -> None:
        """Load the detector and run it once, so that no frame waits for it. Raises its errors."""
        blank = np.zeros((270, 480, 3), np.uint8)
        self.detector.offer(-1, blank, self.quality.level.imgsz)
        self.detector.wait_for(-1, FIRST_DETECTION_TIMEOUT)
        self.detector.take()

    def report_dropped(self, count: int) -> None:
        """Report `count` frames dropped before the next `step`, so that the quality is lowered."""
        self._dropped += count

    def step(self, rgb: NDArray[np.uint8], seconds: float | None = None) -> NDArray[np.uint8]:
        """Take one frame and return the output frame of `delay` frames ago. The first output is repeated until then.

        rgb:     uint8 [H, W, 3] RGB; neither this method nor the caller may change it. A new size starts anew.
        seconds: its time; None: now.
        Outside the hole the output is bit-identical; without a hole it is the same array.
        """
        began = time.monotonic()
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            raise ShapeError(f"expected RGB uint8 [H, W, 3], got {rgb.dtype} {rgb.shape}")
        if self._size != rgb.shape[:2]:
            self._start((rgb.shape[0], rgb.shape[1]))
        now = began if seconds is None else seconds
        if self._last_seconds is not None and 0 < now - self._last_seconds < 1.0:
            rate = 0.3 if self._count < 10 else 0.05
            self._interval += rate * (now - self._last_seconds - self._interval)
        self._last_seconds = now
        self._began = now if self._began is None else self._began
        small = cv2.resize(rgb, self._small[::-1], interpolation=cv2.INTER_AREA)
        frame = LiveFrame(self._count, rgb, now, began, cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), small)
        self._count += 1
        self._pending.append(frame)
        self._offer(frame)
        waited = 0.0
        while len(self._pending) > self.delay or self.result is None:
            waited += self._render(self._pending.popleft())
            if not self._pending:
                break
        assert self.result is not None
        work = time.monotonic() - began - waited
        self.quality.step(work, self._interval, self.detector.seconds, self.latency, dropped=self._dropped)
        self._dropped = 0
        return self.result.rgb

    def drain(self) -> Iterator[Result]:
        """Yield the delayed frames, oldest first; call after the last `step`."""
        while self._size is not None and self._pending:
            self._render(self._pending.popleft())
            assert self.result is not None
            yield self.result

    def _start(self, size: tuple[int, int]) -> None:
        """Start with frames of `size` (height, width)."""
        if size[0] < 16 or size[1] < 16:
            raise ShapeError(f"expected pictures of at least 16x16, got {size[1]}x{size[0]}")
        self._size, self._small = size, small_size(size)
        self._pending: deque[LiveFrame] = deque()
        self._masks = MaskPropagator(self._small)
        if self._compositor is not None:
            self._compositor.texture.close()
        self._compositor = Compositor(size, self._small, dilate=self._dilate, threaded=self._threaded)
        self._camera_tracker = CameraTracker()
        self.background = BackgroundModel.load(self._plate, size) if self._plate is not None else BackgroundModel(size)
        self._masked = np.zeros(self._small, np.bool_)
        self._first = self._count
        self.result = None

    def _is_learning(self, seconds: float) -> bool:
        return self._learn > 0 and self._began is not None and seconds - self._began < self._learn

    def _offer(self, frame: LiveFrame) -> None:
        if self._is_learning(frame.seconds):
            return
        level = self.quality.level
        if frame.index - self._last_offered >= level.stride or not self._has_offered():
            assert frame.rgb is not None
            if self.detector.offer(frame.index, frame.rgb, level.imgsz):
                self._last_offered = frame.index
                self._offer_times[frame.index] = frame.seconds
                for old in [index for index in self._offer_times if index < frame.index - 64]:
                    del self._offer_times[old]

    def _has_offered(self) -> bool:
        return self._last_offered >= self._first

    def _render(self, frame: LiveFrame) -> float:
        """Process `frame` into `result`; returns the seconds spent waiting."""
        assert frame.rgb is not None
        assert frame.small is not None
        assert self._size is not None
        assert self._compositor is not None
        waited = self._wait_for_detection(frame)
        late_detections = self._assign_detections(frame)
        start = time.monotonic()
        level = self.quality.level
        mask = self._masks.step(frame, list(self._pending), late_detections, level.flow)
        camera_state = self._camera_tracker.step(frame.gray, self._masked | mask, self._size)
        if camera_state == "lost":
            self.background.clear()
            self._masks.reset()
            self._compositor.texture.reset()
            if frame.detection_mask is not None:
                mask = frame.detection_mask > 0
        elif camera_state == "moved" and self._camera_tracker.needs_new_anchor(self._size):
            self.background.rebase(self._camera_tracker.homography)
            self._compositor.texture.reset()
            self._camera_tracker.anchor(frame.gray, mask, self._size)
            camera_state = "still"
        still = np.array_equal(self._camera_tracker.homography, np.eye(3))
        homography = None if still else self._camera_tracker.homography
        area = self._compositor.dilate(mask, self._masks.speed)
        light, shown = self._light.step(frame.small, area | self._masked, self.background, homography)
        if level.refine and camera_state != "unsure":
            area = self._compositor.refine(area, frame.small, shown, homography)
        visibility = self._compositor.visibility_map(area | self._masked)
        if camera_state != "unsure" and light is None:
            self._update_background(frame.rgb, visibility, area | self._masked, homography)
        composite = self._compositor.composite(frame.rgb, area, visibility, shown, homography, texture=level.refine)
        if homography is None and composite.area is not None and composite.rect is not None:
            self.background.invalidate(composite.rect, composite.area)
        self._masked = area
        self._set_result(frame, composite, area)
        spent = time.monotonic() - start
        self._paint_seconds += 0.1 * (spent - self._paint_seconds)
        return waited

    def _wait_for_detection(self, frame: LiveFrame) -> float:
        """Wait for the detection in `frame` as long as the latency allows."""
        if not self._threaded or self._is_learning(frame.seconds):
            return 0.0
        start = time.monotonic()
        if self.result is None:
            self.detector.wait_for(frame.index, FIRST_DETECTION_TIMEOUT)
        else:
            left = frame.arrived + self.latency - 0.5 * LATENCY_RESERVE - self._paint_seconds - start
            left = min(left, 0.9 * self._interval - self._paint_seconds)  # a longer wait would only drop the next frame
            if left > 0:
                self.detector.wait_for(frame.index, left)
            self._require_recent_detection(frame)
        return time.monotonic() - start

    def _require_recent_detection(self, frame: LiveFrame) -> None:
        """If the last detection is too old, detect in `frame` and wait: a late frame is better than a wrong mask."""
        assert frame.rgb is not None
        deadline = time.monotonic() + MAX_EXTRA_WAIT
        while time.monotonic() < deadline:
            newest = self.detector.newest
            if newest >= frame.index or frame.seconds - self._offer_times.get(newest, -1e9) <= MAX_PROPAGATION_SECONDS:
                return
            if self._last_offered < frame.index and self.detector.offer(
                frame.index, frame.rgb, self.quality.level.imgsz
            ):
                self._last_offered = frame.index
                self._offer_times[frame.index] = frame.seconds
            self.detector.wait_for(self._last_offered, deadline - time.monotonic())
            if self._last_offered >= frame.index and self.detector.newest < self._last_offered:
                return  # the detector is slower than any useful wait

    def _assign_detections(self, frame: LiveFrame) -> list[Detection]:
        """Assign new detections to their pending frames; returns those whose frame was already output."""
        late_detections: list[Detection] = []
        waiting = {one.index: one for one in (frame, *self._pending)}
        for detection in self.detector.take():
            if detection.index < self._first:
                continue
            identified = self.id_assigner.assign(detection.instances)
            self._boxes = self._scaled_boxes(identified)
            removed = Detection(detection.index, self.id_assigner.without_kept(identified), detection.seconds)
            if detection.index in waiting:
                waiting[detection.index].detection_mask = rasterize(removed, self._small)
            else:
                late_detections.append(removed)
        return late_detections

    def _scaled_boxes(self, identified) -> list[tuple[int, tuple[int, int, int, int]]]:  # type: ignore[no-untyped-def]
        assert self._size is not None
        scale = np.array([self._size[1] / identified.size[1], self._size[0] / identified.size[0]] * 2)
        scaled = [np.rint(box * scale).astype(int) for box in identified.boxes]
        return [
            (int(n), (int(b[0]), int(b[1]), int(b[2]), int(b[3]))) for n, b in zip(identified.ids, scaled, strict=True)
        ]

    def _update_background(
        self,
        rgb: NDArray[np.uint8],
        visibility: NDArray[np.uint8],
        masked: NDArray[np.bool_],
        homography: NDArray[np.float64] | None,
    ) -> None:
        assert self._size is not None
        region = None
        if masked.any():
            rows, columns = np.flatnonzero(masked.any(1)), np.flatnonzero(masked.any(0))
            sy, sx = self._size[0] / self._small[0], self._size[1] / self._small[1]
            pad = int(0.06 * max(self._size))
            region = (
                max(int(rows[0] * sy) - pad, 0),
                min(int((rows[-1] + 1) * sy) + pad, self._size[0]),
                max(int(columns[0] * sx) - pad, 0),
                min(int((columns[-1] + 1) * sx) + pad, self._size[1]),
            )
        self.background.update(rgb, visibility, homography, region)

    def _set_result(self, frame: LiveFrame, composite: Composite, area: NDArray[np.bool_]) -> None:
        assert frame.rgb is not None
        self.result = Result(frame.rgb, composite.rgb, area, frame.seconds, frame.index, composite.known, self._boxes)

    def relearn(self) -> None:
        """Discard the background model and start a new one."""
        if self._size is not None:
            self._plate = None
            self.background = BackgroundModel(self._size)
            assert self._compositor is not None
            self._compositor.texture.reset()

    def toggle(self, number: int) -> bool:
        """Keep object `number`, or remove it again; returns whether it is kept now."""
        self.id_assigner.kept ^= {number}
        return number in self.id_assigner.kept

    def save_plate(self, path: Path) -> None:
        """Save the background model; `plate=` loads it. Raises OptionError before the first frame."""
        if self._size is None:
            raise OptionError("no picture has come in yet, so there is no background to save")
        self.background.save(path)

    def close(self) -> None:
        """Stop the threads; may be called again."""
        self.detector.close()
        if self._compositor is not None:
            self._compositor.texture.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _split_words(text: str | tuple[str, ...]) -> tuple[str, ...]:
    parts = (text,) if isinstance(text, str) else tuple(text)
    return tuple(word.strip() for part in parts for word in part.split(",") if word.strip())
