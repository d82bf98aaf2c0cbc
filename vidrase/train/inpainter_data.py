"""Training images and holes for inpainting; the holes are like those in use.

Sample `i` of step `s` depends on (seed, s, i) only, so a resumed run sees the same samples.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidrase.errors import SourceNotFound, UnsupportedSource

Image = NDArray[np.uint8]  # [H, W, 3] RGB
Mask = NDArray[np.bool_]  # [H, W]
People = Literal["keep", "leave-out", "background"]

PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
CLIPS = {".mp4", ".mkv", ".avi", ".mov", ".webm"}
FRAMES_A_CLIP = 60
MIN_AREA, MAX_AREA = 0.02, 0.6  # hole area / image area, limits
KINDS = {"silhouette": 0.4, "polygon": 0.2, "strokes": 0.3, "box": 0.1}
SMALLEST = 400  # px; smaller silhouettes are not used
PERSON = 0  # COCO's first class


@dataclass(slots=True)
class Pictures:
    """Training data: `files` are read when drawn, `frames` are in memory; `objects` are object masks by image index."""

    files: list[Path]
    frames: list[Image] = field(default_factory=list)
    objects: dict[int, Mask] = field(default_factory=dict)
    silhouettes: list[Mask] = field(default_factory=list)
    protect_objects: bool = False
    """Holes do not overlap `objects`: only background is erased."""

    def __len__(self) -> int:
        return len(self.files) + len(self.frames)

    def read(self, index: int) -> Image:
        """Image `index`, uint8 [H, W, 3] RGB."""
        if index >= len(self.files):
            return self.frames[index - len(self.files)]
        rgb = read_rgb(self.files[index])
        # an unreadable file must not stop a long run
        return np.full((64, 64, 3), 114, np.uint8) if rgb is None else rgb


def read_rgb(path: Path) -> Image | None:
    """uint8 [H, W, 3] RGB; None for an unreadable file."""
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    return None if bgr is None else np.ascontiguousarray(bgr[..., ::-1], np.uint8)


def gather(
    sources: Iterable[Path], leave_out: frozenset[str] = frozenset(), held_out: float = 0.0
) -> tuple[Pictures, list[Path]]:
    """(training data from all images and clip frames under `sources`, evaluation data).

    leave_out: file names to exclude. held_out: share of the images used for evaluation, chosen by file name.
    """
    files: list[Path] = []
    apart: list[Path] = []
    frames: list[Image] = []
    for source in sources:
        if not source.exists():
            raise SourceNotFound(f"no training data at {source}; give folders of pictures, pictures or clips")
        for path in sorted(source.rglob("*")) if source.is_dir() else [source]:
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
    """Up to `count` frames at equal intervals from a clip, by decord if installed, otherwise by OpenCV."""
    try:
        import decord
    except (ImportError, OSError):
        from vidrase.train.segmenter_data import clip_frames as by_opencv

        return by_opencv(path, count)
    try:
        reader = decord.VideoReader(str(path))
        chosen = np.unique(np.linspace(0, len(reader) - 1, min(count, len(reader))).round().astype(int))
        return list(reader.get_batch(chosen.tolist()).asnumpy())
    except (decord.DECORDError, RuntimeError) as error:
        raise UnsupportedSource(f"{path} holds no picture that can be read ({str(error).splitlines()[0]})") from error


def add_silhouettes(pictures: Pictures, folders: Iterable[Path]) -> None:
    """Silhouettes from folders of mask images (non-black = object), such as DAVIS annotations."""
    for folder in folders:
        paths = [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in PICTURES]
        if not paths:
            raise SourceNotFound(f"no mask pictures in {folder}")
        for path in paths:
            grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            if grey is not None:
                _keep(pictures.silhouettes, grey > 0)


def add_annotations(pictures: Pictures) -> None:
    """Object masks and silhouettes from YOLO polygon files: `labels/NAME.txt` for `images/NAME.jpg`, or beside the image."""
    for index, path in enumerate(pictures.files):
        spots = [path.with_suffix(".txt")]
        if "images" in path.parts:
            at = len(path.parts) - 1 - path.parts[::-1].index("images")
            spots.append(Path(*path.parts[:at], "labels", *path.parts[at + 1 :]).with_suffix(".txt"))
        label = next((spot for spot in spots if spot.is_file()), None)
        picture = read_rgb(path) if label is not None else None
        if label is None or picture is None:
            continue
        masks = [mask for _, mask in polygons(label, picture.shape[:2])]
        for mask in masks:
            _keep(pictures.silhouettes, mask)
        if masks:
            pictures.objects[index] = np.logical_or.reduce(masks)


def polygons(path: Path, size: tuple[int, int]) -> list[tuple[int, Mask]]:
    """(class index, bool [H, W]) of every polygon in a YOLO segmentation file; boxes (five numbers per line) are skipped."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        numbers = line.split()
        if len(numbers) < 7:
            continue
        points = np.array(numbers[1:], np.float64).reshape(-1, 2) * (size[1], size[0])
        canvas = np.zeros(size, np.uint8)
        cv2.fillPoly(canvas, [np.rint(points).astype(np.int32)], 1)
        found.append((int(numbers[0]), canvas > 0))
    return found


