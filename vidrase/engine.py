"""Runs the passes and writes the result: the whole of `vidrase FILE ...` without the command line.

The first pass analyses, the second erases (ARCHITECTURE.md). Memory does not grow with the length of the clip.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vidrase.byproducts import ByProducts, reserve
from vidrase.choice import choose, recall, recorded
from vidrase.chunks.folder import remove_stale
from vidrase.chunks.pool import ChunkPool
from vidrase.chunks.work import Work, open_work
from vidrase.closable import Closable
from vidrase.errors import OptionError
from vidrase.frames import Frame, HoleFrame, SourceInfo
from vidrase.holefile import MaskWriter
from vidrase.options import Options
from vidrase.passes import DEPTH, analyse_source, analysed, fill_frames, find_holes, within
from vidrase.report import Note, Notes, Report
from vidrase.run import FirstPass, Models, Run
from vidrase.select import Selection
from vidrase.selectionfile import SavedSelection
from vidrase.sheet import Sheet
from vidrase.sink import open_sink
from vidrase.source import Damage, Source, open_random, open_source
from vidrase.store import InstanceStore, TrackSummary
from vidrase.streams import prefetch
from vidrase.timing import peak_memory_mib

SHEET_MOMENTS = 5
PREVIEW_MOMENTS = 4
PREVIEW_REACH = 12  # frames each side of a sample frame: stable masks, and most of a walker's background is visible


def erase(
    where: str | Path,
    to: Path,
    options: Options,
    *,
    models: Models | None = None,
    by_products: ByProducts | None = None,
    say: Note | None = None,
    pool: ChunkPool | None = None,
) -> Report:
    """Remove what `options.select` names from the picture or video `where`, write the result to `to`.

    say: called once for each fallback. pool: who fills the chunks of a long clip; None: as `options` say.
    Raises a VidraseError; then no output is left behind.
    """
    notes = Notes(say)
    options, saved = recall(options)
    _check(options)
    reading = options.source
    with open_source(
        where, note=notes, strict=reading.strict, wait=reading.wait, references=reading.allow_references
    ) as source:
        for text in source.info.notes:
            notes(text)
        return erase_opened(source, to, options, notes, models=models, by_products=by_products, saved=saved, pool=pool)


def erase_opened(
    source: Source,
    to: Path,
    options: Options,
    notes: Notes,
    *,
    models: Models | None = None,
    by_products: ByProducts | None = None,
    saved: SavedSelection | None = None,
    known: FirstPass | None = None,
    pool: ChunkPool | None = None,
) -> Report:
    """`erase` of a source that stays open, with `options` as `recall` gave them.

    known: result of an earlier first pass; then only the second pass runs.
    """
    begun = time.perf_counter()
    by_products = by_products or ByProducts()
    report = Report(source=source.info.url, output=str(to))
    sheet = Sheet() if by_products.sheet else None
    with ExitStack() as outer, ExitStack() as stack:
        made = reserve(by_products, to, source.info, options, outer)
        sink = stack.enter_context(open_sink(to, source.info, options.sink, note=notes))
        writer = (
            stack.enter_context(MaskWriter(by_products.masks, source.info, overwrite=options.sink.overwrite))
            if by_products.masks
            else None
        )
        for text in made.notes:
            notes(text)
        work = open_work(source.info, to, options, notes, pool) if known is None else None
        if work is not None:
            outer.enter_context(work)
        run = Run(
            options,
            models or Models.load(options, notes),
            notes,
            report.fill,
            progress=by_products.progress,
            saved=saved,
        )
        chosen = _render(source, run, report, sink.write, writer, sheet, SHEET_MOMENTS, known, work)
        if work is not None:
            work.count(report, run)
        stack.close()
        report.encoder = sink.encoder
        if sheet is not None and made.sheet is not None:
            sheet.save(made.sheet)
        if made.selection is not None and chosen is not None:
            chosen.save(made.selection)
        report.models = run.models.described()
        report.seconds = {name: round(seconds, 3) for name, seconds in run.clock.seconds.items()}
        report.wall_seconds = round(time.perf_counter() - begun, 3)
        report.peak_memory_mib = round(peak_memory_mib(), 1)
        report.peak_frames_in_flight = run.alive.peak
        report.fallbacks = dict(notes.counts)
        report.missing_frames, report.faulty_frames = source.damage.missing_frames, len(source.damage.faulty)
        if made.report is not None:
            report.save(made.report)
        if work is not None:
            work.finish()
    remove_stale(to)
    return report


def preview(
    where: str | Path, sheet: Path, options: Options, *, selection: Path | None = None, say: Note | None = None
) -> None:
    """Write a contact sheet of what `erase` would do, from a few short excerpts: a fraction of the whole run's time.

    Ids belong to tracks of the whole clip, so a request with `id:N` analyses the whole clip.
    selection: also save the selection there.
    """
    options, saved = recall(options)
    _check(options)
    notes, shown = Notes(say), Sheet()
    reading = options.source
    opened = open_source(
        where, note=notes, strict=reading.strict, wait=reading.wait, references=reading.allow_references
    )
    with opened as source, ExitStack() as stack:
        made = reserve(ByProducts(sheet=sheet, selection=selection), None, source.info, options, stack)
        for text in made.notes:
            notes(text)
        run = Run(options, Models.load(options, notes), notes, saved=saved)
        words = (*options.select.remove, *options.select.keep)
        whole = (
            source.info.kind == "image"
            or options.select.mask
            or any(word.startswith("id:") or " " in word for word in words)
        )
        whole = whole or bool(options.select.at or options.select.box or saved or selection)
        if whole:
            chosen = _render(source, run, Report(), lambda _: None, None, shown, SHEET_MOMENTS)
        else:
            run.options = replace(options, select=replace(options.select, times=()))
            for excerpt in _excerpts(source.info, options.select.times, notes):
                chosen = _render(excerpt, run, Report(), lambda _: None, None, shown, 1)
        if made.sheet is not None:
            shown.save(made.sheet)
        if made.selection is not None and chosen is not None:
            chosen.save(made.selection)


def _render(
    source: Source,
    run: Run,
    report: Report,
    write: Callable[[Frame], None],
    writer: MaskWriter | None,
    sheet: Sheet | None,
    samples: int,
    known: FirstPass | None = None,
    work: Work | None = None,
) -> SavedSelection | None:
    """Run both passes, or with `known` the second. Every result frame goes to `write`, a few also onto the sheet.

    Returns the selection, None when no detector ran.
    """
    with ExitStack() as stack:
        if known is None:
            known = work.first_pass(source, run, stack) if work is not None else first_pass(source, run, stack)
        times, store = known.seconds, known.store
        report.frames = len(times)
        if not any(within(when - times[0], run.options.select.times) for when in times):
            run.notes(f"no frame lies within --time; the clip lasts {times[-1] - times[0]:.2f} s")
        selection = choose(run, source.info, store, times) if store is not None else None
        chosen = recorded(run, source.info, known, selection) if selection is not None else None
        if selection is not None:
            report.removed = selection.counts()
        wanted = (
            sample_indices(times, samples, run.options.select.times, store, selection)
            if sheet is not None
            else frozenset()
        )
        on_sheet: dict[int, HoleFrame] = {}  # the few frames for the sheet, until they are filled
        analysis = analysed(source, run, known, selection)
        if work is not None:
            pairs = work.frames(source, run, known, selection)
            ready = stack.enter_context(closing(_counted_frames(pairs, report, writer, wanted, on_sheet)))
        else:
            holes = _counted(find_holes(source, run, known, selection), report, writer, wanted, on_sheet)
            ready = stack.enter_context(closing(prefetch(fill_frames(holes, run, analysis), depth=DEPTH, name="fill")))
        for done, frame in enumerate(ready, 1):
            if sheet is not None and frame.index in on_sheet:
                sample = on_sheet.pop(frame.index)
                sheet.add(sample.frame, sample.hole, frame)
                del sample
            start = time.perf_counter()
            write(frame)
            run.clock.add("encode", time.perf_counter() - start)
            if run.progress is not None and work is None:  # which counts what is filled, not what is written
                run.progress("erasing", done, report.frames)
            del frame
        return chosen


def first_pass(source: Source, run: Run, stack: ExitStack) -> FirstPass:
    """Analyse the whole source; instances are stored on disk until `stack` is closed."""
    store = stack.enter_context(InstanceStore()) if run.models.segmenter else None
    return analyse_source(source, run, store)


def erase_source(source: Source, run: Run) -> Generator[Frame, None, None]:
    """The frames of a source with the selected objects removed, in two passes; no file is written."""
    _check(run.options)
    with ExitStack() as stack:
        known = first_pass(source, run, stack)
        selection = choose(run, source.info, known.store, known.seconds) if known.store is not None else None
        analysis = analysed(source, run, known, selection)
        yield from fill_frames(find_holes(source, run, known, selection), run, analysis)


def list_objects(source: Source, run: Run) -> list[TrackSummary]:
    """All tracks that the detector finds in a source."""
    with InstanceStore() as store:
        analyse_source(source, run, store)
        return list(store.tracks())


def _check(options: Options) -> None:
    if not options.select.detects and not options.select.mask:
        raise OptionError("nothing to remove was named; give --remove CLASS or --mask FILE (see what is there: --list)")


def _counted(
    holes: Iterator[HoleFrame],
    report: Report,
    writer: MaskWriter | None,
    samples: frozenset[int],
    on_sheet: dict[int, HoleFrame],
) -> Generator[HoleFrame, None, None]:
    """Pass the holes on; count them, save their masks, and put a few into `kept` for the sheet."""
    share = 0.0
    for found in holes:
        hole = None if found.passes else found.hole
        if hole is not None:
            share += float(hole.area.sum()) / (hole.size[0] * hole.size[1])
            report.frames_with_hole += 1
            report.hole_share = round(share / report.frames_with_hole, 5)
        if writer is not None:
            writer.write(found.frame, hole)
        if found.frame.index in samples:
            on_sheet[found.frame.index] = found
        yield found
        del found, hole


def _counted_frames(
    pairs: Iterator[tuple[HoleFrame, Frame]],
    report: Report,
    writer: MaskWriter | None,
    samples: frozenset[int],
    on_sheet: dict[int, HoleFrame],
) -> Generator[Frame, None, None]:
    """The filled frames of `pairs`; their holes go the way of `_counted`."""
    filled: list[Frame] = []

    def holes() -> Generator[HoleFrame, None, None]:
        for found, frame in pairs:
            filled.append(frame)
            yield found
            del found, frame

    for found in _counted(holes(), report, writer, samples, on_sheet):
        del found
        yield filled.pop()


def sample_indices(
    seconds: Sequence[float],
    count: int,
    times: tuple[tuple[float, float], ...],
    store: InstanceStore | None,
    selection: Selection | None,
) -> frozenset[int]:
    """Indices of frames for the sheet, spread over those with a selected object (over all in `times` for mask files)."""
    wanted = [index for index, when in enumerate(seconds) if within(when - seconds[0], times)] or list(
        range(len(seconds))
    )
    candidates = wanted
    if store is not None and selection is not None:
        candidates = [index for index in wanted if selection.chosen(store.get(index)).any()] or wanted
    spots = np.linspace(0, len(candidates) - 1, min(count + 2, len(candidates)))
    inner = spots[1:-1] if len(spots) > 2 else spots
    return frozenset(candidates[round(spot)] for spot in inner)


@dataclass(slots=True)
class _Excerpt(Closable):
    """A few frames of a clip as a source of their own, numbered from 0; times stay as they are."""

    info: SourceInfo
    frames: list[Frame]
    damage: Damage = Damage()  # noqa: RUF009 - frozen

    def __iter__(self) -> Iterator[Frame]:
        return iter(self.frames)

    def close(self) -> None:
        """Release the frames."""
        self.frames.clear()


def _excerpts(info: SourceInfo, times: tuple[tuple[float, float], ...], notes: Notes) -> Iterator[_Excerpt]:
    """Short runs of frames around a few times, spread over the clip or over `times`."""
    with open_random(info, note=notes) as clip:
        candidates = [n for n in range(len(clip)) if within(clip.seconds(n) - clip.seconds(0), times)]
        if not candidates:
            raise OptionError(f"no frame lies within --time; the clip lasts {clip.seconds(len(clip) - 1):.2f} s")
        spots = np.linspace(0, len(candidates) - 1, PREVIEW_MOMENTS + 2)[1:-1]
        for middle in dict.fromkeys(candidates[round(spot)] for spot in spots):
            span = range(max(middle - PREVIEW_REACH, 0), min(middle + PREVIEW_REACH + 1, len(clip)))
            yield _Excerpt(info, [replace(clip.frame(n), index=k) for k, n in enumerate(span)])
