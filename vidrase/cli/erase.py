"""`vidrase FILE …`: options to an engine run, and what is said before, during and after."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import click

from vidrase import engine, paths
from vidrase.addresses import check_address
from vidrase.byproducts import inputs
from vidrase.cli import listing
from vidrase.cli.parse import Number, auto_or_int, spans_of, words_of, workers_of
from vidrase.cli.progress import ProgressBar
from vidrase.errors import OptionError, VidraseError
from vidrase.options import Choices, Options, options_from
from vidrase.paths import Named
from vidrase.report import Note, Report
from vidrase.sink import default_output
from vidrase.source import PICTURES
from vidrase.written import box_of, click_of

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _options(*decorators: Decorator) -> Decorator:
    def apply(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


what = _options(
    click.option(
        "--remove", multiple=True, metavar="WHAT", help="Classes, 'all', 'id:3' from --list, or 'person on the left'."
    ),
    click.option("--keep", multiple=True, metavar="WHAT", help="What stays, of what --remove names."),
    click.option("--mask", multiple=True, type=click.Path(path_type=Path), help="Image, folder or video: white goes."),
    click.option("--mask-invert", is_flag=True, help="In the masks black goes."),
    click.option("--at", multiple=True, metavar="X,Y[@T]", help="The object at this point (at T seconds)."),
    click.option("--box", multiple=True, metavar="X0,Y0,X1,Y1[@T]", help="The object in this box."),
    click.option("--region", metavar="X0,Y0,X1,Y1", help="Change nothing outside this box."),
    click.option("--time", "times", multiple=True, metavar="A-B", help="Only this time span, e.g. 0:10-0:20."),
    click.option("--selection", type=click.Path(path_type=Path), help="What --save-selection or `pick` saved."),
    click.option("--dilate", metavar="N|auto", help="Dilate masks by N px; 0: none.  [auto]"),
    click.option("--mask-shape", type=click.Choice(["dilated", "mask", "box"]), default="dilated", show_default=True),
)
how = _options(
    click.option("--fill", type=click.Choice(["auto", "plate", "flow", "image"]), default="auto", show_default=True),
    click.option("--quality", type=click.Choice(["fast", "default", "best"]), default="default", show_default=True),
    click.option("--inpainter", default="auto", show_default=True, help="Model for areas that no frame shows."),
    click.option("--inpainter-weights", type=click.Path(path_type=Path), help="Weights of a learned inpainter."),
    click.option(
        "--trust-weights",
        is_flag=True,
        help="Run a TorchScript file (LaMa) of unknown origin: it is a program and can do whatever you can.",
    ),
    click.option(
        "--flow", type=click.Choice(["auto", "dis", "raft"]), default="auto", show_default=True, help="Motion by."
    ),
    click.option("--flow-weights", type=click.Path(path_type=Path), help="RAFT weights: torchvision's .pth."),
    click.option("--shadows/--no-shadows", default=None, help="Remove shadows and what masks leave."),
    click.option("--segmenter", type=click.Choice(["yolo", "maskrcnn"]), default="yolo", show_default=True),
    click.option("--model", help="Weights: a path, or a name from `vidrase models`."),
    click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, mps."),
    click.option("--precision", default="auto", show_default=True, help="fp32, bf16, fp16."),
    click.option("--imgsz", type=int, default=640, show_default=True, help="Long side that the detector sees, px."),
    click.option("--conf", type=Number(), help="Least confidence of a detection.  [the model's own]"),
    click.option("--tracker", type=click.Choice(["bytetrack", "botsort"]), default="bytetrack", show_default=True),
    click.option(
        "--detect-every",
        metavar="N|auto",
        help="Run the detector on every N-th frame.  [auto: 1, or 2 where little moves]",
    ),
)
written = _options(
    click.option("-o", "--output", type=click.Path(path_type=Path), help="File or folder.  [<name>_erased]"),
    click.option("-y", "--overwrite", is_flag=True, help="Replace existing files."),
    click.option("--codec", help="h264, hevc, av1, vp9, prores, ffv1, or an encoder's name."),
    click.option("--crf", type=Number(), help="The encoder's quality figure."),
    click.option("--preset", help="The encoder's speed preset."),
    click.option("--pix-fmt", help="Pixel format to encode in.  [the source's]"),
    click.option("--lossless", is_flag=True, help="Outside the hole every sample stays what it was."),
    click.option("--strict", is_flag=True, help="A damaged input is an error; else what is left is used, and said."),
    click.option("--wait", type=Number(), default=60.0, show_default=True, help="Seconds for a pipe to begin."),
    click.option(
        "--allow-references", is_flag=True, help="Playlists and ffconcat lists may lead out of their own folder."
    ),
    click.option("-q", "--quiet", is_flag=True, help="Only errors."),
    click.option("-v", "--verbose", is_flag=True, help="Print encoder, models and stage times."),
    click.option("--debug", is_flag=True, help="Show tracebacks."),
)
_work = _options(
    click.option(
        "--workers", metavar="N|auto", help="Processes that fill; auto: by cores, memory and GPUs.  [1: this one]"
    ),
    click.option("--work", type=click.Path(path_type=Path), help="Folder that keeps what is done, also afterwards."),
    click.option("--restart", is_flag=True, help="Begin anew, whatever an earlier run has done."),
)
_by_products = _options(
    click.option("--save-masks", type=click.Path(path_type=Path), help="Folder, .mkv or .png; --mask reads it back."),
    click.option("--save-selection", type=click.Path(path_type=Path), help="Save the selection, for --selection."),
    click.option("--preview", type=click.Path(path_type=Path), help="Contact sheet; without -o: only the sheet."),
    click.option("--report", "report_path", type=click.Path(path_type=Path), help="Report of the run, JSON."),
    click.option("--list", "list_only", is_flag=True, help="List detected objects, change nothing."),
    click.option("--json", "as_json", is_flag=True, help="With --list: as JSON."),
)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("sources", nargs=-1, required=True, metavar="FILE…")
@what
@how
@written
@_work
@_by_products
def erase(sources: tuple[str, ...], **given: Any) -> None:
    """Remove people and objects from videos, pictures, folders of frames, URLs, or - (standard input)."""
    for source in sources:
        check_address(source)
    options = gather(given)
    output: Path | None = given["output"]
    if given["list_only"] and given["save_selection"]:
        raise OptionError("--list chooses nothing that --save-selection could keep; leave one of them out")
    if given["list_only"] and output is not None:
        raise OptionError(f"--list only says what is there and writes no {output}; leave one of them out")
    if given["as_json"] and not given["list_only"]:
        raise OptionError("--json goes with --list; what a run did is written as JSON by --report FILE")
    if given["list_only"]:
        if given["save_masks"] or given["report_path"]:
            raise OptionError("--list only says what is there; leave --save-masks and --report out")
        listing.show(sources, options, as_json=given["as_json"], thumbnails=given["preview"], quiet=given["quiet"])
        return
    by_products = [
        name for name in ("preview", "save_masks", "save_selection", "report_path") if given[name] is not None
    ]
    if len(sources) > 1 and by_products:
        names = ", ".join("--" + name.removesuffix("_path").replace("_", "-") for name in by_products)
        raise OptionError(f"{names} names one file, but {len(sources)} inputs were given; run them one by one")
    if len(sources) > 1 and given["work"] is not None:
        raise OptionError(f"--work {given['work']} keeps one run, but {len(sources)} inputs were given; leave it out")
    if len(sources) > 1 and output is not None and output.suffix and not output.is_dir():
        raise OptionError(f"--output {output} names one file, but {len(sources)} inputs were given; name a folder")
    if "-" in sources and output is None and given["preview"] is None:
        raise OptionError("standard input has no name to derive the result's from; give --output FILE")
    if given["preview"] is not None and output is None and (given["save_masks"] or given["report_path"]):
        raise OptionError("--preview alone makes only the sheet; give --output too for --save-masks and --report")
    if len(sources) == 1:
        _one(sources[0], options, given, output)
    else:
        _each(sources, options, given, output)


def _each(sources: tuple[str, ...], options: Options, given: dict[str, Any], folder: Path | None) -> None:
    """All inputs, also after one that failed; then the exit code tells of the failure."""
    say = _sayer(given)
    results = {source: default_output(source, say) for source in sources}
    if folder is not None:
        results = {source: folder / to.name for source, to in results.items()}
    _refuse_clashes(results, options)
    worst = 0
    for source, to in results.items():
        try:
            _one(source, options, given, to)
        except VidraseError as error:
            if given["debug"]:
                raise
            click.echo(f"vidrase: {' '.join(str(error).split())}", err=True)
            worst = max(worst, error.exit_code)
    if worst:
        raise click.exceptions.Exit(worst)


def _refuse_clashes(results: dict[str, Path], options: Options) -> None:
    """Raises OptionError where one result would replace another, or an input: before any work, not after the half of it."""
    first: dict[str, str] = {}
    for source, to in results.items():
        if (other := first.setdefault(os.path.normcase(os.path.realpath(to)), source)) != source:
            raise OptionError(
                f"{other} and {source} would both become {to}; rename one, or run them one by one with --output"
            )
    read = [Named("the input", Path(source)) for source in results if source != "-" and "://" not in source]
    written = [Named(f"the result of {source},", to) for source, to in results.items()]
    paths.compare(read + inputs(None, options), written, pictures=PICTURES)


def _sayer(given: dict[str, Any], progress: ProgressBar | None = None) -> Note:
    def say(text: str) -> None:
        if not given["quiet"]:
            if progress is not None:
                progress.clear()
            click.echo(f"vidrase: {text}", err=True)

    return say


_READ: dict[str, Callable[[Any], Any]] = {  # options whose texts are more than the value itself
    "remove": lambda texts: words_of("--remove", texts),
    "keep": lambda texts: words_of("--keep", texts),
    "at": lambda texts: tuple(click_of(text) for text in texts),
    "box": lambda texts: tuple(box_of("--box", text) for text in texts),
    "region": lambda text: box_of("--region", text) if text is not None else None,
    "times": spans_of,
    "dilate": lambda text: auto_or_int("--dilate", text),
    "detect_every": lambda text: auto_or_int("--detect-every", text),
    "workers": workers_of,
}


def gather(given: dict[str, Any]) -> Options:
    """The command line as the engine's options, which go by the same names; each value is checked where it is made."""
    chosen = {name: value for name, value in given.items() if name in Choices.__annotations__}
    return options_from(
        cast(Choices, chosen | {name: read(given[name]) for name, read in _READ.items() if name in given})
    )


