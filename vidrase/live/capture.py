"""Pictures and sound as they come in: one thread reads and decodes without pause, and the newest picture is the one that counts.

Invariants: packets are never dropped (a decoder that misses one shows rubbish until the next key frame), decoded pictures
are; never more than `ROOM` pictures wait; a source that is lost is asked for again, ever more patiently.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import av
import cv2
import numpy as np
from av.codec.context import Flags, ThreadType
from numpy.typing import NDArray

from vidrase.errors import CameraTimeout, DecodeError, SourceError, SourceNotFound, UnsupportedSource
from vidrase.live.address import Address
from vidrase.report import Note

ROOM = 2
BACKOFF = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # seconds between attempts
CORRUPT = 200  # packets in a row that give no picture before the stream counts as lost
SOUND = 400  # frames of sound that may wait: some eight seconds


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One decoded picture."""

    rgb: NDArray[np.uint8]
    """uint8 [H, W, 3]."""
    seconds: float
    """Its time in the source, continued across reconnections."""
    arrived: float
    """Monotonic seconds when it was decoded."""


class Capture:
    """A running source. A context manager; `start` opens it and raises what is wrong with it.

    paced:    a file is read as fast as its pictures are due, and pictures are dropped like a camera's. False: none is dropped.
    timeout:  seconds without data after which a stream is lost.
    give_up:  seconds of vain attempts after which `get` raises; None: never.
    sound:    whether sound is decoded for somebody.
    """

    def __init__(
        self,
        address: Address,
        *,
        paced: bool = True,
        timeout: float = 3.0,
        give_up: float | None = None,
        sound: bool = False,
        say: Note | None = None,
    ) -> None:
        self.address = address
        self.frame_rate = 30.0
        self.has_sound = False
        self.sound_rate = 0
        self.decoded = self.dropped = self.corrupt = self.reconnects = 0
        self.lost = False
        """True while the source is being asked for again."""
        self._paced = paced or address.kind != "file"
        self._timeout, self._give_up, self._sound_wanted, self._say = timeout, give_up, sound, say or (lambda _: None)
        self._pictures: deque[Picture] = deque()
        self._heard: deque[tuple[av.AudioFrame, float]] = deque(maxlen=SOUND)
        self._state = threading.Condition()
        self._stop = threading.Event()
        self._ended = False
        self._error: BaseException | None = None
        self._offset: float | None = None
        self._last = 0.0
        self._pace_start: float | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> Self:
        """Open the source and begin to read. Raises SourceNotFound, UnsupportedSource, CameraTimeout or SourceError."""
        container = self._open()
        self._thread = threading.Thread(target=self._work, args=(container,), name="vidrase-live-capture", daemon=True)
        self._thread.start()
        return self

    def get(self, wait: float) -> Picture | None:
        """The oldest waiting picture, or None after `wait` seconds without one or at the end (see `ended`)."""
        with self._state:
            if not self._pictures and not self._ended:
                self._state.wait(wait)
            if self._pictures:
                picture = self._pictures.popleft()
                self._state.notify_all()
                return picture
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            return None

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        with self._state:
            return self._ended and not self._pictures

    def hear(self, until: float) -> list[tuple[av.AudioFrame, float]]:
        """Decoded sound up to `until` seconds of the source: (frame, its seconds)."""
        out = []
        with self._state:
            while self._heard and self._heard[0][1] <= until:
                out.append(self._heard.popleft())
        return out

    def close(self) -> None:
        """Stop reading. A read that hangs ends with its own timeout; nobody waits for that."""
        self._stop.set()
        with self._state:
            self._state.notify_all()
        if self._thread is not None:
            self._thread.join(self._timeout + 2.0)
            self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> Any:
        address = self.address
        if address.format == "opencv":
            camera = cv2.VideoCapture(int(address.url))
            if not camera.isOpened():
                raise SourceNotFound(f"no camera {address.text}")
            return camera
        try:
            # opening a stream takes a few exchanges more than reading from it
            container = av.open(
                address.url,
                format=address.format,
                options=dict(address.options),
                timeout=(max(self._timeout, 2.0) * 2, self._timeout),
            )
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise _explained(address, error) from error
        if not container.streams.video:
            container.close()
            raise UnsupportedSource(f"no video in {address.text}")
        video = container.streams.video[0]
        context = video.codec_context
        context.thread_type = ThreadType.SLICE  # frame threads would hold pictures back
        context.flags |= Flags.low_delay
        if video.average_rate:
            self.frame_rate = min(max(float(video.average_rate), 1.0), 240.0)
        audio = container.streams.audio
        self.has_sound = bool(audio) and self._sound_wanted
        self.sound_rate = audio[0].codec_context.sample_rate if self.has_sound else 0
        return container

    def _work(self, container: Any) -> None:
        error: BaseException | None = None
        try:
            while not self._stop.is_set():
                try:
                    finished = (
                        self._read_camera(container) if self.address.format == "opencv" else self._read(container)
                    )
                    reason = "it ended"
                except (av.error.FFmpegError, SourceError, OSError) as caught:
                    finished, reason = False, _why(caught)
                finally:
                    container.release() if self.address.format == "opencv" else container.close()
                if finished or self._stop.is_set():
                    break
                if self.address.kind == "file":
                    raise DecodeError(f"{self.address.text} broke off: {reason}")
                again = self._reconnect(reason)
                if again is None:
                    break
                container = again
        except BaseException as caught:  # noqa: BLE001 - handed to whoever calls `get`
            error = caught
        finally:
            with self._state:
                self._ended, self._error = True, error
                self._state.notify_all()

    def _reconnect(self, reason: str) -> Any:
        self.lost = True
        self._say(f"lost {self.address.text} ({reason}); trying again")
        began, attempt = time.monotonic(), 0
        while not self._stop.wait(BACKOFF[min(attempt, len(BACKOFF) - 1)]):
            attempt += 1
            try:
                container = self._open()
            except SourceError as error:
                if self._give_up is not None and time.monotonic() - began > self._give_up:
                    raise CameraTimeout(f"{self.address.text} is gone for {self._give_up:g} s: {error}") from error
                continue
            self._offset = None
            self.reconnects += 1
            self._say(f"{self.address.text} is back")
            return container
        return None

    def _read(self, container: Any) -> bool:
        """Read to the end; True when the end is one."""
        video = container.streams.video[0]
        streams = [video] + ([container.streams.audio[0]] if self.has_sound else [])
        bad = seen = 0
        for packet in container.demux(*streams):
            if self._stop.is_set():
                return True
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                self.corrupt += 1
                bad += 1
                if bad > CORRUPT:
                    raise
                continue
            for frame in frames:
                if isinstance(frame, av.AudioFrame):
                    self._keep_sound(frame)
                    continue
                bad = 0
                seen += 1
                self._keep(frame.to_ndarray(format="rgb24"), frame.time)
                if self._stop.is_set():
                    return True
        if not seen and not self.decoded:
            raise UnsupportedSource(f"no picture could be decoded from {self.address.text}")
        return not self.address.lasting and (self.address.kind == "file" or bool(container.duration))

    def _read_camera(self, camera: Any) -> bool:
        while not self._stop.is_set():
            good, bgr = camera.read()
            if not good:
                return False
            self._keep(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), None)
        return True

    def _keep(self, rgb: NDArray[np.uint8], stamp: float | None) -> None:
        seconds = self._continued(stamp)
        if self._paced and self.address.kind == "file":
            self._pace_start = time.monotonic() - seconds if self._pace_start is None else self._pace_start
            if self._stop.wait(max(self._pace_start + seconds - time.monotonic(), 0)):
                return
        self.lost = False
        self.decoded += 1
        with self._state:
            while not self._paced and len(self._pictures) >= ROOM and not self._stop.is_set():
                self._state.wait(0.1)
            while len(self._pictures) >= ROOM:
                self._pictures.popleft()
                self.dropped += 1
            self._pictures.append(Picture(rgb, seconds, time.monotonic()))
            self._state.notify_all()

    def _continued(self, stamp: float | None) -> float:
        """The time of a picture on one clock that goes on over reconnections and jumps of the source's own."""
        now = time.monotonic()
        if stamp is None:
            stamp = now
        if self._offset is None or abs(stamp + self._offset - self._last) > 5.0:
            start = 0.0 if not self.decoded else self._last + 1 / self.frame_rate
            self._offset = start - stamp
        seconds = stamp + self._offset
        self._last = max(self._last, seconds)
        return seconds

    def _keep_sound(self, frame: av.AudioFrame) -> None:
        if self._offset is not None and frame.time is not None:  # sound before the first picture has nothing to go with
            with self._state:
                self._heard.append((frame, frame.time + self._offset))


def _why(error: BaseException) -> str:
    if isinstance(error, av.error.ExitError | TimeoutError):
        return "no data"
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).split("\n")[0]


def _explained(address: Address, error: BaseException) -> SourceError:
    """One line for what FFmpeg said."""
    text = address.text
    if isinstance(error, av.error.ExitError | TimeoutError):
        return CameraTimeout(f"{text} does not answer; is it on, and is the address right?")
    if isinstance(error, ConnectionRefusedError):
        return SourceError(f"{text}: connection refused; nothing listens there")
    if isinstance(error, av.error.HTTPClientError | av.error.HTTPServerError):
        return SourceNotFound(f"{text}: {_why(error)}")
    if isinstance(error, FileNotFoundError):
        return SourceNotFound(f"{text}: not found")
    if isinstance(error, PermissionError):
        return SourceError(f"{text}: permission denied (for a camera: is your user in the group 'video'?)")
    if isinstance(error, av.error.InvalidDataError | av.error.EOFError):
        return UnsupportedSource(f"no video in {text}: it is no format that FFmpeg knows")
    return SourceError(f"cannot open {text}: {_why(error)}")
