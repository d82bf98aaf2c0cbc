"""Where vidrase keeps files of its own on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_dir() -> Path | None:
    """The user's cache folder for vidrase, which need not exist: VIDRASE_CACHE_DIR, or the system's usual place.

    None where there is none: a user without a home folder, ~ of somebody unknown, a relative HOME. A relative XDG_CACHE_HOME is
    passed over, as its specification wants it: else every folder that one works in would get a cache.
    """
    if given := os.environ.get("VIDRASE_CACHE_DIR"):
        folder = expanded(given)
        return None if folder.parts[0].startswith("~") else folder.absolute()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
        return _absolute(expanded(base) / "vidrase" / "Cache")
    if sys.platform == "darwin":
        return _absolute(expanded("~/Library/Caches/vidrase"))
    given = os.environ.get("XDG_CACHE_HOME", "")
    return _absolute(expanded(given if os.path.isabs(given) else "~/.cache") / "vidrase")  # noqa: PTH117


def model_dir() -> Path | None:
    """Where `vidrase models pull` puts weights; None where there is no cache folder."""
    folder = cache_dir()
    return None if folder is None else folder / "models"


def expanded(name: str | Path) -> Path:
    """`name` with ~ as the home folder; as it is where there is no such user or home."""
    return Path(os.path.expanduser(name))  # noqa: PTH111 - pathlib's raises where nobody is at home


def _absolute(path: Path) -> Path | None:
    return path if path.is_absolute() else None
