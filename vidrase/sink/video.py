"""Frames to an encoded video: the decoder's own frame goes out, changed only inside the hole, at the time it came with."""

from __future__ import annotations

import errno
import io
import math
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import av
import numpy as np
from av.codec.context import Flags
from av.stream import Disposition
from av.video.frame import PictureType
from av.video.reformatter import ColorRange, Interpolation
from av.video.stream import VideoStream

from vidrase.avplanes import layout_named, read_planes, readable, to_readable, write_planes
from vidrase.avtracks import file_url
from vidrase.colour import Matrix
from vidrase.errors import SinkError
from vidrase.frames import Frame, SourceInfo
from vidrase.options import SinkOptions
from vidrase.part import Part
from vidrase.sink import fields, sidedata
from vidrase.sink.animation import set_last_delay
from vidrase.sink.encoders import Choice, choose, holds_the_same
from vidrase.sink.fit import detour
from vidrase.sink.remux import Remux, must_detour

Note = Callable[[str], None]
_MILLISECOND_MUXERS = {"matroska", "webm", "flv"}
_FROM_ZERO = {"nut", "flv"}  # muxers that know no time below 0: sound that begins before then moves everything
_IN_ORDER = {  # formats where frames that are encoded out of order come out wrong
    "avi",  # which holds one time a packet
    "flv",  # whose decoding times would begin below 0
}
_COUNTING = {"mpeg4", "mpeg2video"}  # encoders that know a rate, no times
_TAGS = ("color_range", "color_primaries", "color_trc", "colorspace")
_UNSPECIFIED = 2  # of primaries, transfer and matrix in ITU-T H.273; 0 for the range
_MATRIX_TAGS: dict[Matrix, int] = {"bt709": 1, "bt601": 5, "ycgco": 8, "bt2020": 9}
_LIMITED, _FULL = 1, 2
_ABSURD_SECONDS = 3600
_LATEST_SCALE = 2**31 - 1


