"""Optimiser for short distillation runs: Muon for convolutions, AdamW for the rest.

Muon's updates have the same size in every direction of a weight matrix, so a run of a few thousand steps also learns from
directions with small gradients.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

MUON_TIMES = 20 / 3  # Muon's rate over AdamW's; a run that goes on from good weights lowers both


class Muon(torch.optim.Optimizer):
    """Momentum with orthogonalised updates; for parameters with two or more dimensions, reshaped to [out, rest]."""

    def __init__(self, params: Any, lr: float = 0.02, momentum: float = 0.95, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                state["momentum"].lerp_(weight.grad, 1 - group["momentum"])
                ahead = weight.grad.lerp(state["momentum"], group["momentum"])  # Nesterov
                flat = ahead.reshape(len(ahead), -1)
                update = orthogonal(flat) * max(1.0, flat.shape[0] / flat.shape[1]) ** 0.5
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(update.view_as(weight), alpha=-group["lr"])


def orthogonal(matrix: Tensor, steps: int = 5) -> Tensor:
    """Approximation of the nearest (semi-)orthogonal matrix: all singular values between about 0.7 and 1.2; same shape."""
    first, third, fifth = 3.4445, -4.7750, 2.0315  # Jordan's quintic: steep at 0, so that few steps suffice
    flip = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if flip else matrix
    x = x.float() / (x.norm() + 1e-7)  # bf16 products of small matrices are slow on CPUs
    for _ in range(steps):
        gram = x @ x.T
        x = first * x + (third * gram + fifth * gram @ gram) @ x
    return x.T if flip else x


class Both:
    """Muon and AdamW with one learning-rate schedule: both rates are scaled from `rate_at`."""

    def __init__(self, network: nn.Module, rate: float, weight_decay: float) -> None:
        muon = MUON_TIMES * rate
        ends = {id(p) for p in output_weights(network)}
        matrices: list[nn.Parameter] = []
        rest: list[nn.Parameter] = []
        for parameter in network.parameters():
            if parameter.requires_grad:
                (matrices if parameter.ndim >= 2 and id(parameter) not in ends else rest).append(parameter)
        self.rate, self.muon_rate = rate, muon
        self.muon = Muon(matrices, lr=muon, weight_decay=weight_decay)
        self.adam = torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.99), weight_decay=0.0)

    def set_rate(self, rate: float) -> None:
        """Scale both rates so that AdamW's is `rate`."""
        for group in self.adam.param_groups:
            group["lr"] = rate
        for group in self.muon.param_groups:
            group["lr"] = self.muon_rate * rate / self.rate

    def zero_grad(self) -> None:
        """Clear the gradients."""
        self.muon.zero_grad(set_to_none=True)
        self.adam.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        self.muon.step()
        self.adam.step()

    def state_dict(self) -> dict[str, Any]:
        """State of both optimisers."""
        return {"muon": self.muon.state_dict(), "adam": self.adam.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the state of both optimisers."""
        self.muon.load_state_dict(state["muon"])
        self.adam.load_state_dict(state["adam"])


def output_weights(network: nn.Module) -> list[nn.Parameter]:
    """Parameters that Muon must not update: the first convolution and the head's output convolutions."""
    layers = list(network.model)  # type: ignore[arg-type]
    found = [next(layers[0].parameters())]
    for branch in (layers[-1].cv2, layers[-1].cv3, layers[-1].cv4):
        for level in branch:
            found += list(level[-1].parameters())
    return found
