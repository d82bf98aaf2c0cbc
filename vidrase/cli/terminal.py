"""What is printed must not cost what was made: a full, closed or deaf stdout or stderr does not end a run.

Installed once, by the process's way in. Who prints a result (a list, JSON) asks `written` at the end whether it got through.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import Any, TextIO

from vidrase.errors import SinkError


class Forgiving:
    """A text stream that remembers its first error instead of raising it, and drops what comes after."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        """Write; what the encoding does not know is escaped."""
        if self.error is not None:
            return len(text)
        try:
            return self._stream.write(text)
        except UnicodeEncodeError:
            known = self._stream.encoding or "ascii"
            return self.write(text.encode(known, "backslashreplace").decode(known))
        except (OSError, ValueError) as error:  # ValueError: closed
            self._lost(error)
            return len(text)

    def flush(self) -> None:
        """Flush, as far as that goes."""
        if self.error is None:
            try:
                self._stream.flush()
            except (OSError, ValueError) as error:
                self._lost(error)

    def _lost(self, error: OSError | ValueError) -> None:
        self.error = error if isinstance(error, OSError) else OSError(errno.EBADF, "it is closed")
        with suppress(
            OSError, ValueError
        ):  # what is buffered must go somewhere, or the interpreter complains at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def install() -> None:
    """From now on printing cannot fail, and no file that is opened later gets the number of stdin, stdout or stderr."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # closed: else the result could get number 2, and a library's message be written into it
            with suppress(OSError):
                os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)
    for name in ("stdout", "stderr"):
        stream: TextIO = getattr(sys, name) or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - for good
        setattr(sys, name, Forgiving(stream))


def written() -> None:
    """Raises SinkError when stdout did not take what was printed. A reader that has left had what it wanted."""
    sys.stdout.flush()
    error = getattr(sys.stdout, "error", None)
    if error is not None and error.errno != errno.EPIPE:
        raise SinkError(f"standard output does not take the result: {error.strerror or error}")
