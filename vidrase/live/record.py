"""Pictures and sound to a file or a stream through PyAV: playable up to the last moment, however the run ends."""

from __future__ import annotations

import socket
import time
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import numpy as np

from vidrase.errors import OptionError, SinkError
from vidrase.live.capture import BACKOFF
from vidrase.live.outputs import Output, Showing
from vidrase.report import Note

TICKS = 90_000
SUFFIXES = {".mkv": "matroska", ".mp4": "mp4", ".mov": "mov", ".ts": "mpegts", ".m4v": "mp4"}
PORTS = {"rtmp": 1935, "rtmps": 443, "rtsp": 554}
PATIENCE = 3.0  # seconds for a receiver to answer
FORMATS = {"rtmp": "flv", "rtmps": "flv", "rtsp": "rtsp", "udp": "mpegts", "tcp": "mpegts", "srt": "mpegts"}


class Muxer:
    """One container with H.264 and, when there is sound, AAC. Times are the source's."""

    def __init__(
        self, to: Any, format: str, showing: Showing, *, sound_rate: int, live: bool, timeout: float | None = None
    ) -> None:
        options: dict[str, Any] = {"flush_packets": "1"}
        if format in ("mp4", "mov"):
            options["movflags"] = "frag_keyframe+empty_moov+default_base_moof"
        if format == "matroska":
            options["cluster_time_limit"] = "1000"  # ms that are lost when the power goes
        if format == "rtsp":
            options["rtsp_transport"] = "tcp"
        self._container: Any = av.open(to, "w", format=format, options=options, timeout=timeout)
        height, width = showing.after.shape[:2]
        self.size = height, width
        rate = Fraction(max(showing.frame_rate, 1.0)).limit_denominator(1001)
        stream = self._container.add_stream("libx264", rate=rate)
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS)
        stream.codec_context.gop_size = max(round(float(rate)), 2)
        stream.codec_context.thread_count = 1
        how: dict[str, object] = {"preset": "ultrafast" if live else "veryfast", "crf": "23" if live else "20"}
        # a recording may look ahead a little; what it holds back is lost when the power goes
        stream.options = how | ({"tune": "zerolatency"} if live else {"rc-lookahead": "8", "bf": "0"})
        self._video = stream
        self._sound: Any = None
        if sound_rate:
            self._sound = self._container.add_stream("aac", rate=sound_rate)
            self._resampler = av.AudioResampler("fltp", "stereo", sound_rate)
        self._start: float | None = None
        self._last = -1
        self._heard = 0

    def write(self, showing: Showing) -> None:
        """Encode one picture and the sound that came with it."""
        self._start = showing.seconds if self._start is None else self._start
        rgb = showing.after
        if rgb.shape[0] % 2 or rgb.shape[1] % 2:  # 4:2:0 knows no odd sizes
            rgb = np.pad(rgb, ((0, rgb.shape[0] % 2), (0, rgb.shape[1] % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        frame.pts = max(round((showing.seconds - self._start) * TICKS), self._last + 1)
        frame.time_base = Fraction(1, TICKS)
        self._last = frame.pts
        self._container.mux(self._video.encode(frame))
        for sound, seconds in showing.sounds if self._sound is not None else ():
            self._hear(sound, seconds)

    def _hear(self, sound: Any, seconds: float) -> None:
        assert self._start is not None
        if seconds < self._start:
            return
        sound.pts = None
        for piece in self._resampler.resample(sound):
            due = round((seconds - self._start) * piece.sample_rate)
            if due - self._heard > piece.sample_rate // 10:  # sound was lost: silence keeps it in step with the picture
                self._heard = due
            piece.pts, piece.time_base = self._heard, Fraction(1, piece.sample_rate)
            self._heard += piece.samples
            self._container.mux(self._sound.encode(piece))

    def close(self) -> None:
        """Flush and end the container."""
        try:
            self._container.mux(self._video.encode(None))
            if self._sound is not None:
                self._container.mux(self._sound.encode(None))
        finally:
            self._container.close()


class FileOutput(Output):
    """A file, or numbered segments of it; a new one begins too when the size of the pictures changes.

    segment: seconds a segment; None: one file.  patient: never drop (for sources that can wait).
    Raises SinkError when the folder or the name is no good, OptionError for an unknown suffix.
    """

    def __init__(
        self,
        path: Path,
        *,
        segment: float | None = None,
        overwrite: bool = False,
        sound_rate: int = 0,
        patient: bool = False,
        say: Note | None = None,
    ) -> None:
        if path.suffix.lower() not in SUFFIXES:
            raise OptionError(f"--output {path}: expected one of {', '.join(SUFFIXES)}")
        if not path.parent.is_dir():
            raise SinkError(f"no such folder: {path.parent}")
        self._path, self._segment, self._overwrite, self._sound_rate = path, segment, overwrite, sound_rate
        self._number = 0
        self._began = 0.0
        self._muxer: Muxer | None = None
        first = self._name(0)
        if first.exists() and not overwrite:
            raise SinkError(f"{first} exists; give -y to replace it")
        super().__init__(str(path), patient=patient, say=say)

    def _name(self, number: int) -> Path:
        if self._segment is None and number == 0:
            return self._path
        return self._path.with_name(f"{self._path.stem}-{number:03d}{self._path.suffix}")

    def write(self, showing: Showing) -> None:
        """Encode one picture into the current segment."""
        full = self._segment is not None and showing.seconds - self._began >= self._segment
        if self._muxer is not None and (full or self._muxer.size != showing.after.shape[:2]):
            self.finish()
        try:
            if self._muxer is None:
                while self._number and self._name(self._number).exists() and not self._overwrite:
                    self._number += 1
                to = self._name(self._number)
                self._number += 1
                self._began = showing.seconds
                self._muxer = Muxer(
                    str(to), SUFFIXES[to.suffix.lower()], showing, sound_rate=self._sound_rate, live=False
                )
            self._muxer.write(showing)
        except (av.error.FFmpegError, OSError) as error:
            raise SinkError(f"cannot write {self._path}: {getattr(error, 'strerror', None) or error}") from error

    def finish(self) -> None:
        """End the current segment."""
        if self._muxer is not None:
            muxer, self._muxer = self._muxer, None
            muxer.close()


class PushOutput(Output):
    """A stream to somebody else: rtmp://, rtsp://, udp://, tcp://, srt://. Lost ones are called again, ever more patiently."""

    def __init__(self, url: str, *, sound_rate: int = 0, say: Note | None = None) -> None:
        scheme = urlsplit(url).scheme.lower()
        if scheme not in FORMATS:
            raise OptionError(f"--push {url}: expected one of {', '.join(f'{name}://' for name in FORMATS)}")
        self._url, self._format, self._sound_rate = url, FORMATS[scheme], sound_rate
        self._muxer: Muxer | None = None
        self._attempts = 0
        self._not_before = 0.0
        self._wire: socket.socket | None = None
        self.lost = 0
        super().__init__(url, say=say)

    def write(self, showing: Showing) -> None:
        """Send one picture, or drop it while nobody listens."""
        try:
            if self._muxer is not None and self._muxer.size != showing.after.shape[:2]:
                self.finish()
            if self._muxer is None:
                if time.monotonic() < self._not_before:
                    self.dropped += 1
                    return
                self._muxer = Muxer(
                    self._called(), self._format, showing, sound_rate=self._sound_rate, live=True, timeout=PATIENCE
                )
            self._muxer.write(showing)
            self._attempts = 0
        except (av.error.FFmpegError, OSError) as error:
            self.lost += 1
            if not self._attempts:
                self._say(
                    f"{self._url} does not take the stream ({getattr(error, 'strerror', None) or error}); trying again"
                )
            self._not_before = time.monotonic() + BACKOFF[min(self._attempts, len(BACKOFF) - 1)]
            self._attempts += 1
            self.finish()

    def _called(self) -> Any:
        """What to open. PyAV holds the interpreter while FFmpeg connects: whoever does not answer would stop the picture."""
        where = urlsplit(self._url)
        if where.scheme == "tcp":
            self._wire = socket.create_connection((where.hostname or "", where.port or 0), PATIENCE)
            return self._wire.makefile("wb", buffering=0)
        if where.scheme in PORTS:
            socket.create_connection((where.hostname or "", where.port or PORTS[where.scheme]), PATIENCE).close()
        return self._url

    def finish(self) -> None:
        """Hang up."""
        if self._muxer is not None:
            muxer, self._muxer = self._muxer, None
            try:
                muxer.close()
            except (av.error.FFmpegError, OSError):
                self.lost += 1
        if self._wire is not None:
            self._wire.close()
            self._wire = None
