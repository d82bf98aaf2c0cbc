"""Coarse to fine with gated convolutions; the fine network attends to similar known patches.

Paper:     Yu, Lin, Yang, Shen, Lu, Huang, "Generative image inpainting with contextual attention", CVPR 2018,
           arXiv 1801.07892; the same, "Free-form image inpainting with gated convolution", ICCV 2019, arXiv 1806.03589.
Equations: 2018: 2 (cosine similarity of patches), section 3.2 (softmax, copying by deconvolution); 2019: 3 (gating).
Differs:   no attention propagation (it ties all rows of the score matrix together; without it the rows are worked on in
           slices and memory is bounded); at most `MAX_POSITIONS` positions are matched, on coarser maps where
           there are more; width is free.
Weights:   none ship; `vidrase train inpainter --net contextual` makes them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MAX_POSITIONS = 64 * 64  # positions that are matched: those of a 512² picture at an eighth of its size
ROWS_PER_SLICE = 1024  # rows of the score matrix at a time: 1024 × 4096 fp32 = 16 MiB a picture
SHARPNESS = 10.0  # the paper's softmax scale
_MASKED_SCORE = -1e4


class GatedConv2d(nn.Module):
    """φ(features) ⊙ σ(gate), both from one convolution (2019, equation 3)."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        pad = dilation * (kernel // 2)
        self.conv = nn.Conv2d(inputs, 2 * outputs, kernel, stride, pad, dilation)

    def forward(self, x: Tensor) -> Tensor:
        """float [B, inputs, H, W] -> [B, outputs, H/stride, W/stride]."""
        features, gate = self.conv(x).chunk(2, 1)
        return F.elu(features) * torch.sigmoid(gate)


class _Larger(nn.Module):
    """Enlarges to twice the size, then a gated convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = GatedConv2d(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))  # type: ignore[no-any-return]


def contextual_attention(
    features: Tensor, hole: Tensor, *, most: int = MAX_POSITIONS, rows: int = ROWS_PER_SLICE
) -> Tensor:
    """`features` with the hole rebuilt from known patches (2018, section 3.2).

    Patches of 3×3 are compared on maps reduced by a rate of 2 or more; what is copied are patches of the full map, 2·rate wide
    and overlapping by half. Needs about `rows` × `most` numbers a picture besides the patches.

    features: float [B, C, h, w]; hole: 0/1 [B, 1, h, w], 1 = missing. Returns float [B, C, h, w]; outside the hole as given.
    """
    height, width = features.shape[2:]
    rate = 2
    while -(-height // rate) * -(-width // rate) > most:
        rate += 1
    pad = (0, -width % rate, 0, -height % rate)
    wide = F.pad(features, pad, mode="replicate") if any(pad) else features
    gone = F.pad(hole.float(), pad, value=1.0) if any(pad) else hole.float()
    small = F.avg_pool2d(wide, rate)  # [B, C, h/r, w/r]
    blocked = F.max_pool2d(gone, rate)
    usable = F.max_pool2d(blocked, 3, 1, 1).flatten(2) < 0.5  # wholly known patches    [B, 1, N]
    keys = F.normalize(F.unfold(small, 3, padding=1), dim=1)  # equation 2              [B, 9C, N]
    half = rate // 2
    raw = F.unfold(F.pad(wide, (half, rate - half) * 2, mode="replicate"), 2 * rate, stride=rate)  # [B, 4r²C, N]
    copied = []
    for start in range(0, keys.shape[2], rows):
        likeness = keys[:, :, start : start + rows].transpose(1, 2) @ keys  # [B, rows, N]
        chosen = (SHARPNESS * likeness.float()).masked_fill(~usable, _MASKED_SCORE).softmax(2)
        copied.append(raw @ chosen.to(raw.dtype).transpose(1, 2))  # [B, 4r²C, rows]
    outer = (wide.shape[2] + rate, wide.shape[3] + rate)
    joined = F.fold(torch.cat(copied, 2).float(), outer, 2 * rate, stride=rate)
    over = F.fold(torch.ones_like(raw[:1, : 4 * rate * rate]).float(), outer, 2 * rate, stride=rate)  # patches a pixel
    rebuilt = (joined / over)[:, :, half : half + height, half : half + width]
    return torch.where(hole > 0.5, rebuilt.to(features.dtype), features)


class _Coarse(nn.Sequential):
    """Coarse network: full size in and out, at a quarter of the size in the middle, with growing dilation."""

    def __init__(self, width: int) -> None:
        w = width
        super().__init__(
            GatedConv2d(4, w, 5),
            GatedConv2d(w, 2 * w, stride=2),
            GatedConv2d(2 * w, 2 * w),
            GatedConv2d(2 * w, 4 * w, stride=2),
            *(GatedConv2d(4 * w, 4 * w, dilation=d) for d in (1, 2, 4, 8, 16, 1)),
            _Larger(4 * w, 2 * w),
            _Larger(2 * w, w),
            nn.Conv2d(w, 3, 3, padding=1),
        )


def _encoder(width: int) -> nn.Sequential:
    w = width
    return nn.Sequential(
        GatedConv2d(4, w, 5),
        GatedConv2d(w, w, stride=2),
        GatedConv2d(w, 2 * w),
        GatedConv2d(2 * w, 4 * w, stride=2),
    )


class ContextualNet(nn.Module):
    """Coarse network, then a fine one with a dilated branch and an attention branch."""

    stride = 8

    def __init__(self, *, width: int = 24) -> None:
        super().__init__()
        w = width
        self.coarse = _Coarse(w)
        self.near = nn.Sequential(_encoder(w), *(GatedConv2d(4 * w, 4 * w, dilation=d) for d in (2, 4, 8, 16)))
        self.far = _encoder(w)
        self.far_after = nn.Sequential(GatedConv2d(4 * w, 4 * w), GatedConv2d(4 * w, 4 * w))
        self.join = nn.Sequential(
            GatedConv2d(8 * w, 4 * w),
            _Larger(4 * w, 2 * w),
            _Larger(2 * w, w),
            nn.Conv2d(w, 3, 3, padding=1),
        )

    def forward(self, pixels: Tensor, hole: Tensor) -> tuple[Tensor, ...]:
        """(coarse, fine), both float [B, 3, H, W], not clipped, known pixels not copied.

        pixels: float [B, 3, H, W] in [0, 1], any value in the hole; hole: float 0/1 [B, 1, H, W], 1 = fill.
        """
        hole = hole.float()
        first = self.coarse(torch.cat([(pixels - 0.5) * (1 - hole), hole], 1)).float() + 0.5
        second = torch.cat([torch.where(hole > 0.5, first, pixels) - 0.5, hole], 1)  # [B, 4, H, W]
        attending = self.far(second)  # [B, 4w, H/4, W/4]
        attending = contextual_attention(attending, F.max_pool2d(hole, 4))
        joined = torch.cat([self.near(second), self.far_after(attending)], 1)  # [B, 8w, H/4, W/4]
        return first, self.join(joined).float() + 0.5
