"""Tools that read a file and write one with the object removed: ours, and the script a user would write in an afternoon."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

from vidrase.bench.clipfile import read_luma_frames
from vidrase.bench.peers import OURS
from vidrase.bench.spawn import Elapsed, measured, timed
from vidrase.errors import WeightsMissing

COCO = "yolov8n-seg.pt"


class Tool(Protocol):
    """Removes objects from a file."""

    name: str

    def erase(self, clip: Path, to: Path, what: str) -> dict[str, float]:
        """Write `clip` without the classes `what` ("person" or "car,bus") to `to`; returns numbers for the row."""
        ...


class VidraseTool:
    """`vidrase clip.mp4 --remove what`, all defaults, in a process of its own: a crash then costs one case, not the run."""

    name = OURS

    def __init__(self, device: str = "auto") -> None:
        self._device = device

    def erase(self, clip: Path, to: Path, what: str) -> dict[str, float]:
        """See `Tool.erase`."""
        found = measured(clip, to, {"remove": what, "device": self._device}, runs=0)
        stages = {f"seconds_{stage}": seconds for stage, seconds in found["stages"][0].items()}
        numbers = {
            "fps": found["frames"] / found["cold_seconds"],
            "share_copied": found["share_copied"],
            "fallbacks": float(sum(found["fallbacks"].values())),
            **stages,
        }
        return numbers | ({"gpu_peak_mib": found["gpu_peak_mib"]} if found["gpu_peak_mib"] else {})


class UserScript:
    """`user_script.py` as a process of its own, as a user would start it."""

    name = "user script"

    def __init__(self, weights: Path, device: str = "auto") -> None:
        self._weights, self._device = weights, device

    def timed(self, clip: Path, to: Path, what: str) -> Elapsed:
        """How long the whole process takes. Raises ChildFailed."""
        script = str(resources.files("vidrase.bench").joinpath("user_script.py"))
        order = [script, str(clip), str(to), str(self._weights), what]
        order += [] if self._device == "auto" else [self._device]
        # -P: the modules beside the script are not on a user's path
        command = [sys.executable, *(["-P"] if _torchvision_loads() else ["-c", REPAIRED]), *order]
        # no network and no installing from within a benchmark; settings go where the clip is, not to the user's home
        quiet = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_CONFIG_DIR": str(to.parent)}
        return timed(command, quiet, what=f"{self.name} on {clip.name}")

    def erase(self, clip: Path, to: Path, what: str) -> dict[str, float]:
        """See `Tool.erase`."""
        seconds = self.timed(clip, to, what).wall
        return {"fps": sum(1 for _ in read_luma_frames(to)) / seconds}


REPAIRED = (
    "import runpy, sys; from vidrase.torchvision_ops import import_torchvision; import_torchvision(); "
    "del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
)
"""Starts a script where torchvision does not load beside the installed torch: ultralytics would end at its first picture."""


@cache
def _torchvision_loads() -> bool:
    return not subprocess.run([sys.executable, "-c", "import torchvision"], capture_output=True, check=False).returncode


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