def _one(source: str, options: Options, given: dict[str, Any], output: Path | None) -> None:
    quiet: bool = given["quiet"]
    with ProgressBar(quiet=quiet) as progress:
        say = _sayer(given, progress)
        if given["preview"] is not None and output is None:
            engine.preview(source, given["preview"], options, selection=given["save_selection"], say=say)
            click.echo(str(given["preview"]))
            return
        to = default_output(source, say) if output is None else output
        by_products = engine.ByProducts(
            given["preview"], given["save_masks"], given["save_selection"], progress, given["report_path"]
        )
        report = engine.erase(source, to, options, by_products=by_products, say=say)
    if not quiet:
        summary(report, options, verbose=given["verbose"])
    if given["preview"] is not None and not quiet:
        click.echo(f"before / mask / after: {given['preview']}")


_REUSED = {"detected": "detected frames", "searched": "frames of the first pass", "filled": "filled chunks"}


def summary(report: Report, options: Options, *, verbose: bool) -> None:
    """One line on what happened; verbose: also the models, the encoder and the seconds of each stage."""
    fps = report.frames / report.wall_seconds if report.wall_seconds else 0.0
    if not report.frames_with_hole:
        chosen = (*options.select.remove, *([str(options.select.selection)] if options.select.selection else []))
        named = ", ".join(chosen) or "the masks' area"
        click.echo(f"{report.output}: nothing to remove ({named} never appears); every frame passed as it was")
    else:
        gone = ", ".join(f"{count} {label}" for label, count in sorted(report.removed.items())) or "masked area"
        fill = report.fill
        total = max(fill.copied + fill.invented, 1)
        click.echo(
            f"{report.output}: {gone} removed in {report.frames_with_hole} of {report.frames} frames; "
            f"{100 * fill.copied / total:.0f} % real pixels from other frames, {100 * fill.invented / total:.0f} % invented"
            f"; {report.wall_seconds:.1f} s, {fps:.1f} fps, {report.peak_memory_mib:.0f} MiB"
        )
    if report.reused:
        kept = [f"{count} {_REUSED[what]}" for what, count in report.reused.items() if count]
        click.echo(f"  reused: {', '.join(kept)}")
    if verbose and report.chunks:
        click.echo(f"  work: {report.chunks} chunks, {report.workers} workers, {report.work_mib:.0f} MiB on disk")
    if verbose:
        for name, value in [*report.models.items(), ("encoder", report.encoder)]:
            click.echo(f"  {name}: {value}")
        click.echo("  seconds: " + ", ".join(f"{name} {value:.1f}" for name, value in report.seconds.items()))
