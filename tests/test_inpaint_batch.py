"""The way of a batch through a learned inpainter: regions, sizes, seams; the same for one picture and for many, on any device."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from synth import texture

torch = pytest.importorskip("torch")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from vidrase.inpaint.learned import LearnedInpainter  # noqa: E402
from vidrase.inpaint.regions import GRID, find_regions  # noqa: E402
from vidrase.inpaint.resample import mirrored, reduced  # noqa: E402
from vidrase.inpaint.seam import MAX_DISTANCE, depth, seamless  # noqa: E402
from vidrase.inpaint.stored import build  # noqa: E402

SIDE = 64


def _inpainter(device: str = "cpu") -> LearnedInpainter:
    torch.manual_seed(0)
    network = build("fourier", {"width": 4, "blocks": 1})
    torch.nn.init.normal_(network.last[0].weight, std=0.02)
    return LearnedInpainter("fourier", network, side=SIDE, device=device)


def _batch(height: int = 101, width: int = 130) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Holes in the middle, at borders and in a corner, large and small, none, and nothing but hole."""
    pixels = np.stack([texture(height, width, seed).transpose(2, 0, 1) for seed in range(6)]).astype(np.float32) / 255
    hole = np.zeros((6, 1, height, width), bool)
    hole[0, 0, 40:47, 60:71] = True
    hole[1, 0, :9, 20:33] = hole[1, 0, -11:, -7:] = True  # far apart: two regions
    hole[2, 0, 20:90, 30:110] = True  # its region is reduced
    hole[3, 0, 50:57, 10:21] = True
    hole[5] = True
    return pixels, hole


def test_a_batch_is_what_its_pictures_are_alone() -> None:
    pixels, hole = _batch()
    inpaint = _inpainter()
    together = inpaint(pixels, hole)
    alone = np.concatenate([inpaint(pixels[k : k + 1], hole[k : k + 1]) for k in range(len(pixels))])
    assert np.abs(together - alone).max() < 1e-4


@pytest.mark.parametrize("size", [(101, 130), (64, 64), (33, 47), (9, 13), (5, 300)])
def test_known_pixels_come_back_bit_for_bit_at_any_size(size: tuple[int, int]) -> None:
    pixels, hole = _batch(*size)
    filled = _inpainter()(pixels, hole)
    known = ~np.broadcast_to(hole, pixels.shape)
    known[5] = True  # nothing but hole: there is nothing to go by
    assert filled.dtype == np.float32
    assert np.array_equal(filled[known], pixels[known])
    assert ((filled >= 0) & (filled <= 1)).all()


def test_what_lies_in_the_hole_does_not_matter() -> None:
    pixels, hole = (array[:4] for array in _batch())
    inpaint = _inpainter()
    filled = inpaint(pixels, hole)
    assert np.array_equal(filled, inpaint(np.where(hole, np.float32(np.nan), pixels), hole))
    assert np.abs(filled - pixels)[np.broadcast_to(hole, pixels.shape)].mean() < 0.25


def test_the_pictures_given_stay_as_they_are() -> None:
    pixels, hole = _batch()
    before = pixels.copy()
    pixels.flags.writeable = False
    _inpainter()(pixels, hole)
    assert np.array_equal(pixels, before)


