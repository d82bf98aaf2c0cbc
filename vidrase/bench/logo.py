"""FFmpeg's filters for a logo that never moves, where an `ffmpeg` is installed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from vidrase.bench.case import Mask, Rgb
from vidrase.errors import SourceError


class LogoFilter(ABC):
    """One filter of an `ffmpeg` process, raw RGB in and out, for a hole that is the same in every frame."""

    name: str
    videos, stills = True, False

    @staticmethod
    def here() -> bool:
        """Whether there is an ffmpeg to run."""
        return shutil.which("ffmpeg") is not None

    def can(self, holes: Sequence[Mask]) -> bool:
        """Only one and the same hole in every frame."""
        return bool(holes[0].any()) and all((hole == holes[0]).all() for hole in holes)

    @abstractmethod
    def argument(self, hole: Mask, folder: Path) -> str:
        """The filter as FFmpeg writes it; a file that it needs goes into `folder`, where ffmpeg runs."""

    def complete(self, shown: Sequence[Rgb], holes: Sequence[Mask]) -> list[Rgb]:
        """See `Peer.complete`. The filters work in 4:2:0 and change more than the hole, so the rest is put back here."""
        height, width = holes[0].shape
        with tempfile.TemporaryDirectory(prefix="vidrase-bench-") as folder:
            raw = ["-f", "rawvideo", "-pix_fmt", "rgb24"]
            source = [*raw, "-s", f"{width}x{height}", "-r", "25", "-i", "-"]
            command = ["ffmpeg", "-v", "error", *source, "-vf", self.argument(holes[0], Path(folder)), *raw, "-"]
            data = b"".join(np.ascontiguousarray(picture).tobytes() for picture in shown)
            done = subprocess.run(command, input=data, capture_output=True, cwd=folder, check=False)
        if done.returncode or len(done.stdout) != len(data):
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            raise SourceError(f"{self.name} failed: {lines[-1] if lines else done.returncode}")
        frames = np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3)
        return [np.where(holes[0][..., None], frame, picture) for frame, picture in zip(frames, shown, strict=True)]


class RemoveLogo(LogoFilter):
    """`removelogo=mask.png`."""

    name = "ffmpeg removelogo"

    def argument(self, hole: Mask, folder: Path) -> str:
        """See `LogoFilter.argument`. A path would need escaping, a plain name does not."""
        cv2.imwrite(str(folder / "mask.png"), hole.astype(np.uint8) * 255)
        return "removelogo=mask.png"


class Delogo(LogoFilter):
    """`delogo` on the box round the hole: it knows rectangles only, and fills from the pixels along their border."""

    name = "ffmpeg delogo"

    def argument(self, hole: Mask, folder: Path) -> str:
        """See `LogoFilter.argument`. The box must leave a pixel of the picture on every side."""
        height, width = hole.shape
        x, y, w, h = cv2.boundingRect(hole.astype(np.uint8))
        x0, y0, x1, y1 = max(x, 1), max(y, 1), min(x + w, width - 1), min(y + h, height - 1)
        return f"delogo=x={x0}:y={y0}:w={x1 - x0}:h={y1 - y0}"
