"""RAFT of torchvision behind `FlowModel`: better than DIS at large motion and weak texture, and made for a GPU.

Paper: Teed, Deng, "RAFT: Recurrent All-Pairs Field Transforms for Optical Flow", ECCV 2020, arXiv 2003.12039.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vidrase.errors import ModelError, OutOfMemory, ShapeError
from vidrase.pickled import read_tensors
from vidrase.torchvision_ops import import_torchvision

MIN_SIDE, STRIDE = 128, 8  # px: its correlation pyramid has nothing below, and its features lie on a grid of 8
UPDATES = 12  # of the recurrence, as torchvision's own weights are meant for
AT_ONCE = 8  # pairs: all-pairs correlation takes (H/8 · W/8)² numbers each


class RaftFlow:
    """See the module. `network`: torchvision's `RAFT`; runs on `device`. May be called from several threads at once."""

    def __init__(self, network: nn.Module, device: str = "cpu", *, name: str = "raft") -> None:
        self.name = name
        self._device = torch.device(device)
        self._network = network.to(self._device).eval().requires_grad_(False)

    def __call__(self, a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `FlowModel`. Pictures are padded by their edge to what the network takes."""
        if a.shape != b.shape or a.ndim != 3 or a.dtype != np.uint8 or b.dtype != np.uint8:
            raise ShapeError(f"expected two uint8 [B, H, W], got {a.dtype} {a.shape} and {b.dtype} {b.shape}")
        height, width = a.shape[1:]
        down, across = (max(side, MIN_SIDE) + (-max(side, MIN_SIDE)) % STRIDE - side for side in (height, width))
        pad = ((0, 0), (0, down), (0, across))
        flow = np.zeros((len(a), height, width, 2), np.float32)
        moving = [k for k in range(len(a)) if not np.array_equal(a[k], b[k])]  # equal pictures give zero flow
        try:
            for start in range(0, len(moving), AT_ONCE):
                part = moving[start : start + AT_ONCE]
                pair = [self._pixels(np.pad(pictures[part], pad, mode="edge")) for pictures in (a, b)]
                with torch.inference_mode():
                    found = _own(self._network)(*pair, num_flow_updates=UPDATES)[-1]
                flow[part] = found[:, :, :height, :width].permute(0, 2, 3, 1).float().cpu().numpy()
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(
                f"RAFT needs more memory than {self._device} has for pictures of {width}x{height}; use --flow dis"
            ) from error
        return flow

    def _pixels(self, luma: NDArray[np.uint8]) -> torch.Tensor:
        """float32 [B, 3, H, W] in [-1, 1]: grey, which is what there is of a picture here."""
        grey = torch.from_numpy(luma).to(self._device, non_blocking=True).float() / 127.5 - 1
        return grey[:, None].expand(-1, 3, -1, -1).contiguous()


def _own(network: nn.Module) -> nn.Module:
    """The same network and weights for one call, with a correlation block of its own.

    torchvision's block keeps the correlation pyramid of a pair on itself: two threads that share it read each other's. A lock
    would make one stage wait for the other; this shares every parameter, takes 0.5 ms, and the pyramid goes with the call.
    """
    block: Any = getattr(network, "corr_block", None)
    if block is None:
        return network
    parts = dict(network.named_children())
    parts["corr_block"] = type(block)(num_levels=block.num_levels, radius=block.radius)
    own = type(network)(**parts)
    own.training = network.training  # of its parts it is set already
    return own


def load_raft(weights: Path, device: str = "cpu") -> RaftFlow:
    """RAFT, large or small as the file says, from torchvision's `.pth` (a bare state dict; runs no code of a pickle).

    Raises WeightsCorrupt for a file that cannot be read, ModelError for one that holds something else.
    """
    import_torchvision()
    from torchvision.models.optical_flow import raft_large, raft_small

    state: Any = read_tensors(weights)
    first = state.get("feature_encoder.convnormrelu.0.weight") if isinstance(state, dict) else None
    if not isinstance(first, torch.Tensor):
        raise ModelError(
            f"{weights} holds no weights of torchvision's RAFT; expected raft_large_….pth or raft_small_….pth"
        )
    size, make = ("large", raft_large) if len(first) == 64 else ("small", raft_small)
    network = make(weights=None, progress=False)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(f"{weights} does not fit torchvision's raft_{size}; fetch it again") from error
    return RaftFlow(network, device, name=f"raft-{size}")
