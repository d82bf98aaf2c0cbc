"""Which encoder a source gets, and that its pixels, tags and side data survive it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from clips import pictures, write_clip

from vidrase.avplanes import layout_named, read_planes, to_readable
from vidrase.errors import OptionError, SinkError
from vidrase.frames import SourceInfo
from vidrase.options import SinkOptions
from vidrase.sink import open_sink
from vidrase.sink.encoders import choose
from vidrase.source import open_source
from vidrase.streamcheck import frame_times, same_times

HDR = {"color_range": 1, "color_primaries": 9, "color_trc": 16, "colorspace": 9}


def copy(where: Path, to: Path, **options: Any) -> list[str]:
    notes: list[str] = []
    with (
        open_source(where) as source,
        open_sink(to, source.info, SinkOptions(**options), note=notes.append) as sink,
    ):
        for frame in source:
            sink.write(frame)
    return notes


def planes_of(path: Path) -> list[tuple[np.ndarray, ...]]:
    with av.open(str(path)) as container:
        return [read_planes(to_readable(frame)) for frame in container.decode(video=0)]


def same_samples(a: Path, b: Path) -> bool:
    old, new = planes_of(a), planes_of(b)
    assert len(old) == len(new)
    return all(np.array_equal(x, y) for one, two in zip(old, new, strict=True) for x, y in zip(one, two, strict=True))


def info(
    pix_fmt: str = "yuv420p", width: int = 64, height: int = 48, codec: str = "h264", kind: str = "video"
) -> SourceInfo:
    layout = layout_named(pix_fmt)
    return SourceInfo(kind, None, "clip", width, height, layout, Fraction(1, 25), codec=codec)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("suffix", "source", "encoder", "pix_fmt"),
    [
        (".mp4", info(), "libx264", "yuv420p"),
        (".mov", info("yuv422p10le"), "libx264", "yuv422p10le"),
        (".mkv", info("yuv444p"), "libx264", "yuv444p"),
        (".webm", info(), "libvpx-vp9", "yuv420p"),
        (".ts", info(), "libx264", "yuv420p"),
        (".mp4", info("yuvj420p"), "libx264", "yuvj420p"),
        (".mp4", info("yuv420p10le", codec="hevc"), "libx265", "yuv420p10le"),
        (".mp4", info("yuv420p10le", codec="libdav1d"), "libx265", "yuv420p10le"),
        (".webm", info("yuv420p10le"), "libsvtav1", "yuv420p10le"),
        (".mov", info("yuv422p10le", codec="prores"), "prores_ks", "yuv422p10le"),
        (".mov", info("yuva444p12le", codec="prores"), "prores_ks", "yuva444p10le"),
        (".mkv", info("yuva444p12le"), "ffv1", "yuva444p12le"),
        (".webm", info("yuva444p12le"), "libvpx-vp9", "yuva420p"),
        (".mp4", info("bgra"), "libx264", "yuv444p"),
        (".mp4", info("gray"), "libx264", "gray"),
        (".mp4", info(width=63), "libvpx-vp9", "yuv420p"),
        (".mkv", info(height=47), "ffv1", "yuv420p"),
        (".mkv", info("yuv420p12le"), "libx265", "yuv420p12le"),
        (".mp4", info("yuv422p", height=47), "libx264", "yuv422p"),
        (".mp4", info("rgb24", width=63, kind="frames"), "libx264", "yuv444p"),
    ],
)
def test_the_encoder_follows_from_name_and_source(suffix: str, source: SourceInfo, encoder: str, pix_fmt: str) -> None:
    choice = choose(suffix, source, SinkOptions())
    assert (choice.encoder, choice.pix_fmt) == (encoder, pix_fmt)
    unlike = (
        encoder not in ("libx264", "libvpx-vp9" if suffix == ".webm" else "libx264") or pix_fmt != source.layout.name
    )
    assert bool(choice.notes) == unlike


@pytest.mark.parametrize(
    ("asked", "codec", "encoder"),
    [
        ("H264", "h264", "libx264"),
        ("hevc", "h264", "libx265"),
        ("av1", "h264", "libsvtav1"),
        ("same", "vp9", "libvpx-vp9"),
        ("same", "libdav1d", "libsvtav1"),
        ("copy", "mjpeg", "mjpeg"),
        ("ffv1", "h264", "ffv1"),
        ("libx264", "h264", "libx264"),
    ],
)
def test_encoders_have_friendly_names(asked: str, codec: str, encoder: str) -> None:
    assert choose(".mkv", info(codec=codec), SinkOptions(codec=asked)).encoder == encoder


@pytest.mark.parametrize(
    ("suffix", "source", "options", "what"),
    [
        (".mp4", info(), {"codec": "nonesuch"}, "nonesuch is not in this build"),
        (".mp4", info(), {"codec": "aac"}, "aac is not in this build"),
        (".mp4", info(), {"codec": "prores"}, "prores_ks does not fit into mp4"),
        (".mp4", info(width=63), {"codec": "h264"}, "cannot encode 63x48 yuv420p without cropping"),
        (".ts", info(width=63), {}, "give --codec ffv1 and an .mkv name"),
        (".mp4", info(), {"pix_fmt": "pal8"}, "does not take --pix-fmt pal8; it takes yuv420p"),
        (".mp4", info(), {"preset": "warp9"}, "has no --preset 'warp9'; expected one of ultrafast"),
        (".mkv", info(), {"codec": "ffv1", "preset": "fast"}, "ffv1 has no presets"),
        (".mp4", info(), {"crf": 60.0}, "expected 0 .best. to 51 for libx264, got 60"),
        (".mkv", info(), {"codec": "ffv1", "crf": 20.0}, "ffv1 has no quality figure"),
        (".mov", info("yuva444p12le"), {"lossless": True}, "does not take yuva444p12le as it is"),
        (".mkv", info(kind="frames"), {"codec": "same"}, "needs a video as input"),
        (".xyz", info(), {}, "cannot write video as '.xyz'"),
    ],
)
def test_impossible_options_are_one_line(suffix: str, source: SourceInfo, options: dict, what: str) -> None:
    with pytest.raises(OptionError, match=what) as caught:
        choose(suffix, source, SinkOptions(**options))
    assert "\n" not in str(caught.value)


def test_settings_reach_the_encoder() -> None:
    assert "crf=20 preset=slow" in str(choose(".mp4", info(), SinkOptions(crf=20, preset="slow")))
    assert "crf=30" in str(choose(".webm", info(), SinkOptions(crf=30)))
    assert "cpu-used=2" in str(choose(".webm", info(), SinkOptions(preset="2")))
    assert "qmin=5 qmax=5" in str(choose(".avi", info(), SinkOptions(codec="mpeg4", crf=5)))
    assert "qp=0" in str(choose(".mp4", info(), SinkOptions(lossless=True)))


@pytest.mark.parametrize(
    ("suffix", "codec", "pix_fmt", "options"),
    [
        (".mp4", "libx264rgb", "bgr24", {}),
        (".mkv", "ffv1", "bgra", {}),
        (".mkv", "ffv1", "yuv420p12le", {}),
        (".mkv", "ffv1", "gray16le", {}),
        (".mkv", "libx264", "yuvj420p", {}),
        (".mkv", "libx264", "yuvj420p", {"codec": "vp9"}),
        (".mkv", "libx264", "yuvj420p", {"codec": "ffv1"}),
        (".mkv", "libx264", "yuv420p10le", {"codec": "hevc"}),
        (".mov", "libx264", "yuv422p", {}),
    ],
)
def test_lossless_is_lossless(tmp_path: Path, suffix: str, codec: str, pix_fmt: str, options: dict) -> None:
    where, to = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    colour = {"color_range": 2} if pix_fmt.startswith("yuvj") else {}
    write_clip(where, pictures(3), codec=codec, pix_fmt=pix_fmt, colour=colour, options={"crf": "20"})
    copy(where, to, lossless=True, **options)
    assert same_samples(where, to)
    with open_source(where) as old, open_source(to) as new:
        assert old.info.layout.full_range == new.info.layout.full_range


@pytest.mark.parametrize("size", [(41, 53), (481, 853)])
@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".webm"])
def test_odd_sizes_come_through_whole(tmp_path: Path, suffix: str, size: tuple[int, int]) -> None:
    where, to = tmp_path / "in.mkv", tmp_path / f"out{suffix}"
    write_clip(where, pictures(2, *size), codec="ffv1")
    copy(where, to, lossless=True)
    assert same_samples(where, to)


def test_default_quality_is_visually_lossless(tmp_path: Path) -> None:
    where, to = tmp_path / "in.mp4", tmp_path / "out.mp4"
    write_clip(where, pictures(6), options={"crf": "23", "preset": "medium"})
    copy(where, to)
    errors = [np.mean((a[0].astype(float) - b[0]) ** 2) for a, b in zip(planes_of(where), planes_of(to), strict=True)]
    assert 10 * np.log10(255**2 / np.mean(errors)) > 42


@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9", "av1", "ffv1", "prores", "mpeg4", "mjpeg"])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_short_clips_keep_times_with_every_encoder(tmp_path: Path, codec: str, count: int) -> None:
    where, to = tmp_path / "in.mp4", tmp_path / ("out.mov" if codec in ("prores", "mjpeg") else "out.mkv")
    write_clip(where, pictures(count))
    copy(where, to, codec=codec)
    assert frame_times(to) == [Fraction(n, 25) for n in range(count)]


def hdr_numbers(path: Path) -> dict[str, bytes]:
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        wanted = ("MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL")
        return {data.type.name: bytes(data) for data in frame.side_data if data.type.name in wanted}  # type: ignore[union-attr]


def test_hdr_numbers_stay(tmp_path: Path) -> None:
    where = tmp_path / "in.mp4"
    display = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    options = {"x265-params": f"log-level=error:master-display={display}:max-cll=1000,400"}
    write_clip(where, pictures(8), codec="libx265", pix_fmt="yuv420p10le", colour=HDR, options=options)
    assert len(hdr_numbers(where)) == 2
    for name, codec in (("a.mp4", None), ("b.mkv", "h264")):
        copy(where, tmp_path / name, codec=codec)
        assert hdr_numbers(tmp_path / name) == hdr_numbers(where)
        with open_source(where) as old, open_source(tmp_path / name) as new:
            assert old.info.colour == new.info.colour
            assert new.info.layout.bits == 10
    copy(where, tmp_path / "c.mp4", codec="av1")  # which has its own fixed point
    assert hdr_numbers(tmp_path / "c.mp4")["CONTENT_LIGHT_LEVEL"] == hdr_numbers(where)["CONTENT_LIGHT_LEVEL"]
    assert "MASTERING_DISPLAY_METADATA" in hdr_numbers(tmp_path / "c.mp4")
    notes = copy(where, tmp_path / "d.mkv", codec="ffv1")
    assert notes == ["HDR mastering metadata cannot be carried by ffv1 here and is left out"]
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].codec_context.codec_tag == "hvc1"


def test_fields_stay_fields(tmp_path: Path) -> None:
    where, to = tmp_path / "in.mp4", tmp_path / "out.mp4"
    write_clip(where, pictures(3), options={"flags": "+ildct+ilme", "x264-params": "tff=1"})
    copy(where, to)
    with open_source(where) as old, open_source(to) as new:
        assert old.info.interlaced
        assert new.info.interlaced


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".mov", ".ts", ".avi"])
def test_rotation_stays_or_is_said(tmp_path: Path, suffix: str) -> None:
    where, to = tmp_path / "in.mp4", tmp_path / f"out{suffix}"
    write_clip(where, pictures(2), rotation=90)
    notes = copy(where, to)
    if suffix in (".ts", ".avi"):
        assert any("cannot say how the picture is turned" in note for note in notes)
        return
    with open_source(where) as old, open_source(to) as new:
        assert old.info.orientation == new.info.orientation


def test_keys_with_dots_stay(tmp_path: Path) -> None:
    where, to = tmp_path / "in.mov", tmp_path / "out.mov"
    told = {"com.apple.quicktime.make": "X", "com.apple.quicktime.location.ISO6709": "+52.5+013.4/", "title": "a walk"}
    write_clip(where, pictures(2), metadata=told, mux={"movflags": "use_metadata_tags"})
    copy(where, to)
    with av.open(str(to)) as container:
        assert {key: container.metadata[key] for key in told} == told


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_the_last_frame_lasts_as_long(tmp_path: Path, suffix: str) -> None:
    where, to = tmp_path / "in.mkv", tmp_path / f"out{suffix}"
    frames = pictures(4)
    write_clip(where, frames, rate=5, time_base=Fraction(1, 1000), pts=[0, 40, 80, 120], options={"bf": "0"})
    with open_source(where) as source, open_sink(to, source.info, SinkOptions(), note=print) as sink:
        for frame in source:
            object.__setattr__(frame, "duration", 40 if frame.index < 3 else 500)
            sink.write(frame)
    assert frame_times(to) == frame_times(where)
    with av.open(str(to)) as container:
        assert container.duration == pytest.approx(620_000, abs=1000)


@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".webm"])
def test_other_containers_keep_times_too(tmp_path: Path, suffix: str) -> None:
    where, to = tmp_path / "in.mp4", tmp_path / f"out{suffix}"
    write_clip(where, pictures(8), audio=True, options={"bf": "2", "preset": "medium"})
    copy(where, to)
    assert same_times(where, to)


def test_a_rate_takes_the_place_of_times_where_it_must(tmp_path: Path) -> None:
    where, to = tmp_path / "in.mp4", tmp_path / "out.avi"
    write_clip(where, pictures(4), time_base=Fraction(1, 90000), pts=[0, 1000, 1100, 90000])
    notes = copy(where, to)
    assert any("keeps times to a rate of" in note for note in notes)
    assert len(planes_of(to)) == 4


def test_another_size_is_refused(tmp_path: Path) -> None:
    a, b = tmp_path / "a.mp4", tmp_path / "b.mp4"
    write_clip(a, pictures(1, 48, 64))
    write_clip(b, pictures(1, 64, 64))
    with (
        open_source(a) as one,
        open_source(b) as other,
        pytest.raises(SinkError, match="frame 0 is 64x64, the video 64x48"),
        open_sink(tmp_path / "out.mp4", one.info, SinkOptions(), note=print) as sink,
    ):
        sink.write(next(iter(other)))
    assert not (tmp_path / "out.mp4").exists()


def test_no_frame_is_no_result(tmp_path: Path) -> None:
    where = tmp_path / "in.mp4"
    write_clip(where, pictures(2))
    with (
        open_source(where) as source,
        pytest.raises(SinkError, match="gave no frame"),
        open_sink(tmp_path / "out.mp4", source.info, SinkOptions(), note=print),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    where = tmp_path / "in.mp4"
    write_clip(where, pictures(2))
    with (
        open_source(where) as source,
        pytest.raises(KeyboardInterrupt),
        open_sink(tmp_path / "out.mp4", source.info, SinkOptions(), note=print) as sink,
    ):
        sink.write(next(iter(source)))
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "frames"])
def test_a_file_that_may_not_grow_leaves_nothing(tmp_path: Path, name: str) -> None:
    resource = pytest.importorskip("resource", reason="there are no such limits on Windows")
    where = tmp_path / "in.mp4"
    write_clip(where, pictures(8, 240, 320), options={"crf": "10"})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))  # Python turns the signal into EFBIG
    try:
        with pytest.raises(SinkError, match=f"cannot write .*{name}.*File too large"):
            copy(where, tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]
