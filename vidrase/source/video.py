"""Video files, URLs and spooled pipes through PyAV: every frame, in order, with its own samples and time.

Invariant: planes, pts and side data are the decoder's own. What had to be done in another way goes through `note`.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Generator, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
from av.stream import Disposition

from vidrase.avplanes import layout_of, read_planes, readable_like, to_readable
from vidrase.errors import DecodeError, ShapeError, SourceError, SourceNotFound, UnsupportedSource
from vidrase.frames import UPRIGHT, Frame, Orientation, SourceInfo
from vidrase.source.spool import Spool
from vidrase.source.tags import HDR_TRANSFERS, colour_tags, orientation_of
from vidrase.source.timeline import Timeline

Note = Callable[[str], None]

OPEN_SECONDS = 20.0  # a server that has not answered by then will not
READ_SECONDS = 30.0  # longest silence in the middle of a stream
EARLY_SECONDS = 0.5  # containers round their claims; less than this missing is not worth a word
TEXT_DEMUXERS = frozenset({"tty", "bin", "xbin", "idf", "adf"})  # FFmpeg would draw a text file as video
LIVE_SCHEMES = frozenset({"rtsp", "rtsps", "rtmp", "rtmps", "udp", "rtp", "srt", "tcp"})


class VideoSource:
    """One video stream of one container. Iterating again starts from the first frame."""

    def __init__(
        self,
        where: str,
        *,
        path: Path | None,
        shown: str,
        note: Note,
        threads: int | None = None,
        spool: Spool | None = None,
    ) -> None:
        """Open `where` and decode its first frame. `path` None: a URL. `spool` is removed on `close`.

        Raises SourceNotFound, UnsupportedSource or DecodeError.
        """
        self._where, self._shown, self._threads, self._spool = where, shown, threads, spool
        self._said: set[str] = set()
        self._tell = note
        self._timeouts = None if path is not None else (OPEN_SECONDS, READ_SECONDS)
        live = path is None and where.partition("://")[0].lower() in LIVE_SCHEMES
        self._closed = self._read = False
        self._open: list[Decoding] = []
        self._pending: Decoding | None = self.decoding()
        try:
            first = self._pending.peek()
            if first is None:
                codec = _codec(self._pending.stream)
                raise UnsupportedSource(f"{shown} holds no frame that can be decoded (codec {codec})")
            self.info = _describe(
                self._pending.container, self._pending.stream, first, path, shown, rereadable=not live
            )
        except BaseException:
            self._pending.close()
            raise

    def __iter__(self) -> Iterator[Frame]:
        if self._closed:
            raise SourceError(f"{self._shown} was closed")
        return self._frames()

    def _frames(self) -> Generator[Frame, None, None]:
        decoded, self._pending = self._pending, None
        if decoded is None:
            decoded = self.decoding()
        timeline = Timeline(self.info.time_base, self.info.frame_rate)
        start: int | None = None
        try:
            for index, native in enumerate(decoded):
                frame = self.frame(native, index, timeline.place(native.pts, native.dts))
                start = frame.pts if start is None else start
                del native
                yield frame
                del frame
            timeline.report(self._note)
            self._tell_if_early(timeline, start)
        finally:
            decoded.close()

    def frame(self, native: av.VideoFrame, index: int, pts: int) -> Frame:
        """A frame of the decoder as ours. Raises DecodeError when its size or pixel format is not the first one's."""
        info = self.info
        if (native.height, native.width) != (info.height, info.width):
            raise DecodeError(
                f"frame {index} of {self._shown} is {native.width}x{native.height}, the ones before {info.width}x{info.height};"
                " expected one size, so cut or scale the parts first"
            )
        shown = _readable(native, self._shown)
        layout = layout_of(shown)
        if layout.name != self.info.layout.name:
            raise DecodeError(
                f"frame {index} of {self._shown} is {layout.name}, the ones before {self.info.layout.name};"
                " expected one pixel format, so convert the parts first"
            )
        shown.pts, shown.time_base = pts, info.time_base
        planes, duration = read_planes(shown), native.duration or 0
        return Frame(planes, layout, index, pts, info.time_base, duration, info.orientation, native=shown)

    def _decode(
        self, container: av.container.InputContainer, stream: av.VideoStream
    ) -> Generator[av.VideoFrame, None, None]:
        """Frames as the decoder gives them; damaged packets are left out and counted, a broken file ends early."""
        stream.thread_type = "AUTO"
        stream.thread_count = self._threads or 0
        damaged = 0
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                if self._timeouts is not None:
                    raise DecodeError(f"{self._shown} broke off: {_reason(error)}") from error
                self._note(f"{self._shown} is damaged towards its end ({_reason(error)}): what was before it is used")
                packet = None
            if packet is None:
                break
            try:
                frames = packet.decode()
            except av.FFmpegError:
                damaged += 1
                continue
            yield from frames
            del frames
        with contextlib.suppress(EOFError, av.FFmpegError):  # mostly flushed already by the demuxer's own last packet
            yield from stream.decode(None)
        if damaged:
            self._note(f"{damaged} damaged packet{'s' if damaged > 1 else ''} of {self._shown} could not be decoded")

    def _tell_if_early(self, timeline: Timeline, start: int | None) -> None:
        claimed, end = self.info.duration_seconds, timeline.end_seconds
        if claimed is None or end is None or start is None or not _trusted(self.info):
            return
        lasted = end - float(start * self.info.time_base)
        if lasted < claimed - max(EARLY_SECONDS, 0.02 * claimed):
            self._note(f"{self._shown} ended early, at {lasted:.1f} s of {claimed:.1f} s")

    def decoding(self) -> Decoding:
        """The decoder's frames from the beginning, in a container of their own that the caller closes."""
        if self._read and not self.info.rereadable:
            raise SourceError(f"{self._shown} is live and cannot be read a second time; record it to a file first")
        self._read = True
        container = open_container(self._where, self._shown, timeouts=self._timeouts)
        try:
            stream = pick_stream(container, self._shown)
        except BaseException:
            container.close()
            raise
        decoding = Decoding(container, stream, self._decode(container, stream), self._open)
        self._open.append(decoding)
        return decoding

    def _note(self, text: str) -> None:
        if text not in self._said:  # a clip is read twice; it is broken once
            self._said.add(text)
            self._tell(text)

    def close(self) -> None:
        """Close the file and remove a temporary copy; may be called again."""
        self._closed = True
        self._pending = None
        for decoding in list(self._open):
            decoding.close()
        if self._spool is not None:
            self._spool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_container(
    where: str, shown: str, *, timeouts: tuple[float, float] | None = None
) -> av.container.InputContainer:
    """`where` opened for reading. Raises SourceNotFound or UnsupportedSource, in one line, with `shown` as its name."""
    try:
        container = av.open(where, metadata_errors="replace", timeout=timeouts)
    except FileNotFoundError as error:
        raise SourceNotFound(f"no such file: {shown}") from error
    except (PermissionError, IsADirectoryError) as error:
        raise UnsupportedSource(f"{shown} cannot be read: {_reason(error)}") from error
    except av.FFmpegError as error:
        if timeouts is not None:
            raise SourceNotFound(f"{shown} cannot be opened: {_reason(error)}") from error
        raise UnsupportedSource(f"{shown} is not a video or picture that can be read ({_reason(error)})") from error
    except (OSError, ValueError) as error:
        raise UnsupportedSource(f"{shown} cannot be read: {_reason(error)}") from error
    if TEXT_DEMUXERS & set(container.format.name.split(",")):
        container.close()
        raise UnsupportedSource(f"{shown} is a text file; expected a video or a picture")
    return container


