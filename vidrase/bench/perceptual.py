"""LPIPS, when the package `lpips` and AlexNet's weights lie on this machine; nothing is ever fetched.

Paper: Zhang, Isola, Efros, Shechtman, Wang 2018, "The Unreasonable Effectiveness of Deep Features", arXiv 1801.03924, equation 1.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from vidrase.bench.case import Rgb

Distance = Callable[[Rgb, Rgb], float]
MIN_SIDE = 32  # px: AlexNet's strides leave nothing of a smaller picture


@cache
def load_lpips() -> Distance | None:
    """The distance of two pictures uint8 [H, W, 3], 0 = equal; None where it is not installed."""
    if importlib.util.find_spec("lpips") is None or not _backbone():
        return None
    import lpips
    import torch

    network = lpips.LPIPS(net="alex", verbose=False).eval()

    def distance(a: Rgb, b: Rgb) -> float:
        if min(a.shape[:2]) < MIN_SIDE:
            return float("nan")
        pair = [torch.from_numpy(np.ascontiguousarray(p)).permute(2, 0, 1)[None].float() / 127.5 - 1 for p in (a, b)]
        with torch.inference_mode():
            return float(network(*pair))

    return distance


def _backbone() -> bool:
    """Whether torchvision's AlexNet is in torch's cache: without it, lpips would go and fetch it."""
    import torch

    return any((Path(torch.hub.get_dir()) / "checkpoints").glob("alexnet-*.pth"))
