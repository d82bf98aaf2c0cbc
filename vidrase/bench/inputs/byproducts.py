"""What a run writes besides its result: never onto something that is read, another result, or a file nobody offered."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from vidrase.bench.inputs.case import Case

RUN = ["in.mp4", "--mask", "mask.png", "-o", "out.mp4"]
HOLD = (("--report", "r.json"), ("--preview", "s.png"), ("--save-masks", "m.mkv"))


def _there(*names: str) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(b"mine")

    return build


def _is_report(folder: Path) -> None:
    assert json.loads((folder / "r.json").read_text())["frames"] == 6


def _linked(folder: Path) -> None:
    (folder / "l.json").symlink_to("in.mp4")


def _folder_of_frames(folder: Path) -> None:
    (folder / "frames").mkdir()
    for number in range(2):
        shutil.copy(folder / "mask.png", folder / "frames" / f"{number}.png")


FRAMES = ["frames", "--mask", "mask.png"]
CASES = [
    *(
        Case(f"{option} onto the input", [*RUN, option, "in.mp4", "-y"], code=2, says="in.mp4 is the input itself")
        for option, _ in HOLD[:1]
    ),
    *(
        Case(f"{option} onto the mask", [*RUN, option, "mask.png", "-y"], code=2, says="is --mask itself")
        for option, _ in HOLD
    ),
    *(
        Case(f"{option} onto the result", [*RUN[:-1], name, option, name, "-y"], code=2)
        for option, name in (("--report", "o.mp4"), ("--save-masks", "o.mkv"))
    ),
    *(
        Case(
            f"{option} where something is",
            [*RUN, option, name],
            _there(name),
            code=1 if "masks" in option else 2,
            says="exists already",
        )
        for option, name in HOLD
    ),
    *(
        Case(f"{option} to no folder", [*RUN, option, f"no/{name}"], code=1, says="there is no folder")
        for option, name in HOLD[:2]
    ),
    *(
        Case(f"{option} to a folder", [*RUN, option, name, "-y"], _there(f"{name}/x"), code=2, says="is a folder")
        for option, name in HOLD[:2]
    ),
    *(Case(f"{option} below a file", [*RUN, option, f"mask.png/{name}", "-y"], code=1) for option, name in HOLD),
    *(
        Case(f"{option} to a device", [*RUN, option, "/dev/null" + Path(name).suffix * 0, "-y"], code=2, says="neither")
        for option, name in HOLD[:1]
    ),
    Case(
        "--report and --preview in one",
        [*RUN, "--report", "x.png", "--preview", "./x.png"],
        code=2,
        says="are one file",
    ),
    Case(
        "--report with -y",
        [*RUN, "--report", "r.json", "-y"],
        _there("r.json"),
        makes=("out.mp4",),
        replaces=("r.json",),
        check=_is_report,
    ),
    Case(
        "--report by a link to the input",
        [*RUN, "--report", "l.json", "-y"],
        _linked,
        code=2,
        says="is the input itself",
    ),
    Case(
        "--report with --preview alone",
        ["in.mp4", "--mask", "mask.png", "--preview", "s.png", "--report", "r.json"],
        code=2,
        says="--preview alone",
    ),
    Case(
        "--preview alone onto the input",
        ["in.mp4", "--mask", "mask.png", "--preview", "mask.png", "-y"],
        code=2,
        says="is --mask itself",
    ),
    Case(
        "--preview alone where something is",
        ["in.mp4", "--mask", "mask.png", "--preview", "s.png"],
        _there("s.png"),
        code=2,
        says="exists already",
    ),
    Case(
        "--save-masks round the input",
        ["frames/0.png", "--mask", "frames/1.png", "-o", "o.png", "--save-masks", "frames", "-y"],
        _folder_of_frames,
        code=2,
        says="would be lost",
    ),
    Case(
        "a result round the input",
        ["frames/0.png", "--mask", "mask.png", "-o", "frames", "-y"],
        _folder_of_frames,
        code=2,
        says="would be lost",
    ),
    Case(
        "a result round the mask",
        ["mask.png", "--mask", "frames/0.png", "-o", "frames", "-y"],
        _folder_of_frames,
        code=2,
        says="would be lost",
    ),
    Case(
        "--preview onto a frame",
        [*FRAMES, "--preview", "frames/1.png", "-o", "out", "-y"],
        _folder_of_frames,
        code=2,
        says="one of the pictures",
    ),
    Case(
        "masks within the result",
        [*FRAMES, "-o", "out", "--save-masks", "out/m"],
        _folder_of_frames,
        code=2,
        says="lies in the other",
    ),
    Case(
        "frames onto themselves",
        [*FRAMES, "-o", "frames/", "-y"],
        _folder_of_frames,
        code=2,
        says="is the input itself",
    ),
    Case(
        "--list with --report",
        ["in.mp4", "--list", "--report", "r.json"],
        code=2,
        says="leave --save-masks and --report out",
    ),
    Case(
        "live: --report onto the source",
        ["live", "in.mp4", "--remove", "person", "--report", "in.mp4", "-y"],
        code=2,
        says="is the source itself",
    ),
    Case(
        "live: two outputs in one",
        ["live", "in.mp4", "--remove", "person", "-o", "r.mkv", "--report", "./r.mkv"],
        code=2,
        says="are one file",
    ),
    Case(
        "live: a source named like a piece",
        ["live", "r-001.mkv", "--remove", "person", "-o", "r.mkv", "-y"],
        _there("r-001.mkv"),
        code=2,
        says="like a piece of the recording",
    ),
    Case(
        "train: the output onto the teacher",
        ["train", "segmenter", "in.mp4", "--teacher", "t.pt", "-o", "t.pt", "-y"],
        _there("t.pt"),
        code=2,
        says="is an input itself",
    ),
    Case(
        "train: the output where something is",
        ["train", "inpainter", "in.mp4", "-o", "o.safetensors"],
        _there("o.safetensors"),
        code=2,
        says="exists already",
    ),
    Case(
        "train: the run of another",
        ["train", "inpainter", "in.mp4", "-o", "o.safetensors", "--run", "r"],
        _there("r/last.pt"),
        code=2,
        says="the checkpoint of another run",
    ),
    Case(
        "pick: --sheets where something is",
        ["pick", "in.mp4", "--sheets", "s"],
        _there("s/objects.png"),
        code=2,
        says="exists already",
    ),
]
