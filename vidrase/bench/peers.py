"""Other methods, each behind one small protocol, and our engine behind it too.

A new peer (ProPainter, LaMa, ...) is one class with `name`, `videos`, `stills` and `complete`, named in `peers`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import cv2
import numpy as np

from vidrase.bench.case import Mask, Rgb, as_frames, as_rgb
from vidrase.bench.chain import NaiveChain
from vidrase.bench.logo import Delogo, LogoFilter, RemoveLogo
from vidrase.bench.perceptual import load_lpips
from vidrase.errors import DependencyError
from vidrase.frames import Frame
from vidrase.report import FillStats, Notes

OURS = "vidrase"


class Peer(Protocol):
    """Fills holes in frames."""

    name: str
    videos: bool
    """Meant for clips."""
    stills: bool
    """Meant for single pictures."""

    def complete(self, shown: Sequence[Rgb], holes: Sequence[Mask]) -> list[Rgb]:
        """The frames uint8 [H, W, 3] with `holes` bool [H, W] filled; the rest of each must come back unchanged."""
        ...


class OpenCv:
    """`cv2.inpaint` frame by frame, radius 3."""

    stills = videos = True

    def __init__(self, name: str, method: int) -> None:
        self.name, self._method = name, method

    def complete(self, shown: Sequence[Rgb], holes: Sequence[Mask]) -> list[Rgb]:
        """See `Peer.complete`."""
        pairs = zip(shown, holes, strict=True)
        return [
            cv2.inpaint(picture, hole.astype(np.uint8), 3, self._method).astype(np.uint8) for picture, hole in pairs
        ]


class Biharmonic:
    """scikit-image's biharmonic surface; for pictures up to 256² only (its linear system is minutes of work beyond)."""

    name = "biharmonic"
    stills, videos = True, False
    most_pixels = 256 * 256

    def complete(self, shown: Sequence[Rgb], holes: Sequence[Mask]) -> list[Rgb]:
        """See `Peer.complete`."""
        from skimage.restoration import inpaint_biharmonic

        filled = []
        for picture, hole in zip(shown, holes, strict=True):
            smooth = inpaint_biharmonic(picture, hole, channel_axis=-1)
            result = picture.copy()
            result[hole] = np.clip(np.rint(smooth[hole] * 255), 0, 255).astype(np.uint8)
            filled.append(result)
        return filled


class Vidrase:
    """Our fill stage with its shot analysis: what `--mask` runs, without decoding and encoding."""

    stills = videos = True

    def __init__(
        self,
        quality: str = "default",
        mode: str = "auto",
        *,
        name: str = OURS,
        inpainter: str = "auto",
        device: str = "auto",
        frames_of: Callable[[Sequence[Rgb]], Iterator[Frame]] = as_frames,
    ) -> None:
        """frames_of: makes the engine's frames, in the layout that is to be measured."""
        from vidrase.flow import load_flow
        from vidrase.inpaint import load_inpainter
        from vidrase.options import FillOptions

        self.name, self._frames_of = name, frames_of
        self.options = FillOptions(mode=mode, quality=quality, shadows=False, inpainter=inpainter)  # type: ignore[arg-type]
        self._notes = Notes()
        self._flow, self._inpainter = load_flow(note=self._notes), load_inpainter(self.options.inpainter, device=device)
        self.stats = FillStats()
        """Of the last `complete`."""

    @property
    def fallbacks(self) -> dict[str, int]:
        """Fallbacks: message -> count."""
        return dict(self._notes.counts)

    def complete(self, shown: Sequence[Rgb], holes: Sequence[Mask]) -> list[Rgb]:
        """See `Peer.complete`."""
        from vidrase.fill import fill
        from vidrase.frames import Hole, HoleFrame
        from vidrase.shots import ShotAnalyzer

        self.stats = FillStats()
        analysis = None
        if len(shown) > 1:
            builder = ShotAnalyzer()
            for frame, hole in zip(self._frames_of(shown), holes, strict=True):
                builder.add(frame, hole)
            analysis = builder.finish()
        upstream = (HoleFrame(frame, Hole.of(hole)) for frame, hole in zip(self._frames_of(shown), holes, strict=True))
        filled = fill(
            upstream,
            options=self.options,
            flow=self._flow,
            inpainter=self._inpainter,
            analysis=analysis,
            stats=self.stats,
            note=self._notes,
        )
        return [as_rgb(frame) for frame in filled]


def peers(*, stills: bool = False, device: str = "auto") -> list[Peer]:
    """The others, for clips or for single pictures. device: of those with a network."""
    telea = OpenCv("telea", cv2.INPAINT_TELEA)
    stokes = OpenCv("navier-stokes", cv2.INPAINT_NS)
    if not stills:
        logo: list[Peer] = [RemoveLogo(), Delogo()] if LogoFilter.here() else []
        return [telea, stokes, NaiveChain(3), NaiveChain(10), *logo]
    smooth: list[Peer] = [Biharmonic()] if importlib.util.find_spec("skimage") else []
    return [telea, stokes, *smooth, Vidrase(name="vidrase --inpainter fourier", inpainter="fourier", device=device)]


def missing(*, stills: bool = False) -> list[str]:
    """What cannot be measured on this machine for want of something, one line each."""
    lines = []
    if load_lpips() is None:
        lines.append("LPIPS: the package lpips or AlexNet's weights in torch's cache are not here")
    if not stills and not LogoFilter.here():
        lines.append("ffmpeg removelogo and delogo: there is no ffmpeg to run")
    if stills and importlib.util.find_spec("skimage") is None:
        lines.append("biharmonic: scikit-image is not here (pip install scikit-image)")
    return lines


def ours(quality: str = "default", device: str = "auto") -> Peer:
    """Our engine. Raises DependencyError when it cannot be loaded."""
    try:
        return Vidrase(quality, device=device)
    except ImportError as error:
        raise DependencyError(f"the engine does not load ({error}); try: pip install --upgrade vidrase") from error
