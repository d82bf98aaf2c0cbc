"""LaMa as a TorchScript export that the user names (`--inpainter lama --inpainter-weights big-lama.pt`).

Paper:     Suvorov, Logacheva, Mashikhin, et al., "Resolution-robust large mask inpainting with Fourier convolutions",
           WACV 2022, arXiv 2109.07161.
Weights:   none ship. Exports take (picture [B, 3, H, W] in [0, 1], hole 0/1 [B, 1, H, W]) and give a picture in [0, 1];
           sides are multiples of 8. TorchScript files run code: name only files that you trust.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vidrase.errors import WeightsCorrupt, WeightsMissing

SIDE = 512  # px: about the size of its training and evaluation pictures


class ScriptedLama(nn.Module):
    """The export with the interface of our own networks."""

    stride = 8

    def __init__(self, script: Any) -> None:
        super().__init__()
        self.script = script

    def forward(self, pixels: Tensor, hole: Tensor) -> tuple[Tensor, ...]:
        """(float [B, 3, H, W],) as our own networks; fp32, since exports fix their types."""
        with torch.autocast(pixels.device.type, enabled=False):
            return (self.script(pixels.float(), hole.float()),)


def load_lama(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """(network in eval mode, card). Raises WeightsMissing or WeightsCorrupt."""
    if not path.is_file():
        raise WeightsMissing(f"no LaMa export at {path}; give a TorchScript file by --inpainter-weights")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # torch recommends torch.export; published exports are older
            script = torch.jit.load(str(path), map_location="cpu")
    except (RuntimeError, ValueError, OSError) as error:
        raise WeightsCorrupt(f"{path.name} is no TorchScript file, or it is damaged; fetch it again") from error
    return ScriptedLama(script).eval().requires_grad_(False), {"net": "lama", "side": SIDE}
