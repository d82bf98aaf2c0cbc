"""Training batches as tensors: all pictures and cut-outs lie in one buffer on the device, and a batch is sampled from it at once.

What lies where is drawn by numpy for each picture (a handful of numbers), everything that touches pixels is a few operations on
the whole batch. A picture reader in Python makes some 40 pictures a second; a GPU trains on more than 500.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vidrase.train.segmenter_data import Pictures
from vidrase.train.segmenter_eval import GREY

LONGEST = 640  # px; larger pictures are reduced
LEVELS = 3  # of each picture: whole, half and quarter size, so that a small copy does not alias
MOSAIC, COVERED, PASTED = (
    0.4,
    0.7,
    0.4,
)  # share of mosaics; of the others on another picture; of all with objects pasted in
MOST_PASTED = 3
BLOCK = 8  # px of a JPEG block
_LUMINANCE = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
"""Quantisation table of JPEG's Annex K."""


class Pool:
    """Pictures first, then cut-outs, RGBA, each at `LEVELS` sizes, in one buffer on `device`."""

    def __init__(self, pictures: Pictures, device: torch.device) -> None:
        self.pictures, self.device = pictures, device
        rows: list[NDArray[np.uint8]] = []
        sizes: list[list[tuple[int, int]]] = []
        for index in range(len(pictures)):
            rgb = pictures.read(index)
            scale = min(1.0, LONGEST / max(rgb.shape[:2]))
            if scale < 1:
                rgb = np.asarray(cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
            sizes.append(_add(rows, np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])))
        for one in pictures.cutouts:
            sizes.append(_add(rows, np.dstack([one.rgb, one.alpha])))
        self.shapes = np.array(sizes, np.int64)  # [items, LEVELS, 2] (height, width)
        areas = self.shapes.prod(2).ravel()
        self.sizes = torch.from_numpy(self.shapes).to(device)
        self.starts = torch.from_numpy((np.cumsum(areas) - areas).reshape(-1, LEVELS)).to(device)
        self.pixels = torch.from_numpy(np.concatenate(rows)).to(device)  # [all pixels, 4]

    def size(self, item: int) -> tuple[int, int]:
        """(height, width) of an item."""
        height, width = self.shapes[item, 0]
        return int(height), int(width)


@dataclass(frozen=True, slots=True)
class Layer:
    """One item painted into picture `image` of a batch, inside `box` (x0 y0 x1 y1, clipped to the picture).

    Pixel centre (x, y) of the batch shows (ax*x + bx, ay*y + by) of the item.
    """

    image: int
    item: int
    box: tuple[int, int, int, int]
    ax: float
    bx: float
    ay: float
    by: float


def batch(pool: Pool, seed: int, step: int, count: int, size: tuple[int, int]) -> Tensor:
    """Pictures of a step: uint8 [count, 3, H, W] on the pool's device; picture i depends on (seed, step, i)."""
    rounds: list[list[Layer]] = [[] for _ in range(2 + MOST_PASTED)]
    rngs = [np.random.default_rng([seed, step, number]) for number in range(count)]
    for image, rng in enumerate(rngs):
        _arrange(pool, rng, image, size, rounds)
    flip = torch.tensor([rng.random() < 0.5 for rng in rngs], device=pool.device)
    canvas = torch.full((count, *size, 3), float(GREY), device=pool.device)
    for layers in rounds:
        if layers:
            paint(canvas, pool, layers)
    out = canvas.permute(0, 3, 1, 2)
    out = torch.where(flip[:, None, None, None], out.flip(3), out)
    return recolour(out, rngs, seed * 1_000_003 + step)


def _arrange(
    pool: Pool, rng: np.random.Generator, image: int, size: tuple[int, int], rounds: Sequence[list[Layer]]
) -> None:
    """Draw the layers of one picture. Those of a round do not overlap."""
    height, width = size
    pictures = pool.pictures
    if rng.random() < MOSAIC:
        y, x = int(height * rng.uniform(0.3, 0.7)), int(width * rng.uniform(0.3, 0.7))
        for box in ((0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)):
            rounds[0].append(_cover(pool, rng, image, pictures.draw_index(rng), box))
    else:
        if rng.random() < COVERED:
            rounds[0].append(_cover(pool, rng, image, pictures.draw_index(rng), (0, 0, width, height)))
        item = pictures.draw_index(rng)
        tall, wide = pool.size(item)
        scale = min(height / tall, width / wide) * math.exp(rng.uniform(math.log(0.6), math.log(2.2)))
        stretch = math.exp(rng.uniform(-0.1, 0.1))
        rows, columns = max(8, tall * scale / stretch), max(8, wide * scale * stretch)
        left, top = (rng.uniform(min(0, free), max(0, free)) for free in (width - columns, height - rows))
        _put(rounds[1], image, item, (left, top, columns, rows), (wide, tall), size)
    if pictures.cutouts and rng.random() < PASTED:
        for number in range(int(rng.integers(1, 1 + MOST_PASTED))):
            item = len(pictures) + pictures.draw_cutout(rng)
            tall, wide = pool.size(item)
            rows = height * math.exp(rng.uniform(math.log(0.17), 0.0))
            columns = rows * wide / tall
            left = rng.uniform(-0.25, 0.25) * columns + rng.random() * (width - columns)  # up to a quarter outside
            top = rng.uniform(0, max(1, height - 0.8 * rows))
            mirrored = bool(rng.random() < 0.5)
            _put(rounds[2 + number], image, item, (left, top, columns, rows), (wide, tall), size, mirrored=mirrored)


