"""Weights files to networks, without running code that a file may carry.

A `.pt` file is a pickle of ultralytics' own classes. None of them is called: the file is read into records (`pickled`), of which
the tensors, the layout and the class names are taken; the network is built by ultralytics from the layout, once that was checked,
and takes the tensors.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from vidrase.errors import ModelError, WeightsCorrupt, WeightsMissing
from vidrase.pickled import Record, Stored, read_pickled
from vidrase.weights.embedded import build_segmenter, load_embedded
from vidrase.weights.layout import HEADS, checked, head_of
from vidrase.weights.quiet import import_ultralytics

DEEPEST = 32  # modules within modules
UNUSED = (".savpe.", ".reprta.")  # of open-vocabulary heads: for prompts that are given while it runs, which are not


def load_network(path: Path) -> nn.Module:
    """The segmentation network in `path` (.pt of ultralytics or .safetensors of vidrase): fp32, CPU, eval, fused.

    Has `.names` {class id: label}. Raises WeightsMissing, WeightsCorrupt, or ModelError when the file is sound but holds no
    instance segmentation model. Runs no code of the file.
    """
    import_ultralytics()
    if not path.is_file():
        raise WeightsMissing(f"no weights at {path}; see `vidrase models` for those that are known")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a thousand tiny steps: threads would only wait for each other
    try:
        network = load_embedded(path) if path.suffix == ".safetensors" else _network_of(read_pickled(path), path)
        return _ready(network, path)
    finally:
        torch.set_num_threads(threads)


def _network_of(held: object, path: Path) -> nn.Module:
    root = (held.get("ema") or held.get("model")) if isinstance(held, dict) else held
    if not isinstance(root, Record):
        raise ModelError(
            f"{path} holds no network (a bare state dict, or another kind of file); expected YOLO -seg weights"
        )
    state = _state(root, path)
    try:
        layout = checked(root.held.get("yaml"))
    except ModelError as error:
        raise ModelError(f"{path}: {error}; it was not loaded") from error
    if head_of(layout) not in HEADS:
        raise ModelError(
            f"{path} is no instance segmentation model (its head is '{head_of(layout)}'); use weights named ...-seg"
        )
    names = _names(root.held.get("names"), path)
    try:
        network: Any = build_segmenter(layout, names, classes=int(layout.get("nc", len(names))))
        if head_of(layout).startswith("YOLOE"):
            _open_vocabulary(network, root, state, names)
        elif not any(".bn." in name for name in state):
            network.fuse(verbose=False)  # so was the file
        wanted = network.state_dict()
        if lacking := [name for name in wanted if name not in state and not any(part in name for part in UNUSED)]:
            raise ValueError(f"{lacking[0]} is not in it")
        network.load_state_dict({name: state.get(name, value) for name, value in wanted.items()}, strict=True)
    except Exception as error:  # a foreign library with a foreign file: whatever it trips over, the file is the reason
        why = " ".join(str(error).split())[:160] or type(error).__name__
        raise ModelError(f"{path}: this ultralytics builds no network that its weights fit ({why})") from error
    return network.float().eval()  # type: ignore[no-any-return]


def _state(root: Record, path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a record of a network, by the names that `state_dict` gives them."""
    found: dict[str, torch.Tensor] = {}
    waiting: list[tuple[str, object, int]] = [("", root, 0)]
    while waiting:
        prefix, one, depth = waiting.pop()
        if not isinstance(one, Record):
            continue
        if depth > DEEPEST:
            raise WeightsCorrupt(f"{path} holds modules within modules without end; fetch it again")
        for part in ("_parameters", "_buffers", "_modules"):
            inside = one.held.get(part)
            for name, value in dict.items(inside) if isinstance(inside, dict) else ():
                if isinstance(value, Stored):
                    found[f"{prefix}{name}"] = value.tensor
                else:
                    waiting.append((f"{prefix}{name}.", value, depth + 1))
    return found


def _names(held: object, path: Path) -> dict[int, str]:
    pairs = held.items() if type(held) is dict else enumerate(held) if isinstance(held, list | tuple) else ()
    try:
        names = {int(index): str(label) for index, label in pairs}
    except (TypeError, ValueError) as error:
        raise ModelError(f"{path}: its class names cannot be read; expected number and name of each") from error
    if not names:
        raise ModelError(f"{path} names no classes; expected YOLO -seg weights")
    return names


def _open_vocabulary(network: Any, root: Record, state: dict[str, torch.Tensor], names: dict[int, str]) -> None:
    """Make an open-vocabulary network what it was when it was saved: told its classes, or with a list of them built in."""
    network.eval()
    head, told = network.model[-1], root.held.get("pe")
    at = f"model.{len(network.model) - 1}."
    vocabulary = [state.get(f"{at}lrpc.{level}.vocab.weight") for level in range(head.nl)]
    fused = not any(name.startswith(f"{at}cv4.") and ".norm." in name for name in state)
    if isinstance(told, Stored):
        network.set_classes(list(names.values()) if vocabulary[0] is None else ["thing"], told.tensor.float())
    if fused:
        rows = state.get(f"{at}lrpc.0.pf.weight", state.get(f"{at}cv3.0.2.weight"))
        count = len(rows) if rows is not None else 1
        head.fuse(torch.zeros(1, count, head.embed))
    if vocabulary[0] is not None:
        network.args = {"imgsz": 64}
        layers = [nn.Conv2d(weight.shape[1], len(weight), 1) for weight in vocabulary if weight is not None]
        network.set_vocab(nn.ModuleList(layers), list(names.values()))
    network.names = names


def _ready(network: Any, path: Path) -> nn.Module:
    head = network.model[-1]
    if hasattr(head, "lrpc"):
        head.conf = 0.0  # of a prompt-free one: no place is left out beforehand, so that places keep their order
    elif type(network).__name__.startswith("YOLOE") and not hasattr(network, "pe") and not head.is_fused:
        raise ModelError(
            f"{path} is an open-vocabulary model that was not told what to look for; in Python: m = ultralytics.YOLOE(path); "
            "m.set_classes(names, m.get_text_pe(names)); m.save(new), then --model new; or use prompt-free ones (...-seg-pf.pt)"
        )
    network.eval().requires_grad_(False)
    if not network.is_fused():
        network.fuse(verbose=False)
    return network  # type: ignore[no-any-return]
