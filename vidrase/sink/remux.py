"""Everything in the source file that is not its picture, copied packet for packet in step with the video.

Packets are read from a second opening of the file, only as far as the video has come: the muxer never has to hold a track back.
Invariant: bytes and times are the source's own; what had to be repaired goes through `note`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream

from vidrase.addresses import options_for
from vidrase.avtracks import file_url, moving
from vidrase.clock import Clock
from vidrase.errors import SinkError
from vidrase.frames import SourceInfo
from vidrase.sink.fit import add_track, codec_name, is_remade, kept_metadata, lost_by, needs_detour, refusal

Note = Callable[[str], None]

_LOOSE = {"matroska", "webm", "flv"}  # these take two packets of one time
_END_OF_SUBTITLE = b"\0\0"  # what FFmpeg's mov muxer puts into a gap between subtitles, and would put in again
_OF_THE_OLD_ENCODING = (
    "encoder",
    "rotate",
    "duration",
    "bps",
    "number_of_",
    "_statistics",
    "handler_name",
    "vendor_id",
    "alpha_mode",
)
_OF_THE_OLD_FILE = ("duration", "vendor_id")


class _Track:
    """A track on its way, with its clock."""

    def __init__(self, stream: Stream, out: Stream, muxer: str) -> None:
        self.called = f"{stream.type} track {stream.index}"
        self.out = out
        self.time_base = Fraction(stream.time_base or 1)
        self.start = Fraction(stream.start_time or 0) * self.time_base
        self._clock = Clock(self.time_base)
        self._without = 0  # packets without a time
        self._loose = stream.type in ("subtitle", "data") or muxer in _LOOSE
        self._remade_ends = muxer in ("mp4", "mov") and codec_name(stream) == "mov_text"
        self._step = 1
        self._muxed: int | None = None  # dts of the last packet, ticks of the result
        self.refused = 0
        """Packets that are damaged, so that the muxer does not take them."""

    @property
    def repaired(self) -> int:
        """Packets that had to be moved."""
        return self._clock.moved + self._without

    @property
    def set_back(self) -> int:
        """How often its clock was set back."""
        return self._clock.set_back

    @property
    def leapt(self) -> int:
        """How often its clock leapt ahead."""
        return self._clock.leapt

    def wanted(self, packet: Packet) -> bool:
        """False for packets that flush decoders, and for those that the muxer makes by itself."""
        return bool(packet.size) and not (self._remade_ends and bytes(packet) == _END_OF_SUBTITLE)

    def place(self, packet: Packet) -> None:
        """Make times that go back, which no muxer takes, go on instead; others stay as they are."""
        if packet.dts is None:
            packet.dts = packet.pts
        if packet.dts is None:
            last = self._clock.last
            self._clock.last = packet.dts = packet.pts = 0 if last is None else last + self._step
            self._without += 1
        else:
            placed = self._clock.place(packet.dts, self._step, twice=self._loose)
            if placed != packet.dts:
                self._move(packet, placed - packet.dts)
        self._step = max(1, packet.duration or 1)

    def into(self, packet: Packet) -> None:
        """Make a packet of the result of it: two times that differ here may be one there, where ticks are longer."""
        tick = Fraction(self.out.time_base or self.time_base)
        packet.stream = self.out
        assert packet.dts is not None
        dts = math.floor(packet.dts * self.time_base / tick + Fraction(1, 2))
        if self._muxed is not None and (dts < self._muxed or (dts == self._muxed and not self._loose)):
            dts = self._muxed + (not self._loose)
            self._move(packet, math.ceil(dts * tick / self.time_base) - packet.dts)
            self._clock.moved += 1
        self._muxed = dts

    @staticmethod
    def _move(packet: Packet, ticks: int) -> None:
        assert packet.dts is not None
        packet.dts += ticks
        if packet.pts is not None:
            packet.pts += ticks


class Remux:
    """The other tracks of a source on their way into a result."""

    def __init__(self, info: SourceInfo, result: OutputContainer, note: Note, muxer: str | None = None) -> None:
        """Adds the tracks to `result`; must come after the video stream was added and before the first packet.

        muxer: what writes `result` in the end; None: its own format.
        Raises SinkError when the source cannot be opened a second time.
        """
        self._source: InputContainer | None = None
        self._waiting: Packet | None = None
        self._tracks: dict[int, _Track] = {}
        self._result, self._note, self._called, self._strict = result, note, info.url, info.strict
        self._muxer = muxer or result.format.name.split(",")[0]
        self._packets: Iterator[Packet] = iter(())
        if info.kind != "video" or info.container in ("WEBP", "AVIF"):  # pictures, which hold no tracks
            return
        if not info.rereadable:
            if info.has_audio:
                note("the sound of a live source is not copied: it cannot be opened twice")
            return
        self._source = _opened(info)
        try:
            self._add(self._source, info)
        except BaseException:
            self.close()
            raise

    @property
    def video_tags(self) -> tuple[dict[str, str], int]:
        """(metadata, disposition) of the film in the source."""
        if self._source is None or (main := _main(self._source)) is None:
            return {}, 0
        metadata = {k: v for k, v in main.metadata.items() if not k.lower().startswith(_OF_THE_OLD_ENCODING)}
        return metadata, int(main.disposition)

    @property
    def starts(self) -> list[Fraction]:
        """When the copied tracks begin, seconds."""
        return [track.start for track in self._tracks.values()]

    def _add(self, source: InputContainer, info: SourceInfo) -> None:
        muxer = self._muxer
        for text in lost_by(muxer, source, info):
            self._note(text)
        main = _main(source)
        for stream in source.streams:
            if (main is not None and stream.index == main.index) or is_remade(source, stream):
                continue
            why = refusal(muxer, stream)
            if why is not None:
                self._note(why)
                continue
            out = add_track(self._result, stream)
            old = _OF_THE_OLD_FILE if muxer in ("mp4", "mov") else (*_OF_THE_OLD_FILE, "handler_name")
            out.metadata.update({k: v for k, v in stream.metadata.items() if not k.lower().startswith(old)})
            if "name" in stream.metadata:  # how the mov demuxer calls a track's title
                out.metadata.setdefault("title", stream.metadata["name"])
            out.disposition = stream.disposition
            if stream.type != "attachment":  # those are in the header
                if stream.time_base is not None:
                    out.time_base = stream.time_base
                self._tracks[stream.index] = _Track(stream, out, muxer)
        self._result.metadata.update(kept_metadata(source))
        if any("." in key for key in kept_metadata(source)) and muxer in ("mp4", "mov"):
            # keys such as com.apple.quicktime.location.ISO6709 are dropped without it
            flags = self._result.options.get("movflags", "")
            self._result.options["movflags"] = f"{flags}+use_metadata_tags"
        if chapters := source.chapters():
            if self._result.format.name == "tee":
                self._note("chapters are left out: the way that keeps this file's sound has none")
            self._result.set_chapters(chapters)
        if self._tracks:
            self._packets = source.demux(*(source.streams[index] for index in self._tracks))

    def up_to(self, seconds: Fraction) -> None:
        """Write the packets that come before `seconds` (on the file's own clock, decoding order), after the header."""
        while (packet := self._waiting or self._next()) is not None:
            track = self._tracks[packet.stream.index]
            assert packet.dts is not None
            if packet.dts * track.time_base > seconds:
                self._waiting = packet
                return
            self._waiting = None
            track.into(packet)
            try:
                self._result.mux_one(packet)
            except av.InvalidDataError:  # a damaged header, which a filter of the muxer could not make another one of
                track.refused += 1

    def rest(self) -> None:
        """Write what is left: sound may last longer than the picture."""
        self.up_to(Fraction(10**12))
        for track in self._tracks.values():
            if track.refused:
                self._damaged(f"{track.refused} packet{'s' * (track.refused > 1)} of {track.called} cannot be copied")
            if track.repaired:
                self._note(f"{track.called}: {track.repaired} packets came before their predecessors and were moved on")
            if track.set_back:
                self._note(f"{track.called}: its clock was set back {track.set_back}x; its times go on from there")
            if track.leapt:
                self._note(f"{track.called}: its clock leapt by more than a day {track.leapt}x; its times go on")

    def _damaged(self, what: str) -> None:
        text = f"{self._called} is damaged: {what}"
        if self._strict:
            raise SinkError(f"{text}; without --strict what is left is used")
        self._note(f"{text}; what is left is used (--strict makes this an error)")

    def close(self) -> None:
        """Close the second opening of the source."""
        if self._source is not None:
            self._source.close()
            self._source = None

    def _next(self) -> Packet | None:
        try:
            for packet in self._packets:
                track = self._tracks[packet.stream.index]
                if track.wanted(packet):
                    track.place(packet)
                    return packet
        except IndexError:  # PyAV's own, at the end, where damage looked like one more track
            self._packets = iter(())
        except av.FFmpegError as error:
            self._note(f"sound and other tracks end early: the source breaks off ({error.strerror or error})")
            self._packets = iter(())
        return None


def must_detour(info: SourceInfo, muxer: str) -> bool:
    """True where the sound of the source `info` fits into `muxer` only by `fit.detour`. Raises SinkError."""
    if info.kind != "video" or info.path is None or not info.has_audio or muxer != "matroska":
        return False
    with _opened(info) as source:
        return needs_detour(source, muxer)


def lost_tracks(path: Path, muxer: str, other: str) -> list[str]:
    """Codecs of the tracks of the file that fit into `other`, but not into `muxer`; none for what is no video file."""
    try:
        with av.open(file_url(path), metadata_errors="replace") as source:
            main = _main(source)
            copied = [s for s in source.streams if (main is None or s.index != main.index) and not is_remade(source, s)]
            lost = [s for s in copied if refusal(muxer, s) is not None and refusal(other, s) is None]
            return [codec_name(stream) or stream.type for stream in lost]
    except (av.FFmpegError, OSError, ValueError):
        return []


def _opened(info: SourceInfo) -> InputContainer:
    where = file_url(info.path) if info.path is not None else info.url
    try:
        timeout = (20.0, 30.0) if info.path is None else None
        options = options_for(info.references)
        return av.open(where, "r", metadata_errors="replace", timeout=timeout, options=options)
    except (av.FFmpegError, OSError) as error:
        raise SinkError(f"cannot open {info.url} a second time, for its sound: {error}") from error


def _main(source: InputContainer) -> Stream | None:
    """The track that is erased."""
    return next(iter(moving(source)), None)
