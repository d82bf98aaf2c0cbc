"""One way in and out for every learned inpainter: crops round the holes, at the scale the network knows, in batches.

Known pixels come back bit for bit. The same code serves processor and GPU.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vidrase.errors import OptionError, OutOfMemory
from vidrase.inpaint.classical import check
from vidrase.inpaint.detail import with_detail
from vidrase.report import Note
from vidrase.weights import EMBEDDED_INPAINTER

Picture = NDArray[np.float32]  # [H, W, 3]
Mask = NDArray[np.bool_]  # [H, W]

CONTEXT = 1.0  # of the hole's size on each side: what the network may look at
LEAST_CONTEXT = 32  # px
NEAR = 16  # px: parts of a hole this close are invented together
RIM = 3  # px: known pixels beside the hole whose error is spread into it
FADE = 8.0  # px: and how far in
BATCH = 16


@dataclass(frozen=True, slots=True)
class _Crop:
    """A part of one picture, at the scale of the network."""

    index: int
    span: tuple[slice, slice]
    own: Mask
    """[h, w] of `span`: what this crop has to fill."""
    hole: Mask
    """[h, w]: all that is missing there."""
    small: Picture
    small_hole: Mask


class LearnedInpainter:
    """See `Inpainter`. `side`: the long side in px up to which the network was trained; larger crops are reduced to it."""

    stride = 1  # it pads by itself

    def __init__(
        self, name: str, network: nn.Module, *, side: int = 256, device: str = "auto", note: Note | None = None
    ) -> None:
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.name, self.side = name, side
        self._device = torch.device(device)
        self._network: Any = network.eval().to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._dtype = _half(self._device)
        self._note = note
        self._room = BATCH

    def __call__(self, pixels: NDArray[np.float32], hole: NDArray[np.bool_]) -> NDArray[np.float32]:
        """float32 [B, 3, H, W] RGB in [0, 1], bool [B, 1, H, W] True = fill -> float32 [B, 3, H, W]; known pixels unchanged."""
        check(pixels, hole)
        out = pixels.copy()
        crops = [crop for index in range(len(pixels)) for crop in self._crops(index, pixels[index], hole[index, 0])]
        alike: dict[tuple[int, int], list[_Crop]] = defaultdict(list)
        for crop in crops:
            alike[crop.small_hole.shape].append(crop)  # type: ignore[index]
        for group in alike.values():
            start = 0
            while start < len(group):
                part = group[start : start + self._room]
                try:
                    invented = self._run(part)
                except torch.OutOfMemoryError as error:
                    self._shrink(len(part), error)
                    continue
                for crop, small in zip(part, invented, strict=True):
                    _place(out[crop.index], crop, small)
                start += len(part)
        return out

    def _crops(self, index: int, pixels: NDArray[np.float32], hole: Mask) -> list[_Crop]:
        """Parts of picture `index` [3, H, W], one for each group of holes near each other; none where all is known."""
        if not hole.any() or hole.all():
            return []
        rgb = np.ascontiguousarray(pixels.transpose(1, 2, 0))
        joined = cv2.dilate(hole.astype(np.uint8), np.ones((2 * NEAR + 1, 2 * NEAR + 1), np.uint8))
        count, labels, _, _ = cv2.connectedComponentsWithStats(joined)
        found = []
        for label in range(1, count):
            own = hole & (labels == label)
            rows, columns = np.flatnonzero(own.any(1)), np.flatnonzero(own.any(0))
            size = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
            margin = max(LEAST_CONTEXT, int(CONTEXT * size))
            span = (
                slice(max(0, rows[0] - margin), rows[-1] + 1 + margin),
                slice(max(0, columns[0] - margin), columns[-1] + 1 + margin),
            )
            found.append(self._crop(index, span, rgb[span], own[span], hole[span]))
        return found

    def _crop(self, index: int, span: tuple[slice, slice], rgb: Picture, own: Mask, hole: Mask) -> _Crop:
        height, width = hole.shape
        scale = min(1.0, self.side / max(height, width))
        if scale == 1.0:
            return _Crop(index, span, own, hole, rgb, hole)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        known = (~hole).astype(np.float32)
        share = cv2.resize(known, size, interpolation=cv2.INTER_AREA)
        small = cv2.resize(rgb * known[..., None], size, interpolation=cv2.INTER_AREA)  # nothing of the hole leaks in
        return _Crop(index, span, own, hole, small / np.maximum(share, 1e-3)[..., None], share < 0.5)

    def _run(self, crops: Sequence[_Crop]) -> list[Picture]:
        """What the network invents, float32 [h, w, 3] each, whole pictures; crops are of one size."""
        stride = int(self._network.stride)
        height, width = crops[0].small_hole.shape
        pad = ((0, -height % stride), (0, -width % stride))
        pixels = torch.from_numpy(np.stack([np.pad(c.small, (*pad, (0, 0)), mode="symmetric") for c in crops]))
        holes = torch.from_numpy(np.stack([np.pad(c.small_hole, pad, mode="symmetric") for c in crops]))
        if self._device.type == "cuda":
            pixels, holes = pixels.pin_memory(), holes.pin_memory()
        with torch.inference_mode(), torch.autocast(self._device.type, self._dtype, self._dtype != torch.float32):
            # [B, H, W, 3] permuted is channels_last as it stands
            x = pixels.to(self._device, non_blocking=True).permute(0, 3, 1, 2)
            hole = holes.to(self._device, non_blocking=True)[:, None].to(x.dtype)
            whole = self._network(x * (1 - hole), hole)[-1].float().clamp(0, 1)
        invented = whole.permute(0, 2, 3, 1)[:, :height, :width].cpu().numpy()
        return [_seamless(crop, np.ascontiguousarray(one)) for crop, one in zip(crops, invented, strict=True)]

    def _shrink(self, tried: int, error: Exception) -> None:
        if tried == 1:
            raise OutOfMemory(
                f"the inpainter '{self.name}' needs more memory than {self._device} has; use --device cpu"
            ) from error
        self._room = max(1, tried // 2)
        if self._note is not None:
            self._note(f"the inpainter's batch was reduced to {self._room}: {self._device} is short of memory")


def load_learned(
    name: str, weights: Path | None, *, device: str = "auto", note: Note | None = None, trust: bool = False
) -> LearnedInpainter:
    """The inpainter called `name` (pconv, contextual, fourier, lama) from a file.

    trust: whether it may be a program (TorchScript) that is not known by its sha256.
    Raises OptionError without one, WeightsMissing or WeightsCorrupt.
    """
    if weights is None and name == "fourier":
        weights = EMBEDDED_INPAINTER
    if weights is None:
        raise OptionError(f"--inpainter {name} comes without weights; give --inpainter-weights FILE")
    if name == "lama":
        from vidrase.inpaint.lama import load_lama

        network, card = load_lama(weights, trust=trust)
    else:
        from vidrase.inpaint.stored import load_network

        network, card = load_network(weights, name)
    return LearnedInpainter(name, network, side=int(card["side"]), device=device, note=note)


def _half(device: torch.device) -> torch.dtype:
    """The number format for autocast: fp32 where nothing shorter is quicker."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    quick = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return torch.bfloat16 if device.type == "cpu" and quick is not None and quick() else torch.float32


