"""Decode, detect, encode and nothing else, as a process of its own: the work that no tool can avoid.

    python -m vidrase.bench.floor clip.mp4 out.mp4 [DEVICE]

The decoder, the detector with its default weights on every frame, and the encoder are those of `vidrase clip.mp4 --remove …`;
they run in threads of their own, as they do there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

from vidrase.frames import Frame
from vidrase.options import ModelOptions, SinkOptions
from vidrase.report import Notes
from vidrase.segment import load_segmenter
from vidrase.sink import open_sink
from vidrase.source import open_source
from vidrase.streams import prefetch

DEPTH = 4  # frames a thread runs ahead, as in vidrase.passes


def run(clip: Path, to: Path, device: str = "auto") -> int:
    """Copy `clip` to `to` frame by frame, running the detector on each; returns the number of frames."""
    notes, options = Notes(), ModelOptions(device=device)
    segmenter = load_segmenter(options, note=notes)
    count = 0
    with (
        open_source(clip, note=notes) as source,
        open_sink(to, source.info, SinkOptions(overwrite=True), note=notes) as sink,
        closing(prefetch(source, depth=DEPTH, name="decode")) as decoded,
    ):

        def detected() -> Iterator[Frame]:
            while batch := list(islice(decoded, options.batch)):
                segmenter(batch)
                yield from batch

        with closing(prefetch(detected(), depth=DEPTH, name="detect")) as frames:
            for frame in frames:
                sink.write(frame)
                count += 1
    return count


def main(argv: Sequence[str]) -> None:
    """See the module."""
    run(Path(argv[0]), Path(argv[1]), *argv[2:])


if __name__ == "__main__":
    main(sys.argv[1:])
