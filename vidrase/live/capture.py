"""Capture frames and audio: one thread reads and decodes continuously; consumers get the newest frame.

Invariants: packets are never dropped (a decoder that misses one shows artefacts until the next key frame), decoded frames are;
at most `QUEUE_SIZE` frames wait; a lost source is reopened with growing pauses.
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
from av.video.reformatter import Colorspace
from numpy.typing import NDArray

from vidrase.avplanes import UNSPECIFIED, customary_matrix
from vidrase.errors import CameraTimeout, DecodeError, SourceError, SourceNotFound, UnsupportedSource
from vidrase.live.address import Address
from vidrase.live.x11 import ScreenProcess
from vidrase.report import Note

QUEUE_SIZE = 2
BACKOFF = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # seconds between attempts
MAX_PLAYBACK_LAG = 1.0  # seconds; playback later than this continues from the current position
MAX_LAG = 0.5  # seconds behind the source's clock; an older frame is stale
CATCH_UP_SECONDS = 0.3  # seconds for which stale frames are dropped; after that the clock is shifted instead
# formats without time stamps: FFmpeg counts 25 frames per second, whatever the camera does
UNTIMED_FORMATS = ("mpjpeg", "mjpeg")
SEGMENT_TIMEOUT = 20.0  # seconds without data before HLS or DASH counts as lost: nothing arrives during a segment
CORRUPT_SECONDS = 0.7  # seconds for which corrupt frames are dropped and the last intact one stays
AUDIO_QUEUE_SIZE = 400  # audio frames that may wait, about eight seconds


@dataclass(frozen=True, slots=True, eq=False)
class CapturedFrame:
    """One decoded frame."""

    rgb: NDArray[np.uint8]
    """uint8 [H, W, 3]."""
    seconds: float
    """Its time in the source, continuous across reconnections."""
    arrived: float
    """Monotonic seconds of its decoding."""


class Capture:
    """A running source. A context manager; `start` opens it and raises on failure.

    paced:    read a file in real time and drop frames as for a camera. False: drop none.
    timeout:  seconds without data after which a stream counts as lost.
    give_up:  seconds of failed attempts after which `get` raises; None: never.
    sound:    whether to decode audio.
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
        """True while the source is being reopened."""
        self._paced = paced or address.kind != "file"
        self._timeout, self._give_up, self._sound_wanted, self._say = timeout, give_up, sound, say or (lambda _: None)
        self._frames: deque[CapturedFrame] = deque()
        self._audio: deque[tuple[av.AudioFrame, float]] = deque(maxlen=AUDIO_QUEUE_SIZE)
        self._state = threading.Condition()
        self._stop = threading.Event()
        self._ended = False
        self._error: BaseException | None = None
        self._offset: float | None = None
        self._last = 0.0
        self._last_at = 0.0
        self._epoch = 0.0
        self._late_since: float | None = None
        self._untimed = False
        self._paces_playback = False
        self._pace_start: float | None = None
        self._thread: threading.Thread | None = None
        self._screen: ScreenProcess | None = None

    def start(self) -> Self:
        """Open the source and start reading. Raises SourceNotFound, UnsupportedSource, CameraTimeout or SourceError."""
        container = self._open()
        self._thread = threading.Thread(target=self._run, args=(container,), name="vidrase-live-capture", daemon=True)
        self._thread.start()
        return self

    def get(self, wait: float) -> CapturedFrame | None:
        """The oldest waiting frame; None after `wait` seconds without one, or at the end (see `ended`)."""
        with self._state:
            if not self._frames and not self._ended:
                self._state.wait(wait)
            if self._frames:
                picture = self._frames.popleft()
                self._state.notify_all()
                return picture
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            return None

    @property
    def ended(self) -> bool:
        """Whether no more frames will come."""
        with self._state:
            return self._ended and not self._frames

    def take_audio(self, until: float) -> list[tuple[av.AudioFrame, float]]:
        """Decoded audio up to `until` seconds of the source: (frame, its seconds)."""
        out = []
        with self._state:
            while self._audio and self._audio[0][1] <= until:
                out.append(self._audio.popleft())
        return out

    def close(self) -> None:
        """Stop reading. A blocked read ends with its own timeout; `close` does not wait longer than that."""
        self._stop.set()
        with self._state:
            self._state.notify_all()
        if self._screen is not None:
            self._screen.stop()
        if self._thread is not None:
            self._thread.join(self._timeout + 2.0)
            self._thread = None
        if self._screen is not None:
            self._screen.close()
            self._screen = None

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
        began = time.monotonic()
        patience = max(self._timeout, 2.0) * 2
        url, form, options = address.url, address.format, dict(address.options)
        if form == "x11grab":
            if self._screen is not None:
                self._screen.close()
            self._screen = ScreenProcess(url, options)
            url, form, options = self._screen.url, ScreenProcess.FORMAT, {"fflags": "nobuffer"}
        try:
            # opening a stream needs more round trips than reading from it
            container = av.open(url, format=form, options=options, timeout=(patience, self._patience))
        except (av.error.FFmpegError, OSError, ValueError) as error:
            if self._screen is not None and (why := self._screen.why()):
                raise SourceError(f"cannot open the screen {address.url}: {why}") from error
            # FFmpeg reports an aborted open in various ways
            broken_off = time.monotonic() - began > 0.9 * patience
            raise _open_error(address, TimeoutError() if broken_off else error) from error
        if not container.streams.video:
            container.close()
            raise UnsupportedSource(f"no video in {address.text}")
        video = container.streams.video[0]
        context = video.codec_context
        context.thread_type = ThreadType.SLICE  # frame threads would delay frames
        context.flags |= Flags.low_delay
        if video.average_rate:
            self.frame_rate = min(max(float(video.average_rate), 1.0), 240.0)
        # data that is fetched rather than sent arrives in bursts, faster than real time
        self._paces_playback = (
            self._paced if address.kind == "file" else address.segmented or _is_recording(address, container)
        )
        self._pace_start = None
        self._untimed = address.kind != "file" and any(
            name in UNTIMED_FORMATS for name in container.format.name.split(",")
        )
        audio = container.streams.audio
        self.has_sound = bool(audio) and self._sound_wanted
        self.sound_rate = audio[0].codec_context.sample_rate if self.has_sound else 0
        return container

    def _run(self, container: Any) -> None:
        error: BaseException | None = None
        try:
            while not self._stop.is_set():
                try:
                    finished = (
                        self._read_camera(container) if self.address.format == "opencv" else self._read(container)
                    )
                    why = "it ended"
                except (av.error.FFmpegError, SourceError, OSError) as caught:
                    finished, why = False, reason(caught)
                finally:
                    container.release() if self.address.format == "opencv" else container.close()
                if finished or self._stop.is_set():
                    break
                if self.address.kind == "file":
                    raise DecodeError(f"{self.address.text} broke off: {why}")
                again = self._reconnect(why)
                if again is None:
                    break
                container = again
        except BaseException as caught:  # noqa: BLE001 - handed to whoever calls `get`
            error = caught
        finally:
            with self._state:
                self._ended, self._error = True, error
                self._state.notify_all()

    @property
    def _patience(self) -> float:
        """Seconds without data after which the source counts as lost."""
        return max(self._timeout, SEGMENT_TIMEOUT) if self.address.segmented else self._timeout

    def _reconnect(self, why: str) -> Any:
        self.lost = True
        self._say(f"lost {self.address.text} ({why}); trying again")
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
        """Read to the end; True when the source ended regularly."""
        video = container.streams.video[0]
        streams = [video] + ([container.streams.audio[0]] if self.has_sound else [])
        decoded, last_intact = 0, time.monotonic()
        for packet in container.demux(*streams):
            if self._stop.is_set():
                return True
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                self.corrupt += 1
                frames = []
            for frame in frames:
                if isinstance(frame, av.AudioFrame):
                    self._store_audio(frame)
                    continue
                if frame.is_corrupt and time.monotonic() - last_intact < CORRUPT_SECONDS:
                    self.corrupt += 1
                    continue
                decoded += 1
                self._store(_rgb(frame), None if self._untimed else frame.time)
                last_intact = time.monotonic()
                if self._stop.is_set():
                    return True
            if self.address.kind != "file" and time.monotonic() - last_intact > self._patience:
                raise SourceError("packets come, but no picture")  # the codec changed, or the data is damaged
        if not decoded and not self.decoded:
            raise UnsupportedSource(f"no picture could be decoded from {self.address.text}")
        return not self.address.lasting and (self.address.kind == "file" or bool(container.duration))

    def _read_camera(self, camera: Any) -> bool:
        while not self._stop.is_set():
            good, bgr = camera.read()
            if not good:
                return False
            self._store(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), None)
        return True

    def _store(self, rgb: NDArray[np.uint8], stamp: float | None) -> None:
        seconds = self._continuous_time(stamp)
        if seconds is None:
            self.dropped += 1
            return
        if self._paces_playback:
            now = time.monotonic()
            if self._pace_start is None or now - self._pace_start - seconds > MAX_PLAYBACK_LAG:
                self._pace_start = now - seconds
            if self._stop.wait(max(self._pace_start + seconds - time.monotonic(), 0)):
                return
        self.lost = False
        self.decoded += 1
        with self._state:
            while not self._paced and len(self._frames) >= QUEUE_SIZE and not self._stop.is_set():
                self._state.wait(0.1)
            while len(self._frames) >= QUEUE_SIZE:
                self._frames.popleft()
                self.dropped += 1
            self._frames.append(CapturedFrame(rgb, seconds, time.monotonic()))
            self._state.notify_all()

    def _continuous_time(self, stamp: float | None) -> float | None:
        """Time of a frame on one clock that continues over gaps and jumps of the source's own; None: stale.

        After a stall, frames that arrive in a burst are stale until they catch up. If they do not, the source's clock stopped.
        """
        now = time.monotonic()
        stamp = now if stamp is None else stamp
        if self._offset is None or abs(stamp + self._offset - self._last) > 5.0:
            gap = now - self._last_at if self._paced else 0.0  # a gap keeps its real duration
            start = 0.0 if not self.decoded else self._last + max(gap, 1 / self.frame_rate)
            self._offset = start - stamp
            self._epoch = now - start
        seconds = stamp + self._offset
        if self._paced and not self._paces_playback:
            self._epoch = min(self._epoch, now - seconds)
            late = now - self._epoch - seconds
            if late > MAX_LAG:
                self._late_since = now if self._late_since is None else self._late_since
                if now - self._late_since < CATCH_UP_SECONDS:
                    return None
                self._offset += late
                seconds += late
            self._late_since = None
        self._last, self._last_at = max(self._last, seconds), now
        return seconds

    def _store_audio(self, frame: av.AudioFrame) -> None:
        if self._offset is not None and frame.time is not None:  # audio before the first frame belongs to no frame
            with self._state:
                self._audio.append((frame, frame.time + self._offset))


