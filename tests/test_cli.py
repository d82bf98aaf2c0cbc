"""The command line: what a person sees, and every wrong request answered in one line with the right exit code."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
import synth
from clips import packets, write_clip

from vidrase.cli import main as cli
from vidrase.cli.erase import erase
from vidrase.cli.terminal import Forgiving
from vidrase.options import Choices
from vidrase.source import open_source

NO_TORCH = ("--flow", "dis")
"""With weights of another flow at hand a new process would load PyTorch, for seconds, to ask for a GPU."""


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    shown, masks, _ = synth.clip(8, 96, 128, pan=(0.0, 0.5), step=(0, 8))
    write_clip(tmp_path / "clip.mp4", shown, audio=True)
    cv2.imwrite(str(tmp_path / "hole.png"), np.logical_or.reduce(masks[:2]).astype(np.uint8) * 255)
    return tmp_path / "clip.mp4"


def run(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as leaving:
        cli.main([str(word) for word in words])
    return int(leaving.value.code or 0)


def test_a_file_and_a_mask(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = clip.with_name("run.json")
    sheet = clip.with_name("sheet.jpg")
    code = run(
        clip,
        "--mask",
        clip.with_name("hole.png"),
        "-o",
        clip.with_name("o.mp4"),
        "--preview",
        sheet,
        "--report",
        report,
    )
    assert code == 0
    out, err = capsys.readouterr()
    assert "removed in 8 of 8 frames" in out
    assert not err
    assert sheet.exists()
    figures = json.loads(report.read_text())
    assert (figures["frames"], figures["frames_with_hole"]) == (8, 8)
    assert packets(clip.with_name("o.mp4")) == packets(clip)


def test_default_name_and_overwriting(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(clip, "--mask", clip.with_name("hole.png"), "-q") == 0
    made = clip.with_name("clip_erased.mp4")
    first = made.stat().st_mtime_ns
    assert run(clip, "--mask", clip.with_name("hole.png")) == 2
    assert "exists already; replace it with -y" in capsys.readouterr().err
    assert made.stat().st_mtime_ns == first
    assert run(clip, "--mask", clip.with_name("hole.png"), "-y", "-q") == 0
    assert made.stat().st_mtime_ns != first


def test_time_leaves_the_rest_alone(clip: Path) -> None:
    to = clip.with_name("o.mp4")
    assert run(clip, "--mask", clip.with_name("hole.png"), "--time", "0.1-0.2", "-o", to, "--lossless", "-q") == 0
    with open_source(clip) as old, open_source(to) as new:
        same = [
            all(np.array_equal(p, q) for p, q in zip(a.planes, b.planes, strict=True))
            for a, b in zip(old, new, strict=True)
        ]
    assert same == [True, True, True, False, False, True, True, True]


def test_a_time_after_the_end_is_said(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(clip, "--mask", clip.with_name("hole.png"), "--time", "10-20") == 0
    assert "no frame lies within --time; the clip lasts 0.28 s" in capsys.readouterr().err


def test_a_file_called_like_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip: Path) -> None:
    monkeypatch.chdir(tmp_path)
    clip.rename(tmp_path / "bench")
    assert run("./bench", "--mask", "hole.png", "-o", "o.mp4", "-q") == 0
    assert (tmp_path / "o.mp4").exists()


def test_a_folder_of_frames_comes_back_as_one(tmp_path: Path) -> None:
    shown, masks, _ = synth.clip(4)
    for name in ("in", "masks"):
        (tmp_path / name).mkdir()
    for t, (picture, mask) in enumerate(zip(shown, masks, strict=True)):
        cv2.imwrite(str(tmp_path / "in" / f"shot_{t}.png"), picture[..., ::-1])
        cv2.imwrite(str(tmp_path / "masks" / f"shot_{t}.png"), mask.astype(np.uint8) * 255)
    assert run(tmp_path / "in", "--mask", tmp_path / "masks", "-q") == 0
    made = sorted(p.name for p in (tmp_path / "in_erased").iterdir())
    assert made == [f"shot_{t}.png" for t in range(4)]


def test_several_inputs(tmp_path: Path, clip: Path) -> None:
    other = tmp_path / "other.mp4"
    other.write_bytes(clip.read_bytes())
    (tmp_path / "out").mkdir()
    assert run(clip, other, "--mask", tmp_path / "hole.png", "-o", tmp_path / "out", "-q") == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["clip_erased.mp4", "other_erased.mp4"]


def test_one_bad_input_does_not_stop_the_others(tmp_path: Path, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"")
    assert run(tmp_path / "bad.mp4", clip, "--mask", tmp_path / "hole.png", "-q") == 1
    assert (tmp_path / "clip_erased.mp4").exists()
    assert capsys.readouterr().err.count("\n") == 1


def test_a_full_disk_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cli.cli, "main", full)
    assert run("clip.mp4") == 1
    assert capsys.readouterr().err.startswith("vidrase: the disk is full; ")


WRONG: dict[str, tuple[list[str], int, str]] = {
    "no such file": (["nowhere.mp4", "--mask", "hole.png"], 1, "no such file"),
    "no such mask": (["clip.mp4", "--mask", "nowhere.png"], 1, "no such file"),
    "zero bytes": (["empty.mp4", "--mask", "hole.png"], 1, "empty"),
    "not a video": (["notes.mp4", "--mask", "hole.png"], 1, "notes.mp4"),
    "folder without frames": (["hollow", "--mask", "hole.png"], 1, "hollow"),
    "sound alone": (["sound.m4a", "--mask", "hole.png"], 1, "sound.m4a"),
    "nothing named": (["clip.mp4"], 2, "nothing to remove"),
    "mask of another size": (["clip.mp4", "--mask", "small.png"], 1, "small.png"),
    "too few masks": (["clip.mp4", "--mask", "two"], 1, "2"),
    "impossible pair": (["clip.mp4", "--mask", "hole.png", "--lossless", "--crf", "20"], 2, "exclude each other"),
    "no such option": (["clip.mp4", "--mask", "hole.png", "--nope"], 2, "--nope"),
    "time reversed": (["clip.mp4", "--mask", "hole.png", "--time", "5-2"], 2, "ends before it starts"),
    "dilate no number": (["clip.mp4", "--mask", "hole.png", "--dilate", "x"], 2, "whole number"),
    "onto itself": (["clip.mp4", "--mask", "hole.png", "-o", "clip.mp4", "-y"], 2, "is the input itself"),
    "no folder to write to": (["clip.mp4", "--mask", "hole.png", "-o", "no/o.mp4"], 1, "there is no folder"),
    "unknown container": (["clip.mp4", "--mask", "hole.png", "-o", "o.xyz"], 2, "do not know how to write"),
    "one sheet for two": (["clip.mp4", "clip.mp4", "--mask", "hole.png", "--preview", "s.png"], 2, "2 inputs"),
    "no such inpainter": (["clip.mp4", "--mask", "hole.png", "--inpainter", "magic"], 2, "magic"),
    "inpainter without weights": (
        ["clip.mp4", "--mask", "hole.png", "--inpainter", "pconv"],
        2,
        "comes without weights",
    ),
    "no such selection": (["clip.mp4", "--selection", "nowhere.json"], 2, "nowhere.json"),
    "a selection that is none": (["clip.mp4", "--selection", "notes.mp4"], 2, "no selection file"),
    "a choice of masks": (["clip.mp4", "--mask", "hole.png", "--save-selection", "s.json"], 2, "--save-masks"),
    "a choice from a list": (["clip.mp4", "--list", "--save-selection", "s.json"], 2, "--list chooses nothing"),
    "sheet in no folder": (["clip.mp4", "--mask", "hole.png", "--preview", "no/s.png"], 1, "there is no folder"),
    "report in no folder": (["clip.mp4", "--mask", "hole.png", "--report", "no/r.json"], 1, "there is no folder"),
    "a list into a file": (["clip.mp4", "--list", "-o", "o.mp4"], 2, "--list only says"),
    "json of no list": (["clip.mp4", "--mask", "hole.png", "--json"], 2, "--json goes with --list"),
    "no such gpu": (["clip.mp4", "--remove", "person", "--device", "cuda:7"], 1, "cuda"),
    "no such weights": (["clip.mp4", "--remove", "person", "--model", "none.pt"], 1, "none.pt"),
    **{
        f"{option} of {value}": (
            ["clip.mp4", "--mask", "hole.png", option, value.join(("", rest))],
            2,
            "none of them infinite",
        )
        for option, rest in (("--region", ",0,90,90"), ("--box", ",0,90,90"), ("--at", ",20"))
        for value in ("nan", "inf", "1e309", "-inf")
    },
    "region to nan": (["clip.mp4", "--mask", "hole.png", "--region", "0,0,nan,9"], 2, "none of them infinite"),
    "time of nan": (["clip.mp4", "--mask", "hole.png", "--time", "nan-"], 2, "cannot read the time"),
    "time of too many digits": (
        ["clip.mp4", "--mask", "hole.png", "--time", "9" * 5000 + "-"],
        2,
        "cannot read the time",
    ),
    "crf of nan": (["clip.mp4", "--mask", "hole.png", "--crf", "nan"], 2, "expected a number"),
    **{
        f"{option} of nothing": (["clip.mp4", "--mask", "hole.png", option, ""], 2, f"value of {option} is empty")
        for option in ("--region", "--time", "--remove", "--output", "--report", "--dilate", "--selection")
    },
    "mask of nothing": (["clip.mp4", "--mask", ""], 2, "value of --mask is empty"),
    "file of nothing": ([""], 2, "a file name or option is empty"),
    "times of nothing": (["clip.mp4", "--mask", "hole.png", "--time", " , "], 2, "names nothing"),
    "remove of nothing": (["clip.mp4", "--mask", "hole.png", "--remove", ","], 2, "names nothing"),
    "no address": (["http://[::1", "--mask", "hole.png"], 2, "is no address"),
    "sheet of no kind": (["clip.mp4", "--mask", "hole.png", "-o", "o.mp4", "--preview", "s.xyz"], 1, ".xyz"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_requests_get_one_line(
    name: str, clip: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    words, code, says = WRONG[name]
    here = clip.parent
    monkeypatch.chdir(here)
    (here / "empty.mp4").write_bytes(b"")
    (here / "notes.mp4").write_text("this is no video\n" * 50)
    (here / "hollow").mkdir()
    (here / "two").mkdir()
    cv2.imwrite("small.png", np.zeros((7, 9), np.uint8))
    for t in range(2):
        cv2.imwrite(f"two/{t}.png", np.zeros((96, 128), np.uint8))
    if name == "sound alone":
        _sound_alone(here / "sound.m4a")
    before = {p: p.stat().st_mtime_ns for p in here.rglob("*")}
    got = run(*words)
    out, err = capfd.readouterr()
    lines = [line for line in err.splitlines() if line.strip()]
    assert got in ({1, 2} if name.startswith("no such gpu") else {code}), err
    assert len(lines) == 1, err
    assert lines[0].startswith("vidrase: ")
    assert says in lines[0]
    assert "Traceback" not in out + err
    left = {p: p.stat().st_mtime_ns for p in here.rglob("*")}
    assert left == before


def _sound_alone(path: Path) -> None:
    import av

    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=48000, layout="mono")
        block = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        block.sample_rate = 48000
        for packet in [*stream.encode(block), *stream.encode(None)]:
            container.mux(packet)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupting_leaves_nothing(tmp_path: Path, number: signal.Signals, code: int) -> None:
    shown, masks, _ = synth.clip(40, 240, 320)
    write_clip(tmp_path / "clip.mp4", shown * 5)
    cv2.imwrite(str(tmp_path / "hole.png"), masks[0].astype(np.uint8) * 255)
    words = [sys.executable, "-m", "vidrase", "clip.mp4", "--mask", "hole.png", "-o", "o.mp4", *NO_TORCH]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background inherits "ignored"
    process = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".o.*.part*")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code, err
    assert err.strip().endswith("nothing half done was left behind")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip.mp4", "hole.png"]


def test_missing_system_library_is_one_line() -> None:
    line = str(cli.explain_import(ImportError("libGL.so.1: cannot open shared object file")))
    assert "apt-get install libgl1" in line
    assert "\n" not in line


def test_python_and_the_command_line_know_the_same_options() -> None:
    named = {option.name for option in erase.params}
    assert set(Choices.__annotations__) - named == {"batch"}


def test_help_is_quick_and_names_the_commands() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "vidrase", "--help"], capture_output=True, text=True, check=True
    )
    assert "vidrase clip.mp4 --remove person" in done.stdout
    assert "models" in done.stdout
    assert " torch" not in done.stderr
    assert os.linesep in done.stdout


def test_standard_input(tmp_path: Path, clip: Path) -> None:
    words = [sys.executable, "-m", "vidrase", "-", "--mask", "hole.png", "-o", "o.mp4", "-q", *NO_TORCH]
    with clip.open("rb") as stream:
        subprocess.run(words, cwd=tmp_path, stdin=stream, check=True)
    assert packets(tmp_path / "o.mp4") == packets(clip)


DEAF = {"all closed": "<&- >&- 2>&-", "both full": ">/dev/full 2>&1", "nobody reads": "2>&1 | true"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a POSIX shell and /dev/full")
@pytest.mark.parametrize("name", DEAF)
def test_what_cannot_be_printed_costs_nothing(name: str, tmp_path: Path) -> None:
    """The notes, the progress and the summary go nowhere; the result is there, and the exit code is 0."""
    write_clip(tmp_path / "a.mp4", [synth.texture(48, 64)] * 3)
    (tmp_path / "m").mkdir()
    for number in range(3):
        mask = np.full((8, 8), 255 * (number == 1), np.uint8)
        cv2.imwrite(str(tmp_path / "m" / f"{number}.png"), np.pad(mask, ((9, 31), (9, 47))))
    words = f"'{sys.executable}' -m vidrase a.mp4 --mask m -v -o o.mp4 {' '.join(NO_TORCH)}"
    line = f"set -o pipefail; {words} {DEAF[name]}"
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, check=False)
    assert done.returncode == 0
    with open_source(tmp_path / "o.mp4") as made:
        assert len(list(made)) == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "m", "o.mp4"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_stream_that_cannot_be_written_is_remembered(tmp_path: Path) -> None:
    full = Path("/dev/full").open("w", encoding="ascii")  # noqa: SIM115
    kept = Forgiving(full)
    assert kept.write("für\udcff") > 0
    kept.flush()
    assert kept.error is not None
    assert kept.error.errno == errno.ENOSPC
    assert kept.write("more") == 4
    with suppress(OSError):
        full.close()
