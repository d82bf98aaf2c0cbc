"""Standard input and named pipes, kept on disk so that they can be read twice."""

from __future__ import annotations

import os
import select
import shutil
import sys
import tempfile
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from vidrase.errors import SourceError, SourceNotFound, UnsupportedSource

Note = Callable[[str], None]


class Spool:
    """A temporary copy of something that can be read only once; `close` removes it."""

    def __init__(self, stream: BinaryIO, shown: str, note: Note) -> None:
        """Read `stream` to its end. Raises UnsupportedSource when it is empty, SourceError when the disk is full."""
        handle, name = tempfile.mkstemp(prefix="vidrase-spool-")
        self.path = Path(name)
        self._undo = weakref.finalize(self, self.path.unlink, missing_ok=True)
        try:
            with os.fdopen(handle, "wb") as copy:
                shutil.copyfileobj(stream, copy, 1 << 20)
            size = self.path.stat().st_size
            if not size:
                raise UnsupportedSource(f"{shown} is empty; expected a picture or a video")
        except OSError as error:
            self.close()
            if isinstance(error, UnsupportedSource):
                raise
            raise SourceError(f"{shown} could not be kept in {self.path.parent}: {error.strerror or error}") from error
        except BaseException:
            self.close()
            raise
        note(f"{shown} is read twice, so a copy of {size / 1e6:.1f} MB is kept on disk meanwhile")

    @classmethod
    def of_stdin(cls, note: Note, wait: float) -> Spool:
        """Everything that comes in on standard input; SourceNotFound when nothing does for `wait` seconds."""
        if sys.stdin is None or sys.stdin.isatty():
            raise UnsupportedSource("standard input is a terminal; expected a picture or a video piped into it")
        number: int | None = None
        with suppress(OSError, ValueError, AttributeError):  # it may have no descriptor of its own
            number = sys.stdin.fileno()
        if number is not None:
            _await(number, "standard input", wait)
        return cls(sys.stdin.buffer, "standard input", note)

    @classmethod
    def of_pipe(cls, path: Path, note: Note, wait: float) -> Spool:
        """Everything that somebody writes to the named pipe `path`; SourceNotFound when nobody does for `wait` seconds."""
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # else opening waits for the writer, for ever
        with os.fdopen(number, "rb") as pipe:
            _await(number, str(path), wait)
            os.set_blocking(number, True)
            return cls(pipe, str(path), note)

    def close(self) -> None:
        """Remove the copy; may be called again."""
        self._undo()


def _await(number: int, shown: str, wait: float) -> None:
    """Return once there is something to read, or the end."""
    if not hasattr(select, "poll"):  # Windows has neither this nor named pipes
        return
    waiting = select.poll()
    waiting.register(number, select.POLLIN)
    if not waiting.poll(wait * 1000):
        raise SourceNotFound(
            f"nothing came from {shown} for {wait:g} s; start what writes to it first, or give --wait SECONDS"
        )
