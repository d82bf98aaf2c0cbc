"""Distillation: a run learns, a resumed run goes on exactly, and the pictures are what they should be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from test_weights_embedded import LAYOUT, NAMES  # noqa: E402

from vidrase.errors import SourceNotFound, WeightsCorrupt, WeightsMissing  # noqa: E402
from vidrase.train import loop  # noqa: E402
from vidrase.train import segmenter_batches as batches  # noqa: E402
from vidrase.train import segmenter_comparison as evaluation  # noqa: E402
from vidrase.train import segmenter_data as data  # noqa: E402
from vidrase.train import segmenter_eval as evaluate  # noqa: E402
from vidrase.train import segmenter_survey as surveys  # noqa: E402
from vidrase.train.segmenter import Recipe, Trainer, load_teacher, new_student, renew_statistics, train  # noqa: E402
from vidrase.train.segmenter_loss import LossWeights, distillation_loss, run  # noqa: E402
from vidrase.train.segmenter_optim import orthogonal  # noqa: E402
from vidrase.weights.embedded import build_segmenter, load_embedded  # noqa: E402

RECIPE = Recipe(steps=6, imgsz=64, batch=2, rate=3e-3, warm=2)


@pytest.fixture(scope="module")
def teacher() -> torch.nn.Module:
    torch.manual_seed(1)
    network = build_segmenter(LAYOUT, NAMES)
    for level in network.model[-1].cv3:
        torch.nn.init.constant_(level[-1].bias, 0.0)  # else it sees nothing at all
    network.eval().requires_grad_(False)
    network.fuse(verbose=False)
    return network


@pytest.fixture
def pictures(tmp_path: Path) -> data.Pictures:
    rng = np.random.default_rng(0)
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), rng.integers(0, 256, (70 + number, 90, 3), np.uint8))
    return data.gather([folder], frozenset({"2.png"}))[0]


@pytest.fixture
def pool(pictures: data.Pictures) -> batches.Pool:
    return batches.Pool(pictures, torch.device("cpu"))


def _trainer(teacher: torch.nn.Module) -> Trainer:
    torch.manual_seed(2)
    return Trainer(new_student(teacher), teacher, RECIPE, mixed=False)


def test_the_loss_is_nothing_for_a_perfect_copy(teacher: torch.nn.Module) -> None:
    outputs = run(teacher, torch.rand(2, 3, 64, 96))
    total, parts = distillation_loss(outputs, outputs, LossWeights(mask=0.0))  # soft masks keep their entropy
    assert float(total) == pytest.approx(0.0, abs=1e-4)
    assert set(parts) == {"feature", "score", "box", "coefficient", "prototype", "mask"}


def test_it_learns(teacher: torch.nn.Module, pool: batches.Pool) -> None:
    trainer = _trainer(teacher)
    pixels = batches.batch(pool, 0, 0, 2, (64, 64))
    first = trainer.learn(pixels)["loss"]
    for _ in range(12):
        last = trainer.learn(pixels)["loss"]
    assert last < first


def test_workers_share_a_step_and_stay_alike(teacher: torch.nn.Module, pool: batches.Pool) -> None:
    torch.manual_seed(2)
    trainer = Trainer(new_student(teacher), teacher, RECIPE, mixed=False, workers=2)
    parts = trainer.learn(batches.batch(pool, 0, 0, 3, (64, 64)))
    assert np.isfinite(list(parts.values())).all()
    ours, theirs = (dict(replica.named_parameters()) for replica in trainer.replicas)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_resumed_run_takes_the_same_step(teacher: torch.nn.Module, pool: batches.Pool, tmp_path: Path) -> None:
    through, resumed = _trainer(teacher), _trainer(teacher)
    for step in range(2):
        through.learn(batches.batch(pool, 0, step, 2, (64, 64)))
    through.save(tmp_path / "last.pt")
    resumed.restore(tmp_path / "last.pt")
    assert resumed.step == 2
    pixels = batches.batch(pool, 0, 2, 2, (64, 64))
    assert resumed.learn(pixels) == pytest.approx(through.learn(pixels), rel=1e-4)
    ours, theirs = through.average.network.state_dict(), resumed.average.network.state_dict()
    assert all(torch.allclose(ours[name].float(), theirs[name].float(), atol=1e-5) for name in ours)


def test_a_run_leaves_checkpoints_and_weights(
    teacher: torch.nn.Module, pictures: data.Pictures, tmp_path: Path
) -> None:
    lines: list[str] = []
    trainer = _trainer(teacher)
    train(trainer, pictures, tmp_path / "run", lines.append, every=3)
    assert trainer.step == RECIPE.steps
    assert len(lines) == 2
    assert (tmp_path / "run" / "stable.pt").exists()
    trainer.export(tmp_path / "out.safetensors", {"offered": ["person"]})
    shipped = load_embedded(tmp_path / "out.safetensors")
    assert shipped.card["steps"] == RECIPE.steps
    again = new_student(teacher, tmp_path / "out.safetensors")
    assert again.training
    assert next(again.parameters()).requires_grad


def test_what_cannot_be_resumed_or_loaded_is_said(teacher: torch.nn.Module, tmp_path: Path) -> None:
    trainer = _trainer(teacher)
    with pytest.raises(WeightsMissing, match="nothing to resume"):
        trainer.restore(tmp_path / "none.pt")
    (tmp_path / "bad.pt").write_bytes(b"no checkpoint")
    with pytest.raises(WeightsCorrupt):
        trainer.restore(tmp_path / "bad.pt")
    with pytest.raises(WeightsMissing, match="no weights at"):
        load_teacher(tmp_path / "none.pt")
    with pytest.raises(SourceNotFound):
        data.gather([tmp_path / "nowhere"])


def test_the_rate_rises_stays_and_falls() -> None:
    recipe = Recipe(steps=1000, rate=1.0, decay=0.4, warm=100)
    rates = [recipe.rate_at(step) for step in range(1001)]
    assert rates[0] == pytest.approx(0.01)
    assert set(rates[99:600]) == {1.0}
    assert rates[800] == pytest.approx(0.5)
    assert rates[1000] == 0.0
    assert recipe.rate_at(200, 0.8) == pytest.approx(0.5)  # a clock that says it is late
    assert loop.Clock().progress(5, 10) == 0.5
    assert loop.Clock(1e-12).progress(5, 10) == 1.0


def test_statistics_are_means_of_what_is_shown(teacher: torch.nn.Module) -> None:
    network = new_student(teacher).eval()
    seen = [torch.full((2, 3, 64, 64), grey, dtype=torch.uint8) for grey in (0, 255)]
    first = network.model[0]
    renew_statistics(network, seen)
    with torch.no_grad():
        means = torch.stack([first.conv(pixels / 255).mean((0, 2, 3)) for pixels in seen]).mean(0)
    assert torch.allclose(first.bn.running_mean, means, atol=1e-5)
    assert not network.training
    assert not any(layer.training for layer in network.modules())


def test_shapes_fit_the_network_and_the_budget() -> None:
    recipe = Recipe(steps=100)
    for step in range(100):
        count, (height, width) = recipe.size_at(step)
        assert height % 32 == width % 32 == 0
        assert count >= 2
        assert count * height * width <= 1.2 * recipe.batch * recipe.imgsz**2


def test_left_out_pictures_stay_out(tmp_path: Path) -> None:
    for number in range(60):
        (tmp_path / f"{number}.jpg").touch()
    learnt, apart = data.gather([tmp_path], frozenset({"7.jpg"}), held_out=0.3)
    names = {path.name for path in learnt.files}, {path.name for path in apart}
    assert names[0].isdisjoint(names[1])
    assert names[0] | names[1] == {f"{number}.jpg" for number in range(60) if number != 7}
    assert 5 < len(apart) < 35
    assert apart == data.gather([tmp_path], frozenset({"7.jpg"}), held_out=0.3)[1]


def test_pictures_depend_on_seed_and_step_alone(pool: batches.Pool) -> None:
    first = batches.batch(pool, 0, 5, 3, (64, 96))
    assert first.shape == (3, 3, 64, 96)
    assert first.dtype == torch.uint8
    assert torch.equal(first, batches.batch(pool, 0, 5, 3, (64, 96)))
    assert not torch.equal(first, batches.batch(pool, 0, 6, 3, (64, 96)))


def test_cutouts_hold_what_the_polygon_encloses(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    picture = np.zeros((100, 120, 3), np.uint8)
    picture[20:80, 30:90] = (10, 20, 200)  # BGR
    cv2.imwrite(str(tmp_path / "images" / "a.png"), picture)
    (tmp_path / "labels" / "a.txt").write_text("0 0.25 0.2 0.75 0.2 0.75 0.8 0.25 0.8\n2 0 0 1 0 1 1\n")
    mask = evaluate.polygon_masks(tmp_path / "labels" / "a.txt", (100, 120))
    assert len(mask) == 1
    assert mask[0][25:75, 35:85].all()
    assert mask[0].sum() == pytest.approx(60 * 60, rel=0.05)
    pictures, _ = data.gather([tmp_path / "images"])
    data.add_polygon_cutouts(pictures)
    assert pictures.cutouts[0].rgb[30, 30].tolist() == [200, 20, 10]


def test_any_picture_fits_any_canvas_and_objects_of_all_classes_are_pasted() -> None:
    rng = np.random.default_rng(0)
    photos = [np.full((*rng.integers(10, 200, 2), 3), 60, np.uint8) for _ in range(6)]
    full = np.full((40, 300), 255, np.uint8)
    cutouts = [data.Cutout(np.full((40, 300, 3), 60 + 20 * label, np.uint8), full, label) for label in (0, 0, 0, 5, 7)]
    pictures = data.Pictures([], photos, cutouts=cutouts)
    drawn = [cutouts[pictures.draw_cutout(rng)].label for _ in range(200)]
    assert all(40 < drawn.count(label) < 110 for label in (0, 5, 7))
    pool = batches.Pool(pictures, torch.device("cpu"))
    for step in range(20):
        size = int(rng.integers(2, 6)) * 32, int(rng.integers(2, 6)) * 32
        assert batches.batch(pool, 0, step, 3, size).shape == (3, 3, *size)


def test_a_layer_shows_the_item_where_it_lies() -> None:
    item = cv2.resize(np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8), (80, 60))
    pool = batches.Pool(data.Pictures([], [item]), torch.device("cpu"))
    canvas = torch.zeros(2, 70, 90, 3)
    layers = [
        batches.Layer(1, 0, (5, 3, 85, 63), 1.0, -5.0, 1.0, -3.0),
        batches.Layer(0, 0, (0, 0, 40, 30), 2.0, 0.0, 2.0, 0.0),
    ]
    batches.paint(canvas, pool, layers)
    assert np.array_equal(canvas[1, 3:63, 5:85].numpy(), item)
    half = cv2.resize(item, (40, 30), interpolation=cv2.INTER_AREA)
    assert np.abs(canvas[0, :30, :40].numpy() - half).max() <= 1.0
    assert not canvas[0, 30:].any()
    mirrored = [batches.Layer(0, 0, (0, 0, 80, 60), -1.0, 80.0, 1.0, 0.0)]
    batches.paint(canvas, pool, mirrored)
    assert np.array_equal(canvas[0, :60, :80].numpy(), item[:, ::-1])


def test_what_the_teacher_sees_decides_what_is_drawn_and_pasted(
    pictures: data.Pictures, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    finds = {0: [(0, 0.9)], 1: [(1, 0.9), (2, 0.2)]}  # a person, a dog and a doubtful car

    def find(network: object, rgb: np.ndarray, imgsz: int, conf: float) -> evaluate.Found:
        asked.append(imgsz)
        what = finds[len(asked) - 1]
        masks = np.zeros((len(what), *rgb.shape[:2]), bool)
        masks[:, 10:50, 20:60] = True
        scores = np.array([score for _, score in what], np.float32)
        return evaluate.Found(np.array([k for k, _ in what]), scores, np.zeros((len(what), 4), np.float32), masks)

    asked: list[int] = []
    monkeypatch.setattr(surveys, "find", find)
    seen = surveys.survey(pictures, torch.nn.Identity(), 96, lambda _: None, tmp_path / "survey.npz")
    again = surveys.survey(pictures, torch.nn.Identity(), 96, lambda _: None, tmp_path / "survey.npz")
    assert asked == [96, 96]  # the second survey asked nobody
    assert [one.clear() for one in again] == [one.clear() for one in seen] == [{0}, {1}]
    assert all(
        np.array_equal(a, b)
        for one, two in zip(seen, again, strict=True)
        for a, b in zip(one.masks, two.masks, strict=True)
    )
    weights = surveys.weigh([*seen, surveys.Seen((70, 90), np.zeros(0, np.int64), np.zeros(0, np.float32), [], [])])
    assert weights[0] > weights[1] >= 1.0 > weights[2]
    cutouts = surveys.cut_out(pictures, seen)
    assert sorted(one.label for one in cutouts) == [0, 1]
    assert all(one.alpha.shape == (40, 40) for one in cutouts)


def test_layers_that_are_frozen_stay(teacher: torch.nn.Module, pool: batches.Pool) -> None:
    torch.manual_seed(2)
    trainer = Trainer(new_student(teacher), teacher, replace(RECIPE, frozen=2), mixed=False)
    before = {name: value.clone() for name, value in trainer.student.state_dict().items()}
    trainer.learn(batches.batch(pool, 0, 0, 2, (64, 64)))
    changed = {
        name.split(".")[1]
        for name, value in trainer.student.state_dict().items()
        if not torch.equal(before[name], value)
    }
    assert changed
    assert changed.isdisjoint({"0", "1"})


def test_orthogonal_evens_the_singular_values() -> None:
    torch.manual_seed(0)
    for shape in ((16, 40), (40, 16)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
        assert float(values.min()) > 0.5
        assert float(values.max()) < 1.4


def test_masks_come_back_at_the_pictures_size(teacher: torch.nn.Module) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (50, 90, 3), np.uint8)
    found = evaluate.find(teacher, rgb, imgsz=128, conf=0.01)
    assert len(found.labels) > 0
    assert found.masks.shape == (len(found.labels), 50, 90)
    assert (found.boxes >= 0).all()
    assert (found.boxes[:, 2] <= 90).all()
    assert (np.diff(found.scores) <= 0).all()


def test_only_what_was_learnt_is_offered(pictures: data.Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    def find(network: str, rgb: np.ndarray, imgsz: int, conf: float) -> evaluate.Found:
        masks = np.zeros((3, *rgb.shape[:2]), bool)
        masks[0, :20], masks[1, 20:40], masks[2, 40:] = True, True, True
        if network == "student":
            masks[1] = masks[2]  # it sees the dog elsewhere
        scores = np.array([0.9, 0.8, 0.2], np.float32)  # nobody is sure of the car
        return evaluate.Found(np.array([0, 1, 2]), scores, np.zeros((3, 4), np.float32), masks)

    class Network(str):
        def eval(self) -> None: ...

    monkeypatch.setattr(evaluation, "find", find)
    table = evaluation.agreement(Network("student"), Network("teacher"), pictures.files * 5)  # type: ignore[arg-type]
    assert (table[0].cases, table[0].recall, table[0].precision) == (10, 1.0, 1.0)
    assert (table[1].cases, table[1].recall, table[1].precision) == (10, 0.0, 0.0)
    assert table[2].cases == 0
    assert evaluation.offered(table, NAMES) == ["person"]
    assert evaluation.as_json(table, NAMES)["dog"] == {"cases": 10, "recall": 0.0, "precision": 0.0}
