"""Weights files to networks, without running code that a file may carry.

A `.pt` file is a pickle, and a pickle can call anything. It is read by torch's restricted unpickler, and of what the file
names only network modules of torch and ultralytics are let through.
"""

from __future__ import annotations

import importlib
import pickle
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, is_zipfile

import torch
from torch import nn

from vidrase.errors import ModelError, WeightsCorrupt, WeightsMissing
from vidrase.weights.quiet import import_ultralytics

_PLAIN = {
    "ultralytics.utils.IterableSimpleNamespace",
    "types.SimpleNamespace",
    "ultralytics.utils.loss.v8SegmentationLoss",
}
_MODULES = ("torch.nn.modules.", "ultralytics.nn.modules.", "ultralytics.nn.tasks.")


def load_network(path: Path) -> nn.Module:
    """The segmentation network in `path` (.pt of ultralytics or .safetensors of vidrase): fp32, CPU, eval, fused.

    Has `.names` {class id: label}. Raises WeightsMissing, WeightsCorrupt, or ModelError when the file is sound but holds no
    instance segmentation model.
    """
    import_ultralytics()
    if not path.is_file():
        raise WeightsMissing(f"no weights at {path}; see `vidrase models` for those that are known")
    if path.suffix == ".safetensors":
        from vidrase.weights.embedded import load_embedded

        network = load_embedded(path)
    else:
        network = _network_of(_read(path), path)
    return _ready(network, path)


def _read(path: Path) -> object:
    """What the pickle in `path` holds; only network modules and plain data come to life."""
    if not is_zipfile(path):
        raise WeightsCorrupt(f"{path} is damaged or no weights file (.pt or .safetensors); fetch it again")
    try:
        allowed: list[Any] = [
            _resolve(name, path) for name in torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
        ]
        with torch.serialization.safe_globals(allowed):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, BadZipFile, pickle.UnpicklingError) as error:
        if isinstance(error, ModelError):
            raise
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise WeightsCorrupt(f"{path} cannot be read as weights ({reason}); fetch it again") from error


def _resolve(name: str, path: Path) -> Any:
    module, _, attribute = name.rpartition(".")
    if name == "builtins.getattr":
        return _own_forward, name
    if name in _PLAIN or name.startswith(_MODULES):
        found = getattr(importlib.import_module(module), attribute, None)
        if isinstance(found, type) and (name in _PLAIN or issubclass(found, nn.Module)):
            # under the name that the file uses, which may be an alias of the class
            return found if f"{found.__module__}.{found.__qualname__}" == name else (found, name)
    raise ModelError(f"{path} wants to load '{name}', which is no part of a YOLO network; it was not loaded")


def _own_forward(module: Any, name: str) -> Any:
    """What stands for `getattr` in a file: fused layers keep one of their ways forward, by name; nothing else is given."""
    layer = isinstance(module, nn.Module) or (isinstance(module, type) and issubclass(module, nn.Module))
    if not layer or not isinstance(name, str) or not name.startswith("forward"):
        raise pickle.UnpicklingError(f"it asks for '{name}' of {type(module).__name__}")
    return getattr(module, name)


def _network_of(held: object, path: Path) -> nn.Module:
    network = (held.get("ema") or held.get("model")) if isinstance(held, dict) else held
    if not isinstance(network, nn.Module):
        raise ModelError(
            f"{path} holds no network (a bare state dict, or another kind of file); expected YOLO -seg weights"
        )
    return network.float().eval()


def _ready(network: Any, path: Path) -> nn.Module:
    layers = getattr(network, "model", None)
    head: Any = layers[-1] if isinstance(layers, nn.Sequential) and len(layers) else None
    if head is None or not hasattr(head, "proto") or not hasattr(head, "nc"):
        kind = type(head or network).__name__
        raise ModelError(f"{path} is no instance segmentation model (its head is '{kind}'); use weights named ...-seg")
    if hasattr(head, "lrpc"):
        head.conf = 0.0  # of a prompt-free one: no place is left out beforehand, so that places keep their order
    elif type(network).__name__.startswith("YOLOE") and not hasattr(network, "pe") and not head.is_fused:
        raise ModelError(
            f"{path} is an open-vocabulary model that was not told what to look for; in Python: m = ultralytics.YOLOE(path); "
            "m.set_classes(names, m.get_text_pe(names)); m.save(new), then --model new; or use prompt-free ones (...-seg-pf.pt)"
        )
    network.eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, nn.Upsample) and not hasattr(module, "recompute_scale_factor"):
            module.recompute_scale_factor = None  # files of torch < 1.11 lack it
    if not getattr(network, "is_fused", lambda: True)():
        network.fuse(verbose=False)
    names = getattr(network, "names", None)
    labels = names if isinstance(names, dict) else dict(enumerate(names or map(str, range(head.nc))))
    network.names = {int(index): str(label) for index, label in labels.items()}
    return network
