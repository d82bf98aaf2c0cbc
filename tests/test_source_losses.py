"""What a damaged file has lost is said, where and how much; healthy files of every rate and start are not suspected."""

from __future__ import annotations

import random
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from clips import pictures, write_clip
from PIL import Image

from vidrase.eraser import erase
from vidrase.errors import DecodeError
from vidrase.frames import Frame
from vidrase.source import open_source

MS = Fraction(1, 1000)
COUNT = 75
KINDS: dict[str, dict] = {
    "a.mkv": {},
    "sound.mkv": {"audio": True},
    "ffv1.mkv": {"codec": "ffv1"},
    "hevc.mkv": {"codec": "libx265"},
    "a.webm": {"codec": "libvpx", "audio": True, "options": {"cpu-used": "8", "g": "25"}},
    "a.ts": {},
    "sound.ts": {"audio": True},
    "mpeg2.ts": {"codec": "mpeg2video"},
    "a.mp4": {"options": {"g": "25", "qp": "18", "bf": "2"}},
    "sound.mp4": {"audio": True},
    "hevc.mp4": {"codec": "libx265"},
    "a.flv": {},
    "a.mpg": {"codec": "mpeg2video"},
}


def made(folder: Path, name: str, **more) -> Path:
    given = {**KINDS[name], **more}
    plain = given.get("codec", "libx264") in ("libx264", "libx265")
    given.setdefault("options", {"g": "25", "qp": "18"} if plain else {"g": "25"})
    write_clip(folder / name, pictures(COUNT, 64, 96), **given)
    return folder / name


def read(path: Path, **more) -> tuple[list[Frame], list[str]]:
    said: list[str] = []
    with open_source(path, note=said.append, **more) as source:
        frames = list(source)
        assert bool(source.damage) == any("is damaged" in text for text in said)
    return frames, said


# an MP4 that something was cut out of has lost its index: no video any more
DAMAGE = [(name, how) for name in KINDS for how in ("zeros", "noise", "cut") if (name[-3:], how) != ("mp4", "cut")]


@pytest.mark.parametrize(("name", "how"), DAMAGE)
def test_a_loss_in_the_middle_is_said(name: str, how: str, tmp_path: Path) -> None:
    path = made(tmp_path, name)
    data = bytearray(path.read_bytes())
    start, end = len(data) * 4 // 10, len(data) * 6 // 10
    new = {"zeros": bytes(end - start), "noise": random.Random(1).randbytes(end - start), "cut": b""}[how]
    data[start:end] = new
    path.write_bytes(data)
    frames, said = read(path)
    lines = [text for text in said if "is damaged" in text]
    assert len(lines) == 1
    assert str(path) in lines[0]
    assert "\n" not in lines[0]
    assert "--strict" in lines[0]
    lost = COUNT - len(frames)
    if lost > 2:
        with open_source(path) as source:
            list(source)
            assert abs(source.damage.missing_frames - lost) <= max(3, 0.3 * lost), lines
            assert all(0 < gap.start < gap.end <= 3.001 for gap in source.damage.gaps)
    with open_source(path, strict=True) as source, pytest.raises(DecodeError, match="is damaged"):
        list(source)


def _held(rng: random.Random, count: int) -> list[int]:
    """Times in ms of a screen recording: pictures come when something changes."""
    at, times = 0, []
    for _ in range(count):
        times.append(at)
        at += rng.choice((16, 17, 33, 33, 34, 50, 400, 2000))
    return times


