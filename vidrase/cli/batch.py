"""`vidrase batch CLIPS…`: many clips with one request, a table while they are done, a summary at the end."""

from __future__ import annotations

import glob
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from vidrase import paths
from vidrase.addresses import check_address
from vidrase.batch import Heard, Task, run_local
from vidrase.byproducts import inputs
from vidrase.chunks import machine
from vidrase.cli.erase import gather, how, what, written
from vidrase.cli.parse import auto_or_int
from vidrase.errors import OptionError
from vidrase.options import Options
from vidrase.part import Part, need_folder
from vidrase.paths import Named
from vidrase.sink import default_output
from vidrase.sink.encoders import CONTAINERS
from vidrase.source import PICTURES

DRAW_EVERY = 0.5  # s between two drawings of the table
ROWS = 12  # clips at work that the table shows


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("clips", nargs=-1, metavar="CLIP…")
@what
@how
@written
@click.option("--files", type=click.Path(path_type=Path), help="A file that names clips, one a line.")
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True, help="Who works.")
@click.option("--jobs", metavar="N|auto", help="Clips at a time, engine local.  [auto]")
@click.option("--address", help="The Ray cluster.  [RAY_ADDRESS, else one on this machine]")
@click.option("--gpus", type=float, default=0.0, show_default=True, help="GPUs of a Ray task; 0.5: two share one.")
@click.option("--summary", type=click.Path(path_type=Path), help="What came of each clip, JSON.")
def batch(clips: tuple[str, ...], **given: Any) -> None:
    """Erase from many clips: files, folders of videos, patterns ('*.mp4', quoted).

    --output names the results: a folder, or a pattern with {name}, {suffix}, {folder} and {n}, such as out/{name}_clean{suffix}.
    """
    options = gather(given)
    sources = _sources(clips, given["files"])
    every = [Task(source, to, options) for source, to in zip(sources, _results(sources, given["output"]), strict=True)]
    _refuse(every, options, given["summary"])
    summary = Part(given["summary"], overwrite=True) if given["summary"] is not None else None
    table = Table(every, quiet=given["quiet"])
    tasks = [task for task in every if options.sink.overwrite or not paths.is_there(task.to)]
    table.skip([task for task in every if task not in tasks])
    if tasks and given["engine"] == "ray":
        from vidrase.batch.cluster import run_ray

        run_ray(tasks, given["address"], given["gpus"], table.hears(tasks))
    else:
        asked = auto_or_int("--jobs", given["jobs"])
        if asked is not None and asked < 1:
            raise OptionError(f"--jobs: expected a number from 1 on, or auto, got {asked}")
        jobs, threads = machine.jobs(len(tasks), asked)
        run_local(tasks, jobs, threads, table.hears(tasks))
    table.finish()
    if summary is not None:
        summary.write((json.dumps(table.as_dict(), indent=2) + "\n").encode())
    failed = table.count("failed")
    if not given["quiet"]:
        there = f", {table.count('skipped')} were there (-y does them again)" if table.count("skipped") else ""
        click.echo(f"{table.count('done')} of {len(every)} clips done, {failed} failed{there}; {table.seconds:.1f} s")
    if failed:
        raise click.exceptions.Exit(1)


def _sources(clips: tuple[str, ...], listing: Path | None) -> list[str]:
    """Every clip once, in the order given. Raises OptionError where there is none."""
    found: list[str] = []
    names = list(clips)
    if listing is not None:
        try:
            lines = listing.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise OptionError(
                f"--files {listing} cannot be read: {getattr(error, 'strerror', None) or error}"
            ) from error
        names += [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    for name in names:
        if name == "-":
            raise OptionError("standard input is one clip; erase it with: vidrase -")
        check_address(name)
        path = Path(name)
        if paths.is_folder(path):
            inside = sorted(str(one) for one in path.iterdir() if one.suffix.lower() in CONTAINERS and one.is_file())
            if not inside:
                raise OptionError(f"{path} holds no video; a folder of frames is erased with: vidrase {path}")
            found += [one for one in inside if not Path(one).name.startswith(".")]
        elif "://" not in name and not paths.is_there(path) and glob.has_magic(name):
            matching = sorted(glob.glob(name))  # noqa: PTH207 - a pattern may begin anywhere
            if not matching:
                raise OptionError(f"no file matches {name}")
            found += matching
        else:
            found.append(name)
    if not found:
        raise OptionError("no clips were given; name files, folders or patterns, or --files LIST")
    return list(dict.fromkeys(found))


def _results(sources: list[str], output: Path | None) -> list[Path]:
    """The name of each result."""
    usual = [default_output(source) for source in sources]
    if output is None:
        return usual
    text = str(output)
    if "{" not in text:
        if output.suffix and not output.is_dir():
            raise OptionError(
                f"--output {output} names one file; give a folder, or a pattern such as out/{{name}}{{suffix}}"
            )
        _make(output)
        return [output / to.name for to in usual]
    made = []
    for n, (source, to) in enumerate(zip(sources, usual, strict=True), 1):
        path = Path(source)
        try:
            name = text.format(name=path.stem, suffix=to.suffix, folder=path.parent, n=n)
        except (KeyError, IndexError, ValueError) as error:
            raise OptionError(
                f"--output {text}: expected {{name}}, {{suffix}}, {{folder}} or {{n}} in braces ({error})"
            ) from error
        made.append(Path(name))
    for folder in dict.fromkeys(to.parent for to in made):
        _make(folder)
    return made


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"--output: the folder {folder} cannot be made: {error.strerror or error}") from error


