"""Files of packets that end in the middle of one say so; whole ones, and ones cut between two, do not."""

from __future__ import annotations

from pathlib import Path

import pytest
from sourceclips import pictures, write_clip

from vidrase.source import ending, open_source

CODECS = {"a.ts": "libx264", "a.m2ts": "libx264", "a.mpg": "mpeg1video", "a.vob": "mpeg2video"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder, found = tmp_path_factory.mktemp("whole"), {}
    for name, codec in CODECS.items():
        write_clip(folder / name, pictures(24, 96, 128), codec=codec)
        found[name] = (folder / name).read_bytes()
    return found


@pytest.mark.parametrize("name", CODECS)
def test_an_end_in_the_middle_of_a_packet_is_seen(name: str, whole: dict[str, bytes], tmp_path: Path) -> None:
    data, path = whole[name], tmp_path / name
    kind = "mpegts" if name.endswith("ts") else "mpeg"
    path.write_bytes(data)
    assert ending.fault(path, kind) == ""
    size = {"a.ts": 188, "a.m2ts": 192}.get(name)
    for lost in range(1, 60):
        path.write_bytes(data[: -41 * lost])
        if size is None or (41 * lost) % size:
            assert ending.fault(path, kind), lost


def test_what_no_packet_tells_is_not_said(whole: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "a.ts"
    path.write_bytes(whole["a.ts"][: -188 * 7])  # as a recorder stops
    assert ending.fault(path, "mpegts") == ""
    path.write_bytes(b"")
    assert ending.fault(path, "mpegts") == ending.fault(path, "mpeg") == ""
    path.write_bytes(whole["a.mpg"] + b"\0" * 3000)  # to the end of a sector
    assert ending.fault(path, "mpeg") == ""
    path.write_bytes(whole["a.mpg"] + b"\0\0\1\xb9")
    assert ending.fault(path, "mpeg") == ""


@pytest.mark.parametrize("name", ["a.ts", "a.mpg"])
def test_a_cut_file_says_so_when_it_is_read(name: str, whole: dict[str, bytes], tmp_path: Path) -> None:
    said: list[str] = []
    path = tmp_path / name
    for data, expected in ((whole[name], 0), (whole[name][:-900], 1)):
        said.clear()
        path.write_bytes(data)
        with open_source(path, note=said.append) as source:
            assert list(source)
        assert len(said) == expected
    assert "breaks off in the middle of a packet" in said[0]
