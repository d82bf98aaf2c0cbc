"""Masks: does the detector find the person, all of it, and steadily?

People only, since that is what is removed most. COCO images with instances: AP50 of masks. Portraits and DAVIS clips have no
instance ids: the union of all persons found against the annotation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path

import cv2
import numpy as np

from vidrase import metrics
from vidrase.bench.case import Mask, Rgb, as_frames
from vidrase.bench.folders import clip_names, davis_root, pictures_in, read_annotations, read_clip, read_mask, read_rgb
from vidrase.bench.peers import OURS
from vidrase.bench.results import Results, Row
from vidrase.bench.tools import coco_weights, plain_yolo
from vidrase.errors import ShapeError, UnsupportedSource, VidraseError
from vidrase.options import ModelOptions
from vidrase.report import Notes

LOW = 0.01  # confidence: AP wants the whole curve
MOST = 100  # instances a picture, as COCO counts
PEOPLE = ("hike", "lucia", "tennis", "dance-twirl", "breakdance", "bmx-trees")
DROPOUT = 0.5  # a frame where less than half of the person is found would flash in a video


@dataclass(frozen=True, slots=True)
class Found:
    """Persons in one picture."""

    masks: list[Mask]
    scores: list[float]

    def union(self, size: tuple[int, int]) -> Mask:
        """bool [H, W]."""
        return np.logical_or.reduce(self.masks) if self.masks else np.zeros(size, bool)


Finder = Callable[[Rgb], Found]


class OurFinder:
    """Our segmenter."""

    def __init__(self, model: str | None, device: str, conf: float | None) -> None:
        from vidrase.segment import load_segmenter

        self._segmenter = load_segmenter(ModelOptions(model=model, device=device, conf=conf), note=Notes())
        self.description: str = self._segmenter.description

    def __call__(self, picture: Rgb) -> Found:
        """Persons of at least the wanted confidence."""
        found = self._segmenter(list(as_frames([picture])))[0]
        found = found.where(found.scores >= self._segmenter.recommended_conf)  # those below are for a tracker only
        persons = [k for k, label in enumerate(found.labels) if label == "person"]
        return Found([found.mask(k) for k in persons], [float(found.scores[k]) for k in persons])


class PlainFinder:
    """`ultralytics.YOLO(...).predict` as in its tutorial: masks at letterbox size, scaled up by the nearest pixel."""

    def __init__(self, weights: Path, device: str, conf: float | None) -> None:
        self._model, self._conf = plain_yolo(weights), conf or 0.25
        self._device = None if device == "auto" else device  # None: ultralytics chooses

    def __call__(self, picture: Rgb) -> Found:
        """Persons of at least the wanted confidence."""
        bgr = np.ascontiguousarray(picture[..., ::-1])
        found = self._model.predict(bgr, classes=[0], conf=self._conf, device=self._device, verbose=False)[0]
        if found.masks is None:
            return Found([], [])
        size = (picture.shape[1], picture.shape[0])
        maps = found.masks.data.cpu().numpy().astype(np.uint8)
        scaled = [cv2.resize(_unboxed(m, picture), size, interpolation=cv2.INTER_NEAREST) > 0 for m in maps]
        return Found(scaled, [float(score) for score in found.boxes.conf])


def _unboxed(mask: np.ndarray, picture: Rgb) -> np.ndarray:
    """The part of a letterboxed mask that shows the picture."""
    scale = min(mask.shape[0] / picture.shape[0], mask.shape[1] / picture.shape[1])
    height, width = round(picture.shape[0] * scale), round(picture.shape[1] * scale)
    top, left = (mask.shape[0] - height) // 2, (mask.shape[1] - width) // 2
    return mask[top : top + height, left : left + width]


def finders(device: str = "auto") -> Iterator[tuple[str, Callable[[float | None], Finder]]]:
    """(name, make(conf)) of everything that can be compared here: ours as installed, COCO weights, plain ultralytics."""
    yield OURS, partial(OurFinder, None, device)
    for shipped in shipped_weights():
        yield f"vidrase, {shipped.stem}", partial(OurFinder, str(shipped), device)
    try:
        coco = coco_weights()
    except VidraseError:
        return
    yield "ultralytics, COCO weights", partial(PlainFinder, coco, device)


def shipped_weights() -> list[Path]:
    """Detectors that come with the package."""
    return sorted(Path(str(resources.files("vidrase.weights"))).glob("*seg*.safetensors"))


def run_masks(data: Path, results: Results, *, quick: bool, device: str = "auto") -> None:
    """All three sets with every finder; a set that is not there is said once and left out."""
    makers = list(finders(device))
    sets: list[tuple[str, Callable[[Callable[[float | None], Finder]], dict[str, float]]]] = [
        ("coco128 held-out", lambda make: coco_numbers(data, make(LOW))),
        ("human_seg_150", lambda make: portrait_numbers(data, make(None), 40 if quick else 150)),
        *(
            (f"davis/{name}", lambda make, n=name: clip_numbers(data, n, make(None), 8 if quick else 40))
            for name in people_clips(data)
        ),
    ]
    for name, numbers_of in sets:
        for title, make in makers:
            try:
                results.add(Row("masks", name.split("/")[0], name, title, numbers_of(make)))
            except VidraseError as error:
                results.fail("masks", name, title, error)
                break
            except Exception as error:  # noqa: BLE001 - one finder must not end the run; the failure is reported
                results.fail("masks", name, title, error)


def heldout() -> list[str]:
    """File names of the coco128 images that no training of ours has seen."""
    text = resources.files("vidrase.bench").joinpath("coco128_heldout.txt").read_text(encoding="utf-8")
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def coco_numbers(data: Path, find: Finder) -> dict[str, float]:
    """AP50 of person masks over the held-out images, ignoring nothing; recall of person pixels at any confidence."""
    folder = data / "seg" / "coco128-seg"
    scores: list[float] = []
    hits: list[bool] = []
    positives = 0
    for name in heldout():
        path = next(iter(folder.glob(f"images/**/{name}")), None)
        if path is None:
            raise UnsupportedSource(f"no {name} under {folder / 'images'}; expected the coco128-seg set there")
        picture = read_rgb(path)
        truth = _polygons(folder, path, picture.shape[:2])
        found = _best(find(picture), MOST)
        hits += metrics.match_instances(found.masks, found.scores, truth)
        scores += found.scores
        positives += len(truth)
    return {"ap50": round(metrics.average_precision(scores, hits, positives), 4), "persons": float(positives)}


def portrait_numbers(data: Path, find: Finder, most: int) -> dict[str, float]:
    """Union IoU and pixel recall over binary person masks."""
    folder = data / "seg" / "human_seg_150"
    pictures = pictures_in(folder / "images")
    if not pictures:
        raise UnsupportedSource(f"no pictures in {folder / 'images'}; expected images/ and masks/ with the same names")
    overlaps, recalls = [], []
    for path in pictures[:: max(1, len(pictures) // most)][:most]:
        annotation = next(iter((folder / "masks").glob(f"{path.stem}.*")), None)
        if annotation is None:
            raise UnsupportedSource(f"{folder / 'masks'} has no mask for {path.name}")
        picture, truth = read_rgb(path), read_mask(annotation)
        if truth.shape != picture.shape[:2]:
            raise ShapeError(f"{path.name} is {picture.shape[:2]}, its mask {truth.shape}; expected one size")
        union = find(picture).union(truth.shape)
        overlaps.append(metrics.iou(union, truth))
        recalls.append(metrics.recall(union, truth))
    return {"iou": round(float(np.mean(overlaps)), 4), "recall": round(float(np.nanmean(recalls)), 4)}


def clip_numbers(data: Path, name: str, find: Finder, frames: int) -> dict[str, float]:
    """Over one clip: union IoU, recall, frames where half is missed, and how much recall changes from frame to frame.

    DAVIS annotates one person with what he rides or holds, and nobody of the audience: where there is one (dance-twirl,
    breakdance) IoU punishes finding it, and only recall speaks.
    """
    davis = davis_root(data)
    pictures, truths = read_clip(davis, name, frames), read_annotations(davis, name, frames)
    unions = [find(picture).union(truth.shape) for picture, truth in zip(pictures, truths, strict=True)]
    pairs = [(union, truth) for union, truth in zip(unions, truths, strict=True) if truth.any()]
    recalls = np.array([metrics.recall(union, truth) for union, truth in pairs])
    return {
        "iou": round(float(np.mean([metrics.iou(union, truth) for union, truth in pairs])), 4),
        "recall": round(float(recalls.mean()), 4),
        "dropouts": round(float((recalls < DROPOUT).mean()), 4),
        "restless": round(float(np.abs(np.diff(recalls)).mean()), 4) if len(recalls) > 1 else 0.0,
    }


MASK_MEASURES = {
    "ap50": ("AP50", "average precision of person masks at IoU .5", 1),
    "people found": ("people found", "share of the pictures without people in which somebody is found", -1),
    "taken for people": ("taken for people", "share of the animals that are found as a person", -1),
    "found": ("found", "share of the objects that the COCO weights are sure of", 1),
    "right": ("right", "share of the finds that the COCO weights have too", 1),
    "iou": ("union IoU", "all persons found against the annotation", 1),
    "recall": ("recall", "share of annotated pixels found; what is missed stays in the video", 1),
    "dropouts": ("dropouts", "share of frames where less than half of the person is found", -1),
    "covered": ("covered", "share of the performer's pixels that the hole covers, mean over frames", 1),
    "least": ("least", "the same in the frame where it is least", 1),
    "area": ("area", "the hole's area over the performer's", -1),
    "edge": ("edge", "F of the outline within 2 px of the annotation's, after the mask stage, not dilated", 1),
    "edge before": ("edge before", "the same before the mask stage, as detected and tracked", 1),
    "jumps": ("jumps", "change of the mask's area from frame to frame that motion does not explain", -1),
    "blinks": ("blinks", "share of the mask that is on, or off, for one frame only", -1),
    "restless": ("restless", "mean change of recall from frame to frame", -1),
}
"""name -> (heading, meaning, +1 higher is better / -1 lower is better)."""


def _best(found: Found, most: int) -> Found:
    order = np.argsort(-np.array(found.scores), kind="stable")[:most]
    return Found([found.masks[k] for k in order], [found.scores[k] for k in order])


def people_clips(data: Path) -> Sequence[str]:
    """Clips of `PEOPLE` that are here."""
    try:
        names = clip_names(davis_root(data))
    except VidraseError:
        return ()
    return [name for name in PEOPLE if name in names]


def _polygons(folder: Path, image: Path, size: tuple[int, int]) -> list[Mask]:
    """Person masks bool [H, W] of a YOLO polygon file: `0 x y x y ...` in shares of the picture."""
    label = next(iter(folder.glob(f"labels/**/{image.stem}.txt")), None)
    if label is None:
        return []  # COCO128 leaves out the file where nothing is labelled
    masks = []
    for line in label.read_text(encoding="utf-8").splitlines():
        number, *numbers = line.split()
        if number != "0" or len(numbers) < 6:
            continue
        points = np.array(numbers, np.float64).reshape(-1, 2) * (size[1], size[0])
        canvas = np.zeros(size, np.uint8)
        cv2.fillPoly(canvas, [np.rint(points).astype(np.int32)], 1)
        masks.append(canvas.astype(bool))
    return masks
