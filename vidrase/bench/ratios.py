"""Whole processes side by side on real clips: ours at two qualities, the user's script, decode + detect + encode.

Each is started as a user would start it and timed from its start to its end, in turn (`alternate`). What counts are the ratios:
machines, and hours on one machine, differ by a factor of two.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vidrase.bench.alternate import alternated, ratio
from vidrase.bench.clipfile import read_luma_frames, write_clip
from vidrase.bench.pasted import Removal, RemovalRef, pasted, pasted_names
from vidrase.bench.peers import OURS
from vidrase.bench.results import Results, Row, median_iqr
from vidrase.bench.spawn import ChildFailed, Elapsed, timed
from vidrase.bench.tools import UserScript, coco_weights
from vidrase.errors import VidraseError

SIZE = (480, 854)
BACKGROUNDS = ("rhino", "boat", "car-turn")  # a slow pan over grass and trees; water, which moves itself; a fast turn
QUALITIES = ("default", "fast")
SCRIPT, FLOOR = UserScript.name, "decode + detect + encode"


RATIOS = {"ratio_to_script": ("the user's script", SCRIPT), "ratio_to_floor": (FLOOR, FLOOR)}
"""measure -> (words, the method whose median is divided by); lower is better."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to treat a clip."""

    method: str
    run: Callable[[Path, Path], Elapsed]
    """(clip, to) -> seconds of the whole process."""
    quality: str = ""
    """Of ours: a case of its own in the record, as `compare` goes by cases."""

    def case(self, name: str) -> str:
        """The row's case for the clip `name`."""
        return f"{name} · {self.quality}" if self.quality else name


def paste_refs(data: Path, frames: int, count: int) -> list[RemovalRef]:
    """The first `count` of `BACKGROUNDS` that are here, with a pasted person. Raises when the folder holds none of them."""
    pairs = dict(pasted_names(data))
    here = [(name, pairs[name]) for name in BACKGROUNDS if name in pairs] or list(pairs.items())
    return [(f"paste/{a}+{b}", partial(pasted, data, a, b, frames, SIZE)) for a, b in here[:count]]


def contenders(device: str) -> list[Contender]:
    """Ours, the user's script, the floor. Raises WeightsMissing: all of them find people with the COCO weights."""
    script = UserScript(coco_weights(), device)
    ours = [Contender(OURS, partial(_ours, quality, device), quality) for quality in QUALITIES]
    return [
        *ours,
        Contender(SCRIPT, partial(script.timed, what="person")),
        Contender(FLOOR, partial(_floor, device)),
    ]


def run_ratios(
    results: Results, name: str, build: Callable[[], Removal], field: Sequence[Contender], repetitions: int
) -> None:
    """Rows "paste" of one clip, one a contender: medians over the repetitions, and ratios of these medians.

    A contender that fails, or whose result lacks frames, is reported and gets no row.
    """
    try:
        case = build()
    except VidraseError as error:
        results.fail("speed", name, "(case)", error)
        return
    frames = len(case.given)
    with tempfile.TemporaryDirectory(prefix="vidrase-bench-") as folder:
        clip = Path(folder) / "clip.mp4"
        write_clip(clip, case.given)
        places = {one: Path(folder) / f"out{k}.mp4" for k, one in enumerate(field)}
        runs = {one: partial(_checked, one.run, clip, to, frames) for one, to in places.items()}
        found = alternated(
            runs, repetitions, lambda one, error: results.fail("speed", one.case(name), one.method, error)
        )
        for one in found:
            results.add(paste_row(name, one, frames, found, _report(places[one])))


def paste_row(
    name: str,
    one: Contender,
    frames: int,
    found: Mapping[Contender, Sequence[Elapsed]],
    more: Mapping[str, float],
) -> Row:
    """The row of `one`: medians over its repetitions, and their ratios to the others of the same run. more: further numbers."""
    ms, spread = median_iqr([1000 * seconds.wall / frames for seconds in found[one]])
    work, work_spread = median_iqr([1000 * seconds.processor / frames for seconds in found[one]])
    numbers = {"ms_per_frame": ms, "cpu_ms_per_frame": work, "fps": 1000 / ms, "frames": float(frames)}
    iqr = {"ms_per_frame": spread, "cpu_ms_per_frame": work_spread}
    for measure, (_, beside) in RATIOS.items():
        rival = next((other for other in found if other.method == beside), None)
        if rival is not None and one.method not in (beside, FLOOR):
            ours, theirs = ([seconds.wall for seconds in found[key]] for key in (one, rival))
            numbers[measure], iqr[measure] = ratio(ours, theirs)
    return Row(
        "speed", "paste", one.case(name), one.method, _rounded(numbers | dict(more)), _rounded(iqr), len(found[one])
    )


def _rounded(numbers: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in numbers.items()}


def _checked(run: Callable[[Path, Path], Elapsed], clip: Path, to: Path, frames: int) -> Elapsed:
    """Whoever leaves frames out has not won: raises ChildFailed."""
    seconds = run(clip, to)
    there = sum(1 for _ in read_luma_frames(to))
    if there != frames:
        raise ChildFailed(f"wrote {there} of {frames} frames")
    return seconds


def _report(to: Path) -> dict[str, float]:
    """Stages in ms a frame and peak memory of the last run that wrote `to`; nothing for who writes no report."""
    path = to.with_suffix(".json")
    if not path.is_file():
        return {}
    report = json.loads(path.read_text(encoding="utf-8"))
    stages = {f"stage_{name}": 1000 * value / max(report["frames"], 1) for name, value in report["seconds"].items()}
    return {**stages, "peak_mib": report["peak_memory_mib"]}


def _ours(quality: str, device: str, clip: Path, to: Path) -> Elapsed:
    words = ["--remove", "person", "--quality", quality, "--device", device, "--report", str(to.with_suffix(".json"))]
    command = [sys.executable, "-m", "vidrase", str(clip), *words, "-o", str(to), "--overwrite", "--quiet"]
    return timed(command, what=f"vidrase --quality {quality} on {clip.name}")


def _floor(device: str, clip: Path, to: Path) -> Elapsed:
    command = [sys.executable, "-m", "vidrase.bench.floor", str(clip), str(to), device]
    return timed(command, what=f"{FLOOR} on {clip.name}")
