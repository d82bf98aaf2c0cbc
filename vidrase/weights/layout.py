"""Layouts of networks (the dictionary that ultralytics builds from), checked before they are built.

ultralytics evaluates a layout's activation as Python in some versions, and looks its modules up by name in all of them. So both
must be in a list, and arguments are numbers and plain words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from vidrase.errors import ModelError

HEADS = frozenset({"Segment", "Segment26", "YOLOESegment", "YOLOESegment26"})
OTHER_HEADS = frozenset(
    {"Detect", "v10Detect", "Pose", "Pose26", "OBB", "OBB26", "Classify", "WorldDetect", "YOLOEDetect"}
)
MODULES = HEADS | frozenset(
    (
        "Conv DWConv Conv2 ConvTranspose GhostConv Focus Concat Bottleneck BottleneckCSP GhostBottleneck SPP SPPF C1 C2 C2f C3 "
        "C3x C3k2 C3Ghost C3TR RepC3 C2fCIB C2PSA C2fPSA PSA SCDown A2C2f ADown AConv ELAN1 RepNCSPELAN4 SPPELAN CBLinear "
        "CBFuse HGStem HGBlock ResNetLayer Silence Index nn.Upsample nn.Identity nn.MaxPool2d nn.ZeroPad2d nn.ConvTranspose2d "
        "nn.Conv2d nn.BatchNorm2d"
    ).split()
)
_ACTIVATION = re.compile(
    r"(torch\.)?nn\.(SiLU|ReLU|ReLU6|LeakyReLU|ELU|GELU|Mish|Hardswish|Hardsigmoid|Sigmoid|Tanh|Softplus|SELU|CELU|PReLU|Identity)"
    r"\((inplace=(True|False)|(negative_slope=)?\d{0,3}(\.\d{1,6})?)?\)"
)
_WORD = re.compile(r"[A-Za-z_]{1,20}")
MOST_LAYERS, MOST_REPEATS, LARGEST = 500, 100, 16384


def checked(layout: object) -> dict[str, Any]:
    """A copy of what a network is built from, and of nothing else in `layout`. Raises ModelError for what is not in the lists."""
    if not isinstance(layout, Mapping):
        raise ModelError(f"a network's layout is a dictionary, got {type(layout).__name__}")
    kept: dict[str, Any] = {}
    for part in ("backbone", "head"):
        rows = layout.get(part)
        if not isinstance(rows, list | tuple) or len(rows) > MOST_LAYERS:
            raise ModelError(f"the layout has no '{part}' of up to {MOST_LAYERS} layers")
        kept[part] = [_row(row) for row in rows]
    if not kept["backbone"] or not kept["head"]:
        raise ModelError("the layout has no layers")
    for name in ("nc", "depth_multiple", "width_multiple", "ch", "channels", "reg_max"):
        if name in layout:
            kept[name] = _number(layout[name], name, 1_000_000)
    for name in ("end2end", "inplace"):
        if isinstance(layout.get(name), bool):
            kept[name] = layout[name]
    if isinstance(scales := layout.get("scales"), Mapping):
        kept["scales"] = {
            _word(key): [_number(value, "scales", LARGEST) for value in values] for key, values in scales.items()
        }
    if layout.get("scale"):
        kept["scale"] = _word(layout["scale"])
    if activation := layout.get("activation"):
        if not isinstance(activation, str) or not _ACTIVATION.fullmatch(activation):
            raise ModelError(
                f"the layout's activation {_short(activation)} is not one of torch.nn's that are known here"
            )
        kept["activation"] = activation
    return kept


def head_of(layout: Mapping[str, Any]) -> str:
    """Name of the last module of a layout as `checked` gives it."""
    return str(layout["head"][-1][2])


def _row(row: object) -> list[Any]:
    if not isinstance(row, list | tuple) or len(row) != 4:
        raise ModelError(f"a layer of the layout is [from, repeats, module, arguments], got {_short(row)}")
    origin, repeats, module, arguments = row
    if not isinstance(module, str) or module not in MODULES | OTHER_HEADS:
        raise ModelError(
            f"the layout names the module {_short(module)}, which is no layer of a YOLO network known here"
        )
    if not isinstance(arguments, list | tuple):
        raise ModelError(f"the arguments of {module} are a list, got {_short(arguments)}")
    places = [
        _number(place, "from", MOST_LAYERS) for place in (origin if isinstance(origin, list | tuple) else [origin])
    ]
    return [
        places if isinstance(origin, list | tuple) else places[0],
        _number(repeats, "repeats", MOST_REPEATS),
        str(module),
        [_argument(value) for value in arguments],
    ]


def _argument(value: object) -> Any:
    if isinstance(value, list | tuple):
        return [_argument(one) for one in value]
    if value is None or isinstance(value, bool):
        return value
    return _word(value) if isinstance(value, str) else _number(value, "an argument", LARGEST)


def _number(value: object, name: str, most: int) -> int | float:
    if isinstance(value, int | float) and abs(value) <= most:  # not true of nan
        return value
    raise ModelError(f"the layout has {_short(value)} for {name}; expected a number up to {most}")


def _word(value: object) -> str:
    if isinstance(value, str) and _WORD.fullmatch(value):
        return value
    raise ModelError(f"the layout has {_short(value)}, expected a word")


def _short(value: object) -> str:
    text = str(value) if isinstance(value, str | int | float | list | tuple) else type(value).__name__
    return f"'{' '.join(text.split())[:80]}'"
