"""Inpainters trained from random weights; resumable, in mixed precision, the same for the same seed.

What ships is an exponential moving average. A sample depends on (seed, step) alone and the networks draw no random
numbers, so a resumed run takes the steps that it would have taken.
"""

from __future__ import annotations

import copy
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vidrase.errors import ModelError, OptionError, WeightsCorrupt, WeightsMissing
from vidrase.train import inpainter_data as data
from vidrase.train.inpainter_loss import Features, LossWeights, PatchCritic, completion_loss, critic_loss

SAVE_EVERY = 240.0  # seconds
PATIENCE = 20  # steps without a finite gradient
AHEAD = 3  # batches made while one is learnt
CLIP = 5.0  # largest norm of a gradient


@dataclass(frozen=True, slots=True)
class Recipe:
    """What decides a run's result; kept in its checkpoints and in what it exports. `side` px, `batch` pictures a step."""

    net: str = "fourier"
    layout: dict[str, int] = field(default_factory=dict)
    steps: int = 8000
    side: int = 128
    batch: int = 16
    rate: float = 1e-3
    decay: float = 0.5  # the last share of the steps, in which the rate falls to nothing
    warm: int = 200
    weight_decay: float = 1e-4
    average: float = 0.999
    seed: int = 0

    def rate_at(self, step: int) -> float:
        """The learning rate of a step."""
        fall = max(1.0, self.steps * self.decay)
        return self.rate * min(1.0, (step + 1) / self.warm, max(0.0, (self.steps - step) / fall))


def new_network(recipe: Recipe) -> nn.Module:
    """The recipe's network with random weights, the same for the same seed. Raises OptionError for an unknown one."""
    from vidrase.inpaint.stored import build

    torch.manual_seed(recipe.seed)
    return build(recipe.net, recipe.layout)


def use_threads(count: int) -> None:
    """How many threads torch works with; 0 leaves it as it is.

    Two cores, pconv of width 24, batch 16 at 128 px, load 2.4: 0.34 s a step with one thread, 0.31 s with two, but now and then
    more than 7 s with two, when other programs took a core away and the threads waited for each other at every layer.
    """
    if count:
        torch.set_num_threads(count)


class Trainer:
    """One run: network, average, critic when wanted, optimisers, and the step they are at."""

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
        """One step on uint8 [B, 3, H, W] and bool [B, 1, H, W]; returns the loss, its parts and the gradient's norm."""
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
        if math.isfinite(norm):  # one overflowing batch must not poison the weights
            self.optimiser.step()
            self._update_average()
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

    @torch.no_grad()
    def _update_average(self) -> None:
        """Towards the network; quickly at first, when it changes quickly."""
        decay = min(self.recipe.average, (1 + self.step) / (10 + self.step))
        new = self.network.state_dict()
        for name, value in self.average.state_dict().items():
            if value.is_floating_point():
                value.lerp_(new[name], 1 - decay)
            else:
                value.copy_(new[name])

    def save(self, path: Path) -> None:
        """Write all that `restore` needs; appears whole or not at all."""
        state: dict[str, Any] = {
            "step": self.step,
            "recipe": asdict(self.recipe),
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        if self.critic is not None and self.critic_optimiser is not None:
            state |= {"critic": self.critic.state_dict(), "critic_optimiser": self.critic_optimiser.state_dict()}
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        torch.save(state, part)
        part.replace(path)

    def restore(self, path: Path) -> None:
        """Go on from a file of `save`: weights, moments, average, place in the schedule. Runs no code of a pickle."""
        try:
            state: dict[str, Any] = torch.load(path, map_location=self.device, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
            if self.critic is not None and self.critic_optimiser is not None and "critic" in state:
                self.critic.load_state_dict(state["critic"])
                self.critic_optimiser.load_state_dict(state["critic_optimiser"])
            self.step = int(state["step"])
        except FileNotFoundError as error:
            raise WeightsMissing(f"nothing to resume at {path}; leave --resume away to start") from error
        except Exception as error:
            raise WeightsCorrupt(f"{path.name} is no checkpoint of this inpainter ({type(error).__name__})") from error

    def export(self, path: Path, card: dict[str, Any]) -> str:
        """Write the average as safetensors (see `vidrase.inpaint.stored`); returns the digest."""
        from vidrase.inpaint.stored import save_network

        described = {
            "net": self.recipe.net,
            "layout": dict(self.recipe.layout),
            "side": 2 * self.recipe.side,  # at its training side a crop would show too little round the hole
            "recipe": asdict(self.recipe),
            "loss": asdict(self.weights),
            "steps": self.step,
        }
        return save_network(self.average, path, {**described, **card})


def batches(pictures: data.Pictures, recipe: Recipe, start: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Samples of steps `start` … `recipe.steps`, made a few steps ahead in one thread."""
    with ThreadPoolExecutor(1, thread_name_prefix="pictures") as pool:
        queue: deque[Future[tuple[Tensor, Tensor]]] = deque()
        for step in range(start, recipe.steps):
            queue.append(pool.submit(data.batch, pictures, recipe.seed, step, recipe.batch, recipe.side))
            if len(queue) > AHEAD:
                yield queue.popleft().result()
        while queue:
            yield queue.popleft().result()


def train(
    trainer: Trainer,
    pictures: data.Pictures,
    folder: Path,
    say: Callable[[str], None],
    *,
    every: int = 20,
    epoch: int = 500,
    judge: Callable[[Trainer], None] | None = None,
    until: float = math.inf,
) -> None:
    """Learn to the recipe's end, or until `time.monotonic()` reaches `until`; `folder`/last.pt is written now and then.

    judge: called every `epoch` steps and at the end.
    """
    saved = began = time.monotonic()
    sums: dict[str, float] = {}
    counted = bad = 0
    for pixels, hole in batches(pictures, trainer.recipe, trainer.step):
        parts = trainer.learn(pixels, hole)
        bad = 0 if math.isfinite(parts["norm"]) else bad + 1
        if bad == PATIENCE:
            raise ModelError(f"the loss is {parts['loss']} since step {trainer.step - bad}; lower the rate and resume")
        counted += 1
        for name, value in parts.items():
            sums[name] = sums.get(name, 0.0) + value
        if trainer.step % every == 0:
            now = time.monotonic()
            means = " ".join(f"{name} {value / counted:.3f}" for name, value in sums.items())
            rate = trainer.recipe.rate_at(trainer.step)
            say(f"step {trainer.step}/{trainer.recipe.steps} {means} lr {rate:.1e} {(now - began) / counted:.2f} s")
            sums, counted, began = {}, 0, now
        ended = trainer.step == trainer.recipe.steps or time.monotonic() > until
        if judge is not None and (trainer.step % epoch == 0 or ended):
            judge(trainer)
        if time.monotonic() - saved > SAVE_EVERY:
            trainer.save(folder / "last.pt")
            saved = time.monotonic()
        if ended:
            break
    trainer.save(folder / "last.pt")


def _adam(network: nn.Module, rate: float, decay: float) -> torch.optim.AdamW:
    return torch.optim.AdamW(network.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=decay)


def _set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate
