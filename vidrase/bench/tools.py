"""What takes a file and gives a file back without the thing: ours, and the script a user would write in an afternoon."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from vidrase.bench.peers import OURS
from vidrase.bench.spawn import measured
from vidrase.errors import SourceError, WeightsMissing

COCO = "yolov8n-seg.pt"


class Tool(Protocol):
    """Removes things from a file."""

    name: str

    def erase(self, clip: Path, to: Path, what: str) -> dict[str, float]:
        """Write `clip` without the classes `what` ("person" or "car,bus") to `to`; returns numbers for the row."""
        ...


class VidraseTool:
    """`vidrase clip.mp4 --remove what`, all defaults, in a process of its own: a crash then costs one case, not the run."""

    name = OURS

    def erase(self, clip: Path, to: Path, what: str) -> dict[str, float]:
        """See `Tool.erase`."""
        found = measured(clip, to, {"remove": what}, runs=0)
        stages = {f"seconds_{stage}": seconds for stage, seconds in found["stages"][0].items()}
        return {
            "fps": found["frames"] / found["walls"][0],
            "share_copied": found["share_copied"],
            "fallbacks": float(sum(found["fallbacks"].values())),
            **stages,
        }


class UserScript:
    """ultralytics frame by frame, masks grown by 15 px, `cv2.inpaint`, `cv2.VideoWriter`: sound and timing are lost by nature."""

    name = "user script"

    def __init__(self, weights: Path) -> None:
        self._weights = weights
        self._model: Any = None

    def erase(self, clip: Path, to: Path, what: str) -> dict[str, float]:
        """See `Tool.erase`."""
        if self._model is None:
            self._model = plain_yolo(self._weights)
        begun, frames = time.perf_counter(), 0
        wanted = [number for number, label in self._model.names.items() if label in what.split(",")]
        capture = cv2.VideoCapture(str(clip))
        size = (int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)))
        writer = cv2.VideoWriter(str(to), cv2.VideoWriter.fourcc(*"mp4v"), capture.get(cv2.CAP_PROP_FPS), size)
        if not capture.isOpened() or not writer.isOpened():
            raise SourceError(f"OpenCV cannot read {clip.name} or write {to.name}")
        kernel = np.ones((15, 15), np.uint8)
        while True:
            there, bgr = capture.read()
            if not there:
                break
            found = self._model.predict(bgr, classes=wanted, verbose=False)[0]
            if found.masks is not None:
                union = found.masks.data.any(0).cpu().numpy().astype(np.uint8)
                hole = cv2.dilate(cv2.resize(union, size, interpolation=cv2.INTER_NEAREST), kernel)
                bgr = cv2.inpaint(bgr, hole, 3, cv2.INPAINT_TELEA)
            writer.write(bgr)
            frames += 1
        capture.release()
        writer.release()
        return {"fps": frames / (time.perf_counter() - begun)}


def coco_weights() -> Path:
    """YOLOv8n-seg COCO weights in VIDRASE_MODEL_DIR. Raises WeightsMissing when they are not there; nothing is fetched."""
    where = os.environ.get("VIDRASE_MODEL_DIR", "")
    path = Path(where) / COCO
    if not where or not path.is_file():
        raise WeightsMissing(f"no {COCO} in VIDRASE_MODEL_DIR ('{where}'); the user script and the COCO rows need it")
    return path


def plain_yolo(weights: Path) -> Any:
    """`ultralytics.YOLO(weights)` as anybody calls it, but without its network traffic."""
    from vidrase.torchvision_ops import import_torchvision
    from vidrase.weights.quiet import import_ultralytics

    import_torchvision()  # or predict() fails where torchvision was built for another torch
    return import_ultralytics().YOLO(str(weights))
