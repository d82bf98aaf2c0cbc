"""A result that appears under its name only when it is complete."""

from __future__ import annotations

import secrets
import shutil
import weakref
from contextlib import suppress
from pathlib import Path

from vidrase.errors import OptionError, SinkError

_LONGEST = 100  # bytes of the name taken into the temporary one, which gets longer than it


class Part:
    """`to` while it is being written: `path` is a file or folder beside it, renamed at the end.

    One that nobody kept goes when the last reference to it does, or at the end of the process: a Ctrl-C can hit between
    any two steps, and what comes after it in a constructor or before a `with` is never run.
    """

    def __init__(self, to: Path, *, folder: bool = False) -> None:
        """Raises SinkError when there is no such folder or it cannot be written to."""
        self.to = to
        need_folder(to)
        name, end = (to.name, "") if folder else (to.stem, to.suffix)
        name = name.encode()[:_LONGEST].decode(errors="ignore")
        self.path = to.parent / f".{name}.{secrets.token_hex(4)}.part{end}"
        self._undo = weakref.finalize(self, _remove, self.path)  # before it is there: no moment without an owner
        try:
            if folder:
                self.path.mkdir()
            else:
                self.path.touch(exist_ok=False)
        except OSError as error:
            raise SinkError(f"cannot write {to}: {error.strerror or error}") from error

    def keep(self) -> None:
        """Give it its name, replacing what is there. Raises SinkError."""
        try:
            if self.path.is_dir() and self.to.is_dir():
                old = self.path.with_name(self.path.name + ".old")
                self.to.rename(old)
                self.path.rename(self.to)
                shutil.rmtree(old)
            else:
                self.path.replace(self.to)
        except OSError as error:
            self.drop()
            raise SinkError(f"cannot write {self.to}: {error.strerror or error}") from error

    def drop(self) -> None:
        """Leave nothing; may be called again, also after `keep`."""
        self._undo()


def need_folder(to: Path) -> None:
    """Raises SinkError when there is no folder for `to`: for what is written at the end of a long run, to know it before."""
    if not to.parent.is_dir():
        raise SinkError(f"cannot write {to}: there is no folder {to.parent}")


def save(to: Path, data: bytes) -> None:
    """Write a small file in one step, replacing what is there. Raises SinkError."""
    part = Part(to)
    try:
        part.path.write_bytes(data)
    except OSError as error:
        part.drop()
        raise SinkError(f"cannot write {to}: {error.strerror or error}") from error
    part.keep()


def refuse_loss(to: Path, source: Path | None, *, overwrite: bool, replaceable: frozenset[str]) -> None:
    """Raises OptionError when writing `to` would replace the source, or something that the user did not offer.

    replaceable: suffixes of the files that a folder may hold to be replaced; one that holds anything else never is.
    """
    if source is not None and to.exists() and source.exists() and to.samefile(source):
        raise OptionError(f"{to} is the input itself; give another name with --output")
    if not to.exists():
        return
    if not (to.is_file() or to.is_dir()):
        raise OptionError(f"{to} is neither a file nor a folder; give another name with --output")
    if to.is_dir():
        held = sorted(to.iterdir())
        other = next((path for path in held if path.suffix.lower() not in replaceable or path.is_dir()), None)
        if other is not None:
            raise OptionError(f"folder {to} holds {other.name}, which would be lost; name a new folder with --output")
        if not held:
            return
    if not overwrite:
        raise OptionError(f"{to} exists already; replace it with -y or give another name with --output")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)
