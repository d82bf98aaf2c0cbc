"""Learned inpainters: the papers' properties, and the one adapter that keeps known pixels."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from vidrase.errors import OptionError, OutOfMemory, WeightsCorrupt, WeightsMissing  # noqa: E402
from vidrase.inpaint.contextual import contextual_attention  # noqa: E402
from vidrase.inpaint.detail import with_detail  # noqa: E402
from vidrase.inpaint.learned import LearnedInpainter, load_learned  # noqa: E402
from vidrase.inpaint.partial_conv import PartialConv2d  # noqa: E402
from vidrase.inpaint.stored import build, load_network, save_network  # noqa: E402

LAYOUTS = {"pconv": {"width": 8, "depth": 3}, "contextual": {"width": 4}, "fourier": {"width": 4, "blocks": 1}}


class Flat(torch.nn.Module):
    """Paints everything in one colour, and counts its pictures."""

    stride = 8

    def __init__(self, most: int = 99) -> None:
        super().__init__()
        self.batches: list[int] = []
        self.most = most

    def forward(self, pixels: torch.Tensor, hole: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if len(pixels) > self.most:
            raise torch.OutOfMemoryError("full")
        assert pixels.shape[2] % self.stride == pixels.shape[3] % self.stride == 0
        assert not (pixels * hole).any()  # what is to go must not be seen
        self.batches.append(len(pixels))
        return (torch.full_like(pixels, 0.25),)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (5, 2), (7, 2)])
def test_partial_convolution_is_a_convolution_when_nothing_is_missing(kernel: int, stride: int) -> None:
    torch.manual_seed(0)
    layer = PartialConv2d(4, 6, kernel, stride=stride)
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, 4, 17, 20)
    out, mask = layer((x, torch.ones(2, 1, 17, 20)))
    plain = torch.nn.functional.conv2d(x, layer.conv.weight, layer.bias, stride, kernel // 2)
    assert torch.allclose(out, plain, atol=1e-5)
    assert mask.min() == 1


def test_partial_convolution_of_nothing_is_nothing() -> None:
    layer = PartialConv2d(3, 5, 3)
    torch.nn.init.ones_(layer.bias)
    out, mask = layer((torch.randn(1, 3, 9, 9), torch.zeros(1, 1, 9, 9)))
    assert not out.any()
    assert not mask.any()


def test_partial_convolution_scales_by_what_is_seen() -> None:
    layer = PartialConv2d(1, 1, 3, bias=False)
    torch.nn.init.ones_(layer.conv.weight)
    mask = torch.zeros(1, 1, 5, 5)
    mask[..., 2, 1:3] = 1  # two of the nine pixels of the window in the middle
    x = torch.full((1, 1, 5, 5), 4.0)
    out, known = layer((x, mask))
    assert out[0, 0, 2, 2].item() == pytest.approx((4 + 4) * 9 / 2)
    assert torch.equal(known[0, 0], torch.nn.functional.max_pool2d(mask, 3, 1, 1)[0, 0])


def test_partial_convolution_counts_each_part_by_its_own_mask() -> None:
    layer = PartialConv2d(3, 1, 1, bias=False)
    torch.nn.init.ones_(layer.conv.weight)
    here, nowhere = torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    out, known = layer((torch.full((1, 1, 2, 2), 5.0), here), (torch.full((1, 2, 2, 2), 7.0), nowhere))
    assert torch.allclose(out, torch.full_like(out, 5.0 * 3 / 1))
    assert known.min() == 1


@pytest.mark.parametrize("net", LAYOUTS)
def test_networks_do_not_see_the_hole(net: str) -> None:
    torch.manual_seed(0)
    network = build(net, LAYOUTS[net]).eval()
    pixels, hole = torch.rand(2, 3, 32, 48), torch.zeros(2, 1, 32, 48)
    hole[..., 8:20, 10:30] = 1
    with torch.no_grad():
        outputs = network(pixels, hole)
        other = network(torch.where(hole > 0, torch.rand_like(pixels), pixels), hole)
    assert all(out.shape == pixels.shape and out.dtype == torch.float32 for out in outputs)
    assert torch.allclose(outputs[-1], other[-1], atol=1e-6)


def test_attention_copies_a_known_texture() -> None:
    torch.manual_seed(0)
    tile = torch.randn(1, 6, 8, 8)
    texture = tile.repeat(1, 1, 4, 4)
    hole = torch.zeros(1, 1, 32, 32)
    hole[..., 8:18, 8:18] = 1
    guess = torch.where(hole > 0, texture + 0.2 * torch.randn_like(texture), texture)
    out = contextual_attention(guess * 8, hole)  # the scale of the features does not matter to the cosine
    before, after = ((p / 8 - texture)[hole.expand_as(texture) > 0].abs().mean() for p in (guess * 8, out))
    assert float(after) < 0.5 * float(before)
    assert torch.equal(out[hole.expand_as(out) == 0], (guess * 8)[hole.expand_as(out) == 0])


def test_attention_in_slices_is_the_same_and_large_maps_are_matched_coarsely() -> None:
    torch.manual_seed(0)
    features, hole = torch.randn(2, 3, 24, 30), torch.zeros(2, 1, 24, 30)
    hole[..., 5:11, 9:20] = 1
    whole = contextual_attention(features, hole)
    assert torch.allclose(whole, contextual_attention(features, hole, rows=7), atol=1e-5)
    coarse = contextual_attention(features, hole, most=30)
    assert coarse.shape == features.shape
    assert torch.isfinite(contextual_attention(features, torch.ones_like(hole))).all()


def test_known_pixels_come_back_bit_for_bit() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.random((3, 3, 150, 210), np.float32)
    hole = np.zeros((3, 1, 150, 210), bool)
    hole[0, 0, 10:30, 20:50] = True
    hole[0, 0, 110:140, 160:200] = True  # far apart: a crop of its own
    hole[2, 0, 0:100, 100:210] = True
    network = Flat()
    filled = LearnedInpainter("flat", network, side=64, device="cpu")(pixels, hole)
    known = ~np.broadcast_to(hole, pixels.shape)
    assert filled.dtype == np.float32
    assert np.array_equal(filled[known], pixels[known])
    assert not np.array_equal(filled[0], pixels[0])
    assert sum(network.batches) == 3  # two crops of the first picture, none of the second, one of the third
    assert ((filled >= 0) & (filled <= 1)).all()


def test_nothing_to_fill_and_nothing_known_pass() -> None:
    pixels = np.random.default_rng(0).random((1, 3, 20, 20), np.float32)
    inpainter = LearnedInpainter("flat", Flat(), device="cpu")
    for value in (False, True):
        assert np.array_equal(inpainter(pixels, np.full((1, 1, 20, 20), value)), pixels)


def test_short_memory_makes_the_batch_smaller_and_is_said() -> None:
    pixels = np.full((8, 3, 40, 40), 0.5, np.float32)
    hole = np.zeros((8, 1, 40, 40), bool)
    hole[..., 10:20, 10:20] = True
    said: list[str] = []
    network = Flat(most=3)
    inpainter = LearnedInpainter("flat", network, device="cpu", note=said.append)
    whole = LearnedInpainter("flat", Flat(), device="cpu")(pixels, hole)
    assert np.array_equal(inpainter(pixels, hole), whole)
    assert max(network.batches) <= 3
    assert len(said) == 2  # 8 → 4 → 2
    with pytest.raises(OutOfMemory, match="more memory"):
        LearnedInpainter("flat", Flat(most=0), device="cpu")(pixels, hole)


def test_detail_has_the_energy_of_the_surroundings() -> None:
    rng = np.random.default_rng(0)
    picture = (0.5 + 0.1 * rng.standard_normal((128, 128, 3))).astype(np.float32)
    hole = np.zeros((128, 128), bool)
    hole[40:90, 40:90] = True
    small, small_hole = np.full((32, 32, 3), 0.5, np.float32), np.zeros((32, 32), bool)
    small_hole[10:23, 10:23] = True
    tensors = (
        torch.from_numpy(np.ascontiguousarray(array))
        for array in (picture.transpose(2, 0, 1), hole, small.transpose(2, 0, 1), small_hole)
    )
    out = with_detail(*tensors, (slice(44, 86), slice(44, 86)))
    assert out.shape == (3, 42, 42)
    assert float(out.std()) == pytest.approx(0.1, rel=0.25)
    assert float(out.mean()) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("net", LAYOUTS)
def test_weights_come_back_from_disk(net: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build(net, LAYOUTS[net]).eval()
    path = tmp_path / "a.safetensors"
    digest = save_network(network, path, {"net": net, "layout": LAYOUTS[net], "side": 64})
    loaded, card = load_network(path, net)
    assert card["side"] == 64
    assert len(digest) == 64
    pixels, hole = torch.rand(1, 3, 32, 32), torch.zeros(1, 1, 32, 32)
    hole[..., 8:16, 8:16] = 1
    with torch.no_grad():
        assert torch.allclose(network(pixels, hole)[-1], loaded(pixels, hole)[-1], atol=2e-2)  # fp16 on disk
    assert load_learned(net, path, device="cpu").side == 64


def test_wrong_weights_are_said(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_network(
        build("fourier", LAYOUTS["fourier"]), path, {"net": "fourier", "layout": LAYOUTS["fourier"], "side": 8}
    )
    with pytest.raises(OptionError, match="holds the inpainter 'fourier'"):
        load_network(path, "pconv")
    path.write_bytes(path.read_bytes()[:-8] + b"\0" * 7 + b"\1")
    with pytest.raises(WeightsCorrupt, match="damaged"):
        load_network(path)
    with pytest.raises(WeightsMissing):
        load_learned("pconv", tmp_path / "none.safetensors")


def test_a_lama_export_is_used_as_it_is(tmp_path: Path) -> None:
    class Export(torch.nn.Module):
        def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return image * (1 - mask) + 0.75 * mask

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(Export()).save(str(tmp_path / "big-lama.pt"))
    with pytest.raises(OptionError, match="is a program") as caught:  # which may do anything
        load_learned("lama", tmp_path / "big-lama.pt", device="cpu")
    assert "--trust-weights" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    inpainter = load_learned("lama", tmp_path / "big-lama.pt", device="cpu", trust=True)
    pixels, hole = np.full((1, 3, 30, 30), 0.75, np.float32), np.zeros((1, 1, 30, 30), bool)
    hole[..., 10:20, 10:20] = True
    pixels[np.broadcast_to(hole, pixels.shape)] = 0.0
    assert np.allclose(inpainter(pixels, hole), 0.75, atol=1e-6)
    (tmp_path / "bad.pt").write_bytes(b"nothing")
    with pytest.raises(WeightsCorrupt, match="TorchScript"):
        load_learned("lama", tmp_path / "bad.pt", trust=True)
