"""Speed and memory: end to end in child processes, per stage, by size, hole, length and cores.

"mask" rows remove a marked blob (no detector); "person" rows run the detector on the sample clip scaled to the size. Wall
milliseconds are what a user waits; processor milliseconds (all threads) hardly change when the machine is busy.
`bound` is what decoding, detecting and encoding alone take in that run: the work that nobody can avoid.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vidrase.bench.case import Rgb
from vidrase.bench.clipfile import read_rgb_frames, write_clip, write_masks
from vidrase.bench.record import gpu_name
from vidrase.bench.results import Results, Row, median_iqr
from vidrase.bench.scenes import HEIGHT, WIDTH, blob, moving_look
from vidrase.bench.spawn import measured
from vidrase.errors import VidraseError

SIZES = {"240p": (240, 432), "480p": (480, 854), "720p": (720, 1280), "1080p": (1080, 1920)}
FULL_WINDOWS = 208  # frames: more than can be alive at once with the defaults, so every window and queue is full
UNAVOIDABLE = ("decode", "detect", "encode")


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure."""

    sizes: Sequence[str]
    frames: int
    runs: int
    shares: Sequence[float]
    """Hole shares of the frame, at the first size."""
    lengths: Sequence[int]
    """Frames, at 240p, for growth of time and memory: the first is warming up, the others exceed `FULL_WINDOWS`."""
    one_core: Sequence[str]
    """Sizes measured on one core too."""


QUICK = Plan(("240p", "480p", "720p"), 24, 2, (0.02, 0.2), (24, 208, 312), ("240p",))
FULL = Plan(tuple(SIZES), 48, 5, (0.02, 0.05, 0.1, 0.2, 0.3), (50, 216, 432, 864), ("240p", "480p", "720p"))


