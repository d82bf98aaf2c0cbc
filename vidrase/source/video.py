"""Video files, URLs and spooled pipes through PyAV: every frame, in order, with its own samples and time.

Invariant: planes, pts and side data are the decoder's own. What had to be done in another way goes through `note`.
"""

from __future__ import annotations

import errno
import heapq
import itertools
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import av

from vidrase.addresses import options_for
from vidrase.avplanes import layout_of, read_planes, readable_like
from vidrase.avtracks import moving
from vidrase.closable import Closable
from vidrase.errors import DecodeError, SourceError, SourceNotFound, UnsupportedSource
from vidrase.frames import Frame
from vidrase.source import ending, gif
from vidrase.source.describe import claimed_seconds, codec_name, describe, readable_frame, reason
from vidrase.source.losses import Damage, Losses
from vidrase.source.spool import Spool
from vidrase.source.timeline import Timeline

Note = Callable[[str], None]

OPEN_SECONDS = 20.0  # a server that has not answered by then will not
READ_SECONDS = 30.0  # longest silence in the middle of a stream
EXACT = frozenset({"mov", "mp4", "avi", "matroska", "webm"})  # their headers say how long a track is, to the frame
TEXT_DEMUXERS = frozenset({"tty", "bin", "xbin", "idf", "adf"})  # FFmpeg would draw a text file as video
_READS_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # the transparency lies beside each packet
LIVE_SCHEMES = frozenset({"rtsp", "rtsps", "rtmp", "rtmps", "udp", "rtp", "srt", "tcp"})


class VideoSource(Closable):
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
        strict: bool = False,
        references: bool = False,
        loops: int | None = None,
    ) -> None:
        """Open `where` and decode its first frame. `path` None: a URL. `spool` is removed on `close`. `loops`: for the info.

        strict: raise DecodeError at the end of a reading that found something missing.
        Raises SourceNotFound, UnsupportedSource or DecodeError.
        """
        self._where, self._shown, self._threads, self._spool = where, shown, threads, spool
        self._references = references
        self._said: set[str] = set()
        self._tell, self._strict = note, strict
        self.damage = Damage()
        self._timeouts = None if path is not None else (OPEN_SECONDS, READ_SECONDS)
        live = path is None and where.partition("://")[0].lower() in LIVE_SCHEMES
        self._closed = self._read = False
        self._open: list[Decoding] = []
        self._pending: Decoding | None = self.decoding()
        try:
            first = self._pending.peek()
            if first is None:
                codec = codec_name(self._pending.stream)
                raise UnsupportedSource(f"{shown} holds no frame that can be decoded (codec {codec})")
            self._claimed = claimed_seconds(self._pending.container, self._pending.stream)
            info = describe(self._pending.container, self._pending.stream, first, path, shown, rereadable=not live)
            self.info = replace(info, references=references, strict=strict, loops=loops)
            self._pending.losses.step = self._step()
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
        claimed = self._claimed
        try:
            for index, native in enumerate(decoded):
                pts = timeline.place(native.pts, native.dts)
                start = pts if start is None else start
                if (other := self._other_kind(native)) is not None:
                    self._tell_change(other, index, float((pts - start) * self.info.time_base))
                    decoded.losses.stop()
                    claimed = None
                    break
                frame = self.frame(native, index, pts)
                del native
                yield frame
                del frame
            if not self._closed:  # else it stopped because it was made to
                timeline.report(self._note)
                self._tell_losses(decoded, claimed)
        finally:
            decoded.close()

    def frame(self, native: av.VideoFrame, index: int, pts: int) -> Frame:
        """A frame of the decoder as ours. Raises DecodeError when its size or pixel format is not the first one's."""
        info = self.info
        if (other := self._other_kind(native)) is not None:
            raise DecodeError(f"frame {index} of {self._shown} is not like the ones before: {other}")
        shown = readable_frame(native, self._shown)
        layout = layout_of(shown)
        shown.pts, shown.time_base = pts, info.time_base
        planes, duration = read_planes(shown), native.duration or 0
        return Frame(planes, layout, index, pts, info.time_base, duration, info.orientation, native=shown)

    def _other_kind(self, native: av.VideoFrame) -> str | None:
        """What is no longer as in the first frame, in words; None: size and pixel format are the same."""
        info = self.info
        if (native.height, native.width) != (info.height, info.width):
            return f"from {info.width}x{info.height} to {native.width}x{native.height}"
        name = readable_like(native.format.name)[0]
        return f"from {info.layout.name} to {name}" if name != info.layout.name else None

    def _tell_change(self, other: str, index: int, at: float) -> None:
        """One result has one size: what comes before is whole, and the rest is named instead of scaled."""
        text = f"{self._shown} changes {other} at {at:.2f} s (frame {index})"
        if self._strict:
            raise DecodeError(f"{text}; without --strict the frames before are used")
        self._note(
            f"{text}: the frames before are done, the rest is left out;"
            f" cut the file there (ffmpeg -ss {at:.2f} -i FILE -c copy REST.mkv) and give the rest as a clip of its own"
        )

    def _decode(
        self, container: av.container.InputContainer, stream: av.VideoStream, losses: Losses
    ) -> Generator[av.VideoFrame, None, None]:
        """Frames as the decoder gives them; damaged packets are left out and counted, a broken file ends early."""
        stream.thread_type = "AUTO"
        stream.thread_count = self._threads or 0
        decoder = transparent_decoder(stream) or stream
        waiting: list[int] | None = [] if decoding_order(container, stream) else None
        packets = container.demux()  # of all tracks: what is missing of the sound says where pictures are missing
        ended = False
        while not ended:
            packet = self._next_packet(packets, losses)
            ended = packet is None
            if packet is not None:
                losses.packet(packet)
                if packet.stream is not stream:
                    continue
            if waiting is not None and packet is not None and packet.pts is not None:
                heapq.heappush(waiting, packet.pts)
            try:
                frames = decoder.decode(packet)
            except (EOFError, av.FFmpegError) as error:
                if getattr(error, "errno", None) == errno.ENOMEM:
                    raise MemoryError(f"a frame of {self._shown} does not fit into memory") from error
                if not ended:  # at the end: flushed already by the demuxer's own last packet
                    losses.failed()
                continue
            for frame in frames:
                if waiting:
                    frame.pts = heapq.heappop(waiting)
                losses.frame(frame)
                yield frame
                del frame
            del frames

    def _next_packet(self, packets: Iterator[av.Packet], losses: Losses) -> av.Packet | None:
        try:
            return next(packets, None)
        except IndexError:  # PyAV's own, at the end, where damage looked like one more track
            return None
        except av.FFmpegError as error:
            if self._timeouts is not None:
                raise DecodeError(f"{self._shown} broke off: {reason(error)}") from error
            losses.broken = reason(error)
            return None

    def _tell_losses(self, decoded: Decoding, claimed: float | None) -> None:
        kind = decoded.container.format.name
        if self.info.path is not None and not decoded.losses.broken:
            decoded.losses.broken = gif.fault(self.info.path) if kind == "gif" else ending.fault(self.info.path, kind)
        exact = bool(EXACT & set(decoded.container.format.name.split(",")))
        self.damage = decoded.losses.damage(claimed=claimed, exact=exact, size=decoded.container.size)
        if not self.damage:
            return
        text = f"{self._shown} is damaged: {self.damage.text()}"
        if self._strict:
            raise DecodeError(f"{text}; without --strict what is left is used")
        self._note(f"{text}; what is left is used (--strict makes this an error)")

    def _step(self) -> float:
        """Usual ticks from frame to frame."""
        rate = self.info.frame_rate or 25
        return float(1 / (rate * self.info.time_base))

    def decoding(self) -> Decoding:
        """The decoder's frames from the beginning, in a container of their own that the caller closes."""
        if self._read and not self.info.rereadable:
            raise SourceError(f"{self._shown} is live and cannot be read a second time; record it to a file first")
        self._read = True
        container = open_container(
            self._where, self._shown, timeouts=self._timeouts, options=options_for(self._references)
        )
        try:
            stream = pick_stream(container, self._shown)
        except BaseException:
            container.close()
            raise
        losses = Losses(stream, container.format.name, times=not decoding_order(container, stream))
        if hasattr(self, "info"):
            losses.step = self._step()
        decoding = Decoding(container, stream, self._decode(container, stream, losses), losses, self._open)
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


