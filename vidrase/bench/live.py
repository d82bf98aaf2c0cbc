"""Live use: minutes of somebody walking through a picture with a clock in it, and fixed cameras against clean plates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.bench.case import Rgb
from vidrase.bench.clipfile import read_rgb_frames
from vidrase.bench.peers import OURS
from vidrase.bench.results import Results, Row
from vidrase.errors import SourceNotFound
from vidrase.live.eraser import LiveEraser
from vidrase.live.soak import soak
from vidrase.options import ModelOptions

POINTS = 60  # of each curve
WALKER_FRAME = 70  # of samples/walk.mp4: the walker in full view
LEARNED = 3.0  # seconds after which the background counts as seen
CURVES = (("memory_mib", "MiB"), ("fps", "fps"), ("latency_ms", "ms"), ("dropped", "pictures dropped"))


def run_soak(results: Results, minutes: float, folder: Path | None, device: str = "auto") -> None:
    """One row of the whole run and one for each point of its curves. folder: samples/, for the walker."""
    person = _walker(folder) if folder is not None else None
    if person is None:
        results.skip("a person to walk through the live picture: no samples/ here")
    found = soak(minutes, person=person, models=ModelOptions(device=device))
    series = found["series"]
    numbers: dict[str, float] = {
        "minutes": minutes,
        "fps": found["fps"],
        "made": found["made"],
        "dropped": found["dropped"],
        "dropped_share": found["dropped"] / max(found["made"], 1),
        # of the soak alone: the process's own peak may be that of another suite before it
        "peak_mib": max(point["memory_mib"] for point in series) if series else found["peak_memory_mib"],
        "growth_mib_per_minute": _growth(series),
        "detector_ms": found["detector_ms"],
        "share_real": found["share_real"],
        "level_changes": found["level_changes"],
        **{f"clock_ms_{name}": value for name, value in found["clock_ms"].items()},
        **{f"latency_ms_{name}": value for name, value in found["latency_ms"].items()},
        **{f"fps_{name}": value for name, value in found["fps_by_view"].items()},
    }
    results.add(Row("live", "soak", "somebody walks through" if person is not None else "nobody there", OURS, numbers))
    for point in _thinned(series):
        results.rows.append(Row("live", "curve", f"{point['seconds']:.0f} s", OURS, dict(point)))


def run_fixed(results: Results, data: Path, frames: int, device: str = "auto") -> None:
    """Fixed cameras frame by frame, without dropping any: the hole against the clean plate."""
    for name, things in (("intel_one_by_one_person", "person"), ("intel_car", "car")):
        folder = data / "clips" / "fixed" / name
        plate = cv2.imread(str(folder / "clean_plate.png")) if (folder / "clean_plate.png").is_file() else None
        if plate is None:
            results.skip(f"live against a clean plate: no {folder}")
            continue
        truth = cv2.cvtColor(plate, cv2.COLOR_BGR2RGB).astype(np.float32)
        numbers = _against(truth, read_rgb_frames(folder / "video.mp4", 0, frames), things, device)
        if numbers:
            results.add(Row("live", "fixed camera", name, OURS, numbers))


def _against(truth: NDArray[np.float32], pictures: Iterator[Rgb], things: str, device: str) -> dict[str, float]:
    """PSNR inside the holes and, for what the light alone does to it, outside them; both within the same pictures."""
    inside, outside = [0.0, 0], [0.0, 0]
    known: list[float] = []
    with LiveEraser(things, level=1, threaded=False, models=ModelOptions(device=device)) as eraser:
        eraser.fixed_delay = 2
        for index, picture in enumerate(pictures):
            eraser.step(picture, index / 25)
            shown = eraser.result
            assert shown is not None
            if shown.seconds < LEARNED or not shown.area.any():
                continue
            size = truth.shape[1::-1]
            hole = cv2.resize(shown.area.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
            error = np.square(shown.rgb.astype(np.float32) - truth).mean(2)
            beside = (cv2.dilate(hole.astype(np.uint8), np.ones((41, 41))) > 0) & ~hole
            for where, sums in ((hole, inside), (beside, outside)):
                sums[0] += float(error[where].sum())
                sums[1] += int(np.count_nonzero(where))
            known.append(shown.known)
    if not inside[1]:
        return {}
    psnr, light = (
        10 * float(np.log10(255**2 / max(total / max(count, 1), 1e-6))) for total, count in (inside, outside)
    )
    return {"psnr": psnr, "psnr_beside": light, "share_real": float(np.mean(known)), "frames_with_hole": len(known)}


def _walker(folder: Path) -> NDArray[np.uint8] | None:
    """uint8 [h, w, 4] RGBA of the walker in the sample clip."""
    try:
        picture = next(iter(read_rgb_frames(folder / "walk.mp4", WALKER_FRAME, 1)))
        mask = next(iter(read_rgb_frames(folder / "walk_masks.mkv", WALKER_FRAME, 1)))[..., 0]
    except (SourceNotFound, StopIteration):
        return None
    rows, columns = np.flatnonzero((mask > 127).any(1)), np.flatnonzero((mask > 127).any(0))
    if not len(rows):
        return None
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.dstack([picture[box], np.where(mask[box] > 127, 255, 0).astype(np.uint8)])


def _growth(series: list[dict[str, Any]]) -> float:
    """MiB a minute over the later two thirds, at the commonest level: a larger detector takes its memory once."""
    late = series[len(series) // 3 :]
    level = Counter(point["level"] for point in late).most_common(1)[0][0] if late else 0
    same = [(point["seconds"] / 60, point["memory_mib"]) for point in late if point["level"] == level]
    if len(same) < 6:
        return 0.0
    minutes, sizes = np.array(same).T
    return float(np.polyfit(minutes, sizes, 1)[0])


def _thinned(series: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return series[:: max(len(series) // POINTS, 1)]
