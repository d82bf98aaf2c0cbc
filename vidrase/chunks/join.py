"""The filled clip out of the source and its chunks, frame by frame, in order."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Any, Protocol

from vidrase.chunks.patch import ChunkReader, blended
from vidrase.chunks.plan import Chunk
from vidrase.frames import Frame, HoleFrame
from vidrase.report import FillStats
from vidrase.streams import closing_all


class Ready(Protocol):
    """Gives chunks when they are complete."""

    def __call__(self, number: int) -> ChunkReader:
        """Chunk `number`, opened; waits for it. Numbers are asked for in order."""
        ...


def joined(
    frames: Iterable[Frame], chunks: Sequence[Chunk], ready: Ready
) -> Generator[tuple[HoleFrame, Frame], None, None]:
    """Each frame of the source with its hole, and as it is filled: the same object where it has none.

    Where a stretch of a shot follows another, both have filled the last frames of the first; they are mixed with a weight that
    rises from frame to frame.
    """
    opened: dict[int, ChunkReader] = {}
    with ExitStack() as stack, closing_all(frames) as source:

        def reader(number: int) -> ChunkReader:
            if number not in opened:
                opened[number] = stack.enter_context(closing(ready(number)))
            return opened[number]

        current = 0
        for frame in source:
            while current < len(chunks) and frame.index >= chunks[current].stop:
                if current in opened:
                    opened.pop(current).close()
                current += 1
            if current == len(chunks) or frame.index < chunks[current].start:
                yield HoleFrame(frame, passes=True), frame
                continue
            found, filled = reader(current).applied(frame)
            after = chunks[current + 1] if current + 1 < len(chunks) else None
            if after is not None and frame.index >= after.start - after.lead:
                weight = (frame.index - (after.start - after.lead) + 1) / (after.lead + 1)
                filled = blended((found, filled), reader(current + 1).applied(frame), weight)
            yield found, filled
            del frame, found, filled


def add_up(metas: Iterator[Mapping[str, Any]]) -> FillStats:
    """The counters of all chunks together."""
    total, checks = FillStats(), list[float]()
    for meta in metas:
        one = meta["fill"]
        total.copied += one["copied"]
        total.distant += one["distant"]
        total.invented += one["invented"]
        total.doubtful += one["doubtful"]
        for mode, count in one["modes"].items():
            if count:
                total.modes[mode] = total.modes.get(mode, 0) + count
        if one["self_check_db"] is not None:
            checks.append(one["self_check_db"])
    total.self_check_db = sum(checks) / len(checks) if checks else None
    return total
