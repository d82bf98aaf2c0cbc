"""Animated WebP and AVIF as clips, through Pillow: FFmpeg plays neither with all its frames, times and transparency.

Invariant: times are the file's own, whole milliseconds; one frame is decoded at a time.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from vidrase.avplanes import layout_named
from vidrase.closable import Closable
from vidrase.errors import SourceError, UnsupportedSource
from vidrase.frames import Frame, SourceInfo
from vidrase.source.losses import Damage
from vidrase.source.picture import animated_formats, described, pillow
from vidrase.source.spool import Spool

Note = Callable[[str], None]

MILLISECOND = Fraction(1, 1000)
UNTIMED = 100  # ms: how long browsers show a frame that claims to last no time


class AnimationSource(Closable):
    """The frames of an animated picture, RGB with or without transparency. Iterating again starts from the first."""

    def __init__(self, path: Path, loops: int, *, shown: str, note: Note, spool: Spool | None = None) -> None:
        """Read the file; frames are decoded on the way. Raises UnsupportedSource or DecodeError."""
        self._shown, self._note, self._spool, self._said = shown, note, spool, False
        self.damage = Damage()  # a file that cannot be read whole is an error
        try:
            self._data = path.read_bytes()
        except OSError as error:
            raise UnsupportedSource(f"{shown} cannot be read: {error.strerror or error}") from error
        self._closed = False
        with pillow(shown), self._opened() as image:
            self._mode = "RGBA" if image.has_transparency_data else "RGB"
            self._native = described(image, self._data, "")
            count = getattr(image, "n_frames", 1)
            width, height = image.size
        self.info = SourceInfo(
            kind="video",
            path=path,
            url=shown,
            width=width,
            height=height,
            layout=layout_named("rgba" if self._mode == "RGBA" else "rgb24"),
            time_base=MILLISECOND,
            frame_rate=self._rate(count),
            frame_count=count,
            container=self._native.format,
            codec=self._native.format.lower(),
            loops=loops,
        )

    def __iter__(self) -> Iterator[Frame]:
        if self._closed:
            raise SourceError(f"{self._shown} was closed")
        return self._frames()

    def _opened(self) -> Image.Image:
        return Image.open(io.BytesIO(self._data), formats=animated_formats())

    def _frames(self) -> Iterator[Frame]:
        info, pts, image = self.info, 0, None
        try:
            for index in range(info.frame_count or 0):
                with pillow(self._shown):
                    image = image or self._opened()
                    image.seek(index)
                    samples = np.asarray(image.convert(self._mode))
                    lasts = round(image.info.get("duration", 0))
                if lasts <= 0:
                    self._tell_untimed()
                    lasts = UNTIMED
                planes = tuple(np.array(samples[..., channel], order="C") for channel in range(samples.shape[2]))
                yield Frame(planes, info.layout, index, pts, MILLISECOND, lasts, native=self._native)
                pts += lasts
        finally:
            if image is not None:
                image.close()

    def _rate(self, count: int) -> Fraction:
        """Frames a second, by the first frame's length: a hint for encoders that want one."""
        with pillow(self._shown), self._opened() as image:
            image.seek(min(1, count - 1))
            image.load()
            return Fraction(1000, max(round(image.info.get("duration", 0)), 0) or UNTIMED)

    def _tell_untimed(self) -> None:
        if not self._said:
            self._said = True
            self._note(f"{self._shown} has frames that last no time: shown for {UNTIMED} ms each, as browsers do")

    def close(self) -> None:
        """Let the file go and remove a temporary copy; may be called again."""
        self._closed, self._data = True, b""
        if self._spool is not None:
            self._spool.close()
