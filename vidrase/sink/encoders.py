"""Which encoder, pixel format and settings a result gets: the container's default or the user's choice, never a resize.

The default quality was measured, see `QUALITY`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import av

from vidrase.errors import OptionError
from vidrase.frames import SourceInfo
from vidrase.options import SinkOptions

CONTAINERS = {  # suffix -> (FFmpeg's muxer, encoders in order of preference)
    ".mp4": ("mp4", ("libx264", "libvpx-vp9")),
    ".m4v": ("mp4", ("libx264",)),
    ".mov": ("mov", ("libx264", "ffv1")),
    ".mkv": ("matroska", ("libx264", "libvpx-vp9", "ffv1")),
    ".webm": ("webm", ("libvpx-vp9", "libsvtav1")),
    ".avi": ("avi", ("libx264", "mpeg4", "ffv1")),
    ".ts": ("mpegts", ("libx264",)),
    ".m2ts": ("mpegts", ("libx264",)),
    ".mts": ("mpegts", ("libx264",)),
    ".flv": ("flv", ("libx264",)),
    ".mpg": ("mpeg", ("mpeg2video",)),
    ".mpeg": ("mpeg", ("mpeg2video",)),
    ".nut": ("nut", ("ffv1",)),
}
FRIENDLY = {
    "h264": "libx264",
    "x264": "libx264",
    "avc": "libx264",
    "h265": "libx265",
    "hevc": "libx265",
    "x265": "libx265",
    "vp9": "libvpx-vp9",
    "av1": "libsvtav1",
    "prores": "prores_ks",
    "mjpeg": "mjpeg",
    "mpeg4": "mpeg4",
}
QUALITY: dict[str, dict[str, str]] = {
    # Luma PSNR outside the hole at these settings: the table in benchmarks/results/README.md. A step of 2 in crf costs about a
    # quarter of the size and gains about 1.2 dB.
    "libx264": {"crf": "16", "preset": "veryfast"},
    "libx265": {"crf": "17", "preset": "fast"},
    "libvpx-vp9": {"crf": "18", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"},
    "libsvtav1": {"crf": "18", "preset": "8"},
    "prores_ks": {"profile": "3"},
    "mpeg4": {"qmin": "2", "qmax": "2"},
    "mpeg2video": {"qmin": "2", "qmax": "2"},
    "mjpeg": {"qmin": "2", "qmax": "2"},
}
LOSSLESS: dict[str, dict[str, str]] = {
    "libx264": {"qp": "0", "preset": "veryfast"},
    "libx264rgb": {"qp": "0", "preset": "veryfast"},
    "libx265": {"x265-params": "lossless=1:log-level=error", "preset": "fast"},
    "libvpx-vp9": {"lossless": "1", "cpu-used": "4", "row-mt": "1"},
    "ffv1": {"level": "3", "slices": "4", "slicecrc": "1"},
    "png": {},
    "rawvideo": {},
}
_EVEN = {"libx264", "libx265", "h264_nvenc", "hevc_nvenc"}  # cannot crop below a chroma sample: odd sizes need another
_QUANTISER = {"mpeg4", "mpeg2video", "mjpeg"}  # no crf: a fixed quantiser is the nearest thing


@dataclass(frozen=True, slots=True)
class Choice:
    """An encoder with everything it is opened with."""

    muxer: str
    encoder: str
    pix_fmt: str
    settings: dict[str, str]
    notes: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        return " ".join([self.encoder, self.pix_fmt, *(f"{name}={value}" for name, value in self.settings.items())])


def choose(suffix: str, info: SourceInfo, options: SinkOptions) -> Choice:
    """The encoder for a file called *`suffix`. Raises OptionError when the wish cannot be met."""
    if suffix not in CONTAINERS:
        known = " ".join(sorted(CONTAINERS))
        raise OptionError(f"cannot write video as '{suffix or 'a file without suffix'}'; expected one of {known}")
    muxer, defaults = CONTAINERS[suffix]
    names = (FRIENDLY.get(options.codec.lower(), options.codec),) if options.codec else defaults
    refused = []
    for name in names:
        formats = _formats(name)
        if formats is None:
            refused.append(f"{name} is not in this build of FFmpeg")
            continue
        pix_fmt, note = _pixel_format(name, formats, info, options)
        if pix_fmt is None:
            refused.append(note)
            continue
        if _needs_even(name) and not _even(info, pix_fmt):
            refused.append(f"{name} cannot encode {info.width}x{info.height} {pix_fmt} without cropping")
            continue
        if options.lossless and name not in LOSSLESS:
            refused.append(f"{name} has no lossless mode here")
            continue
        notes = [note] if note else []
        if refused and not options.codec:
            notes.append(f"encoding with {name}: {'; '.join(refused)}")
        return Choice(muxer, name, pix_fmt, _settings(name, options), tuple(notes))
    hint = (
        "give --codec ffv1 and an .mkv name"
        if options.lossless or not options.codec
        else "leave --codec out, or take another"
    )
    raise OptionError(f"no encoder for this: {'; '.join(refused)}; {hint}")


def _formats(name: str) -> list[str] | None:
    try:
        return [form.name for form in av.Codec(name, "w").video_formats or ()]
    except av.FFmpegError:
        return None
    except ValueError:
        return None


def _pixel_format(name: str, formats: list[str], info: SourceInfo, options: SinkOptions) -> tuple[str | None, str]:
    """(pixel format or None, what to say)."""
    own = info.layout.name
    if options.pix_fmt:
        if formats and options.pix_fmt not in formats:
            raise OptionError(f"{name} does not take --pix-fmt {options.pix_fmt}; it takes {' '.join(formats)}")
        note = "" if options.pix_fmt == own else f"pixels are converted from {own} to {options.pix_fmt} as asked"
        return options.pix_fmt, note
    if not formats or own in formats:
        return own, ""
    if own.startswith("yuvj") and own.replace("yuvj", "yuv") in formats:
        return own.replace("yuvj", "yuv"), ""  # the same samples; the range is tagged
    if options.lossless:
        return None, f"{name} does not take {own} as it is"
    nearest = _nearest(info, formats)
    if nearest is None:
        return None, f"{name} takes nothing near {own}"
    return nearest, f"{name} does not take {own}; pixels are converted to {nearest} (--codec ffv1 with .mkv keeps them)"


def _nearest(info: SourceInfo, formats: list[str]) -> str | None:
    """The format that loses least: not fewer bits, then not less chroma, then the smallest."""
    layout = info.layout
    best: tuple[tuple[int, ...], str] | None = None
    for name in formats:
        try:
            form = av.VideoFormat(name, 16, 16)
        except ValueError:
            continue
        if not form.components or name in ("pal8", "cuda", "vaapi", "d3d11", "qsv"):
            continue
        bits = max(component.bits for component in form.components)
        chroma = [c for c in form.components if c.is_chroma]
        area = chroma[0].width * chroma[0].height if chroma else 256
        own_area = 256 >> (layout.shift_x + layout.shift_y)
        same_model = form.is_rgb == (layout.model == "rgb")
        cost = (
            int(bits < layout.bits),
            int(layout.model != "gray" and area < own_area),
            int(not same_model),
            abs(bits - layout.bits),
            abs(area - own_area),
            formats.index(name),
        )
        if best is None or cost < best[0]:
            best = (cost, name)
    return best[1] if best else None


def _needs_even(encoder: str) -> bool:
    return encoder in _EVEN or encoder.endswith(("_nvenc", "_vaapi", "_qsv", "_videotoolbox", "_amf"))


def _even(info: SourceInfo, pix_fmt: str) -> bool:
    try:
        chroma = [c for c in av.VideoFormat(pix_fmt, 16, 16).components if c.is_chroma]
    except ValueError:
        return True
    if not chroma:
        return True
    return info.width % (16 // chroma[0].width) == 0 and info.height % (16 // chroma[0].height) == 0


def _settings(name: str, options: SinkOptions) -> dict[str, str]:
    settings = dict(LOSSLESS[name] if options.lossless else QUALITY.get(name, {}))
    if options.crf is not None:
        if name in _QUANTISER:
            settings |= {"qmin": f"{options.crf:g}", "qmax": f"{options.crf:g}"}
        elif name.endswith("_nvenc"):
            settings |= {"rc": "vbr", "cq": f"{options.crf:g}"}
        elif "crf" in QUALITY.get(name, {"crf": ""}):
            settings["crf"] = f"{options.crf:g}"
        else:
            raise OptionError(f"{name} has no quality figure like --crf {options.crf:g}; leave it out")
    if options.preset is not None:
        settings["preset"] = options.preset
    if name == "libx265":
        settings.setdefault("x265-params", "log-level=error")
    if name == "libsvtav1":
        os.environ.setdefault("SVT_LOG", "1")  # errors only; it writes to the terminal by itself
    if name == "mjpeg":
        settings["strict"] = "unofficial"  # full-range YCbCr without the deprecated format names
    return settings
