"""RAFT behind the flow protocol: padding, order of axes, threads, weights. How well published weights flow is not tested."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import synth

torch = pytest.importorskip("torch")

from vidrase import weights  # noqa: E402
from vidrase.eraser import erase  # noqa: E402
from vidrase.errors import ModelError, ShapeError, WeightsCorrupt, WeightsMissing  # noqa: E402
from vidrase.flow import load_flow  # noqa: E402
from vidrase.flow.raft import RaftFlow  # noqa: E402
from vidrase.options import Options, options_from  # noqa: E402
from vidrase.run import Models  # noqa: E402
from vidrase.torchvision_ops import import_torchvision  # noqa: E402


class Shift(torch.nn.Module):
    """Says (3, -2) everywhere, as RAFT would: a list of estimates [B, 2, H, W]."""

    def forward(self, a: torch.Tensor, b: torch.Tensor, num_flow_updates: int) -> list[torch.Tensor]:
        assert a.shape == b.shape
        assert a.shape[1] == 3
        assert a.shape[2] % 8 == a.shape[3] % 8 == 0
        assert min(a.shape[2:]) >= 128
        assert float(a.min()) >= -1
        assert float(a.max()) <= 1
        flow = torch.zeros(len(a), 2, *a.shape[2:])
        flow[:, 0], flow[:, 1] = 3, -2
        return [flow * 0, flow]


@pytest.mark.parametrize("size", [(40, 60), (128, 128), (131, 250)])
def test_pictures_of_any_size_give_flow_of_that_size(size: tuple[int, int]) -> None:
    a = np.random.default_rng(0).integers(0, 256, (3, *size), np.uint8)
    b = a.copy()
    b[::2] = 255 - b[::2]
    flow = RaftFlow(Shift())(a, b)
    assert flow.shape == (3, *size, 2)
    assert flow.dtype == np.float32
    assert (flow[[0, 2]] == (3, -2)).all()
    assert not flow[1].any()  # equal pictures


def test_wrong_pictures_are_reported() -> None:
    with pytest.raises(ShapeError):
        RaftFlow(Shift())(np.zeros((1, 9, 9), np.float32), np.zeros((1, 9, 9), np.float32))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import_torchvision()
    from torchvision.models.optical_flow import raft_small

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("raft") / "raft_small_random.pth"
    torch.save(raft_small(weights=None, progress=False).state_dict(), path)
    return path


def test_weights_load_and_run(small: Path) -> None:
    flow = load_flow("raft", weights=small, note=pytest.fail)
    assert flow.name == "raft-small"
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 256, (1, 130, 140), np.uint8) for _ in range(2))
    assert np.isfinite(flow(a, b)).all()


def test_threads_get_what_one_gets(small: Path) -> None:
    flow = load_flow("raft", weights=small, note=pytest.fail)
    pairs = []
    for height, width, seed in ((128, 136, 0), (144, 128, 1)):
        picture = synth.texture(height, width + 8, seed)[..., 0]
        pairs.append((np.ascontiguousarray(picture[None, :, :-8]), np.ascontiguousarray(picture[None, :, 3:-5])))
    alone = [flow(a, b) for a, b in pairs]
    with ThreadPoolExecutor(2, thread_name_prefix="test") as pool:
        together = list(pool.map(lambda k: flow(*pairs[k % 2]), range(12)))
    assert all(np.array_equal(found, alone[k % 2]) for k, found in enumerate(together))


def test_a_call_leaves_no_correlations_on_the_network() -> None:
    from torchvision.models.optical_flow import raft_small

    network = raft_small(weights=None, progress=False)
    before = network.corr_block.corr_pyramid
    rng = np.random.default_rng(0)
    RaftFlow(network)(*(rng.integers(0, 256, (1, 128, 128), np.uint8) for _ in range(2)))
    assert network.corr_block.corr_pyramid is before


def test_bad_weights_get_one_line_each(small: Path, tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("not weights")
    torch.save({"other": torch.zeros(3)}, tmp_path / "other.pth")
    part = {k: v for k, v in torch.load(small).items() if "mask" not in k and "flow_head" not in k}
    torch.save({**part, "more": torch.zeros(1)}, tmp_path / "part.pth")
    for name, error in (("text.pth", WeightsCorrupt), ("other.pth", ModelError), ("part.pth", ModelError)):
        with pytest.raises(error) as caught:
            load_flow("raft", weights=tmp_path / name, note=pytest.fail)
        assert "\n" not in str(caught.value)
    with pytest.raises(WeightsMissing, match="--flow-weights takes"):
        weights.find_flow(tmp_path / "none.pth")


def _chosen(monkeypatch: pytest.MonkeyPatch, folder: Path, **choices: object) -> tuple[str, list[str]]:
    monkeypatch.setenv("VIDRASE_MODEL_DIR", str(folder))
    monkeypatch.setenv("VIDRASE_CACHE_DIR", str(folder / "cache"))
    notes: list[str] = []
    options: Options = options_from({"mask": "m.png", "device": "cpu", **choices})  # type: ignore[arg-type]
    return Models.load(options, notes.append).flow.name, notes


def test_what_is_chosen(monkeypatch: pytest.MonkeyPatch, small: Path, tmp_path: Path) -> None:
    assert _chosen(monkeypatch, small.parent) == ("dis", [])  # no GPU: RAFT would take seconds a frame
    assert _chosen(monkeypatch, small.parent, flow="raft") == ("raft-small", [])
    assert _chosen(monkeypatch, tmp_path, flow="raft", flow_weights=small) == ("raft-small", [])
    name, notes = _chosen(monkeypatch, tmp_path, flow="raft")
    assert name == "dis"
    assert "motion by DIS" in notes[0]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_same(small: Path) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 256, (2, 136, 144), np.uint8) for _ in range(2))
    here, there = (load_flow("raft", weights=small, device=d, note=pytest.fail)(a, b) for d in ("cpu", "cuda"))
    assert np.abs(here - there).max() < 0.5


@pytest.mark.data
@pytest.mark.weights
def test_real_weights_carry_a_clip_through(data_dir: Path, model_dir: Path, tmp_path: Path) -> None:
    found = weights.find_flow(None)
    if found is None:
        pytest.skip("no RAFT weights among those at hand")
    clip = data_dir / "clips" / "davis"
    for kind, to, way in (("JPEGImages", "frames", cv2.INTER_AREA), ("Annotations", "masks", cv2.INTER_NEAREST)):
        (tmp_path / to).mkdir()
        for number, path in enumerate(sorted((clip / kind / "lucia").iterdir())[:5]):
            small = cv2.resize(cv2.imread(str(path)), (192, 128), interpolation=way)
            cv2.imwrite(str(tmp_path / to / f"{number:03}.png"), small)
    report = erase(tmp_path / "frames", tmp_path / "out", mask=str(tmp_path / "masks"), flow="raft", device="cpu")
    assert report.frames == 5
    assert report.models["flow"].startswith("raft-")
    assert not any("DIS" in note for note in report.fallbacks)
    assert len(list((tmp_path / "out").iterdir())) == 5
