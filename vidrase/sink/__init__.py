"""Where frames go: a video file, a picture, a folder of pictures, or a list. Complete or not there at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import unquote

from PIL import Image

from vidrase.errors import OptionError
from vidrase.frames import Frame, SourceInfo
from vidrase.options import SinkOptions
from vidrase.paths import is_file, is_folder, is_there, refuse_loss
from vidrase.sink.animation import ANIMATED, AnimationSink
from vidrase.sink.encoders import CONTAINERS
from vidrase.sink.folder import FolderSink
from vidrase.sink.images import FORMATS, NEAREST, ImageSink
from vidrase.sink.remux import lost_tracks
from vidrase.sink.video import VideoSink
from vidrase.written import url_of

__all__ = ["ListSink", "Sink", "default_output", "open_sink"]

Note = Callable[[str], None]


class Sink(Protocol):
    """A result in the making. A context manager: complete on a clean exit, nothing left on an error."""

    encoder: str
    """What it is written with, for the report."""

    def write(self, frame: Frame) -> None:
        """The next frame, in order."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class ListSink:
    """Keeps the frames in `frames`: for tests and short clips."""

    encoder = "none"

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def write(self, frame: Frame) -> None:
        """Keep it."""
        self.frames.append(frame)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


def open_sink(to: Path, info: SourceInfo, options: SinkOptions, *, note: Note) -> Sink:
    """A sink for `to`, whose kind follows from its name: a picture's suffix, a video's, or a folder.

    note: called for whatever the result cannot carry.
    Raises OptionError when `to` exists (without `overwrite`), is the source, or is of a kind that cannot be written;
    SinkError when it cannot be written there.
    """
    refuse_loss(to, info.path, overwrite=options.overwrite, replaceable=frozenset(FORMATS))
    suffix = to.suffix.lower()
    video = suffix in CONTAINERS or (suffix == ".png" and info.loops is not None)
    if to.is_dir() and (video or (suffix in ANIMATED and info.kind != "image")):
        raise OptionError(f"{to} is a folder with the name of a video; give another name with --output")
    if video:
        if info.kind == "image":
            raise OptionError(
                f"{info.url} is a picture and {to} a video; name the result .png, .jpg, .webp, .tif or .bmp"
            )
        return VideoSink(to, info, options, note)
    if suffix in FORMATS and info.kind == "image":
        return ImageSink(to, info, options, note)
    if suffix in ANIMATED:
        return AnimationSink(to, info, options, note)
    if suffix in FORMATS:
        raise OptionError(f"{to} is one picture, but {info.url} has many; name a folder or a video file")
    if to.is_file() and not suffix:
        raise OptionError(f"{to} is a file, and a name without a suffix means a folder of pictures; give another name")
    if to.is_dir() or not suffix:
        return FolderSink(to, info, options, note)
    known = " ".join(sorted({*CONTAINERS, *FORMATS}))
    raise OptionError(f"do not know how to write '{suffix}'; expected one of {known}, or a folder")


def default_output(where: str | Path, note: Note | None = None) -> Path:
    """`<stem>_erased<suffix>` beside the source: `clip.mp4` -> `clip_erased.mp4`, `frames/` -> `frames_erased`.

    A format that can be read but not written becomes its nearest kin: .jfif .jpg, .gif .mp4 (.png when it does not move), .wmv
    .mp4, or .mkv, of which `note` is told, where MP4 would not hold all its tracks. An animated PNG, WebP or AVIF stays one.
    """
    text = str(where)
    if text == "-":
        return Path("stdin_erased.mp4")
    if "://" in text and not text.startswith("file://"):
        path = Path(unquote(Path(url_of(text).path).name) or "stream.mp4")
    else:
        path = Path(unquote(url_of(text).path) if text.startswith("file://") else text)
    there = is_folder(path)
    if there or (any(mark in path.name for mark in "*?[%") and not is_there(path)):
        folder = path if there else path.parent
        folder = folder.resolve() if folder.name in ("", ".", "..") else folder
        return folder.with_name(f"{folder.name}_erased")
    suffix = path.suffix
    if suffix.lower() not in CONTAINERS and suffix.lower() not in FORMATS:
        suffix = NEAREST.get(suffix.lower(), ".mp4")
        if path.suffix.lower() == ".gif" and is_file(path) and not _moves(path):
            suffix = ".png"
        if suffix == ".mp4" and is_file(path) and (lost := lost_tracks(path, "mp4", "matroska")):
            suffix = ".mkv"
            if note is not None:
                note(f"the result is called .mkv: MP4 does not hold the {', '.join(lost)} of {path.name}")
    return path.with_name(f"{path.stem}_erased{suffix}")


def _moves(path: Path) -> bool:
    """True for an animation; False for a still, and for what is no picture."""
    try:
        with Image.open(path) as image:
            return bool(getattr(image, "is_animated", False))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
