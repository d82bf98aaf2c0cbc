"""Masks as files: an image, a folder of images or a video; white = remove.

Invariant: what `MaskWriter` wrote, `MaskReader` gives back exactly. Masks are bool [H, W] in *displayed* orientation.
What of a drawn picture goes is told by `drawn`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any, Protocol, Self

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.avtracks import file_url
from vidrase.drawn import fitted, mask_of, same_aspect
from vidrase.errors import OptionError, ShapeError, SinkError
from vidrase.frames import Frame, Hole, SourceInfo
from vidrase.imagemeta import ImageNative
from vidrase.part import Part

Note = Callable[[str], None]

VIDEO_SUFFIXES = (".mkv", ".avi")
IMAGE_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".webp")  # the ones that OpenCV writes without loss
HELD = 2  # masks that a video may be short of, as encoders and editors lose them: the last one is held
MOST = 0.6  # of the picture: a mask of more was seldom meant


class MaskSource(Protocol):
    """The part of an opened source that is needed here."""

    info: SourceInfo

    def __iter__(self) -> Iterator[Frame]: ...


def open_masks(
    masks: MaskSource, info: SourceInfo, note: Note | None = None, *, invert: bool = False, first: int = 0
) -> MaskReader:
    """The masks in the opened source `masks` for the frames of the clip that `info` describes, in order.

    invert: what is black goes. first: the frame of the clip to begin with; a video may begin anywhere up to `lead_in(first)`.
    Raises ShapeError at once when their shape differs, or their number where both are known for certain.
    """
    return MaskReader(masks, info, note, invert=invert, first=first)


def lead_in(first: int) -> int:
    """The mask to read first for the masks from `first` on: the last ones of a file may have to be held."""
    return max(first - HELD - 1, 0)


class MaskReader:
    """One bool [H, W] mask, displayed orientation, for each frame of a clip; holds one at a time.

    An image serves every frame. A folder goes by file names when these are the names of the clip's frames (one that is missing
    means that nothing goes there), else frame by frame; a video frame by frame. Masks of another size but the same shape are
    scaled; where the last one or two are not there, the one before is held.
    """

    def __init__(
        self, masks: MaskSource, info: SourceInfo, note: Note | None = None, *, invert: bool = False, first: int = 0
    ) -> None:
        self._masks, self._info, self._invert, self._first = masks, info, invert, first
        self._note: Note = note or (lambda _: None)
        self._size = info.displayed_size
        self._said = self._wide = False
        have, wanted = masks.info.displayed_size, self._size
        self._own = have
        if have != wanted and same_aspect(have, wanted):
            self._note(f"mask {masks.info.url} is {have[1]}x{have[0]}: scaled to {wanted[1]}x{wanted[0]}")
        elif have != wanted:
            raise ShapeError(
                f"mask {masks.info.url} is {have[1]}x{have[0]}, expected {wanted[1]}x{wanted[0]} like"
                f" {info.url} as it is shown; draw it on a frame of that size"
            )
        self._names = _common_names(masks.info, info)
        if self._names is not None:
            self._tell_missing(self._names)
        elif masks.info.kind != "image":
            self._compare(masks.info, info)

    def __iter__(self) -> Iterator[NDArray[np.bool_]]:
        if self._masks.info.kind == "image":
            return self._same()
        return self._named(self._names) if self._names is not None else self._in_order()

    def _same(self) -> Iterator[NDArray[np.bool_]]:
        mask = self._read(next(iter(self._masks)))
        mask.flags.writeable = False
        while True:
            yield mask

    def _in_order(self) -> Iterator[NDArray[np.bool_]]:
        count, mask, begin = 0, None, lead_in(self._first)
        frames = self._frames(begin)
        try:
            for frame in frames:
                count = frame.index + 1
                if count > begin:
                    mask = self._read(frame)
                if mask is not None and count > self._first:
                    yield mask
        finally:
            _close(frames)
        known = self._info.frame_count
        for _ in range(HELD):
            if mask is None or (known is not None and known > count + HELD):
                break
            self._note(f"{self._masks.info.url} has only {count} masks: the last one is held for what is left")
            yield mask
        raise ShapeError(
            f"{self._masks.info.url} has {count} masks, but {self._info.url} has more frames{self._hint()}"
        )

    def _named(self, names: list[str]) -> Iterator[NDArray[np.bool_]]:
        """By file name: both folders are in natural order, so one walk through the masks finds each."""
        there = {PurePath(name).stem: k for k, name in enumerate(self._masks.info.frame_names)}
        names = names[self._first :]
        frames = self._frames(min((there[name] for name in names if name in there), default=0))
        try:
            for name in names:
                found = None
                if name in there:
                    found = next((frame for frame in frames if _stem(frame) == name), None)
                    if found is None:
                        raise ShapeError(f"the masks in {self._masks.info.url} are not in the order of the frames")
                yield np.zeros(self._size, bool) if found is None else self._read(found)
                del found
        finally:
            _close(frames)
        raise ShapeError(f"{self._info.url} has more frames than its {len(names)} names")

    def _frames(self, first: int) -> Iterator[Frame]:
        """The frames of the mask file, those before `first` left out where that saves reading them."""
        frame = getattr(self._masks, "frame", None)
        if first and frame is not None and self._masks.info.frame_names:
            return (frame(index) for index in range(first, len(self._masks.info.frame_names)))
        return iter(self._masks)

    def _tell_missing(self, names: list[str]) -> None:
        missing = len(set(names) - {PurePath(name).stem for name in self._masks.info.frame_names})
        if missing:
            self._note(f"{missing} of {len(names)} frames have no mask in {self._masks.info.url}: nothing goes there")

    def _compare(self, masks: SourceInfo, info: SourceInfo) -> None:
        have, wanted = masks.frame_count, info.frame_count
        if have is None or wanted is None or have == wanted:
            return
        text = f"{masks.url} has {have} masks, but {info.url} has {wanted} frame{'s' if wanted > 1 else ''}"
        if masks.kind == "frames" and info.kind in ("frames", "image") and not 0 < wanted - have <= HELD:
            raise ShapeError(f"{text}; give one mask a frame, or a single image for all")
        if have > wanted:  # a header may be wrong; too few masks are an error only when they run out
            self._note(f"{text}, as their headers have it")

    def _hint(self) -> str:
        count = self._info.frame_count
        return f" ({count} by its header)" if count else ""

    def _read(self, frame: Frame) -> NDArray[np.bool_]:
        if frame.displayed_size != self._own:
            raise ShapeError(
                f"mask {frame.index} of {self._masks.info.url} is {frame.displayed_size}, expected {self._own}"
            )
        mask, how = mask_of(frame)
        if how and not self._said:
            self._said = True
            self._note(f"mask {self._masks.info.url}: {how}")
        mask = fitted(~mask if self._invert else mask, self._size)
        if not self._wide and (share := float(mask.mean())) > MOST:
            self._wide = True
            ask = "is it right with" if self._invert else "is it the wrong way round? Then give"
            self._note(f"mask {self._masks.info.url} covers {share:.0%} of the picture; {ask} --mask-invert")
        return mask


def _stem(frame: Frame) -> str:
    return PurePath(frame.native.name).stem if isinstance(frame.native, ImageNative) else ""


def _common_names(masks: SourceInfo, info: SourceInfo) -> list[str] | None:
    """The clip's frame names without suffix when the masks are named like them, else None."""
    ours = [PurePath(name).stem for name in info.frame_names]
    theirs = {PurePath(name).stem for name in masks.frame_names}
    if not ours or not theirs or len(set(ours)) < len(ours) or len(theirs) < len(masks.frame_names):
        return None
    return ours if theirs <= set(ours) or set(ours) <= theirs else None


