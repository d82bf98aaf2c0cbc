"""Evaluate an inpainter during training: metrics on held-out images and holes, a sample grid, and curves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vidrase import metrics
from vidrase.train.inpainter_data import Mask, make_hole, read_rgb

Image = NDArray[np.uint8]  # [H, W, 3] RGB
FIGURES = ("l1", "l2", "psnr", "ssim", "gradient_norm")
BATCH = 8
WHITE, INK, FAINT, LINE, DASH = (255,) * 3, (40,) * 3, (210,) * 3, (160, 70, 20), (70, 70, 200)  # BGR


class Evaluation:
    """Held-out images with one fixed hole each; the same for every run with the same `seed` and `shapes`."""

    def __init__(
        self, files: Sequence[Path], side: int, *, count: int = 64, shapes: Sequence[Mask] = (), seed: int = 2018
    ) -> None:
        self.truths: list[Image] = []
        self.holes: list[Mask] = []
        for index, path in enumerate(files):
            if len(self.truths) == count:
                break
            rgb = read_rgb(path)
            if rgb is None:
                continue
            short = min(rgb.shape[:2])
            y, x = (rgb.shape[0] - short) // 2, (rgb.shape[1] - short) // 2
            square = cv2.resize(rgb[y : y + short, x : x + short], (side, side), interpolation=cv2.INTER_AREA)
            self.truths.append(np.asarray(square, np.uint8))
            self.holes.append(make_hole(np.random.default_rng([seed, index]), side, shapes))

    def fill(self, network: nn.Module) -> list[Image]:
        """Output of a network in eval mode for every image, with known pixels unchanged."""
        device = next(network.parameters()).device
        made: list[Image] = []
        for start in range(0, len(self.truths), BATCH):
            truths = np.stack(self.truths[start : start + BATCH])
            holes = np.stack(self.holes[start : start + BATCH])
            pixels = torch.from_numpy(truths).permute(0, 3, 1, 2).to(device).float() / 255
            hole = torch.from_numpy(holes)[:, None].to(device).float()
            with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
                out = network(pixels * (1 - hole), hole)[-1]
            eight = (out.float().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
            made += [np.where(h[..., None], o, t) for h, o, t in zip(holes, eight, truths, strict=True)]
        return made

    def telea(self) -> list[Image]:
        """The same by OpenCV's Telea, for comparison."""
        pairs = zip(self.truths, self.holes, strict=True)
        return [np.asarray(cv2.inpaint(t, h.astype(np.uint8), 4.0, cv2.INPAINT_TELEA), np.uint8) for t, h in pairs]

    def figures(self, made: Sequence[Image]) -> dict[str, float]:
        """Means over the images: L1 and L2 in the hole, PSNR, SSIM and gradient norm of the completed image."""
        rows = []
        for ours, truth, hole in zip(made, self.truths, self.holes, strict=True):
            rows.append(
                (
                    metrics.l1(ours, truth, hole),
                    metrics.l2(ours, truth, hole),
                    metrics.psnr(ours, truth),
                    metrics.ssim(ours, truth),
                    metrics.gradient_norm(ours, hole),
                )
            )
        means = np.nanmean(np.array(rows, np.float64), 0)
        return {name: round(float(value), 5) for name, value in zip(FIGURES, means, strict=True)}

    def grid(self, made: Sequence[Image], rows: int = 8) -> Image:
        """Up to `rows` rows of: input with hole, Telea, completed, ground truth; uint8 [H, W, 3] RGB."""
        lines = []
        for truth, hole, ours, other in list(zip(self.truths, self.holes, made, self.telea(), strict=True))[:rows]:
            holed = np.where(hole[..., None], np.uint8(255), truth)
            lines.append(np.concatenate([holed, other, ours, truth], 1))
        return np.concatenate(lines, 0)


class History:
    """Metrics over the steps, stored as JSON lines in the run's folder and drawn as curves."""

    def __init__(self, folder: Path, *, resumed_at: int = 0) -> None:
        self.path = folder / "history.jsonl"
        self.rows: list[dict[str, Any]] = []
        if resumed_at and self.path.exists():
            lines = self.path.read_text(encoding="utf-8").splitlines()
            self.rows = [row for row in map(json.loads, lines) if row["step"] <= resumed_at]
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, step: int, figures: dict[str, float]) -> None:
        """Add the metrics of a step."""
        self.rows.append({"step": step, **figures})
        self.path.write_text("".join(json.dumps(row) + "\n" for row in self.rows), encoding="utf-8")

    def curves(self, compare: dict[str, float] | None = None) -> Image:
        """One panel per metric, BGR; a dashed line for `compare`."""
        panels = []
        for name in FIGURES:
            points = [(row["step"], row[name]) for row in self.rows if np.isfinite(row[name])]
            panels.append(_panel(name, points, None if compare is None else compare[name]))
        return np.concatenate(panels, 1)


def write_png(path: Path, rgb: Image) -> None:
    """Save uint8 [H, W, 3] RGB."""
    cv2.imwrite(str(path), np.ascontiguousarray(rgb[..., ::-1]))


def _panel(title: str, points: Sequence[tuple[int, float]], level: float | None) -> Image:
    width, height, left, top, bottom = 320, 220, 60, 30, 190
    canvas = np.full((height, width, 3), 255, np.uint8)
    values = [value for _, value in points] + ([level] if level is not None else [])
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = max(high - low, 1e-9) * 0.08
    low, high = low - room, high + room
    last = max([step for step, _ in points] or [1]) or 1

    def at(step: float, value: float) -> tuple[int, int]:
        return round(left + (width - left - 15) * step / last), round(
            bottom - (bottom - top) * (value - low) / (high - low)
        )

    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(canvas, title, (left, 18), font, 0.5, INK, 1, cv2.LINE_AA)
    for value in np.linspace(low + room, high - room, 3):
        _, y = at(0, value)
        cv2.line(canvas, (left, y), (width - 15, y), FAINT, 1)
        cv2.putText(canvas, f"{value:.4g}", (4, y + 4), font, 0.38, INK, 1, cv2.LINE_AA)
    cv2.putText(canvas, f"{last} steps", (width - 95, height - 10), font, 0.38, INK, 1, cv2.LINE_AA)
    if level is not None:
        y = at(0, level)[1]
        for x in range(left, width - 15, 10):
            cv2.line(canvas, (x, y), (x + 5, y), DASH, 1)
        cv2.putText(canvas, "Telea", (left + 4, y - 4), font, 0.38, DASH, 1, cv2.LINE_AA)
    if points:
        cv2.polylines(canvas, [np.array([at(*point) for point in points], np.int32)], False, LINE, 2, cv2.LINE_AA)
    return canvas
