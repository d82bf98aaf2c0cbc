"""Which encoder, pixel format and settings a result gets: the container's default or the user's choice, never a resize.

The default quality was measured, see `QUALITY`.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from typing import NamedTuple

import av

from vidrase.avplanes import layout_named, readable
from vidrase.errors import OptionError
from vidrase.frames import SourceInfo
from vidrase.options import SinkOptions

CONTAINERS = {  # suffix -> (FFmpeg's muxer, encoders in order of preference)
    ".mp4": ("mp4", ("libx264", "libx265", "libvpx-vp9")),
    ".m4v": ("mp4", ("libx264", "libx265", "libvpx-vp9")),
    ".mov": ("mov", ("libx264", "libx265", "prores_ks", "png")),
    ".mkv": ("matroska", ("libx264", "libx265", "ffv1", "libvpx-vp9")),
    ".webm": ("webm", ("libvpx-vp9", "libsvtav1")),
    ".avi": ("avi", ("libx264", "ffv1", "mpeg4")),
    ".ts": ("mpegts", ("libx264", "libx265")),
    ".m2ts": ("mpegts", ("libx264", "libx265")),
    ".mts": ("mpegts", ("libx264", "libx265")),
    ".flv": ("flv", ("libx264",)),
    ".mpg": ("mpeg", ("mpeg2video",)),
    ".mpeg": ("mpeg", ("mpeg2video",)),
    ".nut": ("nut", ("ffv1",)),
    ".apng": ("apng", ("apng",)),
}
FRIENDLY = {
    "h264": "libx264",
    "x264": "libx264",
    "avc": "libx264",
    "h265": "libx265",
    "hevc": "libx265",
    "x265": "libx265",
    "vp8": "libvpx",
    "vp9": "libvpx-vp9",
    "av1": "libsvtav1",
    "prores": "prores_ks",
    "theora": "libtheora",
}
QUALITY: dict[str, dict[str, str]] = {
    # Chosen so that none of the clips measured falls below 42 dB luma PSNR against its decoded source. libx264: samples/walk
    # 43.1, running_car 49.4, DAVIS tennis 44.5 and camel 42.4 (JPEGs at x264 crf 18), webcam walk 50.0, intel 53.4, horses
    # 45.7, pets2009 50.0 dB, mean of 60 frames, at 1.0 to 2.5 times the source's size and 3 to 23 ms of processor a frame
    # (360 to 540 lines). Preset veryfast instead: 0.6 to 2.0 dB less (camel 40.4) at 0.93 to 1.08 of that size, two thirds of
    # the time. A step of 1 in crf costs a tenth of the size and gains 0.6 to 0.9 dB. The others, on five clips: libx265 42.5
    # to 46.8 dB, 1.4 to 2.3 times, 22 to 50 ms; libvpx-vp9 42.5 to 48.3 dB, 1.8 to 2.8 times, 40 to 100 ms; libsvtav1 42.3 to
    # 48 dB, 1.7 to 2.3 times, 16 to 28 ms.
    "libx264": {"crf": "15", "preset": "faster"},
    "libx265": {"crf": "17", "preset": "superfast"},
    "libvpx-vp9": {"crf": "18", "b": "0", "deadline": "good", "cpu-used": "5", "row-mt": "1"},
    "libsvtav1": {"crf": "17", "preset": "8"},
    "h264_nvenc": {"rc": "vbr", "cq": "16", "preset": "p5"},
    "hevc_nvenc": {"rc": "vbr", "cq": "16", "preset": "p5"},
    "av1_nvenc": {"rc": "vbr", "cq": "18", "preset": "p5"},
    "prores_ks": {"profile": "3"},
    "mpeg4": {"qmin": "1", "qmax": "2"},
    "mpeg2video": {"qmin": "1", "qmax": "2"},
    "mjpeg": {"qmin": "1", "qmax": "2", "strict": "unofficial"},  # full range without the deprecated format names
}
LOSSLESS: dict[str, dict[str, str]] = {
    "libx264": {"qp": "0", "preset": "veryfast"},
    "libx264rgb": {"qp": "0", "preset": "veryfast"},
    "libx265": {"x265-params": "lossless=1", "preset": "superfast"},
    "libvpx-vp9": {"lossless": "1", "cpu-used": "5", "row-mt": "1"},
    "ffv1": {"level": "3", "slices": "4", "slicecrc": "1"},
    "png": {},
    "rawvideo": {},
    "huffyuv": {},
    "ffvhuff": {},
    "utvideo": {},
    "qtrle": {},
    "apng": {},
}
_SPEEDS = "ultrafast superfast veryfast faster fast medium slow slower veryslow placebo".split()
_PRESETS = {  # option that holds the speed, and its values
    **dict.fromkeys(("libx264", "libx264rgb", "libx265"), ("preset", _SPEEDS)),
    **dict.fromkeys(("libvpx", "libvpx-vp9", "libaom-av1"), ("cpu-used", [str(n) for n in range(9)])),
    "libsvtav1": ("preset", [str(n) for n in range(14)]),
    **dict.fromkeys(("h264_nvenc", "hevc_nvenc", "av1_nvenc"), ("preset", [f"p{n}" for n in range(1, 8)])),
}
_CRF_TOP = {"libvpx": 63, "libvpx-vp9": 63, "libsvtav1": 63, "libaom-av1": 63}
_EVEN = {"libx264", "libx264rgb", "libx265"}  # cannot crop below a chroma sample: odd sizes need another
_TRANSPARENT = {"mov", "matroska", "webm", "avi", "nut", "apng"}  # containers in which alpha is ever shown
_BROKEN = {  # listed, but refused when opened
    *(("libx265", name) for name in ("yuva420p", "yuva420p10le")),
    *(("libvpx-vp9", name) for name in ("gbrap", "yuva422p", "yuva440p", "yuva444p")),
}
_QUANTISER = {"mpeg4", "mpeg2video", "mjpeg"}  # no crf: a fixed quantiser is the nearest thing


@dataclass(frozen=True, slots=True)
class Choice:
    """An encoder with everything it is opened with."""

    muxer: str
    encoder: str
    pix_fmt: str
    settings: dict[str, str]
    notes: tuple[str, ...] = field(default=())
    padded: tuple[int, int] = (0, 0)
    """(rows, columns) that are added below and to the right, as the encoder takes even sizes only."""

    def __str__(self) -> str:
        shown = (f"{name}={value}" for name, value in self.settings.items() if "log-level" not in value)
        return " ".join([self.encoder, self.pix_fmt, *shown])


def choose(suffix: str, info: SourceInfo, options: SinkOptions) -> Choice:
    """The encoder for a file called *`suffix`. Raises OptionError when the wish cannot be met."""
    if suffix not in CONTAINERS:
        known = " ".join(sorted(CONTAINERS))
        raise OptionError(f"cannot write video as '{suffix or 'a file without suffix'}'; expected one of {known}")
    muxer, defaults = CONTAINERS[suffix]
    if (shown := _shown_everywhere(muxer, info, options)) is not None:
        return shown
    codec = _canonical(info.codec) if info.kind == "video" else ""
    if options.codec:
        preferred, names = dict[str, str](), [_encoder_called(options.codec, codec)]
    else:
        preferred = _preferred(muxer, codec, info, options)
        names = list(dict.fromkeys([*preferred, *defaults]))
    refused: list[str] = []
    roughly: list[Choice] = []  # those that would round samples or drop transparency
    for name in names:
        why, pixels = _tried(muxer, name, info, options)
        if pixels is None:
            refused.append(why)
            continue
        notes = [why] if why else []
        if name in preferred:
            notes.append(f"encoding with {name}: {preferred[name]} (--codec overrides)")
        elif refused and not options.codec:
            notes.append(f"encoding with {name}: {'; '.join(refused)}")
        choice = Choice(muxer, name, pixels.name, _settings(name, pixels.name, options), tuple(notes))
        if not pixels.fewer and not (pixels.opaque and muxer in _TRANSPARENT):
            return choice
        roughly.append(choice)
        refused.append(f"{name} does not take {info.layout.name}")
    if roughly:
        return roughly[0]
    hint = (
        "give --codec ffv1 and an .mkv name"
        if options.lossless or not options.codec
        else "leave --codec out, or take another"
    )
    raise OptionError(f"no encoder for this: {'; '.join(refused)}; {hint}")


def _shown_everywhere(muxer: str, info: SourceInfo, options: SinkOptions) -> Choice | None:
    """H.264 in 4:2:0 for an animated picture as .mp4, unless something else is asked for: few players show RGB or 4:4:4."""
    asked = options.codec or options.pix_fmt or options.lossless
    if info.loops is None or muxer != "mp4" or asked or "yuv420p" not in (_formats("libx264") or ()):
        return None
    height, width = info.height + info.height % 2, info.width + info.width % 2
    text = "an animated picture becomes H.264 in 4:2:0, which every player shows"
    text += ", without its transparency" * info.layout.alpha
    if (height, width) != (info.height, info.width):
        text += f", and its {info.width}x{info.height} pixels become {width}x{height}, their last ones repeated"
    text += "; --pix-fmt yuv444p keeps colours whole, and .webp keeps all"
    settings = _settings("libx264", "yuv420p", options)
    return Choice(muxer, "libx264", "yuv420p", settings, (text,), (height - info.height, width - info.width))


class _Pixels(NamedTuple):
    name: str
    opaque: bool = False
    """Transparency is lost."""
    fewer: bool = False
    """Samples are rounded to fewer bits."""


def _tried(muxer: str, name: str, info: SourceInfo, options: SinkOptions) -> tuple[str, _Pixels | None]:
    """(what to say or why not, pixel format or None) of an encoder."""
    formats = _formats(name)
    if formats is None:
        return f"{name} is not in this build of FFmpeg", None
    if not _fits(muxer, name):
        return f"{name} does not fit into {muxer}", None
    if options.lossless and name not in LOSSLESS:
        return f"{name} has no lossless mode here", None
    if muxer not in _TRANSPARENT:
        formats = [form for form in formats if not _has_alpha(form)]
    note, pixels = _pixel_format(name, formats, info, options)
    if pixels is not None and _needs_even(name) and not _even(info, pixels.name):
        return f"{name} cannot encode {info.width}x{info.height} {pixels.name} without cropping", None
    return note, pixels


def _canonical(decoder: str) -> str:
    """The codec that a decoder reads: "av1" of "libdav1d"."""
    try:
        return av.Codec(decoder, "r").canonical_name
    except (av.FFmpegError, ValueError):
        return decoder


def _encoder_called(wish: str, codec: str) -> str:
    name = wish.lower()
    if name in ("same", "copy"):
        if not codec:
            raise OptionError(f"--codec {wish} needs a video as input; name an encoder")
        name = codec
    return FRIENDLY.get(name, name)


def _preferred(muxer: str, codec: str, info: SourceInfo, options: SinkOptions) -> dict[str, str]:
    """Encoders that suit this source better than the container's own, and why."""
    layout, found = info.layout, dict[str, str]()
    if layout.alpha and not options.pix_fmt:
        matroska = ["libvpx-vp9"] if codec in ("vp8", "vp9") else ["ffv1"]
        keeping = {"mov": ["prores_ks", "png"], "matroska": matroska}.get(muxer, [])
        found |= dict.fromkeys(keeping, "it keeps the transparency")
    if codec == "prores" and muxer == "mov":
        found.setdefault("prores_ks", "ProRes stays ProRes")
    if layout.model == "rgb" and options.lossless:
        found["libx264rgb"] = "it takes RGB as it is"
    if layout.model == "yuv" and layout.bits > 8 and codec in ("hevc", "av1", "vp9"):
        found["libx265"] = "players show HEVC of more than 8 bits, but not H.264"
    return {name: why for name, why in found.items() if _tried(muxer, name, info, options)[1]}


