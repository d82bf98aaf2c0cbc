"""The detector: its geometry, its devices, its weights, and what it must not do behind our back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from synth import as_frames, texture

from vidrase.errors import ModelError, OptionError, WeightsCorrupt, WeightsMissing
from vidrase.options import ModelOptions
from vidrase.segment import load_segmenter
from vidrase.segment.checkpoint import load_network
from vidrase.segment.device import choose_device, choose_precision
from vidrase.segment.shapes import Grid, crop_of_logits
from vidrase.segment.yolo import YoloSegmenter, agreeing
from vidrase.torchvision_ops import import_torchvision, suppress
from vidrase.weights.embedded import build_segmenter, save_embedded


def quiet(text: str) -> None:
    raise AssertionError(text)


TINY = {
    "nc": 2,
    "scales": {"n": [0.33, 0.125, 64]},
    "scale": "n",
    "backbone": [
        [-1, 1, "Conv", [64, 3, 2]],
        [-1, 1, "Conv", [128, 3, 2]],
        [-1, 1, "Conv", [128, 3, 2]],
        [-1, 1, "Conv", [128, 3, 2]],
        [-1, 1, "Conv", [128, 3, 2]],
    ],
    "head": [[[2, 3, 4], 1, "Segment", ["nc", 8, 16]]],
}


@pytest.fixture(scope="module")
def tiny() -> torch.nn.Module:
    """A network of the right shape that has learned nothing."""
    torch.manual_seed(0)
    return build_segmenter(TINY, {0: "person", 1: "dog"}).eval()


def eager() -> torch.nn.Module:
    """Knows as little, but is sure of everything, so that something comes out."""
    torch.manual_seed(0)
    network = build_segmenter(TINY, {0: "person", 1: "dog"}).eval()
    head = network.model[-1]
    head.cv3[0][-1].bias.data += 12.0
    for branch in head.cv4:
        branch[-1].bias.data += 3.0
    head.proto.cv3.bn.bias.data += 3.0
    return network


def test_suppression_equals_its_definition() -> None:
    rng = np.random.default_rng(0)
    low = rng.random((60, 2), dtype=np.float32) * 50
    boxes = np.concatenate([low, low + 5 + 30 * rng.random((60, 2), dtype=np.float32)], 1)
    scores = rng.random(60, dtype=np.float32)
    torchvision = import_torchvision()
    theirs = torchvision.ops.nms(torch.from_numpy(boxes), torch.from_numpy(scores), 0.4).numpy()
    kept: list[int] = []
    for k in np.argsort(-scores):
        overlaps = (
            torchvision.ops.box_iou(torch.from_numpy(boxes[[k]]), torch.from_numpy(boxes[kept])) if kept else None
        )
        if overlaps is None or float(overlaps.max()) <= 0.4:
            kept.append(int(k))
    assert suppress(boxes, scores, 0.4).tolist() == kept == theirs.tolist()
    assert len(suppress(boxes[:0], scores[:0], 0.4)) == 0


def test_suppressed_duplicates_have_a_say() -> None:
    boxes = np.array([[0, 0, 10, 20], [0, 0, 11, 21], [0, 0, 10, 19], [50, 50, 60, 70]], np.float32)
    scores = np.array([0.9, 0.5, 0.2, 0.8], np.float32)
    assert agreeing(boxes, scores, 0).tolist() == [0, 1]  # 2 is too weak, 3 is another object


@pytest.mark.parametrize("size", [(480, 854), (1080, 1920), (640, 480), (97, 131), (32, 2000)])
def test_boxes_find_their_way_back_to_the_frame(size: tuple[int, int]) -> None:
    grid = Grid.fit(size, 640, 32)
    assert max(grid.canvas) == 640
    assert all(side % 32 == 0 for side in grid.canvas)
    assert all(shown <= side for shown, side in zip(grid.shown, grid.canvas, strict=True))
    top, left = grid.offset
    corners = np.array([[left, top, left + grid.shown[1], top + grid.shown[0]]], np.float32)
    assert np.allclose(grid.to_frame(corners), [[0, 0, size[1], size[0]]], atol=1e-2)


def test_masks_lie_where_the_logits_are() -> None:
    grid = Grid.fit((480, 854), 640, 32)
    inside = np.full((grid.canvas[0] // 4, grid.canvas[1] // 4), -8.0, np.float32)
    top, left = grid.offset
    # a box in the frame, drawn onto the prototypes by its definition
    x0, y0, x1, y1 = 200.0, 100.0, 400.0, 300.0
    sy, sx = grid.scale
    ys, xs = (np.arange(inside.shape[0]) + 0.5) * 4, (np.arange(inside.shape[1]) + 0.5) * 4
    rows = (ys > y0 * sy + top) & (ys < y1 * sy + top)
    columns = (xs > x0 * sx + left) & (xs < x1 * sx + left)
    inside[np.ix_(rows, columns)] = 8.0
    found = crop_of_logits(inside, np.array([x0, y0, x1, y1], np.float32), grid)
    assert found is not None
    crop, (y, x) = found
    assert abs(y - y0) <= 4
    assert abs(x - x0) <= 4
    assert abs(y + crop.shape[0] - y1) <= 4
    assert abs(x + crop.shape[1] - x1) <= 4
    assert crop.mean() > 0.99
    assert crop_of_logits(np.full_like(inside, -8.0), np.array([x0, y0, x1, y1], np.float32), grid) is None


def test_precisions_agree() -> None:
    frames = as_frames([texture(96, 160, seed) for seed in range(3)])
    results = []
    for dtype in (torch.float32, torch.bfloat16):
        segmenter = YoloSegmenter(
            eager(), description="tiny", conf=0.25, device=torch.device("cpu"), dtype=dtype, imgsz=160, note=quiet
        )
        results.append(segmenter(frames))
        one = [segmenter([frame])[0] for frame in frames]
        assert all(
            np.allclose(a.boxes, b.boxes, atol=3.0) for a, b in zip(one, results[-1], strict=True) if len(a) == len(b)
        )
    for a, b in zip(*results, strict=True):
        assert len(a) > 0
        assert len(b) > 0
        assert a.size == (96, 160)
        assert all(mask.any() for mask in a.masks)
        assert a.boxes.min() >= 0


def test_only_asked_classes_come_out() -> None:
    segmenter = YoloSegmenter(
        eager(), description="tiny", conf=0.25, device=torch.device("cpu"), dtype=torch.float32, imgsz=160
    )
    segmenter.only = frozenset({1})
    (found,) = segmenter(as_frames([texture(96, 160)]))
    assert set(found.labels) == {"dog"}


@pytest.mark.parametrize("offered", [frozenset(), frozenset({"person"})])
def test_what_fits_another_class_better_is_not_what_was_asked_for(offered: frozenset[str]) -> None:
    network = eager()
    for level in network.model[-1].cv3:
        level[-1].bias.data[0] = level[-1].bias.data[1] - 3.0  # sure enough of a person, but much surer of a dog
    segmenter = YoloSegmenter(
        network, description="t", conf=0.25, device=torch.device("cpu"), dtype=torch.float32, imgsz=160, offered=offered
    )
    assert set(segmenter.names.values()) == (offered or {"person", "dog"})
    segmenter.only = frozenset({0})
    assert len(segmenter(as_frames([texture(96, 160)]))[0]) == 0
    for level in network.model[-1].cv3:
        level[-1].bias.data[0] += 6.0
    assert len(segmenter(as_frames([texture(96, 160)]))[0])


def test_classes_that_are_confused_anyway_are_no_rivals() -> None:
    torch.manual_seed(0)
    network = build_segmenter(TINY, {0: "car", 1: "truck"}).eval()
    for level in network.model[-1].cv3:
        level[-1].bias.data[:] = torch.tensor([3.0, 6.0])
    for branch in network.model[-1].cv4:
        branch[-1].bias.data += 3.0
    network.model[-1].proto.cv3.bn.bias.data += 3.0
    segmenter = YoloSegmenter(
        network, description="t", conf=0.25, device=torch.device("cpu"), dtype=torch.float32, imgsz=160,
        offered=frozenset({"car"}),
    )  # fmt: skip
    assert "car" in segmenter(as_frames([texture(96, 160)]))[0].labels


def test_impossible_devices_and_precisions_get_one_line() -> None:
    for asked in ("cuda:99", "mps" if not torch.backends.mps.is_available() else "xla", "toaster"):
        with pytest.raises(OptionError, match="device") as caught:
            choose_device(asked)
        assert "\n" not in str(caught.value)
    with pytest.raises(OptionError, match="fp16 is not for a CPU"):
        choose_precision("fp16", torch.device("cpu"))
    assert choose_precision("fp32", torch.device("cpu")) == torch.float32
    assert choose_device("cpu").type == "cpu"


def test_safetensors_weights_run(tiny: torch.nn.Module, tmp_path: Path) -> None:
    save_embedded(tiny, tmp_path / "mine-seg.safetensors", {"conf": 0.4})
    options = ModelOptions(model=str(tmp_path / "mine-seg.safetensors"), device="cpu", precision="fp32", imgsz=160)
    segmenter = load_segmenter(options, note=quiet)
    assert segmenter.recommended_conf == 0.4
    assert segmenter.names == {0: "person", 1: "dog"}
    assert "mine-seg sha256:" in segmenter.description
    assert "cpu fp32" in segmenter.description
    assert len(segmenter(as_frames([texture(90, 120)] * 2))) == 2


def _detector() -> torch.nn.Module:
    from ultralytics.nn.tasks import DetectionModel

    layout = {**TINY, "head": [[[2, 3, 4], 1, "Detect", ["nc"]]]}
    return DetectionModel(layout, ch=3, nc=2, verbose=False)


def test_bad_weights_get_one_line_each(tiny: torch.nn.Module, tmp_path: Path) -> None:
    good = tmp_path / "good-seg.pt"
    torch.save({"model": tiny}, good)
    assert load_network(good).names == {0: "person", 1: "dog"}
    cut = tmp_path / "cut.pt"
    cut.write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    text = tmp_path / "text.pt"
    text.write_text("not weights")
    empty = tmp_path / "empty.safetensors"
    empty.write_bytes(b"")
    torch.save(tiny.state_dict(), tmp_path / "bare.pt")
    torch.save({"model": _detector()}, tmp_path / "boxes.pt")
    for name, error, message in (
        ("cut.pt", WeightsCorrupt, "damaged"),
        ("text.pt", WeightsCorrupt, "damaged"),
        ("empty.safetensors", WeightsCorrupt, "damaged"),
        ("bare.pt", ModelError, "holds no network"),
        ("boxes.pt", ModelError, "no instance segmentation model"),
        ("absent.pt", WeightsMissing, "no weights at"),
    ):
        with pytest.raises(error, match=message) as caught:
            load_network(tmp_path / name)
        assert "\n" not in str(caught.value)


class _Payload:
    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        import os

        return os.system, ("exit 7",)


def test_the_model_inside_offers_what_it_learnt_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VIDRASE_MODEL_DIR", raising=False)
    monkeypatch.setenv("VIDRASE_CACHE_DIR", str(tmp_path))
    said: list[str] = []
    found = load_segmenter(ModelOptions(device="cpu"), note=said.append)
    assert "person" in found.names.values()
    assert "giraffe" not in found.names.values()
    assert len(said) == 1
    assert "person" in said[0]
    assert "vidrase models pull" in said[0]
    load_segmenter(ModelOptions(device="cpu", model="vidrase-seg"), note=said.append)  # asked for: nothing to say
    assert len(said) == 1


def test_a_pickle_cannot_run_code(tmp_path: Path) -> None:
    torch.save({"model": _Payload()}, tmp_path / "evil.pt")
    with pytest.raises(ModelError, match="which is no part of a network"):
        load_network(tmp_path / "evil.pt")


def test_ultralytics_stays_quiet(tmp_path: Path) -> None:
    code = """
