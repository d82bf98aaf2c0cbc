"""Addresses that are not read, and lists that lead out of their folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from clips import write_clip
from synth import texture

from vidrase.cli.main import main
from vidrase.errors import RefusedSource, SourceError
from vidrase.source import open_source

HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-VERSION:3\n{tag}#EXTINF:1,\n{name}\n#EXT-X-ENDLIST\n"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "here" / "clip.ts"
    path.parent.mkdir()
    write_clip(path, [texture(48, 64, seed) for seed in range(5)])
    (tmp_path / "there").mkdir()
    shutil.copy(path, tmp_path / "there" / "clip.ts")
    return path


@pytest.mark.parametrize(
    "address",
    [
        "concat:{clip}|{clip}",
        "concatf:{clip}",
        "subfile,,start,0,end,0,,:{clip}",
        "subfile,,start,0,end,0,,:http://127.0.0.1:1/x",
        "cache:http://127.0.0.1:1/x",
        "async:{clip}",
        "async:file://{clip}",
        "data:text/plain;base64,AAAA",
        "data://text",
        "crypto:{clip}",
        "pipe:0",
        "fd:0",
        "unix:/tmp/x",
        "unix:///tmp/x",
        "gopher://127.0.0.1:1/x",
        "ftp://127.0.0.1:1/x",
        "smb://127.0.0.1/x",
        "tcp://127.0.0.1:0?listen",
        "tcp://127.0.0.1:0?listen=1",
        "TCP://127.0.0.1:0?timeout=1&listen=1",
        "lavfi://x",
        "://x",
        "http://[::1",
    ],
)
def test_only_files_the_web_and_streams_are_read(address: str, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RefusedSource) as caught:
        open_source(address.format(clip=clip))
    assert "\n" not in str(caught.value)
    if address.startswith(("concat:", "tcp:", "http:")):
        with pytest.raises(SystemExit) as ended:
            main([address.format(clip=clip), "--mask", "none.png"])
        assert ended.value.code == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_files_with_odd_names_are_still_files(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(clip.parent)
    for name in ("cache:me.ts", "a,b:c.ts", "data:x"):
        shutil.copy(clip, name)
        with open_source(name) as source:
            assert source.info.width == 64
    with open_source(f"file://{clip}") as source:
        assert source.info.width == 64


def _lists(clip: Path, name: str) -> dict[str, str]:
    return {
        "list.ffconcat": f"ffconcat version 1.0\nfile '{name}'\n",
        "list.m3u8": HLS.format(tag="", name=name),
        "list.txt": f"ffconcat version 1.0\n# words\n\tfile {name}\nduration 0.2\n",
        "renamed.ts": HLS.format(tag="", name=name),
    }


def test_a_list_of_what_lies_beside_it_is_read(clip: Path) -> None:
    for name, text in _lists(clip, "clip.ts").items():
        path = clip.parent / name
        path.write_text(text)
        if name == "renamed.ts":
            continue  # FFmpeg itself reads an HLS list by its name only
        with open_source(path) as source:
            assert len(list(source)) == 5


@pytest.mark.parametrize(
    "name", ["../there/clip.ts", "{there}/clip.ts", "sub/clip.ts", "file:{there}/clip.ts", "http://127.0.0.1:1/x.ts"]
)
def test_a_list_that_leads_away_is_refused(clip: Path, tmp_path: Path, name: str) -> None:
    away = name.format(there=tmp_path / "there")
    for called, text in _lists(clip, away).items():
        path = clip.parent / called
        path.write_text(text)
        with pytest.raises(RefusedSource, match="--allow-references") as caught:
            open_source(path)
        assert "\n" not in str(caught.value)


def test_keys_dash_and_lists_within_lists_count_too(clip: Path) -> None:
    for text in (
        HLS.format(tag='#EXT-X-KEY:METHOD=AES-128,URI="/etc/passwd"\n', name="clip.ts"),
        HLS.format(tag="#EXT-X-MAP:URI=../x.mp4\n", name="clip.ts"),
        '<?xml version="1.0"?><MPD><Period><BaseURL>http://x/</BaseURL></Period></MPD>',
        '<MPD><SegmentTemplate media="../$Number$.m4s" initialization="a.mp4"/></MPD>',
        "ffconcat version 1.0\nfile '/etc'/pass\\wd\n",
    ):
        path = clip.parent / "odd"
        path.write_text(text)
        with pytest.raises(RefusedSource, match="--allow-references"):
            open_source(path)
    (clip.parent / "outer.ffconcat").write_text("ffconcat version 1.0\nfile inner.m3u8\n")
    (clip.parent / "inner.m3u8").write_text(HLS.format(tag="", name="/etc/passwd"))
    with pytest.raises(RefusedSource, match=r"outer\.ffconcat is a list that leads to '/etc/passwd'"):
        open_source(clip.parent / "outer.ffconcat")
    (clip.parent / "inner.m3u8").write_text(HLS.format(tag="", name="outer.ffconcat"))  # round and round
    with pytest.raises(SourceError):
        list(open_source(clip.parent / "outer.ffconcat"))


def test_with_leave_a_list_may_lead_anywhere(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = clip.parent / "list.ffconcat"
    path.write_text(f"ffconcat version 1.0\nfile '{tmp_path / 'there' / 'clip.ts'}'\n")
    with open_source(path, references=True) as source:
        assert len(list(source)) == 5
    cv2.imwrite(str(tmp_path / "mask.png"), np.pad(np.full((8, 8), 255, np.uint8), ((20, 20), (28, 28))))
    options = [str(path), "--mask", str(tmp_path / "mask.png"), "-o", str(tmp_path / "out.mkv"), "-q"]
    with pytest.raises(SystemExit) as ended:
        main(options)
    assert ended.value.code == 2
    assert "--allow-references" in capsys.readouterr().err
    assert not (tmp_path / "out.mkv").exists()
    with pytest.raises(SystemExit) as ended:
        main([*options, "--allow-references"])
    assert ended.value.code == 0, capsys.readouterr().err
    with av.open(str(tmp_path / "out.mkv")) as out:
        assert sum(1 for _ in out.decode(video=0)) == 5
