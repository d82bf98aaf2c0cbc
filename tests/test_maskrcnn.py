"""Mask R-CNN with weights that learned nothing: its pooling, its way in and out, its files. Real weights are not tested here."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from clips import write_clip
from synth import as_frames, texture
from torch import nn

from vidrase.cli import main as cli
from vidrase.errors import ModelError, OptionError, WeightsCorrupt, WeightsMissing
from vidrase.frames import Instances
from vidrase.options import ModelOptions, options_from
from vidrase.segment import load_segmenter
from vidrase.segment.maskrcnn import PUBLISHED, MaskRcnnSegmenter, build, coco_classes, load_network, paste
from vidrase.torchvision_ops import import_torchvision, pooled


def quiet(text: str) -> None:
    raise AssertionError(text)


def test_pooling_by_hand() -> None:
    ramp = torch.arange(16.0).view(1, 1, 4, 4)  # 4 y + x
    # one bin over the whole map, samples at .5, .5 + 1 ...: unaligned samples of a 2 x 2 box at (0, 0) lie at .5 and 1.5
    one = pooled(ramp, torch.tensor([[0.0, 0, 0, 2, 2]]), 1.0, 1, 1, 2, False)
    assert one.flatten().tolist() == [4 * 1.0 + 1.0]
    # aligned, the same box is half a pixel further up and left: samples at 0 and 1
    assert pooled(ramp, torch.tensor([[0.0, 0, 0, 2, 2]]), 1.0, 1, 1, 2, True).flatten().tolist() == [2.5]
    # two bins a side of a box of 4 px at half scale
    four = pooled(ramp, torch.tensor([[0.0, 2, 2, 6, 6]]), 0.5, 2, 2, 1, False)
    assert four[0, 0].tolist() == [[4 * 1.5 + 1.5, 4 * 1.5 + 2.5], [4 * 2.5 + 1.5, 4 * 2.5 + 2.5]]
    # more than a pixel outside there is nothing, up to a pixel the border goes on
    assert pooled(ramp, torch.tensor([[0.0, 10, 10, 12, 12]]), 1.0, 1, 1, 2, False).item() == 0
    assert pooled(ramp, torch.tensor([[0.0, 3.2, 3.2, 4.2, 4.2]]), 1.0, 1, 1, 1, False).item() == 15


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("samples", [2, 3, 0])
def test_pooling_equals_torchvisions_own(samples: int, aligned: bool) -> None:
    import_torchvision()
    reference = vars(importlib.import_module("torchvision.ops.roi_align"))["_roi_align"].__wrapped__  # not compiled
    maps = torch.randn(2, 5, 13, 17, generator=torch.Generator().manual_seed(0))
    low = torch.rand(40, 2, generator=torch.Generator().manual_seed(1)) * 30
    size = (
        torch.rand(40, 2, generator=torch.Generator().manual_seed(2)) * 20 + 0.1
    )  # inside: theirs in Python knows no outside
    rois = torch.cat([torch.arange(40)[:, None] % 2, low, low + size], 1).float()
    wanted = reference(maps, rois, 0.25, 7, 5, samples, aligned)
    assert torch.allclose(pooled(maps, rois, 0.25, 7, 5, samples, aligned), wanted, atol=1e-5)
    assert pooled(maps, rois[:0], 0.25, 7, 5, samples, aligned).shape == (0, 5, 7, 5)


def test_pooling_is_bilinear_sampling() -> None:
    maps = torch.randn(1, 3, 20, 30, generator=torch.Generator().manual_seed(3))
    x0, y0, side = 4.3, 5.1, 9.0
    place = torch.arange(6) / 6 * side + side / 12
    y, x = torch.meshgrid(y0 + place, x0 + place, indexing="ij")
    grid = torch.stack([x / 29 * 2 - 1, y / 19 * 2 - 1], -1)[None]
    sampled = nn.functional.grid_sample(maps, grid, align_corners=True)
    wanted = nn.functional.avg_pool2d(sampled, 2)
    import_torchvision()
    from torchvision.ops import roi_align  # through its guards, as the network calls it

    boxes = torch.tensor([[0.0, x0, y0, x0 + side, y0 + side]])
    assert torch.allclose(roi_align(maps, boxes, (3, 3), 1.0, 2, False), wanted, atol=1e-5)


def test_classes_are_those_of_yolo() -> None:
    import ultralytics

    listed = Path(ultralytics.__file__).parent / "cfg" / "datasets" / "coco.yaml"
    names = yaml.safe_load(listed.read_text(encoding="utf-8"))["names"]
    classes = coco_classes()
    assert dict(classes.values()) == names
    assert classes[1] == (0, "person")
    assert classes[13] == (11, "stop sign")
    assert 12 not in classes
    assert classes[90] == (79, "toothbrush")


@pytest.fixture(scope="module", params=["v1", "v2"])
def network(request: pytest.FixtureRequest) -> nn.Module:
    """Has learned nothing, but takes much for a person or a toothbrush."""
    torch.manual_seed(0)
    network = build(new=request.param == "v2")
    network.rpn._post_nms_top_n["testing"] = 40  # type: ignore[union-attr, index, operator]  # of 1000: for time's sake
    heads = network.roi_heads
    heads.detections_per_img = 10  # type: ignore[union-attr, assignment]  # of 100
    heads.box_predictor.cls_score.bias.data[[1, 90]] += 7.0  # type: ignore[union-attr, index]
    heads.mask_predictor.mask_fcn_logits.bias.data += 1.0  # type: ignore[union-attr, operator]
    return network.eval()


def _run(network: nn.Module, **more: frozenset[int]) -> list[Instances]:
    segmenter = MaskRcnnSegmenter(network, description="random", conf=0.3, device=torch.device("cpu"), imgsz=96)
    segmenter.only = more.get("only")
    assert len(segmenter.names) == 80
    return segmenter(as_frames([texture(90, 140, 0), texture(90, 140, 1)]))


def test_it_keeps_the_contract_of_a_segmenter(network: nn.Module) -> None:
    found = _run(network)
    assert len(found) == 2
    for one in found:
        assert one.size == (90, 140)
        assert len(one) > 0
        assert {"person", "toothbrush"} & set(one.labels)
        assert not one.ids.any()
        assert (np.diff(one.scores) <= 0).all()
        assert one.scores.min() >= 0.4 * 0.3
        assert (one.boxes >= 0).all()
        assert (one.boxes <= (140, 90, 140, 90)).all()
        for k, box in enumerate(one.boxes):
            full = one.mask(k)
            assert full.shape == (90, 140)
            rows, columns = np.flatnonzero(full.any(1)), np.flatnonzero(full.any(0))
            assert len(rows)
            assert columns[0] >= box[0] - 1
            assert rows[0] >= box[1] - 1
            assert columns[-1] <= box[2]
            assert rows[-1] <= box[3]
    (first, _) = _run(network, only=frozenset({79}))
    assert set(first.labels) <= {"toothbrush"}


def test_masks_lie_in_their_box() -> None:
    full = np.ones((28, 28), np.float32)
    crop, corner = paste(full, np.array([10, 20, 50, 80], np.float32), (100, 100)) or (np.zeros((0, 0)), (0, 0))
    assert corner == (20, 10)
    assert crop.shape == (60, 40)
    assert crop.all()
    left = full.copy()
    left[:, 14:] = 0
    crop, corner = paste(left, np.array([-20, 20, 20, 80], np.float32), (100, 100)) or (np.zeros((0, 0)), (0, 0))
    assert corner == (20, 0) or not crop.size  # its half lies outside the frame but for a seam
    crop, corner = paste(left, np.array([0, 0, 40, 40], np.float32), (100, 100)) or (np.zeros((0, 0)), (0, 0))
    assert crop.shape == (40, 20)
    assert paste(full * 0, np.array([0, 0, 40, 40], np.float32), (100, 100)) is None
    assert paste(full, np.array([200, 200, 240, 240], np.float32), (100, 100)) is None


def test_weights_go_round(network: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "mine.pth"
    torch.save(network.state_dict(), path)
    options = ModelOptions(segmenter="maskrcnn", model=str(path), device="cpu", imgsz=96)
    segmenter = load_segmenter(options, note=quiet)
    assert segmenter.recommended_conf == 0.5
    assert "Mask R-CNN mine sha256:" in segmenter.description
    arrived = load_network(path).state_dict()
    assert all(torch.equal(value, arrived[name]) for name, value in network.state_dict().items())
    cut = tmp_path / "cut.pth"
    cut.write_bytes(path.read_bytes()[:1_000_000])
    with pytest.raises(WeightsCorrupt, match="damaged"):
        load_network(cut)
    shapes = {name: value.shape for name, value in network.state_dict().items()}
    shared = torch.zeros(max(shape.numel() for shape in shapes.values()), dtype=torch.float16)  # a small file
    small = {name: shared[: shape.numel()].view(shape) for name, shape in shapes.items()}
    few = small | {"roi_heads.mask_predictor.mask_fcn_logits.weight": torch.zeros(3, 256, 1, 1)}
    torch.save(few, tmp_path / "few.pth")
    with pytest.raises(ModelError, match="knows 3 categories; expected the 91"):
        load_network(tmp_path / "few.pth")
    del small["rpn.head.bbox_pred.bias"]
    torch.save({"model": small}, tmp_path / "lacks.pth")
    with pytest.raises(ModelError, match=r"does not fit maskrcnn_resnet50_fpn.*bbox_pred.bias") as caught:
        load_network(tmp_path / "lacks.pth")
    assert "\n" not in str(caught.value)


def test_bad_weights_get_one_line_each(tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("not weights")
    (tmp_path / "empty.pth").write_bytes(b"")
    torch.save({"some.weight": torch.zeros(3)}, tmp_path / "other.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"model": nn.Conv2d(1, 1, 1)}, tmp_path / "network.pt")
    for name, error, message in (
        ("text.pth", WeightsCorrupt, "damaged"),
        ("empty.pth", WeightsCorrupt, "damaged"),
        ("other.pth", ModelError, "no Mask R-CNN"),
        ("list.pth", ModelError, "no Mask R-CNN"),
        ("network.pt", ModelError, "more than weights"),
        ("absent.pth", WeightsMissing, "no weights at"),
    ):
        with pytest.raises(error, match=message) as caught:
            load_segmenter(ModelOptions(segmenter="maskrcnn", model=str(tmp_path / name), device="cpu"), note=quiet)
        assert "\n" not in str(caught.value)


def test_what_is_lacking_is_named() -> None:
    with pytest.raises(WeightsMissing) as caught:
        load_segmenter(options_from({"segmenter": "maskrcnn", "device": "cpu"}).models, note=quiet)
    assert PUBLISHED in str(caught.value)
    assert "--segmenter maskrcnn --model" in str(caught.value)
    with pytest.raises(OptionError, match="use fp32 or auto"):
        load_segmenter(ModelOptions(segmenter="maskrcnn", precision="bf16", device="cpu"), note=quiet)
    with pytest.raises(OptionError, match="segmenter: expected one of yolo, maskrcnn"):
        ModelOptions(segmenter="sam")  # type: ignore[arg-type]


def test_the_command_line_says_what_to_fetch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clip(tmp_path / "clip.mp4", [texture(48, 64)] * 2)
    with pytest.raises(SystemExit) as leaving:
        cli.main([str(tmp_path / "clip.mp4"), "--remove", "person", "--segmenter", "maskrcnn"])
    assert leaving.value.code == 1
    said = capsys.readouterr().err.strip()
    assert PUBLISHED in said
    assert "\n" not in said
    assert not (tmp_path / "clip_erased.mp4").exists()
