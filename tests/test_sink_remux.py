"""The other tracks come through packet for packet; what cannot is said."""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.container import OutputContainer
from clips import pictures, write_clip
from PIL import Image

from vidrase.frames import SourceInfo
from vidrase.options import SinkOptions
from vidrase.sink import open_sink
from vidrase.sink.remux import Remux, _Track
from vidrase.source import open_source
from vidrase.streamcheck import differing_tracks, frame_times, same_times, tracks

MILLISECOND = Fraction(1, 1000)


def copy(where: Path, to: Path) -> list[str]:
    notes: list[str] = []
    with (
        open_source(where, note=notes.append) as source,
        open_sink(to, source.info, SinkOptions(), note=notes.append) as sink,
    ):
        for frame in source:
            sink.write(frame)
    return notes


def put(container: OutputContainer, stream: av.stream.Stream, data: bytes, at: int, lasting: int = 0) -> None:
    packet = av.Packet(data)
    packet.stream, packet.time_base = stream, MILLISECOND
    packet.pts = packet.dts = at
    packet.duration = lasting
    container.mux(packet)


def rich(codec: str, text: bytes, *, attachment: bool) -> Callable[[OutputContainer], None]:
    """Adds subtitles, chapters, a font."""

    def prepare(container: OutputContainer) -> None:
        stream = container.add_mux_stream(codec)
        stream.time_base = MILLISECOND
        stream.metadata.update(language="ger", title="Untertitel")
        if attachment:
            container.add_attachment("font.ttf", "application/x-truetype-font", b"FONT" * 100)
            container.add_attachment("cover.jpg", "image/jpeg", b"\xff\xd8\xff" * 100)
        titled = [(0, 100, "One"), (100, 240, "Two")]
        container.set_chapters(
            [
                {"id": n, "start": a, "end": b, "time_base": MILLISECOND, "metadata": {"title": title}}
                for n, (a, b, title) in enumerate(titled, 1)
            ]
        )
        container.start_encoding()
        for at in (0, 120):
            put(container, stream, text, at, 90)

    return prepare


def chapters(path: Path) -> list[tuple[float, float, str]]:
    with av.open(str(path)) as container:
        return [
            (float(c["start"] * c["time_base"]), float(c["end"] * c["time_base"]), c["metadata"]["title"])
            for c in container.chapters()
        ]


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
def test_subtitles_chapters_and_metadata_stay(tmp_path: Path, suffix: str) -> None:
    where, to = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    kind, text = ("subrip", b"hallo") if suffix == ".mkv" else ("mov_text", b"\0\5hallo")
    told = {"title": "a walk", "artist": "nobody", "creation_time": "2020-01-02T03:04:05.000000Z"}
    prepare = rich(kind, text, attachment=suffix == ".mkv")
    write_clip(where, pictures(9), audio=True, prepare=prepare, metadata=told)
    notes = copy(where, to)
    if suffix == ".mkv":
        assert notes == ["the cover picture is left out: it may still show what was removed"]
        kept = [track.kind for track in tracks(to)]
        assert kept == ["audio", "subtitle", "attachment"]
        assert [t.digest for t in tracks(to)] == [t.digest for t in tracks(where)][:3]
    else:
        assert notes == []
        assert differing_tracks(where, to) == []
    assert same_times(where, to)
    assert chapters(to) == chapters(where) == [(0.0, 0.1, "One"), (0.1, 0.24, "Two")]
    with av.open(str(where)) as old, av.open(str(to)) as new:
        lower = {key.lower(): value for key, value in new.metadata.items()}
        assert {key: lower[key] for key in told} == told
        for a, b in zip(old.streams, new.streams, strict=False):
            assert a.language == b.language
            assert a.disposition == b.disposition
        assert "Untertitel" in new.streams[2].metadata.values()


def test_what_does_not_fit_is_said_once(tmp_path: Path) -> None:
    where = tmp_path / "in.mkv"
    write_clip(
        where, pictures(6), audio=True, prepare=rich("subrip", b"hallo", attachment=True), metadata={"title": "t"}
    )
    subtitle = "subtitle track 2 (subrip) does not fit into {} and is left out; a name in .mkv keeps it"
    font = "attachment font.ttf does not fit into {} and is left out; a name in .mkv keeps it"
    cover = "the cover picture is left out: it may still show what was removed"
    audio = "audio track 1 (aac) does not fit into webm and is left out; a name in .mkv keeps it"
    lost = ["chapters do not fit into mpegts and are left out", "mpegts holds no metadata (title); it is left out"]
    for suffix, muxer, more in ((".mp4", "mp4", []), (".webm", "webm", [audio]), (".ts", "mpegts", lost)):
        notes = copy(where, tmp_path / f"out{suffix}")
        assert sorted(notes) == sorted([subtitle.format(muxer), font.format(muxer), cover, *more])


