"""Evaluate a segmenter, student and teacher alike, with our own decoding instead of ultralytics' trainer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vidrase.errors import UnsupportedSource

PERSON = 0
GREY = 114  # ultralytics' padding value
Image = NDArray[np.uint8]  # [H,W,3] RGB
Mask = NDArray[np.bool_]  # [H,W]


@dataclass(frozen=True, slots=True)
class Found:
    """K instances in an image, best first: `labels` int [K], `scores` [K], `boxes` xyxy px [K,4], `masks` bool [K,H,W]."""

    labels: NDArray[np.int64]
    scores: NDArray[np.float32]
    boxes: NDArray[np.float32]
    masks: Mask


def letterbox(rgb: Image, imgsz: int, stride: int = 32) -> tuple[Tensor, float, int, int]:
    """Scale the long side to `imgsz` and pad evenly to the stride. → (float [1,3,h,w] in [0,1], scale, left, top)."""
    height, width = rgb.shape[:2]
    scale = imgsz / max(height, width)
    inner_h, inner_w = max(1, round(height * scale)), max(1, round(width * scale))
    outer_h, outer_w = -(-inner_h // stride) * stride, -(-inner_w // stride) * stride
    top, left = (outer_h - inner_h) // 2, (outer_w - inner_w) // 2
    canvas = np.full((outer_h, outer_w, 3), GREY, np.uint8)
    canvas[top : top + inner_h, left : left + inner_w] = cv2.resize(
        rgb, (inner_w, inner_h), interpolation=cv2.INTER_LINEAR
    )
    pixels = torch.from_numpy(canvas).permute(2, 0, 1)[None].float() / 255
    return pixels, scale, left, top


@torch.no_grad()
def find(network: nn.Module, rgb: Image, imgsz: int = 640, conf: float = 0.25, iou: float = 0.7) -> Found:
    """Run a network in eval mode on an image; masks at the image's size."""
    pixels, scale, left, top = letterbox(rgb, imgsz)
    device = next(network.parameters()).device
    (decoded, prototypes), _ = network(pixels.to(device))
    return decode(decoded[0].float().cpu(), prototypes[0].float().cpu(), rgb.shape[:2], scale, left, top, conf, iou)


def decode(
    decoded: Tensor,
    prototypes: Tensor,
    size: tuple[int, int],
    scale: float,
    left: int,
    top: int,
    conf: float,
    iou: float,
) -> Found:
    """Decode one image's head output (boxes cxcywh, class scores, coefficients: [4+K+M,N]; prototypes [M,h/4,w/4]) → `Found`."""
    height, width = size
    count = prototypes.shape[0]
    scores, labels = decoded[4:-count].max(0)
    chosen = (scores >= conf).nonzero()[:, 0]
    chosen = chosen[scores[chosen].argsort(descending=True)][:1000]
    centre, extent = decoded[:2, chosen].T, decoded[2:4, chosen].T
    boxes = torch.cat([centre - extent / 2, centre + extent / 2], 1)
    kept = suppress(boxes, labels[chosen], iou)[:100]
    boxes, chosen = boxes[kept], chosen[kept]
    logits = torch.einsum("mk,mhw->khw", decoded[-count:, chosen], prototypes)
    masks = np.zeros((len(chosen), height, width), bool)
    offset = torch.tensor([left, top, left, top], dtype=torch.float32)
    limit = torch.tensor([width, height, width, height], dtype=torch.float32)
    placed = ((boxes - offset) / scale).clamp_min(0).minimum(limit)
    for index, logit in enumerate(logits.float()):
        x0, y0, x1, y1 = (int(v) for v in placed[index].round())
        if x1 <= x0 or y1 <= y0:
            continue
        # sample the quarter-size logits only at this box's pixels: pixel p is at (p·scale + offset)/4
        columns = ((np.arange(x0, x1) + 0.5) * scale + left) / 4 - 0.5
        rows = ((np.arange(y0, y1) + 0.5) * scale + top) / 4 - 0.5
        grid_x, grid_y = np.meshgrid(columns.astype(np.float32), rows.astype(np.float32))
        values = cv2.remap(logit.numpy(), grid_x, grid_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        masks[index, y0:y1, x0:x1] = values > 0
    return Found(labels[chosen].numpy(), scores[chosen].numpy(), placed.numpy(), masks)


def suppress(boxes: Tensor, labels: Tensor, iou: float) -> Tensor:
    """Greedy non-maximum suppression per class over boxes xyxy [K,4], best first → kept indices."""
    if not len(boxes):
        return torch.zeros(0, dtype=torch.long)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    low = torch.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = (high - low).clamp_min(0).prod(2)
    overlap = shared / (area[:, None] + area[None] - shared).clamp_min(1e-6)
    rival = (overlap > iou) & (labels[:, None] == labels[None])
    alive = torch.ones(len(boxes), dtype=torch.bool)
    for index in range(len(boxes)):
        if alive[index]:
            alive[index + 1 :] &= ~rival[index, index + 1 :]
    return alive.nonzero()[:, 0]


def mask_iou(a: Mask, b: Mask) -> NDArray[np.float64]:
    """IoU of each mask of [K,H,W] with each of [L,H,W] → [K,L]."""
    flat_a = a.reshape(len(a), -1).astype(np.float32)
    flat_b = b.reshape(len(b), -1).astype(np.float32)
    shared = flat_a @ flat_b.T
    total = flat_a.sum(1)[:, None] + flat_b.sum(1)[None] - shared
    return (shared / np.maximum(total, 1)).astype(np.float64)


def polygon_masks(label_file: Path, size: tuple[int, int], label: int = PERSON) -> list[Mask]:
    """The masks [H,W] of one class in a YOLO polygon file (`class x y x y …`, relative); none when there is no file."""
    if not label_file.exists():
        return []
    height, width = size
    masks = []
    for line in label_file.read_text(encoding="utf-8").splitlines():
        values = line.split()
        if len(values) < 7 or int(values[0]) != label:
            continue
        points = np.asarray(values[1:], np.float64).reshape(-1, 2) * (width, height)
        canvas = np.zeros((height, width), np.uint8)
        cv2.fillPoly(canvas, [points.round().astype(np.int32)], 1)
        masks.append(canvas.astype(bool))
    return masks


def read_rgb(path: Path) -> Image:
    """An image as RGB uint8 [H,W,3]."""
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise UnsupportedSource(f"{path.name} is no picture that can be read")
    return np.ascontiguousarray(bgr[..., ::-1], np.uint8)
