"""Frames to a folder of pictures: a folder of frames comes back with the same names, a video as numbered PNGs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from vidrase.errors import OptionError, SinkError
from vidrase.frames import Frame, SourceInfo
from vidrase.imagemeta import ImageNative
from vidrase.options import SinkOptions
from vidrase.part import Part
from vidrase.sink.images import FORMATS, check_image, save_image

Note = Callable[[str], None]


class FolderSink:
    """Writes into a hidden folder beside `to`, which gets its name when complete. A context manager like every sink."""

    encoder = "pictures"

    def __init__(self, to: Path, info: SourceInfo, options: SinkOptions, note: Note) -> None:
        self._tell, self._said = note, set[str]()
        # of a pattern over several folders it is not known where a frame came from
        whole = info.kind == "frames" and info.path in (Path(info.url), Path(info.url).parent)
        self._source = info.path if whole else None
        if len(set(info.frame_names)) < len(info.frame_names):
            twice = next(name for name in info.frame_names if info.frame_names.count(name) > 1)
            raise OptionError(f"two frames are called {twice}; rename one of them, or name a video file")
        if info.kind == "video" and (info.sample_aspect_ratio or 1) != 1:
            note("pictures hold no aspect ratio of pixels: they will look squeezed or stretched")
        check_image(".png", info, note)
        self._part = Part(to, folder=True, overwrite=options.overwrite)
        self._names: set[str] = set()

    def write(self, frame: Frame) -> None:
        """One picture, called as in the source, else `frame_000001.png` and so on."""
        named = frame.native.name if isinstance(frame.native, ImageNative) else ""
        suffix = Path(named).suffix.lower()
        if suffix not in FORMATS:
            if suffix:
                self._note(f"{suffix} pictures are written as .png")
            named = f"{Path(named).stem or f'frame_{frame.index + 1:06d}'}.png"
        if named in self._names:
            raise SinkError(f"two frames are called {named}; rename one of them")
        self._names.add(named)
        source = self._source / named if self._source is not None else None
        save_image(self._part.path / named, self._part.to / named, frame, self._note, source)

    def _note(self, text: str) -> None:
        if text not in self._said:  # what is true of one picture is true of them all
            self._said.add(text)
            self._tell(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._names:
            self._part.keep()
            return
        self._part.drop()
        if kind is None:
            raise SinkError(f"cannot write {self._part.to}: the source gave no picture")
