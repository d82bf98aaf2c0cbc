"""What goes out: times, tracks, tags and samples as they came, the hole alone changed."""

from __future__ import annotations

import errno
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import packets, pictures, write_clip
from PIL import Image

from vidrase.avplanes import read_planes
from vidrase.errors import OptionError, SinkError
from vidrase.options import SinkOptions
from vidrase.sink import default_output, open_sink
from vidrase.source import open_source


def copy(where: Path, to: Path, edit: bool = False, **options: object) -> list[str]:
    """`where` through source and sink; `edit` paints a square into every second frame. Returns what was noted."""
    notes: list[str] = []
    with (
        open_source(where, note=notes.append) as source,
        open_sink(to, source.info, SinkOptions(**options), note=notes.append) as sink,  # type: ignore[arg-type]
    ):
        for frame in source:
            if edit and frame.index % 2:
                planes = tuple(plane.copy() for plane in frame.planes)
                for number, plane in enumerate(planes):
                    shift_y, shift_x = frame.layout.shifts(number)
                    plane[8 >> shift_y : 24 >> shift_y, 8 >> shift_x : 24 >> shift_x] = 100
                frame = frame.with_planes(planes)
            sink.write(frame)
    return notes


def times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [Fraction(frame.pts) * frame.time_base for frame in container.decode(video=0)]


def planes_of(path: Path) -> list[tuple[np.ndarray, ...]]:
    with av.open(str(path)) as container:
        return [read_planes(frame) for frame in container.decode(video=0)]


TIMES = {
    "constant": {"rate": 25},
    "ntsc": {"rate": Fraction(30000, 1001), "time_base": Fraction(1, 30000), "pts": [1001 * k for k in range(9)]},
    "late start": {"time_base": Fraction(1, 30000), "pts": [500 + 1001 * k for k in range(9)]},
    "variable": {"time_base": Fraction(1, 90000), "pts": [0, 3000, 9001, 9002, 30000, 30750, 60000, 90000, 90100]},
    "b-frames": {"options": {"bf": "3", "preset": "medium"}},
}


@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_times_are_the_same_to_the_tick(tmp_path: Path, name: str, suffix: str) -> None:
    where, to = tmp_path / "in.mp4", tmp_path / f"out{suffix}"
    write_clip(where, pictures(9), audio=True, mux={"movie_timescale": "90000"}, **TIMES[name])
    copy(where, to, edit=True)
    assert times(to) == times(where)
    assert packets(to) == packets(where)


@pytest.mark.parametrize(
    ("suffix", "codec", "pix_fmt"),
    [
        (".mp4", "libx264", "yuv420p"),
        (".mkv", "libx264", "yuv422p"),
        (".mp4", "libx264", "yuv444p"),
        (".mp4", "libx264", "yuv420p10le"),
        (".mkv", "libx264", "yuv422p10le"),
        (".mkv", "libx264", "yuv444p10le"),
        (".mkv", "ffv1", "yuv420p16le"),
        (".mkv", "ffv1", "gray"),
        (".webm", "libvpx-vp9", "yuv420p"),
    ],
)
def test_lossless_changes_the_hole_alone(tmp_path: Path, suffix: str, codec: str, pix_fmt: str) -> None:
    where, to = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    write_clip(where, pictures(5), codec=codec, pix_fmt=pix_fmt)
    before = planes_of(where)
    copy(where, to, edit=True, lossless=True)
    after = planes_of(to)
    assert len(after) == len(before)
    for index, (old, new) in enumerate(zip(before, after, strict=True)):
        for number, (a, b) in enumerate(zip(old, new, strict=False)):  # H.264 gray decodes with flat chroma
            assert a.dtype == b.dtype
            changed = np.argwhere(a != b)
            if not index % 2:
                assert not len(changed)
            else:
                scale = a.shape[0] / old[0].shape[0], a.shape[1] / old[0].shape[1]
                assert len(changed), f"plane {number} was not edited"
                assert changed[:, 0].min() >= 8 * scale[0]
                assert changed[:, 0].max() < 24 * scale[0]
                assert changed[:, 1].min() >= 8 * scale[1]
                assert changed[:, 1].max() < 24 * scale[1]


def test_odd_sizes_are_never_cropped(tmp_path: Path) -> None:
    where, to = tmp_path / "in.mkv", tmp_path / "out.mp4"
    write_clip(where, pictures(3, 41, 53), codec="ffv1")
    notes = copy(where, to)
    assert planes_of(to)[0][0].shape == (41, 53)
    assert any("libx264 cannot encode 53x41" in note for note in notes)


def test_tags_rotation_and_aspect_stay(tmp_path: Path) -> None:
    where, to = tmp_path / "in.mp4", tmp_path / "out.mp4"
    colour = {"color_range": 1, "color_primaries": 9, "color_trc": 16, "colorspace": 9}
    write_clip(
        where, pictures(3), rotation=90, hflip=True, sar=Fraction(4, 3), colour=colour, metadata={"title": "a walk"}
    )
    copy(where, to, edit=True)
    with open_source(where) as old, open_source(to) as new:
        for name in ("orientation", "sample_aspect_ratio", "colour", "width", "height", "time_base", "frame_rate"):
            assert getattr(old.info, name) == getattr(new.info, name), name
    with av.open(str(to)) as container:
        assert container.metadata["title"] == "a walk"


