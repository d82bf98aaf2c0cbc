"""Images for distillation: scaled crops, mosaics, and objects pasted by their masks; no labels needed.

Image `i` of step `s` depends on (seed, s, i) only, so a resumed run sees the same images.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vidrase.errors import SourceNotFound
from vidrase.train.segmenter_eval import GREY, PERSON, Image, find, polygon_masks

PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
CLIPS = {".mp4", ".mkv", ".avi", ".mov", ".webm"}
FRAMES_A_CLIP = 120  # at equal intervals: neighbouring frames are nearly equal


@dataclass(frozen=True, slots=True)
class Cutout:
    """An object to paste: `rgb` uint8 [h,w,3] and `alpha` uint8 [h,w]."""

    rgb: Image
    alpha: NDArray[np.uint8]


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

    def draw(self, rng: np.random.Generator) -> Image:
        """A random image by sampling weight."""
        if self.weights is None:
            return self.read(int(rng.integers(len(self))))
        return self.read(int(np.searchsorted(np.cumsum(self.weights), rng.random() * self.weights.sum())))


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


def analysis(
    pictures: Pictures, teacher: nn.Module, imgsz: int, progress: Callable[[str], None], limit: int = 600
) -> None:
    """Run the teacher on every image: set the sampling weights (more for people and objects) and collect cutouts."""
    weights = np.empty(len(pictures))
    cutouts: list[Cutout] = []
    for index in range(len(pictures)):
        rgb = pictures.read(index)
        found = find(teacher, rgb, imgsz, conf=0.3)
        people = found.masks[(found.labels == PERSON) & (found.scores > 0.4)]
        area = float(people.any(0).mean()) if len(people) else 0.0
        others = min(4, int((found.labels != PERSON).sum()))
        weights[index] = 0.25 + 0.1 * others + (1.0 + 1.5 * min(area, 0.4) / 0.4 if len(people) else 0.0)
        for number in np.flatnonzero((found.labels == PERSON) & (found.scores > 0.7)):
            cutout = cut(rgb, found.masks[number])
            if cutout is not None and len(cutouts) < limit:
                cutouts.append(cutout)
        if index % 500 == 0:
            progress(f"cutouts {index}/{len(pictures)}: {len(cutouts)} cutouts")
    pictures.weights = weights
    pictures.cutouts += cutouts


def cut(rgb: Image, mask: NDArray[np.bool_], smallest: int = 1500) -> Cutout | None:
    """The pixels of a mask [H,W] with a soft edge; None when it is too small."""
    if int(mask.sum()) < smallest:
        return None
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    alpha = np.asarray(cv2.GaussianBlur(mask[box].astype(np.uint8) * 255, (3, 3), 0), np.uint8)
    return Cutout(rgb[box].copy(), alpha)


def batch(pictures: Pictures, seed: int, step: int, count: int, size: tuple[int, int]) -> Tensor:
    """Training images of a step: uint8 [count,3,H,W]."""
    made = [make(pictures, np.random.default_rng([seed, step, number]), size) for number in range(count)]
    return torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2)


def make(pictures: Pictures, rng: np.random.Generator, size: tuple[int, int]) -> Image:
    """One augmented image uint8 [H,W,3]."""
    if rng.random() < 0.4:
        rgb = mosaic(pictures, rng, size)
    else:
        below = cover(pictures.draw(rng), rng, size) if rng.random() < 0.7 else None
        rgb = place(pictures.draw(rng), rng, size, below)
    if pictures.cutouts and rng.random() < 0.3:
        for _ in range(int(rng.integers(1, 4))):
            paste(rgb, pictures.cutouts[int(rng.integers(len(pictures.cutouts)))], rng)
    if rng.random() < 0.5:
        rgb = np.ascontiguousarray(rgb[:, ::-1])
    return recolour(rgb, rng)


def cover(photo: Image, rng: np.random.Generator, size: tuple[int, int]) -> Image:
    """A random crop, scaled to fill the image or up to 1.5 times larger: uint8 [H,W,3]."""
    height, width = size
    scale = max(height / photo.shape[0], width / photo.shape[1]) * float(rng.uniform(1.0, 1.5))
    new = max(width, round(photo.shape[1] * scale)), max(height, round(photo.shape[0] * scale))
    scaled = cv2.resize(photo, new, interpolation=cv2.INTER_AREA if scale < 0.7 else cv2.INTER_LINEAR)
    left, top = int(rng.integers(new[0] - width + 1)), int(rng.integers(new[1] - height + 1))
    return np.ascontiguousarray(scaled[top : top + height, left : left + width])


def place(photo: Image, rng: np.random.Generator, size: tuple[int, int], below: Image | None = None) -> Image:
    """A photo with random scale and shift, on letterbox grey or on another image: uint8 [H,W,3]."""
    height, width = size
    fit = min(height / photo.shape[0], width / photo.shape[1])
    scale = fit * float(np.exp(rng.uniform(np.log(0.6), np.log(2.2))))
    stretch = float(np.exp(rng.uniform(-0.1, 0.1)))
    new = max(8, round(photo.shape[1] * scale * stretch)), max(8, round(photo.shape[0] * scale / stretch))
    scaled = cv2.resize(photo, new, interpolation=cv2.INTER_AREA if scale < 0.7 else cv2.INTER_LINEAR)
    canvas = np.full((height, width, 3), GREY, np.uint8) if below is None else below
    x = int(rng.integers(min(0, width - new[0]), max(0, width - new[0]) + 1))
    y = int(rng.integers(min(0, height - new[1]), max(0, height - new[1]) + 1))
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + new[0], width), min(y + new[1], height)
    canvas[y0:y1, x0:x1] = scaled[y0 - y : y1 - y, x0 - x : x1 - x]
    return canvas


def mosaic(pictures: Pictures, rng: np.random.Generator, size: tuple[int, int]) -> Image:
    """Mosaic of four photos around a random centre: uint8 [H,W,3]."""
    height, width = size
    canvas = np.empty((height, width, 3), np.uint8)
    y, x = int(height * rng.uniform(0.3, 0.7)), int(width * rng.uniform(0.3, 0.7))
    upper, lower, left, right = slice(0, y), slice(y, height), slice(0, x), slice(x, width)
    for rows, columns in ((upper, left), (upper, right), (lower, left), (lower, right)):
        canvas[rows, columns] = cover(pictures.draw(rng), rng, (rows.stop - rows.start, columns.stop - columns.start))
    return canvas


def paste(rgb: Image, cutout: Cutout, rng: np.random.Generator) -> None:
    """Paste a cutout in place, at a sixth to the whole of the image height."""
    height, width = rgb.shape[:2]
    scale = height * float(np.exp(rng.uniform(np.log(0.17), np.log(1.0)))) / cutout.rgb.shape[0]
    new = max(4, round(cutout.rgb.shape[1] * scale)), max(4, round(cutout.rgb.shape[0] * scale))
    colour, alpha = cv2.resize(cutout.rgb, new), cv2.resize(cutout.alpha, new)[..., None].astype(np.float32) / 255
    if rng.random() < 0.5:
        colour, alpha = colour[:, ::-1], alpha[:, ::-1]
    x = round(rng.uniform(-0.25, 0.25) * new[0] + rng.uniform(0, 1) * (width - new[0]))  # up to a quarter outside
    y = int(rng.uniform(0, max(1, height - 0.8 * new[1])))
    x0, y0, x1, y1 = max(x, 0), y, min(x + new[0], width), min(y + new[1], height)
    if x1 <= x0 or y1 <= y0:
        return
    part, cover = colour[y0 - y : y1 - y, x0 - x : x1 - x], alpha[y0 - y : y1 - y, x0 - x : x1 - x]
    region = rgb[y0:y1, x0:x1]
    region[:] = (region * (1 - cover) + part * cover).astype(np.uint8)


def recolour(rgb: Image, rng: np.random.Generator) -> Image:
    """Random gain, gamma and white balance; sometimes grey, blur, noise or coarse JPEG, like old cameras."""
    curve = np.linspace(0, 1, 256) ** float(np.exp(rng.uniform(-0.35, 0.35)))
    gains = float(np.exp(rng.uniform(-0.25, 0.2))) * np.exp(rng.uniform(-0.08, 0.08, 3))
    table = np.clip(curve[:, None] * gains * 255, 0, 255).astype(np.uint8)
    rgb = np.asarray(cv2.LUT(rgb, table[None]), np.uint8)
    chance = rng.random()
    if chance < 0.05:
        rgb = np.repeat(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)
    elif chance < 0.12:
        rgb = np.asarray(cv2.GaussianBlur(rgb, (0, 0), float(rng.uniform(0.5, 1.5))), np.uint8)
    elif chance < 0.17:
        noise = rng.normal(0, rng.uniform(2, 10), rgb.shape).astype(np.float32)
        rgb = np.clip(rgb + noise, 0, 255).astype(np.uint8)
    elif chance < 0.25:
        ok, data = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 80))])
        rgb = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8) if ok else rgb
    return rgb


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
