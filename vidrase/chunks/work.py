"""A run in chunks: what an earlier one has done is found and used, the rest is done and kept, until the result is complete.

`open_work` says whether a run goes this way. Then `first_pass`, `frames` and `finish`, in this order.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from vidrase import paths, rules
from vidrase.chunks import identity, machine, plan, saved
from vidrase.chunks.detections import RecordedSegmenter
from vidrase.chunks.folder import WorkFolder, beside
from vidrase.chunks.job import Job
from vidrase.chunks.join import add_up, joined
from vidrase.chunks.patch import ChunkReader, Damaged
from vidrase.chunks.plan import bounds, chunks_of, target
from vidrase.chunks.pool import ChunkPool, Chunks, Machine, in_processes, in_this_process
from vidrase.closable import Closable
from vidrase.frames import Frame, HoleFrame, SourceInfo
from vidrase.options import Options, Rectangle
from vidrase.passes import analyse_source, decoded, fill_options
from vidrase.report import Notes, Report
from vidrase.run import FirstPass, Run
from vidrase.select import Selection
from vidrase.source import Source
from vidrase.store import InstanceStore

LONG = 3000
"""Frames from which on a clip is worth a work folder although nobody asked for one: two minutes of film, many of work."""


def open_work(info: SourceInfo, to: Path, options: Options, notes: Notes, pool: ChunkPool | None = None) -> Work | None:
    """The work folder of a run from `info` to `to`; None: the run goes in one piece, as nobody asked for more and it is short.

    pool: who fills the chunks of a clip that is long enough to be divided; None: this machine.
    Raises OptionError for a folder that holds other things, SinkError when another run uses it.
    """
    asked = options.work
    frames = info.frame_count or 0
    wished = asked.work is not None or asked.workers != 1
    shared = pool is not None and frames >= 2 * plan.SHORTEST
    if not wished and not shared and frames < LONG:
        return None
    if not _can_be_read_again(info):
        if wished and info.kind != "image":
            notes(f"{info.url} cannot be read from its middle, or by another process: it is filled in one piece")
        return None
    chosen = machine.choose(asked.workers, info, options)
    if asked.workers == "auto":
        notes.tell(f"{chosen.workers} worker{'s' * (chosen.workers > 1)}, {chosen.threads} threads each ({chosen.why})")
        if chosen.workers == 1 and asked.work is None and frames < LONG:
            return None
    return Work(WorkFolder(asked.work or beside(to)), options, notes, chosen, pool if shared else None)


def _can_be_read_again(info: SourceInfo) -> bool:
    """Whether the clip lies under a name that other readings, and other runs, find it by."""
    if info.kind == "image" or info.path is None or not info.rereadable:
        return False
    if info.kind == "frames":
        return all((info.path / name).is_file() for name in info.frame_names[:1])  # not with a pattern of folders
    return paths.same(info.path, Path(info.url))  # not what a pipe was spooled to


class Work(Closable):
    """One run's hold on a work folder."""

    def __init__(
        self, folder: WorkFolder, options: Options, notes: Notes, chosen: Machine, pool: ChunkPool | None = None
    ) -> None:
        self._folder, self._notes, self._machine, self._pool = folder, notes, chosen, pool
        self._options = options.work
        self._kept, self._finished = options.work.work is not None, False
        self._reused: dict[str, int] = {}
        self._job: Job | None = None
        self._scenery = frozenset[str]()  # of the first pass, before the selection
        self._done: list[int] = []  # chunks that an earlier run has filled
        if options.work.restart:
            folder.drop("source")

    def first_pass(self, source: Source, run: Run, stack: ExitStack) -> FirstPass:
        """The first pass over the source, or as much of it as is not done yet. Its store is closed with `stack`."""
        info, folder = source.info, self._folder
        self._settle("source", identity.of_source(info), "everything is done anew")
        self._settle("detected", identity.of_detections(run), "objects are detected anew")
        self._settle("searched", identity.of_first_pass(run, info), "the first pass is done again")
        place = folder.place("searched")
        known = self._loaded(place, stack)
        if known is not None:
            run.followed = {Rectangle(*box): number for box, number in folder.remembered("searched", "followed") or ()}
            self._reused["searched"] = len(known.seconds)
        else:
            known = self._searched(source, run, stack)
            folder.remember("searched", "followed", [[_numbers(box), number] for box, number in run.followed.items()])
            saved.save(known, place)
        self._scenery = known.scenery
        return known

    def _searched(self, source: Source, run: Run, stack: ExitStack) -> FirstPass:
        folder, segmenter = self._folder, run.models.segmenter
        if segmenter is None:
            return analyse_source(source, run, None)
        with RecordedSegmenter(segmenter, folder.place("detected") / "found") as recorded:
            if recorded.known:
                self._reused["detected"] = recorded.known
                self._notes.tell(f"goes on from {folder.path}: {recorded.known} frames have been detected")
            store = stack.enter_context(InstanceStore(folder.place("searched") / saved.INSTANCES))
            first = replace(run, models=replace(run.models, segmenter=recorded))
            known = analyse_source(source, first, store)
            run.followed = first.followed
        return known

    def _settle(self, level: str, now: dict[str, Any], then: str) -> None:
        why = self._folder.settle(level, now)
        if why:
            self._notes.tell(f"{why}: {then}")

    def _loaded(self, place: Path, stack: ExitStack) -> FirstPass | None:
        if not saved.is_saved(place):
            return None
        with suppress(OSError, ValueError, KeyError):
            known = saved.load(place)
            if known.store is not None:
                stack.enter_context(known.store)
            return known
        self._folder.drop("searched")
        return None

    def frames(
        self, source: Source, run: Run, known: FirstPass, selection: Selection | None
    ) -> Generator[tuple[HoleFrame, Frame], None, None]:
        """The second pass: each frame with its hole, and as it is filled. `known.analysis` is the one for the selection."""
        folder = self._folder
        options = replace(run.options, fill=fill_options(run))
        resolved = replace(run, options=options)
        self._settle("filled", identity.of_second_pass(resolved, known, selection), "the holes are filled again")
        job = self._planned(source.info, options, known, selection)
        self._done = [number for number in range(len(job.chunks)) if _is_complete(job.path(number))]
        if self._done or "searched" in self._reused:
            self._reused["filled"] = len(self._done)
            self._notes.tell(f"goes on from {folder.path}: {self._done_so_far(job)}")
        with ExitStack() as stack:
            ready = stack.enter_context(closing(self._filled(job, run, known)))
            arrived: set[int] = set(self._done)

            def opened(number: int) -> ChunkReader:
                while number not in arrived:
                    arrived.add(next(ready))
                return ChunkReader(job.path(number))

            yield from stack.enter_context(closing(joined(decoded(source, run), job.chunks, opened)))

    def _done_so_far(self, job: Job) -> str:
        chunks = f"{len(self._done)} of {len(job.chunks)} chunks are filled"
        return f"the first pass is done, {chunks}" if "searched" in self._reused else chunks

    def _planned(self, info: SourceInfo, options: Options, known: FirstPass, selection: Selection | None) -> Job:
        folder, frames = self._folder, len(known.seconds)
        edges: list[int] | None = folder.remembered("filled", "edges")
        if edges is None or edges[-1] != frames:
            edges = bounds(known.analysis, frames, target(frames, self._workers))
            folder.remember("filled", "edges", edges)
        chunks = tuple(chunks_of(edges, known.analysis, known.seconds, options))
        searched = analysis = folder.place("searched")
        if known.scenery != self._scenery:  # analysed again, as some of it is removed
            analysis = folder.place("filled") / "analysis"
            analysis.mkdir(exist_ok=True)
            saved.save_analysis(known, analysis)
        self._job = Job(info, options, selection, chunks, searched, analysis, folder.place("filled"), rules.off())
        return self._job

    def _filled(self, job: Job, run: Run, known: FirstPass) -> Chunks:
        todo = [number for number in range(len(job.chunks)) if number not in self._done]
        total = sum(len(chunk) for chunk in job.chunks)
        tick = _Progress(run, total - sum(len(job.chunks[number]) for number in todo), total)
        if 0 < len(job.chunks) < self._workers and self._options.workers != "auto":
            have = f"{len(job.chunks)} chunk{'s' * (len(job.chunks) > 1)}"
            self._notes.tell(f"the clip makes {have}: more workers have nothing to do")
        if self._pool is not None:
            return self._pool(job, todo, tick)
        if self._machine.workers > 1 and len(todo) > 1:
            return in_processes(job, todo, self._machine, tick)
        models = replace(run.models, segmenter=None)
        return in_this_process(job, todo, models, known, tick)

    @property
    def _workers(self) -> int:
        return self._pool.size if self._pool is not None else self._machine.workers

    def count(self, report: Report, run: Run) -> None:
        """Put into the report what the chunks have counted."""
        assert self._job is not None
        metas = list(_metas(self._job))
        report.fill = add_up(meta for _, meta in metas)
        for number, meta in metas:
            for text, times in meta["notes"].items():
                for _ in range(times):
                    run.notes(text)
            if number not in self._done:
                for stage, seconds in meta["seconds"].items():
                    run.clock.add(stage, seconds)
            run.alive.peak = max(run.alive.peak, meta["frames_in_flight"])
        report.chunks = len(self._job.chunks)
        report.workers, report.workers_by = min(self._workers, report.chunks), self._machine.why
        report.reused = dict(self._reused)
        report.work_mib = round(self._folder.nbytes / (1 << 20), 1)

    def finish(self) -> None:
        """The result is complete: the folder goes, unless its user has named it."""
        self._finished = True
        if not self._kept:
            self._folder.remove()

    def close(self) -> None:
        """Let go of the folder. What is in it is there for the next run; an empty one goes."""
        if not self._finished and self._folder.holds_work:
            self._notes.tell(f"what is done is kept in {self._folder.path}: the same command goes on from there")
        elif not self._finished:
            self._folder.remove()
        self._folder.close()


class _Progress:
    """Counts filled frames over all chunks."""

    def __init__(self, run: Run, done: int, total: int) -> None:
        self._run, self._done, self._total = run, done, total

    def __call__(self, frames: int) -> None:
        self._done += frames
        if self._run.progress is not None and frames:
            self._run.progress("erasing", self._done, self._total)


def _metas(job: Job) -> Iterator[tuple[int, Any]]:
    for number in range(len(job.chunks)):
        with ChunkReader(job.path(number)) as chunk:
            yield number, chunk.meta


def _is_complete(path: Path) -> bool:
    with suppress(OSError, Damaged), ChunkReader(path):
        return True
    return False


def _numbers(box: Rectangle) -> list[float]:
    return [box.x0, box.y0, box.x1, box.y1, box.seconds]
