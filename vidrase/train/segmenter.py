"""Train a segmenter from random weights by distilling a teacher: resumable, offline, without labels.

The learning rate warms up, stays constant, and decays to 0 at the end. The checkpoint from just before the decay (`stable.pt`) is
the one to continue from for a longer run: only the decay is repeated.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vidrase.segment.checkpoint import load_network
from vidrase.segment.device import cpu_has_bf16
from vidrase.train import loop
from vidrase.train import segmenter_batches as batches
from vidrase.train.segmenter_data import Pictures
from vidrase.train.segmenter_loss import FEATURE_LAYERS, LossWeights, Outputs, distillation_loss, run
from vidrase.train.segmenter_optim import Both
from vidrase.weights.embedded import build_segmenter, load_embedded, save_embedded

RENEWED = 24  # batches for measuring the exported batch-norm statistics


@dataclass(frozen=True, slots=True)
class Recipe:
    """Settings of a run; stored in its checkpoints and exports. Sizes in px, `batch` images of imgsz²."""

    steps: int = 6000
    imgsz: int = 320
    batch: int = 12
    rate: float = 3e-3
    decay: float = 0.4  # share of the steps at the end over which the rate falls
    warm: int = 150
    weight_decay: float = 0.01
    average: float = 0.998
    seed: int = 0
    frozen: int = 0
    """First layers of the student that are not trained, in a run that goes on from weights. 10 save 15 % of a step on a CPU."""

    def rate_at(self, step: int, progress: float | None = None) -> float:
        """Learning rate of a step. progress: 0 … 1 from a clock; None: from the steps."""
        progress = step / self.steps if progress is None else progress
        return loop.rate_at(progress, step=step, rate=self.rate, warm=self.warm, decay=self.decay)

    def size_at(self, step: int, progress: float | None = None) -> tuple[int, tuple[int, int]]:
        """(images, (height, width)) of a step: a constant number of pixels in varying shapes, larger ones later."""
        progress = step / self.steps if progress is None else progress
        rng = np.random.default_rng([self.seed, step, 7])
        shapes = [(1.0, 1.0), (0.8, 1.2), (1.3, 1.3), (1.2, 2.0), (2.0, 2.0)]
        early, late = np.array([0.55, 0.15, 0.2, 0.07, 0.03]), np.array([0.15, 0.1, 0.25, 0.25, 0.25])
        share = min(1.0, progress / 0.8)
        tall, wide = shapes[int(rng.choice(len(shapes), p=early + (late - early) * share))]
        if rng.random() < 0.25:
            tall, wide = wide, tall
        height, width = (max(32, round(self.imgsz * side / 32) * 32) for side in (tall, wide))
        return max(2, round(self.batch * self.imgsz**2 / (height * width))), (height, width)


class Averaged:
    """Exponential moving average of a network's parameters and buffers; the average is exported."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    def update(self, network: nn.Module) -> None:
        """Update the average; faster at first, while the network changes fast."""
        self.updates += 1
        loop.move_towards(self.network, network, self.decay * (1 - math.exp(-self.updates / 300)))


def load_teacher(path: Path) -> nn.Module:
    """Load the given weights, fused, in eval mode; only network classes are unpickled."""
    return load_network(path).requires_grad_(False)


def new_student(teacher: nn.Module, init: Path | None = None) -> nn.Module:
    """A network of the teacher's layout with random weights, or with those of a vidrase safetensors file."""
    if init is not None:
        return load_embedded(init, fuse=False).requires_grad_(True).train()
    return build_segmenter(teacher.yaml, teacher.names).train()  # type: ignore[arg-type]


