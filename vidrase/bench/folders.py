"""Reading the data folders that cases are made from; every complaint is one line that names the folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.bench.case import Mask, Rgb
from vidrase.errors import OptionError, SourceNotFound, UnsupportedSource

PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


def data_root(given: Path | None) -> Path | None:
    """The data folder: `--data`, else VIDRASE_DATA, else None (only cases without data then). Raises when it is no folder."""
    where = given if given is not None else Path(os.environ["VIDRASE_DATA"]) if os.environ.get("VIDRASE_DATA") else None
    if where is not None and not where.is_dir():
        raise SourceNotFound(
            f"no folder {where}; --data and VIDRASE_DATA name the folder that holds clips/, images/, masks/, seg/"
        )
    return where


def davis_root(data: Path) -> Path:
    """The folder laid out like DAVIS: `data` itself, `data`/davis or `data`/clips/davis. Raises when there is none."""
    for where in (data, data / "davis", data / "clips" / "davis"):
        if (where / "JPEGImages").is_dir():
            if not (where / "Annotations").is_dir():
                raise UnsupportedSource(
                    f"{where} has JPEGImages/ but no Annotations/; expected both, one folder a clip in each"
                )
            return where
    raise UnsupportedSource(
        f"no clips in {data}; expected JPEGImages/<clip>/ and Annotations/<clip>/ (or clips/davis/ with them)"
    )


def clip_names(davis: Path) -> list[str]:
    """Clips that have frames. Raises when there are none or one of them lacks annotations."""
    names = sorted(
        folder.name for folder in (davis / "JPEGImages").iterdir() if folder.is_dir() and pictures_in(folder)
    )
    if not names:
        raise UnsupportedSource(f"{davis / 'JPEGImages'} holds no clip; expected one folder of pictures for each")
    return names


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder in order of name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES) if folder.is_dir() else []


def read_clip(davis: Path, name: str, count: int, size: tuple[int, int] | None = None) -> list[Rgb]:
    """The first `count` frames of a clip, scaled to `size` (height, width); fewer when it is shorter."""
    paths = pictures_in(davis / "JPEGImages" / name)
    if not paths:
        raise UnsupportedSource(f"no clip '{name}' in {davis / 'JPEGImages'}; there are {', '.join(clip_names(davis))}")
    return [read_rgb(path, size) for path in paths[:count]]


def read_annotations(davis: Path, name: str, count: int, size: tuple[int, int] | None = None) -> list[Mask]:
    """The first `count` object masks of a clip (what is not black), scaled to `size`. Raises when frames outnumber them."""
    folder = davis / "Annotations" / name
    paths = pictures_in(folder)[:count]
    frames = len(pictures_in(davis / "JPEGImages" / name)[:count])
    if len(paths) < frames:
        raise UnsupportedSource(f"{folder} has {len(paths)} annotations for {frames} frames; expected one for each")
    return [read_mask(path, size) for path in paths]


def read_rgb(path: Path, size: tuple[int, int] | None = None) -> Rgb:
    """uint8 [H, W, 3] RGB of a picture file, scaled to `size` (height, width)."""
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise UnsupportedSource(f"{path} cannot be read as a picture")
    if size is not None and bgr.shape[:2] != size:
        bgr = cv2.resize(bgr, (size[1], size[0]), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).astype(np.uint8)


def read_mask(path: Path, size: tuple[int, int] | None = None) -> Mask:
    """bool [H, W]: what is not black in a mask file, scaled to `size` (height, width) by area, half covered counting."""
    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise UnsupportedSource(f"{path} cannot be read as a mask")
    lit: NDArray = (grey > 0).astype(np.float32)
    if size is not None and grey.shape != size:
        lit = cv2.resize(lit, (size[1], size[0]), interpolation=cv2.INTER_AREA)
    return lit >= 0.5


def chosen(names: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Those names that contain one of the wanted words; all when nothing is wanted. Raises when a word fits none."""
    for word in wanted:
        if not any(word in name for name in names):
            raise OptionError(f"no case matches '{word}'; there are {', '.join(names)}")
    return [name for name in names if not wanted or any(word in name for word in wanted)]
