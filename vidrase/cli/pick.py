"""`vidrase pick CLIP`: analyse once, then select by hand, see the masks, and run."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from vidrase import paths
from vidrase.byproducts import inputs
from vidrase.cli import erase, listing
from vidrase.cli.progress import ProgressBar
from vidrase.errors import OptionError, VidraseError
from vidrase.paths import Named
from vidrase.session import Session
from vidrase.sink import default_output
from vidrase.source import PICTURES

_SHEETS = ("objects.png", "chosen.png")
HELP = """remove:      3   1 4   person   red car   person on the left   320,200   320,200@1.5   10,20,90,120
keep:        keep 3   keep dog   keep 320,200
then:        y         the pick is right
             discard   take the last pick back; discard all
             show      what is removed, as a picture, once more
             list      what there is, and what was picked
             run       erase into {to}; run NAME into another
             run again erase once more with what is chosen now, over the last result
             save FILE.json   keep the choice, for: vidrase CLIP --selection FILE.json
             quit"""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source", metavar="CLIP")
@erase.what
@erase.how
@erase.written
@click.option(
    "--sheets", type=click.Path(path_type=Path), help="Folder to leave the pictures in.  [deleted at the end]"
)
def pick(source: str, sheets: Path | None, **given: Any) -> None:
    """Analyse CLIP once, then pick what to remove by number, class, phrase or click, see its mask, and run.

    Reads one line at a time from standard input; `help` lists the commands.
    """
    if given["mask"]:
        raise OptionError("pick chooses among what the detector finds; masks go with: vidrase CLIP --mask FILE")
    if source == "-":
        raise OptionError("standard input is where picks are read from; name the clip's file")
    options = erase.gather(given)
    for sheet in [Named("--sheets", sheets / name) for name in _SHEETS] if sheets is not None else []:
        paths.compare([Named("the input", Path(source)), *inputs(None, options)], [sheet], pictures=PICTURES)
        paths.refuse_existing(sheet.called, sheet.path, overwrite=options.sink.overwrite)
    with ExitStack() as stack:
        progress = stack.enter_context(ProgressBar(quiet=given["quiet"]))

        def say(text: str) -> None:
            progress.clear()
            click.echo(f"vidrase: {text}", err=True)

        session = stack.enter_context(Session(source, options, progress=progress, say=say))
        progress.finish()
        folder = sheets or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vidrase-pick-")))
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OptionError(f"cannot write pictures to {folder}: {error.strerror or error}") from error
        listing.table(session.tracks)
        if not session.tracks:
            return
        session.overview(folder / _SHEETS[0])
        click.echo(f"numbered pictures: {folder / _SHEETS[0]}")
        _Loop(session, folder, given, progress).run()


class _Loop:
    """Lines in, answers out; every decision is the session's."""

    def __init__(self, session: Session, folder: Path, given: dict[str, Any], progress: ProgressBar) -> None:
        self._session, self._folder, self._given, self._progress = session, folder, given, progress
        self._to: Path = given["output"] or default_output(session.info.url)
        self._commands: dict[str, Callable[[list[str]], None]] = {
            "y": self._agree,
            "yes": self._agree,
            "keep": self._agree,
            "n": self._discard,
            "no": self._discard,
            "discard": self._discard,
            "undo": self._discard,
            "show": lambda _: self._show(),
            "list": lambda _: self._list(),
            "run": self._run,
            "save": self._save,
            "help": lambda _: click.echo(HELP.format(to=self._to)),
            "?": lambda _: click.echo(HELP.format(to=self._to)),
        }

    def run(self) -> None:
        """Read and answer lines until quit or the end of the input."""
        if hasattr(sys.stdin, "reconfigure"):
            sys.stdin.reconfigure(errors="replace")  # a stray byte is an unknown word, not the end
        click.echo("what to remove? a number, a class, 'person on the left', x,y@seconds; help says more")
        if self._session.picks:
            self._show()
        while True:
            try:
                line = input("pick> ").strip()
            except EOFError:
                click.echo()
                return
            if line.lower() in ("quit", "exit", "q"):
                return
            try:
                self._answer(line)
            except VidraseError as error:
                click.echo(f"vidrase: {' '.join(str(error).split())}", err=True)

    def _answer(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        command = self._commands.get(word.lower())
        if not line:
            return
        if word.lower() in ("another", "add") and not rest.strip():
            click.echo("what else?")
        elif command is None or (word.lower() == "keep" and rest.strip()):
            self._session.pick(line)
            self._show()
        else:
            try:
                words = shlex.split(rest)
            except ValueError:  # an apostrophe in a name
                words = rest.split()
            command(words)

    def _show(self) -> None:
        path = self._folder / _SHEETS[1]
        if not self._session.show(path):
            click.echo("remove: nothing so far")
            return
        click.echo(f"remove: {self._removed()}")
        click.echo(f"before / mask: {path}")
        click.echo("y, discard, another pick, or run?")

    def _agree(self, words: list[str]) -> None:
        if not self._session.picks:
            raise OptionError("there is no pick yet; say what to remove")
        click.echo("pick kept; pick another, or run")

    def _discard(self, words: list[str]) -> None:
        if words == ["all"]:
            self._session.clear()
            click.echo("all picks taken back")
        else:
            click.echo(f"taken back: {self._session.discard().text}")
        if self._session.chosen:
            self._show()

    def _list(self) -> None:
        listing.table(self._session.tracks)
        for number, made in enumerate(self._session.picks, 1):
            click.echo(f"pick {number}: {made.text}")
        click.echo(f"remove: {self._removed()}")

    def _removed(self) -> str:
        """Class by class: "person 1 4; dog 3"."""
        by_class: dict[str, list[str]] = {}
        for track in self._session.chosen:
            by_class.setdefault(track.label, []).append(str(track.id))
        return "; ".join(f"{label} {' '.join(ids)}" for label, ids in by_class.items()) or "nothing so far"

    def _run(self, words: list[str]) -> None:
        again = words[:1] == ["again"]
        names = words[1:] if again else words
        if len(names) > 1:
            raise OptionError(f"run takes one name, got {len(names)}; quote a name with blanks")
        to = Path(names[0]) if names else self._to
        try:
            report = self._session.erase(to, again=again)
        finally:
            self._progress.finish()
        erase.summary(report, erase.gather(self._given), verbose=self._given["verbose"])

    def _save(self, words: list[str]) -> None:
        if len(words) != 1:
            raise OptionError("save takes one name, like: save choice.json")
        self._session.save(Path(words[0]))
        click.echo(f"saved: {words[0]}")