def _seamless(crop: _Crop, invented: Picture) -> Picture:
    """Known pixels from the picture, and in the hole the invention without the step at its rim."""
    hole = crop.small_hole
    near = cv2.dilate(hole.astype(np.uint8), np.ones((2 * RIM + 1, 2 * RIM + 1), np.uint8)) > 0
    weight = (near & ~hole).astype(np.float32)
    if weight.any():
        error = (crop.small - invented) * weight[..., None]
        total = cv2.GaussianBlur(weight, (0, 0), FADE)[..., None]
        spread = cv2.GaussianBlur(error, (0, 0), FADE) / np.maximum(total, 1e-6)
        inward = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
        invented = invented + spread * np.exp(-inward / FADE)[..., None]
    return np.where(hole[..., None], np.clip(invented, 0, 1), crop.small).astype(np.float32)


def _place(out: NDArray[np.float32], crop: _Crop, small: Picture) -> None:
    """Write the crop's own hole into picture `out` [3, H, W]."""
    if small.shape[:2] == crop.own.shape:
        whole = small
    else:
        rgb = np.ascontiguousarray(out[:, crop.span[0], crop.span[1]].transpose(1, 2, 0))
        whole = np.clip(with_detail(rgb, crop.hole, small, crop.small_hole), 0, 1)
    target = out[:, crop.span[0], crop.span[1]]
    target[:, crop.own] = whole[crop.own].T
