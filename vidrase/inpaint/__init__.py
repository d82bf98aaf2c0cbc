"""Still picture completion behind one protocol: what no frame shows has to be invented."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vidrase.errors import OptionError
from vidrase.inpaint.classical import OpenCvInpainter
from vidrase.inpaint.patches import PatchInpainter
from vidrase.report import Note

LEARNED = ("pconv", "contextual", "fourier", "lama")
INPAINTERS = ("auto", "patches", "telea", "ns", *LEARNED)


class Inpainter(Protocol):
    """Invents what is hidden, batch first, stateless."""

    name: str
    stride: int
    """Heights and widths must be multiples of this; 1 takes anything."""

    def __call__(self, pixels: NDArray[np.float32], hole: NDArray[np.bool_]) -> NDArray[np.float32]:
        """float32 [B, 3, H, W] RGB in [0, 1], bool [B, 1, H, W] True = fill -> float32 [B, 3, H, W]; known pixels unchanged."""
        ...


def load_inpainter(
    name: str = "auto", weights: Path | None = None, *, device: str = "auto", note: Note | None = None
) -> Inpainter:
    """The inpainter called `name`; "auto" is the best at hand. Raises OptionError for a name that does not exist.

    weights: of a learned one (see `LEARNED`); torch is imported only for those. note: told when memory forces a smaller batch.
    """
    if name in ("auto", "patches"):
        return PatchInpainter()
    if name in ("telea", "ns"):
        return OpenCvInpainter(name)
    if name in LEARNED:
        from vidrase.inpaint.learned import load_learned

        return load_learned(name, weights, device=device, note=note)
    raise OptionError(f"no inpainter '{name}'; there are {', '.join(INPAINTERS)}")
