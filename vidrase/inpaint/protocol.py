"""The protocols of inpainters."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


class Inpainter(Protocol):
    """Invents hidden pixels, batch first, stateless."""

    name: str
    stride: int
    """Heights and widths must be multiples of this; 1 takes anything."""

    def __call__(self, pixels: NDArray[np.float32], hole: NDArray[np.bool_]) -> NDArray[np.float32]:
        """float32 [B, 3, H, W] RGB in [0, 1], bool [B, 1, H, W] True = fill -> float32 [B, 3, H, W]; known pixels unchanged."""
        ...


@runtime_checkable
class Choosing(Inpainter, Protocol):
    """An inpainter that copies texture from the picture."""

    def without(self, made: NDArray[np.bool_]) -> Inpainter:
        """The same inpainter, copying nothing from earlier synthesis, bool [B, 1, H, W]."""
        ...
