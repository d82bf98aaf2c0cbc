"""Standard input and named pipes, kept on disk so that they can be read twice."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from vidrase.errors import SourceError, UnsupportedSource

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
    def of_stdin(cls, note: Note) -> Spool:
        """Everything that comes in on standard input."""
        if sys.stdin is None or sys.stdin.isatty():
            raise UnsupportedSource("standard input is a terminal; expected a picture or a video piped into it")
        return cls(sys.stdin.buffer, "standard input", note)

    def close(self) -> None:
        """Remove the copy; may be called again."""
        self._undo()
