"""A case: frames with a hole, and the true picture behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vidrase.colour import PixelLayout, from_rgb
from vidrase.errors import ShapeError
from vidrase.frames import Frame

Rgb = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Kind = Literal["moving", "still", "synthetic", "sample", "photo", "removal"]

RGB8 = PixelLayout("rgb24", "rgb", 8, full_range=True)
YUV420 = PixelLayout("yuv420p", "yuv", 8, 1, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """T frames; everything RGB uint8 [H, W, 3] and bool [H, W], one size."""

    name: str
    kind: Kind
    """Which group of the report it belongs to; "still": a hole that does not move."""
    shown: Sequence[Rgb]
    """Input of the fill: noise in the hole, so that no method can use the truth."""
    holes: Sequence[Mask]
    truth: Sequence[Rgb]
    public: bool = False
    """True: pictures of it may be published (made by us or free); False: they stay on this machine."""

    def __post_init__(self) -> None:
        sizes = {picture.shape for picture in (*self.shown, *self.truth)} | {(*hole.shape, 3) for hole in self.holes}
        if len(sizes) != 1 or len({len(self.shown), len(self.holes), len(self.truth)}) != 1:
            counts = (len(self.shown), len(self.holes), len(self.truth))
            raise ShapeError(f"case {self.name}: frames, holes and truth differ: {counts} of sizes {sorted(sizes)}")

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        height, width = self.holes[0].shape
        return height, width

    @property
    def hole_share(self) -> float:
        """Mean share of the frame that is hole."""
        return float(np.mean([hole.mean() for hole in self.holes]))


@dataclass(frozen=True, slots=True)
class CaseRef:
    """A case that is made when it is needed: a suite never holds more than one clip."""

    name: str
    build: Callable[[], Case] = field(repr=False)


def blanked(truth: Sequence[Rgb], holes: Sequence[Mask], seed: int = 0) -> list[Rgb]:
    """The frames with noise where the holes are: uniform, new in each frame, from a fixed seed."""
    rng = np.random.default_rng(seed)
    shown = []
    for picture, hole in zip(truth, holes, strict=True):
        copy = picture.copy()
        copy[hole] = rng.integers(0, 256, (int(hole.sum()), 3), dtype=np.uint8)
        shown.append(copy)
    return shown


def as_frames(pictures: Sequence[Rgb]) -> Iterator[Frame]:
    """Frames at 25 fps, planes R, G, B."""
    for index, picture in enumerate(pictures):
        planes = tuple(np.ascontiguousarray(picture[..., c]) for c in range(3))
        yield Frame(planes, RGB8, index, index, Fraction(1, 25), 1)


def as_video_frames(pictures: Sequence[Rgb]) -> Iterator[Frame]:
    """Frames at 25 fps in YCbCr 4:2:0, as decoders give them; colours lose what that layout cannot hold."""
    for index, picture in enumerate(pictures):
        planes = tuple(from_rgb(picture.astype(np.float32) / 255, YUV420))
        yield Frame(planes, YUV420, index, index, Fraction(1, 25), 1)


def as_rgb(frame: Frame) -> Rgb:
    """uint8 [H, W, 3] of a frame; without loss when it came from `as_frames`."""
    return np.stack(frame.planes[:3], axis=2) if frame.layout.model == "rgb" else frame.rgb()