class VideoSink:
    """Encodes into `to` by way of a `.part` file. A context manager: complete on a clean exit, nothing on an error."""

    def __init__(self, to: Path, info: SourceInfo, options: SinkOptions, note: Note) -> None:
        self._info, self._note = info, note
        suffix = ".apng" if to.suffix.lower() == ".png" else to.suffix.lower()
        self._choice: Choice = choose(suffix, info, options)
        for text in self._choice.notes:
            note(text)
        self.encoder = str(self._choice)
        self._part = Part(to, overwrite=options.overwrite)
        self._result: av.container.OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._remux: Remux | None = None
        self._time_base = info.time_base
        self._held: av.VideoFrame | None = None
        self._last_pts: int | None = None
        self._lost: set[str] = set()
        self._grid: Fraction | None = None
        self._shift_y = layout_named(self._choice.pix_fmt).shift_y if readable(self._choice.pix_fmt) else 0
        unmarked = fields.lost_mark(self._choice.encoder, info, self._shift_y)
        self._marks = info.interlaced and unmarked is None
        self._unmarked = unmarked is not None
        if unmarked is not None:
            note(unmarked)
        try:
            self._open()
        except BaseException:
            self._abandon()
            raise

    def _open(self) -> None:
        info, choice = self._info, self._choice
        # packets come nearly in order, so the muxer need not wait long for a silent track (it would hold the whole clip)
        options = {"max_interleave_delta": "2000000"}
        if choice.muxer in ("mp4", "mov"):
            options |= {"movflags": "+faststart", "video_track_timescale": str(self._scale([]))}
        if choice.muxer == "apng":
            options["plays"] = str(min(info.loops or 0, 65535))
        if choice.muxer == "mpegts":
            options["mpegts_copyts"] = "1"
        if choice.muxer not in _FROM_ZERO:
            options["avoid_negative_ts"] = "disabled"
        with self._explained():
            if (
                choice.encoder != "libx265"
            ):  # it fails at random where one process opens it twice: its state is the process's
                self._rehearse(options)
            name, form = file_url(self._part.path), choice.muxer
            if must_detour(info, choice.muxer):
                (name, form), options = detour(choice.muxer, self._part.path, options), {}
            self._result = av.open(name, "w", format=form, options=options)
            self._stream = stream = self._track(self._result)
            if form != choice.muxer:  # PyAV asks the tee, not what is behind it, whether headers go first
                stream.codec_context.flags |= Flags.global_header
        self._remux = Remux(info, self._result, self._note, choice.muxer)
        if choice.muxer in ("mp4", "mov"):
            self._result.options["movie_timescale"] = str(self._scale(self._remux.starts))
        metadata, disposition = self._remux.video_tags
        stream.metadata.update(metadata)
        with suppress(ValueError, AttributeError):
            stream.disposition = Disposition(disposition)

    def _rehearse(self, options: dict[str, str]) -> None:
        """One blank picture through encoder and muxer, into memory: what they refuse is known before hours of work."""
        plain = {name: value for name, value in options.items() if name != "movflags"}  # which opens the file once more
        with av.open(io.BytesIO(), "w", format=self._choice.muxer, options=plain) as trial:
            stream = self._track(trial)
            blank = av.VideoFrame(stream.width, stream.height, self._choice.pix_fmt)
            for plane in blank.planes:
                plane.update(bytes(plane.buffer_size))
            blank.pts, blank.time_base = 0, self._time_base
            for packet in [*stream.encode(blank), *stream.encode(None)]:
                trial.mux_one(packet)

    def _track(self, result: av.container.OutputContainer) -> VideoStream:
        """The track of pictures in `result`, its encoder not yet opened."""
        info, choice = self._info, self._choice
        rate = info.frame_rate or Fraction(25)
        settings = dict(choice.settings)
        if choice.muxer in _IN_ORDER:
            settings["bf"] = "0"
        stream = cast(VideoStream, result.add_stream(choice.encoder, rate=rate, options=settings))
        ctx = stream.codec_context
        rows, columns = choice.padded
        stream.width, stream.height, stream.pix_fmt = info.width + columns, info.height + rows, choice.pix_fmt
        if choice.encoder in _COUNTING or choice.muxer in ("avi", "mpeg"):
            rate = _standard(rate) if choice.encoder == "mpeg2video" else rate.limit_denominator(1001)
            self._grid = self._time_base = 1 / rate
        elif choice.muxer in _MILLISECOND_MUXERS:
            self._grid = Fraction(1, 1000)
        ctx.time_base = stream.time_base = self._time_base
        ctx.framerate = rate
        ctx.thread_type = "AUTO"
        ctx.flags |= Flags.frame_duration
        if choice.encoder == "libx265" and choice.muxer in ("mp4", "mov"):
            ctx.codec_tag = "hvc1"  # Apple's players open no other
        if "crf" not in choice.settings and not _has_quality(choice):
            ctx.bit_rate = max(2 * (info.bit_rate or 0), int(info.width * info.height * rate * Fraction(1, 5)))
        if info.sample_aspect_ratio:
            ctx.sample_aspect_ratio = info.sample_aspect_ratio
        if info.orientation.quarter_turns % 4 or info.orientation.mirrored:
            stream.set_display_rotation(-90 * (info.orientation.quarter_turns % 4), hflip=info.orientation.mirrored)
        if self._marks:
            fields.mark(ctx, choice.encoder, info)
        return stream

    def _scale(self, starts: list[Fraction]) -> int:
        """Ticks a second of the result's clock: every time stamp and every start of a track is a whole number of them."""
        scale = self._info.time_base.denominator
        scale = scale if scale <= _LATEST_SCALE else 90000
        for start in starts:
            finer = math.lcm(scale, start.denominator)
            if start > 0 and finer <= _LATEST_SCALE:
                scale = finer
        return scale

    def write(self, frame: Frame) -> None:
        """Encode one frame; frames come in order. Raises SinkError."""
        assert self._stream is not None
        info = self._info
        if frame.size != (info.height, info.width):
            height, width = frame.size
            raise SinkError(
                f"frame {frame.index} is {width}x{height}, the video {info.width}x{info.height}; expected one size"
            )
        if self._grid is not None and (frame.pts * frame.time_base / self._grid).denominator != 1:
            kept = (
                "the millisecond"
                if self._grid == Fraction(1, 1000)
                else f"a rate of {float(1 / self._grid):g} a second"
            )
            self._note(f"{self._choice.muxer} keeps times to {kept} only; a name in .mp4 or .mov keeps them exactly")
            self._grid = None  # said once
        with self._explained():
            hdr: dict[str, str] = {}
            first = not self._stream.codec_context.is_open and self._held is None
            if isinstance(frame.native, av.VideoFrame):
                # before the frame is made writable: that copies its side data, and PyAV would go on reading the freed ones
                if first:
                    hdr = sidedata.hdr_parameters(self._choice.encoder, frame.native)
                self._tell_lost(frame.native)
            picture = self._converted(_padded(_picture(frame), *self._choice.padded))
            if first:
                self._take_tags(picture, hdr)
            picture.pts = round(frame.pts * frame.time_base / self._time_base)
            if self._last_pts is not None and picture.pts <= self._last_pts:
                picture.pts = self._last_pts + 1  # only where times are rounded: encoders refuse two frames at one
            self._last_pts = picture.pts
            picture.time_base = self._time_base
            picture.duration = max(0, round(frame.duration * frame.time_base / self._time_base))
            if picture.interlaced_frame and not (self._marks or self._unmarked):
                self._unmarked = True
                self._note(f"interlaced from frame {frame.index} on, which a stream that begins without cannot say")
            picture.pict_type = PictureType.NONE  # else the source's I, P and B types are forced on the encoder
            held, self._held = self._held, picture
            if held is not None:
                # a decoder's durations are those of packets, in decoding order; only the last one is worth something
                held.duration = picture.pts - (held.pts or 0)
                self._encode(held)

    def _encode(self, picture: av.VideoFrame | None) -> None:
        assert self._stream is not None
        for packet in self._stream.encode(picture):
            self._put(packet)

    def _converted(self, picture: av.VideoFrame) -> av.VideoFrame:
        """`picture` in the encoder's pixel format; the very same where only the name differs."""
        assert self._stream is not None
        wanted = self._stream.pix_fmt or picture.format.name
        if picture.format.name.replace("yuvj", "yuv") == wanted.replace("yuvj", "yuv"):
            return picture
        if holds_the_same(picture.format.name, wanted):
            made = av.VideoFrame(picture.width, picture.height, wanted)
            write_planes(made, read_planes(picture))
            return made
        how = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
        # one thread: with more, swscale now and then leaves rows unwritten
        if not picture.format.is_rgb or av.VideoFormat(wanted, 16, 16).is_rgb:
            return picture.reformat(format=wanted, interpolation=how, threads=1)
        matrix = 1 if picture.height >= 720 or picture.width > 1024 else 5  # what players assume of such sizes
        made = picture.reformat(
            format=wanted, dst_colorspace=matrix, dst_color_range=ColorRange.MPEG, interpolation=how, threads=1
        )
        made.colorspace, made.color_range = matrix, _LIMITED
        return made

    def _take_tags(self, picture: av.VideoFrame, hdr: dict[str, str]) -> None:
        """Colour tags, HDR numbers and fields as the first frame has them; what it leaves open stays open."""
        assert self._stream is not None
        ctx = self._stream.codec_context
        for tag in _TAGS:
            value = int(getattr(picture, tag, 0) or 0)
            if value and (tag == "color_range" or value != _UNSPECIFIED):
                setattr(ctx, tag, value)
        for name, parameters in hdr.items():
            ctx.options[name] = ":".join(filter(None, (ctx.options.get(name), parameters)))

    def _tell_lost(self, picture: av.VideoFrame) -> None:
        kinds = sidedata.present(picture)
        for name in sorted(sidedata.lost(self._choice.encoder, kinds) - self._lost) if kinds else ():
            self._lost.add(name)
            self._note(f"{name} cannot be carried by {self._choice.encoder} here and is left out")

    def _put(self, packet: av.Packet) -> None:
        assert self._result is not None
        assert self._remux is not None
        if packet.pts is not None:
            ahead = None if packet.dts is None else (packet.pts - packet.dts) * packet.time_base
            made_up = ahead is not None and ahead >= _ABSURD_SECONDS and self._choice.encoder == "libx265"
            if ahead is None or ahead < 0 or made_up:  # of a clip of only one or two frames
                packet.dts = packet.pts
        self._result.start_encoding()  # the header: from here on the ticks of the tracks are known
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
        assert self._remux is not None
        assert self._result is not None
        if self._held is None:
            raise SinkError(f"cannot write {self._part.to}: {self._info.url} gave no frame")
        with self._explained():
            lasts = (self._held.duration or 0) * self._time_base
            self._encode(self._held)
            self._held = None
            self._encode(None)
            self._remux.rest()
            self._result.close()
            if self._choice.muxer == "apng" and lasts:
                set_last_delay(self._part.path, lasts)
        self._result = None
        self._remux.close()
        self._part.keep()

    def _abandon(self) -> None:
        """Close what can be closed and leave no file; a second error must not hide the first."""
        for thing in (self._result, self._remux):
            if thing is not None:
                with suppress(av.FFmpegError, OSError, ValueError):
                    thing.close()
        self._result = self._held = None
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
        if not isinstance(error, av.FFmpegError | OSError) or isinstance(error, SinkError):
            return
        number = getattr(error, "errno", None)
        if number in (errno.ENOSPC, errno.EDQUOT):
            raise SinkError(f"cannot write {self._to}: the disk is full") from error
        reason = getattr(error, "strerror", None) or str(error)
        if number in (errno.EACCES, errno.EROFS, errno.ENOENT, errno.EIO, errno.EFBIG):
            raise SinkError(f"cannot write {self._to}: {reason}") from error
        hint = "; is there such a device?" if "_" in self._choice.encoder and "lib" not in self._choice.encoder else ""
        raise SinkError(f"cannot write {self._to} with {self._choice}: {reason}{hint}") from error


