"""One chunk: its frames and the halo around them are read, their holes found and filled, the samples kept in the chunk's file."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from vidrase.chunks import saved
from vidrase.chunks.patch import ChunkWriter
from vidrase.chunks.plan import Chunk
from vidrase.closable import Closable
from vidrase.frames import Frame, HoleFrame, SourceInfo
from vidrase.options import Options
from vidrase.passes import DEPTH, fill_frames, find_holes
from vidrase.report import FillStats, Notes
from vidrase.run import FirstPass, Models, Run
from vidrase.select import Selection
from vidrase.source import Stretch, open_random, open_source
from vidrase.streams import prefetch
from vidrase.timing import peak_memory_mib

Tick = Callable[[int], None]
"""Called with a number of frames that have been filled."""


@dataclass(frozen=True, slots=True)
class Job:
    """Everything that filling any chunk of a run needs; goes to other processes."""

    info: SourceInfo
    options: Options
    selection: Selection | None
    chunks: tuple[Chunk, ...]
    first_pass: Path
    """Folder of `saved.save`."""
    analysis: Path
    """Folder of `saved.save_analysis`."""
    out: Path
    """Folder of the chunks' files."""
    rules_off: tuple[str, ...] = ()

    def path(self, number: int) -> Path:
        """The file of chunk `number`, there once it is complete. Named by its frames, which say where in the clip it is."""
        chunk = self.chunks[number]
        return self.out / f"{chunk.start:07d}-{chunk.stop:07d}.chunk"


class ChunkFiller(Closable):
    """Fills chunks of one job in this process. The clip stays open from one to the next."""

    def __init__(self, job: Job, models: Models, *, known: FirstPass | None = None, threads: int | None = None) -> None:
        """known: the first pass where it is in memory; None: each chunk loads its part. threads: of the decoder."""
        self._job, self._models, self._known = job, models, known
        self._stack = ExitStack()
        reading = job.options.source
        where = job.info.path if job.info.kind != "frames" and job.info.path is not None else job.info.url
        silent = Notes()  # what there is to say of the clip is said where it is read whole
        with ExitStack() as stack:
            self._clip = stack.enter_context(open_random(job.info, note=silent, threads=threads))
            self._whole = stack.enter_context(
                open_source(where, note=silent, threads=threads, references=reading.allow_references)
            )
            self._stack = stack.pop_all()

    def fill(self, number: int, tick: Tick) -> None:
        """Make the file of chunk `number`."""
        job, chunk = self._job, self._job.chunks[number]
        with ExitStack() as stack:
            known = self._known
            if known is None:
                known = saved.load(job.first_pass, span=(chunk.first, chunk.last), analysis_in=job.analysis)
                if known.store is not None:
                    stack.enter_context(known.store)
            notes, stats = Notes(), FillStats()
            run = Run(job.options, self._models, notes, stats)
            stretch = Stretch(self._clip, self._whole, chunk.first, chunk.last, known.table)
            waiting: dict[int, HoleFrame] = {}
            holes = _held(find_holes(stretch, run, known, job.selection, first=chunk.first), chunk, waiting)
            counts = _Counts(stats)
            filled = counts.own(fill_frames(holes, run, known.analysis), chunk.start)
            ready = stack.enter_context(closing(prefetch(filled, depth=DEPTH, name="fill")))
            with ChunkWriter(job.path(number)) as out:
                for frame in ready:
                    found = waiting.pop(frame.index, None)
                    if found is not None:
                        out.add(found, frame)
                        tick(int(frame.index >= chunk.start))
                        del found
                    last = frame.index == chunk.stop - 1
                    del frame
                    if last:
                        break
                out.meta = {
                    "fill": counts.fill(chunk),
                    "notes": notes.counts,
                    "seconds": run.clock.seconds,
                    "frames_in_flight": run.alive.peak,
                    "memory_mib": peak_memory_mib(),
                }

    def close(self) -> None:
        """Close the clip."""
        self._stack.close()


def _held(holes: Iterator[HoleFrame], chunk: Chunk, waiting: dict[int, HoleFrame]) -> Generator[HoleFrame, None, None]:
    """The holes, those of the halo marked as not to be filled; the others are also put into `waiting`, by frame."""
    for found in holes:
        mine = chunk.start - chunk.lead <= found.frame.index < chunk.stop
        if mine:
            waiting[found.frame.index] = found
        yield found if mine else replace(found, passes=True)
        del found


class _Counts:
    """The counters of the fill for the frames of a chunk alone, without its lead."""

    def __init__(self, stats: FillStats) -> None:
        self._stats, self._before = stats, asdict(stats)

    def own(self, frames: Iterator[Frame], start: int) -> Generator[Frame, None, None]:
        """Pass `frames` on, and note the counters before frame `start`; in the thread that fills."""
        for frame in frames:
            if frame.index < start:
                self._before = asdict(self._stats)
            yield frame
            del frame

    def fill(self, chunk: Chunk) -> dict[str, Any]:
        """As `FillStats`, plain."""
        now, before = asdict(self._stats), self._before
        counts = {name: now[name] - before[name] for name in ("copied", "distant", "invented")}
        modes = {mode: count - before["modes"].get(mode, 0) for mode, count in now["modes"].items()}
        doubtful = [index for index in now["doubtful"] if chunk.start <= index < chunk.stop]
        return {**counts, "modes": modes, "doubtful": doubtful, "self_check_db": now["self_check_db"]}
