"""What a run writes besides its result, made sure of before the work: names that harm nothing, and files that can be written."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from vidrase import paths
from vidrase.errors import OptionError
from vidrase.frames import SourceInfo
from vidrase.options import Options
from vidrase.part import Part
from vidrase.paths import Named
from vidrase.run import Progress
from vidrase.sheet import check_sheet
from vidrase.source import PICTURES


@dataclass(slots=True)
class ByProducts:
    """By-products of a run."""

    sheet: Path | None = None
    """Contact sheet, PNG or JPEG."""
    masks: Path | None = None
    """What was removed, in a form that `--mask` reads back."""
    selection: Path | None = None
    """What was chosen, in a form that `--selection` takes up again."""
    progress: Progress | None = None
    report: Path | None = None
    """What happened, as JSON."""


@dataclass(frozen=True, slots=True)
class Reserved:
    """Files in the making: nothing else can take their names or find at the end that they cannot be written."""

    sheet: Part | None
    selection: Part | None
    report: Part | None
    notes: list[str]
    """Worth saying once the run begins."""


def reserve(by_products: ByProducts, to: Path | None, info: SourceInfo, options: Options, stack: ExitStack) -> Reserved:
    """The by-products of a run from `info` to `to` (None: no result), begun; dropped with `stack` unless they are kept.

    Raises OptionError where one would harm something, SinkError where one cannot be written.
    """
    if by_products.sheet is not None:
        check_sheet(by_products.sheet)
    if by_products.selection is not None and not options.select.detects:
        raise OptionError(
            "--save-selection keeps what words, clicks or boxes choose, and none is given; see --save-masks"
        )
    files = [
        ("--preview", by_products.sheet),
        ("--save-selection", by_products.selection),
        ("--report", by_products.report),
    ]
    written = [("--output", to), ("--save-masks", by_products.masks), *files]
    notes = paths.compare(
        inputs(info, options, saved=by_products.selection),
        [Named(called, path) for called, path in written if path is not None],
        pictures=PICTURES,
    )
    sheet, selection, report = (_begun(called, path, options, stack) for called, path in files)
    return Reserved(sheet, selection, report, notes)


def _begun(called: str, path: Path | None, options: Options, stack: ExitStack) -> Part | None:
    if path is None:
        return None
    paths.refuse_existing(called, path, overwrite=options.sink.overwrite)
    part = Part(path, overwrite=options.sink.overwrite)
    stack.callback(part.drop)
    return part


def inputs(info: SourceInfo | None, options: Options, *, saved: Path | None = None) -> list[Named]:
    """Every file and folder that a run with `options` reads.

    saved: where the choice is kept; the selection that it was read from, at the very beginning, may be replaced by it.
    """
    found = [Named("the input", info.path)] if info is not None and info.path is not None else []
    select, fill, model = options.select, options.fill, options.models.model
    again = saved is not None and select.selection is not None and paths.same(saved, select.selection)
    found += [Named("--mask", path) for path in select.mask]
    for called, path in (
        ("--selection", select.selection if not again else None),
        ("--model", Path(model) if model and Path(model).is_file() else None),
        ("--inpainter-weights", fill.inpainter_weights),
        ("--flow-weights", fill.flow_weights),
    ):
        if path is not None:
            found.append(Named(called, path))
    return found
