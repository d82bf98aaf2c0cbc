"""Everything in the source file that is not its picture, copied packet for packet in step with the video.

Packets are read from a second opening of the file, only as far as the video has come: the muxer never has to hold a track back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream

from vidrase.frames import SourceInfo

Note = Callable[[str], None]

# What each muxer can hold besides video; None: everything. Codec names as FFmpeg has them.
_AUDIO: dict[str, set[str] | None] = {
    "webm": {"opus", "vorbis"},
    "flv": {"aac", "mp3"},
}
_SUBTITLES: dict[str, set[str]] = {
    "mp4": {"mov_text"},
    "mov": {"mov_text"},
    "webm": {"webvtt"},
    "matroska": {"subrip", "ass", "ssa", "webvtt", "hdmv_pgs_subtitle", "dvd_subtitle", "dvb_subtitle", "text"},
    "mpegts": {"dvb_subtitle", "dvb_teletext", "hdmv_pgs_subtitle"},
    "nut": {"subrip", "ass"},
}


@dataclass(slots=True)
class _Copied:
    out: Stream
    time_base: Fraction


class Remux:
    """The other tracks of a source on their way into a result."""

    def __init__(self, info: SourceInfo, result: OutputContainer, note: Note) -> None:
        """Adds the tracks to `result`; must come after the video stream was added and before the first packet."""
        self._source: InputContainer | None = None
        self._waiting: Packet | None = None
        self._tracks: dict[int, _Copied] = {}
        self._result = result
        self._packets: Iterator[Packet] = iter(())
        if info.kind != "video":
            return
        where = str(info.path) if info.path is not None else info.url
        self._source = av.open(
            where, "r", metadata_errors="replace", timeout=(20.0, 20.0) if info.path is None else None
        )
        self._add(note)
        result.metadata.update({k: v for k, v in self._source.metadata.items() if k not in _MADE_BY_MUXER})
        _copy_chapters(self._source, result, note)
        wanted = [self._source.streams[index] for index in self._tracks]
        if wanted:
            self._packets = self._source.demux(*wanted)

    @property
    def video_tags(self) -> tuple[dict[str, str], int]:
        """(metadata, disposition) of the source's first video track."""
        if self._source is None or not self._source.streams.video:
            return {}, 0
        first = next((s for s in self._source.streams.video if not _is_cover(s)), self._source.streams.video[0])
        kept = {k: v for k, v in first.metadata.items() if k.lower() not in ("encoder", "rotate", "duration")}
        return kept, int(first.disposition)

    def _add(self, note: Note) -> None:
        assert self._source is not None
        muxer = self._result.format.name.split(",")[0]
        main = next((s.index for s in self._source.streams.video if not _is_cover(s)), -1)
        for stream in self._source.streams:
            if stream.index == main:
                continue
            why = _refusal(muxer, stream)
            if why is None:
                try:
                    out = self._result.add_stream_from_template(stream)
                except (av.FFmpegError, ValueError, TypeError) as error:
                    why = f"{_called(stream)} cannot be copied into {muxer} ({error})"
                else:
                    out.metadata.update({k: v for k, v in stream.metadata.items() if k.lower() not in ("duration",)})
                    out.disposition = stream.disposition
                    if stream.time_base is not None:
                        out.time_base = stream.time_base
                    if stream.type != "attachment":
                        self._tracks[stream.index] = _Copied(out, Fraction(stream.time_base or 1))
            if why is not None:
                note(why)

    def up_to(self, seconds: Fraction) -> None:
        """Write the packets that come before `seconds` (on the file's own clock, decoding order)."""
        while (packet := self._waiting or self._next()) is not None:
            track = self._tracks[packet.stream.index]
            when = packet.dts if packet.dts is not None else packet.pts
            if when is not None and when * track.time_base > seconds:
                self._waiting = packet
                return
            self._waiting = None
            packet.stream = track.out
            self._result.mux_one(packet)

    def rest(self) -> None:
        """Write what is left: sound may last longer than the picture."""
        self.up_to(Fraction(10**12))

    def close(self) -> None:
        """Close the second opening of the source."""
        if self._source is not None:
            self._source.close()

    def _next(self) -> Packet | None:
        for packet in self._packets:
            if packet.size:  # the empty ones flush decoders; there are none here
                return packet
        return None


_MADE_BY_MUXER = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration"}


def _is_cover(stream: Stream) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _called(stream: Stream) -> str:
    codec = getattr(getattr(stream, "codec_context", None), "name", None) or stream.type
    return f"{stream.type} track {stream.index} ({codec})"


def _refusal(muxer: str, stream: Stream) -> str | None:
    """Why a track is left behind; None when it comes along."""
    codec = getattr(getattr(stream, "codec_context", None), "name", "") or ""
    if stream.type == "video":
        if _is_cover(stream):
            return "the cover picture is left out: it may still show what was removed"
        return f"{_called(stream)} is left out: only the first video track is erased, and it may still show what was removed"
    if stream.type == "audio":
        taken = _AUDIO.get(muxer)
        return (
            None if taken is None or codec in taken else f"{_called(stream)} does not fit into {muxer} and is left out"
        )
    if stream.type == "subtitle":
        fits = codec in _SUBTITLES.get(muxer, set())
        return None if fits else f"{_called(stream)} does not fit into {muxer} and is left out (an .mkv name keeps it)"
    if stream.type == "attachment":
        return None if muxer == "matroska" else f"{_called(stream)} does not fit into {muxer} and is left out"
    return f"{_called(stream)} is left out: {muxer} data tracks are not copied"


def _copy_chapters(source: InputContainer, result: OutputContainer, note: Note) -> None:
    try:
        chapters = source.chapters()
        if chapters:
            result.set_chapters(chapters)
    except (av.FFmpegError, ValueError, AttributeError) as error:
        note(f"chapters cannot be copied ({error})")
