"""Distillation losses: the student segmenter copies its teacher's maps.

Every image gives a target at every position of every map, so a few thousand unlabelled photos teach as much as many
times that number of labelled ones. Shapes below: B images, N anchors over the three levels (strides 8, 16, 32), K
classes, 4·R box bins, M mask coefficients.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEATURE_LAYERS = (4, 6, 9, 15, 18, 21)  # backbone then neck, each at strides 8, 16, 32
LEVEL_OF_LAYER = {4: 0, 6: 1, 9: 2, 15: 0, 18: 1, 21: 2}
BOX_BINS = 16
INSTANCES = 8  # anchors per image whose whole mask is compared


@dataclass(frozen=True, slots=True)
class Outputs:
    """Raw outputs of one network for a batch.

    `features` layer → float [B,C,H,W] · `scores` logits [B,K,N] · `boxes` bin logits [B,4R,N] ·
    `coefficients` [B,M,N] · `prototypes` [B,M,H/4,W/4].
    """

    features: dict[int, Tensor]
    scores: Tensor
    boxes: Tensor
    coefficients: Tensor
    prototypes: Tensor


@dataclass(frozen=True, slots=True)
class LossWeights:
    """Weight of each term; `classes` multiplies the class loss of single classes (index → factor)."""

    feature: float = 10.0  # its gradient is small: with less, a student of few steps learns other features
    score: float = 1.0
    box: float = 1.5
    coefficient: float = 2.0
    prototype: float = 2.0
    mask: float = 3.0
    focus: float = 4.0  # additional weight of positions where the teacher is confident
    confusion: float = 2.0  # additional weight of all classes where the teacher is confident of one that is no person
    classes: Mapping[int, float] = field(default_factory=lambda: {0: 2.0})


def run(network: nn.Module, pixels: Tensor, layers: tuple[int, ...] = FEATURE_LAYERS) -> Outputs:
    """Forward pass of an ultralytics `SegmentationModel` over pixels float [B,3,H,W] in [0,1], keeping `layers`."""
    kept: dict[int, Tensor] = {}
    passed: list[Any] = []
    x: Any = pixels  # a map, a list of maps before a concat, finally the head's output
    for layer in cast(Iterable[Any], network.model):
        if layer.f != -1:
            x = passed[layer.f] if isinstance(layer.f, int) else [x if j == -1 else passed[j] for j in layer.f]
        x = layer(x)
        passed.append(x)
        if layer.i in layers:
            kept[layer.i] = x
    raw = x if isinstance(x, dict) else x[1]  # in eval mode the head returns (decoded, raw)
    return Outputs(kept, raw["scores"], raw["boxes"], raw["mask_coefficient"], raw["proto"])


def distillation_loss(student: Outputs, teacher: Outputs, weights: LossWeights) -> tuple[Tensor, dict[str, float]]:
    """The weighted sum to minimise (scalar), and its parts as floats for the log."""
    probability = teacher.scores.float().sigmoid()  # [B,K,N]
    confidence = probability.amax(1)  # [B,N]
    parts = {
        "feature": feature_loss(student, teacher, confidence, weights.focus),
        "score": score_loss(student.scores.float(), probability, weights.classes, weights.confusion),
        "box": box_loss(student.boxes.float(), teacher.boxes.float(), confidence),
        "coefficient": coefficient_loss(student.coefficients.float(), teacher.coefficients.float(), confidence),
        "prototype": normalised_mse(student.prototypes.float(), teacher.prototypes.float()),
        "mask": mask_loss(student, teacher, confidence),
    }
    total = torch.stack([getattr(weights, name) * part for name, part in parts.items()]).sum()
    return total, {name: float(part.detach()) for name, part in parts.items()}


def normalised_mse(student: Tensor, teacher: Tensor, place: Tensor | None = None) -> Tensor:
    """Squared error / the teacher's variance: 1 for a constant prediction. `place`: weights of positions, [B,1,H,W]."""
    error = (student - teacher).square()
    scale = teacher.var() + 1e-6
    if place is None:
        return error.mean() / scale
    return (error.mean(1, keepdim=True) * place).sum() / place.sum() / scale


