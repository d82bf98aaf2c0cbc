"""Interactive sessions: picks, discarding, several runs, one detection pass."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import fakes
import numpy as np
import pytest
import synth
from click.testing import CliRunner, Result
from clips import write_clip

from vidrase.cli.pick import pick
from vidrase.errors import OptionError
from vidrase.flow import load_flow
from vidrase.inpaint import load_inpainter
from vidrase.options import options_from
from vidrase.run import Models
from vidrase.session import Session, parse_line

LEFT, RIGHT, CAR = ("person", 8, 20, 28, 70), ("person", 90, 20, 110, 70), ("car", 45, 40, 80, 60)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    shown, _, _ = synth.clip(8, 96, 128, pan=(0.0, 0.5))
    write_clip(tmp_path / "clip.mp4", shown)
    return tmp_path / "clip.mp4"


@pytest.fixture
def scene() -> fakes.SceneSegmenter:
    return fakes.SceneSegmenter(LEFT, RIGHT, CAR)


def models(scene: fakes.SceneSegmenter) -> Models:
    return Models(load_flow("dis", note=print), load_inpainter("auto"), scene)  # type: ignore[arg-type]


@pytest.fixture
def session(clip: Path, scene: fakes.SceneSegmenter) -> Iterator[Session]:
    with Session(clip, options_from({}), models=models(scene)) as made:
        yield made


def ids(session: Session) -> list[int]:
    return [thing.id for thing in session.chosen]


@pytest.mark.parametrize(
    ("lines", "goes"),
    [
        ([], []),
        (["2"], [2]),
        (["id:1"], [1]),
        (["1 3"], [1, 3]),
        (["1,3"], [1, 3]),
        (["person"], [1, 2]),
        (["person on the left"], [1]),
        (["18,40"], [1]),
        (["100, 40@0.1"], [2]),
        (["at 60,50@0:00.2"], [3]),
        (["44,38,82,62"], [3]),
        (["all", "keep car"], [1, 2]),
        (["person", "keep person on the right"], [1]),
        (["person", "keep 100,40"], [1]),
        (["keep 2", "person"], [1]),
        (["keep 2", "person", "2"], [1, 2]),
        (["1", "3", "keep person"], [3]),
        (["1", "keep 1"], []),
        (["keep 1", "1"], [1]),
    ],
)
def test_several_picks(session: Session, lines: list[str], goes: list[int]) -> None:
    for line in lines:
        session.pick(line)
    assert ids(session) == goes


def test_discarding_picks(session: Session) -> None:
    session.pick("person")
    session.pick("keep 2")
    assert session.discard().text == "keep 2"
    assert ids(session) == [1, 2]
    session.clear()
    assert ids(session) == []
    with pytest.raises(OptionError, match="no pick"):
        session.discard()


@pytest.mark.parametrize(
    "line", ["9", "zebra", "1,2,3,4,5,,x", "500,500", "18,40@99", "keep", "at x,y", "@", ",", "the dog"]
)
def test_an_invalid_line_changes_nothing(session: Session, line: str) -> None:
    session.pick("3")
    with pytest.raises(OptionError) as caught:
        session.pick(line)
    assert "\n" not in str(caught.value)
    assert (ids(session), len(session.picks)) == ([3], 1)


def test_numbers_are_ids_before_coordinates() -> None:
    assert parse_line("1,3", {1, 3})[1].remove == ("id:1", "id:3")
    assert parse_line("1,3", {1})[1].at[0].x == 1
    assert parse_line("keep 320,200@1:02", {1}) == (True, parse_line("320,200@62", {1})[1])
    assert parse_line("keep the red car", {1})[1].remove == ("the red car",)


def test_overview_and_preview_images(session: Session, tmp_path: Path) -> None:
    session.overview(tmp_path / "objects.png")
    made = cv2.imread(str(tmp_path / "objects.png"))
    assert made.shape[1] == 960 + 6
    assert made.shape[0] == 720 + 6 + 180 + 6 + 36 + 6
    assert not session.show(tmp_path / "chosen.png")
    session.pick("car")
    assert session.show(tmp_path / "chosen.png")
    assert cv2.imread(str(tmp_path / "chosen.png")).shape[0] == 4 * (360 + 6)


def test_one_detection_pass_for_two_runs(session: Session, scene: fakes.SceneSegmenter, tmp_path: Path) -> None:
    session.pick("1")
    seen = scene.frames
    assert session.erase(tmp_path / "o.mp4").removed == {"person": 1}
    first = (tmp_path / "o.mp4").read_bytes()
    session.pick("car")
    with pytest.raises(OptionError, match="run again"):
        session.erase(tmp_path / "o.mp4")
    assert (tmp_path / "o.mp4").read_bytes() == first
    assert session.erase(tmp_path / "o.mp4", again=True).removed == {"person": 1, "car": 1}
    assert (tmp_path / "o.mp4").read_bytes() != first
    assert scene.frames == seen
    (tmp_path / "other.mp4").write_bytes(b"somebody's")
    with pytest.raises(OptionError, match="exists already"):
        session.erase(tmp_path / "other.mp4", again=True)
    assert (tmp_path / "other.mp4").read_bytes() == b"somebody's"


def test_save_and_reopen(session: Session, clip: Path, scene: fakes.SceneSegmenter, tmp_path: Path) -> None:
    session.pick("person on the left")
    session.pick("60,50")
    session.save(tmp_path / "s.json")
    saved = json.loads((tmp_path / "s.json").read_text())
    assert saved["asked"]["remove"] == ["person on the left"]
    assert saved["asked"]["at"] == [[60, 50, 0]]
    assert [thing["reading"][:12] for thing in saved["things"]] == ["'person on t", "the click at"]
    with Session(clip, options_from({"selection": tmp_path / "s.json"}), models=models(scene)) as again:
        assert ids(again) == [1, 3]
        again.pick("keep 3")
        assert ids(again) == [1]
        with pytest.raises(OptionError, match="exists already"):
            again.save(tmp_path / "s.json")


@pytest.fixture
def talk(clip: Path, scene: fakes.SceneSegmenter, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setattr(Models, "load", lambda *_, **__: models(scene))
    monkeypatch.chdir(clip.parent)

    def run(lines: str, *options: str) -> Result:
        return CliRunner().invoke(pick, ["clip.mp4", *options], input=lines)

    return run


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_the_loop(talk: Callable[..., Result], clip: Path) -> None:
    lines = "help\n\nperson\nlist\nkeep 2\ny\nrun\ncar\nrun\nrun again\nsave s.json\ndiscard\nquit\n"
    result = talk(lines, "--sheets", "pictures")
    assert result.exit_code == 0, result.output
    out = result.output
    assert "numbered pictures: pictures/objects.png" in out
    assert "remove: person 1 2\nbefore / mask: pictures/chosen.png" in out
    assert "clip_erased.mp4: 1 person removed" in out
    assert "clip_erased.mp4: 1 car, 1 person removed" in out
    assert "`run again` replaces it" in out
    assert "taken back: car" in out
    assert names(clip.parent) == ["clip.mp4", "clip_erased.mp4", "pictures", "s.json"]
    assert names(clip.parent / "pictures") == ["chosen.png", "objects.png"]


@pytest.mark.parametrize("lines", ["", "person\n", "person\nkeep 2", "quit\nperson\nrun\n"])
def test_end_of_input_leaves_no_output(
    talk: Callable[..., Result], clip: Path, tmp_path_factory: pytest.TempPathFactory, lines: str, monkeypatch: Any
) -> None:
    scratch = tmp_path_factory.mktemp("scratch")
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    result = talk(lines)
    assert result.exit_code == 0, result.output
    assert names(clip.parent) == ["clip.mp4"]
    assert names(scratch) == []


def test_invalid_lines_print_one_line_and_the_loop_continues(talk: Callable[..., Result], clip: Path) -> None:
    bad = [
        "zebra",
        "99",
        "run",
        "y",
        "discard",
        "save s.json",
        "save",
        "run a b",
        "1,2@x",
        "keep nobody",
        "run nowhere.xyz",
    ]
    result = talk("\n".join([*bad, "car", "run no/o.mp4", "run it's.mp4", "save it's.json"]) + "\n")
    assert result.exit_code == 0, result.output
    complaints = [line for line in result.stderr.splitlines() if line.startswith("vidrase: ")]
    assert len(complaints) == len(bad) + 1, result.output
    assert "Traceback" not in result.output
    assert names(clip.parent) == ["clip.mp4", "it's.json", "it's.mp4"]


def test_the_command_line_gives_the_first_pick(talk: Callable[..., Result], clip: Path) -> None:
    result = talk("run\n", "--remove", "person", "--keep", "id:2", "-o", "o.mp4", "-q")
    assert "remove: person 1" in result.output
    assert names(clip.parent) == ["clip.mp4", "o.mp4"]


def test_invalid_options(talk: Callable[..., Result], clip: Path) -> None:
    assert isinstance(talk("", "--mask", "hole.png").exception, OptionError)
    assert isinstance(talk("", "--selection", "none.json").exception, OptionError)
    assert isinstance(talk("", "--sheets", "clip.mp4").exception, OptionError)


def test_a_clip_without_detections(talk: Callable[..., Result], scene: fakes.SceneSegmenter) -> None:
    scene.objects = ()
    result = talk("person\n")
    assert (result.exit_code, "nothing that the model knows" in result.output) == (0, True)


def test_an_interrupt_at_the_prompt(talk: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.input", interrupted)
    assert talk("").exit_code in (1, 130)  # click's runner says 1; the program's main, below, 130


def test_interrupt_is_130(clip: Path) -> None:
    code = (
        "import vidrase.cli.main as m, builtins, fakes\n"
        "from vidrase.run import Models\n"
        "from vidrase.flow import load_flow\n"
        "from vidrase.inpaint import load_inpainter\n"
        f"scene = fakes.SceneSegmenter({LEFT!r})\n"
        "Models.load = lambda *_, **__: Models(load_flow('dis', note=print), load_inpainter('auto'), scene)\n"
        "def interrupted(_): raise KeyboardInterrupt\n"
        "builtins.input = interrupted\n"
        "m.main(['pick', 'clip.mp4'])\n"
    )
    way = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parent.parent)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=clip.parent,
        env={**os.environ, "PYTHONPATH": way},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 130, done.stderr
    assert "interrupted" in done.stderr
    assert names(clip.parent) == ["clip.mp4"]


def test_a_still_image(tmp_path: Path, scene: fakes.SceneSegmenter) -> None:
    cv2.imwrite(str(tmp_path / "in.png"), synth.clip(1)[0][0][..., ::-1])
    with Session(tmp_path / "in.png", options_from({}), models=models(scene)) as session:
        session.overview(tmp_path / "objects.png")
        session.pick("18,40")
        assert session.show(tmp_path / "chosen.png")
        session.erase()
    before, after = (cv2.imread(str(tmp_path / name)) for name in ("in.png", "in_erased.png"))
    assert np.array_equal(before[:, 60:], after[:, 60:])
    assert not np.array_equal(before[20:70, 8:28], after[20:70, 8:28])
