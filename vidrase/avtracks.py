"""What every opening of a video file must agree on: how FFmpeg is told its name, and which of its tracks is the film."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import av
from av.stream import Disposition, Stream

_STILL = Disposition.attached_pic | Disposition.still_image | Disposition.timed_thumbnails
_PICTURES = frozenset({"mjpeg", "png", "bmp", "gif", "webp", "tiff", "jpeg2000", "jpegls"})


def file_url(path: Path) -> str:
    """The name that FFmpeg takes for this file, whatever is in it: without "file:", a colon ends the name of a protocol."""
    return f"file:{os.path.abspath(path)}"  # noqa: PTH100 - `absolute` leaves "..", which ends at links


def is_cover(stream: Stream) -> bool:
    """True for a picture attached to the file, a video stream by form only."""
    return bool(stream.disposition & Disposition.attached_pic)


def moving(container: av.container.InputContainer) -> list[av.VideoStream]:
    """The video tracks that are no cover, the film first, the others in their order.

    The film is no still. A codec of single pictures comes after those of films; then the default track, the largest, the first.
    """
    shown = [stream for stream in container.streams.video if not is_cover(stream)]
    film = main_of(shown)
    return shown if film is None else [film, *(stream for stream in shown if stream.index != film.index)]


def main_of(streams: Sequence[av.VideoStream]) -> av.VideoStream | None:
    """The film among the video tracks `streams`, as `moving` says; None when there is none."""
    return min(streams, key=_rank, default=None)


def _rank(stream: av.VideoStream) -> tuple[bool, bool, bool, int, int]:
    context = stream.codec_context
    codec = context.codec.canonical_name if context is not None else ""
    area = context.width * context.height if context is not None else 0
    still = bool(stream.disposition & _STILL) or stream.frames == 1
    return still, codec in _PICTURES, not stream.disposition & Disposition.default, -area, stream.index