def add_detections(
    pictures: Pictures, detector: Path, say: Callable[[str], None], *, people_only: bool = True, imgsz: int = 384
) -> None:
    """Object masks and silhouettes detected by the given YOLOv8-seg weights; needs ultralytics."""
    from vidrase.segment.checkpoint import load_network
    from vidrase.train.segmenter_eval import find

    network = load_network(detector)
    for index in range(len(pictures)):
        found = find(network, pictures.read(index), imgsz, conf=0.2)
        for label, mask, score in zip(found.labels, found.masks, found.scores, strict=True):
            if score > 0.5:
                _keep(pictures.silhouettes, mask)
            if label == PERSON or not people_only:
                pictures.objects[index] = pictures.objects.get(index, np.zeros_like(mask)) | mask
        if index % 500 == 0:
            say(
                f"looked at {index}/{len(pictures)}: {len(pictures.objects)} with objects, {len(pictures.silhouettes)} shapes"
            )


def treat_people(pictures: Pictures, how: People) -> Pictures:
    """keep: no change; leave-out: exclude images with `objects`; background: keep them, holes avoid the objects."""
    if how == "leave-out":
        kept = [index for index in range(len(pictures)) if index not in pictures.objects]
        files = [pictures.files[k] for k in kept if k < len(pictures.files)]
        frames = [pictures.frames[k - len(pictures.files)] for k in kept if k >= len(pictures.files)]
        if not kept:
            raise SourceNotFound(
                "every picture shows objects that were to be left out; use --people background or keep"
            )
        return Pictures(files, frames, {}, pictures.silhouettes)
    pictures.protect_objects = how == "background"
    return pictures


def _keep(bank: list[Mask], mask: Mask, side: int = 160) -> None:
    """Add the cropped, reduced silhouette to `bank` if it is large enough."""
    if int(mask.sum()) < SMALLEST:
        return
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    crop = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.uint8) * 255
    scale = min(1.0, side / max(crop.shape))
    size = max(1, round(crop.shape[1] * scale)), max(1, round(crop.shape[0] * scale))
    bank.append(np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA)) > 127)


def batch(pictures: Pictures, seed: int, step: int, count: int, side: int) -> tuple[Tensor, Tensor]:
    """(pixels uint8 [count, 3, side, side], hole bool [count, 1, side, side]) of a step."""
    pixels, holes = [], []
    for index in range(count):
        rgb, hole = sample(pictures, np.random.default_rng([seed, step, index]), side)
        pixels.append(rgb.transpose(2, 0, 1))
        holes.append(hole[None])
    return torch.from_numpy(np.stack(pixels)), torch.from_numpy(np.stack(holes))


def sample(pictures: Pictures, rng: np.random.Generator, side: int) -> tuple[Image, Mask]:
    """(uint8 [side, side, 3], bool [side, side]): a square crop of an image, and a hole in it."""
    index = int(rng.integers(len(pictures)))
    rgb = pictures.read(index)
    height, width = rgb.shape[:2]
    short = min(height, width)
    part = round(short * float(rng.uniform(min(1.0, max(0.5, side / short)), 1.0)))
    y, x = int(rng.integers(height - part + 1)), int(rng.integers(width - part + 1))
    square = _resized(rgb[y : y + part, x : x + part], side)
    objects = pictures.objects.get(index) if pictures.protect_objects else None
    protected = None
    if objects is not None:
        protected = _resized(objects[y : y + part, x : x + part].astype(np.uint8) * 255, side) > 0
    if rng.random() < 0.5:
        square = square[:, ::-1]
        protected = None if protected is None else protected[:, ::-1]
    return np.ascontiguousarray(square), make_hole(rng, side, pictures.silhouettes, protected)


