"""`vidrase FILE --list`: what is there to remove, before anything is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import click

from vidrase import engine, paths, sheet
from vidrase.byproducts import inputs
from vidrase.cli import terminal
from vidrase.cli.progress import ProgressBar
from vidrase.options import Options
from vidrase.part import Part
from vidrase.paths import Named
from vidrase.report import Notes
from vidrase.run import Models, Run
from vidrase.source import PICTURES, open_source
from vidrase.starred import starred
from vidrase.store import TrackSummary


def show(sources: Sequence[str], options: Options, *, as_json: bool, thumbnails: Path | None, quiet: bool) -> None:
    """Print what the detector finds in each source; `thumbnails`: also a picture of every object with its id."""
    with ExitStack() as stack, ProgressBar(quiet=quiet or as_json) as progress:

        def say(text: str) -> None:
            if not quiet:
                progress.clear()
                click.echo(f"vidrase: {text}", err=True)

        part = _reserved(sources, options, thumbnails, stack)
        notes = Notes(say)
        models = Models.load(options, notes, segmenter=True)
        found: dict[str, list[TrackSummary]] = {}
        for where in sources:
            reading = options.source
            with open_source(
                where, note=notes, strict=reading.strict, wait=reading.wait, references=reading.allow_references
            ) as source:
                found[where] = engine.list_objects(source, Run(options, models, notes, progress=progress))
        if part is not None:
            tracks = [track for found_here in found.values() for track in found_here]
            seen = [(track.thumbnail, f"id:{track.id} {track.label}") for track in tracks]
            sheet.thumbnails([(picture, text) for picture, text in seen if picture is not None], part)
    if as_json:
        click.echo(
            json.dumps(
                {starred(where): [track.as_dict() for track in tracks] for where, tracks in found.items()}, indent=2
            )
        )
        terminal.written()
        return
    for where, tracks in found.items():
        if len(found) > 1:
            click.echo(f"{starred(where)}:")
        table(tracks)
    if thumbnails is not None:
        click.echo(f"pictures: {thumbnails}")
    terminal.written()


def _reserved(sources: Sequence[str], options: Options, thumbnails: Path | None, stack: ExitStack) -> Part | None:
    if thumbnails is None:
        return None
    sheet.check_sheet(thumbnails)
    read = [Named("the input", Path(source)) for source in sources if "://" not in source]
    paths.compare(read + inputs(None, options), [Named("--preview", thumbnails)], pictures=PICTURES)
    paths.refuse_existing("--preview", thumbnails, overwrite=options.sink.overwrite)
    part = Part(thumbnails, overwrite=options.sink.overwrite)
    stack.callback(part.drop)
    return part


def table(tracks: Sequence[TrackSummary]) -> None:
    """Print one line for each object."""
    if not tracks:
        click.echo("nothing that the model knows was found")
        return
    click.echo(f"{'id':>4}  {'class':<16} {'first':>9} {'last':>9} {'frames':>7}  size")
    for track in tracks:
        click.echo(
            f"{track.id:>4}  {track.label:<16} {_clock(track.first_seconds):>9} {_clock(track.last_seconds):>9} "
            f"{track.frames:>7}  {100 * track.area_share:.1f} % of the picture"
        )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}:{rest:05.2f}"
