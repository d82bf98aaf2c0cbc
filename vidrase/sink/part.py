"""A result that appears under its name only when it is complete."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from vidrase.errors import OptionError, SinkError


class Part:
    """`to` while it is being written: `path` is a file or folder beside it, renamed at the end."""

    def __init__(self, to: Path, *, folder: bool = False) -> None:
        """Raises SinkError when there is no such folder or it cannot be written to."""
        self.to = to
        parent = to.parent
        if not parent.is_dir():
            raise SinkError(f"cannot write {to}: there is no folder {parent}")
        try:
            if folder:
                self.path = Path(tempfile.mkdtemp(prefix=f".{to.name}.", suffix=".part", dir=parent))
                self.path.chmod(0o755)
            else:
                handle, name = tempfile.mkstemp(prefix=f".{to.stem}.", suffix=f".part{to.suffix}", dir=parent)
                os.close(handle)
                self.path = Path(name)
                umask = os.umask(0)
                os.umask(umask)
                self.path.chmod(0o666 & ~umask)
        except OSError as error:
            raise SinkError(f"cannot write {to}: {error.strerror or error}") from error

    def keep(self) -> None:
        """Give it its name, replacing what is there."""
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
        """Leave nothing."""
        if self.path.is_dir():
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            self.path.unlink(missing_ok=True)


def refuse_loss(to: Path, source: Path | None, *, overwrite: bool) -> None:
    """Raises OptionError when writing `to` would replace the source, or a file that the user did not offer."""
    if source is not None and to.exists() and to.samefile(source):
        raise OptionError(f"{to} is the input itself; give another name with --output")
    if to.exists() and not overwrite:
        raise OptionError(f"{to} exists already; replace it with -y or give another name with --output")
