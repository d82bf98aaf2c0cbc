"""Where frames come from: one contract over video files, URLs, standard input, stills and folders of frames."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import unquote

from vidrase.addresses import check_address, check_references
from vidrase.errors import SourceNotFound, UnsupportedSource
from vidrase.frames import Frame, SourceInfo
from vidrase.source.animation import AnimationSource
from vidrase.source.folder import FolderSource, is_pattern, pictures_in, pictures_matching
from vidrase.source.images import ImageSource, looks_like_image, loops
from vidrase.source.losses import Damage, Gap
from vidrase.source.picture import SUFFIXES as PICTURES
from vidrase.source.random import RandomAccess, random_access
from vidrase.source.spool import Spool
from vidrase.source.stretch import Changed, FrameTable, Stretch
from vidrase.source.video import VideoSource
from vidrase.written import url_of

__all__ = [
    "PICTURES",
    "Changed",
    "Damage",
    "FrameTable",
    "Gap",
    "RandomAccess",
    "Source",
    "Stretch",
    "open_random",
    "open_source",
]

Note = Callable[[str], None]

WAIT_SECONDS = 60.0  # for a pipe that nobody writes to


class Source(Protocol):
    """A clip, or a still as a clip of one frame. A context manager; `close` may be called again."""

    info: SourceInfo
    damage: Damage
    """What the last reading to the end found missing; empty before it."""

    def __iter__(self) -> Iterator[Frame]:
        """Frames from the first; again from the first when `info.rereadable`.

        Ends, with a note, where the size or pixel format changes midway. Raises DecodeError when the input breaks off.
        """
        ...

    def close(self) -> None:
        """Let go of files and temporary copies."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


def open_source(
    where: str | Path,
    *,
    frame_rate: Fraction | None = None,
    note: Note | None = None,
    threads: int | None = None,
    strict: bool = False,
    wait: float = WAIT_SECONDS,
    references: bool = False,
) -> Source:
    """`where` opened for reading, its first frame decoded.

    where:      a video or image file, a URL, "-" (standard input), a folder of pictures, a pattern (`*.png`, `%04d.png`).
    frame_rate: of a folder of pictures; None: 25 a second. Videos have their own.
    note:       called with a line for whatever is done in another way than expected; `info.notes` has what is known at once.
    threads:    of the decoder; None: its own choice.
    strict:     raise DecodeError at the end of a reading that found something missing; else it is only told.
    wait:       seconds after which a pipe that nobody writes to is SourceNotFound.
    references: whether a list (ffconcat, HLS, DASH) may lead out of its own folder.
    Raises RefusedSource for another protocol than files, the web and streams, and for a list that leads out of its folder;
    SourceNotFound, UnsupportedSource (nothing there that can be read) or DecodeError (damaged).
    """
    return _open(where, frame_rate, note or _silent, threads, strict=strict, wait=wait, references=references)


def _open(
    where: str | Path,
    frame_rate: Fraction | None,
    note: Note,
    threads: int | None,
    *,
    strict: bool = False,
    wait: float = WAIT_SECONDS,
    references: bool = False,
) -> VideoSource | ImageSource | FolderSource | AnimationSource:
    text = str(where)
    how = _How(strict, references)
    if text == "-":
        return _spooled(Spool.of_stdin(note, wait), "standard input", note, threads, how)
    if isinstance(where, str):
        check_address(text)
    if "://" in text:
        parts = url_of(text)
        if parts.scheme.lower() != "file":
            return VideoSource(
                text, path=None, shown=text, note=note, threads=threads, strict=strict, references=references
            )
        text = unquote(parts.path)
    if not text:
        raise SourceNotFound("expected a file, folder or URL, got an empty name")
    path = Path(text)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if is_pattern(text):
            paths = pictures_matching(text)
            return FolderSource(paths, where=path.parent, shown=text, frame_rate=frame_rate, note=note)
        raise SourceNotFound(f"no such file or folder: {text}") from None
    except (OSError, ValueError) as error:  # a name too long, a null byte, a folder that may not be entered
        raise SourceNotFound(f"{text} cannot be reached: {getattr(error, 'strerror', None) or error}") from error
    if stat.S_ISDIR(mode):
        return FolderSource(pictures_in(path), where=path, shown=text, frame_rate=frame_rate, note=note)
    if stat.S_ISFIFO(mode):
        return _spooled(Spool.of_pipe(path, note, wait), text, note, threads, how)
    if not stat.S_ISREG(mode):
        raise UnsupportedSource(
            f"{text} is a device; expected a file, folder, URL or - (a camera goes with: vidrase live)"
        )
    return _file(path, text, note, threads, None, how)


def open_random(
    where: str | Path | SourceInfo, *, note: Note | None = None, threads: int | None = None
) -> RandomAccess:
    """`where` (or the source that `info` describes, still open) for frames in any order.

    threads: of the decoder; None: its own choice.
    Raises as `open_source`; UnsupportedSource for standard input by name and for live URLs, which cannot go back.
    """
    note, references = note or _silent, False
    if isinstance(where, SourceInfo):
        if not where.rereadable:
            raise UnsupportedSource(f"{where.url} is live and cannot be read in any order; record it to a file first")
        references = where.references
        where = where.path if where.path is not None and where.kind != "frames" else where.url
    if str(where) == "-":
        raise UnsupportedSource("standard input can only be read once; give the opened source's info instead")
    return random_access(_open(where, None, note, threads, references=references), note)


@dataclass(frozen=True, slots=True)
class _How:
    """What a source may do."""

    strict: bool
    references: bool


def _spooled(
    spool: Spool, shown: str, note: Note, threads: int | None, how: _How
) -> VideoSource | ImageSource | AnimationSource:
    try:
        return _file(spool.path, shown, note, threads, spool, how)
    except BaseException:
        spool.close()
        raise


def _file(
    path: Path, shown: str, note: Note, threads: int | None, spool: Spool | None, how: _How
) -> VideoSource | ImageSource | AnimationSource:
    try:
        with path.open("rb") as file:
            head = file.read(32)
    except OSError as error:
        raise UnsupportedSource(f"{shown} cannot be read: {error.strerror or error}") from error
    if not head:
        raise UnsupportedSource(f"{shown} is empty (0 bytes); expected a picture or a video")
    suffix = path.suffix.lower()  # for TGA, which begins with nothing of its own, and for JPEGs in a row
    still = suffix == ".tga" or (looks_like_image(head) and suffix not in (".mjpg", ".mjpeg"))
    repeats = loops(path) if still else None
    if still and repeats is None:
        return ImageSource(path, shown=shown, note=note, spool=spool)
    if repeats is not None and not head.startswith((b"GIF8", b"\x89PNG")):
        return AnimationSource(path, repeats, shown=shown, note=note, spool=spool)
    if not how.references:
        check_references(path, shown, alone=spool is not None)
    # "file:" keeps FFmpeg from taking a colon for a protocol
    where = f"file:{path.absolute()}"
    return VideoSource(
        where,
        path=path,
        shown=shown,
        note=note,
        threads=threads,
        spool=spool,
        strict=how.strict,
        references=how.references,
        loops=repeats,
    )


def _silent(text: str) -> None:
    """Used where nobody wants to hear."""
