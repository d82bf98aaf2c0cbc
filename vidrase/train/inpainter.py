"""Train an inpainter from random weights: resumable, mixed precision, repeatable for a seed.

The exported weights are an exponential moving average. A sample depends on (seed, step) only and the networks use no random
numbers, so a resumed run repeats the steps of an uninterrupted one.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vidrase.errors import OptionError
from vidrase.train import inpainter_data as data
from vidrase.train import loop
from vidrase.train.inpainter_loss import Features, LossWeights, PatchCritic, completion_loss, critic_loss

CLIP = 5.0  # maximum gradient norm


@dataclass(frozen=True, slots=True)
class Recipe:
    """Settings of a run; stored in its checkpoints and exports. `side` px, `batch` images per step."""

    net: str = "fourier"
    layout: dict[str, int] = field(default_factory=dict)
    steps: int = 8000
    side: int = 128
    batch: int = 16
    rate: float = 1e-3
    decay: float = 0.5  # share of the steps at the end over which the rate falls to 0
    warm: int = 200
    weight_decay: float = 1e-4
    average: float = 0.999
    seed: int = 0

    def rate_at(self, step: int) -> float:
        """Learning rate of a step."""
        return loop.rate_at(step / self.steps, step=step, rate=self.rate, warm=self.warm, decay=self.decay)


def new_network(recipe: Recipe) -> nn.Module:
    """The recipe's network with random weights, repeatable for its seed. Raises OptionError for an unknown network."""
    from vidrase.inpaint.stored import build

    torch.manual_seed(recipe.seed)
    return build(recipe.net, recipe.layout)


class Trainer:
    """State of one run: network, average, optional critic, optimisers, step."""

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe,
        *,
        weights: LossWeights | None = None,
        features: Features | None = None,
        device: str = "cpu",
        mixed: bool = True,
    ) -> None:
        stride = int(network.stride)  # type: ignore[arg-type]
        if recipe.side % stride:
            raise OptionError(f"side: expected a multiple of {stride} for this {recipe.net}, got {recipe.side}")
        self.device = torch.device(device)
        self.recipe = recipe
        self.weights = weights or LossWeights()
        self.features = features.to(self.device) if isinstance(features, nn.Module) else features
        self.mixed = mixed and (self.device.type == "cpu" or torch.cuda.is_bf16_supported())
        self.step = 0
        self.network: Any = network.to(self.device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.optimiser = _adam(self.network, recipe.rate, recipe.weight_decay)
        self.critic = PatchCritic().to(self.device) if self.weights.adversarial else None
        self.critic_optimiser = _adam(self.critic, recipe.rate, 0.0) if self.critic is not None else None

    def learn(self, pixels: Tensor, hole: Tensor) -> dict[str, float]:
        """One training step on uint8 [B, 3, H, W] and bool [B, 1, H, W]; returns the loss, its parts and the gradient norm."""
        truth = (pixels.to(self.device).float() / 255).contiguous(memory_format=torch.channels_last)
        missing = hole.to(self.device).float()
        rate = self.recipe.rate_at(self.step)
        _set_rate(self.optimiser, rate)
        with self._autocast():
            stages = self.network(truth * (1 - missing), missing)
            loss, parts, made = completion_loss(stages, truth, missing, self.weights, self.features)
            if self.critic is not None:
                fooled = -self.weights.adversarial * self.critic(made, missing).float().mean()
                loss, parts["adversarial"] = loss + fooled, float(fooled.detach())
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = float(nn.utils.clip_grad_norm_(self.network.parameters(), CLIP))
        if math.isfinite(norm):  # skip a batch that overflows
            self.optimiser.step()
            # faster at first, while the network changes fast
            loop.move_towards(self.average, self.network, min(self.recipe.average, (1 + self.step) / (10 + self.step)))
        if self.critic is not None:
            parts["critic"] = self._teach_critic(truth, made.detach(), missing, rate)
        self.step += 1
        return {"loss": float(loss.detach()), **parts, "norm": norm}

    def _teach_critic(self, truth: Tensor, made: Tensor, missing: Tensor, rate: float) -> float:
        assert self.critic is not None
        assert self.critic_optimiser is not None
        _set_rate(self.critic_optimiser, rate)
        with self._autocast():
            loss = critic_loss(self.critic(truth, missing).float(), self.critic(made, missing).float())
        self.critic_optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.critic_optimiser.step()
        return float(loss.detach())

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed)

    def save(self, path: Path) -> None:
        """Write a checkpoint for `restore`, complete or not at all."""
        state: dict[str, Any] = {
            "step": self.step,
            "recipe": asdict(self.recipe),
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        if self.critic is not None and self.critic_optimiser is not None:
            state |= {"critic": self.critic.state_dict(), "critic_optimiser": self.critic_optimiser.state_dict()}
        loop.save_checkpoint(state, path)

    def restore(self, path: Path) -> None:
        """Resume from a file of `save`: weights, optimiser state, average, step. Unpickles no code."""
        loop.load_checkpoint(path, self._take, what="inpainter", device=self.device)

    def _take(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.critic is not None and self.critic_optimiser is not None and "critic" in state:
            self.critic.load_state_dict(state["critic"])
            self.critic_optimiser.load_state_dict(state["critic_optimiser"])
        self.step = int(state["step"])

    def export(self, path: Path, card: dict[str, Any]) -> str:
        """Write the average as safetensors (see `vidrase.inpaint.stored`); returns the digest."""
        from vidrase.inpaint.stored import save_network

        described = {
            "net": self.recipe.net,
            "layout": dict(self.recipe.layout),
            "side": 2 * self.recipe.side,  # a crop of the training side shows too little context around the hole
            "recipe": asdict(self.recipe),
            "loss": asdict(self.weights),
            "steps": self.step,
        }
        return save_network(self.average, path, {**described, **card})


def train(
    trainer: Trainer,
    pictures: data.Pictures,
    folder: Path,
    say: Callable[[str], None],
    *,
    every: int = 20,
    epoch: int = 500,
    evaluate: Callable[[Trainer], None] | None = None,
    until: float = math.inf,
) -> None:
    """Train to the recipe's end, or until `time.monotonic()` reaches `until`; writes `folder`/last.pt regularly.

    evaluate: called every `epoch` steps and at the end.
    """
    recipe = trainer.recipe
    log, saving = loop.Log(say, every=every, steps=recipe.steps), loop.Saving()

    def made(step: int) -> tuple[Tensor, Tensor]:
        return data.batch(pictures, recipe.seed, step, recipe.batch, recipe.side)

    for pixels, hole in loop.batches(made, trainer.step, recipe.steps):
        parts = trainer.learn(pixels, hole)
        log.add(trainer.step, parts, recipe.rate_at(trainer.step))
        ended = trainer.step == recipe.steps or time.monotonic() > until
        if evaluate is not None and (trainer.step % epoch == 0 or ended):
            evaluate(trainer)
        if saving.due():
            trainer.save(folder / "last.pt")
        if ended:
            break
    trainer.save(folder / "last.pt")


def _adam(network: nn.Module, rate: float, decay: float) -> torch.optim.AdamW:
    return torch.optim.AdamW(network.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=decay)


def _set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate
