"""A U-Net of partial convolutions: missing pixels enter no sum, and the hole closes layer by layer.

Paper:     Liu, Reda, Shih, Wang, Tao, Catanzaro, "Image inpainting for irregular holes using partial convolutions",
           ECCV 2018, arXiv 1804.07723.
Equations: 1 (convolution with sum(1)/sum(M)), 2 (mask update), section 3.2 (network).
Differs:   width and depth are free (the paper: 64 and 8, 33 M parameters), so that it can be trained without a GPU; at the
           border sum(1) counts the window's part inside the picture, so that with nothing missing it is exactly `Conv2d`;
           where two maps meet (skips) each keeps its own mask, and sum(M) counts both.
Weights:   none ship; `vidrase train inpainter --net pconv` makes them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PartialConv2d(nn.Module):
    """A convolution over known pixels. Masks are the paper's here and in this file only: 1 = known."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, bias: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, *parts: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Equations 1 and 2 on the concatenation of `parts`.

        parts: (features float [B, C, H, W], mask float 0/1 [B, 1, H, W]) each; equal B, H, W.
        Returns (float [B, outputs, H/stride, W/stride], its mask [B, 1, H/stride, W/stride]); 0 where the mask stays 0.
        """
        x = torch.cat([features * mask for features, mask in parts], 1)  # X ⊙ M           [B, C, H, W]
        seen = sum(features.shape[1] * self._window_sum(mask) for features, mask in parts)  # sum(M)
        full = x.shape[1] * self._window_sum(torch.ones_like(parts[0][1][:1]))  # sum(1)   [1, 1, h, w]
        assert isinstance(seen, Tensor)
        known = (seen > 0).float()  # equation 2                                           [B, 1, h, w]
        out = self.conv(x) * (full / seen.clamp_min(1.0))  # counts are whole numbers
        if self.bias is not None:
            out = out + self.bias[:, None, None]
        return out * known, known  # equation 1

    def _window_sum(self, mask: Tensor) -> Tensor:
        size, stride, pad = self.conv.kernel_size[0], self.conv.stride[0], int(self.conv.padding[0])
        return F.avg_pool2d(mask, size, stride, pad, divisor_override=1)


class _Step(nn.Module):
    """Partial convolution, normalisation, activation."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int, norm: bool, slope: float) -> None:
        super().__init__()
        self.conv = PartialConv2d(inputs, outputs, kernel, stride=stride, bias=not norm)
        self.norm = nn.BatchNorm2d(outputs) if norm else nn.Identity()
        self.slope = slope

    def forward(self, *parts: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        out, mask = self.conv(*parts)
        return F.leaky_relu(self.norm(out), self.slope), mask


class PartialConvUNet(nn.Module):
    """Section 3.2. Pictures as small as `stride` px go through; larger ones must be multiples of it."""

    def __init__(self, *, width: int = 32, depth: int = 6) -> None:
        super().__init__()
        self.stride = 1 << depth
        widths = [3] + [width * min(1 << level, 8) for level in range(depth)]
        kernels = [7, 5, 5] + [3] * depth
        self.down = nn.ModuleList(
            _Step(widths[k], widths[k + 1], kernels[k], stride=2, norm=k > 0, slope=0.0) for k in range(depth)
        )
        ups = []
        for k in reversed(range(depth)):
            last = k == 0
            outputs = 3 if last else widths[k]
            step: nn.Module = (
                PartialConv2d(widths[1] + 3, 3, 3)
                if last
                else _Step(widths[k + 1] + widths[k], outputs, 3, stride=1, norm=True, slope=0.2)
            )
            ups.append(step)
        self.up = nn.ModuleList(ups)

    def forward(self, pixels: Tensor, hole: Tensor) -> tuple[Tensor, ...]:
        """The completed picture, as the only stage.

        pixels: float [B, 3, H, W] in [0, 1], any value in the hole; hole: float 0/1 [B, 1, H, W], 1 = fill.
        Returns (float [B, 3, H, W],), not clipped, known pixels not copied.
        """
        mask = 1.0 - hole.float()  # the paper's mask; nowhere else
        x = pixels
        skips = [(x, mask)]
        for step in self.down:
            x, mask = step((x, mask))
            skips.append((x, mask))  # [B, width·2^k, H/2^k, W/2^k]
        skips.pop()
        for step in self.up:
            skip = skips.pop()
            x, mask = (F.interpolate(map_, scale_factor=2.0, mode="nearest") for map_ in (x, mask))
            x, mask = step((x, mask), skip)
        return (x.float(),)
