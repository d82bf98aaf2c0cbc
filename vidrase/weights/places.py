"""Where vidrase keeps files of its own on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_dir() -> Path:
    """The user's cache folder for vidrase, which need not exist: VIDRASE_CACHE_DIR, or the system's usual place."""
    if given := os.environ.get("VIDRASE_CACHE_DIR"):
        return Path(given).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
        return Path(base) / "vidrase" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "vidrase"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vidrase"


def model_dir() -> Path:
    """Where `vidrase models pull` puts weights."""
    return cache_dir() / "models"