def test_covers_are_left_out(tmp_path: Path) -> None:
    def prepare(container: OutputContainer) -> None:
        stream = container.add_mux_stream("mjpeg", width=16, height=16)
        stream.disposition = av.stream.Disposition.attached_pic
        container.start_encoding()
        cover = io.BytesIO()
        Image.new("RGB", (16, 16)).save(cover, "JPEG")
        put(container, stream, cover.getvalue(), 0)

    where, to = tmp_path / "in.mp4", tmp_path / "out.mp4"
    write_clip(where, pictures(4), audio=True, prepare=prepare)
    assert copy(where, to) == ["the cover picture is left out: it may still show what was removed"]
    assert differing_tracks(where, to) == []
    with av.open(str(to)) as container:
        assert len(container.streams.video) == 1


def test_time_code_is_made_anew(tmp_path: Path) -> None:
    where, to = tmp_path / "in.mov", tmp_path / "out.mov"

    def stamp(container: OutputContainer) -> None:
        container.streams.video[0].metadata["timecode"] = "01:02:03:04"

    write_clip(where, pictures(4), prepare=stamp)
    assert [track.kind for track in tracks(where)] == ["data"]
    assert copy(where, to) == []
    assert differing_tracks(where, to) == []
    with av.open(str(to)) as container:
        assert container.streams.video[0].metadata["timecode"] == "01:02:03:04"


def test_measurements_in_a_transport_stream_stay(tmp_path: Path) -> None:
    start = 126000

    def prepare(container: OutputContainer) -> None:
        stream = container.add_data_stream("klv")
        stream.time_base = Fraction(1, 90000)
        container.start_encoding()
        for at in (0, 9000, 18000):
            packet = av.Packet(b"\x06\x0e\x2b\x34" + bytes(20))
            packet.stream, packet.time_base = stream, Fraction(1, 90000)
            packet.pts = packet.dts = start + at
            container.mux(packet)

    where, to = tmp_path / "in.ts", tmp_path / "out.ts"
    pts = [start + 3600 * n for n in range(12)]
    write_clip(where, pictures(12), audio=True, prepare=prepare, time_base=Fraction(1, 90000), pts=pts)
    assert copy(where, to) == []
    assert same_times(where, to)
    assert differing_tracks(where, to) == []


def sound(path: Path, codec: str, rate: int, starts: list[int]) -> None:
    """Three pictures from 0 s and a track for each of `starts` (samples)."""

    def prepare(container: OutputContainer) -> None:
        kind = {"aac": "fltp", "flac": "s16", "libopus": "flt", "pcm_s16le": "s16", "ac3": "fltp"}[codec]
        streams = [container.add_stream(codec, rate=rate, layout="mono") for _ in starts]
        for stream, start in zip(streams, starts, strict=True):
            for at in range(0, rate, 960):
                wave = np.sin(np.arange(at, at + 960) / 20) * 0.3
                samples = (wave * 32767).astype(np.int16) if kind == "s16" else wave.astype(np.float32)
                block = av.AudioFrame.from_ndarray(samples[None], format=kind, layout="mono")
                block.sample_rate, block.time_base, block.pts = rate, Fraction(1, rate), start + at
                for packet in stream.encode(block):
                    container.mux(packet)
            for packet in stream.encode():
                container.mux(packet)

    coded = "libvpx-vp9" if path.suffix == ".webm" else "libx264"
    write_clip(
        path,
        pictures(3),
        codec=coded,
        prepare=prepare,
        mux={"movie_timescale": "96000"} if path.suffix == ".mp4" else {},
    )


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        (".mp4", "aac"),
        (".mov", "pcm_s16le"),
        (".mkv", "libopus"),
        (".mkv", "flac"),
        (".webm", "libopus"),
        (".ts", "ac3"),
    ],
)
def test_every_track_of_sound_is_the_same(tmp_path: Path, suffix: str, codec: str) -> None:
    where, to = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    sound(where, codec, 48000, [0, 12345])
    assert copy(where, to) == []
    assert same_times(where, to)
    assert [track.kind for track in tracks(to)] == ["audio", "audio"]
    assert differing_tracks(where, to) == []


