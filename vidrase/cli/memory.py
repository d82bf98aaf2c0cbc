"""A limit on memory that a user, a queue or a service has set (ulimit -v): known before anything large is loaded.

Below what the libraries themselves take, they do not raise: they print lines of their own and end the process. So a limit that is
too low is refused before them, and under a tight one they are told to start no threads, and what they print is kept from the
user. What fails above that is `lacking`.
"""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from vidrase.cli.terminal import Forgiving
from vidrase.errors import OutOfMemory, VidraseError

MIB = 1024 * 1024
MASK_MIB = 1300  # address space of a run with masks on a small clip: libraries 900, the rest fill and coders
DETECT_MIB = 1800  # with a detector
TIGHT_MIB = 4096
NEAR = 0.9  # of the limit
_FINDS = ("--remove", "--at", "--box", "--selection", "--list", "pick", "live", "bench", "train")
_SAYS = (
    "failed to map segment",
    "cannot allocate memory",
    "can't allocate memory",
    "not enough memory",
    "insufficient memory",
    "failed to allocate",
    "bad_alloc",
    "out of memory",
    "can't start new thread",
    "malloc of size",  # x264
    "could not create a primitive",  # oneDNN
)
_heard: list[IO[bytes]] = []  # what libraries print on stderr under a tight limit


def check(arguments: Sequence[str]) -> None:
    """Raises OutOfMemory when this process may not have what the command needs."""
    limit = _limit_mib()
    if limit is None or not arguments or {"--help", "-h", "--version"} & set(arguments) or arguments[0] == "models":
        return
    finds = _finds(arguments)
    need = DETECT_MIB if finds else MASK_MIB
    if limit < need:
        what = "detecting objects" if finds else "a run with masks"
        raise OutOfMemory(
            f"this process may have {limit} MB of memory (ulimit -v), and {what} takes about {need} MB even on a small clip;"
            " raise the limit: ulimit -v unlimited"
        )
    if limit < TIGHT_MIB:  # a thread takes its share of address space before it does anything
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ.setdefault(name, "1")
        if "--debug" not in arguments:
            _hear_libraries()


def lacking(error: BaseException, arguments: Sequence[str] = ()) -> str | None:
    """The line to say when `error` comes from a lack of memory, else None. arguments: of the command, for what helps it."""
    unexpected = not isinstance(error, VidraseError | OSError)
    if not any(_is_lack(one) for one in _chain(error)) and not _libraries_lack() and not (unexpected and _near_limit()):
        return None
    limit = _limit_mib()
    had = f"the limit of {limit} MB on this process (ulimit -v)" if limit is not None else "what this machine has free"
    helps = _helps(arguments)
    return (
        f"out of memory: the run needs more than {had}; raise it or close other programs{helps and ', or give '}{helps}"
    )


def _helps(arguments: Sequence[str]) -> str:
    """Options by which a command takes less."""
    if arguments[:1] == ["live"]:
        return "--level 4 or a smaller --size"
    if arguments and arguments[0] in ("bench", "train", "models"):
        return ""
    if _finds(arguments):
        return "--quality fast, a smaller --imgsz or a smaller picture"
    network = not any(word.startswith("--inpainter") for word in arguments)
    return f"{'--inpainter telea (about 300 MB less), ' if network else ''}--quality fast or a smaller picture"


def _finds(arguments: Sequence[str]) -> bool:
    return any(word.partition("=")[0] in _FINDS for word in arguments)


def _hear_libraries() -> None:
    """Lead file 2 into a file of our own, and `sys.stderr` to where that led."""
    if _heard:
        return
    with suppress(OSError):
        kept = tempfile.TemporaryFile(prefix="vidrase-")  # noqa: SIM115 - to the end of the process
        sys.stderr.flush()
        own = os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8", errors="backslashreplace")
        os.dup2(kept.fileno(), 2)
        sys.stderr = Forgiving(own)  # type: ignore[assignment]
        _heard.append(kept)


def _libraries_lack() -> bool:
    if not _heard:
        return False
    _heard[0].seek(0)
    said = _heard[0].read(1 << 16).decode(errors="replace").lower()
    return any(text in said for text in _SAYS)


def _near_limit() -> bool:
    """Whether this process has had nearly all the address space that it may have: then what fails fails of that."""
    limit = _limit_mib()
    if limit is None:
        return False
    with suppress(OSError, ValueError, IndexError):
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return int(status.split("VmPeak:")[1].split()[0]) >= NEAR * limit * 1024
    return False


def _limit_mib() -> int | None:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else soft // MIB


def _is_lack(error: BaseException) -> bool:
    if isinstance(error, MemoryError | OutOfMemory) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    known = isinstance(error, RuntimeError | ImportError | OSError) or type(error).__name__ == "error"  # OpenCV's
    return known and any(text in str(error).lower() for text in _SAYS)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
