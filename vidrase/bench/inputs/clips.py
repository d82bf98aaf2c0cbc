"""Small video files made on the spot with PyAV: every oddity a camera or an editor can leave in one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.avplanes import layout_of, write_planes
from vidrase.colour import from_rgb

FAST = {"libx264": {"preset": "ultrafast"}, "libx265": {"preset": "ultrafast", "x265-params": "log-level=none"}}


def texture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """uint8 [H, W, 3]: smooth noise on several scales, so that flow has something to hold on to."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3), np.float32)
    for scale, weight in ((4, 0.25), (12, 0.35), (40, 0.4)):
        small = rng.random((height // scale + 2, width // scale + 2, 3), dtype=np.float32)
        picture += weight * cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(picture * 255, 0, 255).astype(np.uint8)


def moving_square(
    frames: int = 12,
    height: int = 96,
    width: int = 128,
    *,
    pan: tuple[float, float] = (0.0, 0.0),
    step: tuple[int, int] = (0, 6),
    size: int = 24,
    seed: int = 0,
) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.bool_]], list[NDArray[np.uint8]]]:
    """A textured background seen by a moving camera, and a square that moves before it.

    Returns (frames with the square, masks of the square, truth without it), RGB uint8 [H, W, 3] and bool [H, W].

    pan: camera motion (dy, dx) px a frame; step: the square's motion (dy, dx) px a frame.
    """
    margin = int(max(abs(pan[0]), abs(pan[1])) * frames) + 4
    world = texture(height + 2 * margin, width + 2 * margin, seed)
    shown, masks, truth = [], [], []
    for t in range(frames):
        shift = np.array([[1, 0, margin + pan[1] * t], [0, 1, margin + pan[0] * t]], np.float32)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        background = cv2.warpAffine(world, shift, (width, height), flags=flags)
        mask = np.zeros((height, width), bool)
        y, x = height // 3 + step[0] * t, 8 + step[1] * t
        mask[max(y, 0) : max(y + size, 0), max(x, 0) : max(x + size, 0)] = True
        picture = background.copy()
        picture[mask] = (230, 30, 40)
        shown.append(picture)
        masks.append(mask)
        truth.append(background)
    return shown, masks, truth


def pictures(count: int = 6, height: int = 48, width: int = 64, *, seed: int = 0) -> list[NDArray[np.uint8]]:
    """uint8 [H, W, 3] RGB: a textured background and a red square on its way."""
    return moving_square(count, height, width, size=16, step=(0, 4), seed=seed)[0]


def to_av(
    picture: NDArray[np.uint8], pix_fmt: str = "yuv420p", *, matrix: int = 2, full: bool = False
) -> av.VideoFrame:
    """`picture` uint8 [H, W, 3] RGB as an FFmpeg frame in a readable format, converted by vidrase's own equations.

    matrix: AVColorSpace number to tag (1 BT.709, 5/6 BT.601, 9 BT.2020, 2 unspecified). full: tag and use the full range.
    """
    frame = av.VideoFrame(picture.shape[1], picture.shape[0], pix_fmt)
    frame.colorspace = matrix
    frame.color_range = 2 if full else 0
    layout = layout_of(frame)
    planes = list(from_rgb(picture.astype(np.float32) / 255, layout))
    if layout.alpha:
        planes.append(np.full(picture.shape[:2], (1 << layout.bits) - 1, layout.dtype))
    write_planes(frame, planes)
    return frame


