"""How many workers a machine takes: by its cores, its free memory and its GPUs."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

from vidrase.chunks.pool import Machine
from vidrase.frames import SourceInfo
from vidrase.options import Options
from vidrase.streams import cores

CORES_EACH = 2
"""Cores that one worker keeps busy: a decoder, masks, shadows and the fill work side by side in it."""
PER_GPU = 2  # workers that share a GPU, most of whose work is on processors
BASE_MIB, MIB_PER_MEGAPIXEL, MOST_MIB = 450, 1000, 3000
"""Memory of a worker: 520 MiB measured at 240p, 904 at 480p, 1300 at 720p; windows of larger frames are bounded."""
CLIP_MIB = 1350  # of a whole clip with the detector, 480p
SPARE = 0.8  # of the free memory that workers may take


def choose(workers: int | str, info: SourceInfo, options: Options) -> Machine:
    """The workers for a clip. workers: a number, or "auto"."""
    count = cores()
    gpus = gpus_for(options) if workers == "auto" or int(workers) > 1 else 0
    devices = tuple(f"cuda:{n}" for n in range(gpus)) if options.models.device == "auto" else ()
    if workers != "auto":
        number = int(workers)
        return Machine(number, max(count // number, 1), devices)
    limits = {f"{count} cores": max(count // CORES_EACH, 1)}
    free = free_mib()
    if free is not None:
        each = min(BASE_MIB + MIB_PER_MEGAPIXEL * info.width * info.height / 1e6, MOST_MIB)
        limits[f"{free} MiB of free memory"] = max(int(SPARE * free / each), 1)
    if gpus:
        limits[f"{gpus} GPUs"] = PER_GPU * gpus
    why, number = min(limits.items(), key=lambda limit: limit[1])
    return Machine(number, max(count // number, 1), devices, why)


def jobs(clips: int, asked: int | None) -> tuple[int, int]:
    """(clips at a time, threads of each one's libraries). asked: None: by cores and free memory."""
    free = free_mib()
    fitting = max(cores() // CORES_EACH, 1)
    if free is not None:
        fitting = max(min(fitting, int(SPARE * free / CLIP_MIB)), 1)
    number = max(min(asked or fitting, clips), 1)
    return number, max(cores() // number, 1)


def gpus_for(options: Options) -> int:
    """CUDA devices that `options` allow to use."""
    if options.models.device == "cpu" or (sys.platform == "linux" and not any(Path("/dev").glob("nvidia[0-9]*"))):
        return 0  # without asking PyTorch, which takes seconds to load
    from vidrase.segment.device import gpus

    return gpus()


def free_mib() -> int | None:
    """Memory that programs may still take; None where the system does not say."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) // 1024
    return None
