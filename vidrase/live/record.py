"""Pictures and sound to a file or a stream through PyAV: playable up to the last moment, however the run ends."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import numpy as np
from av.codec.context import Flags
from av.video.reformatter import ColorRange, Colorspace

from vidrase.avplanes import customary_matrix
from vidrase.avtracks import file_url
from vidrase.errors import OptionError, SinkError
from vidrase.live.address import without_password
from vidrase.live.capture import BACKOFF, reason
from vidrase.live.outputs import Output, Showing
from vidrase.report import Note

TICKS = 90_000
SUFFIXES = {".mkv": "matroska", ".mp4": "mp4", ".mov": "mov", ".ts": "mpegts", ".m4v": "mp4"}
FORMATS = {"rtmp": "flv", "rtmps": "flv", "rtsp": "rtsp", "udp": "mpegts", "tcp": "mpegts", "srt": "mpegts"}
PATIENCE = 3.0  # seconds for a receiver to answer, and to take what it is sent
WAITING = 30  # packets that may wait for the receiver before the picture after them does


class Muxer:
    """One container with H.264 and, when there is sound, AAC. Times are the source's.

    live: `to` is somebody on the network. FFmpeg's own thread calls and feeds them: PyAV holds the interpreter while it
    connects, so whoever does not answer would stop every picture.
    """

    def __init__(self, to: str, format: str, showing: Showing, *, sound_rate: int, live: bool) -> None:
        options = _live_options(to, format) if live else _file_options(format)
        if live:
            av.logging.set_level(None)  # else FFmpeg's thread logs through the interpreter, which waits for that thread
        self._container: Any = av.open(to, "w", format="fifo" if live else format, options=options)
        height, width = showing.after.shape[:2]
        self.size = height, width
        rate = Fraction(max(showing.frame_rate, 1.0)).limit_denominator(1001)
        stream = self._container.add_stream("libx264", rate=rate)
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = Fraction(1, TICKS)
        context.gop_size = max(round(float(rate)), 2)
        context.thread_count = 1
        wide = customary_matrix(height, width) == "bt709"
        self._matrix = Colorspace.ITU709 if wide else Colorspace.ITU601
        context.colorspace = context.color_primaries = context.color_trc = 1 if wide else 6  # BT.709, SMPTE 170M
        context.color_range = ColorRange.MPEG
        how: dict[str, object] = {"preset": "ultrafast" if live else "veryfast", "crf": "23" if live else "20"}
        # a recording may look ahead a little; what it holds back is lost when the power goes
        stream.options = how | ({"tune": "zerolatency"} if live else {"rc-lookahead": "8", "bf": "0"})
        self._video = stream
        self._sound: Any = None
        if sound_rate:
            self._sound = self._container.add_stream("aac", rate=sound_rate)
        if live and format != "mpegts":  # PyAV asks the queue, not what is behind it, whether headers go first
            for one in self._container.streams:
                one.codec_context.flags |= Flags.global_header
        self._resampler: Any = None
        self._heard_as: tuple[object, ...] = ()
        self._start: float | None = None
        self._last = -1
        self._heard: int | None = None  # samples, silence included

    def write(self, showing: Showing) -> None:
        """Encode one picture and the sound that came with it."""
        self._start = showing.seconds if self._start is None else self._start
        rgb = showing.after
        if rgb.shape[0] % 2 or rgb.shape[1] % 2:  # 4:2:0 knows no odd sizes
            rgb = np.pad(rgb, ((0, rgb.shape[0] % 2), (0, rgb.shape[1] % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=self._matrix, dst_color_range=ColorRange.MPEG)
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
        kind = sound.format.name, sound.layout.name, sound.sample_rate
        if kind != self._heard_as:  # another camera after a reconnection, or a programme that changes its sound
            self._heard_as = kind
            self._resampler = av.AudioResampler("fltp", "stereo", self._sound.rate)
        sound.pts = None
        for piece in self._resampler.resample(sound):
            due = round((seconds - self._start) * piece.sample_rate)
            if self._heard is None or due - self._heard > piece.sample_rate // 20:  # the first, or some was lost
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


def _file_options(format: str) -> dict[str, str]:
    options = {"flush_packets": "1"}
    if format in ("mp4", "mov"):
        options["movflags"] = "frag_keyframe+empty_moov+default_base_moof"
    if format == "matroska":
        options["cluster_time_limit"] = "1000"  # ms that are lost when the power goes
    return options


def _live_options(to: str, format: str) -> dict[str, str]:
    wait = round(PATIENCE * 1e6)
    inner = {"flush_packets": "1"}
    inner |= {"rtsp_transport": "tcp", "timeout": str(wait)} if format == "rtsp" else {"rw_timeout": str(wait)}
    if to.startswith("udp") and "pkt_size" not in to:
        inner["pkt_size"] = "1316"  # whole packets of the transport stream, as every receiver expects
    joined = ":".join(f"{name}={value}" for name, value in inner.items())
    return {"fifo_format": format, "queue_size": str(WAITING), "format_opts": joined}


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
        if not self._claim(self._name(0)):
            raise SinkError(f"{self._name(0)} exists; give -y to replace it")
        self._claimed = True
        super().__init__(str(path), patient=patient, say=say)

    def _name(self, number: int) -> Path:
        if self._segment is None and number == 0:
            return self._path
        return self._path.with_name(f"{self._path.stem}-{number:03d}{self._path.suffix}")

    def _claim(self, path: Path) -> bool:
        """Make the file, where it may not replace one: of two recordings to one new name, only one gets it."""
        if self._overwrite:
            return True
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            return False
        except OSError as error:
            raise SinkError(f"cannot write {path}: {error.strerror or error}") from error
        return True

    def write(self, showing: Showing) -> None:
        """Encode one picture into the current segment."""
        full = self._segment is not None and showing.seconds - self._began >= self._segment
        if self._muxer is not None and (full or self._muxer.size != showing.after.shape[:2]):
            self.finish()
        try:
            if self._muxer is None:
                while self._number and not self._claim(self._name(self._number)):
                    self._number += 1
                self._claimed = False
                to = self._name(self._number)
                self._number += 1
                self._began = showing.seconds
                self._muxer = Muxer(
                    file_url(to), SUFFIXES[to.suffix.lower()], showing, sound_rate=self._sound_rate, live=False
                )
            self._muxer.write(showing)
        except (av.error.FFmpegError, OSError) as error:
            raise SinkError(f"cannot write {self._path}: {getattr(error, 'strerror', None) or error}") from error

    def finish(self) -> None:
        """End the current segment."""
        if self._claimed and not self._overwrite:  # no picture came
            self._name(0).unlink(missing_ok=True)
            self._claimed = False
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
        self._since = 0.0
        self._not_before = 0.0
        self.lost = 0
        super().__init__(without_password(url), say=say)

    def write(self, showing: Showing) -> None:
        """Send one picture, or drop it while nobody listens."""
        try:
            if self._muxer is not None and self._muxer.size != showing.after.shape[:2]:
                self.finish()
            if self._muxer is None:
                if time.monotonic() < self._not_before:
                    self.dropped += 1
                    return
                self._since = time.monotonic()
                self._muxer = Muxer(self._url, self._format, showing, sound_rate=self._sound_rate, live=True)
            self._muxer.write(showing)
            if self._attempts and time.monotonic() - self._since > PATIENCE:
                self._attempts = 0
                self._say(f"{self.name} takes the stream again")
        except av.error.ProtocolNotFoundError as error:
            raise SinkError(f"--push {self.name}: this FFmpeg does not speak {urlsplit(self._url).scheme}") from error
        except (av.error.FFmpegError, OSError) as error:
            self.lost += 1
            if not self._attempts:
                self._say(f"{self.name} does not take the stream ({reason(error)}); trying again")
            self._not_before = time.monotonic() + BACKOFF[min(self._attempts, len(BACKOFF) - 1)]
            self._attempts += 1
            self.finish()

    def finish(self) -> None:
        """Hang up."""
        if self._muxer is not None:
            muxer, self._muxer = self._muxer, None
            try:
                muxer.close()
            except (av.error.FFmpegError, OSError):
                self.lost += 1
