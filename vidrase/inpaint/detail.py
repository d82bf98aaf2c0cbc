"""Fine detail for an inpainting made at low resolution, from the most similar known blocks around it.

A network invents structure at the scale it was trained on. The band between that scale and the picture's is missing.
For every block of the synthesized part, the most similar known block is found, and the fine parts of these blocks are overlapped.
Every pixel gathers the parts that cover it, so that nothing depends on the order of writing.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from vidrase.inpaint.regions import Span
from vidrase.inpaint.resample import enlarged

BLOCK = 8  # px of the small picture
TARGET_STEP = 4
SOURCE_STEP = 3
MAX_SOURCES = 7000  # source blocks; if there are more, their spacing grows
TARGETS_AT_ONCE = 2048  # target blocks compared at a time: 60 MB with all sources


def with_detail(picture: Tensor, hole: Tensor, small: Tensor, small_hole: Tensor, where: Span) -> Tensor:
    """`small` enlarged, with detail in the hole: float32 [3, h', w'], the part `where` of it; undefined outside the hole.

    picture: float32 [3, H, W], known outside `hole`, bool [H, W]; small: float32 [3, h, w], whole, known outside `small_hole`,
    bool [h, w]; where: rows and columns of the picture to return.
    """
    height, width = hole.shape
    rows, columns = small_hole.shape
    whole = enlarged(small, (height, width))
    out = whole[:, where[0], where[1]]
    if (rows, columns) == (height, width) or min(rows, columns) < BLOCK:
        return out
    unknown = F.interpolate(small_hole[None, None].float(), (height, width), mode="nearest")[0, 0] > 0
    fine = torch.where(hole | unknown, 0.0, picture - whole)
    down = _Axis(height, rows, where[0], fine)
    across = _Axis(width, columns, where[1], fine)
    found = _alike(small, small_hole, down, across)
    if found is None:
        return out
    source_y, source_x, valid = found  # [T, U] each
    away_y, away_x = down.place(source_y) - down.starts[:, None], across.place(source_x) - across.starts[None]
    sums, weights = torch.zeros_like(out), torch.zeros_like(out[0])
    flat = fine.flatten(1)
    for row, tall in down.covering:
        for column, wide in across.covering:
            window = tall[:, None] * wide[None] * valid[row][:, column]  # [h', w']
            y = (down.pixels[:, None] + away_y[row][:, column]).clamp(0, height - 1)
            x = (across.pixels[None] + away_x[row][:, column]).clamp(0, width - 1)
            sums += window * flat[:, (y * width + x).flatten()].view_as(sums)
            weights += window**2  # independent parts: their variances add, not their sizes
    return out + sums / weights.clamp_min(1e-4).sqrt()


class _Axis:
    """Rows, or columns: positions of the small picture's blocks in the large one; which of them cover each requested pixel."""

    def __init__(self, length: int, small: int, wanted: slice, like: Tensor) -> None:
        self._scale, self._last = length / small, length - round(BLOCK * length / small)
        self.length = round(BLOCK * self._scale)  # of a block, px of the large picture
        count = (small - BLOCK) // TARGET_STEP + 1
        first = max(math.floor(wanted.start / self._scale) - BLOCK, 0) // TARGET_STEP
        self.first = min(first, count - 1)
        self.count = max(min(math.ceil(wanted.stop / self._scale) // TARGET_STEP + 1, count) - self.first, 1)
        blocks = TARGET_STEP * (self.first + torch.arange(self.count, device=like.device))
        self.starts = self.place(blocks)
        self.pixels = torch.arange(wanted.start, wanted.stop, device=like.device)
        self.covering = [self._over(back) for back in (0, 1)]

    def place(self, block: Tensor) -> Tensor:
        """int64 px: start in the large picture of a block that starts at `block` in the small one."""
        return torch.round(block * self._scale).long().clamp_max(self._last)

    def _over(self, back: int) -> tuple[Tensor, Tensor]:
        """(the last block but `back` that starts before each requested pixel, int64 [n]; its weight there, float32 [n])."""
        block = torch.searchsorted(self.starts, self.pixels, right=True) - 1 - back
        inside = self.pixels - self.starts[block.clamp_min(0)]
        weight = 0.5 - 0.5 * torch.cos(2 * math.pi * (inside + 1).float() / (self.length + 1))
        return block.clamp_min(0), weight * ((block >= 0) & (inside < self.length))


def _alike(small: Tensor, hole: Tensor, down: _Axis, across: _Axis) -> tuple[Tensor, Tensor, Tensor] | None:
    """For every block: y and x of the most similar wholly known block, int64 [T, U] each; and 1.0 where the block needs one and
    there is one, else 0.0, float32 [T, U].
    """
    rows, columns = hole.shape
    step = SOURCE_STEP
    while ((rows - BLOCK) // step + 1) * ((columns - BLOCK) // step + 1) > MAX_SOURCES:
        step += 1
    missing = hole.float()[None, None]
    top, left = TARGET_STEP * down.first, TARGET_STEP * across.first
    inner = (
        ...,
        slice(top, top + TARGET_STEP * (down.count - 1) + BLOCK),
        slice(left, left + TARGET_STEP * (across.count - 1) + BLOCK),
    )
    needed = F.max_pool2d(missing[inner], BLOCK, TARGET_STEP).flatten() > 0  # [T·U]
    known = F.max_pool2d(missing, BLOCK, step).flatten() == 0  # [S]
    targets, sources = _block_weight(needed), _block_weight(known)
    if not len(targets) or not len(sources):
        return None
    wanted = F.unfold(small[None][inner], BLOCK, stride=TARGET_STEP)[0].T[targets]  # [n, 192]
    there = F.unfold(small[None], BLOCK, stride=step)[0][:, sources]  # [192, m]
    size = torch.where(known[sources], there.square().sum(0), torch.inf)
    nearest = torch.cat(
        [(size - 2 * part @ there).argmin(1) for part in wanted.split(TARGETS_AT_ONCE)]
    )  # less a constant of each row
    chosen = torch.zeros_like(needed, dtype=torch.int64).scatter_(0, targets, sources[nearest])
    shape = down.count, across.count
    width = (columns - BLOCK) // step + 1
    valid = (needed & known[chosen]).float()
    return step * (chosen // width).view(shape), step * (chosen % width).view(shape), valid.view(shape)


def _block_weight(mask: Tensor) -> Tensor:
    """Indices, int64, where `mask` is True; on a GPU all indices: reading their number back costs more than comparing them."""
    return mask.nonzero()[:, 0] if mask.device.type == "cpu" else torch.arange(len(mask), device=mask.device)