def _standard(rate: Fraction) -> Fraction:
    """The nearest of the rates that MPEG-2 knows."""
    ntsc = [Fraction(1000 * whole, 1001) for whole in (24, 30, 60)]
    return min([*ntsc, *map(Fraction, (24, 25, 30, 50, 60))], key=lambda known: abs(known - rate))


def _has_quality(choice: Choice) -> bool:
    return bool({"cq", "qp", "qmin", "profile", "lossless", "level", "x265-params"} & set(choice.settings)) or (
        choice.encoder in ("png", "rawvideo", "huffyuv", "ffvhuff", "utvideo", "qtrle", "apng")
    )


def _padded(picture: av.VideoFrame, rows: int, columns: int) -> av.VideoFrame:
    """`picture` (RGB or grey) with its last rows and columns repeated."""
    if not rows and not columns:
        return picture
    made = av.VideoFrame(picture.width + columns, picture.height + rows, picture.format.name)
    write_planes(made, [np.pad(plane, ((0, rows), (0, columns)), mode="edge") for plane in read_planes(picture)])
    return made


def _picture(frame: Frame) -> av.VideoFrame:
    """The frame to encode: the decoder's own, with the changed planes written in."""
    native, layout = frame.native, frame.layout
    if isinstance(native, av.VideoFrame):
        if frame.edited:
            write_planes(native, frame.planes)  # which gives it memory of its own first
        return native
    made = av.VideoFrame(frame.width, frame.height, layout.name)
    write_planes(made, frame.planes)
    if layout.model == "yuv":
        made.colorspace = _MATRIX_TAGS.get(layout.matrix, _UNSPECIFIED)
        made.color_range = _FULL if layout.full_range else _LIMITED
    return to_readable(made)