def _is_recording(address: Address, container: Any) -> bool:
    """Whether a web address is a recording rather than a live stream."""
    return address.url.startswith("http") and bool(container.duration)


def _rgb(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """`frame` as displayed: uint8 [H, W, 3], upright."""
    untagged = frame.colorspace == UNSPECIFIED and not frame.format.is_rgb
    wide = untagged and customary_matrix(frame.height, frame.width) == "bt709"
    rgb: NDArray[np.uint8] = frame.to_ndarray(format="rgb24", src_colorspace=Colorspace.ITU709 if wide else None)  # type: ignore[assignment]
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(rgb, turns)) if turns else rgb


def reason(error: BaseException) -> str:
    """FFmpeg's or the system's error in a few words."""
    if isinstance(error, av.error.ExitError | TimeoutError):
        return "no data"
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).split("\n")[0]


def _open_error(address: Address, error: BaseException) -> SourceError:
    """FFmpeg's error as one line for the user."""
    text = address.text
    if isinstance(error, av.error.ExitError | TimeoutError):
        return CameraTimeout(f"{text} does not answer; is it on, and is the address right?")
    if isinstance(error, av.error.ProtocolNotFoundError):
        return UnsupportedSource(f"{text}: this FFmpeg does not speak {address.url.partition(':')[0]}")
    if isinstance(error, ConnectionRefusedError):
        return SourceError(f"{text}: connection refused; nothing listens there")
    if isinstance(error, av.error.HTTPClientError | av.error.HTTPServerError):
        return SourceNotFound(f"{text}: {reason(error)}")
    if isinstance(error, FileNotFoundError):
        return SourceNotFound(f"{text}: not found")
    if isinstance(error, PermissionError):
        return SourceError(f"{text}: permission denied (for a camera: is your user in the group 'video'?)")
    if isinstance(error, av.error.InvalidDataError | av.error.EOFError):
        return UnsupportedSource(f"no video in {text}: it is no format that FFmpeg knows")
    return SourceError(f"cannot open {text}: {reason(error)}")