def _dropped(count: int) -> list[int]:
    """30 a second in ms, and now and then a picture that the camera skipped."""
    numbers = [n for n in range(count + count // 9) if n % 10 != 7]
    return [round(n * 1000 / 30) for n in numbers[:count]]


HEALTHY: dict[str, dict] = {
    "held.mkv": {"time_base": MS, "pts": _held(random.Random(2), 60)},
    "held.webm": {"time_base": MS, "pts": _held(random.Random(3), 60), "codec": "libvpx", "audio": True},
    "held.mp4": {"time_base": MS, "pts": _held(random.Random(4), 60), "options": {"bf": "2", "preset": "medium"}},
    "held.ts": {"time_base": Fraction(1, 90000), "pts": [90 * t for t in _held(random.Random(5), 60)], "audio": True},
    "dropped.mkv": {"time_base": MS, "pts": _dropped(60), "rate": 30},
    "dropped.mp4": {"time_base": MS, "pts": _dropped(60), "rate": 30},
    "dropped.ts": {"time_base": Fraction(1, 90000), "pts": [90 * t for t in _dropped(60)], "rate": 30},
    "pause.mp4": {"time_base": MS, "pts": [40 * n + 3000 * (n >= 30) for n in range(60)]},
    "last held.mp4": {"time_base": MS, "pts": [*range(0, 1000, 40), 5000]},
    "late.mkv": {"time_base": MS, "pts": [100_000 + 40 * n for n in range(40)]},
    "late.mp4": {"time_base": MS, "pts": [5_000 + 40 * n for n in range(40)], "audio": True},
    "late.ts": {"time_base": Fraction(1, 90000), "pts": [9_000_000 + 3600 * n for n in range(40)]},
    "open.mp4": {"codec": "libx265", "options": {"x265-params": "log-level=none:open-gop=1:keyint=10:bframes=3"}},
    "alternate.webm": {"codec": "libvpx", "options": {"auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "4"}},
    "slow.mkv": {"rate": 1},
    "film.ts": {"rate": Fraction(24000, 1001), "audio": True, "codec": "mpeg2video"},
    "two.mkv": {"pts": [0, 1], "rate": 25},
}


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_file_is_not_suspected(name: str, tmp_path: Path) -> None:
    given = dict(HEALTHY[name])
    path = tmp_path / name
    count = len(given.get("pts", range(60)))
    write_clip(path, pictures(count, 48, 64), **given)
    frames, said = read(path, strict=True)
    assert len(frames) == count
    assert not said


def test_edit_lists_are_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "edited.mp4"
    write_clip(path, pictures(60), options={"g": "15", "bf": "2", "preset": "medium"}, mux={"movie_timescale": "12800"})
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 4
    _, count, length, start = struct.unpack_from(">IIIi", data, at)
    assert count == 1
    struct.pack_into(">Ii", data, at + 8, length // 2, start + 512 * 7)  # as a phone trims a film: 7 off, half kept
    path.write_bytes(data)
    frames, said = read(path, strict=True)
    assert 20 < len(frames) < 40
    assert not said


def test_a_broadcast_begins_in_the_middle(tmp_path: Path) -> None:
    for name, more in {"a.ts": {}, "mpeg2.ts": {"codec": "mpeg2video"}}.items():
        path = tmp_path / name
        write_clip(path, pictures(80, 96, 128), options={"g": "20", "bf": "2"}, audio=True, **more)
        data = path.read_bytes()
        path.write_bytes(data[188 * (len(data) // 188 // 6) :])
        frames, said = read(path, strict=True)
        assert 40 < len(frames) < 80
        assert not said


def test_the_last_frames_are_missed_too(tmp_path: Path) -> None:
    """However long the film is, and however little is gone."""
    path = tmp_path / "a.mp4"
    write_clip(path, pictures(150), options={"g": "5", "qp": "10"}, mux={"movflags": "+faststart"})
    path.write_bytes(path.read_bytes()[:-1500])
    frames, said = read(path)
    assert 140 < len(frames) < 150
    assert "ended early, at 5." in said[0] or "missing at 5." in said[0]


def test_a_run_counts_the_loss_and_strict_refuses_it(tmp_path: Path) -> None:
    path = made(tmp_path, "sound.mkv")
    data = bytearray(path.read_bytes())
    data[len(data) * 4 // 10 : len(data) * 6 // 10] = bytes(len(data) * 6 // 10 - len(data) * 4 // 10)
    path.write_bytes(data)
    mask = tmp_path / "hole.png"
    Image.fromarray(np.pad(np.full((16, 16), 255, np.uint8), ((8, 40), (8, 72)))).save(mask)
    said: list[str] = []
    report = erase(path, tmp_path / "o.mkv", mask=mask, say=said.append)
    assert abs(report.missing_frames - (COUNT - report.frames)) <= 3
    assert sum("is damaged" in text for text in said) == 1
    assert any("is damaged" in text for text in report.fallbacks)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    with pytest.raises(DecodeError, match="frames missing at"):
        erase(path, tmp_path / "o.mkv", mask=mask, strict=True, overwrite=True)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == before
