"""`vidrase FILE …`: options to an engine run, and what is said before, during and after."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import click

from vidrase import engine
from vidrase.cli import listing
from vidrase.cli.parse import auto_or_int, spans_of, words_of
from vidrase.cli.progress import ProgressBar
from vidrase.errors import OptionError, VidraseError
from vidrase.options import Choices, Options, options_from
from vidrase.part import need_folder
from vidrase.report import Report
from vidrase.sink import default_output
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
    click.option("--keep", multiple=True, metavar="WHAT", help="What to keep of what --remove names."),
    click.option(
        "--mask", multiple=True, type=click.Path(path_type=Path), help="Image, folder or video; white is removed."
    ),
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
        "--flow", type=click.Choice(["auto", "dis", "raft"]), default="auto", show_default=True, help="Optical flow."
    ),
    click.option("--flow-weights", type=click.Path(path_type=Path), help="RAFT weights: torchvision's .pth."),
    click.option("--shadows/--no-shadows", default=None, help="Remove shadows and what masks leave."),
    click.option("--segmenter", type=click.Choice(["yolo", "maskrcnn"]), default="yolo", show_default=True),
    click.option("--model", help="Weights: a path, or a name from `vidrase models`."),
    click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, mps."),
    click.option("--precision", default="auto", show_default=True, help="fp32, bf16, fp16."),
    click.option("--imgsz", type=int, default=640, show_default=True, help="Long side of the detector's input, px."),
    click.option("--conf", type=float, help="Minimum confidence.  [the model's own]"),
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
    click.option("--crf", type=float, help="The encoder's quality value."),
    click.option("--preset", help="The encoder's speed preset."),
    click.option("--pix-fmt", help="Pixel format to encode in.  [the source's]"),
    click.option("--lossless", is_flag=True, help="Keep every sample outside the hole."),
    click.option("-q", "--quiet", is_flag=True, help="Only errors."),
    click.option("-v", "--verbose", is_flag=True, help="Print encoder, models and stage times."),
    click.option("--debug", is_flag=True, help="Show tracebacks."),
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
@_by_products
def erase(sources: tuple[str, ...], **given: Any) -> None:
    """Remove people and objects from videos, pictures, folders of frames, URLs, or - (standard input)."""
    options = gather(given)
    output: Path | None = given["output"]
    if given["list_only"] and given["save_selection"]:
        raise OptionError("--list chooses nothing that --save-selection could keep; leave one of them out")
    if given["list_only"] and output is not None:
        raise OptionError(f"--list only says what is there and writes no {output}; leave one of them out")
    if given["as_json"] and not given["list_only"]:
        raise OptionError("--json goes with --list; what a run did is written as JSON by --report FILE")
    if given["list_only"]:
        listing.show(sources, options, as_json=given["as_json"], thumbnails=given["preview"], quiet=given["quiet"])
        return
    by_products = [
        name for name in ("preview", "save_masks", "save_selection", "report_path") if given[name] is not None
    ]
    if len(sources) > 1 and by_products:
        names = ", ".join("--" + name.removesuffix("_path").replace("_", "-") for name in by_products)
        raise OptionError(f"{names} names one file, but {len(sources)} inputs were given; run them one by one")
    if len(sources) > 1 and output is not None and output.suffix and not output.is_dir():
        raise OptionError(f"--output {output} names one file, but {len(sources)} inputs were given; name a folder")
    if "-" in sources and output is None and given["preview"] is None:
        raise OptionError("standard input has no name to derive the result's from; give --output FILE")
    if given["report_path"] is not None:
        need_folder(given["report_path"])
    if len(sources) == 1:
        _one(sources[0], options, given, output)
    else:
        _each(sources, options, given, output)


def _each(sources: tuple[str, ...], options: Options, given: dict[str, Any], folder: Path | None) -> None:
    """Erase from every input, also after one failed; the exit code then reports the failure."""
    worst = 0
    for source in sources:
        to = default_output(source) if folder is None else folder / default_output(source).name
        try:
            _one(source, options, given, to)
        except VidraseError as error:
            if given["debug"]:
                raise
            click.echo(f"vidrase: {' '.join(str(error).split())}", err=True)
            worst = max(worst, error.exit_code)
    if worst:
        raise click.exceptions.Exit(worst)


_READ: dict[str, Callable[[Any], Any]] = {  # options whose texts are more than the value itself
    "remove": words_of,
    "keep": words_of,
    "at": lambda texts: tuple(click_of(text) for text in texts),
    "box": lambda texts: tuple(box_of("--box", text) for text in texts),
    "region": lambda text: box_of("--region", text) if text else None,
    "times": spans_of,
    "dilate": lambda text: auto_or_int("--dilate", text),
    "detect_every": lambda text: auto_or_int("--detect-every", text),
}


def gather(given: dict[str, Any]) -> Options:
    """The command line as the engine's options, which go by the same names; each value is checked where it is made."""
    chosen = {name: value for name, value in given.items() if name in Choices.__annotations__}
    return options_from(cast(Choices, chosen | {name: read(given[name]) for name, read in _READ.items()}))


def _one(source: str, options: Options, given: dict[str, Any], output: Path | None) -> None:
    quiet: bool = given["quiet"]
    with ProgressBar(quiet=quiet) as progress:

        def say(text: str) -> None:
            if not quiet:
                progress.clear()
                click.echo(f"vidrase: {text}", err=True)

        if given["preview"] is not None and output is None:
            engine.preview(source, given["preview"], options, selection=given["save_selection"], say=say)
            click.echo(str(given["preview"]))
            return
        to = default_output(source) if output is None else output
        wishes = engine.Wishes(given["preview"], given["save_masks"], given["save_selection"], progress)
        report = engine.erase(source, to, options, wishes=wishes, say=say)
    if given["report_path"] is not None:
        report.save(given["report_path"])
    if not quiet:
        summary(report, options, verbose=given["verbose"])
    if given["preview"] is not None and not quiet:
        click.echo(f"before / mask / after: {given['preview']}")


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
    if verbose:
        for name, value in [*report.models.items(), ("encoder", report.encoder)]:
            click.echo(f"  {name}: {value}")
        click.echo("  seconds: " + ", ".join(f"{name} {value:.1f}" for name, value in report.seconds.items()))
