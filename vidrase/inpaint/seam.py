"""Inserts synthesized pixels into the picture without a step at its rim, for a batch at once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

RIM = 3  # px: width of the known rim whose error is spread into the hole
FADE = 8.0  # px: decay length of that correction inside the hole
MAX_DISTANCE = 32  # px: largest distance that is measured; e^(-MAX_DISTANCE/FADE) is 2 %


def seamless(known: Tensor, hole: Tensor, synthesized: Tensor) -> Tensor:
    """Known pixels, and in the hole the synthesized ones in [0, 1], less its error at the rim.

    known, synthesized: float32 [N, 3, h, w]; hole: bool [N, 1, h, w], True = fill. Returns float32 [N, 3, h, w].
    """
    missing = hole.float()
    wide = 2 * RIM + 1
    near = F.max_pool2d(F.max_pool2d(missing, (wide, 1), 1, (RIM, 0)), (1, wide), 1, (0, RIM))
    weight = near - missing
    error = torch.where(hole, 0.0, known - synthesized) * weight
    height, width = hole.shape[2:]
    sums = _gaussian(height, known) @ torch.cat([error, weight], 1) @ _gaussian(width, known)  # [N, 4, h, w]
    spread = sums[:, :3] / sums[:, 3:].clamp_min(1e-6)
    return torch.where(hole, (synthesized + spread * torch.exp(depth(hole) / -FADE)).clamp(0, 1), known)


def _gaussian(length: int, like: Tensor) -> Tensor:
    """[length, length]: the weight of each sample at each position; samples beyond the border have none."""
    position = torch.arange(length, device=like.device, dtype=torch.float32)
    return torch.exp(-0.5 * ((position[:, None] - position) / FADE) ** 2) / (FADE * (2 * torch.pi) ** 0.5)


def depth(hole: Tensor) -> Tensor:
    """float32 [N, 1, h, w] px from each hole pixel to the nearest known one; 0 outside, above `MAX_DISTANCE` deep inside.

    hole: bool [N, 1, h, w].

    Felzenszwalb, Huttenlocher, "Distance transforms of sampled functions", 2012: along columns, then rows, minima of parabolas.
    """
    squared = hole.float() * (2 * MAX_DISTANCE * MAX_DISTANCE + 1)
    for axis in (2, 3):
        pad = (0, 0, MAX_DISTANCE, MAX_DISTANCE) if axis == 2 else (MAX_DISTANCE, MAX_DISTANCE, 0, 0)
        padded = F.pad(squared, pad, value=float(2 * MAX_DISTANCE * MAX_DISTANCE + 1))
        nearest = squared
        for away in range(1, MAX_DISTANCE + 1):
            both = torch.minimum(
                padded.narrow(axis, MAX_DISTANCE - away, squared.shape[axis]),
                padded.narrow(axis, MAX_DISTANCE + away, squared.shape[axis]),
            )
            nearest = torch.minimum(nearest, both.add_(float(away * away)))
        squared = nearest
    return squared.sqrt()
