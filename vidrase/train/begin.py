"""What every training starts with: the same random numbers each time, and threads where they help."""

from __future__ import annotations

import torch


def begin(seed: int, *, threads: int | None = None) -> None:
    """Seed torch; `threads`: how many one operation may use, None leaves torch's own choice."""
    if threads is not None:
        torch.set_num_threads(threads)
    torch.manual_seed(seed)