def feature_loss(student: Outputs, teacher: Outputs, confidence: Tensor, focus: float) -> Tensor:
    """Mean normalised error over the layers, weighted by the teacher's confidence. Channel counts must match."""
    maps = list(_levels(confidence, teacher.features))
    losses = []
    for layer, target in teacher.features.items():
        place = 1.0 + focus * maps[LEVEL_OF_LAYER[layer]]
        losses.append(normalised_mse(student.features[layer].float(), target.float(), place))
    return torch.stack(losses).mean()


def score_loss(logits: Tensor, probability: Tensor, classes: Mapping[int, float], confusion: float = 0.0) -> Tensor:
    """Binary cross-entropy minus the teacher's own entropy, divided by the number of objects in the batch.

    confusion: additional weight of places where the teacher sees something that is no person. They are few, and a student that
    calls an animal there a person erases it.
    """
    loss = F.binary_cross_entropy_with_logits(logits, probability, reduction="none")
    floor = -(torch.xlogy(probability, probability) + torch.xlogy(1 - probability, 1 - probability))
    loss = loss - floor
    for index, factor in classes.items():
        if index < loss.shape[1]:
            loss[:, index] = loss[:, index] * factor
    if confusion and loss.shape[1] > 1:
        other = probability[:, 1:].amax(1)
        loss = loss * (1 + confusion * torch.where(other > probability[:, 0], other, 0.0))[:, None]
    return loss.sum() / probability.amax(1).sum().clamp_min(1.0)


def box_loss(student: Tensor, teacher: Tensor, confidence: Tensor) -> Tensor:
    """KL divergence of the four side distributions [B,4R,N], weighted by the teacher's confidence [B,N]."""
    batch, _, anchors = student.shape
    wanted = teacher.view(batch, 4, BOX_BINS, anchors).log_softmax(2)
    given = student.view(batch, 4, BOX_BINS, anchors).log_softmax(2)
    divergence = F.kl_div(given, wanted, reduction="none", log_target=True).sum(2).mean(1)  # [B,N]
    return _weighted(divergence, confidence)


def coefficient_loss(student: Tensor, teacher: Tensor, confidence: Tensor) -> Tensor:
    """Squared error of the mask coefficients [B,M,N], weighted by the teacher's confidence, over their mean square."""
    error = (student - teacher).square().mean(1)
    return _weighted(error, confidence) / (_weighted(teacher.square().mean(1), confidence) + 1e-6)


def mask_loss(student: Outputs, teacher: Outputs, confidence: Tensor) -> Tensor:
    """Cross-entropy of whole soft masks at each picture's most confident anchors.

    A mask is a product of coefficients and prototypes; losses on each factor alone would let their errors add up.
    """
    count = min(INSTANCES, confidence.shape[1])
    trust, best = confidence.topk(count, dim=1)  # [B,I]
    trust = torch.where(trust > 0.2, trust, 0.0)
    if not bool((trust > 0).any()):
        return student.prototypes.float().sum() * 0.0

    def masks(outputs: Outputs) -> Tensor:
        width = outputs.coefficients.shape[1]
        chosen = outputs.coefficients.float().gather(2, best[:, None].expand(-1, width, -1))  # [B,M,I]
        return torch.einsum("bmi,bmhw->bihw", chosen, outputs.prototypes.float())

    wanted = masks(teacher).sigmoid()
    loss = F.binary_cross_entropy_with_logits(masks(student), wanted, reduction="none")
    # masks are cropped to their boxes later: high weight inside, low weight outside
    place = 0.1 + wanted
    each = (loss * place).sum((2, 3)) / place.sum((2, 3))
    return (each * trust).sum() / trust.sum()


def _levels(confidence: Tensor, features: Mapping[int, Tensor]) -> Iterator[Tensor]:
    """Split [B,N] into the maps of the three levels [B,1,H,W]; every level must be among `features`."""
    start = 0
    for level in range(3):
        shape = next(f.shape for layer, f in features.items() if LEVEL_OF_LAYER[layer] == level)
        size = shape[-2] * shape[-1]
        yield confidence[:, start : start + size].view(-1, 1, shape[-2], shape[-1])
        start += size


def _weighted(values: Tensor, weight: Tensor) -> Tensor:
    weight = torch.where(weight > 0.01, weight, 0.0)
    return (values * weight).sum() / weight.sum().clamp_min(1e-3)
