"""The pipeline of every learned inpainter: regions around the holes, at the network's training scale, in batches.

Known pixels are returned bit for bit. The same code runs on CPU and GPU: pictures are copied to the device once and back once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vidrase.errors import OutOfMemory
from vidrase.inpaint.classical import check
from vidrase.inpaint.detail import with_detail
from vidrase.inpaint.regions import Region, find_regions
from vidrase.inpaint.resample import mirrored, reduced
from vidrase.inpaint.seam import seamless
from vidrase.report import Note
from vidrase.weights import EMBEDDED_INPAINTER

BATCH, GPU_BATCH = 16, 64  # regions in a batch, if memory allows


class LearnedInpainter:
    """See `Inpainter`. `side`: the long side in px up to which the network was trained; larger regions are reduced to it."""

    stride = 1  # the pipeline pads

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
        self._room = BATCH if self._device.type == "cpu" else GPU_BATCH

    def __call__(self, pixels: NDArray[np.float32], hole: NDArray[np.bool_]) -> NDArray[np.float32]:
        """float32 [B, 3, H, W] RGB in [0, 1], bool [B, 1, H, W] True = fill -> float32 [B, 3, H, W]; known pixels unchanged.

        A picture without a known pixel is returned unchanged. Raises OutOfMemory when not even one region fits the device.
        """
        check(pixels, hole)
        labels, regions = find_regions(hole[:, 0], self.side)
        if not regions:
            return pixels.copy()
        alike: dict[tuple[int, int], list[Region]] = defaultdict(list)
        for region in regions:
            alike[region.size].append(region)
        with torch.inference_mode():
            try:
                pictures, marks = self._upload(pixels.copy()), self._upload(labels)
            except torch.OutOfMemoryError as error:
                raise self._too_large() from error
            for group in alike.values():
                start = 0
                while start < len(group):
                    part = group[start : start + self._room]
                    try:
                        self._fill(pictures, marks, part)
                    except torch.OutOfMemoryError as error:
                        self._shrink(len(part), error)
                        continue
                    start += len(part)
            return self._download(pictures)

    def _upload(self, array: NDArray) -> Tensor:
        return torch.from_numpy(array).to(self._device)

    def _download(self, pictures: Tensor) -> NDArray[np.float32]:
        return pictures.cpu().numpy()  # type: ignore[no-any-return]

    def _fill(self, pictures: Tensor, marks: Tensor, regions: Sequence[Region]) -> None:
        """Write the network's output for `regions`, all of one size, into the holes of `pictures`, [B, 3, H, W].

        Pixels in a hole are no input, so it does not matter whether they were written before.
        """
        crops = [pictures[region.index][:, region.box[0], region.box[1]] for region in regions]
        numbers = [marks[region.index][region.box] for region in regions]
        seen = [
            reduced(crop, number > 0, region.size) for crop, number, region in zip(crops, numbers, regions, strict=True)
        ]
        small, hole = torch.stack([one for one, _ in seen]), torch.stack([one for _, one in seen])[:, None]
        whole = seamless(small, hole, self._invented(small, hole))
        for region, crop, number, done, missing in zip(regions, crops, numbers, whole, hole[:, 0], strict=True):
            rows, columns = region.hole
            if region.size == number.shape:
                made = done[:, rows, columns]
            else:
                made = with_detail(crop, number > 0, done, missing, region.hole).clamp(0, 1)
            target = crop[:, rows, columns]
            target.copy_(torch.where(number[rows, columns] == region.number, made, target))

    def _invented(self, known: Tensor, hole: Tensor) -> Tensor:
        """The network's output for float32 [N, 3, h, w] and bool [N, 1, h, w]: whole pictures in [0, 1]."""
        height, width = hole.shape[2:]
        stride = int(self._network.stride)
        x, where = mirrored(torch.where(hole, 0.0, known), stride), mirrored(hole.float(), stride)
        with torch.autocast(self._device.type, self._dtype, self._dtype != torch.float32):
            whole = self._network(x.contiguous(memory_format=torch.channels_last), where)[-1]
        return whole[:, :, :height, :width].float().clamp(0, 1)  # type: ignore[no-any-return]

    def _shrink(self, tried: int, error: Exception) -> None:
        if tried == 1:
            raise self._too_large() from error
        self._room = max(1, tried // 2)
        if self._note is not None:
            self._note(f"the inpainter's batch was reduced to {self._room}: {self._device} is short of memory")

    def _too_large(self) -> OutOfMemory:
        return OutOfMemory(f"the inpainter '{self.name}' needs more memory than {self._device} has; use --device cpu")


def load_learned(
    name: str, weights: Path | None, *, device: str = "auto", note: Note | None = None, trust: bool = False
) -> LearnedInpainter:
    """The inpainter called `name` (pconv, contextual, fourier, lama) from a file; None: the fourier network in the package.

    trust: whether it may be a program (TorchScript) that is not known by its sha256.
    Raises OptionError for a file of another network, WeightsMissing or WeightsCorrupt.
    """
    weights = weights or EMBEDDED_INPAINTER
    if name == "lama":
        from vidrase.inpaint.lama import load_lama

        network, card = load_lama(weights, trust=trust)
    else:
        from vidrase.inpaint.stored import load_network

        network, card = load_network(weights, name)
    return LearnedInpainter(name, network, side=int(card["side"]), device=device, note=note)


def _half(device: torch.device) -> torch.dtype:
    """The dtype for autocast: fp32 where no shorter one is faster."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    quick = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return torch.bfloat16 if device.type == "cpu" and quick is not None and quick() else torch.float32
