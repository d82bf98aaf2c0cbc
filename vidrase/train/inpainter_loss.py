"""Losses of the inpainter; a weight of 0 switches a term off.

Papers:    Liu et al. 2018 (arXiv 1804.07723), equations 3-8: hole, valid, perceptual, style, total variation; Yu et al. 2019
           (arXiv 1806.03589), equation 4: hinge loss of a spectrally normalised patch discriminator; joint L1 + SSIM.
Differs:   features are divided by the mean magnitude of the truth's, layer by layer, so that one set of weights fits VGG and
a YOLOv8 backbone; SSIM uses the window of Wang et al. 2004.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidrase.errors import WeightsCorrupt, WeightsMissing

Features = Callable[[Tensor], list[Tensor]]  # float [B, 3, H, W] in [0, 1] -> maps
_VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0)  # up to the third pooling (0), as in Liu et al.
_YOLO_LAYERS = (1, 2, 4, 6)  # strides 4, 4, 8, 16


@dataclass(frozen=True, slots=True)
class LossWeights:
    """Weight of each term; 0 switches it off."""

    hole: float = 6.0
    valid: float = 1.0
    ssim: float = 1.0
    perceptual: float = 0.05
    style: float = 20.0
    variation: float = 0.1
    adversarial: float = 0.0


PRESETS = {
    "vidrase": LossWeights(),
    "liu": LossWeights(ssim=0.0, style=120.0),
    "joint": LossWeights(hole=1.0, valid=1.0, ssim=1.0, perceptual=0.0, style=0.0, variation=0.0),
}


class VggFeatures(nn.Module):
    """Features of VGG-16 after pools 1-3, from a torchvision state dict (`vgg16-*.pth`)."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for width in _VGG16:
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()] if width else [nn.MaxPool2d(2)]
            inputs = width or inputs
        self.layers = nn.Sequential(*layers)
        wanted = self.layers.state_dict()
        state = _state(path)
        try:
            self.layers.load_state_dict({name: state[f"features.{name}"] for name in wanted})
        except (KeyError, RuntimeError) as error:
            raise WeightsCorrupt(f"{path.name} holds no VGG-16 of torchvision") from error
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None])
        self.register_buffer("spread", torch.tensor([0.229, 0.224, 0.225])[:, None, None])
        self.requires_grad_(False)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Three maps, at 1/2, 1/4 and 1/8 of the size."""
        x, maps = (pixels - self.mean) / self.spread, []  # type: ignore[operator]
        for layer in self.layers:
            x = layer(x)
            if isinstance(layer, nn.MaxPool2d):
                maps.append(x)
        return maps


class YoloFeatures(nn.Module):
    """Features of a YOLOv8 backbone, the substitute where no VGG weights are available."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        from vidrase.segment.checkpoint import load_network

        network: Any = load_network(path)
        self.layers = nn.ModuleList(network.model[: _YOLO_LAYERS[-1] + 1]).requires_grad_(False).eval()

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Four maps, at 1/4 to 1/16 of the size."""
        x, maps = pixels, []
        for index, layer in enumerate(self.layers):
            x = layer(x)
            if index in _YOLO_LAYERS:
                maps.append(x)
        return maps


def _state(path: Path) -> dict[str, Tensor]:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)  # type: ignore[no-any-return]
    except FileNotFoundError as error:
        raise WeightsMissing(
            f"no VGG weights at {path}; give a torchvision vgg16 state dict, or --yolo-features"
        ) from error
    except Exception as error:
        raise WeightsCorrupt(f"{path.name} is no state dict ({type(error).__name__})") from error


def completion_loss(
    stages: Sequence[Tensor], truth: Tensor, hole: Tensor, weights: LossWeights, features: Features | None = None
) -> tuple[Tensor, dict[str, float], Tensor]:
    """(loss, its weighted parts, composite float [B, 3, H, W]) of a network's output.

    stages: float [B, 3, H, W] each, the last one is the output, earlier ones have an L1 loss only; truth: float in [0, 1];
    hole: float 0/1 [B, 1, H, W].
    """
    out = stages[-1].float()
    made = torch.where(hole > 0.5, out, truth)
    terms: dict[str, Tensor] = {}
    difference = (out - truth).abs()
    terms["hole"] = weights.hole * masked_mean(difference, hole)
    terms["valid"] = weights.valid * masked_mean(difference, 1 - hole)
    for stage in stages[:-1]:
        terms["coarse"] = weights.hole * masked_mean((stage.float() - truth).abs(), hole)
    if weights.ssim:
        terms["ssim"] = weights.ssim * (1 - ssim(made, truth).mean())
    if weights.variation:
        terms["variation"] = weights.variation * total_variation(made, hole)
    if features is not None and (weights.perceptual or weights.style):
        perceptual, style = feature_losses(features, out.clamp(0, 1), made.clamp(0, 1), truth)
        terms["perceptual"], terms["style"] = weights.perceptual * perceptual, weights.style * style
    total = torch.stack([*terms.values()]).sum()
    return total, {name: float(value.detach()) for name, value in terms.items()}, made


def masked_mean(values: Tensor, where: Tensor) -> Tensor:
    """Mean of values [B, C, H, W] over the pixels of where [B, 1, H, W]; 0 when it is empty."""
    return (values * where).sum() / (where.sum() * values.shape[1]).clamp_min(1)


def total_variation(made: Tensor, hole: Tensor) -> Tensor:
    """Equation 8: mean absolute difference of neighbours inside the hole dilated by one pixel."""
    near = F.max_pool2d(hole, 3, 1, 1)
    down, across = (made[..., 1:, :] - made[..., :-1, :]).abs(), (made[..., 1:] - made[..., :-1]).abs()
    return masked_mean(down, near[..., 1:, :] * near[..., :-1, :]) + masked_mean(across, near[..., 1:] * near[..., :-1])


def gram(maps: Tensor) -> Tensor:
    """Autocorrelation of features [B, C, h, w] -> [B, C, C], divided by C·h·w (equation 5's K)."""
    flat = maps.flatten(2).float()
    return flat @ flat.transpose(1, 2) / (flat.shape[1] * flat.shape[2])


def feature_losses(features: Features, out: Tensor, made: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """(perceptual, style) of the raw output and the composite, equations 4-6; mean over layers."""
    with torch.no_grad():
        wanted = features(truth)
    given = features(torch.cat([out, made]))
    perceptual, style = out.new_zeros(()), out.new_zeros(())
    for theirs, ours in zip(given, wanted, strict=True):
        size = ours.float().abs().mean().clamp_min(1e-6)
        both, real = theirs.float() / size, (ours.float() / size).repeat(2, 1, 1, 1)
        perceptual = perceptual + 2 * (both - real).abs().mean()
        style = style + 2 * (gram(both) - gram(real)).abs().mean()
    return perceptual / len(wanted), style / len(wanted)


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Map of structural similarity (11 px Gaussian, sigma 1.5), float [B, C, H-10, W-10] of pictures in [0, 1]."""
    x = torch.arange(11, device=a.device, dtype=torch.float32) - 5
    line = torch.exp(-(x**2) / (2 * 1.5**2))
    line = line / line.sum()
    channels = a.shape[1]
    tall = line.view(1, 1, 11, 1).expand(channels, 1, 11, 1)
    wide = line.view(1, 1, 1, 11).expand(channels, 1, 1, 11)

    def blur(values: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(values, tall, groups=channels), wide, groups=channels)

    # variances are differences of nearly equal numbers: full precision
    with torch.autocast(a.device.type, enabled=False):
        a, b = a.float(), b.float()
        mean_a, mean_b = blur(a), blur(b)
        var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
        both = blur(a * b) - mean_a * mean_b
        c1, c2 = 0.01**2, 0.03**2
        return ((2 * mean_a * mean_b + c1) * (2 * both + c2)) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))


class PatchCritic(nn.Module):
    """SN-PatchGAN: one score per patch, spectrally normalised; input: image and hole."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        widths = [4, width, 2 * width, 4 * width, 4 * width]
        norm = nn.utils.parametrizations.spectral_norm
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [norm(nn.Conv2d(inputs, outputs, 5, 2, 2)), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, norm(nn.Conv2d(widths[-1], 1, 3, padding=1)))

    def forward(self, pixels: Tensor, hole: Tensor) -> Tensor:
        """float [B, 3, H, W], [B, 1, H, W] -> float [B, 1, H/16, W/16], larger = more real."""
        return self.layers(torch.cat([pixels - 0.5, hole], 1))  # type: ignore[no-any-return]


def critic_loss(real: Tensor, made: Tensor) -> Tensor:
    """Hinge loss: real patches above 1, generated ones below -1."""
    return F.relu(1 - real).mean() + F.relu(1 + made).mean()