class Trainer:
    """State of one run: student, average, optimiser, step."""

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        recipe: Recipe,
        *,
        device: str = "cpu",
        weights: LossWeights | None = None,
        mixed: bool | None = None,
        workers: int = 1,
    ) -> None:
        """mixed: bf16 where it is safe; None: if the device multiplies it in hardware. Without, a step of 2.4 s takes 34 s."""
        self.device = torch.device(device)
        self.student = student.to(self.device)
        self.teacher = teacher.to(self.device).eval()
        self.recipe = recipe
        self.weights = weights or LossWeights()
        self.mixed = cpu_has_bf16() or self.device.type != "cpu" if mixed is None else mixed
        for layer in list(student.model)[: recipe.frozen]:  # type: ignore[arg-type]
            layer.requires_grad_(False)
        self.layers = tuple(layer for layer in FEATURE_LAYERS if layer >= recipe.frozen)
        self.step = 0
        self.average = Averaged(self.student, recipe.average)
        # On processors several replicas with one thread each are faster than one network with several threads: they synchronise
        # once per step, not at every layer, which matters when other programs use a core.
        self.replicas = [self.student, *(copy.deepcopy(self.student) for _ in range(workers - 1))]
        self.pool = ThreadPoolExecutor(workers, thread_name_prefix="replica")
        self.optimiser = Both(self.student, recipe.rate, recipe.weight_decay)

    def learn(self, pixels: Tensor, progress: float | None = None) -> dict[str, float]:
        """One training step on uint8 [B,3,H,W]; returns the loss and its parts. progress: as for `Recipe.rate_at`."""
        self.optimiser.set_rate(self.recipe.rate_at(self.step, progress))
        chunks = pixels.tensor_split(min(len(self.replicas), len(pixels)))
        if len(chunks) == 1:
            answers = [self._gradients(self.student, pixels)]
        else:
            answers = list(self.pool.map(self._gradients, self.replicas, chunks))
            self._gather_gradients(len(chunks))
        norm = float(nn.utils.clip_grad_norm_(self.student.parameters(), 10.0))
        if math.isfinite(norm):  # skip a batch that overflows
            self.optimiser.step()
            self._spread()
            self.average.update(self.student)
        self.step += 1
        means = {name: float(np.mean([answer[name] for answer in answers])) for name in answers[0]}
        return {**means, "norm": norm}

    def _gradients(self, student: nn.Module, pixels: Tensor) -> dict[str, float]:
        pixels = pixels.to(self.device).float() / 255
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            with torch.no_grad():
                wanted: Outputs = run(self.teacher, pixels, self.layers)
            student.train()
            for layer in list(student.model)[: self.recipe.frozen]:  # type: ignore[arg-type]
                layer.eval()  # its normalisation keeps its statistics
            given = run(student, pixels, self.layers)
        loss, parts = distillation_loss(given, wanted, self.weights)
        student.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        return {"loss": float(loss.detach()), **parts}

    @torch.no_grad()
    def _gather_gradients(self, count: int) -> None:
        """Average the replicas into the student."""
        for weights in zip(*(replica.parameters() for replica in self.replicas[:count]), strict=True):
            gradients = [weight.grad for weight in weights if weight.grad is not None]
            if gradients:
                weights[0].grad = torch.stack(gradients).sum(0) / count

    @torch.no_grad()
    def _spread(self) -> None:
        """Copy the student's weights to its replicas."""
        for replica in self.replicas[1:]:
            for theirs, ours in zip(replica.parameters(), self.student.parameters(), strict=True):
                theirs.copy_(ours)

    def save(self, path: Path) -> None:
        """Write a checkpoint for `restore`, complete or not at all."""
        state = {
            "step": self.step,
            "recipe": asdict(self.recipe),
            "student": self.student.state_dict(),
            "average": self.average.network.state_dict(),
            "updates": self.average.updates,
            "optimiser": self.optimiser.state_dict(),
        }
        loop.save_checkpoint(state, path)

    def restore(self, path: Path) -> None:
        """Resume from a file of `save`: weights, optimiser state, average, step. Unpickles no code."""
        loop.load_checkpoint(path, self._take, what="segmenter", device=self.device)

    def _take(self, state: dict[str, Any]) -> None:
        self.student.load_state_dict(state["student"])
        self.average.network.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self._spread()
        self.average.updates = int(state["updates"])
        self.step = int(state["step"])

    def export(self, path: Path, metadata: dict[str, Any]) -> str:
        """Export the average; returns the digest."""
        weights = {**asdict(self.weights), "classes": {str(k): v for k, v in self.weights.classes.items()}}
        recipe = {"recipe": asdict(self.recipe), "weights": weights, "steps": self.step, "optimiser": "Muon + AdamW"}
        return save_embedded(self.average.network, path, {**recipe, **metadata})


@torch.no_grad()
def renew_statistics(network: nn.Module, pictures: Iterable[Tensor]) -> None:
    """Measure the batch-norm statistics of `network` again, as plain means over `pictures`, uint8 [B,3,H,W] each.

    The running statistics are from small batches and older weights: person AP50 was 0.19 with them and 0.34 with new ones.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    kept = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # cumulative mean
        layer.train()
    device = next(network.parameters()).device
    for pixels in pictures:
        run(network, pixels.to(device).float() / 255)
    for layer, momentum in zip(layers, kept, strict=True):
        layer.momentum = momentum
        layer.eval()


def train(
    trainer: Trainer,
    pictures: Pictures,
    folder: Path,
    progress: Callable[[str], None],
    *,
    hours: float = 0.0,
    every: int = 50,
    after_save: Callable[[Trainer], None] | None = None,
) -> None:
    """Train to the recipe's end; writes `folder`/last.pt regularly and stable.pt before the rate decays.

    hours: time limit; the rate decays so that the run ends with it. 0: only the steps count.
    """
    recipe, pool = trainer.recipe, batches.Pool(pictures, trainer.device)
    log, saving, clock = loop.Log(progress, every=every, steps=recipe.steps), loop.Saving(), loop.Clock(hours)

    def made(step: int) -> Tensor:
        return batches.batch(pool, recipe.seed, step, *recipe.size_at(step, clock.progress(step, recipe.steps)))

    falling = False
    for pixels in loop.batches(made, trainer.step, recipe.steps):
        share = clock.progress(trainer.step, recipe.steps)
        if share >= 1 - recipe.decay and not falling:
            falling = True
            trainer.save(folder / "stable.pt")
        parts = trainer.learn(pixels, share)
        log.add(trainer.step, parts, recipe.rate_at(trainer.step, share))
        if saving.due():
            trainer.save(folder / "last.pt")
            if after_save is not None:
                after_save(trainer)
        if share >= 1:
            break
    trainer.save(folder / "last.pt")
    later = range(recipe.steps, recipe.steps + RENEWED)
    renew_statistics(
        trainer.average.network,
        (batches.batch(pool, recipe.seed, step, 6, recipe.size_at(step, 1.0)[1]) for step in later),
    )
