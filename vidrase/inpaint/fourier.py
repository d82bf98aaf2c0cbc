"""Fourier convolutions: the receptive field is the whole picture from the first block on.

Paper:     Suvorov, Logacheva, Mashikhin, et al., "Resolution-robust large mask inpainting with Fourier convolutions",
           WACV 2022, arXiv 2109.07161; Chi, Jiang, Mu, "Fast Fourier convolution", NeurIPS 2020.
Equations: LaMa section 2.1 and figure 2 (spectral transform, local and global paths).
Differs:   fewer and narrower blocks (LaMa: 9 blocks, width 64, 27 M parameters); nearest-neighbour enlargement with a
           convolution instead of a transposed one (no checkerboard); no local Fourier unit; a smooth membrane stands in
           the hole of the input instead of black, and the network adds to it (so a short training starts from a smooth
           fill instead of from nothing); the outermost layers work on 2×2 pixels at once (space to depth); zeros beyond
           the border instead of its mirror image, which took 15 % of a step on a CPU.
Weights:   `vidrase-inpaint` in the package; `vidrase train inpainter --net fourier` makes others.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SMOOTHINGS = 4  # of the membrane, at each scale


def _conv(inputs: int, outputs: int, kernel: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def membrane(pixels: Tensor, hole: Tensor) -> Tensor:
    """Known pixels, and a smooth surface spanned between them: pull-push (Gortler et al., "The lumigraph", 1996, section 3.4).

    pixels: float [B, C, H, W], any value in the hole; hole: float 0/1 [B, 1, H, W]. Returns float [B, C, H, W].
    """
    colours, weights = pixels * (1 - hole), 1 - hole
    finer: list[tuple[Tensor, Tensor]] = []
    while (
        max(weights.shape[2:]) > 1
    ):  # no early exit: reading back whether anything is still missing would stall a GPU's queue at every scale
        finer.append((colours, weights))
        total = F.avg_pool2d(weights, 2, ceil_mode=True)
        colours = F.avg_pool2d(colours * weights, 2, ceil_mode=True) / total.clamp_min(1e-6)
        weights = (4 * total).clamp_max(1)
    for fine, weight in reversed(finer):
        under = F.interpolate(colours, fine.shape[2:], mode="bilinear", align_corners=False)
        colours = under + weight * (fine - under)
        for _ in range(SMOOTHINGS):
            calm = F.avg_pool2d(colours, 3, 1, 1, count_include_pad=False)
            colours = calm + weight * (fine - calm)
    return colours


class SpectralTransform(nn.Module):
    """A 1×1 convolution of the spectrum: one kernel as large as the picture."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 2
        self.reduce = _conv(channels, inner, 1)
        self.mix = _conv(2 * inner, 2 * inner, 1)
        self.expand = nn.Conv2d(inner, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """float [B, C, h, w] -> the same."""
        y = self.reduce(x)  # [B, C/2, h, w]
        spectrum = torch.fft.rfft2(y.float(), norm="ortho")  # fp32: there is no half-precision transform on a CPU
        parts = self.mix(torch.cat([spectrum.real, spectrum.imag], 1)).float()  # [B, C, h, w/2+1]
        real, imaginary = parts.chunk(2, 1)
        whole = torch.fft.irfft2(torch.complex(real, imaginary), s=y.shape[2:], norm="ortho")
        return self.expand(y + whole.to(y.dtype))  # type: ignore[no-any-return]


class FourierConv(nn.Module):
    """Two paths that feed each other: 3×3 convolutions and the spectral transform."""

    def __init__(self, near: int, far: int) -> None:
        super().__init__()
        self.to_near = nn.Conv2d(near + far, near, 3, padding=1, bias=False)
        self.near_to_far = nn.Conv2d(near, far, 3, padding=1, bias=False)
        self.far_to_far = SpectralTransform(far)
        self.norm_near, self.norm_far = nn.BatchNorm2d(near), nn.BatchNorm2d(far)

    def forward(self, near: Tensor, far: Tensor) -> tuple[Tensor, Tensor]:
        """[B, near, h, w], [B, far, h, w] -> the same."""
        out_near = self.to_near(torch.cat([near, far], 1))
        out_far = self.near_to_far(near) + self.far_to_far(far)
        return F.relu(self.norm_near(out_near)), F.relu(self.norm_far(out_far))


class _Block(nn.Module):
    """Two Fourier convolutions and a shortcut."""

    def __init__(self, near: int, far: int) -> None:
        super().__init__()
        self.first, self.second = FourierConv(near, far), FourierConv(near, far)

    def forward(self, near: Tensor, far: Tensor) -> tuple[Tensor, Tensor]:
        out_near, out_far = self.second(*self.first(near, far))
        return near + out_near, far + out_far


class FourierNet(nn.Module):
    """Three halvings, `blocks` blocks with three quarters of the channels in the spectrum, three doublings."""

    stride = 8

    def __init__(self, *, width: int = 24, blocks: int = 5) -> None:
        super().__init__()
        w = width
        self.near, self.far = 2 * w, 6 * w
        self.down = nn.Sequential(
            nn.PixelUnshuffle(2),
            _conv(16, 2 * w, 5),
            _conv(2 * w, 4 * w, 3, stride=2),
            _conv(4 * w, 8 * w, 3, stride=2),
        )
        self.blocks = nn.ModuleList(_Block(self.near, self.far) for _ in range(blocks))
        self.up = nn.ModuleList([_conv(8 * w, 4 * w, 3), _conv(4 * w, 2 * w, 3)])
        last = nn.Conv2d(2 * w, 12, 5, padding=2)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        self.last = nn.Sequential(last, nn.PixelShuffle(2))

    def forward(self, pixels: Tensor, hole: Tensor) -> tuple[Tensor, ...]:
        """The completed picture, as the only stage.

        pixels: float [B, 3, H, W] in [0, 1], any value in the hole; hole: float 0/1 [B, 1, H, W], 1 = fill.
        Returns (float [B, 3, H, W],), not clipped, known pixels not copied.
        """
        hole = hole.float()
        smooth = membrane(pixels.float(), hole)
        mean = smooth.mean((2, 3), True)  # [B, 3, 1, 1]
        x = self.down(torch.cat([smooth - mean, hole], 1))  # [B, 8w, H/8, W/8]
        near, far = x.split([self.near, self.far], 1)
        for block in self.blocks:
            near, far = block(near, far)
        x = torch.cat([near, far], 1)
        for step in self.up:
            x = step(F.interpolate(x, scale_factor=2.0, mode="nearest"))  # at last [B, 2w, H/2, W/2]
        return (smooth + self.last(x).float(),)
