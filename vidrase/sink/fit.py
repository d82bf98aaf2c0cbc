"""What a container can hold besides its pictures, and what is lost in it, in words.

Whether a track fits is tried, not looked up: a header with that track alone is written to memory. Only where a muxer takes what
no player reads back is there a table.
"""

from __future__ import annotations

import io
import re
import tempfile
from pathlib import Path
from typing import Any

import av
from av.stream import Stream

from vidrase.avtracks import file_url, is_cover
from vidrase.frames import SourceInfo

_NAMED = {"1 channels": "mono", "2 channels": "stereo"}  # channels of which only the number is known
_READ_BACK = {  # subtitle codecs that survive a muxer which would take any
    "mpegts": {"dvb_subtitle", "dvb_teletext", "hdmv_pgs_subtitle", "arib_caption"},
    "mpeg": {"dvd_subtitle"},
    "avi": {"xsub"},
    "nut": set[str](),
    "flv": set[str](),
}
_HOME = {"mov_text": ".mp4", "webvtt": ".webm or .mkv"}  # where else a subtitle would be kept: .mkv
_HOMES = (("matroska", ".mkv"), ("mov", ".mov"), ("avi", ".avi"))  # where else sound may be kept
_CHAPTERS = {"matroska", "webm", "mp4", "mov", "nut"}
_METADATA = {"matroska", "webm", "mp4", "mov", "nut", "avi", "flv"}
_ROTATION = {"matroska", "webm", "mp4", "mov"}
_MADE_BY_MUXER = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration", "software"}


def codec_name(stream: Stream) -> str:
    """FFmpeg's name of the codec (not of its decoder): "subrip", "aac"; "" when it has none."""
    context = getattr(stream, "codec_context", None)
    return context.codec.canonical_name if context is not None else ""


def add_track(result: av.container.OutputContainer, stream: Stream) -> Stream:
    """A track in `result` for the packets of `stream`. Raises ValueError when the container knows no such codec.

    One or two channels without names, as AVI and MXF have them, are what everybody takes them for: MP4 wants a name.
    """
    out = result.add_stream_from_template(stream)
    context: Any = getattr(out, "codec_context", None)
    if stream.type == "audio" and context is not None and context.layout.name in _NAMED:
        context.layout = _NAMED[context.layout.name]
    return out


def refusal(muxer: str, stream: Stream) -> str | None:
    """Why a track other than the erased one is left behind; None when it comes along."""
    codec = codec_name(stream)
    called = f"{stream.type} track {stream.index}" + (f" ({codec})" if codec else "")
    if is_cover(stream):
        return "the cover picture is left out: it may still show what was removed"
    if stream.type == "video":
        return f"{called} is left out: only one video track is erased, and this one may still show what was removed"
    if stream.type == "subtitle":
        known = _READ_BACK.get(muxer)
        fits = codec in known if known is not None else _takes(muxer, stream)
        home = _HOME.get(codec, ".mkv")
        return None if fits else f"{called} does not fit into {muxer} and is left out; a name in {home} keeps it"
    if stream.type == "attachment":
        name = stream.metadata.get("filename", "")
        if stream.metadata.get("mimetype", "").startswith("image/"):
            return f"the attached picture {name} is left out: it may still show what was removed"
        fits = muxer == "matroska"
        return None if fits else f"attachment {name} does not fit into {muxer} and is left out; a name in .mkv keeps it"
    if _takes(muxer, stream) and not (muxer == "avi" and stream.type == "data"):
        return None
    kept = next((suffix for other, suffix in _HOMES if _takes(other, stream)), None)
    left = f"{called} does not fit into {muxer} and is left out"
    return f"{left}; a name in {kept} keeps it" if kept else left


def is_remade(source: av.container.InputContainer, stream: Stream) -> bool:
    """True for a data track that the muxer writes anew from what it is told: chapter titles, time code."""
    if stream.type != "data":
        return False
    timed = any("timecode" in video.metadata for video in source.streams.video)
    if "timecode" in stream.metadata:
        return timed
    # FFmpeg reads the text track of QuickTime chapters twice: as chapters, and as data without a codec
    return bool(source.chapters()) and stream.metadata.get("handler_name") == "SubtitleHandler"


def lost_by(muxer: str, source: av.container.InputContainer, info: SourceInfo) -> list[str]:
    """What of the file itself the container cannot carry: chapters, metadata, rotation."""
    lost = []
    if source.chapters() and muxer not in _CHAPTERS:
        lost.append(f"chapters do not fit into {muxer} and are left out")
    if kept_metadata(source) and muxer not in _METADATA:
        lost.append(f"{muxer} holds no metadata ({', '.join(sorted(kept_metadata(source)))}); it is left out")
    if (info.orientation.quarter_turns % 4 or info.orientation.mirrored) and muxer not in _ROTATION:
        lost.append(f"{muxer} cannot say how the picture is turned: players will show it as it is stored")
    return lost


def kept_metadata(source: av.container.InputContainer) -> dict[str, str]:
    """The file's metadata without what every muxer writes by itself."""
    return {key: value for key, value in source.metadata.items() if key.lower() not in _MADE_BY_MUXER}


def needs_detour(source: av.container.InputContainer, muxer: str) -> bool:
    """True where a track fits, but only by `detour`."""
    sounds = source.streams.audio if muxer == "matroska" else ()
    return any(not _takes_directly(muxer, stream) and _takes_by_detour(muxer, stream) for stream in sounds)


def detour(muxer: str, path: Path, options: dict[str, str]) -> tuple[str, str]:
    """(name, format) that open `path` for `muxer` by way of FFmpeg's tee.

    Matroska holds WMA, AMR and others as Windows numbers them, but PyAV asks for its own list of codecs first; a tee has none.
    """
    inner = ":".join([f"f={muxer}", *(f"{name}={value}" for name, value in options.items())])
    return f"[{inner}]" + re.sub(r"([\\'|])", r"\\\1", file_url(path)), "tee"


def _takes(muxer: str, stream: Stream) -> bool:
    by_detour = muxer == "matroska" and stream.type == "audio"
    return _takes_directly(muxer, stream) or (by_detour and _takes_by_detour(muxer, stream))


def _takes_by_detour(muxer: str, stream: Stream) -> bool:
    with tempfile.TemporaryDirectory(prefix="vidrase-fit-") as folder:
        name, form = detour(muxer, Path(folder) / "trial", {})
        try:
            with av.open(name, "w", format=form) as trial:
                add_track(trial, stream)
                trial.start_encoding()
        except (av.FFmpegError, ValueError, TypeError):
            return False
    return True


def _takes_directly(muxer: str, stream: Stream) -> bool:
    try:
        with av.open(io.BytesIO(), "w", format=muxer) as trial:
            out = add_track(trial, stream)
            trial.start_encoding()
            if codec_name(stream).startswith("pcm_"):  # some are refused only when the file is finished
                _silence(trial, out, stream)
    except (av.FFmpegError, ValueError, TypeError):
        return False
    return True


def _silence(trial: av.container.OutputContainer, out: Stream, stream: Stream) -> None:
    context: Any = stream.codec_context
    packet = av.Packet(bytes(24 * context.channels))
    packet.stream, packet.time_base, packet.pts, packet.dts = out, stream.time_base or out.time_base, 0, 0  # type: ignore[assignment]
    trial.mux_one(packet)