def write_clip(
    path: Path,
    shown: Sequence[NDArray[np.uint8]] | Sequence[av.VideoFrame] | None = None,
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rate: Fraction | int = 25,
    time_base: Fraction | None = None,
    pts: Sequence[int] | None = None,
    audio: bool = False,
    audio_seconds: float | None = None,
    rotation: int | None = None,
    hflip: bool = False,
    matrix: Sequence[int] | None = None,
    sar: Fraction | None = None,
    colour: dict[str, int] | None = None,
    options: dict[str, str] | None = None,
    mux: dict[str, str] | None = None,
    metadata: dict[str, str] | None = None,
    format: str | None = None,
    prepare: Callable[[av.container.OutputContainer], object] | None = None,
) -> list[av.VideoFrame]:
    """Write a clip to `path`; the frames that went into the encoder, in order.

    shown:    RGB pictures uint8 [H, W, 3], or FFmpeg frames (then `pix_fmt` is theirs); None: six textured pictures.
    pts:      in ticks of `time_base` (default 1 / rate); None: 0, 1, 2, ...
    audio:    one mono AAC track (PCM in avi, Opus in webm) with a tone, as long as the pictures or `audio_seconds`.
    rotation: display matrix, degrees *counter-clockwise* as PyAV counts; `hflip` mirrors after it; `matrix`: nine integers.
    colour:   codec tags: color_range, color_primaries, color_trc, colorspace, as FFmpeg's numbers.
    options:  for the encoder, over fast defaults; `mux` for the muxer. `prepare(container)` runs before the first packet.
    """
    colour = colour or {}
    given = pictures() if shown is None else shown
    frames = [
        f
        if isinstance(f, av.VideoFrame)
        else to_av(f, pix_fmt, matrix=colour.get("colorspace", 2), full=colour.get("color_range", 0) == 2)
        for f in given
    ]
    base = time_base or 1 / Fraction(rate)
    stamps = list(range(len(frames))) if pts is None else list(pts)
    with av.open(str(path), "w", format=format, options=mux or {}) as container:
        container.metadata.update(metadata or {})
        stream: Any = container.add_stream(
            codec, rate=Fraction(rate), options={**FAST.get(codec, {}), **(options or {})}
        )
        stream.width, stream.height = frames[0].width, frames[0].height
        stream.pix_fmt = frames[0].format.name
        stream.time_base = base
        stream.codec_context.time_base = base
        if sar is not None:
            stream.codec_context.sample_aspect_ratio = sar
        for name, value in colour.items():
            setattr(stream.codec_context, name, value)
        if matrix is not None:
            stream.set_display_matrix(matrix)
        elif rotation is not None or hflip:
            stream.set_display_rotation(rotation or 0, hflip=hflip)
        seconds = audio_seconds or float((stamps[-1] - stamps[0] + 1) * base)
        sound = _sound(container, path, seconds, float(stamps[0] * base)) if audio else None
        if prepare is not None:
            prepare(container)
        for frame, stamp in zip(frames, stamps, strict=True):
            frame.pts, frame.time_base = stamp, base
            frame.pict_type = 0
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
        if sound is not None:
            sound()
    return frames


def _sound(container: av.container.OutputContainer, path: Path, seconds: float, start: float) -> Callable[[], None]:
    codec = {".avi": "pcm_s16le", ".webm": "libopus"}.get(path.suffix, "aac")
    stream: Any = container.add_stream(codec, rate=48000, layout="mono")
    kind = {"pcm_s16le": "s16", "libopus": "flt"}.get(codec, "fltp")

    def write() -> None:
        wave = 0.3 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * 48000) + 1) / 48000)
        samples = (wave * 32767).astype(np.int16) if kind == "s16" else wave.astype(np.float32)
        for at in range(0, len(samples), 960):
            block = av.AudioFrame.from_ndarray(samples[None, at : at + 960], format=kind, layout="mono")
            block.sample_rate, block.time_base = 48000, Fraction(1, 48000)
            block.pts = at + int(start * 48000)
            for packet in stream.encode(block):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)

    return write


def packets(path: Path, kind: str = "audio") -> list[tuple[int | None, int | None, bytes]]:
    """(pts, dts, bytes) of every packet of the first `kind` stream: for comparing tracks bit for bit."""
    with av.open(str(path)) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        return [(p.pts, p.dts, bytes(p)) for p in container.demux(stream) if p.size]
