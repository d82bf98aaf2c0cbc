"""FFmpeg's `removelogo`: the filter for a thing that never moves, where an `ffmpeg` is installed.

`delogo` takes rectangles only and no mask, so it is not run: on the blobs of our cases it would erase what is visible.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from vidrase.bench.case import Mask, Rgb
from vidrase.errors import SourceError


class RemoveLogo:
    """`ffmpeg -vf removelogo=mask.png`, raw RGB in and out."""

    name = "ffmpeg removelogo"
    videos, stills = True, False

    @staticmethod
    def can(holes: Sequence[Mask]) -> bool:
        """Only one and the same hole in every frame."""
        return bool(holes[0].any()) and all((hole == holes[0]).all() for hole in holes)

    def complete(self, shown: Sequence[Rgb], holes: Sequence[Mask]) -> list[Rgb]:
        """See `Peer.complete`. The filter works in 4:2:0 and on a mask of its own growing, so the rest is put back here."""
        height, width = holes[0].shape
        with tempfile.TemporaryDirectory(prefix="vidrase-bench-") as folder:
            mask = Path(folder) / "mask.png"
            cv2.imwrite(str(mask), holes[0].astype(np.uint8) * 255)
            raw = ["-f", "rawvideo", "-pix_fmt", "rgb24"]
            source = [*raw, "-s", f"{width}x{height}", "-r", "25", "-i", "-"]
            # run inside the folder: a path in a filter argument would need escaping
            command = ["ffmpeg", "-v", "error", *source, "-vf", f"removelogo={mask.name}", *raw, "-"]
            data = b"".join(np.ascontiguousarray(picture).tobytes() for picture in shown)
            done = subprocess.run(command, input=data, capture_output=True, cwd=folder, check=False)
        if done.returncode or len(done.stdout) != len(data):
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            raise SourceError(f"ffmpeg removelogo failed: {lines[-1] if lines else done.returncode}")
        frames = np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3)
        return [np.where(holes[0][..., None], frame, picture) for frame, picture in zip(frames, shown, strict=True)]
