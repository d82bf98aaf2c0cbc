"""Training inpainters: losses by hand, holes as described, a resumed run that goes on exactly, and what it leaves behind."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")

from vidrase import metrics  # noqa: E402
from vidrase.cli.train_inpainter import inpainter  # noqa: E402
from vidrase.errors import OptionError, SourceNotFound, WeightsCorrupt, WeightsMissing  # noqa: E402
from vidrase.inpaint.stored import build, load_network  # noqa: E402
from vidrase.train import inpainter_data as data  # noqa: E402
from vidrase.train import inpainter_loss as losses  # noqa: E402
from vidrase.train.inpainter import Recipe, Trainer, train  # noqa: E402
from vidrase.train.inpainter_evaluation import FIGURES, Evaluation, History  # noqa: E402

LAYOUT = {"width": 4, "depth": 3}
RECIPE = Recipe(net="pconv", layout=LAYOUT, steps=4, side=32, batch=2, warm=2)
NOTHING = losses.LossWeights(0, 0, 0, 0, 0, 0, 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for number in range(6):
        small = rng.integers(0, 256, (6, 8, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), cv2.resize(small, (70, 60)))
    (tmp_path / "labels" / "0.txt").write_text("0 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75\n2 .5 .5 .2 .2\n")
    return tmp_path


def _trainer(weights: losses.LossWeights | None = None) -> Trainer:
    torch.manual_seed(2)
    return Trainer(build("pconv", LAYOUT), RECIPE, weights=weights, mixed=False)


def test_training_modules_need_only_torch_numpy_and_opencv() -> None:
    code = (
        "import sys\n"
        "for name in ('decord', 'ultralytics', 'torchvision', 'av', 'PIL', 'click', 'safetensors', 'lap'):\n"
        "    sys.modules[name] = None\n"
        "import vidrase.train.inpainter, vidrase.train.inpainter_evaluation"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_hole_and_valid_loss_by_hand() -> None:
    truth, out = torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.5)
    hole = torch.zeros(1, 1, 4, 4)
    hole[..., :2, :2] = 1
    out[:, :, :2, :2] = 0.25
    total, parts, made = losses.completion_loss([out], truth, hole, losses.LossWeights(6, 1, 0, 0, 0, 0, 0))
    assert parts == pytest.approx({"hole": 6 * 0.25, "valid": 0.5})
    assert float(total) == pytest.approx(2.0)
    assert torch.equal(made[hole.expand_as(made) == 0], truth[hole.expand_as(truth) == 0])


def test_variation_counts_pairs_in_the_grown_hole() -> None:
    made, hole = torch.zeros(1, 1, 7, 7), torch.zeros(1, 1, 7, 7)
    hole[..., 3, 3] = 1
    made[..., 3, 3] = 1.0
    # the grown hole is 3×3: six pairs in each direction, two of which differ by one
    assert float(losses.total_variation(made, hole)) == pytest.approx(2 / 6 + 2 / 6)
    made[..., 0, 0] = 5.0  # far away
    assert float(losses.total_variation(made, hole)) == pytest.approx(4 / 6)


def test_gram_and_feature_losses_by_hand() -> None:
    maps = torch.tensor([[[[1.0, 2.0]], [[0.0, 1.0]]]])  # [1, 2, 1, 2]
    assert torch.allclose(losses.gram(maps), torch.tensor([[[5.0, 2.0], [2.0, 1.0]]]) / 4)
    ones, twos = torch.ones(1, 3, 4, 4), torch.full((1, 3, 4, 4), 2.0)
    perceptual, style = losses.feature_losses(lambda x: [x], twos, ones, ones)
    assert float(perceptual) == pytest.approx(1.0)  # 1 for the output, 0 for the composite
    assert float(style) == pytest.approx((4 - 1) / 3)


def test_ssim_is_that_of_the_metrics() -> None:
    rng = np.random.default_rng(0)
    a = rng.random((40, 50, 3))
    b = np.clip(a + rng.normal(0, 0.1, a.shape), 0, 1)
    x, y = (torch.from_numpy(p).permute(2, 0, 1)[None].float() for p in (a, b))
    assert float(losses.ssim(x, y).mean()) == pytest.approx(metrics.ssim(a, b, peak=1.0), abs=2e-4)
    assert float(losses.ssim(x, x).min()) == pytest.approx(1.0, abs=1e-4)


def test_the_critic_is_satisfied_beyond_the_margin() -> None:
    assert float(losses.critic_loss(torch.tensor([2.0]), torch.tensor([-3.0]))) == 0.0
    assert float(losses.critic_loss(torch.tensor([0.0]), torch.tensor([0.0]))) == 2.0
    assert losses.PatchCritic(8)(torch.rand(2, 3, 32, 48), torch.zeros(2, 1, 32, 48)).shape == (2, 1, 2, 3)


def test_vgg_weights_are_read_and_others_refused(tmp_path: Path) -> None:
    shapes = {0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128), 12: (256, 256), 14: (256, 256)}
    state = {f"features.{k}.weight": torch.randn(*s, 3, 3) * 0.05 for k, s in shapes.items()}
    state |= {f"features.{k}.bias": torch.zeros(s[0]) for k, s in shapes.items()}
    torch.save(state, tmp_path / "vgg16.pth")
    maps = losses.VggFeatures(tmp_path / "vgg16.pth")(torch.rand(1, 3, 32, 32))
    assert [tuple(m.shape[1:]) for m in maps] == [(64, 16, 16), (128, 8, 8), (256, 4, 4)]
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(WeightsCorrupt, match="VGG-16"):
        losses.VggFeatures(tmp_path / "other.pth")
    with pytest.raises(WeightsMissing):
        losses.VggFeatures(tmp_path / "none.pth")


@pytest.mark.parametrize("adversarial", [0.0, 0.01])
def test_a_resumed_run_takes_the_same_steps(folder: Path, adversarial: float) -> None:
    pictures, _ = data.gather([folder / "images"])
    weights = losses.LossWeights(adversarial=adversarial)
    through, before, after = _trainer(weights), _trainer(weights), _trainer(weights)
    last: dict[str, float] = {}
    for step in range(4):
        last = through.learn(*data.batch(pictures, 0, step, 2, 32))
    for step in range(2):
        before.learn(*data.batch(pictures, 0, step, 2, 32))
    before.save(folder / "last.pt")
    after.restore(folder / "last.pt")
    assert after.step == 2
    for step in range(2, 4):
        again = after.learn(*data.batch(pictures, 0, step, 2, 32))
    assert again == pytest.approx(last, rel=1e-4)
    ours, theirs = through.average.state_dict(), after.average.state_dict()
    assert all(torch.allclose(ours[name].float(), theirs[name].float(), atol=1e-5) for name in ours)


def test_it_learns(folder: Path) -> None:
    pictures, _ = data.gather([folder / "images"])
    trainer = _trainer()
    samples = data.batch(pictures, 0, 0, 2, 32)
    first = trainer.learn(*samples)["loss"]
    trainer.step = 1
    for _ in range(12):
        last = trainer.learn(*samples)["loss"]
        trainer.step = 1  # the same rate again
    assert last < 0.9 * first


def test_what_cannot_be_resumed_is_said(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="nothing to resume"):
        _trainer().restore(tmp_path / "none.pt")
    (tmp_path / "bad.pt").write_bytes(b"no checkpoint")
    with pytest.raises(WeightsCorrupt):
        _trainer().restore(tmp_path / "bad.pt")
    with pytest.raises(SourceNotFound):
        data.gather([tmp_path / "nowhere"])
    with pytest.raises(OptionError, match="multiple of 8"):
        Trainer(build("pconv", LAYOUT), Recipe(net="pconv", layout=LAYOUT, side=36))


def test_a_run_leaves_weights_that_load(folder: Path) -> None:
    pictures, _ = data.gather([folder / "images"])
    trainer, lines = _trainer(), []
    train(trainer, pictures, folder / "run", lines.append, every=2)
    assert trainer.step == RECIPE.steps
    assert len(lines) == 2
    trainer.export(folder / "out.safetensors", {"evaluated": {}})
    network, card = load_network(folder / "out.safetensors", "pconv")
    assert (card["steps"], card["side"]) == (4, 64)
    assert not network.training


def test_samples_depend_on_seed_and_step_alone(folder: Path) -> None:
    pictures, _ = data.gather([folder / "images"])
    pixels, hole = data.batch(pictures, 0, 5, 3, 32)
    again = data.batch(pictures, 0, 5, 3, 32)
    assert torch.equal(pixels, again[0])
    assert torch.equal(hole, again[1])
    assert not torch.equal(pixels, data.batch(pictures, 0, 6, 3, 32)[0])
    assert (pixels.shape, pixels.dtype, hole.shape, hole.dtype) == (
        (3, 3, 32, 32),
        torch.uint8,
        (3, 1, 32, 32),
        torch.bool,
    )


def test_holes_are_neither_nothing_nor_everything() -> None:
    bank = [np.ones((40, 20), bool)]
    protected = np.zeros((64, 64), bool)
    protected[:, 40:] = True
    for seed in range(200):
        hole = data.make_hole(np.random.default_rng(seed), 64, bank)
        assert 0 < hole.mean() <= data.MAX_AREA
        assert not (data.make_hole(np.random.default_rng(seed), 64, bank, protected) & protected).any()


@pytest.mark.parametrize("kind", ["polygon", "strokes", "box"])
def test_each_kind_of_hole_marks_something(kind: str) -> None:
    drawn = [data._DRAWN[kind](np.random.default_rng(seed), 96) for seed in range(30)]
    assert all(d.shape == (96, 96) and d.any() for d in drawn)
    assert len({d.tobytes() for d in drawn}) == 30


def test_silhouettes_keep_their_shape_and_are_dilated() -> None:
    shape = np.zeros((60, 60), bool)
    shape[:, :20] = shape[40:] = True  # an L
    found = data.silhouette(np.random.default_rng(3), 128, [shape])
    assert 0.01 < found.mean() < 0.6


def test_people_are_kept_left_out_or_protected(folder: Path) -> None:
    def pictures() -> data.Pictures:
        found, _ = data.gather([folder / "images"])
        data.add_annotations(found)
        return found

    assert list(pictures().objects) == [0]
    assert pictures().objects[0][20:40, 20:50].all()
    assert len(pictures().silhouettes) == 1
    assert len(data.treat_people(pictures(), "keep")) == 6
    assert len(data.treat_people(pictures(), "leave-out")) == 5
    protected = data.treat_people(pictures(), "background")
    protected.files, protected.frames = protected.files[:1], []
    picture = protected.read(0)
    picture[protected.objects[0]] = 0
    cv2.imwrite(str(protected.files[0]), np.where(protected.objects[0][..., None], 0, 255).astype(np.uint8))
    for seed in range(40):
        rgb, hole = data.sample(protected, np.random.default_rng(seed), 32)
        assert rgb[hole].min(initial=255) > 100  # never inside the object


def test_mask_folders_and_clips_are_read(tmp_path: Path, folder: Path) -> None:
    mask = np.zeros((80, 90), np.uint8)
    mask[10:60, 10:40] = 255
    cv2.imwrite(str(folder / "mask.png"), mask)
    pictures, _ = data.gather([folder / "images"])
    data.add_silhouettes(pictures, [folder / "labels" / ".."])
    assert any(s.all() and s.shape == (50, 30) for s in pictures.silhouettes)
    writer = cv2.VideoWriter(str(tmp_path / "a.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 48))
    for value in range(20):
        writer.write(np.full((48, 64, 3), 10 * value, np.uint8))
    writer.release()
    frames = data.clip_frames(tmp_path / "a.mp4", 5)
    assert [f.shape for f in frames] == [(48, 64, 3)] * 5
    assert float(frames[0].mean()) < 20
    assert float(frames[-1].mean()) > 170


def test_the_evaluation_measures_draws_and_stores(folder: Path) -> None:
    pictures, _ = data.gather([folder / "images"])
    evaluation = Evaluation(pictures.files, 32, count=4)
    perfect = evaluation.figures(evaluation.truths)
    assert (perfect["l1"], perfect["ssim"], perfect["psnr"]) == (0.0, pytest.approx(1.0), metrics.PSNR_CEILING)
    made = evaluation.fill(build("pconv", LAYOUT).eval())
    for ours, truth, hole in zip(made, evaluation.truths, evaluation.holes, strict=True):
        assert np.array_equal(ours[~hole], truth[~hole])
    assert evaluation.grid(made).shape == (4 * 32, 4 * 32, 3)
    history = History(folder)
    for step in (10, 20):
        history.add(step, evaluation.figures(made))
    assert [r["step"] for r in History(folder, resumed_at=10).rows] == [10]
    assert history.curves(perfect).shape[1] % len(FIGURES) == 0


def test_the_rate_rises_and_falls() -> None:
    recipe = Recipe(steps=100, rate=1.0, decay=0.5, warm=10)
    assert recipe.rate_at(0) == pytest.approx(0.1)
    assert recipe.rate_at(30) == 1.0
    assert recipe.rate_at(75) == pytest.approx(0.5)
    assert recipe.rate_at(100) == 0.0


@pytest.mark.parametrize("net", ["pconv", "contextual", "fourier"])
def test_the_command_line_trains_and_goes_on(folder: Path, net: str) -> None:
    run = folder / "run"
    common = [str(folder / "images"), "-o", str(folder / "out.safetensors"), "--net", net, "--width", "4"]
    common += ["--depth", "2"] if net == "pconv" else []
    common += ["--side", "32", "--batch", "2", "--held-out", "0.5", "--run", str(run), "--seed", "3"]
    result = CliRunner().invoke(inpainter, [*common, "--steps", "2"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert cv2.imread(str(run / "samples.png")) is not None
    assert cv2.imread(str(run / "curves.png")) is not None
    again = [*common, "--steps", "3", "--resume", str(run / "last.pt")]
    assert CliRunner().invoke(inpainter, again, catch_exceptions=False).exit_code == 0
    rows = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 3]
    assert all(math.isfinite(row["ssim"]) for row in rows)
    assert load_network(folder / "out.safetensors", net)[1]["steps"] == 3
