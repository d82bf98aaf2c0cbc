"""Reduction, enlargement and padding of pictures on a device. Nothing reads a value back, so the device's queue never stalls."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def reduced(picture: Tensor, hole: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Means of the known pixels over areas: (float32 [3, h, w], bool [h, w], True = mostly missing). The hole enters no mean.

    picture: float32 [3, H, W]; hole: bool [H, W], True = missing; size: (h, w) px. At its own size it is returned unchanged.
    """
    height, width = hole.shape
    if size == (height, width):
        return picture, hole
    known = (~hole).float()[None]
    planes = torch.cat([torch.where(hole, 0.0, picture), known])  # [4, H, W]
    down, across = _areas(size[0], height, picture), _areas(size[1], width, picture)
    means = down @ planes @ across.T
    return means[:3] / means[3].clamp_min(1e-3), means[3] < 0.5


def _areas(small: int, large: int, like: Tensor) -> Tensor:
    """[small, large]: the share of each of `large` samples in each of `small` means."""
    step = large / small
    start = step * torch.arange(small, device=like.device)[:, None]
    sample = torch.arange(large, device=like.device)[None]
    overlap = torch.minimum(start + step, sample + 1) - torch.maximum(start, sample)
    return overlap.clamp_min(0) / step


def enlarged(small: Tensor, size: tuple[int, int]) -> Tensor:
    """float32 [3, h, w] -> [3, H, W], bicubic."""
    return F.interpolate(small[None], size, mode="bicubic", align_corners=False)[0]


def mirrored(x: Tensor, stride: int) -> Tensor:
    """[N, C, h, w] with both sides padded to multiples of `stride` by reflection, at any size."""
    for axis in (2, 3):
        length = x.shape[axis]
        if length % stride:
            there = torch.arange(length + -length % stride, device=x.device) % (2 * length)
            x = x.index_select(axis, torch.minimum(there, 2 * length - 1 - there))
    return x