def test_copied_packets_wait_for_the_video(tmp_path: Path) -> None:
    where = tmp_path / "in.mp4"
    write_clip(where, pictures(3), audio=True, audio_seconds=3.0)
    read: list[float] = []

    class Result:
        """A muxer that only looks at what it gets."""

        def mux_one(self, packet: av.Packet) -> None:
            read.append(float(packet.dts * packet.time_base))

    with open_source(where) as source, av.open(io.BytesIO(), "w", format="mp4") as muxer:
        remux = Remux(source.info, muxer, print)
        remux._result = Result()  # type: ignore[assignment]
        for seconds in (Fraction(1, 2), Fraction(1), Fraction(2)):
            remux.up_to(seconds)
            assert seconds - Fraction(1, 20) < max(read) <= seconds
        remux.rest()
        assert max(read) > 2.9
        remux.close()
        remux.close()


def test_packets_that_go_back_in_time_are_moved_on(tmp_path: Path) -> None:
    where = tmp_path / "in.mp4"
    write_clip(where, pictures(2), audio=True)
    with av.open(str(where)) as container:
        stream = container.streams.audio[0]
        track = _Track(stream, stream, "mp4")

        def placed(dts: int | None) -> int:
            packet = av.Packet(b"x")
            packet.pts = packet.dts = dts
            packet.duration = 1024
            track.place(packet)
            assert packet.pts == packet.dts
            return packet.dts  # type: ignore[return-value]

        assert [placed(dts) for dts in (-1024, 0, 1024)] == [-1024, 0, 1024]
        assert track.repaired == 0
        assert [placed(dts) for dts in (1024, 900, 2048)] == [1025, 1026, 2048]
        assert placed(None) == 2048 + 1024
        assert track.repaired == 3
        # a clock that was set back goes on from where it was
        assert [placed(dts) for dts in (-96000, -94976)] == [4096, 5120]


def test_a_source_that_breaks_off_gives_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where, to = tmp_path / "in.mp4", tmp_path / "out.mp4"
    write_clip(where, pictures(3), audio=True, audio_seconds=2.0)
    add = Remux._add

    def broken(self: Remux, *given: object) -> None:
        add(self, *given)  # type: ignore[arg-type]
        whole = self._packets

        def some():  # type: ignore[no-untyped-def]
            for number, packet in enumerate(whole):
                if number == 10:
                    raise av.error.InvalidDataError(1094995529, "Invalid data found")
                yield packet

        self._packets = some()

    monkeypatch.setattr(Remux, "_add", broken)
    assert copy(where, to) == ["sound and other tracks end early: the source breaks off (Invalid data found)"]
    assert same_times(where, to)
    assert tracks(to)[0].packets == 10


def test_a_live_source_is_not_opened_twice(tmp_path: Path) -> None:
    where = tmp_path / "in.mp4"
    write_clip(where, pictures(2), audio=True)
    notes: list[str] = []
    with open_source(where) as source, av.open(io.BytesIO(), "w", format="mp4") as muxer:
        fields = {name: getattr(source.info, name) for name in SourceInfo.__dataclass_fields__}
        Remux(SourceInfo(**fields | {"rereadable": False}), muxer, notes.append).rest()
    assert notes == ["the sound of a live source is not copied: it cannot be opened twice"]


def test_tracks_are_told_apart(tmp_path: Path) -> None:
    a, b, c = (tmp_path / f"{name}.mp4" for name in "abc")
    write_clip(a, pictures(3), audio=True)
    write_clip(b, pictures(3), audio=True, audio_seconds=1.0)
    write_clip(c, pictures(4))
    assert differing_tracks(a, a) == []
    assert differing_tracks(a, b) == ["audio track 1: 7 and 48 packets"]
    assert differing_tracks(a, c) == ["tracks: audio and none"]
    assert differing_tracks(a, c, kind="subtitle") == []
    assert not same_times(a, c)
    assert frame_times(a) == [0, Fraction(1, 25), Fraction(2, 25)]