def make_hole(rng: np.random.Generator, side: int, bank: Sequence[Mask] = (), protected: Mask | None = None) -> Mask:
    """bool [side, side], MIN_AREA to MAX_AREA of the image, not overlapping `protected`."""
    names = [name for name in KINDS if bank or name != "silhouette"]
    odds = np.array([KINDS[name] for name in names])
    hole = np.zeros((side, side), bool)
    for _ in range(12):
        kind = names[int(rng.choice(len(names), p=odds / odds.sum()))]
        more = hole | (silhouette(rng, side, bank) if kind == "silhouette" else _DRAWN[kind](rng, side))
        if protected is not None:
            more &= ~protected
        share = more.mean()
        if share <= MAX_AREA:
            hole = more
            if share >= MIN_AREA and rng.random() < 0.8:  # sometimes two silhouettes in one image
                break
    if not hole.any():
        hole[side // 2 : side // 2 + max(2, side // 8), side // 2 : side // 2 + max(2, side // 8)] = True
        hole = hole if protected is None or (protected & hole).all() else hole & ~protected
    return hole


def silhouette(rng: np.random.Generator, side: int, bank: Sequence[Mask]) -> Mask:
    """A silhouette scaled, mirrored, slightly rotated, and dilated like holes in use."""
    shape = bank[int(rng.integers(len(bank)))]
    scale = side * float(rng.uniform(0.2, 0.8)) / max(shape.shape)
    turn = cv2.getRotationMatrix2D((shape.shape[1] / 2, shape.shape[0] / 2), float(rng.normal(0, 10)), scale)
    turn[:, 2] += rng.uniform(0.1, 0.9, 2) * side - (shape.shape[1] / 2, shape.shape[0] / 2)
    flipped = shape[:, ::-1] if rng.random() < 0.5 else shape
    source = np.ascontiguousarray(flipped, np.uint8) * 255
    drawn = cv2.warpAffine(source, turn, (side, side), flags=cv2.INTER_LINEAR)
    grown = max(1, round(side * float(rng.uniform(0.01, 0.04))))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * grown + 1, 2 * grown + 1))
    return np.asarray(cv2.dilate(drawn, kernel)) > 127


def polygon(rng: np.random.Generator, side: int) -> Mask:
    """A polygon of 40 to 50 vertices around a centre, at irregular angles and distances."""
    count = int(rng.integers(40, 51))
    irregular, spiky = rng.uniform(0.3, 1.0), rng.uniform(0.2, 0.6)
    steps = rng.uniform(1 - irregular, 1 + irregular, count)
    angles = np.cumsum(steps / steps.sum() * 2 * np.pi) + rng.uniform(0, 2 * np.pi)
    radius = side * float(rng.uniform(0.1, 0.35))
    distance = np.clip(rng.normal(radius, spiky * radius, count), 0.1 * radius, 2 * radius)
    centre = rng.uniform(0.15, 0.85, 2) * side
    points = centre + np.stack([np.cos(angles), np.sin(angles)], 1) * distance[:, None]
    return _filled(points, side)


def strokes(rng: np.random.Generator, side: int) -> Mask:
    """Free-form brush strokes, Yu et al. 2019, algorithm 1."""
    canvas = np.zeros((side, side), np.uint8)
    for _ in range(int(rng.integers(1, 5))):
        point = rng.uniform(0, side, 2)
        angle = rng.uniform(0, 2 * np.pi)
        thick = max(2, round(side * float(rng.uniform(0.04, 0.14))))
        for turn in range(int(rng.integers(3, 9))):
            angle += rng.uniform(0.8, 2.2) * (1 if turn % 2 else -1)
            end = np.clip(point + side * rng.uniform(0.08, 0.3) * np.array([np.cos(angle), np.sin(angle)]), 0, side - 1)
            a, b = ([int(v) for v in p] for p in (point, end))
            cv2.line(canvas, a, b, 1, thick)
            cv2.circle(canvas, b, thick // 2, 1, -1)
            point = end
    return canvas > 0


def box(rng: np.random.Generator, side: int) -> Mask:
    """An axis-aligned rectangle."""
    hole = np.zeros((side, side), bool)
    tall, wide = (max(2, round(side * v)) for v in rng.uniform(0.12, 0.55, 2))
    y, x = int(rng.integers(side - tall + 1)), int(rng.integers(side - wide + 1))
    hole[y : y + tall, x : x + wide] = True
    return hole


_DRAWN: dict[str, Callable[[np.random.Generator, int], Mask]] = {"polygon": polygon, "strokes": strokes, "box": box}


def _filled(points: NDArray[np.float64], side: int) -> Mask:
    canvas = np.zeros((side, side), np.uint8)
    cv2.fillPoly(canvas, [np.rint(points).astype(np.int32)], 1)
    return canvas > 0


def _resized(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    how = cv2.INTER_AREA if side < picture.shape[0] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (side, side), interpolation=how), np.uint8)
