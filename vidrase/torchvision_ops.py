"""Makes `import torchvision` work beside a torch that its compiled part was not built for.

pip may well put a CUDA build of torchvision beside a CPU build of torch; its library then does not load and the import
ends in "operator torchvision::nms does not exist". Only in that case the operators that the import asks for and those that
Mask R-CNN runs on are declared here, with plain numpy and torch behind them; a torchvision that loads is left alone.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import embedding_bag

from vidrase.errors import DependencyError

_POOLING = (
    "roi_align(Tensor input, Tensor rois, float spatial_scale, int pooled_height, int pooled_width, "
    "int sampling_ratio, bool aligned) -> Tensor"
)
_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_library: torch.library.Library | None = None  # has to stay alive: its end would take the operators away again


@cache
def import_torchvision() -> ModuleType:
    """torchvision, with its `ops.nms` and `ops.roi_align` working. Raises DependencyError when it is missing or beyond repair."""
    try:
        return _import()
    except RuntimeError:  # its library did not load: the first operator it looks for is not there
        _forget()
        _define()
    except (ImportError, AttributeError) as error:
        raise DependencyError(_remedy(error)) from error
    try:
        module = _import()
    except (ImportError, RuntimeError, AttributeError) as error:
        raise DependencyError(_remedy(error)) from error
    # read by the guards of all operators; roi_align has bound a name of its own to it, without which it would take a path in
    # Python that wants a C++ compiler on the user's machine and holds every sample of every box at once
    module.extension._has_ops = lambda: True
    vars(importlib.import_module("torchvision.ops.roi_align"))["_has_ops"] = module.extension._has_ops
    return module


def _import() -> ModuleType:
    return importlib.import_module("torchvision")


def _remedy(error: Exception) -> str:
    reason = str(error).splitlines()[0]
    return (
        f"torchvision does not load beside torch {torch.__version__} ({reason}); "
        "install the two from the same index: pip install torch torchvision"
    )


def _forget() -> None:
    """Drop what a broken import left behind, so that the next one starts afresh."""
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]


def _define() -> None:
    global _library
    if _library is not None:
        return
    _library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        _library.define(name + _SIGNATURE)
        _library.impl(name, _nms, "CompositeExplicitAutograd")
    _library.define(_POOLING)
    _library.impl("roi_align", pooled, "CompositeExplicitAutograd")


def _nms(dets: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    kept = suppress(dets.detach().float().cpu().numpy(), scores.detach().float().cpu().numpy(), iou_threshold)
    return torch.from_numpy(kept).to(dets.device)


def suppress(boxes: NDArray[np.float32], scores: NDArray[np.float32], iou_threshold: float) -> NDArray[np.int64]:
    """Indices of the boxes kept, best score first: each one that overlaps no better kept one by more than the threshold.

    boxes: float32 [N, 4] x0 y0 x1 y1; scores: float32 [N].
    """
    order = np.argsort(-scores, kind="stable")
    x0, y0, x1, y1 = boxes[order].T
    area = (x1 - x0) * (y1 - y0)
    left = np.arange(len(order))
    kept: list[int] = []
    while len(left):  # one round a kept box, vectorised over all that are still in question
        best, left = left[0], left[1:]
        kept.append(int(order[best]))
        width = np.minimum(x1[left], x1[best]) - np.maximum(x0[left], x0[best])
        height = np.minimum(y1[left], y1[best]) - np.maximum(y0[left], y0[best])
        shared = np.clip(width, 0, None) * np.clip(height, 0, None)
        left = left[shared <= iou_threshold * (area[left] + area[best] - shared)]
    return np.array(kept, np.int64)


def pooled(
    maps: torch.Tensor, rois: torch.Tensor, scale: float, height: int, width: int, samples: int, aligned: bool
) -> torch.Tensor:
    """RoIAlign (He et al. 2017), exactly as `torchvision::roi_align` defines it: [K, C, height, width]. No gradients.

    maps: [B, C, H, W]; rois: [K, 5] of (picture, x0, y0, x1, y1), times `scale` px of the maps. samples: to a side of a bin,
    0: as many as it has px. aligned: pixel centres lie at .5, and a box smaller than a pixel stays as small.
    """
    out = maps.new_zeros((len(rois), height, width, maps.shape[1]))
    boxes = rois[:, 1:].float() * scale - (0.5 if aligned else 0.0)
    sides = boxes[:, 2:] - boxes[:, :2]
    if not aligned:
        sides = sides.clamp(min=1.0)
    bins = sides / torch.tensor([width, height], device=sides.device)
    counts = torch.full_like(bins, samples, dtype=torch.long) if samples > 0 else bins.ceil().long()
    for count_x, count_y in torch.unique(counts, dim=0).tolist():
        if count_x < 1 or count_y < 1:
            continue  # an empty box has no sample: zero
        those = torch.nonzero((counts == torch.tensor([count_x, count_y], device=counts.device)).all(1)).squeeze(1)
        columns, across = _taps(boxes[those, 0], bins[those, 0], width, count_x, maps.shape[3])
        rows, down = _taps(boxes[those, 1], bins[those, 1], height, count_y, maps.shape[2])
        pictures = rois[those, 0].long()[:, None, None] * maps.shape[2]
        # every bin is a weighted sum of pixels, and the weights are products of those of its rows and its columns
        index = ((pictures + rows)[:, :, None, :, None] * maps.shape[3]) + columns[:, None, :, None, :]
        weight = down[:, :, None, :, None] * across[:, None, :, None, :]
        table = maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])
        taps = rows.shape[2] * columns.shape[2]
        sums = embedding_bag(
            index.reshape(-1, taps), table, per_sample_weights=weight.reshape(-1, taps).to(table.dtype), mode="sum"
        )
        out[those] = sums.view(len(those), height, width, -1)
    return out.permute(0, 3, 1, 2).contiguous()


def _taps(
    start: torch.Tensor, bin: torch.Tensor, bins: int, samples: int, size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Along one axis: (int64 [K, bins, 2 * samples] pixels, float32 of the same shape their weights).

    start, bin: float32 [K], where the first bin begins and how long each is, px; size: of the axis, px.
    """
    steps = torch.arange(bins * samples, device=start.device, dtype=torch.float32)
    place = start[:, None] + (steps + 0.5)[None] / samples * bin[:, None]
    outside = (place < -1) | (
        place > size
    )  # beyond the border by more than a pixel there is nothing; up to that, the border
    place = place.clamp(0, size - 1)
    low = place.floor()
    part = place - low
    share = torch.where(outside, 0.0, 1.0 / samples)
    pixels = torch.stack([low, (low + 1).clamp(max=size - 1)], -1).long()
    weights = torch.stack([(1 - part) * share, part * share], -1)
    return pixels.view(len(start), bins, -1), weights.view(len(start), bins, -1)
