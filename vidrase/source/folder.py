"""A folder, or a glob, of pictures as a video of constant rate.

Invariant: frames come in natural order (frame2 before frame10), one decoded at a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from vidrase.closable import Closable
from vidrase.colour import PixelLayout
from vidrase.errors import DecodeError, OptionError, SourceNotFound, UnsupportedSource
from vidrase.frames import Frame, SourceInfo
from vidrase.source.images import as_frame
from vidrase.source.losses import Damage
from vidrase.source.picture import SUFFIXES, Picture, read_picture

Note = Callable[[str], None]

DEFAULT_RATE = Fraction(25)
_GLOB = re.compile(r"[*?\[]")
_PRINTF = re.compile(r"%0?\d*d")


def is_pattern(where: str) -> bool:
    """True when `where` names several files: `frames/*.png`, `frame_%04d.png`."""
    return bool(_GLOB.search(where) or _PRINTF.search(Path(where).name))


def natural_key(path: Path) -> tuple[tuple[int, int | str], ...]:
    """Sorts frame2 before frame10, and ties as text."""
    parts = re.split(r"(\d+)", path.name.lower())
    return (*((0, int(part)) if part.isdigit() else (1, part) for part in parts if part), (1, path.name))


def pictures_in(folder: Path) -> list[Path]:
    """The image files of `folder` in natural order. Raises UnsupportedSource when there is none."""
    try:
        names = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]
        names = [path for path in names if path.is_file()]  # a folder may be called x.png as well
    except OSError as error:
        raise UnsupportedSource(f"folder {folder} cannot be read: {error.strerror or error}") from error
    if not names:
        raise UnsupportedSource(f"folder {folder} holds no pictures; expected frames as PNG, JPEG, TIFF, WebP or BMP")
    return sorted(names, key=natural_key)


def pictures_matching(pattern: str) -> list[Path]:
    """The image files that `pattern` (a glob, or with %04d) names, in natural order.

    Raises SourceNotFound when nothing matches, UnsupportedSource when no picture does.
    """
    where = Path(pattern)
    match = _PRINTF.search(where.name)
    tail = _PRINTF.sub("*", where.name.replace("[", "[[]")) if match else where.name
    if where.parent.is_dir():  # whatever its name looks like
        found = [path for path in where.parent.glob(tail) if path.is_file()]
    else:
        anchor = Path(where.anchor) if where.anchor else Path()
        inner = where.parent.relative_to(where.anchor) if where.anchor else where.parent
        found = [path for path in anchor.glob(str(inner / tail)) if path.is_file()]
    if match:
        numbered = re.compile(re.escape(where.name[: match.start()]) + r"\d+" + re.escape(where.name[match.end() :]))
        found = [path for path in found if numbered.fullmatch(path.name)]
    if not found:
        raise SourceNotFound(f"no file matches {pattern}")
    found = [path for path in found if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]
    if not found:
        raise UnsupportedSource(f"no picture matches {pattern}; expected frames as PNG, JPEG, TIFF, WebP or BMP")
    return sorted(found, key=lambda path: (str(path.parent), natural_key(path)))


class FolderSource(Closable):
    """Pictures of one size as the frames of a video; their file names are in `info.frame_names`."""

    def __init__(
        self, paths: Sequence[Path], *, where: Path, shown: str, frame_rate: Fraction | None, note: Note
    ) -> None:
        """Read the first picture. `where`: the folder. Raises as `read_picture`, OptionError for a rate that is not positive."""
        rate = DEFAULT_RATE if frame_rate is None else Fraction(frame_rate)
        if rate <= 0:
            raise OptionError(f"expected a frame rate above 0, got {rate}")
        self._paths, self._note = list(paths), note
        self.damage = Damage()  # a frame is there or it is an error
        first = read_picture(self._paths[0])
        notes = tuple(_of_all(text, self._paths[0]) for text in first.notes)
        height, width = first.planes[0].shape
        self.info = SourceInfo(
            kind="frames",
            path=where,
            url=shown,
            width=width,
            height=height,
            layout=first.layout,
            time_base=1 / rate,
            frame_rate=rate,
            frame_count=len(self._paths),
            duration_seconds=float(len(self._paths) / rate),
            orientation=first.orientation,
            container=first.native.format,
            codec=first.native.format.lower(),
            notes=notes,
            frame_names=tuple(path.name for path in self._paths),
        )

    def __iter__(self) -> Iterator[Frame]:
        return self._frames()

    def __len__(self) -> int:
        return len(self._paths)

    def _frames(self) -> Iterator[Frame]:
        for index in range(len(self._paths)):
            yield self.frame(index)

    def frame(self, index: int) -> Frame:
        """Frame number `index`, decoded now. Raises DecodeError when it does not fit the first."""
        info, path = self.info, self._paths[index]
        picture = read_picture(path)
        frame = as_frame(picture, index, info.time_base)
        if frame.displayed_size != info.displayed_size:
            (rows, columns), (height, width) = frame.displayed_size, info.displayed_size
            raise DecodeError(
                f"{path.name} is {columns}x{rows}, {self._paths[0].name} is {width}x{height}; expected frames of one size"
            )
        if frame.layout != info.layout or frame.orientation != info.orientation:
            alike = _alike(picture, info.layout) if frame.orientation == info.orientation else None
            if alike is None:
                raise DecodeError(
                    f"{path.name} is stored in another way ({frame.layout.name}) than {self._paths[0].name}"
                    f" ({info.layout.name}); expected frames of one kind"
                )
            frame = as_frame(alike, index, info.time_base)
        return frame

    def close(self) -> None:
        """Nothing is held open."""


def _of_all(text: str, first: Path) -> str:
    return text.replace(str(first), f"{first.name} (and others like it)")


def _alike(picture: Picture, wanted: PixelLayout) -> Picture | None:
    """A grey picture among coloured ones of the same depth, as they are; None when the two differ in anything else."""
    have = picture.layout
    if (have.model, have.alpha, have.bits) != ("gray", wanted.alpha, wanted.bits) or wanted.model == "gray":
        return None
    grey, alpha = picture.planes[0], picture.planes[1:]
    if wanted.model == "rgb":
        return replace(picture, planes=(grey, grey.copy(), grey.copy(), *alpha), layout=wanted)
    if not wanted.full_range:
        return None
    none = [np.full(wanted.plane_shape(n, *grey.shape), 1 << (wanted.bits - 1), wanted.dtype) for n in (1, 2)]
    return replace(picture, planes=(grey, *none, *alpha), layout=wanted)
