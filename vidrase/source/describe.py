"""What a container and its first frame say of a video, as `SourceInfo`."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
from av.sidedata.sidedata import SideDataContainer

from vidrase.avplanes import layout_of, readable_like, to_readable
from vidrase.avtracks import moving
from vidrase.errors import ShapeError, UnsupportedSource
from vidrase.frames import UPRIGHT, Orientation, SourceInfo
from vidrase.source.tags import HDR_TRANSFERS, colour_tags, orientation_of

_FIELD_ORDERS: dict[int, Literal["top", "bottom"]] = {2: "top", 3: "bottom", 4: "bottom", 5: "top"}  # of AVFieldOrder
_NO_TIMESTAMPS = 0x80  # AVFMT_NOTIMESTAMPS
_TOO_FAST = 4  # an average rate this much above the guessed one is no rate of frames
_LENGTH_IS_WRITTEN = frozenset({"mov", "mp4", "matroska", "webm", "avi", "asf", "flv"})


def readable_frame(native: av.VideoFrame, shown: str) -> av.VideoFrame:
    """`native`, or the same picture in a format whose planes can be read. Raises UnsupportedSource when there is none."""
    try:
        return to_readable(native)
    except (ShapeError, OSError) as error:
        raise UnsupportedSource(f"{shown} has pixel format {native.format.name}, which cannot be read") from error


def describe(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    native: av.VideoFrame,
    path: Path | None,
    shown: str,
    *,
    rereadable: bool,
) -> SourceInfo:
    """What is known from the container and its first frame."""
    notes = []
    first = readable_frame(native, shown)
    layout = layout_of(first)
    if not readable_like(native.format.name)[1]:
        notes.append(f"pixel format {native.format.name} is read as {layout.name}")
    orientation = _orientation(native, notes)
    context = stream.codec_context
    colour = colour_tags(
        native.color_range or context.color_range,
        native.color_primaries if native.color_primaries != 2 else context.color_primaries,
        native.color_trc if native.color_trc != 2 else context.color_trc,
        native.colorspace if native.colorspace != 2 else context.colorspace,
    )
    if native.interlaced_frame:
        notes.append("interlaced: the two fields of a frame are treated as one picture")
    if hdr := HDR_TRANSFERS.get(colour.get("transfer", "")):
        notes.append(f"HDR ({hdr}): kept as it is; detection sees it without tone mapping")
    if stream.metadata.get("alpha_mode") == "1" and not layout.alpha:
        notes.append("the transparency of this video cannot be read and is left out")
    tracks = len(moving(container))
    if tracks > 1:
        size = f"{native.width}x{native.height}"
        notes.append(f"holds {tracks} video tracks: number {stream.index} ({codec_name(stream)}, {size}) is worked on")
    rate = _rate(container, stream)
    if untimed(container) and not stream.codec_context.framerate:
        notes.append(f"has no times and says no rate: taken as {float(rate or 25):g} frames a second")
    seconds = _duration(container, stream)
    count = stream.frames or (round(seconds * rate) if seconds and rate else None)
    return SourceInfo(
        kind="video",
        path=path,
        url=shown,
        width=native.width,
        height=native.height,
        layout=layout,
        time_base=stream.time_base or Fraction(1, 90000),
        frame_rate=rate,
        frame_count=count,
        duration_seconds=seconds,
        orientation=orientation,
        sample_aspect_ratio=stream.sample_aspect_ratio or None,
        container=container.format.name,
        codec=codec_name(stream),
        bit_rate=stream.bit_rate or container.bit_rate or None,
        interlaced=bool(native.interlaced_frame),
        field_order=_FIELD_ORDERS.get(context.field_order, "") if native.interlaced_frame else "",
        has_audio=bool(container.streams.audio),
        rereadable=rereadable,
        colour=colour,
        notes=tuple(notes),
    )


def _orientation(frame: av.VideoFrame, notes: list[str]) -> Orientation:
    container: Any = SideDataContainer  # its stub knows no argument
    data = container(frame).get("DISPLAYMATRIX")
    matrix = bytes(data) if data is not None else None
    if matrix is None:
        return UPRIGHT
    found = orientation_of(matrix)
    if found is None:
        notes.append(f"turned by {frame.rotation} degrees for display: looked at as stored, the turn stays in the file")
    return found or UPRIGHT


def untimed(container: av.container.InputContainer) -> bool:
    """True for a bare stream, such as .h264: its packets have no times, only the codec may say a rate."""
    return bool(container.format.flags & _NO_TIMESTAMPS)


def _rate(container: av.container.InputContainer, stream: av.VideoStream) -> Fraction | None:
    average, guessed = stream.average_rate, stream.guessed_rate
    if guessed and (untimed(container) or (average and average > _TOO_FAST * guessed)):
        return guessed  # of a bare stream the average is FFmpeg's default; of DV it is ticks, not frames
    if average and guessed and abs(average - guessed) < average / 100:
        return guessed  # 30000/1001 rather than the 2997003/100000 that an average comes to
    return average or guessed or None


def _duration(container: av.container.InputContainer, stream: av.VideoStream) -> float | None:
    own = _own_duration(container, stream)
    return own if own is not None or not container.duration else container.duration / av.time_base


def _own_duration(container: av.container.InputContainer, stream: av.VideoStream) -> float | None:
    """Seconds of the stream itself; None where only the length of the whole file is known."""
    parts = stream.metadata.get("DURATION", "").split(":")  # Matroska: "00:00:10.000000000", measured from zero
    with suppress(ValueError):
        hours, minutes, seconds = (float(part) for part in parts)
        start = float((stream.start_time or 0) * stream.time_base) if stream.time_base else 0.0
        return hours * 3600 + minutes * 60 + seconds - start
    if "matroska" in container.format.name:  # its streams have no length: FFmpeg puts in the file's
        return None
    return float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None


def claimed_seconds(container: av.container.InputContainer, stream: av.VideoStream) -> float | None:
    """How long the header says that the video lasts; None where it does not, and FFmpeg guesses from the bit rate."""
    if not _LENGTH_IS_WRITTEN & set(container.format.name.split(",")):
        return None
    if container.format.name == "avi" and stream.frames and stream.average_rate:  # its length is that of what is there
        return float(stream.frames / stream.average_rate)
    return _duration(container, stream) if len(container.streams) == 1 else _own_duration(container, stream)


def codec_name(stream: av.VideoStream) -> str:
    """FFmpeg's name of the decoder."""
    return stream.codec_context.codec.name if stream.codec_context is not None else "unknown"


def reason(error: BaseException) -> str:
    """What FFmpeg says, in one line."""
    if isinstance(error, av.error.ExitError):  # how its read timeout shows
        return "no data for too long"
    text = getattr(error, "strerror", None) or str(error)
    return str(text).splitlines()[0] if text else type(error).__name__