def test_unspecified_tags_stay_unspecified(tmp_path: Path) -> None:
    where, to = tmp_path / "in.mp4", tmp_path / "out.mp4"
    write_clip(where, pictures(3))
    copy(where, to, edit=True)
    with open_source(where) as old, open_source(to) as new:
        assert old.info.colour == new.info.colour


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    where, to = tmp_path / "in.mp4", tmp_path / "out.webm"
    write_clip(where, pictures(3), audio=True)
    assert any("audio track 1 (aac) does not fit into webm" in note for note in copy(where, to))


def test_sound_longer_than_the_picture_is_kept(tmp_path: Path) -> None:
    where, to = tmp_path / "in.mp4", tmp_path / "out.mp4"
    write_clip(where, pictures(3), audio=True, audio_seconds=2.0)
    copy(where, to)
    assert packets(to) == packets(where)


@pytest.mark.parametrize("name", ["out.mp4", "out.png", "frames"])
def test_an_error_leaves_nothing(tmp_path: Path, name: str) -> None:
    where = tmp_path / "in.mp4"
    write_clip(where, pictures(3))
    before = set(tmp_path.iterdir())
    with (
        open_source(where) as source,
        pytest.raises((ValueError, OptionError)),
        open_sink(tmp_path / name, source.info, SinkOptions(), note=print) as sink,
    ):
        sink.write(next(iter(source)))
        raise ValueError("stop")
    assert set(tmp_path.iterdir()) == before


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    where = tmp_path / "in.mp4"
    write_clip(where, pictures(3))
    (tmp_path / "there.mp4").write_bytes(b"mine")
    with open_source(where) as source:
        for to, options, what, kind in [
            (tmp_path / "there.mp4", {}, "exists already", OptionError),
            (where, {"overwrite": True}, "is the input itself", OptionError),
            (tmp_path / "no" / "out.mp4", {}, "there is no folder", SinkError),
            (tmp_path / "out.xyz", {}, "do not know how to write '.xyz'", OptionError),
            (tmp_path / "out.png", {}, "is one picture, but", OptionError),
            (tmp_path / "out.mp4", {"codec": "nonesuch"}, "nonesuch is not in this build", OptionError),
            (tmp_path / "out.mp4", {"pix_fmt": "pal8"}, "does not take --pix-fmt", OptionError),
            (tmp_path / "out.mp4", {"preset": "warp9"}, "has no --preset 'warp9'", OptionError),
        ]:
            with (
                pytest.raises(kind, match=what) as caught,
                open_sink(
                    to,
                    source.info,
                    SinkOptions(**options),
                    note=print,  # type: ignore[arg-type]
                ) as sink,
            ):
                sink.write(next(iter(source)))
            assert "\n" not in str(caught.value)
    assert (tmp_path / "there.mp4").read_bytes() == b"mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4", "there.mp4"]


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    where = tmp_path / "in.mp4"
    write_clip(where, pictures(3))

    class Full:
        """A muxer on a disk without room."""

        def start_encoding(self) -> None:
            pass

        def mux_one(self, packet: av.Packet) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self) -> None:
            pass

    with (
        open_source(where) as source,
        pytest.raises(SinkError, match="the disk is full"),
        open_sink(tmp_path / "out.mp4", source.info, SinkOptions(), note=print) as sink,
    ):
        sink._result.close()  # type: ignore[attr-defined]
        sink._result = Full()  # type: ignore[attr-defined]
        for frame in source:
            sink.write(frame)
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


def test_default_names(tmp_path: Path) -> None:
    assert default_output("a/clip.mp4").name == "clip_erased.mp4"
    assert default_output("a/photo.JPG").name == "photo_erased.JPG"
    assert default_output("https://x.org/v/clip.webm?t=1").name == "clip_erased.webm"
    assert default_output("clip.gif").name == "clip_erased.mp4"
    assert default_output("-").name == "stdin_erased.mp4"
    assert default_output("photo.jfif").name == "photo_erased.jpg"
    assert default_output("photo.avif").name == "photo_erased.avif"
    stills = [Image.new("RGB", (8, 8), shade) for shade in ("red", "blue")]
    stills[0].save(tmp_path / "still.gif")
    stills[0].save(tmp_path / "moving.gif", save_all=True, append_images=stills[1:])
    assert default_output(tmp_path / "still.gif").name == "still_erased.png"
    assert default_output(tmp_path / "moving.gif").name == "moving_erased.mp4"
    assert default_output(tmp_path).name == f"{tmp_path.name}_erased"


def test_side_data_is_read_before_the_frame_is_changed(tmp_path: Path) -> None:
    """x264 leaves a message in the first frame; editing that frame must not read it from freed memory."""
    where, to = tmp_path / "in.mp4", tmp_path / "out.mp4"
    write_clip(where, pictures(4))
    with open_source(where) as source, open_sink(to, source.info, SinkOptions(), note=print) as sink:
        for frame in source:
            sink.write(frame.with_planes(tuple(plane.copy() for plane in frame.planes)))
    assert len(times(to)) == 4


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    where, to = tmp_path / "in.mp4", tmp_path / "out.mp4"
    write_clip(where, pictures(3))
    with (
        open_source(where) as source,
        pytest.raises(SinkError, match="appeared while this ran"),
        open_sink(to, source.info, SinkOptions(), note=print) as sink,
    ):
        for frame in source:
            sink.write(frame)
            to.write_bytes(b"theirs")
    assert to.read_bytes() == b"theirs"
    with open_source(tmp_path / "out_2.mp4") as result:
        assert len(list(result)) == 3
