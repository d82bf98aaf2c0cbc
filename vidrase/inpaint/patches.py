"""Completion from the picture's own texture: every patch that touches the hole becomes one that the known part has, too.

Papers: Wexler, Shechtman, Irani, "Space-Time Completion of Video", PAMI 2007 (the objective, coarse to fine, voting);
        Barnes, Shechtman, Finkelstein, Goldman, "PatchMatch", SIGGRAPH 2009 (its use for pictures).
Differs: the nearest patch is found exactly, among patches projected on their principal components, which at these sizes is one
         matrix product; detail above the working size is copied from where the patches come from, at full size.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.inpaint.classical import OpenCvInpainter, check

PATCH = 7  # px a side
DIMENSIONS = 20  # principal components kept
WORKING_SIDE = 200  # px: long side of the crop that the search sees
COARSEST_SIDE = 24  # px
LEVELS_RATIO = 0.62
ROUNDS = 4  # search and vote at each level
SHARPEST = 6.0
"""Power on the votes of the very last round: nearly the best patch alone speaks, so that texture is not averaged away."""
MOST_SOURCES = 6000  # patches compared with at each level
_CHUNK = 512

Picture = NDArray[np.float32]
Mask = NDArray[np.bool_]


class PatchInpainter:
    """See the module. Any size; a still of 12 megapixels works on a reduced crop around the hole."""

    name = "patches"
    stride = 1

    def __init__(self) -> None:
        self._simple = OpenCvInpainter("telea")

    def __call__(self, pixels: NDArray[np.float32], hole: NDArray[np.bool_]) -> NDArray[np.float32]:
        """See `Inpainter`."""
        check(pixels, hole)
        out = pixels.copy()
        for picture, where, simple_in, hole_in in zip(out, hole[:, 0], pixels, hole, strict=True):
            if not where.any() or where.all():
                continue
            simple = self._simple(simple_in[None], hole_in[None])[0]
            done = _completed(np.ascontiguousarray(simple.transpose(1, 2, 0)), where)
            picture[:, where] = np.clip(done[where].T, 0, 1)
        return out


def _completed(start: Picture, hole: Mask) -> Picture:
    """float32 [H, W, 3]: `start`, whose hole holds a first guess, with texture in the hole."""
    rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
    margin = max(int(0.9 * max(rows[-1] - rows[0], columns[-1] - columns[0])), 40)
    top, left = max(int(rows[0]) - margin, 0), max(int(columns[0]) - margin, 0)
    crop = np.s_[top : int(rows[-1]) + 1 + margin, left : int(columns[-1]) + 1 + margin]
    picture, where = start[crop], hole[crop]
    height, width = where.shape
    scale = min(1.0, WORKING_SIDE / max(height, width))
    sizes = []
    while max(height, width) * scale > COARSEST_SIDE and min(height, width) * scale > 2 * PATCH:
        sizes.append((max(round(height * scale), 1), max(round(width * scale), 1)))
        scale *= LEVELS_RATIO
    guess: Picture | None = None
    origin = None
    for size in reversed(sizes):
        small, small_hole = _resized(picture, size), _shrunk(where, size)
        if guess is not None:
            small = np.where(small_hole[..., None], _resized(guess, size), small)
        level = _level(small, small_hole, last=size == sizes[0])
        if level is None:
            continue
        guess, origin = level
    if guess is None or origin is None:
        return start
    out = start.copy()
    out[crop] = _with_detail(picture, where, guess, origin)
    return out


def _level(picture: Picture, hole: Mask, *, last: bool) -> tuple[Picture, NDArray[np.intp]] | None:
    """One size: (completed picture, flat index of the pixel that each pixel of the hole resembles); None: too little known."""
    radius = PATCH // 2
    height, width = hole.shape
    around = cv2.dilate(hole.astype(np.uint8), np.ones((PATCH, PATCH), np.uint8)) > 0
    inner = np.zeros_like(hole)
    inner[radius : height - radius, radius : width - radius] = True
    sources = np.flatnonzero(inner & ~around)
    targets = np.flatnonzero(around)
    if len(sources) < 60:
        return None
    if len(sources) > MOST_SOURCES:
        sources = sources[:: -(-len(sources) // MOST_SOURCES)]
    mean, axes = _components(_patches(picture, sources[:: max(len(sources) // 2000, 1)], width))
    known = (_patches(picture, sources, width) - mean) @ axes
    energy = np.square(known).sum(1)
    # texture near the rim is held by known pixels: its vote counts more (Wexler et al., equation 8)
    depth = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5).ravel()
    trust = 1.3 ** -depth[targets]
    best = np.zeros(len(targets), np.intp)
    for turn in range(ROUNDS):
        wanted = (_patches(picture, targets, width) - mean) @ axes
        distance = np.empty(len(targets), np.float32)
        for start in range(0, len(targets), _CHUNK):
            part = slice(start, start + _CHUNK)
            score = energy - 2 * (wanted[part] @ known.T)
            best[part] = score.argmin(1)
            distance[part] = score[np.arange(len(score)), best[part]] + np.square(wanted[part]).sum(1)
        spread = max(float(np.percentile(distance, 75)), 1e-6)
        weight = (trust * np.exp(-np.maximum(distance, 0) / (2 * spread))).astype(np.float32)
        if last and turn == ROUNDS - 1:
            weight = (weight / weight.max()) ** SHARPEST + 1e-12
        picture = _voted(picture, hole, targets, sources[best], weight)
    origin = np.full(height * width, -1, np.intp)
    origin[targets] = sources[best]
    return picture, origin.reshape(height, width)


def _patches(picture: Picture, centres: NDArray[np.intp], width: int) -> Picture:
    """float32 [N, PATCH² * 3] around flat indices; the border repeats."""
    radius = PATCH // 2
    padded = cv2.copyMakeBorder(picture, radius, radius, radius, radius, cv2.BORDER_REPLICATE)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (PATCH, PATCH), axis=(0, 1))
    return windows[centres // width, centres % width].reshape(len(centres), -1)


def _components(sample: Picture) -> tuple[Picture, Picture]:
    """(mean [D], axes [D, DIMENSIONS]) of patches [N, D]."""
    mean = sample.mean(0)
    centred = sample - mean
    _, axes = np.linalg.eigh(centred.T @ centred)
    return mean, np.ascontiguousarray(axes[:, -DIMENSIONS:]).astype(np.float32)


def _voted(
    picture: Picture, hole: Mask, targets: NDArray[np.intp], origins: NDArray[np.intp], weight: NDArray[np.float32]
) -> Picture:
    """Each pixel of the hole becomes the weighted mean of what the patches over it say (Wexler et al., equation 5)."""
    height, width = hole.shape
    radius = PATCH // 2
    flat = picture.reshape(-1, 3)
    rows, columns = targets // width, targets % width
    sums, total = np.zeros((height * width, 3), np.float32), np.zeros(height * width, np.float32)
    for down in range(-radius, radius + 1):
        for right in range(-radius, radius + 1):
            inside = (rows + down >= 0) & (rows + down < height) & (columns + right >= 0) & (columns + right < width)
            step = down * width + right
            place = targets[inside] + step  # each target once: no two add to the same place
            sums[place] += weight[inside, None] * flat[origins[inside] + step]
            total[place] += weight[inside]
    out = picture.copy()
    use = hole & (total.reshape(height, width) > 0)
    out[use] = sums.reshape(height, width, 3)[use] / total.reshape(height, width)[use][:, None]
    return out


def _with_detail(picture: Picture, hole: Mask, guess: Picture, origin: NDArray[np.intp]) -> Picture:
    """`guess` at full size: its own coarse part, and the fine part of where its patches come from."""
    height, width = hole.shape
    rows, columns = origin.shape
    large = _resized(guess, (height, width))
    out = picture.copy()
    if (rows, columns) == (height, width):
        out[hole] = guess[hole]
        return out
    y, x = np.nonzero(hole)
    near_y = np.minimum((y * rows) // height, rows - 1)
    near_x = np.minimum((x * columns) // width, columns - 1)
    source = origin[near_y, near_x]
    known = source >= 0
    from_y = np.rint(y + (source // columns - near_y) * (height / rows)).astype(np.intp)
    from_x = np.rint(x + (source % columns - near_x) * (width / columns)).astype(np.intp)
    from_y, from_x = np.clip(from_y, 0, height - 1), np.clip(from_x, 0, width - 1)
    known &= ~hole[from_y, from_x]
    blurred = _resized(_resized(picture, (rows, columns)), (height, width))
    fine = np.where(known[:, None], (picture - blurred)[from_y, from_x], 0)
    out[hole] = large[hole] + fine
    return out


def _resized(picture: Picture, size: tuple[int, int]) -> Picture:
    if picture.shape[:2] == size:
        return picture
    how = cv2.INTER_AREA if size[0] < picture.shape[0] else cv2.INTER_CUBIC
    return cv2.resize(picture, size[::-1], interpolation=how)


def _shrunk(hole: Mask, size: tuple[int, int]) -> Mask:
    return cv2.resize(hole.astype(np.uint8) * 255, size[::-1], interpolation=cv2.INTER_AREA) > 8
