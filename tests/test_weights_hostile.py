"""Weights files made to run code or to trip the reader: each gets one line, and nothing that they name is called."""

from __future__ import annotations

import json
import os
import pickle
import resource
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402
from test_weights_embedded import LAYOUT  # noqa: E402

from vidrase.cli.main import main  # noqa: E402
from vidrase.errors import ModelError, WeightsCorrupt  # noqa: E402
from vidrase.options import ModelOptions  # noqa: E402
from vidrase.pickled import read_pickled, read_tensors  # noqa: E402
from vidrase.segment import load_segmenter  # noqa: E402
from vidrase.segment.checkpoint import load_network  # noqa: E402
from vidrase.weights.embedded import build_segmenter  # noqa: E402
from vidrase.weights.layout import checked  # noqa: E402


class _Calls:
    """Pickled, it asks for a call."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self._call


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """Exists once code of a file has run."""
    return tmp_path / "canary"


@pytest.fixture
def network() -> Any:
    torch.manual_seed(1)
    return build_segmenter(LAYOUT, {0: "person", 1: "dog", 2: "car"}).eval()


def _refused(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_network(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def _touch(canary: Path) -> str:
    return f"__import__('os').system('touch {canary}')"


def test_calls_of_a_pickle_are_not_made(tmp_path: Path, canary: Path, network: Any) -> None:
    command = f"touch {canary}"
    for index, call in enumerate(
        (
            _Calls(os.system, command),
            _Calls(eval, _touch(canary)),
            _Calls(exec, _touch(canary)),
            _Calls(torch.hub.load, str(tmp_path), "x"),
            _Calls(torch.jit.load, str(tmp_path / "x.pt")),
            _Calls(Path.touch, canary),
            _Calls(pickle.loads, pickle.dumps(_Calls(os.system, command))),
        )
    ):
        for held in (call, {"model": call}, {"model": network, "train_args": call}):
            path = tmp_path / f"{index}.pt"
            torch.save(held, path)
            _refused(path)
    assert not canary.exists()


def test_classes_of_networks_are_not_called_either(tmp_path: Path, canary: Path) -> None:
    from ultralytics.nn.tasks import SegmentationModel

    layout = {**LAYOUT, "activation": _touch(canary)}
    torch.save({"model": _Calls(SegmentationModel, layout)}, tmp_path / "call.pt")
    _refused(tmp_path / "call.pt")
    assert not canary.exists()


@pytest.mark.parametrize(
    "activation",
    [
        "__import__('os').system('touch {}')",
        "nn.SiLU() if not __import__('os').system('touch {}') else 0",
        "torch.nn.SiLU(__import__('os').system('touch {}'))",
        "nn.Module()",
        "nn.SiLU().__class__",
        7,
    ],
)
def test_activations_are_not_evaluated(tmp_path: Path, canary: Path, network: Any, activation: object) -> None:
    network.yaml["activation"] = activation.format(canary) if isinstance(activation, str) else activation
    torch.save({"model": network}, tmp_path / "evil.pt")
    assert "activation" in _refused(tmp_path / "evil.pt")
    card = {"kind": "yolo-segment", "layout": network.yaml, "names": {"0": "person"}}
    save_file({"x": torch.zeros(1)}, str(tmp_path / "evil.safetensors"), metadata={"vidrase": json.dumps(card)})
    with pytest.raises(ModelError, match="activation"):
        load_network(tmp_path / "evil.safetensors")
    assert not canary.exists()


@pytest.mark.parametrize(
    "layer",
    [
        [-1, 1, "nn.Module", []],
        [-1, 1, "nn.init", []],
        [-1, 1, "exec", ["import os"]],
        [-1, 1, "eval", []],
        [-1, 1, "__import__", ["os"]],
        [-1, 1, "torchvision.ops.misc", []],
        [-1, 1, "TorchVision", [64, "resnet18", "DEFAULT"]],
        [-1, 1, "torch", []],
        [-1, 1, "Conv", ["__import__('os').system('x')"]],
        [-1, 1, "Conv", [10**9, 3]],
        [-1, 1, "Conv", [float("nan"), 3]],
        [-1, 10**9, "Conv", [64, 3]],
        [10**9, 1, "Conv", [64, 3]],
        [-1, 1, ["Conv"], [64]],
        "Conv",
        None,
    ],
)
def test_layers_come_from_a_list(tmp_path: Path, network: Any, layer: object) -> None:
    network.yaml["backbone"] = [layer, *network.yaml["backbone"][1:]]
    torch.save({"model": network}, tmp_path / "evil.pt")
    _refused(tmp_path / "evil.pt")


@pytest.mark.parametrize(
    "change",
    [
        {"backbone": None},
        {"head": []},
        {"scales": {"n": ["a", "b", "c"]}},
        {"scale": "z"},
        {"nc": "3"},
        {"nc": 0},
        {"width_multiple": float("inf"), "scales": None},
        {"head": [[-1, 1, "Segment", ["nc", 8, 64]]]},
    ],
)
def test_layouts_that_cannot_be_built(tmp_path: Path, network: Any, change: dict[str, object]) -> None:
    network.yaml.update(change)
    torch.save({"model": network}, tmp_path / "odd.pt")
    _refused(tmp_path / "odd.pt")


def test_a_layout_keeps_what_a_network_is_built_from_and_nothing_else() -> None:
    kept = checked({**LAYOUT, "activation": "torch.nn.LeakyReLU(0.1)", "text_model": "http://there", "yaml_file": "x"})
    assert kept == {**LAYOUT, "activation": "torch.nn.LeakyReLU(0.1)"}


def test_odd_files_get_one_line(tmp_path: Path, network: Any) -> None:
    good = tmp_path / "good.pt"
    torch.save({"model": network}, good)
    whole = load_network(good)
    assert whole.names == network.names
    network.names = None
    torch.save({"model": network}, tmp_path / "nameless.pt")
    _refused(tmp_path / "nameless.pt")
    del network.yaml
    torch.save({"model": network}, tmp_path / "formless.pt")
    _refused(tmp_path / "formless.pt")
    for held in (None, [], 3, {"model": 1}, {"model": torch.zeros(3)}, {"ema": [], "model": "x"}):
        torch.save(held, tmp_path / "none.pt")
        _refused(tmp_path / "none.pt")
    loop = torch.nn.Module()
    loop._modules["again"] = loop
    torch.save({"model": loop}, tmp_path / "loop.pt")
    _refused(tmp_path / "loop.pt")


def _repacked(source: Path, to: Path, change: Callable[[str, bytes], bytes | None], *, packed: bool = False) -> Path:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED if packed else 0) as new:
        for name in old.namelist():
            data = change(name, old.read(name))
            if data is not None:
                new.writestr(name, data)
    return to


def test_damage_inside_the_zip_gets_one_line(tmp_path: Path) -> None:
    good = tmp_path / "good.pt"
    torch.save(
        {"model": OrderedDict(a=torch.arange(6.0).reshape(2, 3), b=torch.nn.Parameter(torch.ones(2).half()))}, good
    )
    state = read_tensors(good)
    assert state is not None
    assert torch.equal(state["a"], torch.arange(6.0).reshape(2, 3))
    assert state["b"].dtype == torch.float16
    bad = tmp_path / "bad.pt"

    def fails(change: Callable[[str, bytes], bytes | None], *, packed: bool = False) -> None:
        with pytest.raises(WeightsCorrupt) as caught:
            read_pickled(_repacked(good, bad, change, packed=packed))
        assert "\n" not in str(caught.value)

    fails(lambda name, data: data[:-1] if "/data/" in name else data)
    fails(lambda name, data: None if "/data/" in name else data)
    fails(lambda name, data: None if name.endswith("data.pkl") else data)
    fails(lambda name, data: data[: len(data) // 2] if name.endswith("data.pkl") else data)
    fails(lambda name, data: b"\x80\x05\x96" + bytes([0, 0, 0, 0, 4, 0, 0, 0]) if name.endswith("data.pkl") else data)
    fails(lambda name, data: b"big" if name.endswith("byteorder") else data)
    fails(lambda name, data: data, packed=True)
    fails(lambda name, data: b"\x80\x02}q\x00(X\x01\x00\x00\x00aU" if name.endswith("data.pkl") else data)


def test_a_few_bytes_do_not_ask_for_gigabytes(tmp_path: Path) -> None:
    torch.save([], tmp_path / "good.pt")
    far = b"\x80\x02]r\xff\xff\xff\x0f."  # a list under number 268 million of the memo: 4 GB in the unpickler in C
    bad = _repacked(
        tmp_path / "good.pt", tmp_path / "bad.pt", lambda name, data: far if name.endswith("data.pkl") else data
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert read_pickled(bad) == []
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


def test_tensors_stay_within_their_storage(tmp_path: Path) -> None:
    rebuild = torch._utils._rebuild_tensor_v2
    storage = torch.zeros(4).untyped_storage()
    typed = torch.storage.TypedStorage(wrap_storage=storage, dtype=torch.float32, _internal=True)
    for offset, size, stride in (
        (3, (2,), (1,)),
        (0, (10**9,), (0,)),
        (-1, (1,), (1,)),
        (0, (4,), (-1,)),
        (0, (2, 2), (1,)),
    ):
        torch.save({"a": _Calls(rebuild, typed, offset, size, stride, False, OrderedDict())}, tmp_path / "far.pt")
        with pytest.raises(WeightsCorrupt):
            read_tensors(tmp_path / "far.pt")


@pytest.mark.weights
def test_real_weights_give_the_same_maps_as_ultralytics_own_loading(model_dir: Path) -> None:
    path = model_dir / "yolov8n-seg.pt"
    theirs: Any = torch.load(path, map_location="cpu", weights_only=False)["model"].float().eval()
    for module in theirs.modules():
        if isinstance(module, torch.nn.Upsample):
            module.recompute_scale_factor = None
    ours: Any = load_network(path)
    assert ours.names == theirs.names
    pixels = torch.rand(1, 3, 96, 128)
    theirs.model[-1].training = ours.model[-1].training = True
    with torch.no_grad():
        wanted, given = theirs.fuse(verbose=False)(pixels), ours(pixels)
    for name in ("boxes", "scores", "mask_coefficient", "proto"):
        assert torch.equal(wanted[name], given[name])
    assert load_segmenter(ModelOptions(model=str(path), device="cpu"), note=print).names[0] == "person"


def test_the_command_line_gives_one_line(tmp_path: Path, canary: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import cv2
    import numpy as np

    cv2.imwrite(str(tmp_path / "in.png"), np.zeros((64, 64, 3), np.uint8))
    torch.save({"model": _Calls(os.system, f"touch {canary}")}, tmp_path / "evil.pt")
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path / "in.png"), "--remove", "person", "--model", str(tmp_path / "evil.pt")])
    assert ended.value.code in (1, 2)
    said = capsys.readouterr().err.strip()
    assert "which is no part of a network" in said
    assert "\n" not in said
    assert not canary.exists()
    assert not (tmp_path / "in_erased.png").exists()
