"""`vidrase FILE …` and `vidrase COMMAND …`, side by side, and how errors are reported.

Exit codes: 0 done, 1 failed on the way, 2 the request was wrong, 130 interrupted. Heavy imports wait until a command needs them,
so that `--help` is quick and a missing system library becomes one line.
"""

from __future__ import annotations

import errno
import importlib
import io
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from typing import NoReturn

import click

from vidrase.cli import interrupt, memory
from vidrase.errors import DependencyError, OptionError, OutOfMemory, VidraseError
from vidrase.starred import starred

COMMANDS = {  # name -> (module, attribute, what --help says)
    "erase": ("vidrase.cli.erase", "erase", "Remove objects from pictures and videos (what `vidrase FILE …` runs)."),
    "pick": ("vidrase.cli.pick", "pick", "Select by hand: analyse once, pick, see the masks, run."),
    "live": ("vidrase.cli.live", "live", "Remove objects from a camera or stream while you watch."),
    "batch": ("vidrase.cli.batch", "batch", "Erase from many clips, on this machine or on many."),
    "clean": ("vidrase.cli.clean", "clean", "List and remove what killed runs have left."),
    "models": ("vidrase.cli.models", "models", "List, fetch and check the weights."),
    "bench": ("vidrase.cli.bench", "bench", "Measure quality, speed and memory."),
    "train": ("vidrase.cli.train", "train", "Train the models that ship with the package."),
}


class _Commands(click.Group):
    """Sub-commands imported when used; a first word that is none of them is a file to erase from."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        return getattr(importlib.import_module(module), attribute)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "" in args:
            before = args[args.index("") - 1] if args.index("") else ""
            of = f"the value of {before}" if before.startswith("-") else "a file name or option"
            raise OptionError(
                f"{of} is empty; leave it out, or say what it is to be (a variable of your shell that is not set?)"
            )
        first = args[0] if args else ""
        if first and first not in COMMANDS and first not in ("--help", "-h", "--version"):
            args = ["erase", *args]
        return super().parse_args(ctx, args)


def explain_import(error: ImportError) -> DependencyError:
    """One line with the remedy, for the libraries that are known to be missing on fresh machines."""
    text = str(error)
    if "libGL" in text or "libgthread" in text or "libglib" in text:
        return DependencyError(
            f"OpenCV does not load ({text}); on Debian or Ubuntu: apt-get install libgl1 libglib2.0-0, "
            "or: pip uninstall opencv-python && pip install opencv-python-headless"
        )
    return DependencyError(f"a library is missing or does not load ({text}); try: pip install --upgrade vidrase")


@click.command(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    options_metavar="",
    subcommand_metavar="FILE… | COMMAND …",
)
@click.version_option(package_name="vidrase")
def cli() -> None:
    """Remove people and objects from video; the real background takes their place.

    \b
    vidrase clip.mp4 --remove person              -> clip_erased.mp4
    vidrase photo.jpg --remove person,dog
    vidrase clip.mp4 --mask hole.png -o out.mp4
    vidrase clip.mp4 --list                       what is there to remove
    vidrase pick clip.mp4                         select by hand, see the masks, run
    vidrase live 0 --remove person                a camera or stream, while you watch
    vidrase erase --help                          all options

    Give a file that is named like a command as ./models.
    """


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and end the process with its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    for stream in (sys.stdout, sys.stderr):  # file names need not be text
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        memory.check(arguments)
        code = cli.main(arguments, prog_name="vidrase", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except (SystemExit, click.exceptions.Exit) as leave:
        sys.exit(leave.exit_code if isinstance(leave, click.exceptions.Exit) else leave.code)
    except BaseException as error:  # noqa: BLE001 - told below, or shown whole by --debug
        if interrupt.asked() or isinstance(error, KeyboardInterrupt | click.Abort):
            interrupt.ignore()
            _say("interrupted; nothing half done was left behind")
            sys.exit(interrupt.EXIT_CODE)
        if debug and not isinstance(error, click.ClickException | BrokenPipeError):
            click.echo(starred(traceback.format_exc()), err=True)
            sys.exit(error.exit_code if isinstance(error, VidraseError) else 1)
        sys.exit(_told(error, arguments))


def _told(error: BaseException, arguments: Sequence[str] = ()) -> int:
    """Say in one line what went wrong; returns the exit code."""
    if isinstance(error, click.ClickException):
        _say(f"{error.format_message()}  (see: vidrase --help)")
        return 2
    lack = None if type(error) is OutOfMemory else memory.lacking(error, arguments)
    if lack is not None:
        _say(lack)
        return 1
    if isinstance(error, VidraseError):
        _say(" ".join(str(error).split()))
        return error.exit_code
    if isinstance(error, ImportError):
        return _told(explain_import(error), arguments)
    if isinstance(error, BrokenPipeError):
        # the reader of our output has closed it; redirecting stdout keeps the interpreter's own flush quiet
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        _say(
            f"the disk is full; what a run keeps for a while lies in {tempfile.gettempdir()} (TMPDIR names another folder)"
        )
    elif isinstance(error, OSError) and isinstance(error.filename, str | bytes):
        _say(f"{os.fsdecode(error.filename)} cannot be reached: {error.strerror}")
    else:  # unexpected: one line for the user; --debug shows the traceback
        _say(f"internal error, {type(error).__name__}: {' '.join(str(error).split())}  (please report it with --debug)")
    return 1


def _say(text: str) -> None:
    click.echo(f"vidrase: {starred(text)}", err=True)
