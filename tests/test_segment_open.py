"""Open-vocabulary weights (YOLOE): with classes fixed, without a list of them, and without any."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from vidrase.errors import ModelError  # noqa: E402
from vidrase.segment.checkpoint import load_network  # noqa: E402
from vidrase.segment.yolo import _raw  # noqa: E402
from vidrase.weights.quiet import import_ultralytics  # noqa: E402

import_ultralytics()
from ultralytics.nn.tasks import YOLOESegModel  # noqa: E402


def _embeddings(count: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(1, count, 512), dim=-1)


@pytest.fixture(scope="module")
def unprompted() -> torch.nn.Module:
    torch.manual_seed(0)
    network = YOLOESegModel("yoloe-v8n-seg.yaml", verbose=False).eval()
    network.args = {"imgsz": 64}
    return network


def _shapes(path: Path) -> list[int]:
    network = load_network(path)
    network.model[-1].training = True
    raw = _raw(network(torch.rand(2, 3, 64, 96)))
    assert raw.boxes.shape[2] == raw.coefficients.shape[2] == 8 * 12 + 4 * 6 + 2 * 3
    return list(raw.scores.shape)


def test_classes_that_were_fixed(unprompted: torch.nn.Module, tmp_path: Path) -> None:
    fixed = copy.deepcopy(unprompted)
    fixed.set_classes(["mug", "lamp"], _embeddings(2))
    torch.save({"model": fixed}, tmp_path / "mug-seg.pt")
    assert load_network(tmp_path / "mug-seg.pt").names == {0: "mug", 1: "lamp"}
    assert _shapes(tmp_path / "mug-seg.pt") == [2, 2, 126]


def test_prompt_free(unprompted: torch.nn.Module, tmp_path: Path) -> None:
    prompted = copy.deepcopy(unprompted)
    prompted.set_classes(["a", "b", "c"], _embeddings(3))
    prompted.model[-1].fuse(prompted.pe)
    free, embedding = copy.deepcopy(unprompted), _embeddings(1)
    free.set_classes(["thing"], embedding)
    free.model[-1].fuse(embedding)
    free.set_vocab(torch.nn.ModuleList(level[-1] for level in prompted.model[-1].cv3), ["mug", "lamp", "sofa"])
    torch.save({"model": free}, tmp_path / "free-seg-pf.pt")
    assert load_network(tmp_path / "free-seg-pf.pt").names == {0: "mug", 1: "lamp", 2: "sofa"}
    assert _shapes(tmp_path / "free-seg-pf.pt") == [2, 3, 126]


def test_a_network_without_classes_is_refused(unprompted: torch.nn.Module, tmp_path: Path) -> None:
    torch.save({"model": unprompted}, tmp_path / "raw-seg.pt")
    with pytest.raises(ModelError, match="not told what to look for"):
        load_network(tmp_path / "raw-seg.pt")


class _Grab:
    def __reduce__(self) -> tuple[object, tuple[object, str]]:
        return getattr, (torch.nn.Linear, "__init__")


def test_attributes_other_than_ways_forward_stay_shut(tmp_path: Path) -> None:
    torch.save({"model": _Grab()}, tmp_path / "grab.pt")
    with pytest.raises(ModelError):
        load_network(tmp_path / "grab.pt")