def run_speed(results: Results, plan: Plan, sample: Path | None) -> None:
    """Rows "speed": ms a frame (median and IQR), per stage, cold start."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with tempfile.TemporaryDirectory(prefix="vidrase-bench-") as folder:
        here = Path(folder)
        for size in plan.sizes:
            clip, masks = _marked_clip(here, size, plan.frames, 0.06)
            counts = (1, cores) if size in plan.one_core and cores > 1 else (cores,)
            for threads in counts:
                _row(results, "size", f"mask {size}", threads, clip, here, {"mask": str(masks)}, plan.runs)
            if sample is None:
                continue
            clip = here / "person.mp4"
            write_clip(clip, _sample(sample, size, plan.frames))
            for threads in counts:
                _row(results, "person", f"person {size}", threads, clip, here, {"remove": "person"}, plan.runs)
            if gpu_name():  # the rows above used it
                choices = {"remove": "person", "device": "cpu"}
                _row(results, "person", f"person {size} without GPU", cores, clip, here, choices, plan.runs)
        for length in plan.lengths[1:-1]:
            clip, masks = _marked_clip(here, plan.sizes[0], length, 0.06)
            _row(results, "length", f"{length} frames {plan.sizes[0]}", cores, clip, here, {"mask": str(masks)}, 1)
        for share in plan.shares:
            clip, masks = _marked_clip(here, plan.sizes[0], plan.frames, share)
            _row(
                results, "hole", f"hole {share:.0%} {plan.sizes[0]}", cores, clip, here, {"mask": str(masks)}, plan.runs
            )
    if sample is None:
        results.skip("speed with a detector: samples/walk.mp4 is not here (it comes with the sources, not with pip)")


def run_memory(results: Results, plan: Plan) -> None:
    """Rows "memory": peak resident MiB against length and size; flat in length is the promise."""
    with tempfile.TemporaryDirectory(prefix="vidrase-bench-") as folder:
        here = Path(folder)
        for length in plan.lengths:
            clip, masks = _marked_clip(here, "240p", length, 0.06)
            _memory_row(results, "length", f"{length} frames 240p", length, clip, here, masks)
        for size in plan.sizes if plan is FULL else plan.sizes[1:2]:  # the first is among the lengths
            clip, masks = _marked_clip(here, size, FULL_WINDOWS, 0.06)
            _memory_row(results, "size", f"{FULL_WINDOWS} frames {size}", FULL_WINDOWS, clip, here, masks)


def growth(rows: Sequence[Row]) -> float | None:
    """MiB a hundred frames: the slope of the peak against length, from the second length on (the first is warming up)."""
    lengths = [row for row in rows if (row.suite, row.group) == ("memory", "length")]
    points = sorted((row.numbers["frames"], row.numbers["peak_mib"]) for row in lengths)[1:]
    if len(points) < 2:
        return None
    x, y = np.array(points).T
    return float(np.polyfit(x, y, 1)[0] * 100)


def _row(
    results: Results, group: str, case: str, threads: int, clip: Path, here: Path, choices: dict[str, Any], runs: int
) -> None:
    try:
        found = measured(clip, here / "out.mp4", choices, runs=runs, threads=threads)
    except VidraseError as error:
        results.fail("speed", case, "vidrase", error)
        return
    frames = max(found["frames"], 1)
    ms, spread = median_iqr([1000 * wall / frames for wall in found["walls"]])
    work, work_spread = median_iqr([1000 * seconds / frames for seconds in found["works"]])
    numbers = {
        "ms_per_frame": round(ms, 3),
        "cpu_ms_per_frame": round(work, 3),
        "fps": round(1000 / ms, 2),
        "cold_seconds": round(found["cold_seconds"], 3),
    }
    for stage in found["stages"][0]:
        middle, _ = median_iqr([1000 * run.get(stage, 0.0) / frames for run in found["stages"]])
        numbers[f"stage_{stage}"] = round(middle, 3)
    bound = sum(numbers.get(f"stage_{stage}", 0.0) for stage in UNAVOIDABLE)
    if bound:
        numbers["over_bound"] = round(ms / bound, 3)
    numbers |= {"threads": float(threads), "hole_share": found["hole_share"]}
    case = f"{case} · {threads} core{'s' if threads > 1 else ''}"
    results.add(
        Row(
            "speed",
            group,
            case,
            "vidrase",
            numbers,
            {"ms_per_frame": round(spread, 3), "cpu_ms_per_frame": round(work_spread, 3)},
            len(found["walls"]),
        )
    )


def _memory_row(results: Results, group: str, case: str, frames: int, clip: Path, here: Path, masks: Path) -> None:
    try:
        found = measured(clip, here / "out.mp4", {"mask": str(masks)}, runs=0)
    except VidraseError as error:
        results.fail("memory", case, "vidrase", error)
        return
    numbers = {
        "frames": float(frames),
        "peak_mib": round(found["peak_mib"], 1),
        "above_idle_mib": round(found["peak_mib"] - found["idle_mib"], 1),
        "frames_in_flight": float(found["frames_in_flight"]),
        "gpu_peak_mib": round(found["gpu_peak_mib"], 1),
    }
    results.add(Row("memory", group, case, "vidrase", numbers))


def _marked_clip(here: Path, size: str, frames: int, share: float) -> tuple[Path, Path]:
    """(clip, masks): a panning textured plane, written frame by frame, and a blob that crosses it."""
    height, width = SIZES[size]
    look = moving_look()
    clip, masks = here / "clip.mp4", here / "masks.mkv"
    write_clip(clip, (_scaled(look(t), height, width) for t in range(frames)))
    write_masks(masks, blob(frames, (height // 2 * 2, width // 2 * 2), 7, moving=True, share=share))
    return clip, masks


def _sample(sample: Path, size: str, frames: int) -> Iterator[Rgb]:
    for picture in read_rgb_frames(sample, 40, frames):  # from frame 40 on the walker is in view
        yield _scaled(picture, *SIZES[size])


def _scaled(picture: Rgb, height: int, width: int) -> Rgb:
    if picture.shape[:2] == (height, width):
        return picture
    grown = height * width > HEIGHT * WIDTH
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC if grown else cv2.INTER_AREA).astype(
        np.uint8
    )