def _cover(pool: Pool, rng: np.random.Generator, image: int, item: int, box: tuple[int, int, int, int]) -> Layer:
    """A random crop that fills `box`, scaled to fit it or up to 1.5 times larger."""
    tall, wide = pool.size(item)
    width, height = box[2] - box[0], box[3] - box[1]
    scale = max(height / tall, width / wide) * rng.uniform(1.0, 1.5)
    left, top = rng.random() * (wide * scale - width) - box[0], rng.random() * (tall * scale - height) - box[1]
    return Layer(image, item, box, 1 / scale, left / scale, 1 / scale, top / scale)


def _put(
    layers: list[Layer],
    image: int,
    item: int,
    where: tuple[float, float, float, float],
    item_size: tuple[int, int],
    size: tuple[int, int],
    *,
    mirrored: bool = False,
) -> None:
    """Add an item scaled to `where` (left, top, width, height); nothing where that lies outside the picture."""
    left, top, columns, rows = where
    box = (
        max(round(left), 0),
        max(round(top), 0),
        min(round(left + columns), size[1]),
        min(round(top + rows), size[0]),
    )
    if box[2] <= box[0] or box[3] <= box[1]:
        return
    ax, ay = item_size[0] / columns, item_size[1] / rows
    bx = -left * ax if not mirrored else item_size[0] + left * ax
    layers.append(Layer(image, item, box, -ax if mirrored else ax, bx, ay, -top * ay))