def pick_stream(container: av.container.InputContainer, shown: str) -> av.VideoStream:
    """The first video stream that is not cover art. Raises UnsupportedSource when there is none that can be decoded."""
    moving = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not moving:
        held = "sound" if container.streams.audio else "no"
        what = "holds sound but no video" if held == "sound" else "holds no video"
        raise UnsupportedSource(f"{shown} {what}; expected a video or a picture")
    stream = moving[0]
    if stream.codec_context is None:
        raise UnsupportedSource(f"{shown}: this FFmpeg has no decoder for its video; convert it to H.264 first")
    return stream


class Decoding:
    """The frames of one stream from its beginning; the first can be looked at before it is taken."""

    def __init__(
        self,
        container: av.container.InputContainer,
        stream: av.VideoStream,
        frames: Generator[av.VideoFrame, None, None],
        among: list[Decoding],
    ) -> None:
        self.container, self.stream, self._frames, self._among = container, stream, frames, among
        self._first: list[av.VideoFrame] = []

    def peek(self) -> av.VideoFrame | None:
        """The frame that comes next, None when there is none."""
        if not self._first:
            self._first.extend(itertools.islice(self._frames, 1))
        return self._first[0] if self._first else None

    def __iter__(self) -> Iterator[av.VideoFrame]:
        if self._first:
            yield self._first.pop()
        yield from self._frames

    def close(self) -> None:
        """Close the container; may be called again."""
        if self in self._among:
            self._among.remove(self)
        self._frames.close()
        self.container.close()


