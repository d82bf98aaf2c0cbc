"""Frames to an encoded video: the decoder's own frame goes out, changed only inside the hole, at the time it came with."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
from av.video.frame import PictureType
from av.video.stream import VideoStream

from vidrase.avplanes import to_readable, write_planes
from vidrase.errors import SinkError
from vidrase.frames import Frame, SourceInfo
from vidrase.options import SinkOptions
from vidrase.sink.encoders import Choice, choose
from vidrase.sink.part import Part
from vidrase.sink.remux import Remux

Note = Callable[[str], None]
_MILLISECOND_MUXERS = {"matroska", "webm", "flv"}
_TAGS = ("color_range", "color_primaries", "color_trc", "colorspace")
_UNSPECIFIED = 2  # of primaries, transfer and matrix in ITU-T H.273; 0 for the range


class VideoSink:
    """Encodes into `to` by way of a `.part` file. A context manager: complete on a clean exit, nothing on an error."""

    def __init__(self, to: Path, info: SourceInfo, options: SinkOptions, note: Note) -> None:
        self._info, self._note = info, note
        self._choice: Choice = choose(to.suffix.lower(), info, options)
        for text in self._choice.notes:
            note(text)
        self.encoder = str(self._choice)
        self._part = Part(to)
        self._result: av.container.OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._remux: Remux | None = None
        self._time_base = info.time_base
        try:
            self._open()
        except BaseException:
            self._abandon()
            raise

    def _open(self) -> None:
        info, choice = self._info, self._choice
        movflags = {
            "movflags": "+faststart",
            "movie_timescale": str(self._scale()),
            "video_track_timescale": str(self._scale()),
        }
        # the default of ten seconds makes the muxer write out of order when a track is silent for longer
        options = {
            "max_interleave_delta": "0",
            "avoid_negative_ts": "disabled",
            **(movflags if choice.muxer in ("mp4", "mov") else {}),
        }
        if choice.muxer == "mpegts":
            options["mpegts_copyts"] = "1"
        with self._explained():
            self._result = av.open(str(self._part.path), "w", format=choice.muxer, options=options)
            rate = info.frame_rate or Fraction(25)
            self._stream = self._result.add_stream(choice.encoder, rate=rate, options=dict(choice.settings))
        stream, ctx = self._stream, self._stream.codec_context
        stream.width, stream.height, stream.pix_fmt = info.width, info.height, choice.pix_fmt
        if choice.encoder in ("mpeg4", "mpeg2video") or choice.muxer in ("avi", "mpeg"):
            self._time_base = 1 / rate  # these count frames, not ticks
            self._note(
                f"{choice.muxer} with {choice.encoder} knows only a constant rate: times are rounded to {float(rate):g} fps"
            )
        elif choice.muxer in _MILLISECOND_MUXERS and 1000 % info.time_base.denominator:
            self._note(f"{choice.muxer} keeps times to the millisecond only; .mp4 or .mov keeps them exactly")
        ctx.time_base = self._time_base
        stream.time_base = self._time_base
        ctx.framerate = rate
        ctx.thread_type = "AUTO"
        if info.sample_aspect_ratio:
            ctx.sample_aspect_ratio = info.sample_aspect_ratio
        if info.orientation.quarter_turns % 4 or info.orientation.mirrored:
            _set_orientation(stream, info)
        self._remux = Remux(info, self._result, self._note)
        metadata, disposition = self._remux.video_tags
        stream.metadata.update(metadata)
        with suppress(ValueError, AttributeError):
            stream.disposition = disposition

    def _scale(self) -> int:
        """Ticks a second of the result's clock: the source's own, so that every time stamp is a whole number of them."""
        base = self._info.time_base
        return base.denominator if base.numerator == 1 and base.denominator <= 2**31 - 1 else 90000

    def write(self, frame: Frame) -> None:
        """Encode one frame; frames come in order."""
        assert self._stream is not None
        picture = _picture(frame)
        if self._stream.codec_context.is_open is False:
            self._take_tags(picture)
        with self._explained():
            if picture.format.name != self._stream.pix_fmt and not _same_samples(
                picture.format.name, self._stream.pix_fmt
            ):
                # one thread: with more, swscale now and then leaves rows unwritten
                matrix = {"dst_colorspace": "ITU709", "dst_color_range": "MPEG"} if _is_rgb(picture) else {}
                picture = picture.reformat(format=self._stream.pix_fmt, threads=1, **matrix)
            picture.pts = round(frame.pts * frame.time_base / self._time_base)
            picture.time_base = self._time_base
            picture.pict_type = PictureType.NONE  # else the source's I, P and B types are forced on the encoder
            for packet in self._stream.encode(picture):
                self._put(packet)

    def _take_tags(self, picture: av.VideoFrame) -> None:
        """Colour tags as the first frame has them; what it leaves open stays open."""
        assert self._stream is not None
        ctx = self._stream.codec_context
        if _is_rgb(picture) and "rgb" not in str(ctx.pix_fmt) and "gbr" not in str(ctx.pix_fmt):
            ctx.colorspace, ctx.color_range = 1, 1  # what `write` converts to: BT.709, limited
            return
        for tag in _TAGS:
            value = int(getattr(picture, tag, 0) or 0)
            if value and (tag == "color_range" or value != _UNSPECIFIED):
                setattr(ctx, tag, value)

    def _put(self, packet: av.Packet) -> None:
        assert self._result is not None
        assert self._remux is not None
        if packet.dts is not None:
            self._remux.up_to(Fraction(packet.dts) * Fraction(packet.time_base))
        self._result.mux_one(packet)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._abandon()
            return
        try:
            self._finish()
        except BaseException:
            self._abandon()
            raise

    def _finish(self) -> None:
        assert self._stream is not None
        assert self._remux is not None
        assert self._result is not None
        with self._explained():
            for packet in self._stream.encode(None):
                self._put(packet)
            self._remux.rest()
            self._result.close()
        self._result = None
        self._remux.close()
        self._part.keep()

    def _abandon(self) -> None:
        """Close what can be closed and leave no file; a second error must not hide the first."""
        for thing in (self._result, self._remux):
            if thing is not None:
                with suppress(av.FFmpegError, OSError, ValueError):
                    thing.close()
        self._result = None
        self._part.drop()

    def _explained(self) -> _Explained:
        return _Explained(self._part.to, self._choice)


class _Explained:
    """FFmpeg's errors as one line about the result."""

    def __init__(self, to: Path, choice: Choice) -> None:
        self._to, self._choice = to, choice

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, av.FFmpegError | OSError):
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                raise SinkError(f"cannot write {self._to}: the disk is full") from error
            if getattr(error, "errno", None) in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT):
                raise SinkError(f"cannot write {self._to}: {error.strerror}") from error
            raise SinkError(f"cannot write {self._to} with {self._choice}: {error}") from error


def _picture(frame: Frame) -> av.VideoFrame:
    """The frame to encode: the decoder's own, with the changed planes written in."""
    native = frame.native
    if isinstance(native, av.VideoFrame):
        if frame.edited:
            native.make_writable()
            write_planes(native, frame.planes)
        return native
    made = av.VideoFrame(frame.width, frame.height, frame.layout.name)
    write_planes(made, frame.planes)
    if frame.layout.full_range and frame.layout.model == "yuv":
        made.color_range = 2
    return to_readable(made)


def _is_rgb(picture: av.VideoFrame) -> bool:
    return bool(picture.format.is_rgb)


def _same_samples(a: str, b: str) -> bool:
    return a.replace("yuvj", "yuv") == b.replace("yuvj", "yuv")


def _set_orientation(stream: VideoStream, info: SourceInfo) -> None:
    """Planes stay as stored; the result is turned for display as the source was."""
    turns = info.orientation.quarter_turns % 4
    stream.set_display_rotation(-90 * turns, hflip=info.orientation.mirrored)
