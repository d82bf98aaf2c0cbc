"""Learned inpainters on disk: safetensors with the network's layout in its metadata, no pickle, checked by a digest.

Weights are kept in fp16, normalisation in fp32. Beside `NAME.safetensors` lies `NAME.json` with the digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vidrase.errors import OptionError, WeightsCorrupt, WeightsMissing
from vidrase.inpaint.contextual import ContextualNet
from vidrase.inpaint.fourier import FourierNet
from vidrase.inpaint.partial_conv import PartialConvUNet

NETWORKS: dict[str, type[nn.Module]] = {"pconv": PartialConvUNet, "contextual": ContextualNet, "fourier": FourierNet}
_KEY = "vidrase"
_KIND = "inpaint"


def build(net: str, layout: Mapping[str, int]) -> nn.Module:
    """A randomly initialised network; `layout` are its keywords (width, depth, blocks). Raises OptionError."""
    if net not in NETWORKS:
        raise OptionError(f"no inpainting network '{net}'; there are {', '.join(NETWORKS)}")
    try:
        return NETWORKS[net](**dict(layout))
    except TypeError as error:
        raise OptionError(f"{net} has no such layout: {dict(layout)} ({error})") from error


def save_network(network: nn.Module, path: Path, card: Mapping[str, Any]) -> str:
    """Write weights and `card` (JSON; must hold `net`, `layout`, `side`) and their digest; both appear complete or not at all."""
    tensors: dict[str, Tensor] = {}
    for name, value in network.state_dict().items():
        keep = "norm" in name or "running_" in name or value.ndim < 2 or not value.is_floating_point()
        tensors[name] = (value if keep else value.half()).detach().cpu().contiguous()
    part, note = path.with_name(path.name + ".part"), path.with_suffix(".json.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, str(part), metadata={_KEY: json.dumps({**card, "kind": _KIND})})
    part.chmod(0o644)  # safetensors makes the file readable by its owner only
    digest = _digest(part)
    record = {"file": path.name, "sha256": digest, "bytes": part.stat().st_size}
    note.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    part.replace(path)
    note.replace(path.with_suffix(".json"))
    return digest


def load_network(path: Path, net: str | None = None) -> tuple[nn.Module, dict[str, Any]]:
    """(network in eval mode, fp32, on the CPU; its card) of a file of `save_network`.

    net: expected network; None accepts any. Raises WeightsMissing, WeightsCorrupt, or OptionError when it is another network.
    """
    if not path.is_file():
        raise WeightsMissing(f"no inpainter weights at {path}; train some with `vidrase train inpainter`")
    try:
        with safe_open(str(path), framework="pt", device="cpu") as archive:
            card = json.loads((archive.metadata() or {})[_KEY])
            if card.get("kind") != _KIND:
                raise KeyError("kind")
            tensors = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise WeightsCorrupt(f"{path.name} is no inpainter of vidrase, or it is damaged; fetch it again") from error
    _check_digest(path)
    if net is not None and card["net"] != net:
        raise OptionError(
            f"{path.name} holds the inpainter '{card['net']}', not '{net}'; use --inpainter {card['net']}"
        )
    try:
        network = build(card["net"], card["layout"])
        network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}, strict=True)
    except (KeyError, RuntimeError, OptionError) as error:
        reason = str(error).splitlines()[0]
        raise WeightsCorrupt(f"{path.name}: weights and layout do not fit ({reason}); fetch it again") from error
    return network.eval().requires_grad_(False), card


def _check_digest(path: Path) -> None:
    note = path.with_suffix(".json")
    if not note.exists():
        return  # the user's own file without a digest: it holds no pickle, so it cannot run code
    try:
        wanted = json.loads(note.read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsCorrupt(
            f"{note.name}, the digest of {path.name}, is unreadable; remove it or fetch it again"
        ) from error
    if (found := _digest(path)) != wanted:
        raise WeightsCorrupt(
            f"{path.name} is damaged: its sha256 is {found[:12]}…, expected {wanted[:12]}…; fetch it again"
        )


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