def _readable(native: av.VideoFrame, shown: str) -> av.VideoFrame:
    try:
        return to_readable(native)
    except (ShapeError, OSError) as error:
        raise UnsupportedSource(f"{shown} has pixel format {native.format.name}, which cannot be read") from error


def _describe(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    native: av.VideoFrame,
    path: Path | None,
    shown: str,
    *,
    rereadable: bool,
) -> SourceInfo:
    """What is known from the container and its first frame."""
    notes = []
    first = _readable(native, shown)
    layout = layout_of(first)
    if not readable_like(native.format.name)[1]:
        notes.append(f"pixel format {native.format.name} is read as {layout.name}")
    orientation = _orientation(native, notes)
    context = stream.codec_context
    colour = colour_tags(
        native.color_range or context.color_range,
        native.color_primaries if native.color_primaries != 2 else context.color_primaries,
        native.color_trc if native.color_trc != 2 else context.color_trc,
        native.colorspace if native.colorspace != 2 else context.colorspace,
    )
    if native.interlaced_frame:
        notes.append("interlaced: the two fields of a frame are treated as one picture")
    if hdr := HDR_TRANSFERS.get(colour.get("transfer", "")):
        notes.append(f"HDR ({hdr}): kept as it is; detection sees it without tone mapping")
    if stream.metadata.get("alpha_mode") == "1" and not layout.alpha:
        notes.append("the transparency of this video cannot be read and is left out")
    others = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic][1:]
    if others:
        notes.append(f"holds {len(others) + 1} video streams: the first is worked on")
    rate = _rate(stream)
    seconds = _duration(container, stream)
    count = stream.frames or (round(seconds * rate) if seconds and rate else None)
    return SourceInfo(
        kind="video",
        path=path,
        url=shown,
        width=native.width,
        height=native.height,
        layout=layout,
        time_base=stream.time_base or Fraction(1, 90000),
        frame_rate=rate,
        frame_count=count,
        duration_seconds=seconds,
        orientation=orientation,
        sample_aspect_ratio=stream.sample_aspect_ratio or None,
        container=container.format.name,
        codec=_codec(stream),
        bit_rate=stream.bit_rate or container.bit_rate or None,
        interlaced=bool(native.interlaced_frame),
        has_audio=bool(container.streams.audio),
        rereadable=rereadable,
        colour=colour,
        notes=tuple(notes),
    )


def _orientation(frame: av.VideoFrame, notes: list[str]) -> Orientation:
    data: Any = frame.side_data.get("DISPLAYMATRIX")  # PyAV's stub says str
    matrix = bytes(data) if data is not None else None
    if matrix is None:
        return UPRIGHT
    found = orientation_of(matrix)
    if found is None:
        notes.append(f"turned by {frame.rotation} degrees for display: looked at as stored, the turn stays in the file")
    return found or UPRIGHT


def _rate(stream: av.VideoStream) -> Fraction | None:
    average, guessed = stream.average_rate, stream.guessed_rate
    if average and guessed and abs(average - guessed) < average / 100:
        return guessed  # 30000/1001 rather than the 2997003/100000 that an average comes to
    return average or guessed or None


def _duration(container: av.container.InputContainer, stream: av.VideoStream) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    tag = stream.metadata.get("DURATION", "")  # Matroska: "00:00:10.000000000", measured from zero
    parts = tag.split(":")
    if len(parts) == 3:
        try:
            hours, minutes, seconds = (float(part) for part in parts)
        except ValueError:
            pass
        else:
            start = float((stream.start_time or 0) * stream.time_base) if stream.time_base else 0.0
            return hours * 3600 + minutes * 60 + seconds - start
    if container.duration:
        return container.duration / av.time_base
    return None


def _trusted(info: SourceInfo) -> bool:
    """True where the length is written in the header; elsewhere FFmpeg estimates it from the bit rate."""
    written = {"mov", "mp4", "matroska", "webm", "avi", "asf", "flv"}
    return bool(written & set(info.container.split(",")))


def _codec(stream: av.VideoStream) -> str:
    return stream.codec_context.codec.name if stream.codec_context is not None else "unknown"


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return str(text).splitlines()[0] if text else type(error).__name__
