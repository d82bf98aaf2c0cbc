"""Encode frames and audio to a file or a stream through PyAV; the file is playable at any moment, however the run ends."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.codec.context import Flags
from av.video.reformatter import ColorRange, Colorspace

from vidrase.avplanes import customary_matrix
from vidrase.avtracks import file_url
from vidrase.errors import OptionError, SinkError
from vidrase.live.capture import BACKOFF, reason
from vidrase.live.outputs import Output, OutputFrame
from vidrase.report import Note
from vidrase.starred import starred
from vidrase.written import url_of

TIME_BASE_HZ = 90_000
SUFFIXES = {".mkv": "matroska", ".mp4": "mp4", ".mov": "mov", ".ts": "mpegts", ".m4v": "mp4"}
FORMATS = {"rtmp": "flv", "rtmps": "flv", "rtsp": "rtsp", "udp": "mpegts", "tcp": "mpegts", "srt": "mpegts"}
TIMEOUT = 3.0  # seconds for a receiver to answer or to accept data
QUEUE_PACKETS = 30  # packets that may wait for the receiver before encoding blocks


class Muxer:
    """One container with H.264 and, if there is sound, AAC. Times are the source's.

    live: `to` is a network receiver. FFmpeg's own thread connects and sends: PyAV holds the interpreter lock while connecting, so
    a receiver that does not answer would block every frame.
    """

    def __init__(self, to: str, format: str, output_frame: OutputFrame, *, sound_rate: int, live: bool) -> None:
        options = _live_options(to, format) if live else _file_options(format)
        if live:
            # otherwise FFmpeg's thread logs through the interpreter, which waits for that thread
            av.logging.set_level(None)
        self._container: Any = av.open(to, "w", format="fifo" if live else format, options=options)
        height, width = output_frame.rgb.shape[:2]
        self.size = height, width
        rate = Fraction(max(output_frame.frame_rate, 1.0)).limit_denominator(1001)
        stream = self._container.add_stream("libx264", rate=rate)
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = Fraction(1, TIME_BASE_HZ)
        context.gop_size = max(round(float(rate)), 2)
        context.thread_count = 1
        is_hd = customary_matrix(height, width) == "bt709"
        self._matrix = Colorspace.ITU709 if is_hd else Colorspace.ITU601
        context.colorspace = context.color_primaries = context.color_trc = 1 if is_hd else 6  # BT.709, SMPTE 170M
        context.color_range = ColorRange.MPEG
        codec_options: dict[str, object] = {
            "preset": "ultrafast" if live else "veryfast",
            "crf": "23" if live else "20",
        }
        # a recording may use a short lookahead; buffered frames are lost in a power cut
        stream.options = codec_options | ({"tune": "zerolatency"} if live else {"rc-lookahead": "8", "bf": "0"})
        self._video = stream
        self._sound: Any = None
        if sound_rate:
            self._sound = self._container.add_stream("aac", rate=sound_rate)
        # PyAV asks the fifo muxer, not the one behind it, whether it needs global headers
        if live and format != "mpegts":
            for stream_ in self._container.streams:
                stream_.codec_context.flags |= Flags.global_header
        self._resampler: Any = None
        self._audio_format: tuple[object, ...] = ()
        self._start: float | None = None
        self._last = -1
        self._audio_samples: int | None = None  # samples written, including silence

    def write(self, output_frame: OutputFrame) -> None:
        """Encode one frame and its audio."""
        self._start = output_frame.seconds if self._start is None else self._start
        rgb = output_frame.rgb
        if rgb.shape[0] % 2 or rgb.shape[1] % 2:  # 4:2:0 needs even sizes
            rgb = np.pad(rgb, ((0, rgb.shape[0] % 2), (0, rgb.shape[1] % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=self._matrix, dst_color_range=ColorRange.MPEG)
        frame.pts = max(round((output_frame.seconds - self._start) * TIME_BASE_HZ), self._last + 1)
        frame.time_base = Fraction(1, TIME_BASE_HZ)
        self._last = frame.pts
        self._container.mux(self._video.encode(frame))
        for sound, seconds in output_frame.audio if self._sound is not None else ():
            self._write_audio(sound, seconds)

    def _write_audio(self, sound: Any, seconds: float) -> None:
        assert self._start is not None
        if seconds < self._start:
            return
        kind = sound.format.name, sound.layout.name, sound.sample_rate
        if kind != self._audio_format:  # another camera after a reconnection, or a changed audio format
            self._audio_format = kind
            self._resampler = av.AudioResampler("fltp", "stereo", self._sound.rate)
        sound.pts = None
        for piece in self._resampler.resample(sound):
            due = round((seconds - self._start) * piece.sample_rate)
            if (
                self._audio_samples is None or due - self._audio_samples > piece.sample_rate // 20
            ):  # the first samples, or samples after a gap
                self._audio_samples = due
            piece.pts, piece.time_base = self._audio_samples, Fraction(1, piece.sample_rate)
            self._audio_samples += piece.samples
            self._container.mux(self._sound.encode(piece))

    def close(self) -> None:
        """Flush the encoders and close the container."""
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
        options["cluster_time_limit"] = "1000"  # at most this many ms are lost in a power cut
    return options


def _live_options(to: str, format: str) -> dict[str, str]:
    wait = round(TIMEOUT * 1e6)
    inner = {"flush_packets": "1"}
    inner |= {"rtsp_transport": "tcp", "timeout": str(wait)} if format == "rtsp" else {"rw_timeout": str(wait)}
    if to.startswith("udp") and "pkt_size" not in to:
        inner["pkt_size"] = "1316"  # whole transport-stream packets, as receivers expect
    format_options = ":".join(f"{name}={value}" for name, value in inner.items())
    return {"fifo_format": format, "queue_size": str(QUEUE_PACKETS), "format_opts": format_options}


class FileOutput(Output):
    """A file, or numbered segments; a change of frame size also starts a new one.

    segment: seconds per segment; None: one file.  patient: never drop frames (for sources that can wait).
    Raises SinkError for a bad folder or an existing file, OptionError for an unknown suffix.
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

    def write(self, output_frame: OutputFrame) -> None:
        """Encode one frame into the current segment."""
        full = self._segment is not None and output_frame.seconds - self._began >= self._segment
        if self._muxer is not None and (full or self._muxer.size != output_frame.rgb.shape[:2]):
            self.finish()
        try:
            if self._muxer is None:
                while self._number and not self._claim(self._name(self._number)):
                    self._number += 1
                self._claimed = False
                to = self._name(self._number)
                self._number += 1
                self._began = output_frame.seconds
                self._muxer = Muxer(
                    file_url(to), SUFFIXES[to.suffix.lower()], output_frame, sound_rate=self._sound_rate, live=False
                )
            self._muxer.write(output_frame)
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
    """Pushes a stream: rtmp://, rtsp://, udp://, tcp://, srt://. Reconnects after a loss with growing pauses."""

    def __init__(self, url: str, *, sound_rate: int = 0, say: Note | None = None) -> None:
        scheme = url_of(url).scheme.lower()
        if scheme not in FORMATS:
            raise OptionError(f"--push {url}: expected one of {', '.join(f'{name}://' for name in FORMATS)}")
        self._url, self._format, self._sound_rate = url, FORMATS[scheme], sound_rate
        self._muxer: Muxer | None = None
        self._attempts = 0
        self._since = 0.0
        self._not_before = 0.0
        self.lost = 0
        super().__init__(starred(url), say=say)

    def write(self, output_frame: OutputFrame) -> None:
        """Send one frame; drop it while there is no connection."""
        try:
            if self._muxer is not None and self._muxer.size != output_frame.rgb.shape[:2]:
                self.finish()
            if self._muxer is None:
                if time.monotonic() < self._not_before:
                    self.dropped += 1
                    return
                self._since = time.monotonic()
                self._muxer = Muxer(self._url, self._format, output_frame, sound_rate=self._sound_rate, live=True)
            self._muxer.write(output_frame)
            if self._attempts and time.monotonic() - self._since > TIMEOUT:
                self._attempts = 0
                self._say(f"{self.name} takes the stream again")
        except av.error.ProtocolNotFoundError as error:
            raise SinkError(f"--push {self.name}: this FFmpeg does not speak {url_of(self._url).scheme}") from error
        except (av.error.FFmpegError, OSError) as error:
            self.lost += 1
            if not self._attempts:
                self._say(f"{self.name} does not take the stream ({reason(error)}); trying again")
            self._not_before = time.monotonic() + BACKOFF[min(self._attempts, len(BACKOFF) - 1)]
            self._attempts += 1
            self.finish()

    def finish(self) -> None:
        """Close the connection."""
        if self._muxer is not None:
            muxer, self._muxer = self._muxer, None
            try:
                muxer.close()
            except (av.error.FFmpegError, OSError):
                self.lost += 1
