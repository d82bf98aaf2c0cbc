"""The segmenter that comes inside the package: read and written without pickle, checked by its digest.

A file is a safetensors archive whose metadata holds, as JSON, the network's layout (the dictionary that ultralytics
builds from), the class names and what the model card says about them. Beside it lies `NAME.json` with the digest.
Convolutions are kept in fp16; normalisation in fp32, where fp16 would clip the variances.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vidrase.errors import WeightsCorrupt
from vidrase.weights import EMBEDDED
from vidrase.weights.layout import checked, head_of
from vidrase.weights.quiet import import_ultralytics

_KEY = "vidrase"  # the one metadata entry, JSON
_KIND = "yolo-segment"
SHRINK = (
    4  # of the picture with which a network measures its strides while it is built; twice its largest stride is left
)


__all__ = ["EMBEDDED", "build_segmenter", "load_embedded", "read_card", "save_embedded"]


def build_segmenter(layout: Mapping[str, Any], names: Mapping[int, str], *, classes: int | None = None) -> nn.Module:
    """A randomly initialised ultralytics network from its layout dictionary; input float [B,3,H,W] in [0,1].

    classes: of the head, where they are not as many as `names` (open-vocabulary networks).
    Raises ModelError for a layout that asks for more than layers (see `layout`).
    """
    import_ultralytics()
    safe = checked(layout)
    from ultralytics.nn import modules, tasks

    kind = tasks.YOLOESegModel if head_of(safe).startswith("YOLOE") else tasks.SegmentationModel
    activation = (
        modules.Conv.default_act
    )  # of the whole process: a layout with another one changes it, for good when it fails
    try:
        network: Any = _quick_to_build(kind)(safe, ch=3, nc=len(names) if classes is None else classes, verbose=False)
    finally:
        modules.Conv.default_act = activation
    network.__class__ = kind
    network.names = dict(names)
    network.task = "segment"
    network.args = SimpleNamespace()
    return network  # type: ignore[no-any-return]


def _quick_to_build(kind: Any) -> Any:
    """`kind`, which runs a picture of 256 px through itself while it is built, only to learn the strides of its maps.

    Here it is one of 64 px, without oneDNN, which compiles a kernel for every layer: .1 instead of 2 s of a processor's time.
    """

    def forward(self: Any, x: Tensor, *rest: Any, **more: Any) -> Any:
        small = x[..., : x.shape[-2] // SHRINK, : x.shape[-1] // SHRINK]
        onednn: Any = torch.backends.mkldnn
        enabled = onednn.enabled
        onednn.enabled = False  # `mkldnn.flags` would set TF32 too, and PyTorch warns of that
        try:
            with torch.inference_mode():
                out = kind.forward(self, small, *rest, **more)
        finally:
            onednn.enabled = enabled
        maps = out.get("one2many", out) if isinstance(out, dict) else {}
        if "feats" not in maps:  # of another ultralytics
            return kind.forward(self, x, *rest, **more)
        maps["feats"] = [torch.empty(1, 1, SHRINK * one.shape[-2], SHRINK * one.shape[-1]) for one in maps["feats"]]
        return out

    return type(kind.__name__, (kind,), {"forward": forward})


def load_embedded(path: Path | None = None, *, fuse: bool = True) -> nn.Module:
    """The shipped segmenter (or another of its kind at `path`) in eval mode, fp32, on the processor.

    Has `.names` {index: label}, `.stride` Tensor[3], `.offered` (labels good enough to ask for), `.conf` (the
    confidence recommended for removing things) and `.card` (all the metadata). `fuse` folds the normalisation into the
    convolutions, which is faster but cannot be trained on.
    """
    path = EMBEDDED if path is None else Path(path)
    _check_digest(path, required=path == EMBEDDED)
    card, tensors = _read(path)
    try:
        names = {int(index): str(label) for index, label in card["names"].items()}
        network: Any = build_segmenter(card["layout"], names)
        network.load_state_dict(tensors, strict=True)
    except (KeyError, AttributeError, RuntimeError, ValueError, TypeError, LookupError) as error:
        reason = str(error).splitlines()[0]
        raise WeightsCorrupt(f"{path.name}: weights and layout do not fit ({reason}); fetch the file again") from error
    network.card = card
    network.offered = tuple(card.get("offered", names.values()))
    network.conf = float(card.get("conf", 0.25))
    network.eval().requires_grad_(False)
    if fuse:
        network.fuse(verbose=False)
    return network  # type: ignore[no-any-return]


def save_embedded(network: nn.Module, path: Path, metadata: Mapping[str, Any]) -> str:
    """Write an unfused network and its metadata to `path` and the digest to `path` with suffix .json; returns the digest.

    `metadata` may hold `offered`, `conf` and whatever the model card wants to keep; it has to be JSON. Both files
    appear whole or not at all.
    """
    path = Path(path)
    described: Any = network
    layout, names = described.yaml, described.names
    tensors: dict[str, Tensor] = {}
    for name, value in network.state_dict().items():
        keep = ".bn." in name or not value.is_floating_point()
        tensors[name] = (value if keep else value.half()).detach().cpu().contiguous()
    card = {
        **metadata,
        "kind": _KIND,
        "layout": dict(layout),
        "names": {str(index): label for index, label in names.items()},
    }
    part = path.with_name(path.name + ".part")
    save_file(tensors, str(part), metadata={_KEY: json.dumps(card)})
    part.chmod(0o644)  # safetensors makes it readable by its owner alone
    digest = _digest(part)
    record = {"file": path.name, "sha256": digest, "bytes": part.stat().st_size}
    note = path.with_suffix(".json.part")
    note.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    part.replace(path)
    note.replace(path.with_suffix(".json"))
    return digest


def read_card(path: Path | None = None) -> dict[str, Any]:
    """Only the metadata of a weights file: layout, names, offered, conf, recipe. Reads no tensor."""
    return _read(EMBEDDED if path is None else Path(path), tensors=False)[0]


def _read(path: Path, *, tensors: bool = True) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(str(path), framework="pt", device="cpu") as archive:
            card = json.loads((archive.metadata() or {})[_KEY])
            if card.get("kind") != _KIND:
                raise KeyError("kind")
            found = {name: archive.get_tensor(name) for name in archive.keys()} if tensors else {}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise WeightsCorrupt(
            f"{path.name} is not a vidrase segmenter, or it is damaged; fetch the file again"
        ) from error
    return card, {name: value.float() if value.is_floating_point() else value for name, value in found.items()}


def _check_digest(path: Path, *, required: bool) -> None:
    note = path.with_suffix(".json")
    try:
        wanted = json.loads(note.read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        if not required and not note.exists():
            return  # a file of one's own: no pickle in it, so nothing worse than a wrong answer can come of it
        raise WeightsCorrupt(f"{note.name}, the digest of {path.name}, is missing or unreadable") from error
    try:
        found = _digest(path)
    except OSError as error:
        raise WeightsCorrupt(f"{path.name} cannot be read ({error.strerror}); install vidrase again") from error
    if found != wanted:
        raise WeightsCorrupt(
            f"{path.name} is damaged: its sha256 is {found[:12]}…, expected {wanted[:12]}…; fetch the file again"
        )


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
