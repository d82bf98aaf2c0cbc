"""The shipped segmenter: what is written is what is read, damage is noticed, and no pickle is run."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from vidrase.errors import WeightsCorrupt  # noqa: E402
from vidrase.weights.embedded import (  # noqa: E402
    EMBEDDED,
    build_segmenter,
    load_embedded,
    read_card,
    save_embedded,
)

NAMES = {0: "person", 1: "dog", 2: "car"}
LAYOUT = {  # YOLOv8-seg, a sixteenth of the width
    "nc": 3,
    "scales": {"n": [0.33, 0.0625, 256]},
    "scale": "n",
    "backbone": [
        [-1, 1, "Conv", [64, 3, 2]],
        [-1, 1, "Conv", [128, 3, 2]],
        [-1, 3, "C2f", [128, True]],
        [-1, 1, "Conv", [256, 3, 2]],
        [-1, 6, "C2f", [256, True]],
        [-1, 1, "Conv", [512, 3, 2]],
        [-1, 6, "C2f", [512, True]],
        [-1, 1, "Conv", [1024, 3, 2]],
        [-1, 3, "C2f", [1024, True]],
        [-1, 1, "SPPF", [1024, 5]],
    ],
    "head": [
        [-1, 1, "nn.Upsample", ["None", 2, "nearest"]],
        [[-1, 6], 1, "Concat", [1]],
        [-1, 3, "C2f", [512]],
        [-1, 1, "nn.Upsample", ["None", 2, "nearest"]],
        [[-1, 4], 1, "Concat", [1]],
        [-1, 3, "C2f", [256]],
        [-1, 1, "Conv", [256, 3, 2]],
        [[-1, 12], 1, "Concat", [1]],
        [-1, 3, "C2f", [512]],
        [-1, 1, "Conv", [512, 3, 2]],
        [[-1, 9], 1, "Concat", [1]],
        [-1, 3, "C2f", [1024]],
        [[15, 18, 21], 1, "Segment", ["nc", 8, 64]],
    ],
}


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(3)
    network = build_segmenter(LAYOUT, NAMES)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # so that folding it matters
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    return network.eval()


@pytest.fixture
def saved(network: torch.nn.Module, tmp_path: Path) -> Path:
    path = tmp_path / "small.safetensors"
    save_embedded(network, path, {"offered": ["person"], "conf": 0.2, "steps": 7})
    return path


@pytest.mark.parametrize("fuse", [False, True])
def test_what_is_written_is_what_is_read(network: torch.nn.Module, saved: Path, fuse: bool) -> None:
    again = load_embedded(saved, fuse=fuse)
    pixels = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        (wanted, wanted_proto), _ = network(pixels)
        (given, given_proto), _ = again(pixels)
    assert not again.training
    assert torch.allclose(given_proto, wanted_proto, atol=0.02)  # fp16 on the way
    assert torch.allclose(given[:, 4:7], wanted[:, 4:7], atol=0.02)


def test_it_says_what_it_can_find(saved: Path) -> None:
    network = load_embedded(saved)
    assert network.names == NAMES
    assert network.offered == ("person",)
    assert network.conf == 0.2
    assert network.stride.tolist() == [8, 16, 32]
    assert read_card(saved)["steps"] == 7


def test_a_changed_byte_is_noticed(saved: Path) -> None:
    data = bytearray(saved.read_bytes())
    data[-5] ^= 1
    saved.write_bytes(data)
    with pytest.raises(WeightsCorrupt, match=r"^small\.safetensors is damaged: its sha256 is [^\n]*$"):
        load_embedded(saved)


def test_a_cut_file_without_digest_gets_one_line(saved: Path) -> None:
    saved.with_suffix(".json").unlink()
    saved.write_bytes(saved.read_bytes()[:5000])
    with pytest.raises(WeightsCorrupt, match=r"^small\.safetensors is not a vidrase segmenter[^\n]*$"):
        load_embedded(saved)


def test_a_pickle_is_not_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "boom",)  # type: ignore[return-value]

    path = tmp_path / "small.safetensors"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(WeightsCorrupt):
        load_embedded(path)
    assert not (tmp_path / "boom").exists()


def test_weights_that_do_not_fit_the_layout(network: torch.nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "small.safetensors"
    layout = network.yaml
    wider = [*layout["backbone"][:1], [-1, 1, "Conv", [256, 3, 2]], *layout["backbone"][2:]]
    try:
        network.yaml = {**layout, "backbone": wider}
        save_embedded(network, path, {})
    finally:
        network.yaml = layout
    with pytest.raises(WeightsCorrupt, match="do not fit"):
        load_embedded(path)


@pytest.mark.skipif(not EMBEDDED.exists(), reason="no weights in this checkout")
def test_the_shipped_weights_are_whole() -> None:
    network = load_embedded()
    assert "person" in network.offered
    assert set(network.offered) <= set(network.names.values())
    assert EMBEDDED.stat().st_size <= 8_000_000
    assert json.loads(EMBEDDED.with_suffix(".json").read_text())["bytes"] == EMBEDDED.stat().st_size