import os, socket, cv2, numpy, torch
def no(*a, **k): raise AssertionError("network")
socket.getaddrinfo = socket.create_connection = no
before = (dict(os.environ), cv2.getNumThreads(), torch.get_num_threads(), numpy.get_printoptions(), torch.save)
from vidrase.weights.quiet import import_ultralytics
import_ultralytics()
after = (dict(os.environ), cv2.getNumThreads(), torch.get_num_threads(), numpy.get_printoptions(), torch.save)
theirs = {"NUMEXPR_MAX_THREADS", "TF_CPP_MIN_LOG_LEVEL", "TORCH_CPP_LOG_LEVEL", "KINETO_LOG_LEVEL"}
assert {k: v for k, v in after[0].items() if k not in theirs} == before[0]
assert after[1:] == before[1:], (before[1:], after[1:])
from ultralytics.utils import AUTOINSTALL, ONLINE, SETTINGS, checks
from ultralytics.utils.events import events
assert not AUTOINSTALL and not ONLINE and not SETTINGS["sync"] and not events.enabled
import PIL.Image
assert PIL.Image.open.__module__ == "PIL.Image"
"""
    home = tmp_path / "home"
    home.mkdir()
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "VIDRASE_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert not list(home.rglob("*"))


@pytest.mark.weights
@pytest.mark.data
def test_persons_are_found(model_dir: Path, data_dir: Path) -> None:
    options = ModelOptions(model=str(model_dir / "yolov8n-seg.pt"), device="cpu")
    segmenter = load_segmenter(options, note=quiet)
    pictures = sorted((data_dir / "clips/davis/JPEGImages/hike").glob("*.jpg"))[:2]
    truth = sorted((data_dir / "clips/davis/Annotations/hike").glob("*.png"))[:2]
    frames = as_frames([cv2.imread(str(path))[..., ::-1].copy() for path in pictures])
    for found, path in zip(segmenter(frames), truth, strict=True):
        annotated = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 127
        best = found.where(np.array([label in ("person", "backpack") for label in found.labels]))
        union = np.logical_or.reduce([best.mask(k) for k in range(len(best))])
        assert (union & annotated).sum() > 0.95 * annotated.sum()
        assert (union & annotated).sum() > 0.7 * union.sum()  # masks are generous