def _refuse(tasks: list[Task], options: Options, summary: Path | None) -> None:
    """Raises OptionError where a result would replace a clip, or another result: before any work."""
    first: dict[str, str] = {}
    for task in tasks:
        if (other := first.setdefault(os.path.realpath(task.to), task.source)) != task.source:
            raise OptionError(
                f"{other} and {task.source} would both become {task.to}; give --output a pattern with {{n}}"
            )
    read = [Named("the clip", Path(task.source)) for task in tasks if "://" not in task.source]
    made = [Named(f"the result of {task.source},", task.to) for task in tasks]
    if summary is not None:
        need_folder(summary)
        made.append(Named("--summary", summary))
    paths.compare(read + inputs(None, options), made, pictures=PICTURES)


@dataclass(slots=True)
class _Row:
    source: str
    to: Path
    state: str = "waits"
    """waits, works, done, failed or skipped."""
    step: str = ""
    frames: int = 0
    of: int | None = None
    begun: float = 0.0
    seconds: float = 0.0
    lost: int = 0
    """Times that its worker died."""
    error: str = ""
    report: dict[str, Any] = field(default_factory=dict)


class Table:
    """How far every clip is: redrawn on a terminal, elsewhere a line for each clip that ends."""

    def __init__(self, tasks: Sequence[Task], *, quiet: bool) -> None:
        self._rows = {task.to: _Row(task.source, task.to) for task in tasks}
        self._quiet, self._live = quiet, sys.stderr.isatty() and not quiet
        self._begun, self._drawn, self._lines = time.monotonic(), 0.0, 0

    def skip(self, tasks: Sequence[Task]) -> None:
        """Leave out those whose results are there: of a batch that was killed, or of an earlier one."""
        for task in tasks:
            self._rows[task.to].state = "skipped"

    def hears(self, tasks: Sequence[Task]) -> Heard:
        """What takes messages on `tasks`, by number."""
        return lambda number, message: self._heard(self._rows[tasks[number].to], message)

    def _heard(self, row: _Row, message: dict[str, Any]) -> None:
        now = time.monotonic()
        if row.state == "waits":
            row.state, row.begun = "works", now
        row.seconds = now - row.begun
        if "pass" in message:
            row.step, row.frames, row.of = message["pass"], message["frames"], message["of"]
        elif "died" in message:
            row.lost += 1
        elif "said" in message:
            self._say(f"{row.source}: {message['said']}")
        elif "report" in message:
            row.state, row.report = "done", message["report"]
            self._say(f"{row.source}: done, {row.report['frames']} frames in {row.report['wall_seconds']:.1f} s")
        elif "failed" in message:
            row.state, row.error = "failed", message["failed"]
            self._say(f"{row.source}: {row.error}", error=True)
        if self._live and now - self._drawn >= DRAW_EVERY:
            self._draw()

    def _say(self, text: str, *, error: bool = False) -> None:
        if error or not self._quiet:
            self._wipe()
            click.echo(f"vidrase: {text}", err=True)

    def _wipe(self) -> None:
        if self._lines:
            click.echo(f"\x1b[{self._lines}A\x1b[J", nl=False, err=True)
            self._lines = 0

    def _draw(self) -> None:
        self._wipe()
        self._drawn = time.monotonic()
        width = max(shutil.get_terminal_size().columns, 40)
        working = [row for row in self._rows.values() if row.state == "works"]
        lines = [_line(row) for row in working[:ROWS]]
        waiting = self.count("waits")
        lines.append(
            f"{self.count('done')} done, {self.count('failed')} failed, {len(working)} at work, {waiting} wait"
        )
        for line in lines:
            click.echo(line[: width - 1], err=True)
        self._lines = len(lines)

    def finish(self) -> None:
        """Leave the terminal as it was."""
        self._wipe()

    def count(self, state: str) -> int:
        """Clips in that state."""
        return sum(row.state == state for row in self._rows.values())

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._begun

    def as_dict(self) -> dict[str, Any]:
        """The summary, for JSON."""
        clips = [
            {"source": row.source, "output": str(row.to), "state": row.state, "seconds": round(row.seconds, 3)}
            | {"error": row.error, "workers_lost": row.lost, "report": row.report}
            for row in self._rows.values()
        ]
        counts = {state: self.count(state) for state in ("done", "failed", "skipped")}
        return {"clips": clips, **counts, "seconds": round(self.seconds, 3)}


def _line(row: _Row) -> str:
    """A clip at work, with the time that this pass will still take."""
    share = f"{100 * row.frames // row.of:3d} %" if row.of else "    "
    left = ""
    if row.of and row.frames and row.step == "erasing":
        left = f", {row.seconds * (row.of - row.frames) / row.frames:.0f} s left"
    return f"  {Path(row.source).name}  {row.step or 'starts'} {share} ({row.frames} frames{left})"
