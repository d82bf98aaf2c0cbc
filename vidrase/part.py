"""A result that appears under its name only when it is complete."""

from __future__ import annotations

import hashlib
import itertools
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

    A name that was free when the work began is not taken from who took it meanwhile: then the result gets another one, and the
    run ends with an error that names it.

    One that nobody kept goes when the last reference to it does, or at the end of the process: a Ctrl-C can hit between
    any two steps, and what comes after it in a constructor or before a `with` is never run.
    """

    def __init__(self, to: Path, *, folder: bool = False, overwrite: bool = False) -> None:
        """A link is followed: what it leads to is written. overwrite: whatever has the name at the end is replaced.

        Raises SinkError when there is no such folder, it cannot be written to, or somebody else is writing the same.
        """
        self.to = to
        self._real = Path(os.path.realpath(to)) if to.is_symlink() else to
        need_folder(self._real)
        self._was = _held(self._real)
        self._free = not overwrite and not self._was
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
        """Give it its name, replacing what was there, whose permissions it takes over.

        Raises SinkError; also when somebody took the name, and the result has another one.
        """
        try:
            if self._free:
                self._keep_beside()
            else:
                self._keep_in_its_place()
        except OSError as error:
            raise SinkError(f"cannot write {self.to}: {error.strerror or error}") from error
        finally:
            self.drop()

    def _keep_in_its_place(self) -> None:
        with suppress(FileNotFoundError):
            self.path.chmod(stat.S_IMODE(self._real.stat().st_mode))
        if not (self.path.is_dir() and self._real.is_dir()):
            self.path.replace(self._real)
            return
        old = self.path.with_name(self.path.name + ".old")
        self._real.rename(old)
        for stranger in _held(old) - self._was - _held(self.path):  # came meanwhile
            (old / stranger).rename(self.path / stranger)
        self.path.rename(self._real)
        shutil.rmtree(old)

    def _keep_beside(self) -> None:
        """Under its name if that is still free, else under the next that is."""
        names = (self._real.with_name(f"{self._real.stem}_{n}{self._real.suffix}") for n in itertools.count(2))
        for name in itertools.chain([self._real], names):
            if _renamed_if_free(self.path, name):
                break
        if name != self._real:
            beside = self.to.with_name(name.name) if self._real == self.to else name
            raise SinkError(
                f"{self.to} appeared while this ran and was left alone: the result is {beside}"
                " (with -y it would have been replaced)"
            )

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


def _held(path: Path) -> frozenset[str]:
    """Names in a folder, the name of anything else that is there; nothing for an empty folder."""
    if path.is_dir():
        return frozenset(os.listdir(path))  # noqa: PTH208 - names
    return frozenset([path.name] if os.path.lexists(path) else [])


def _renamed_if_free(path: Path, to: Path) -> bool:
    """Give `path` another name, unless something has it, an empty folder excepted. Raises OSError."""
    if path.is_dir():
        if _held(to):
            return False
        with suppress(FileNotFoundError):
            to.rmdir()
        path.rename(to)
        return True
    try:
        os.link(path, to)  # the one way that never replaces
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        if os.path.lexists(to):
            return False
        path.replace(to)
        return True
    path.unlink()
    return True


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
