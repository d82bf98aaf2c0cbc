"""Transparency of WebM: read, kept in any order of reading, and written again."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from clips import pictures, to_av, write_clip

from vidrase.avplanes import read_planes, write_planes
from vidrase.options import SinkOptions
from vidrase.sink import open_sink
from vidrase.source import open_random, open_source

VP8 = {"codec": "libvpx", "options": {"auto-alt-ref": "0", "crf": "4", "b": "2M"}}
VP9 = {"codec": "libvpx-vp9", "options": {"lossless": "1", "cpu-used": "8"}}


def shown(count: int = 4) -> list[av.VideoFrame]:
    """Pictures whose left part is transparent, each a little wider than the one before."""
    made = []
    for k, picture in enumerate(pictures(count)):
        frame = to_av(picture, "yuva420p")
        planes = read_planes(frame)
        planes[3][:, : 16 + 4 * k] = 40 * k
        write_planes(frame, planes)
        made.append(frame)
    return made


@pytest.mark.parametrize("asked", [VP8, VP9], ids=["vp8", "vp9"])
def test_transparency_of_webm_is_read(asked: dict, tmp_path: Path) -> None:
    path = tmp_path / "clip.webm"
    sent = write_clip(path, shown(), **asked)
    with open_source(path, note=pytest.fail) as source:
        assert source.info.layout.name == "yuva420p"
        assert source.info.notes == ()
        frames = list(source)
    assert [frame.seconds for frame in frames] == [0.0, 0.04, 0.08, 0.12]
    for frame, put in zip(frames, sent, strict=True):
        apart = np.abs(frame.planes[3].astype(int) - read_planes(put)[3])
        assert apart.mean() < 3 if asked is VP8 else apart.max() == 0
    with open_random(path) as clip:
        for index in (3, 0, 2):
            assert all(
                np.array_equal(a, b) for a, b in zip(clip.frame(index).planes, frames[index].planes, strict=True)
            )


@pytest.mark.parametrize(("asked", "suffix"), [(VP8, ".webm"), (VP9, ".webm"), (VP9, ".mkv")])
def test_transparency_of_webm_is_written_again(asked: dict, suffix: str, tmp_path: Path) -> None:
    path, to = tmp_path / "clip.webm", tmp_path / f"out{suffix}"
    write_clip(path, shown(), **asked)
    codec = "vp8" if asked is VP8 else None
    with (
        open_source(path) as source,
        open_sink(to, source.info, SinkOptions(codec=codec), note=lambda _: None) as sink,
    ):
        old = list(source)
        for frame in old:
            sink.write(frame)
    assert "yuva420p" in sink.encoder
    with open_source(to) as source:
        for frame, before in zip(source, old, strict=True):
            assert np.abs(frame.planes[3].astype(int) - before.planes[3]).mean() < 6


def test_where_transparency_does_not_fit_it_is_said(tmp_path: Path) -> None:
    path, said = tmp_path / "clip.webm", list[str]()
    write_clip(path, shown(2), **VP9)
    with (
        open_source(path) as source,
        open_sink(tmp_path / "out.mp4", source.info, SinkOptions(), note=said.append) as sink,
    ):
        for frame in source:
            sink.write(frame)
    assert any("without transparency" in text for text in said), said
