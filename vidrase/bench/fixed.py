"""Excerpts of fixed-camera clips with a clean plate: what the camera would see with nobody there."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np

from vidrase.bench.case import Mask, Rgb
from vidrase.bench.clipfile import read_rgb_frames
from vidrase.bench.folders import read_rgb
from vidrase.bench.pasted import Removal
from vidrase.errors import ShapeError, UnsupportedSource

PLATES = ("clean_plate.png", "median_bg.png")
WHAT = {"intel_car": "car,truck,bus"}  # all other clips: person
GAP = 30  # grey levels from the plate: well above the sensor noise of these clips (about 2.4 levels)


def fixed_names(data: Path) -> list[str]:
    """Clips under clips/fixed that have a plate. Raises when there is none."""
    folder = data / "clips" / "fixed"
    names = (
        sorted(p.name for p in folder.iterdir() if _plate(p) and (p / "video.mp4").is_file()) if folder.is_dir() else []
    )
    if not names:
        raise UnsupportedSource(f"no clips in {folder}; expected <clip>/video.mp4 beside {' or '.join(PLATES)}")
    return names


def fixed(data: Path, name: str, frames: int) -> Removal:
    """The busiest `frames` frames of a clip; the truth is its plate in every frame."""
    folder = data / "clips" / "fixed" / name
    path = _plate(folder)
    if path is None:
        raise UnsupportedSource(f"{folder} has no plate; expected {' or '.join(PLATES)}")
    plate = read_rgb(path)
    given = list(read_rgb_frames(folder / "video.mp4", _busiest(folder, frames), frames))
    if not given:
        raise UnsupportedSource(f"{folder / 'video.mp4'} holds no frame that can be decoded")
    if given[0].shape != plate.shape:
        raise ShapeError(
            f"{name}: frames are {given[0].shape[:2]}, {path.name} is {plate.shape[:2]}; expected one size"
        )
    masks = [_differs(picture, plate) for picture in given]
    return Removal(f"fixed/{name}", given, [plate] * len(given), masks, WHAT.get(name, "person"))


def _plate(folder: Path) -> Path | None:
    return next((folder / name for name in PLATES if (folder / name).is_file()), None)


def _busiest(folder: Path, frames: int) -> int:
    """Start of the window with the most foreground, as fg_fraction.csv tells; 0 without it."""
    table = folder / "fg_fraction.csv"
    if not table.is_file():
        return 0
    with table.open(encoding="utf-8") as lines:
        shares = np.array([float(row["fg_fraction"]) for row in csv.DictReader(lines)])
    if len(shares) <= frames:
        return 0
    return int(np.convolve(shares, np.ones(frames), "valid").argmax())


def _differs(picture: Rgb, plate: Rgb) -> Mask:
    """bool [H, W]: clearly not the plate, specks removed; includes shadows, which should go as well."""
    gap = np.abs(picture.astype(np.int16) - plate).max(-1) > GAP
    return cv2.morphologyEx(gap.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
