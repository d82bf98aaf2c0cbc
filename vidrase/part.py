"""A result that appears under its name only when it is complete."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import stat
import weakref
from contextlib import suppress
from pathlib import Path

from vidrase.errors import SinkError

try:
    import fcntl
except ImportError:  # Windows, where a file that is held open cannot be renamed either
    fcntl = None  # type: ignore[assignment]

_LONGEST = 100  # bytes of the name taken into the temporary one, which gets longer than it
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_FILE = os.O_RDWR | os.O_CREAT | _NO_LINK
_FOLDER = os.O_RDONLY | _NO_LINK


class Part:
    """`to` while it is being written: `path` is a file or folder beside it, renamed at the end.

    One result has one name for its part, which is locked: a second run to the same name ends at its start. The system lets go of
    the lock with the process, however that ends, and what a killed one left is used again.

    One that nobody kept goes when the last reference to it does, or at the end of the process: a Ctrl-C can hit between
    any two steps, and what comes after it in a constructor or before a `with` is never run.
    """

    def __init__(self, to: Path, *, folder: bool = False) -> None:
        """A link is followed: what it leads to is written. Raises SinkError when there is no such folder, it cannot be
        written to, or somebody else is writing the same."""
        self.to = to
        self._real = Path(os.path.realpath(to)) if to.is_symlink() else to
        need_folder(self._real)
        self._claim = _Claim()
        self._undo = weakref.finalize(self, self._claim.remove)  # before it is there: no moment without an owner
        try:
            if not self._claim.take(self._real, folder=folder):
                raise SinkError(f"cannot write {to}: another run is writing it; wait for it, or give another name")
        except OSError as error:
            if isinstance(error, SinkError):
                raise
            raise SinkError(f"cannot write {to}: {error.strerror or error}") from error
        self.path = self._claim.path
        """What to write into."""

    def keep(self) -> None:
        """Give it its name, replacing what is there, whose permissions it takes over. Raises SinkError."""
        try:
            with suppress(FileNotFoundError):
                self.path.chmod(stat.S_IMODE(self._real.stat().st_mode))
            if self.path.is_dir() and self._real.is_dir():
                old = self.path.with_name(self.path.name + ".old")
                self._real.rename(old)
                self.path.rename(self._real)
                shutil.rmtree(old)
            else:
                self.path.replace(self._real)
        except OSError as error:
            self.drop()
            raise SinkError(f"cannot write {self.to}: {error.strerror or error}") from error
        self.drop()

    def write(self, data: bytes) -> None:
        """Make it of `data` and keep it. Raises SinkError."""
        try:
            self.path.write_bytes(data)
        except OSError as error:
            self.drop()
            raise SinkError(f"cannot write {self.to}: {error.strerror or error}") from error
        self.keep()

    def drop(self) -> None:
        """Leave nothing; may be called again, also after `keep`."""
        self._undo()


def need_folder(to: Path) -> None:
    """Raises SinkError when there is no folder for `to`: for what is written at the end of a long run, to know it before."""
    if not to.parent.is_dir():
        raise SinkError(f"cannot write {to}: there is no folder {to.parent}")


def save(to: Path | Part, data: bytes) -> None:
    """Write a small file in one step, replacing what is there. Raises SinkError."""
    (to if isinstance(to, Part) else Part(to)).write(data)


class _Claim:
    """A temporary file or folder that is this process' own, by a lock on it."""

    def __init__(self) -> None:
        self.path = Path()
        self._lock = -1  # an open file
        self._locks = fcntl is not None

    def take(self, to: Path, *, folder: bool) -> bool:
        """Make one for `to`, or empty what a dead process left. False when somebody has it. Raises OSError."""
        name, end = (to.name, "") if folder else (to.stem, to.suffix)
        name = os.fsencode(name)[:_LONGEST].decode(errors="ignore")
        while self._locks:
            path = to.parent / f".{name}.{hashlib.sha256(os.fsencode(to.name)).hexdigest()[:8]}.part{end}"
            if folder:
                path.mkdir(exist_ok=True)
            self._lock = os.open(path, _FOLDER if folder else _FILE, 0o666)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._let_go()
                return False
            except OSError:  # a file system without locks
                self._locks = False
            else:
                if self._is(path):
                    self.path = path
                    _empty(path) if folder else os.ftruncate(self._lock, 0)
                    return True
            self._let_go()  # its owner renamed or removed it before it was locked here: once more
        self.path = to.parent / f".{name}.{secrets.token_hex(4)}.part{end}"
        self.path.mkdir() if folder else self.path.touch(exist_ok=False)
        return True

    def remove(self) -> None:
        """Remove it, if it is still there, and let go of it. In this order: one without an owner is there to be taken."""
        if self.path.name and (not self._locks or self._is(self.path)):
            if self.path.is_dir():
                shutil.rmtree(self.path, ignore_errors=True)
            else:
                with suppress(OSError):
                    self.path.unlink(missing_ok=True)
        self._let_go()

    def _is(self, path: Path) -> bool:
        """Whether the file that is locked has that name; one that was kept has another."""
        try:
            mine, there = os.fstat(self._lock), path.lstat()
        except OSError:
            return False
        return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)

    def _let_go(self) -> None:
        if self._lock >= 0:
            lock, self._lock = self._lock, -1
            os.close(lock)


def _empty(folder: Path) -> None:
    for left in folder.iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()
