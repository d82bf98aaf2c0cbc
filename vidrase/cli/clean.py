"""`vidrase clean`: what killed runs have left, listed and removed."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from vidrase.chunks.folder import LeftOver, left_over, remove
from vidrase.errors import OptionError


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path), metavar="[FOLDER…]")
@click.option("-y", "--yes", is_flag=True, help="Remove without asking.")
@click.option("-n", "--dry-run", is_flag=True, help="Only list.")
def clean(folders: tuple[Path, ...], yes: bool, dry_run: bool) -> None:
    """List and remove the work folders and unfinished results that killed runs have left in a FOLDER  [.]

    What a run is using is not touched. Folders that you named with --work are yours, and are not listed.
    """
    found: list[LeftOver] = []
    for folder in folders or (Path(),):
        if not folder.is_dir():
            raise OptionError(f"{folder} is no folder; give one in which results were written")
        found += left_over(folder)
    for one in found:
        what = "work of a run that was not finished" if one.path.suffix == ".work" else "unfinished result"
        click.echo(f"{one.path}  {_size(one.nbytes)}, {_age(one.seconds)} old: {what}")
    if not found:
        click.echo("nothing is left over")
        return
    if dry_run:
        return
    total = _size(sum(one.nbytes for one in found))
    if not yes and not sys.stdin.isatty():
        click.echo(f"{total}; -y removes it")
        return
    if yes or click.confirm(f"remove {total}?"):
        for one in found:
            remove(one)
        click.echo(f"{total} removed")


def _size(nbytes: int) -> str:
    return f"{nbytes / 1e9:.1f} GB" if nbytes >= 1e9 else f"{nbytes / 1e6:.1f} MB"


def _age(seconds: float) -> str:
    for name, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {name}{'s' * (count > 1)}"
    return f"{int(seconds)} seconds"
