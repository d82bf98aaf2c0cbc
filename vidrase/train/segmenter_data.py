"""Images for distillation and objects to paste into them; no labels needed. `segmenter_batches` makes batches of them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.errors import SourceNotFound
from vidrase.train.segmenter_eval import GREY, PERSON, Image, polygon_masks

PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
CLIPS = {".mp4", ".mkv", ".avi", ".mov", ".webm"}
PASTED_PEOPLE = 0.4  # share of the pasted objects
FRAMES_A_CLIP = 120  # at equal intervals: neighbouring frames are nearly equal


@dataclass(frozen=True, slots=True)
class Cutout:
    """An object of class `label` to paste: `rgb` uint8 [h,w,3] and `alpha` uint8 [h,w]."""

    rgb: Image
    alpha: NDArray[np.uint8]
    label: int = PERSON


@dataclass(slots=True)
class Pictures:
    """Training data.

    `files` are read when drawn, `frames` (uint8 RGB) are in memory; `weights` float [len(files) + len(frames)] are the
    sampling weights.
    """

    files: list[Path]
    frames: list[Image] = field(default_factory=list)
    weights: NDArray[np.float64] | None = None
    cutouts: list[Cutout] = field(default_factory=list)
    _cutouts_of: dict[int, list[int]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.files) + len(self.frames)

    def read(self, index: int) -> Image:
        """Picture `index` as RGB uint8 [H,W,3]."""
        if index >= len(self.files):
            return self.frames[index - len(self.files)]
        bgr = cv2.imread(str(self.files[index]), cv2.IMREAD_COLOR)
        if bgr is None:
            return np.full((64, 64, 3), GREY, np.uint8)  # an unreadable file must not stop a long run
        return np.ascontiguousarray(bgr[..., ::-1])

    def name(self, index: int) -> str:
        """A name of picture `index` that no other has: its folder and file name."""
        if index >= len(self.files):
            frame = self.frames[index - len(self.files)]
            return f"frame {index - len(self.files)} {zlib.crc32(np.ascontiguousarray(frame).data)}"
        path = self.files[index]
        return f"{path.parent.name}/{path.name}"

    def draw_index(self, rng: np.random.Generator) -> int:
        """A random picture's index by sampling weight."""
        if self.weights is None:
            return int(rng.integers(len(self)))
        cumulated = np.cumsum(self.weights)
        return min(int(np.searchsorted(cumulated, rng.random() * cumulated[-1])), len(self) - 1)

    def draw_cutout(self, rng: np.random.Generator) -> int:
        """A random cutout's index: a person in `PASTED_PEOPLE` of all cases, otherwise every class equally often."""
        if sum(map(len, self._cutouts_of.values())) != len(self.cutouts):
            self._cutouts_of.clear()
            for index, one in enumerate(self.cutouts):
                self._cutouts_of.setdefault(one.label, []).append(index)
        others = sorted(self._cutouts_of.keys() - {PERSON})
        person = PERSON in self._cutouts_of and (not others or rng.random() < PASTED_PEOPLE)
        among = self._cutouts_of[PERSON if person else others[int(rng.integers(len(others)))]]
        return among[int(rng.integers(len(among)))]


def gather(
    sources: Iterable[Path], leave_out: frozenset[str] = frozenset(), held_out: float = 0.0
) -> tuple[Pictures, list[Path]]:
    """(training data from all images and clip frames under the given sources, evaluation data). Skips names in `leave_out`.

    A share `held_out` of the images, chosen by file name, is the evaluation data, on which the student is compared with the
    teacher.
    """
    files: list[Path] = []
    apart: list[Path] = []
    frames: list[Image] = []
    for source in sources:
        if not source.exists():
            raise SourceNotFound(f"no training data at {source}; give folders of pictures, pictures or clips")
        inside = sorted(source.rglob("*")) if source.is_dir() else [source]
        for path in inside:
            if path.name in leave_out:
                continue
            if path.suffix.lower() in PICTURES:
                (apart if zlib.crc32(path.name.encode()) % 1000 < held_out * 1000 else files).append(path)
            elif path.suffix.lower() in CLIPS:
                frames += clip_frames(path, FRAMES_A_CLIP)
    if not files and not frames:
        raise SourceNotFound("the training data holds no picture; give folders of pictures, pictures or clips")
    return Pictures(files, frames), apart


def clip_frames(path: Path, count: int) -> list[Image]:
    """Up to `count` frames at equal intervals from a clip, RGB uint8."""
    capture = cv2.VideoCapture(str(path))
    try:
        total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        every = max(1, total // count)
        frames: list[Image] = []
        index = 0
        while capture.grab():
            if index % every == 0:
                ok, bgr = capture.retrieve()
                if ok:
                    frames.append(np.ascontiguousarray(bgr[..., ::-1]))
            index += 1
        return frames[:count]
    finally:
        capture.release()


def cut(rgb: Image, mask: NDArray[np.bool_], smallest: int = 1500) -> Cutout | None:
    """The pixels of a mask [H,W] with a soft edge; None when it is too small."""
    if int(mask.sum()) < smallest:
        return None
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    alpha = np.asarray(cv2.GaussianBlur(mask[box].astype(np.uint8) * 255, (3, 3), 0), np.uint8)
    return Cutout(rgb[box].copy(), alpha)


def add_polygon_cutouts(pictures: Pictures) -> None:
    """Add cutouts of people from a folder `images` with YOLO polygons in the parallel folder `labels`."""
    for index, path in enumerate(pictures.files):
        parts = path.parts
        if "images" not in parts:
            continue
        at = len(parts) - 1 - parts[::-1].index("images")
        label_file = Path(*parts[:at], "labels", *parts[at + 1 :]).with_suffix(".txt")
        if not label_file.exists():
            continue
        rgb = pictures.read(index)
        for mask in polygon_masks(label_file, rgb.shape[:2]):
            cutout = cut(rgb, mask)
            if cutout is not None:
                pictures.cutouts.append(cutout)