def _close(frames: Iterator[Frame]) -> None:
    close = getattr(frames, "close", None)
    if close is not None:
        close()


class MaskWriter:
    """Writes the masks frame by frame: the core of each hole, white on black, displayed orientation.

    A folder of PNG (named like the frames of a folder, else 000000.png, ...), an FFV1 video (.mkv, .avi), an image for a still.
    The ring of the dilation is not written: `--mask` with the same `--dilate` makes it again. A context manager: the files appear
    under their name after a clean exit only.
    """

    def __init__(self, path: Path, info: SourceInfo, *, overwrite: bool = False) -> None:
        """Prepare `path` for the masks of the clip `info`.

        Raises OptionError for a suffix that cannot hold them, SinkError when it exists already or cannot be written.
        """
        self._path, self._info = Path(path), info
        suffix = self._path.suffix.lower()
        self._video: _MaskVideo | None = None
        self._written = 0
        if suffix in IMAGE_SUFFIXES and not self._path.is_dir():
            if info.kind != "image":
                raise OptionError(
                    f"--save-masks {path}: one image cannot hold the masks of a clip; give a folder or .mkv"
                )
            self._kind = "image"
        elif suffix in VIDEO_SUFFIXES:
            self._kind = "video"
        elif not suffix or self._path.is_dir():
            self._kind = "folder"
        else:
            raise OptionError(f"--save-masks {path}: expected a folder, .mkv or .avi, or .png for a still")
        self._refuse_to_harm(overwrite=overwrite)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(f"masks cannot be written to {path}: {error.strerror or error}") from error
        self._part = Part(self._path, folder=self._kind == "folder", overwrite=overwrite)
        try:
            if self._kind == "video":
                self._video = _MaskVideo(self._part.path, suffix, info)
        except OSError as error:
            self._part.drop()
            raise SinkError(f"masks cannot be written to {path}: {error.strerror or error}") from error

    def _refuse_to_harm(self, *, overwrite: bool) -> None:
        """With `overwrite` masks replace masks, and never other files."""
        here = list(self._path.iterdir()) if self._path.is_dir() else [self._path] if self._path.exists() else []
        if not here:
            return
        if self._info.path is not None and self._info.path.exists() and self._path.samefile(self._info.path):
            raise SinkError(f"{self._path} is the input; give another name for the masks")
        if not overwrite:
            raise SinkError(f"{self._path} exists already; give another name for the masks, or -y to replace them")
        ours = {PurePath(name).stem for name in self._info.frame_names}
        for file in here if self._path.is_dir() else []:
            if file.suffix != ".png" or not (file.stem in ours or re.fullmatch(r"\d{6}", file.stem)):
                raise SinkError(f"{self._path} holds {file.name}, which is no mask of this clip; give another folder")

    def write(self, frame: Frame, hole: Hole | None) -> None:
        """Add the mask of `frame`, black everywhere when `hole` is None. Raises SinkError when it cannot be written."""
        core = np.zeros(frame.size, bool) if hole is None else hole.full_core()
        shown = np.ascontiguousarray(frame.orientation.to_display(core)).astype(np.uint8) * 255
        try:
            if self._video is not None:
                self._video.write(shown, frame.pts)
            elif self._kind == "folder":
                _write_image(self._part.path / f"{self._name(frame)}.png", shown, ".png")
            elif not self._written:
                _write_image(self._part.path, shown, self._path.suffix.lower())
        except (OSError, av.FFmpegError) as error:
            raise SinkError(f"masks cannot be written to {self._path}: {error.strerror or error}") from error
        self._written += 1

    def _name(self, frame: Frame) -> str:
        return (_stem(frame) if self._info.kind == "frames" else "") or f"{frame.index:06d}"

    def close(self) -> None:
        """Finish; the masks then appear under their name."""
        try:
            if self._video is not None:
                self._video.close()
        except (OSError, av.FFmpegError) as error:
            self._part.drop()
            raise SinkError(f"masks cannot be written to {self._path}: {error.strerror or error}") from error
        if self._kind != "image" or self._written:
            self._part.keep()
        else:
            self._part.drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        with suppress(OSError, av.FFmpegError):  # the first error is the one to tell
            if self._video is not None:
                self._video.close()
        self._part.drop()