def _formats(name: str) -> list[str] | None:
    try:
        codec = av.Codec(name, "w")
    except (av.FFmpegError, ValueError):
        return None
    if codec.type != "video":
        return None
    return [form.name for form in codec.video_formats or () if (name, form.name) not in _BROKEN]


def _fits(muxer: str, name: str) -> bool:
    try:
        with av.open(io.BytesIO(), "w", format=muxer) as trial:
            trial.add_stream(name)
    except ValueError:
        return False
    return True


def _pixel_format(name: str, formats: list[str], info: SourceInfo, options: SinkOptions) -> tuple[str, _Pixels | None]:
    """(what to say or why not, pixel format or None)."""
    own, layout = info.layout.name, info.layout
    if options.pix_fmt:
        if formats and options.pix_fmt not in formats:
            raise OptionError(f"{name} does not take --pix-fmt {options.pix_fmt}; it takes {' '.join(formats)}")
        note = "" if options.pix_fmt == own else f"pixels are converted from {own} to {options.pix_fmt} as asked"
        return note, _Pixels(options.pix_fmt)
    if not formats or own in formats:
        return "", _Pixels(own)
    if own.startswith("yuvj") and own.replace("yuvj", "yuv") in formats:
        return "", _Pixels(own.replace("yuvj", "yuv"))  # the same samples; the range is tagged
    if alike := next((other for other in formats if holds_the_same(own, other)), None):
        return "", _Pixels(alike)
    if options.lossless:
        return f"{name} does not take {own} as it is", None
    nearest = _nearest(info, formats)
    if nearest is None:
        return f"{name} takes nothing near {own}", None
    parts = av.VideoFormat(nearest, 16, 16).components
    opaque = layout.alpha and not _has_alpha(nearest)
    lost = ", without transparency" if opaque else ""
    plays = "; for players that cannot show that: --pix-fmt yuv420p" if "444" in nearest and "444" not in own else ""
    note = (
        f"{name} does not take {own}: pixels are converted to {nearest}{lost} (--codec ffv1 in .mkv keeps them){plays}"
    )
    fewer = (
        max(part.bits for part in parts) < layout.bits and name != "prores_ks"
    )  # which itself decodes to more than it takes
    return note, _Pixels(nearest, opaque, fewer)


