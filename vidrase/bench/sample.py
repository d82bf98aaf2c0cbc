"""The clip in samples/: made for this project, so its pictures may be shown anywhere."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np

from vidrase.bench.case import Case, CaseRef, Mask, Rgb, blanked
from vidrase.bench.clipfile import read_rgb_frames
from vidrase.bench.pasted import Removal
from vidrase.errors import SourceNotFound

FIRST = 30  # the walker is in view from here on


def sample_folder() -> Path | None:
    """The folder samples/ of a checkout; None where vidrase was installed without its sources."""
    folder = Path(str(resources.files("vidrase"))).resolve().parent / "samples"
    return folder if (folder / "walk.mp4").is_file() else None


def sample_case(folder: Path, frames: int) -> CaseRef:
    """Completion at 424x240: the clip without the walker, his masks as holes."""

    def build() -> Case:
        _, truth, masks = _read(folder, frames)
        small = [_half(picture) for picture in truth]
        holes = [_half(mask.astype(np.uint8) * 255) > 0 for mask in masks]
        return Case("sample/walk", "sample", blanked(small, holes), holes, small, public=True)

    return CaseRef("sample/walk", build)


def sample_removal(folder: Path, frames: int) -> Removal:
    """End to end: the clip with the walker and his shadow, and without them."""
    given, truth, masks = _read(folder, frames)
    shadows = _read_masks(folder, "walk_shadow_masks.mkv", frames)
    return Removal("sample/walk", given, truth, masks, public=True, shadows=shadows)


def _read(folder: Path, frames: int) -> tuple[list[Rgb], list[Rgb], list[Mask]]:
    given, truth = (_read_pictures(folder, name, frames) for name in ("walk.mp4", "walk_truth.mp4"))
    return given, truth, _read_masks(folder, "walk_masks.mkv", frames)


def _read_masks(folder: Path, name: str, frames: int) -> list[Mask]:
    return [mask[..., 0] > 127 for mask in _read_pictures(folder, name, frames)]


def _read_pictures(folder: Path, name: str, frames: int) -> list[Rgb]:
    if not (folder / name).is_file():
        raise SourceNotFound(f"no {name} in {folder}; python samples/make_sample.py makes it")
    return list(read_rgb_frames(folder / name, FIRST, frames))


def _half(picture: np.ndarray) -> np.ndarray:
    import cv2

    return cv2.resize(picture, (picture.shape[1] // 2, picture.shape[0] // 2), interpolation=cv2.INTER_AREA)
