"""The script that a user would write: ultralytics frame by frame, the mask grown, `cv2.inpaint`, `cv2.VideoWriter`.

    python user_script.py clip.mp4 out.mp4 yolov8n-seg.pt person [DEVICE]

It runs as a process of its own and knows nothing of vidrase. Sound and frame times are lost by nature.
"""

from __future__ import annotations

import sys
from typing import Any

import cv2
import numpy as np
from ultralytics import YOLO

GROW = np.ones((15, 15), np.uint8)


def erase(clip: str, to: str, weights: str, what: str, device: str | None = None) -> None:
    """Write `clip` without the classes `what` ("person" or "car,bus") to `to`. device: None lets ultralytics choose."""
    model: Any = YOLO(weights)
    wanted = [number for number, label in model.names.items() if label in what.split(",")]
    capture = cv2.VideoCapture(clip)
    size = (int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)))
    writer = cv2.VideoWriter(to, cv2.VideoWriter.fourcc(*"mp4v"), capture.get(cv2.CAP_PROP_FPS), size)
    if not capture.isOpened() or not writer.isOpened():
        sys.exit(f"OpenCV cannot read {clip} or write {to}")
    while True:
        there, bgr = capture.read()
        if not there:
            break
        found = model.predict(bgr, classes=wanted, device=device, verbose=False)[0]
        if found.masks is not None:
            union = found.masks.data.any(0).cpu().numpy().astype(np.uint8)
            hole = cv2.dilate(cv2.resize(union, size, interpolation=cv2.INTER_NEAREST), GROW)
            bgr = cv2.inpaint(bgr, hole, 3, cv2.INPAINT_TELEA)
        writer.write(bgr)
    capture.release()
    writer.release()


if __name__ == "__main__":
    erase(*sys.argv[1:])
