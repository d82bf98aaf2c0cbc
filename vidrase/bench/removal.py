"""Removal, end to end: a file in, `--remove person`, a file out, against the true background.

Unlike completion this includes the detector's misses, the mask's growth, shadows (see `shadows`), the encoder, sound and timing.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from vidrase import metrics
from vidrase.bench.case import Case, Mask, Rgb
from vidrase.bench.clipfile import read_luma_frames, read_rgb_frames, write_clip
from vidrase.bench.evaluation import Evaluation
from vidrase.bench.fixed import fixed, fixed_names
from vidrase.bench.pasted import Removal, RemovalRef, pasted, pasted_names
from vidrase.bench.peers import OURS
from vidrase.bench.redetect import Redetector
from vidrase.bench.results import Results, Row, Strip
from vidrase.bench.shadows import SHADOW_MEASURES, shadow_numbers
from vidrase.bench.strips import GAIN, around, difference, marked, scaled, worst_moment
from vidrase.bench.tools import Tool
from vidrase.errors import VidraseError
from vidrase.streamcheck import differing_tracks, frame_times

FAR = 24  # px at 360p from the object: there nothing but the encoder may change a pixel
TELLS = 24  # grey levels that the object must differ from the background by to count as visible


def removal_refs(data: Path, frames: int) -> list[RemovalRef]:
    """Pasted walkers over a DAVIS-like folder, then fixed cameras. Raises when the folder has neither."""
    refs: list[RemovalRef] = []
    problems: list[VidraseError] = []
    try:
        refs += [(f"paste/{a}+{b}", partial(pasted, data, a, b, frames)) for a, b in pasted_names(data)]
    except VidraseError as error:
        problems.append(error)
    try:
        refs += [(f"fixed/{name}", partial(fixed, data, name, 2 * frames)) for name in fixed_names(data)]
    except VidraseError as error:
        problems.append(error)
    if not refs:
        raise problems[0]
    return refs


def run_removal(
    refs: Sequence[RemovalRef], tools: Sequence[Tool], redetector: Redetector | None, results: Results
) -> None:
    """Every tool on every clip. A tool that fails on a clip is reported and the rest goes on."""
    for name, build in refs:
        try:
            case = build()
        except VidraseError as error:
            results.fail("removal", name, "(case)", error)
            continue
        with tempfile.TemporaryDirectory(prefix="vidrase-bench-") as folder:
            clip = Path(folder) / "clip.mp4"
            write_clip(clip, case.given)
            given = list(read_rgb_frames(clip))
            before = redetector.rate(given, case) if redetector else math.nan
            never = redetector.rate(case.truth, case) if redetector else math.nan
            for tool in tools:
                to = Path(folder) / f"{tool.name.replace(' ', '-')}.mp4"
                try:
                    extra = tool.erase(clip, to, case.what)
                    filled = list(read_rgb_frames(to))
                    numbers = evaluate_removal(case, given, filled) | extra | streams_equal(clip, to)
                    numbers["psnr_outside"] = psnr_outside(clip, to, case.touched)
                except Exception as error:  # noqa: BLE001 - one tool must not end the run; the failure is reported
                    results.fail("removal", case.name, tool.name, error)
                    continue
                if redetector:
                    numbers |= {"redetected": redetector.rate(filled, case) - never, "detected_before": before - never}
                kept = {key: round(value, 5) for key, value in numbers.items() if math.isfinite(value)}
                results.add(Row("removal", case.name.split("/")[0], case.name, tool.name, kept))
                if tool.name == OURS and len(filled) == len(given):
                    results.strips.append(_strip(case, given, filled, kept))


def evaluate_removal(case: Removal, given: Sequence[Rgb], filled: Sequence[Rgb]) -> dict[str, float]:
    """Numbers of one output clip; `given` is the input as decoded. See `REMOVAL_MEASURES`."""
    if len(filled) != len(given) or filled[0].shape != given[0].shape:
        return {"frames_missing": float(len(given) - len(filled))}
    rows, columns = given[0].shape[:2]
    truth = [picture[:rows, :columns] for picture in case.truth]
    masks = [mask[:rows, :columns] for mask in case.masks]
    numbers = Evaluation(Case(case.name, "removal", list(filled), masks, truth))(filled)
    keep = ("psnr", "ssim", "flicker", "texture")
    measured = {name: numbers[name] for name in keep if name in numbers}
    leftover, visible = 0, 0
    for result, before, real, mask in zip(filled, given, truth, masks, strict=True):
        seen = mask & (_gap(before, real) > TELLS)
        leftover += int((_gap(result, before) < _gap(result, real))[seen].sum())
        visible += int(seen.sum())
    measured["leftover"] = leftover / visible if visible else math.nan
    return measured | shadow_numbers(case, given, filled)


def psnr_outside(clip: Path, to: Path, masks: Sequence[Mask]) -> float:
    """Luma PSNR in dB of `to` against `clip`, as both are stored, away from the object; NaN when it is everywhere."""
    outside = []
    for result, before, mask in zip(read_luma_frames(to), read_luma_frames(clip), masks, strict=False):
        rows, columns = before.shape
        far = _away(mask[:rows, :columns], FAR * rows / 360)
        if far.any() and result.shape == before.shape:
            outside.append(metrics.l2(result, before, far))
    return metrics.psnr_of(float(np.mean(outside))) if outside else math.nan


REMOVAL_MEASURES = {
    "psnr": ("hole dB", "PSNR where the object was, against the truth, after encoding", 1),
    "leftover": (
        "left over",
        "share of the object's visible pixels that still look more like it than like the truth",
        -1,
    ),
    "redetected": (
        "found again",
        "share of frames where a detector at another size still finds it, minus that rate in the truth",
        -1,
    ),
    "detected_before": ("found before", "the same rate in the input: what there was to lose", 0),
    "flicker": ("flicker", "temporal error where the object was over the truth's; 1 = as steady", -1),
    "psnr_outside": (
        "outside dB",
        "luma PSNR against the input, away from the object and its shadow: what the encoder costs",
        1,
    ),
    "frames_equal": ("frames =", "1: as many frames as the input", 1),
    "times_equal": ("times =", "1: every frame at its old time", 1),
    "audio_equal": ("sound =", "1: sound packets byte for byte as in the input", 1),
    "fps": ("fps", "frames a second, end to end, loading the models included", 1),
    **SHADOW_MEASURES,
}
"""name -> (heading, meaning, +1 higher is better / -1 lower is better / 0 neither)."""


def streams_equal(clip: Path, to: Path) -> dict[str, float]:
    """frames_equal, times_equal, audio_equal, each 1.0 or 0.0: times to the tick, sound packet by packet."""
    times, times_out = frame_times(clip), frame_times(to)
    return {
        "frames_equal": float(len(times) == len(times_out)),
        "times_equal": float(times == times_out),
        "audio_equal": float(not differing_tracks(clip, to, kind="audio")),
    }


def _gap(a: Rgb, b: Rgb) -> np.ndarray:
    """Mean absolute difference over channels, float [H, W]."""
    return np.abs(a.astype(np.int16) - b).mean(-1)


def _away(mask: Mask, px: float) -> Mask:
    if not mask.any():
        return np.ones_like(mask)
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5) > px


def _strip(case: Removal, given: Sequence[Rgb], filled: Sequence[Rgb], numbers: dict[str, float]) -> Strip:
    rows, columns = given[0].shape[:2]
    truth, masks = [p[:rows, :columns] for p in case.truth], [m[:rows, :columns] for m in case.touched]
    t = worst_moment(Case(case.name, "removal", given, masks, truth), filled)
    crop = around(masks[t], 0.5)
    pictures = [
        ("given", given[t]),
        ("the object", marked(given[t], masks[t])),
        ("vidrase", filled[t]),
        ("truth", truth[t]),
        (f"difference ×{GAIN}", difference(filled[t], truth[t])),
    ]
    caption = f"{numbers.get('psnr', math.nan):.1f} dB, {numbers.get('leftover', math.nan):.1%} left over"
    caption += f", {numbers['shadow_left']:.0%} of the shadow" if "shadow_left" in numbers else ""
    caption += f" · frame {t}"
    return Strip(
        case.name, caption, [(title, scaled(p[crop])) for title, p in pictures], case.public, numbers.get("psnr", 0.0)
    )
