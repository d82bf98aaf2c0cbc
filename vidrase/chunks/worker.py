"""A process that fills chunks for another one, which writes to its standard input and reads its standard output.

It ends with its parent, however that ends: the input is closed then. The only pickled thing it reads comes from that parent.
"""

from __future__ import annotations

import json
import os
import pickle
import queue
import struct
import sys
import threading
from dataclasses import dataclass
from typing import IO, Any

from vidrase import errors, rules
from vidrase.chunks.job import ChunkFiller, Job
from vidrase.errors import VidraseError
from vidrase.report import Notes
from vidrase.run import Models

_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker is told once."""

    job: Job
    threads: int
    """Of OpenCV, PyTorch and the decoder each."""


def send(to: IO[bytes], setup: Setup) -> None:
    """Tell a worker what it works on."""
    data = pickle.dumps(setup)
    to.write(_LENGTH.pack(len(data)) + data)
    to.flush()


def error_of(told: dict[str, Any]) -> Exception:
    """The error that a worker has told of."""
    kind = getattr(errors, told["error"], None)
    if isinstance(kind, type) and issubclass(kind, VidraseError):
        return kind(told["text"])
    if told["error"] == "MemoryError":
        return MemoryError(told["text"])
    if told["error"] == "OSError":
        return OSError(told["errno"], told["text"])
    return RuntimeError(f"{told['error']} in a worker: {told['text']}")


def main() -> None:
    """Fill one chunk after another, as they are named."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no message to the parent
    stdin = sys.stdin.buffer
    (length,) = _LENGTH.unpack(stdin.read(_LENGTH.size))
    setup: Setup = pickle.loads(stdin.read(length))
    numbers: queue.Queue[int] = queue.Queue()
    threading.Thread(target=_listen, args=(stdin, numbers), daemon=True).start()

    def tell(**message: Any) -> None:
        out.write(json.dumps(message) + "\n")
        out.flush()

    try:
        with rules.without(*setup.job.rules_off):
            _work(setup, numbers, tell)
    except BrokenPipeError:
        os._exit(1)
    except BaseException as error:  # noqa: BLE001 - told to the parent, who raises it
        kind = (
            "OSError" if type(error).__module__ == "builtins" and isinstance(error, OSError) else type(error).__name__
        )
        tell(error=kind, text=str(getattr(error, "strerror", None) or error), errno=getattr(error, "errno", None))
        os._exit(1)


def _listen(stdin: IO[bytes], numbers: queue.Queue[int]) -> None:
    for line in stdin:
        numbers.put(int(line))
    os._exit(0)  # the parent is gone, or wants no more


def _work(setup: Setup, numbers: queue.Queue[int], tell: Any) -> None:
    import cv2

    cv2.setNumThreads(setup.threads)
    models = Models.load(setup.job.options, Notes(), segmenter=False)
    with ChunkFiller(setup.job, models, threads=setup.threads) as filler:
        while True:
            number = numbers.get()
            filler.fill(number, lambda frames: tell(frames=frames))
            tell(done=number)


if __name__ == "__main__":
    main()
