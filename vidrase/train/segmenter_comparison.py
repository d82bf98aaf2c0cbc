"""Which classes a student has learnt: its detections against its teacher's on held-out images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from torch import nn

from vidrase.train.segmenter_eval import find, mask_iou

SURE = 0.5  # confidence from which the teacher's detection counts as ground truth
MIN_CASES = 10
MIN_RECALL = 0.6
MIN_PRECISION = 0.6


@dataclass(slots=True)
class Agreement:
    """One class: confident teacher detections, how many of them the student matched; student detections, how many are right."""

    cases: int = 0
    found: int = 0
    claims: int = 0
    right: int = 0

    @property
    def recall(self) -> float:
        """Share of the confident teacher detections that the student matched."""
        return self.found / self.cases if self.cases else float("nan")

    @property
    def precision(self) -> float:
        """Share of the student's detections that the teacher has too, at any confidence above 0.1."""
        return self.right / self.claims if self.claims else float("nan")


def agreement(
    student: nn.Module, teacher: nn.Module, pictures: Sequence[Path], imgsz: int = 640, conf: float = 0.25
) -> dict[int, Agreement]:
    """Agreement per class index over all images; masks match at IoU 0.5. conf: the student's threshold."""
    student.eval()
    table: dict[int, Agreement] = {}
    for path in pictures:
        bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if bgr is None:
            continue
        rgb = np.ascontiguousarray(bgr[..., ::-1], np.uint8)
        truth = find(teacher, rgb, imgsz, conf=0.1)
        given = find(student, rgb, imgsz, conf=conf)
        for label in {*truth.labels.tolist(), *given.labels.tolist()}:
            row = table.setdefault(int(label), Agreement())
            wanted, claimed = truth.labels == label, given.labels == label
            sure = truth.scores[wanted] >= SURE
            row.cases += int(sure.sum())
            row.claims += int(claimed.sum())
            if wanted.any() and claimed.any():
                match = mask_iou(truth.masks[wanted], given.masks[claimed]) >= 0.5
                row.found += int(match[sure].any(1).sum())
                row.right += int(match.any(0).sum())
    return table


def offered(table: Mapping[int, Agreement], names: Mapping[int, str]) -> list[str]:
    """Classes good enough to offer, by index: enough cases, recall and precision."""
    return [
        names[label]
        for label, row in sorted(table.items())
        if row.cases >= MIN_CASES and row.recall >= MIN_RECALL and row.precision >= MIN_PRECISION
    ]


def as_json(table: Mapping[int, Agreement], names: Mapping[int, str]) -> dict[str, Any]:
    """For the metadata: name → cases, recall, precision; without classes that have no case."""
    return {
        names[label]: {"cases": row.cases, "recall": round(row.recall, 3), "precision": round(row.precision, 3)}
        for label, row in sorted(table.items())
        if row.cases and row.claims
    }
