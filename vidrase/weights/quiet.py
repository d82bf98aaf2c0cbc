"""ultralytics without its side effects: no network, no telemetry, no installing, no files in the home folder, no global changes.

Imported plainly it writes settings to the user's configuration folder, asks a name server whether it is online, sends
usage events from its trainer and predictor, installs packages that it misses, and for the whole process sets the threads of
OpenMP and OpenCV and numpy's print options and replaces `PIL.Image.open` and `torch.save`.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np

from vidrase.errors import DependencyError
from vidrase.weights.places import cache_dir

_ENVIRONMENT = {
    "YOLO_OFFLINE": "true",
    "YOLO_AUTOINSTALL": "false",
    "YOLO_VERBOSE": "false",
    "ULTRALYTICS_SAFE_LOAD": "true",
}


_own: list[tempfile.TemporaryDirectory] = []


@cache
def import_ultralytics() -> ModuleType:
    """The package `ultralytics`, tamed; to be called before anything imports a part of it.

    Settings are kept in vidrase's own cache folder, if it can be written.
    The environment, OpenCV's thread count and numpy's print options
    are as before afterwards. Raises DependencyError when it is missing.
    """
    if (
        "ultralytics" in sys.modules
    ):  # the user's own import: its settings are the user's choice, events are not ours to send
        return _without_events(sys.modules["ultralytics"])
    import torch  # not at the top: runs with masks alone import this module, and torch takes seconds

    wanted = {**_ENVIRONMENT, "YOLO_CONFIG_DIR": str(_settings_dir())}
    wanted["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS") or str(torch.get_num_threads())
    saving, loading = torch.save, torch.load
    before = {name: os.environ.get(name) for name in wanted}
    threads, printing = cv2.getNumThreads(), np.get_printoptions()
    os.environ.update(wanted)
    try:
        import ultralytics
        import ultralytics.utils.events
    except ImportError as error:
        raise DependencyError(
            f"ultralytics does not load ({error}); install vidrase again: pip install vidrase"
        ) from error
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
        cv2.setNumThreads(threads)
        np.set_printoptions(**printing)  # type: ignore[arg-type]
        torch.set_printoptions(profile="default")
        torch.save, torch.load = saving, loading
    patches = importlib.import_module("ultralytics.utils.patches")
    if hasattr(patches, "_image_open"):
        patches.Image.open = patches._image_open
    return _without_events(ultralytics)


def _without_events(package: ModuleType) -> ModuleType:
    from ultralytics.utils import SETTINGS, events

    dict.__setitem__(SETTINGS, "sync", False)  # in memory only: the plain assignment would write a settings file
    events.events.enabled = False
    return package


def _settings_dir() -> Path:
    """A folder for settings that nobody reads again: in the cache, or one until the end of the process where that cannot be."""
    cached = cache_dir()
    if cached is not None:
        folder = cached / "ultralytics"
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK | os.X_OK):
                return folder
    _own.append(tempfile.TemporaryDirectory(prefix="vidrase-settings-"))
    return Path(_own[0].name)
