"""The names of one run, compared before the work: nothing that is written may harm what is read, or another result.

Two names are one where they lead to the same file, by whatever links. Every OptionError here is one line.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from vidrase.errors import OptionError

_Key = tuple[int, int] | str


@dataclass(frozen=True, slots=True)
class Named:
    """A path and what the user calls it: "the input", "--report"."""

    called: str
    path: Path

    def __str__(self) -> str:
        return f"{self.called} {self.path}"


def is_there(path: Path) -> bool:
    """True when there is anything under that name, a link that leads nowhere too. Never raises."""
    return os.path.lexists(path)


def same(a: Path, b: Path) -> bool:
    """True for two names of one file. Never raises."""
    return _key(a) == _key(b)


def is_folder(path: Path) -> bool:
    """True for a folder. Never raises."""
    return os.path.isdir(path)  # noqa: PTH112


def is_file(path: Path) -> bool:
    """True for a file. Never raises."""
    return os.path.isfile(path)  # noqa: PTH113


def compare(read: Iterable[Named], written: Iterable[Named], *, pictures: Collection[str] = ()) -> list[str]:
    """Raises OptionError where writing would replace something that is read, or another thing that is written.

    pictures: suffixes; such a file in a folder that is read is one of its frames.
    Returns what is worth saying once the run begins: names that are links, which are followed.
    """
    inputs = list(read)
    files: dict[_Key, Named] = {_key(one.path): one for one in reversed(inputs)}
    within: dict[str, Named] = {}  # every folder above something that is read
    for one in inputs:
        if not is_there(one.path):  # a pattern
            files.setdefault(_key(one.path.parent), one)
        for folder in Path(os.path.realpath(one.path)).parents:
            within.setdefault(str(folder), one)
    results: dict[_Key, Named] = {}
    names: dict[str, Named] = {}
    above: dict[str, Named] = {}  # every folder above something that is written
    for one in written:
        refuse_name(one.path)
        key, real = _key(one.path), Path(os.path.realpath(one.path))
        if key in files:
            raise OptionError(f"{one} is {files[key].called} itself; give another name")
        if key in results:
            raise OptionError(f"{one} and {results[key]} are one file; give another name")
        if is_folder(real) and str(real) in within:
            raise OptionError(f"{one} holds {within[str(real)]}, which would be lost; name a new folder")
        holder = files.get(_key(real.parent))
        if holder is not None and is_there(real) and real.suffix.lower() in pictures:
            raise OptionError(f"{one} is one of the pictures of {holder}; give another name")
        other = above.get(str(real)) or next((names[str(up)] for up in real.parents if str(up) in names), None)
        if other is not None:
            raise OptionError(f"one of {one} and {other} lies in the other; give another name")
        results[key] = names[str(real)] = one
        above |= {str(up): one for up in real.parents}
    links = [one for one in results.values() if one.path.is_symlink()]
    return [f"{one} is a link: {os.path.realpath(one.path)} is written" for one in links]


def refuse_name(path: Path) -> None:
    """Raises OptionError for a name that no file can have, and for a device, which is never replaced."""
    try:
        path.lstat()
        there = path.exists()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            long = len(os.fsencode(path.name))
            short = f"{path.name[:24]}…{path.name[-12:]}"
            raise OptionError(
                f"the name {short} is too long ({long} bytes, most folders take 255); give a shorter one"
            ) from error
        there = False  # not there, or not to be seen: who writes there says it
    except ValueError as error:
        raise OptionError(f"{str(path)!r} can be no file's name ({error}); give another one") from error
    if there and not (path.is_file() or path.is_dir()):
        raise OptionError(f"{path} is neither a file nor a folder; give another name")


def refuse_existing(called: str, path: Path, *, overwrite: bool) -> None:
    """Raises OptionError when there is something under the name of a file that is to be written, and no leave to replace it."""
    refuse_name(path)
    if is_folder(path):
        raise OptionError(f"{called} {path} is a folder; expected the name of a file")
    if is_there(path) and not overwrite:
        raise OptionError(f"{called} {path} exists already; replace it with -y or give another name")


def refuse_loss(to: Path, source: Path | None, *, overwrite: bool, replaceable: frozenset[str]) -> None:
    """Raises OptionError when writing `to` would replace the source, or something that the user did not offer.

    replaceable: suffixes of the files that a folder may hold to be replaced; one that holds anything else never is.
    """
    refuse_name(to)
    if source is not None and to.exists() and source.exists() and to.samefile(source):
        raise OptionError(f"{to} is the input itself; give another name with --output")
    if not is_there(to):
        return
    if to.is_dir():
        real = Path(os.path.realpath(to))
        if real == Path.cwd() or real in Path.cwd().parents or os.path.ismount(real):
            raise OptionError(f"{to} is no folder that could be replaced by another; name a file, or a new folder")
        held = sorted(to.iterdir())
        other = next((path for path in held if path.suffix.lower() not in replaceable or path.is_dir()), None)
        if other is not None:
            raise OptionError(f"folder {to} holds {other.name}, which would be lost; name a new folder with --output")
        if not held:
            return
    if not overwrite:
        raise OptionError(f"{to} exists already; replace it with -y or give another name with --output")


def _key(path: Path) -> _Key:
    """The same for all names of one file."""
    try:
        known = path.stat()
    except (OSError, ValueError):
        return os.path.normcase(os.path.realpath(path))
    return known.st_dev, known.st_ino
