"""What the teacher sees in every training picture: how often each is drawn, and objects of all classes to paste elsewhere.

Measured once and kept in a file, because the teacher needs longer for all pictures than for hundreds of steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import nn

from vidrase.errors import WeightsCorrupt
from vidrase.train.segmenter_data import Cutout, Pictures
from vidrase.train.segmenter_eval import PERSON, Image, find

LEAST = 0.1  # confidence of the teacher from which a find is kept
CLEAR = 0.4  # from which it counts as an object of the picture
PASTED = 0.6  # from which it is cut out
EMPTY = 0.25  # weight of a picture in which the teacher finds nothing
COMMON = 0.04  # share of the pictures; a class that is in fewer is drawn more often (repeat factors of LVIS, Gupta et al. 2019)
MOST_REPEATED = 3.0
SMALLEST = 900  # px; a smaller object is blurred when it is pasted
A_CLASS, PEOPLE = 60, 400  # cut-outs at most


@dataclass(frozen=True, slots=True)
class Seen:
    """K finds of the teacher in one picture: `labels` int [K], `scores` [K], `masks` K crops bool, placed at `corners` (y, x)."""

    size: tuple[int, int]
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]
    masks: Sequence[NDArray[np.bool_]]
    corners: Sequence[tuple[int, int]]

    def clear(self) -> frozenset[int]:
        """Classes that are in the picture."""
        return frozenset(self.labels[self.scores >= CLEAR].tolist())


def look(network: nn.Module, rgb: Image, imgsz: int) -> Seen:
    """The teacher's finds in a picture."""
    found = find(network, rgb, imgsz, conf=LEAST)
    labels, scores, masks, corners = [], [], [], []
    for label, score, mask in zip(found.labels, found.scores, found.masks, strict=True):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if len(rows):
            labels.append(label)
            scores.append(score)
            masks.append(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy())
            corners.append((int(rows[0]), int(columns[0])))
    height, width = rgb.shape[:2]
    return Seen((height, width), np.array(labels, np.int64), np.array(scores, np.float32), masks, corners)


def survey(
    pictures: Pictures, teacher: nn.Module, imgsz: int, progress: Callable[[str], None], cache: Path | None = None
) -> list[Seen]:
    """The teacher's finds in every picture, in order. cache: an .npz that is read, completed and written again."""
    known = _load(cache) if cache is not None and cache.exists() else {}
    seen, new = [], 0
    for index in range(len(pictures)):
        name = pictures.name(index)
        if name not in known:
            known[name] = look(teacher, pictures.read(index), imgsz)
            new += 1
            if new % 500 == 0:
                progress(f"survey {index}/{len(pictures)}")
                if cache is not None:
                    _save(known, cache)
        seen.append(known[name])
    if new and cache is not None:
        _save(known, cache)
    return seen


def weigh(seen: Sequence[Seen]) -> NDArray[np.float64]:
    """How often each picture is drawn, relative: rare classes and large people more, empty pictures less.

    A picture that shows an animal or a vehicle and nobody counts as much as one with a person: it teaches what is no person.
    """
    counts = Counter(label for one in seen for label in one.clear())
    repeat = {
        label: min(MOST_REPEATED, max(1.0, (COMMON * len(seen) / count) ** 0.5)) for label, count in counts.items()
    }
    weights = np.full(len(seen), EMPTY)
    for index, one in enumerate(seen):
        labels = one.clear()
        if labels:
            weights[index] = max(repeat[label] for label in labels)
        if PERSON in labels:
            people = [mask for mask, label, score in zip(one.masks, one.labels, one.scores, strict=True)
                      if label == PERSON and score >= CLEAR]  # fmt: skip
            share = sum(int(mask.sum()) for mask in people) / (one.size[0] * one.size[1])
            weights[index] += 1.5 * min(share, 0.4) / 0.4
    return weights


def cut_out(pictures: Pictures, seen: Sequence[Seen], seed: int = 0) -> list[Cutout]:
    """Objects of all classes that the teacher is sure of, whole ones that do not touch the border, a few of each class."""
    order = np.random.default_rng(seed).permutation(len(seen))
    taken: Counter[int] = Counter()
    found: list[Cutout] = []
    for index in order.tolist():
        one = seen[index]
        rgb: Image | None = None
        for label, score, mask, corner in zip(one.labels.tolist(), one.scores, one.masks, one.corners, strict=True):
            most = PEOPLE if label == PERSON else A_CLASS
            if (
                score < PASTED
                or taken[label] >= most
                or int(mask.sum()) < SMALLEST
                or _at_border(mask, corner, one.size)
            ):
                continue
            rgb = pictures.read(index) if rgb is None else rgb
            rows, columns = slice(corner[0], corner[0] + mask.shape[0]), slice(corner[1], corner[1] + mask.shape[1])
            alpha = np.asarray(cv2.GaussianBlur(mask.astype(np.uint8) * 255, (3, 3), 0), np.uint8)
            found.append(Cutout(rgb[rows, columns].copy(), alpha, label))
            taken[label] += 1
    return found


def _at_border(mask: NDArray[np.bool_], corner: tuple[int, int], size: tuple[int, int]) -> bool:
    sides = (corner[0] <= 1) + (corner[1] <= 1) + (corner[0] + mask.shape[0] >= size[0] - 1)
    return sides + (corner[1] + mask.shape[1] >= size[1] - 1) > 1  # cut off at one side is usual: at the feet


def _save(known: dict[str, Seen], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    every = list(known.values())
    part = path.with_name(path.name + ".part.npz")
    np.savez(
        part,
        names=np.array(list(known)),
        counts=np.array([len(one.labels) for one in every], np.int64),
        sizes=np.array([one.size for one in every], np.int64).reshape(-1, 2),
        labels=np.concatenate([one.labels for one in every] or [np.zeros(0, np.int64)]),
        scores=np.concatenate([one.scores for one in every] or [np.zeros(0, np.float32)]),
        corners=np.array([corner for one in every for corner in one.corners], np.int64).reshape(-1, 2),
        shapes=np.array([mask.shape for one in every for mask in one.masks], np.int64).reshape(-1, 2),
        bits=np.concatenate([np.packbits(mask) for one in every for mask in one.masks] or [np.zeros(0, np.uint8)]),
    )
    part.replace(path)


def _load(path: Path) -> dict[str, Seen]:
    try:
        with np.load(path, allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
        known: dict[str, Seen] = {}
        first = byte = 0
        for name, count, size in zip(arrays["names"], arrays["counts"].tolist(), arrays["sizes"].tolist(), strict=True):
            part = slice(first, first + count)
            masks = []
            for rows, columns in arrays["shapes"][part].tolist():
                length = (rows * columns + 7) // 8
                packed = arrays["bits"][byte : byte + length]
                masks.append(np.unpackbits(packed, count=rows * columns).reshape(rows, columns).view(np.bool_))
                byte += length
            corners = [(int(y), int(x)) for y, x in arrays["corners"][part]]
            labels, scores = arrays["labels"][part], arrays["scores"][part]
            known[str(name)] = Seen((size[0], size[1]), labels, scores, masks, corners)
            first += count
    except (OSError, KeyError, ValueError) as error:
        raise WeightsCorrupt(
            f"{path.name} is no survey of training pictures ({type(error).__name__}); delete it"
        ) from error
    return known
