"""Speed and memory: end to end in child processes, per stage, by size, hole, length and cores.

"mask" rows remove a marked blob from a calm pan (no detector), "mask paste/..." rows a pasted person from a real clip by the
truth's masks; "person" rows run the detector on the sample clip scaled to the size. Wall milliseconds are what a user waits;
processor milliseconds (all threads) hardly change when the machine is busy. `bound` is what decoding, detecting and encoding
alone take in that run: the work that nobody can avoid.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vidrase.bench.case import Mask, Rgb
from vidrase.bench.clipfile import read_rgb_frames, write_clip, write_masks
from vidrase.bench.pasted import Removal, RemovalRef
from vidrase.bench.record import gpu_name
from vidrase.bench.results import Results, Row, median_iqr
from vidrase.bench.scenes import HEIGHT, WIDTH, blob, moving_look
from vidrase.bench.spawn import measured
from vidrase.errors import VidraseError
from vidrase.streams import cores

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
    real: tuple[int, int, int]
    """Real clips: how many, frames of each, repetitions of every whole process."""
    real_sizes: Sequence[str]
    """Sizes at which the first real clip is erased with the truth's masks; the others at 480p."""


QUICK = Plan(("240p", "480p", "720p"), 24, 2, (0.02, 0.2), (24, 208, 312), ("240p",), (1, 16, 1), ("480p",))
FULL = Plan(
    tuple(SIZES),
    48,
    5,
    (0.02, 0.05, 0.1, 0.2, 0.3),
    (50, 216, 432, 864),
    ("240p", "480p", "720p"),
    (3, 40, 3),
    ("480p", "1080p"),
)

SpeedCase = tuple[str, Callable[[Results], None]]
"""(name, what measures it and adds its rows)."""


def speed_cases(plan: Plan, sample: Path | None, device: str, here: Path) -> list[SpeedCase]:
    """Rows "speed" of calm clips: ms a frame (median and IQR), per stage, cold start. here: a folder for the clips."""
    count = cores()
    counts = {size: (1, count) if size in plan.one_core and count > 1 else (count,) for size in plan.sizes}

    def marked(
        group: str, name: str, size: str, frames: int, share: float, threads: Sequence[int], runs: int
    ) -> SpeedCase:
        def measure(results: Results) -> None:
            clip, masks = _marked_clip(here, size, frames, share)
            for count in threads:
                add_row(results, group, name, count, clip, {"mask": str(masks), "device": device}, runs)

        return name, measure

    def person(clip_of: Path, size: str) -> SpeedCase:
        def measure(results: Results) -> None:
            clip = here / "person.mp4"
            write_clip(clip, _sample(clip_of, size, plan.frames))
            choices = {"remove": "person", "device": device}
            for count in counts[size]:
                add_row(results, "person", f"person {size}", count, clip, choices, plan.runs)
            if device == "auto" and gpu_name():  # the rows above used it
                choices = {"remove": "person", "device": "cpu"}
                add_row(results, "person", f"person {size} without GPU", count, clip, choices, plan.runs)

        return f"person {size}", measure

    cases: list[SpeedCase] = []
    first = plan.sizes[0]
    for size in plan.sizes:
        cases.append(marked("size", f"mask {size}", size, plan.frames, 0.06, counts[size], plan.runs))
        if sample is not None:
            cases.append(person(sample, size))
    for length in plan.lengths[1:-1]:
        cases.append(marked("length", f"{length} frames {first}", first, length, 0.06, (count,), 1))
    for share in plan.shares:
        cases.append(marked("hole", f"hole {share:.0%} {first}", first, plan.frames, share, (count,), plan.runs))
    return cases


def real_mask_cases(plan: Plan, refs: Sequence[RemovalRef], device: str, here: Path) -> list[SpeedCase]:
    """Rows "paste mask": real clips with a pasted person, the truth's masks given, warm, ms a frame as in `speed_cases`."""

    def real(name: str, build: Callable[[], Removal], size: str) -> SpeedCase:
        title = f"mask {name} {size}"

        def measure(results: Results) -> None:
            try:
                case = build()
            except VidraseError as error:
                results.fail("speed", title, "(case)", error)
                return
            height, width = SIZES[size]
            clip, masks = here / "clip.mp4", here / "masks.mkv"
            write_clip(clip, (_scaled(picture, height, width) for picture in case.given))
            write_masks(masks, [_scaled_mask(mask, height, width) for mask in case.masks])
            choices = {"mask": str(masks), "device": device}
            add_row(results, "paste mask", title, cores(), clip, choices, min(plan.runs, 3))

        return title, measure

    return [
        real(name, build, size)
        for k, (name, build) in enumerate(refs)
        for size in (plan.real_sizes if k == 0 else plan.real_sizes[:1])
    ]


def run_memory(results: Results, plan: Plan, device: str = "auto") -> None:
    """Rows "memory": peak resident MiB against length and size; flat in length is the promise."""
    with tempfile.TemporaryDirectory(prefix="vidrase-bench-") as folder:
        here = Path(folder)
        for length in plan.lengths:
            clip, masks = _marked_clip(here, "240p", length, 0.06)
            _memory_row(results, "length", f"{length} frames 240p", length, clip, masks, device)
        for size in plan.sizes if plan is FULL else plan.sizes[1:2]:  # the first is among the lengths
            clip, masks = _marked_clip(here, size, FULL_WINDOWS, 0.06)
            _memory_row(results, "size", f"{FULL_WINDOWS} frames {size}", FULL_WINDOWS, clip, masks, device)


def growth(rows: Sequence[Row]) -> float | None:
    """MiB a hundred frames: the slope of the peak against length, from the second length on (the first is warming up)."""
    lengths = [row for row in rows if (row.suite, row.group) == ("memory", "length")]
    points = sorted((row.numbers["frames"], row.numbers["peak_mib"]) for row in lengths)[1:]
    if len(points) < 2:
        return None
    x, y = np.array(points).T
    return float(np.polyfit(x, y, 1)[0] * 100)


def add_row(
    results: Results, group: str, case: str, threads: int, clip: Path, choices: dict[str, Any], runs: int
) -> None:
    """One row of warm runs on `threads` cores; the result lies beside the clip."""
    try:
        found = measured(clip, clip.with_name("out.mp4"), choices, runs=runs, threads=threads)
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
    if found["gpu_peak_mib"]:
        numbers["gpu_peak_mib"] = round(found["gpu_peak_mib"], 1)
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


def _memory_row(results: Results, group: str, case: str, frames: int, clip: Path, masks: Path, device: str) -> None:
    try:
        found = measured(clip, clip.with_name("out.mp4"), {"mask": str(masks), "device": device}, runs=0)
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


def _scaled_mask(mask: Mask, height: int, width: int) -> Mask:
    return cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0


def _scaled(picture: Rgb, height: int, width: int) -> Rgb:
    if picture.shape[:2] == (height, width):
        return picture
    grown = height * width > HEIGHT * WIDTH
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC if grown else cv2.INTER_AREA).astype(
        np.uint8
    )