class _Watch(TorchDispatchMode):
    """Counts what makes the processor wait for the device, and copies between the two."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = self.up = self.down = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.name()
        self.asked += name.startswith("aten::_local_scalar_dense")
        if name.startswith(("aten::_to_copy", "aten::copy_")):
            before = args[1] if name.startswith("aten::copy_") else args[0]
            self.up += before.device.type == "cpu" and out.device.type != "cpu"
            self.down += before.device.type != "cpu" and out.device.type == "cpu"
        return out


def test_no_value_is_asked_from_the_device() -> None:
    pixels, hole = (array[1:3] for array in _batch())
    inpaint = _inpainter()
    with _Watch() as watch:
        inpaint(pixels, hole)
    assert watch.asked == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_same_and_pictures_travel_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda *_: False)
    pixels, hole = _batch()
    here, there = _inpainter("cpu"), _inpainter("cuda")
    with _Watch() as watch, torch.autocast("cuda", enabled=False):
        on_gpu = there(pixels, hole)
    assert (watch.up, watch.down, watch.asked) == (2, 1, 0)  # pictures and holes; the result
    apart = np.abs(on_gpu - here(pixels, hole))
    assert apart[[0, 1, 3, 4, 5]].max() < 2e-2
    assert apart[2].mean() < 2e-2  # blocks that are equally alike may be chosen otherwise


def test_regions_are_the_holes_with_their_context() -> None:
    _, hole = _batch()
    labels, regions = find_regions(hole[:, 0], SIDE)
    assert [region.index for region in regions] == [0, 1, 1, 2, 3]
    assert not labels[~hole[:, 0]].any()
    for region in regions:
        own = np.zeros(hole.shape[2:], bool)
        own[region.box][region.hole] = True
        assert (labels[region.index] == region.number)[own].any()
        assert not (labels[region.index] == region.number)[~own].any()
        assert max(region.size) <= SIDE
    assert (labels[:5] > 0).sum() == hole[:5].sum()
    assert regions[0].size == (64, 64)  # 71 x 75 at 64 of 75 is 61 x 64, and grows to the grid


def test_regions_of_many_sizes_share_a_batch() -> None:
    rng = np.random.default_rng(0)
    hole = np.zeros((40, 300, 400), bool)
    for one in hole:
        y, x, height, width = rng.integers((50, 50, 8, 8), (150, 250, 60, 60))
        one[y : y + height, x : x + width] = True
    _, regions = find_regions(hole, 256)
    assert len({region.size for region in regions}) < 20
    assert all(side % GRID == 0 for region in regions for side in region.size if region.box[0].stop < 300)


def test_means_are_those_of_what_is_known() -> None:
    picture = texture(75, 110, 1).astype(np.float32) / 255
    hole = np.zeros((75, 110), bool)
    hole[20:40, 30:70] = True
    shown = torch.from_numpy(np.where(hole[..., None], np.nan, picture).astype(np.float32).transpose(2, 0, 1).copy())
    small, small_hole = reduced(shown, torch.from_numpy(hole), (44, 64))
    share = cv2.resize((~hole).astype(np.float32), (64, 44), interpolation=cv2.INTER_AREA)
    wanted = (
        cv2.resize(picture * ~hole[..., None], (64, 44), interpolation=cv2.INTER_AREA)
        / np.maximum(share, 1e-3)[..., None]
    )
    assert np.abs(small.numpy().transpose(1, 2, 0) - wanted).max() < 1e-4
    sure = np.abs(share - 0.5) > 1e-3
    assert np.array_equal(small_hole.numpy()[sure], (share < 0.5)[sure])


def test_mirrored_is_what_numpy_calls_symmetric() -> None:
    x = np.random.default_rng(0).random((1, 2, 5, 24), np.float32)
    wanted = np.pad(x, ((0, 0), (0, 0), (0, 11), (0, 8)), mode="symmetric")
    assert np.array_equal(mirrored(torch.from_numpy(x), 16).numpy(), wanted)


def test_depth_is_the_distance_to_what_is_known() -> None:
    hole = np.zeros((120, 140), np.uint8)
    hole[10:100, 20:130] = 1
    hole[50:60, 70:90] = 0
    wanted = cv2.distanceTransform(hole, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    found = depth(torch.from_numpy(hole > 0)[None, None])[0, 0].numpy()
    near = wanted <= MAX_DISTANCE
    assert np.abs(found - wanted)[near].max() < 1e-3
    assert (found[~near] > MAX_DISTANCE).all()


def test_a_step_at_the_rim_is_spread_into_the_hole() -> None:
    known, hole = torch.full((2, 3, 40, 40), 0.5), torch.zeros(2, 1, 40, 40, dtype=torch.bool)
    hole[0, 0, 10:30, 10:30] = True
    out = seamless(known, hole, torch.full_like(known, 0.6))
    assert torch.equal(out[1], known[1])
    assert float(out[0, 0, 10, 20]) == pytest.approx(0.6 - 0.1 * np.exp(-1 / 8), abs=1e-3)
