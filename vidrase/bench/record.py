"""The strict JSON record of a run: numbers with the machine, versions and commit that they belong to.

One file for each suite: `<folder>/<version>/<suite>--<machine>--<device>.json`.
"""

from __future__ import annotations

import json
import math
import os
import platform
import re
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from vidrase import __version__
from vidrase.bench.results import Results, Row
from vidrase.errors import OptionError

SCHEMA = 1
LIBRARIES = ("numpy", "opencv-python", "torch", "torchvision", "ultralytics", "av", "scikit-image")


def make_record(suite: str, rows: Sequence[Row], results: Results, settings: dict[str, Any]) -> dict[str, Any]:
    """Everything one needs to believe the numbers, as plain types."""
    commit, dirty = results.checkout or checkout()
    return {
        "schema": SCHEMA,
        "suite": suite,
        "version": __version__,
        "commit": commit,
        "dirty": dirty,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(settings.get("device", "auto")),
        "versions": {"python": platform.python_version(), **_versions()},
        "settings": settings,
        "seconds": round(results.seconds.get(suite, 0.0), 1),
        "rows": [_plain(row) for row in rows],
        "failures": [failure for failure in results.failures if failure["suite"] == suite],
        "skipped": list(results.skipped),
    }


def save(record: dict[str, Any], folder: Path) -> Path:
    """Write a record where it belongs below `folder`; returns the path."""
    path = folder / record["version"] / f"{stem(record)}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def stem(record: dict[str, Any]) -> str:
    """`<suite>--<machine>--<device>`."""
    return f"{record['suite']}--{record['machine']['name']}--{record['machine']['device']}"


def load(path: Path) -> dict[str, Any]:
    """A record from its file. Raises OptionError when it is none."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OptionError(f"{path} is no benchmark record ({error})") from error
    if not isinstance(record, dict) or record.get("schema") != SCHEMA or "rows" not in record:
        raise OptionError(f"{path} is no benchmark record of schema {SCHEMA}; expected one that `vidrase bench` wrote")
    return record


def machine(asked: str = "auto") -> dict[str, Any]:
    """Name without anything personal (CPU and cores), device, memory, threads, load now. asked: `--device`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cpu = _cpu()
    device = gpu_name(asked) or ("mps" if asked == "mps" else "")
    short = re.sub(
        r"\b(Intel|AMD|R|TM|CPU|Processor|Core|with|Graphics|@.*)\b", " ", cpu.replace("(R)", " ").replace("(TM)", " ")
    )
    slug = re.sub(r"[^a-z0-9]+", "-", short.lower()).strip("-")[:32] or "cpu"
    return {
        "name": f"{slug}-{cores}c",
        "device": re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-") if device else "cpu",
        "cpu": cpu,
        "cores": cores,
        "gpu": device,
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.machine()}",
        "load": [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else [],
    }


def checkout() -> tuple[str, bool]:
    """(hash, whether tracked files differ from it); ("", False) outside a checkout."""
    here = Path(str(resources.files("vidrase"))).resolve()

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        return git("rev-parse", "--short=12", "HEAD"), bool(git("status", "--porcelain", "--", "."))
    except OSError:  # no git
        return "", False


def _versions() -> dict[str, str]:
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return found


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@cache
def gpu_name(asked: str = "auto") -> str:
    """The CUDA device that `--device asked` takes; "" when it takes none."""
    import torch

    if asked in ("cpu", "mps") or not torch.cuda.is_available():
        return ""
    return str(torch.cuda.get_device_name(0 if asked == "auto" else torch.device(asked)))


def _memory_gib() -> float:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return 0.0


def _plain(row: Row) -> dict[str, Any]:
    held = _strict({name: _strict(value) for name, value in asdict(row).items()})
    return held if row.texts else {name: value for name, value in held.items() if name != "texts"}


def _strict(value: Any) -> Any:
    """Without nan and infinity, which JSON does not know: such entries are left out."""
    if isinstance(value, dict):
        return {
            key: _strict(held)
            for key, held in value.items()
            if not (isinstance(held, float) and not math.isfinite(held))
        }
    return value