class _MaskVideo:
    """Grey FFV1: lossless, at the times of the frames (AVI has no time stamps, so one tick a frame there)."""

    def __init__(self, path: Path, suffix: str, info: SourceInfo) -> None:
        height, width = info.displayed_size
        rate = info.frame_rate or Fraction(25)
        self._counted = suffix == ".avi"
        self._count = 0
        self._base = 1 / rate if self._counted else info.time_base
        self._container = av.open(file_url(path), "w", format="avi" if self._counted else "matroska")
        stream: Any = self._container.add_stream("ffv1", rate=rate, options={"level": "3", "g": "1"})
        stream.width, stream.height, stream.pix_fmt = width, height, "gray"
        stream.codec_context.time_base = stream.time_base = self._base
        stream.codec_context.thread_count = 1  # frame threads hold frames back; a mask costs a millisecond
        self._stream = stream

    def write(self, shown: NDArray[np.uint8], pts: int) -> None:
        frame = av.VideoFrame.from_ndarray(shown, "gray")
        frame.pts = self._count if self._counted else pts
        frame.time_base = self._base
        self._container.mux(self._stream.encode(frame))
        self._count += 1

    def close(self) -> None:
        try:
            self._container.mux(self._stream.encode())
        finally:
            self._container.close()


def _write_image(path: Path, shown: NDArray[np.uint8], suffix: str) -> None:
    done, data = cv2.imencode(suffix, shown, [cv2.IMWRITE_WEBP_QUALITY, 101] if suffix == ".webp" else [])
    if not done:
        raise OSError(f"{suffix} cannot hold a mask")
    path.write_bytes(data.tobytes())
