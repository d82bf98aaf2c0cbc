"""Image inpainting behind one protocol, for pixels that no frame shows."""

from __future__ import annotations

from pathlib import Path

from vidrase.errors import OptionError
from vidrase.inpaint.classical import OpenCvInpainter
from vidrase.inpaint.protocol import Choosing, Inpainter
from vidrase.inpaint.shifts import ShiftInpainter, can_shift
from vidrase.inpaint.textured import TexturedInpainter
from vidrase.report import Note

__all__ = ["INPAINTERS", "LEARNED", "Choosing", "Inpainter", "can_shift", "load_inpainter"]

LEARNED = ("pconv", "contextual", "fourier", "lama")
INPAINTERS = ("auto", "shifts", "telea", "ns", *LEARNED)


def load_inpainter(
    name: str = "auto",
    weights: Path | None = None,
    *,
    device: str = "auto",
    note: Note | None = None,
    trust: bool = False,
) -> Inpainter:
    """The inpainter called `name`; "auto" is the best that is installed. Raises OptionError for a name that does not exist.

    weights: of a learned one (see `LEARNED`); without, "fourier" and "auto" take what ships with the package. torch is imported
    when a learned one is first needed. note: told when memory forces a smaller batch, and what is not at hand.
    trust: whether `weights` may be a program (TorchScript) that is not known by its sha256.
    """
    if name == "auto" and weights is None:
        if not can_shift():
            if note is not None:
                note("PyMaxflow is not installed: what no frame shows is invented without texture")
            return load_inpainter("fourier", device=device, note=note)
        return TexturedInpainter(lambda: load_inpainter("fourier", device=device, note=note))
    if name == "shifts":
        if not can_shift():
            raise OptionError("--inpainter shifts needs PyMaxflow; pip install PyMaxflow, or choose another")
        return ShiftInpainter()
    if name in ("telea", "ns"):
        return OpenCvInpainter(name)
    if name in LEARNED:
        if weights is None and name != "fourier":  # known without torch, which takes seconds to load
            raise OptionError(f"--inpainter {name} comes without weights; give --inpainter-weights FILE")
        from vidrase.inpaint.learned import load_learned

        return load_learned(name, weights, device=device, note=note, trust=trust)
    if name == "auto":
        raise OptionError(f"--inpainter-weights needs --inpainter, one of {', '.join(LEARNED)}")
    raise OptionError(f"no inpainter '{name}'; there are {', '.join(INPAINTERS)}")