def holds_the_same(a: str, b: str) -> bool:
    """True for two RGB formats that hold the same samples in another arrangement."""
    if not (readable(a) and readable(b)):
        return False
    one, other = layout_named(a), layout_named(b)
    return one.model == other.model == "rgb" and (one.bits, one.alpha) == (other.bits, other.alpha)


def _nearest(info: SourceInfo, formats: list[str]) -> str | None:
    """The format that loses least: not transparency, not fewer bits, then not less chroma, then the smallest."""
    layout = info.layout
    best: tuple[tuple[int, ...], str] | None = None
    for name in formats:
        try:
            form = av.VideoFormat(name, 16, 16)
        except ValueError:
            continue
        if not form.components or form.has_palette or name in ("cuda", "vaapi", "d3d11", "qsv"):
            continue
        bits = max(part.bits for part in form.components)
        chroma = [part for part in form.components if part.is_chroma]
        colours = sum(not part.is_alpha for part in form.components)
        area = chroma[0].width * chroma[0].height if chroma else 256 * (colours > 1)  # no chroma at all counts as none
        own_area = 256 >> (layout.shift_x + layout.shift_y)
        same_model = form.is_rgb == (layout.model == "rgb")
        cost = (
            int(layout.alpha and not _has_alpha(name)),
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


def _has_alpha(pix_fmt: str) -> bool:
    try:
        return any(part.is_alpha for part in av.VideoFormat(pix_fmt, 16, 16).components)
    except ValueError:
        return False


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


def _settings(name: str, pix_fmt: str, options: SinkOptions) -> dict[str, str]:
    settings = dict(LOSSLESS[name] if options.lossless else QUALITY.get(name, {}))
    if options.crf is not None:
        settings |= _quality(name, options.crf)
    if options.preset is not None:
        if name not in _PRESETS:
            raise OptionError(f"{name} has no presets; leave --preset {options.preset} out")
        option, allowed = _PRESETS[name]
        if options.preset not in allowed:
            raise OptionError(f"{name} has no --preset '{options.preset}'; expected one of {', '.join(allowed)}")
        settings[option] = options.preset
    if name == "libx265":
        settings["x265-params"] = ":".join(filter(None, (settings.get("x265-params"), "log-level=error")))
    if name == "libsvtav1":
        os.environ.setdefault("SVT_LOG", "1")  # errors only; it writes to the terminal by itself
    if name == "prores_ks" and ("444" in pix_fmt or "yuva" in pix_fmt):
        settings["profile"] = "4"
    if name == "libvpx" and "yuva" in pix_fmt:
        settings["auto-alt-ref"] = "0"  # which it refuses beside transparency
    return settings


def _quality(name: str, crf: float) -> dict[str, str]:
    top = _CRF_TOP.get(name, 51)
    if not 0 <= crf <= top:
        raise OptionError(f"--crf: expected 0 (best) to {top} for {name}, got {crf:g}")
    if name in _QUANTISER:
        level = f"{max(1, min(31, round(crf)))}"
        return {"qmin": level, "qmax": level}
    if name.endswith("_nvenc"):
        return {"rc": "vbr", "cq": f"{crf:g}"}
    if name in ("libx264", "libx264rgb", "libx265", *_CRF_TOP):
        return {"crf": f"{crf:g}"}
    raise OptionError(f"{name} has no quality figure like --crf {crf:g}; leave it out")
