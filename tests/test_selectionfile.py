"""Selection files: saved and loaded, matched to changed ids, and one line for every damaged file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fakes
import pytest
import synth
from clips import write_clip

import vidrase
from vidrase import engine, selectionfile
from vidrase.errors import OptionError
from vidrase.flow import load_flow
from vidrase.inpaint import load_inpainter
from vidrase.options import options_from
from vidrase.report import Report
from vidrase.run import Models

LEFT, RIGHT, CAR = ("person", 8, 20, 28, 70), ("person", 90, 20, 110, 70), ("car", 45, 40, 80, 60)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    shown, _, _ = synth.clip(8, 96, 128, pan=(0.0, 0.5))
    write_clip(tmp_path / "clip.mp4", shown)
    return tmp_path / "clip.mp4"


def run(
    clip: Path,
    segmenter: fakes.SceneSegmenter,
    *,
    save: Path | None = None,
    said: list[str] | None = None,
    **choices: Any,
) -> Report:
    models = Models(load_flow("dis", note=print), load_inpainter("auto"), segmenter)  # type: ignore[arg-type]
    options = options_from({**choices, "overwrite": True})  # type: ignore[typeddict-item]
    by_products = engine.ByProducts(selection=save)
    to = clip.with_name("o.mp4")
    return engine.erase(
        clip, to, options, models=models, by_products=by_products, say=None if said is None else said.append
    )


def things(path: Path) -> dict[int, dict]:
    return {thing["id"]: thing for thing in json.loads(path.read_text())["things"]}


def test_a_saved_selection_is_loaded(tmp_path: Path, clip: Path) -> None:
    file, scene, said = tmp_path / "s.json", fakes.SceneSegmenter(LEFT, RIGHT, CAR), []
    run(clip, scene, save=file, remove=["person on the left", "car"], keep=["id:2"], times=[(0.0, 0.2)])
    saved = things(file)
    assert {number: (t["label"], t["goes"]) for number, t in saved.items()} == {
        1: ("person", True),
        2: ("person", False),
        3: ("car", True),
    }
    assert "furthest left -> id:1" in saved[1]["reading"]
    assert saved[3]["reading"] == "asked for as 'car'"
    assert saved[1]["best"]["box"] == [8, 20, 28, 70]
    report = run(clip, scene, save=tmp_path / "again.json", said=said, selection=file)
    assert report.removed == {"person": 1, "car": 1}
    assert report.frames_with_hole == 5  # the times came along
    assert not said
    again = things(tmp_path / "again.json")
    assert {n: t["goes"] for n, t in again.items()} == {n: t["goes"] for n, t in saved.items()}


def test_tracks_are_found_under_other_ids(tmp_path: Path, clip: Path) -> None:
    file, said = tmp_path / "s.json", []
    run(clip, fakes.SceneSegmenter(LEFT, RIGHT, CAR), save=file, remove="id:1", keep="id:3")
    other = fakes.SceneSegmenter(CAR, RIGHT, LEFT, description="another")
    run(clip, other, save=tmp_path / "t.json", said=said, selection=file, remove="all")
    assert {n: t["goes"] for n, t in things(tmp_path / "t.json").items()} == {1: False, 2: True, 3: True}
    assert "model fake -> another" in said[0]


def test_a_scaled_clip(tmp_path: Path, clip: Path) -> None:
    file, said = tmp_path / "s.json", []
    run(clip, fakes.SceneSegmenter(LEFT, RIGHT), save=file, remove="person on the right")
    small = tmp_path / "small.mp4"
    write_clip(small, synth.clip(8, 48, 64)[0])
    halves = [(t[0], *(value // 2 for value in t[1:])) for t in (RIGHT, LEFT)]
    report = run(small, fakes.SceneSegmenter(*halves), save=tmp_path / "t.json", said=said, selection=file)  # type: ignore[arg-type]
    assert report.removed == {"person": 1}
    assert things(tmp_path / "t.json")[1]["best"]["box"][0] == 45
    assert "clip.mp4 (128x96, 8 frames" in said[0]


def test_missing_tracks_are_reported_in_one_line(tmp_path: Path, clip: Path) -> None:
    file, said = tmp_path / "s.json", []
    run(clip, fakes.SceneSegmenter(LEFT, RIGHT, CAR), save=file, remove=["id:1", "car"])
    report = run(clip, fakes.SceneSegmenter(LEFT, RIGHT), said=said, selection=file)
    assert report.removed == {"person": 1}
    assert [line for line in said if "nothing in this clip is like id:3 (car, 0.00-0.28 s)" in line]
    assert len(said) == 1


def test_later_choices_override_the_file(tmp_path: Path, clip: Path) -> None:
    file, scene = tmp_path / "s.json", fakes.SceneSegmenter(LEFT, RIGHT, CAR)
    run(clip, scene, save=file, remove=["id:1", "id:3"], keep=["id:2"])
    assert run(clip, scene, selection=file, keep="person").removed == {"car": 1}
    assert run(clip, scene, selection=file, keep="id:3").removed == {"person": 1}
    assert run(clip, scene, selection=file, remove="id:2").removed == {"person": 2, "car": 1}
    assert run(clip, scene, selection=file, remove="all").removed == {"person": 1, "car": 1}


def test_python_api_and_an_existing_file(tmp_path: Path, clip: Path) -> None:
    file = tmp_path / "s.json"
    file.write_text("{}")
    with pytest.raises(OptionError, match="exists already"):
        vidrase.erase(clip, tmp_path / "o.mp4", remove="person", save_selection=file)
    with pytest.raises(OptionError, match="no selection file"):
        vidrase.erase(clip, tmp_path / "o.mp4", selection=file)
    with pytest.raises(OptionError, match="words, clicks or boxes"):
        vidrase.erase(clip, tmp_path / "o.mp4", mask=clip, save_selection=tmp_path / "t.json")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip.mp4", "s.json"]


def test_stream_mode_takes_no_selection_file(tmp_path: Path, clip: Path) -> None:
    file, scene = tmp_path / "s.json", fakes.SceneSegmenter(LEFT)
    run(clip, scene, save=file, remove="person")
    eraser = vidrase.Eraser(selection=file)
    eraser._models = Models(load_flow("dis", note=print), load_inpainter("auto"), scene)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="whole clip"):
        list(eraser.stream(synth.clip(2)[0]))
    assert len(list(eraser.stream(clip))) == 8


def change(path: str, value: object) -> Callable[[dict], None]:
    def apply(content: dict) -> None:
        *way, last = path.split(".")
        for step in way:
            content = content[int(step) if step.isdecimal() else step]
        if value is ...:
            del content[last]
        else:
            content[last] = value

    return apply


BROKEN = {
    "another format": (change("format", "x"), "no selection file"),
    "a later version": (change("version", 2), "version 2"),
    "no things": (change("things", ...), "'things' is missing"),
    "things that are none": (change("things", "many"), "expected a list"),
    "a thing that is none": (change("things", [3]), "damaged"),
    "an id of words": (change("things.0.id", "x"), "expected a whole number"),
    "an id that is true": (change("things.0.id", True), "expected a whole number"),
    "no place": (change("things.0.places", []), "no place is known"),
    "half a box": (change("things.0.best.box", [1, 2]), "expected 4 numbers"),
    "no number": (change("things.0.best.seconds", float("nan")), "expected a number"),
    "a clip without width": (change("clip.width", 0), "from 1"),
    "a box inside out": (change("asked.region", [9, 9, 1, 1]), "has no inside"),
    "a span of three": (change("asked.times", [[1, 2, 3]]), "damaged"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_damaged_files_raise_one_line(name: str, tmp_path: Path, clip: Path) -> None:
    file = tmp_path / "s.json"
    run(clip, fakes.SceneSegmenter(LEFT), save=file, remove="person")
    content = json.loads(file.read_text())
    spoil, says = BROKEN[name]
    spoil(content)
    file.write_text(json.dumps(content))
    with pytest.raises(OptionError) as caught:
        selectionfile.load(file)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, "\xff\xfe", "null"])
def test_other_files_are_rejected(text: str, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_bytes(text.encode("latin-1"))
    for where in (tmp_path / "s.json", tmp_path / "none.json", tmp_path):
        with pytest.raises(OptionError) as caught:
            selectionfile.load(where)
        assert "\n" not in str(caught.value)
