"""Outputs: each has one thread and one short queue, so that a slow one does not block the others."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidrase.errors import DependencyError, SinkError
from vidrase.report import Note

QUEUE_SIZE = 6
CLOSE_TIMEOUT = 5.0  # seconds that a closing output may spend on queued frames


@dataclass(frozen=True, slots=True, eq=False)
class OutputFrame:
    """One output frame."""

    rgb: NDArray[np.uint8]
    """uint8 [H, W, 3] RGB."""
    seconds: float
    """Its time in the source."""
    frame_rate: float
    audio: list[tuple[Any, float]] = field(default_factory=list)
    """Decoded audio up to this frame: (frame, seconds)."""


class Output(ABC):
    """An output. `put` never blocks unless `patient`; when the queue is full, the oldest frame is dropped and counted."""

    def __init__(self, name: str, *, patient: bool = False, say: Note | None = None) -> None:
        self.name = name
        self.dropped = 0
        self._say = say or (lambda _: None)
        self._patient = patient
        self._queue: deque[OutputFrame] = deque()
        self._state = threading.Condition()
        self._stop = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(
            target=self._run, name=f"vidrase-live-{type(self).__name__.lower()}", daemon=True
        )
        self._thread.start()

    @abstractmethod
    def write(self, output_frame: OutputFrame) -> None:
        """Write one frame; runs in the output's thread."""

    def finish(self) -> None:  # noqa: B027 - nothing to finish is the usual case
        """Runs once at the end, in the output's thread."""

    def put(self, output_frame: OutputFrame) -> None:
        """Queue one frame. Raises the output's error, if any."""
        with self._state:
            if self._error is not None:
                raise self._error
            while self._patient and len(self._queue) >= QUEUE_SIZE and not self._stop and self._error is None:
                self._state.wait(0.1)
            if len(self._queue) >= QUEUE_SIZE:
                lost = self._queue.popleft()
                self.dropped += 1
                if self._queue:
                    self._queue[0].audio[:0] = lost.audio  # audio is never dropped with a frame
            self._queue.append(output_frame)
            self._state.notify_all()

    def close(self) -> None:
        """Write queued frames, finish and join."""
        with self._state:
            self._stop = True
            self._state.notify_all()
        self._thread.join(CLOSE_TIMEOUT)

    def failure(self) -> BaseException | None:
        """The output's error, if any."""
        with self._state:
            return self._error

    def _run(self) -> None:
        try:
            while True:
                with self._state:
                    while not self._queue and not self._stop:
                        self._state.wait()
                    if not self._queue:
                        break
                    output_frame = self._queue.popleft()
                    self._state.notify_all()
                self.write(output_frame)
        except BaseException as error:  # noqa: BLE001 - handed to the loop
            with self._state:
                self._error = error
        finally:
            try:
                self.finish()
            except BaseException as error:  # noqa: BLE001 - handed to the loop
                with self._state:
                    self._error = self._error or error


class VirtualCamera(Output):
    """A virtual camera for other programs, through pyvirtualcam (extra `virtualcam`)."""

    def __init__(self, device: str | None = None, *, say: Note | None = None) -> None:
        try:
            import pyvirtualcam
        except ImportError as error:
            raise DependencyError("a virtual camera needs: pip install 'vidrase[virtualcam]'") from error
        self._library = pyvirtualcam
        self._device = device or None
        self._camera: Any = None
        super().__init__("virtual camera", say=say)

    def write(self, output_frame: OutputFrame) -> None:
        """Send one frame; a change of size reopens the camera."""
        height, width = output_frame.rgb.shape[:2]
        if self._camera is None or (self._camera.height, self._camera.width) != (height, width):
            self.finish()
            try:
                self._camera = self._library.Camera(width, height, output_frame.frame_rate, device=self._device)
            except RuntimeError as error:
                raise SinkError(
                    f"no virtual camera ({str(error).splitlines()[0]}); on Linux: modprobe v4l2loopback, else install OBS"
                ) from error
        self._camera.send(np.ascontiguousarray(output_frame.rgb))

    def finish(self) -> None:
        """Close the camera."""
        if self._camera is not None:
            self._camera.close()
            self._camera = None


class Collector(Output):
    """Keeps the last `most` frames, for tests and the soak test: (monotonic seconds, output frame)."""

    def __init__(self, most: int = 64, *, patient: bool = False) -> None:
        self.frames: deque[tuple[float, OutputFrame]] = deque(maxlen=most)
        super().__init__("collector", patient=patient)

    def write(self, output_frame: OutputFrame) -> None:
        """Store the frame."""
        self.frames.append((time.monotonic(), output_frame))