@torch.no_grad()
def paint(canvas: Tensor, pool: Pool, layers: Sequence[Layer]) -> None:
    """Blend layers that do not overlap into `canvas`, float [B, H, W, 3], all pixels of all of them at once."""
    device = pool.device

    def column(values: Sequence[float], dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.tensor(values, dtype=dtype, device=device)

    boxes = torch.tensor([one.box for one in layers], device=device)
    wide, tall = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    areas = wide * tall
    which = torch.repeat_interleave(torch.arange(len(layers), device=device), areas)
    local = torch.arange(len(which), device=device) - (areas.cumsum(0) - areas)[which]
    x, y = boxes[which, 0] + local % wide[which], boxes[which, 1] + local // wide[which]
    zoom = np.array([max(abs(one.ax), abs(one.ay)) for one in layers])
    level = np.clip(np.floor(np.log2(np.maximum(zoom, 1e-6)) + 0.5), 0, LEVELS - 1).astype(np.int64)
    items, levels = column([one.item for one in layers], torch.int64), torch.from_numpy(level).to(device)
    sizes, starts = pool.sizes[items, levels], pool.starts[items, levels]
    shrink = sizes / pool.sizes[items, 0]  # of the level: [L, 2]
    u = _place(x, which, column([one.ax for one in layers]), column([one.bx for one in layers]), shrink[:, 1])
    v = _place(y, which, column([one.ay for one in layers]), column([one.by for one in layers]), shrink[:, 0])
    rows, columns, start = sizes[which, 0], sizes[which, 1], starts[which]
    u, v = torch.minimum(u.clamp_min(0), columns - 1.0), torch.minimum(v.clamp_min(0), rows - 1.0)
    left, top = u.long(), v.long()
    right, bottom = torch.minimum(left + 1, columns - 1), torch.minimum(top + 1, rows - 1)
    across, down = (u - left)[:, None], (v - top)[:, None]

    def line(row: Tensor) -> Tensor:
        at = start + row * columns
        return torch.lerp(pool.pixels[at + left].float(), pool.pixels[at + right].float(), across)

    sampled = torch.lerp(line(top), line(bottom), down)
    target = (column([one.image for one in layers], torch.int64)[which] * canvas.shape[1] + y) * canvas.shape[2] + x
    flat = canvas.view(-1, 3)
    flat[target] = torch.lerp(flat[target], sampled[:, :3], sampled[:, 3:] / 255)


def _place(at: Tensor, which: Tensor, a: Tensor, b: Tensor, shrink: Tensor) -> Tensor:
    """Pixel index of an item's level for each pixel of the batch, float."""
    return (a * shrink)[which] * (at + 0.5) + (b * shrink)[which] - 0.5


def recolour(pictures: Tensor, rngs: Sequence[np.random.Generator], seed: int) -> Tensor:
    """Random gain, gamma and white balance; sometimes grey, blur, noise or coarse JPEG, like old cameras. Float to uint8."""
    device = pictures.device
    gamma = np.array([math.exp(rng.uniform(-0.35, 0.35)) for rng in rngs], np.float32)
    gains = np.array(
        [math.exp(rng.uniform(-0.25, 0.2)) * np.exp(rng.uniform(-0.08, 0.08, 3)) for rng in rngs], np.float32
    )
    chances, strength = (np.array([rng.random() for rng in rngs], np.float32) for _ in range(2))
    curve = torch.from_numpy(gamma).to(device)[:, None, None, None]
    out = (pictures / 255).clamp_(0, 1) ** curve * torch.from_numpy(gains).to(device)[:, :, None, None]
    out = out.clamp_(0, 1) * 255

    def chosen(low: float, high: float) -> tuple[Tensor, Tensor]:
        which = np.flatnonzero((chances >= low) & (chances < high))
        return torch.from_numpy(which).to(device), torch.from_numpy(strength[which]).to(device)

    grey, _ = chosen(0.0, 0.05)
    if len(grey):
        out[grey] = (out[grey] * torch.tensor([0.299, 0.587, 0.114], device=device)[:, None, None]).sum(1, keepdim=True)
    soft, how = chosen(0.05, 0.12)
    if len(soft):
        out[soft] = _blurred(out[soft], 0.5 + how)
    noisy, how = chosen(0.12, 0.17)
    if len(noisy):
        generator = torch.Generator(device).manual_seed(seed)
        noise = torch.randn(out[noisy].shape, generator=generator, device=device)
        out[noisy] = out[noisy] + noise * (2 + 8 * how)[:, None, None, None]
    coarse, how = chosen(0.17, 0.25)
    if len(coarse):
        out[coarse] = _coarse(out[coarse], 0.4 + 1.3 * how)
    return out.clamp_(0, 255).round_().to(torch.uint8)


def _blurred(pictures: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur of each of [K, 3, H, W] by its own sigma [K] px of 0.5 to 1.5."""
    at = torch.arange(-4, 5, device=pictures.device)
    kernel = torch.exp(-(at**2) / (2 * sigma[:, None] ** 2))
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(3, 0)
    flat = pictures.reshape(1, -1, *pictures.shape[2:])
    for shape, pad in (((-1, 1, 1, 9), (4, 4, 0, 0)), ((-1, 1, 9, 1), (0, 0, 4, 4))):
        flat = F.conv2d(F.pad(flat, pad, mode="replicate"), kernel.view(shape), groups=flat.shape[1])
    return flat.view_as(pictures)


def _coarse(pictures: Tensor, scale: Tensor) -> Tensor:
    """Quantise the block cosine transform of each of [K, 3, H, W] by JPEG's table times `scale` [K]; sides are multiples of 8."""
    at = torch.arange(BLOCK, device=pictures.device, dtype=torch.float32)
    basis = torch.cos((2 * at + 1) * at[:, None] * math.pi / (2 * BLOCK)) / 2
    basis[0] /= 2**0.5
    table = torch.tensor(_LUMINANCE, device=pictures.device, dtype=torch.float32).view(BLOCK, BLOCK)
    kept, _, height, width = pictures.shape
    blocks = pictures.view(kept, 3, height // BLOCK, BLOCK, width // BLOCK, BLOCK).permute(0, 1, 2, 4, 3, 5) - 128
    steps = table * scale[:, None, None, None, None, None]
    turned = (basis @ blocks @ basis.T / steps).round() * steps
    back = (basis.T @ turned @ basis) + 128
    return back.permute(0, 1, 2, 4, 3, 5).reshape(pictures.shape)


def _add(rows: list[NDArray[np.uint8]], rgba: NDArray[np.uint8]) -> list[tuple[int, int]]:
    """Append the pixels of an item at all levels; returns their sizes."""
    sizes = []
    for level in range(LEVELS):
        if level:
            size = max(1, rgba.shape[1] // 2), max(1, rgba.shape[0] // 2)
            rgba = np.asarray(cv2.resize(rgba, size, interpolation=cv2.INTER_AREA), np.uint8)
        rows.append(rgba.reshape(-1, 4))
        sizes.append((rgba.shape[0], rgba.shape[1]))
    return sizes
