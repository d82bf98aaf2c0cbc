"""The work folder of a run: what it has done so far, and what that depends on. One run at a time uses it.

What is kept has levels, each built on the ones before: the source, what was detected in it, the first pass, the filled chunks.
When what a level depends on has changed, that level and all after it are dropped.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidrase import part
from vidrase.closable import Closable
from vidrase.errors import OptionError, SinkError

try:
    import fcntl
except ImportError:  # Windows: nothing stops a second run there
    fcntl = None  # type: ignore[assignment]

LEVELS = ("source", "detected", "searched", "filled")
"""In order; each has a folder of its name."""
MANIFEST, LOCK = "manifest.json", "lock"
_LONGEST = 100  # bytes of the result's name taken into the folder's
_OURS = re.compile(r"\..+\.[0-9a-f]{8}\.(?:work|part(?:\.[^.]+)?)")
_SHOWN = 3  # differences named in a line


class WorkFolder(Closable):
    """A work folder that belongs to this process until it is closed."""

    def __init__(self, path: Path) -> None:
        """Make or take over the folder.

        Raises OptionError for a folder that holds other things, SinkError when another run uses it or it cannot be written.
        """
        self.path, self._lock = path, -1
        try:
            path.mkdir(exist_ok=True)
            held = set(os.listdir(path))  # noqa: PTH208 - names
            if held and not held & {MANIFEST, LOCK}:
                raise OptionError(f"--work {path} holds other files than a run's; name a new folder")
            self._lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
            if not _locked(self._lock):
                self.close()
                raise SinkError(f"the work folder {path} is in use by another run; wait for it, or give another --work")
            self._manifest: dict[str, Any] = self._read()
            for level in LEVELS:
                (path / level).mkdir(exist_ok=True)
        except OSError as error:
            self.close()
            if isinstance(error, SinkError):
                raise
            raise SinkError(f"the work folder {path} cannot be written: {error.strerror or error}") from error

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def place(self, level: str) -> Path:
        """The folder of a level."""
        return self.path / level

    def settle(self, level: str, now: Mapping[str, Any]) -> str | None:
        """Make sure that what is kept of `level` and after it was made with `now`; drop it otherwise.

        Returns None when it was, else why it was not: "" where there was nothing.
        """
        wanted = json.loads(json.dumps(now))
        before = self._manifest.get(level)
        if before == wanted:
            return None
        self.drop(level)
        self._manifest[level] = wanted
        self._write()
        return _differences(before, wanted) if isinstance(before, dict) else ""

    def drop(self, level: str) -> None:
        """Forget `level` and all after it. Raises SinkError."""
        later = LEVELS[LEVELS.index(level) :]
        kept = LEVELS[: -len(later)]
        self._manifest = {name: value for name, value in self._manifest.items() if name.partition(":")[0] in kept}
        self._write()
        for name in later:
            shutil.rmtree(self.path / name, ignore_errors=True)
            (self.path / name).mkdir(exist_ok=True)

    def remembered(self, level: str, name: str) -> Any:
        """A value that `remember` kept; None: there is none."""
        return self._manifest.get(f"{level}:{name}")

    def remember(self, level: str, name: str, value: Any) -> None:
        """Keep a plain value for as long as `level` is. Raises SinkError."""
        self._manifest[f"{level}:{name}"] = value
        self._write()

    def _write(self) -> None:
        part.save(self.path / MANIFEST, (json.dumps(self._manifest, indent=1) + "\n").encode())

    @property
    def holds_work(self) -> bool:
        """Whether anything is in it that took a while to make."""
        return any(_nbytes(self.path / level) for level in LEVELS)

    @property
    def nbytes(self) -> int:
        """What it takes on the disk."""
        return _nbytes(self.path)

    def remove(self) -> None:
        """Delete what the run has put into it, and the folder when nothing else is in it."""
        for level in LEVELS:
            shutil.rmtree(self.path / level, ignore_errors=True)
        with suppress(OSError):
            (self.path / MANIFEST).unlink(missing_ok=True)
            (self.path / LOCK).unlink(missing_ok=True)
            self.path.rmdir()
        self.close()

    def close(self) -> None:
        """Let others use it."""
        if self._lock >= 0:
            lock, self._lock = self._lock, -1
            os.close(lock)


def beside(to: Path) -> Path:
    """The name of the work folder for a result: hidden, beside it."""
    real = Path(os.path.realpath(to)) if to.is_symlink() else to
    name = os.fsencode(real.stem)[:_LONGEST].decode(errors="ignore")
    return real.parent / f".{name}.{hashlib.sha256(os.fsencode(real.name)).hexdigest()[:8]}.work"


def remove_stale(to: Path) -> None:
    """Remove the hidden work folder of the result `to`, now that it is complete, unless a run uses it."""
    path = beside(to)
    if path.is_dir() and not path.is_symlink() and not _in_use(path):
        shutil.rmtree(path, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class LeftOver:
    """A work folder, or a part of a result, that no run uses any more."""

    path: Path
    nbytes: int
    seconds: float
    """Since it was last written to."""


def left_over(folder: Path) -> Iterator[LeftOver]:
    """What killed runs have left in `folder`, by name. Those that a run uses are not listed."""
    for path in sorted(folder.iterdir()):
        if not _OURS.fullmatch(path.name) or path.is_symlink() or _in_use(path):
            continue
        with suppress(OSError):
            newest = max(one.stat().st_mtime for one in (path, *(path.rglob("*") if path.is_dir() else ())))
            yield LeftOver(path, _nbytes(path), max(time.time() - newest, 0.0))


def remove(found: LeftOver) -> None:
    """Delete it. Raises SinkError."""
    try:
        shutil.rmtree(found.path) if found.path.is_dir() else found.path.unlink()
    except OSError as error:
        raise SinkError(f"cannot remove {found.path}: {error.strerror or error}") from error


def _in_use(path: Path) -> bool:
    name = path / LOCK if path.suffix == ".work" else path
    try:
        opened = os.open(name, os.O_RDONLY)
    except OSError:
        return False
    try:
        return not _locked(opened)
    finally:
        os.close(opened)


def _locked(opened: int) -> bool:
    """Whether the lock on an open file could be had, or there are no locks here."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _nbytes(path: Path) -> int:
    if not path.is_dir():
        return path.stat().st_size
    total = 0
    for one in path.rglob("*"):
        with suppress(OSError):
            total += one.stat().st_size
    return total


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What is not as it was, in words."""
    changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    said = [_difference(name, before.get(name), now.get(name)) for name in changed[:_SHOWN]]
    return ", ".join(said) + (f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else "")


def _difference(name: str, before: Any, now: Any) -> str:
    if isinstance(before, str | int | float) and isinstance(now, str | int | float) and len(f"{before}{now}") < 60:
        return f"{name} was {before} and is {now}"
    return f"{name} changed"
