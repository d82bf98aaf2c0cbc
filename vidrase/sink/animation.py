"""Animated pictures: WebP and AVIF through Pillow, with their times, loops, transparency and profile; the end of an APNG.

Frames wait on disk until the last is there: Pillow wants to know all lengths at once, and then reads one frame at a time.
Neighbouring frames that are equal become one that is shown as long as both.
"""

from __future__ import annotations

import errno
import itertools
import tempfile
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from PIL import Image, TiffImagePlugin

from vidrase.colour import to_rgb8
from vidrase.errors import OptionError, SinkError
from vidrase.frames import Frame, SourceInfo
from vidrase.imagemeta import ImageNative
from vidrase.options import SinkOptions
from vidrase.part import Part
from vidrase.sink.images import AVIF, FORMATS, check_image, eight_bits, extras_of

Note = Callable[[str], None]

ANIMATED = (".webp", ".avif")
_MOST_BYTES = (1 << 32) - (1 << 24)  # of the frames on disk, a TIFF


class AnimationSink:
    """Writes an animated WebP or AVIF. A context manager like every sink."""

    def __init__(self, to: Path, info: SourceInfo, options: SinkOptions, note: Note) -> None:
        """Raises OptionError for wishes that the format cannot meet, SinkError when it cannot be written there."""
        suffix = to.suffix.lower()
        self._kind, self._info, self._note = FORMATS[suffix], info, note
        check_image(suffix, info, note)
        by_products = {
            "--codec": options.codec,
            "--crf": options.crf,
            "--preset": options.preset,
            "--pix-fmt": options.pix_fmt,
        }
        wrong = [name for name, value in by_products.items() if value is not None]
        wrong += ["--lossless"] * (options.lossless and self._kind == "AVIF")
        if wrong:
            raise OptionError(f"{wrong[0]} does not go with {suffix}; leave it out, or name a video file")
        if info.has_audio:
            note(f"{self._kind} holds no sound; it is left out")
        if (info.sample_aspect_ratio or 1) != 1:
            note(f"{self._kind} holds no aspect ratio of pixels: it will look squeezed or stretched")
        if self._kind == "AVIF" and info.loops:
            note(f"AVIF is written to repeat for ever, not {info.loops}x")
        self._lossless = options.lossless
        self.encoder = self._kind
        self._part = Part(to, overwrite=options.overwrite)
        self._first: ImageNative | None = None
        self._turned = False
        self._starts: list[Fraction] = []
        self._last = Fraction(0)
        self._frames = tempfile.TemporaryFile(prefix="vidrase-animation-")  # noqa: SIM115 - closed in __exit__
        self._pages = TiffImagePlugin.AppendingTiffWriter(self._frames, True)

    def write(self, frame: Frame) -> None:
        """The next frame, in order. Raises SinkError."""
        if not self._starts:
            self._first = frame.native if isinstance(frame.native, ImageNative) else None
            self._turned = bool(frame.orientation.quarter_turns % 4 or frame.orientation.mirrored)
        samples = to_rgb8(frame.planes, frame.layout)
        if frame.layout.model == "gray":
            samples = np.repeat(eight_bits(frame.planes[0], frame.layout)[..., None], 3, axis=2)
        if frame.layout.alpha:
            samples = np.dstack([samples, eight_bits(frame.planes[-1], frame.layout)])
        shown = np.ascontiguousarray(frame.orientation.to_display(samples))
        try:
            Image.fromarray(shown).save(self._pages, "TIFF")
            self._pages.newFrame()
            if self._frames.tell() > _MOST_BYTES:
                raise SinkError(f"{self._part.to} would have too many frames for {self._kind}; name a video file")
        except OSError as error:
            raise self._failed(error) from error
        self._starts.append(frame.pts * frame.time_base)
        self._last = frame.duration * frame.time_base

    def _lengths(self) -> list[int]:
        """Milliseconds that each frame is shown; rounded so that times do not drift."""
        step = self._starts[-1] - self._starts[-2] if len(self._starts) > 1 else Fraction(1, 10)
        edges = [
            1000 * (moment - self._starts[0]) for moment in (*self._starts, self._starts[-1] + (self._last or step))
        ]
        if any(edge.denominator != 1 for edge in edges):
            self._note(f"{self._kind} keeps times to the millisecond only")
        return [max(round(stop) - round(start), 1) for start, stop in itertools.pairwise(edges)]

    def _save(self) -> None:
        first = self._first or ImageNative(name="", format="", mode="")
        settings: dict[str, Any] = dict(AVIF)
        if self._kind == "WEBP":
            lossless = self._lossless or self._info.codec in ("gif", "apng") or (first.lossless and first.format != "")
            settings = {"lossless": True} if lossless else {"quality": 95}
            settings["loop"] = self._info.loops or 0
        self.encoder = " ".join(
            [self._kind, *("lossless" if name == "lossless" else f"{name}={value}" for name, value in settings.items())]
        )
        settings |= extras_of(self._kind, first, self._turned, self._note)
        with Image.open(self._frames, formats=["TIFF"]) as reel:
            reel.save(self._part.path, format=self._kind, save_all=True, duration=self._lengths(), **settings)

    def _failed(self, error: Exception) -> SinkError:
        number = getattr(error, "errno", None)
        full = number in (errno.ENOSPC, errno.EDQUOT)
        why = "the disk is full" if full else getattr(error, "strerror", None) or error
        return SinkError(f"cannot write {self._part.to}: {why}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                if not self._starts:
                    raise SinkError(f"cannot write {self._part.to}: {self._info.url} gave no frame")
                try:
                    self._save()
                except (OSError, ValueError) as failure:
                    raise self._failed(failure) from failure
                self._part.keep()
        finally:
            self._frames.close()
            self._part.drop()


def set_last_delay(path: Path, seconds: Fraction) -> None:
    """Write into an APNG how long its last frame is shown: FFmpeg takes that from the frame before."""
    delay = seconds.limit_denominator(65535)
    with path.open("r+b") as file:
        at, last = 8, 0
        while len(head := _at(file, at, 8)) == 8 and head[4:] != b"IEND":
            last = at if head[4:] == b"fcTL" else last
            at += 12 + int.from_bytes(head[:4], "big")
        if not last or delay.numerator > 65535:
            return
        chunk = bytearray(_at(file, last + 4, 30))  # name, number, size, corner, then the delay
        chunk[24:28] = delay.numerator.to_bytes(2, "big") + delay.denominator.to_bytes(2, "big")
        file.seek(last + 4)
        file.write(bytes(chunk) + zlib.crc32(chunk).to_bytes(4, "big"))


def _at(file: Any, where: int, count: int) -> bytes:
    file.seek(where)
    return bytes(file.read(count))