def open_container(
    where: str, shown: str, *, timeouts: tuple[float, float] | None = None, options: dict[str, str] | None = None
) -> av.container.InputContainer:
    """`where` opened for reading. Raises SourceNotFound or UnsupportedSource, in one line, with `shown` as its name."""
    try:
        container = av.open(where, metadata_errors="replace", timeout=timeouts, options=options or {})
    except FileNotFoundError as error:
        raise SourceNotFound(f"no such file: {shown}") from error
    except (PermissionError, IsADirectoryError) as error:
        raise UnsupportedSource(f"{shown} cannot be read: {reason(error)}") from error
    except av.FFmpegError as error:
        if timeouts is not None:
            raise SourceNotFound(f"{shown} cannot be opened: {reason(error)}") from error
        raise UnsupportedSource(f"{shown} is not a video or picture that can be read ({reason(error)})") from error
    except (OSError, ValueError) as error:
        raise UnsupportedSource(f"{shown} cannot be read: {reason(error)}") from error
    if TEXT_DEMUXERS & set(container.format.name.split(",")):
        container.close()
        raise UnsupportedSource(f"{shown} is a text file; expected a video or a picture")
    return container


def decoding_order(container: av.container.InputContainer, stream: av.VideoStream) -> bool:
    """True where pts are those of the packets in order: AVI has one number a packet, and no word about B-frames.

    The k-th frame is then shown at the k-th time, whatever packet it came in.
    """
    return container.format.name == "avi" and bool(stream.codec_context.reorder_depth)


def transparent_decoder(stream: av.VideoStream) -> av.VideoCodecContext | None:
    """A decoder that reads the transparency of VP8 and VP9, which FFmpeg's own leave out.

    None where the stream says nothing of any, or where this FFmpeg has no libvpx.
    """
    name = _READS_ALPHA.get(stream.codec_context.name)
    if name is None or stream.metadata.get("alpha_mode") != "1":
        return None
    try:
        return cast(av.VideoCodecContext, av.CodecContext.create(name, "r"))
    except (av.FFmpegError, ValueError):
        return None


def pick_stream(container: av.container.InputContainer, shown: str) -> av.VideoStream:
    """The film: see `moving`. Raises UnsupportedSource when there is no video, or none that can be decoded."""
    shown_here = moving(container)
    if not shown_here:
        held = "sound" if container.streams.audio else "no"
        what = "holds sound but no video" if held == "sound" else "holds no video"
        raise UnsupportedSource(f"{shown} {what}; expected a video or a picture")
    stream = shown_here[0]
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
        losses: Losses,
        among: list[Decoding],
    ) -> None:
        self.container, self.stream, self._frames, self._among = container, stream, frames, among
        self.losses = losses
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
        try:
            self._frames.close()
        except ValueError:  # at work in another thread, which closes it when it stops
            return
        self.container.close()
