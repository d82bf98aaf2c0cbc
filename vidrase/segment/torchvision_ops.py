"""Makes `import torchvision` work beside a torch that its compiled part was not built for.

pip may well put a CUDA build of torchvision beside a CPU build of torch; its library then does not load and the import
ends in "operator torchvision::nms does not exist". Only in that case the two operators that the import asks for are
declared here, with a suppression in plain numpy behind them; a torchvision that loads is left alone.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray

from vidrase.errors import DependencyError

_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_library: torch.library.Library | None = None  # has to stay alive: its end would take the operators away again


@cache
def import_torchvision() -> ModuleType:
    """torchvision, with `torchvision.ops.nms` working. Raises DependencyError when it is missing or beyond repair."""
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
    # read by the guard in torchvision.ops.nms; roi_align bound its own False at import and so takes its Python path
    module.extension._has_ops = lambda: True
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
