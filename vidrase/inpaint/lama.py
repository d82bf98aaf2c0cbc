"""LaMa as a TorchScript export that the user names (`--inpainter lama --inpainter-weights big-lama.pt`).

Paper:     Suvorov, Logacheva, Mashikhin, et al., "Resolution-robust large mask inpainting with Fourier convolutions",
           WACV 2022, arXiv 2109.07161.
Weights:   none ship. Exports take (picture [B, 3, H, W] in [0, 1], hole 0/1 [B, 1, H, W]) and give a picture in [0, 1];
           sides are multiples of 8. TorchScript is a program: it is run when its sha256 is known here, or when told to trust it.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vidrase.errors import OptionError, WeightsCorrupt, WeightsMissing
from vidrase.weights import sha256_of

KNOWN = {  # sha256 of programs that many have used
    "344c77bbcb158f17dd143070d1e789f38a66c04202311ae3a258ef66667a9ea9": "big-lama.pt of Sanster/models, release add_big_lama"
}
SIDE = 512  # px: about what it was trained and evaluated at


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


def load_lama(path: Path, *, trust: bool = False) -> tuple[nn.Module, dict[str, Any]]:
    """(network in eval mode, card). Raises WeightsMissing, WeightsCorrupt, or OptionError for a program that is not trusted."""
    if not path.is_file():
        raise WeightsMissing(f"no LaMa export at {path}; give a TorchScript file by --inpainter-weights")
    if not trust and (digest := sha256_of(path)) not in KNOWN:
        raise OptionError(
            f"{path} is a program (TorchScript) with an unknown sha256, {digest[:16]}…, and was not run; "
            "give --trust-weights if you trust whoever made it"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # torch recommends torch.export; published exports are older
            script = torch.jit.load(str(path), map_location="cpu")
    except (RuntimeError, ValueError, OSError) as error:
        raise WeightsCorrupt(f"{path.name} is no TorchScript file, or it is damaged; fetch it again") from error
    return ScriptedLama(script).eval().requires_grad_(False), {"net": "lama", "side": SIDE}
