"""Short clips as files, for what runs end to end: written with a tone, so that sound can be checked too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from vidrase.bench.case import Mask, Rgb
from vidrase.errors import SourceError
from vidrase.source import open_source

RATE = 25
SOUND = 16000


def write_clip(path: Path, pictures: Iterable[Rgb], *, crf: int = 12, rate: Fraction | int = RATE) -> None:
    """H.264 4:2:0 with a 440 Hz AAC tone. Odd sizes lose their last row or column, as yuv420p demands."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=rate, options={"crf": str(crf), "preset": "veryfast"})
        audio = out.add_stream("aac", rate=SOUND)
        video.pix_fmt = "yuv420p"
        count = 0
        for picture in pictures:
            even = np.ascontiguousarray(picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2])
            if not count:
                video.height, video.width = even.shape[:2]
            out.mux(video.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
            count += 1
        out.mux(video.encode(None))
        samples = int(SOUND * count / rate)
        tone = (0.2 * np.sin(2 * np.pi * 440 / SOUND * np.arange(samples))).astype(np.float32)
        for start in range(0, samples, 1024):
            block = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], format="fltp", layout="mono")
            block.sample_rate, block.pts, block.time_base = SOUND, start, Fraction(1, SOUND)
            out.mux(audio.encode(block))
        out.mux(audio.encode(None))


def write_masks(path: Path, masks: Sequence[Mask], *, rate: int = RATE) -> None:
    """Lossless FFV1 grey, white = remove."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("ffv1", rate=rate)
        video.pix_fmt = "gray"
        video.height, video.width = masks[0].shape
        for mask in masks:
            grey = np.ascontiguousarray(mask.astype(np.uint8) * 255)
            out.mux(video.encode(av.VideoFrame.from_ndarray(grey, format="gray")))
        out.mux(video.encode(None))


def read_rgb_frames(path: Path, start: int = 0, count: int | None = None) -> Iterator[Rgb]:
    """Frames uint8 [H, W, 3] as FFmpeg shows them. Raises SourceError when the file cannot be decoded."""
    try:
        with av.open(str(path)) as source:
            for index, frame in enumerate(source.decode(video=0)):
                if count is not None and index >= start + count:
                    return
                if index >= start:
                    yield frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
    except av.error.FFmpegError as error:
        raise SourceError(f"{path} cannot be decoded ({error})") from error


def read_luma_frames(path: Path) -> Iterator[NDArray[np.uint8]]:
    """The luma plane of every frame as it is stored, uint8 [H, W]: nothing is converted on the way."""
    with open_source(path) as source:
        for frame in source:
            yield frame.planes[0].astype(np.uint8, copy=False)
