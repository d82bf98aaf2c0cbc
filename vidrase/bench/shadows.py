"""Is a cast shadow removed with its object, and nothing else?

Evaluated in two ways: the output of a tool (`shadow_numbers`), and the shadow stage alone (`evaluate_shadow_stage`), which gets
the true mask of the person, so that no detector plays a part, and whose added hole is known to the pixel.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase import metrics
from vidrase.bench.case import Case, Mask, Rgb, as_video_frames
from vidrase.bench.evaluation import INVISIBLE
from vidrase.bench.pasted import Removal
from vidrase.bench.peers import OURS
from vidrase.bench.results import Results, Row, Strip
from vidrase.bench.shadowclips import shadow_cases
from vidrase.bench.strips import GAIN, around, difference, marked, scaled, worst_moment
from vidrase.errors import VidraseError
from vidrase.fill import fill, shadowed
from vidrase.flow import FlowModel, load_flow
from vidrase.frames import HoleFrame
from vidrase.inpaint import Inpainter, load_inpainter
from vidrase.mask import holes_from_masks
from vidrase.options import FillOptions, MaskOptions
from vidrase.report import FillStats, Notes
from vidrase.shots import ShotAnalyzer

__all__ = [
    "SHADOW_MEASURES",
    "StageModels",
    "Staged",
    "evaluate_shadow_stage",
    "run_shadow_stage",
    "shadow_cases",
    "shadow_numbers",
    "shadow_stage",
    "stage_name",
    "stage_numbers",
]

SEEN = 8  # grey levels that a shadow must take from the background to count as visible
EDGE = 3  # px at 360p around the object where its soft edge and its shadow cannot be told apart
MARGIN = (
    6  # px at 360p around object and shadow that a hole may include: soft edges, and a detector works on small pictures
)
RING = 24  # px at 360p around object and shadow: the ground where an error is most visible
FAR = 24  # px at 360p from object and shadow: there nothing but the encoder may change a pixel
CODED = 8  # grey levels: means over 5x5 px that differ more from the input are no work of the encoder

SHADOW_MEASURES = {
    "shadow_left": (
        "shadow left",
        "share of visible shadow pixels that still look more like the input than the truth",
        -1,
    ),
    "shadow_psnr": ("shadow dB", "PSNR where the shadow was visible, against the truth", 1),
    "shadow_psnr_before": ("dB before", "the same in the input: what there was to win", 0),
    "false_removal": (
        "false removal",
        "share of the frame changed away from person and shadow, beyond the encoder's work",
        -1,
    ),
    "shadow_recall": ("shadow recall", "stage alone: share of visible shadow pixels that the added hole covers", 1),
    "false_share": (
        "false share",
        "stage alone: added pixels that are neither shadow nor the person's margin, over the person's area",
        -1,
    ),
    "ring_psnr": ("ring dB", "stage alone: PSNR on the ground around person and shadow; 50 = untouched", 1),
    "ms_per_frame": ("stage ms", "wall milliseconds a frame of the shadow stage alone, in this run", -1),
    "cpu_ms_per_frame": ("stage cpu ms", "processor milliseconds a frame of the shadow stage alone, all threads", -1),
}
"""name -> (heading, meaning, +1 higher is better / -1 lower is better / 0 neither)."""


def shadow_numbers(case: Removal, given: Sequence[Rgb], filled: Sequence[Rgb]) -> dict[str, float]:
    """shadow_left, shadow_psnr, shadow_psnr_before and false_removal of one output clip; empty when the shadow is not known.

    given: the input as decoded, [H, W, 3]; filled: as many frames of that size. A case without a visible shadow has only
    false_removal. A pixel counts as changed when it differs from the decoded input and from the input before encoding.
    """
    if case.shadows is None:
        return {}
    rows, columns = given[0].shape[:2]
    left = visible = 0
    pixels = _Pooled(), _Pooled()
    false = []
    for t, (result, before) in enumerate(zip(filled, given, strict=True)):
        truth, source = case.truth[t][:rows, :columns], case.given[t][:rows, :columns]
        person, shadow = case.masks[t][:rows, :columns], case.shadows[t][:rows, :columns]
        seen = visible_shadow(source, truth, person, shadow)
        soft = [_smooth(picture) for picture in (result, before, truth, source)]
        left += int((_gap(soft[0], soft[1]) < _gap(soft[0], soft[2]))[seen].sum())
        visible += int(seen.sum())
        for pool, picture in zip(pixels, (result, before), strict=True):
            pool.add(picture, truth, seen)
        changed = np.minimum(_gap(soft[0], soft[1]), _gap(soft[0], soft[3])) > CODED
        false.append(float((changed & ~_near(person | shadow, FAR)).mean()))
    numbers = {"shadow_left": left / visible} if visible else {}
    numbers |= {
        "shadow_psnr": pixels[0].psnr,
        "shadow_psnr_before": pixels[1].psnr,
        "false_removal": float(np.mean(false)),
    }
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


@dataclass(frozen=True, slots=True, eq=False)
class Staged:
    """What the shadow stage made of a clip of T frames; bool [H, W] and RGB uint8 [H, W, 3]."""

    masks: list[Mask]
    """The hole that it was given."""
    holes: list[Mask]
    """The hole with what it added."""
    filled: list[Rgb]
    """The frames with that hole filled; empty when nobody asked for it."""
    given: list[Rgb]
    truth: list[Rgb]
    """Input and truth as the 4:2:0 frames that were worked on show them."""
    seconds: float = 0.0
    work: float = 0.0
    """Wall and processor seconds of the stage, without shot analysis and fill."""


@dataclass(slots=True, eq=False)
class StageModels:
    """The engine's models, loaded once for many cases."""

    options: FillOptions = field(default_factory=lambda: FillOptions(shadows=True))
    notes: Notes = field(default_factory=Notes)
    flow: FlowModel = field(init=False)
    inpainter: Inpainter = field(init=False)

    def __post_init__(self) -> None:
        self.flow, self.inpainter = load_flow(note=self.notes), load_inpainter(self.options.inpainter)


def evaluate_shadow_stage(
    case: Removal, models: StageModels | None = None, *, filling: bool = True
) -> dict[str, float]:
    """The stage alone on one case whose shadow is known: see `SHADOW_MEASURES`.

    filling: False leaves out what needs the filled frames (shadow_psnr, ring_psnr); the rest takes a fifth of the time.
    Without a visible shadow shadow_recall and shadow_psnr are left out: everything that the stage adds is false_share.
    """
    return stage_numbers(case, shadow_stage(case, models, filling=filling))


def shadow_stage(case: Removal, models: StageModels | None = None, *, filling: bool = True) -> Staged:
    """Give the true mask, grown as ever, to the shadow stage as a run with a detector would, and fill what comes out."""
    models = models or StageModels()
    frames = list(as_video_frames(case.given))
    builder = ShotAnalyzer()
    for frame, mask in zip(frames, case.masks, strict=True):
        builder.add(frame, mask)
    analysis = builder.finish()
    asked = list(holes_from_masks(frames, case.masks, MaskOptions()))
    begun, worked = time.perf_counter(), _worked()
    found = list(shadowed(iter(asked), options=models.options, flow=models.flow, analysis=analysis))
    seconds, work = time.perf_counter() - begun, _worked() - worked
    filled: list[Rgb] = []
    if filling:
        passed = fill(
            iter(found),
            options=models.options,
            flow=models.flow,
            inpainter=models.inpainter,
            analysis=analysis,
            stats=FillStats(),
            note=models.notes,
        )
        filled = [frame.rgb() for frame in passed]
    shown, truth = [frame.rgb() for frame in frames], [frame.rgb() for frame in as_video_frames(case.truth)]
    return Staged([_full(one) for one in asked], [_full(one) for one in found], filled, shown, truth, seconds, work)


def stage_numbers(case: Removal, staged: Staged) -> dict[str, float]:
    """The measures of what the stage made of `case`. Raises VidraseError when the shadow of the case is not known."""
    if case.shadows is None:
        raise VidraseError(f"case {case.name}: nobody knows where its shadow is; expected masks of it")
    covered = visible = false = area = 0
    there, before, ring = _Pooled(), _Pooled(), _Pooled()
    for t, (person, shadow) in enumerate(zip(case.masks, case.shadows, strict=True)):
        mask, hole = staged.masks[t], staged.holes[t]
        seen = visible_shadow(case.given[t], case.truth[t], person, shadow) & ~mask
        near = _near(person | shadow, MARGIN) | mask
        covered += int((hole & seen).sum())
        visible += int(seen.sum())
        false += int((hole & ~mask & ~near).sum())
        area += int(person.sum())
        if staged.filled:
            there.add(staged.filled[t], staged.truth[t], seen)
            before.add(staged.given[t], staged.truth[t], seen)
            ring.add(staged.filled[t], staged.truth[t], _near(person | shadow, MARGIN + RING) & ~near)
    count = len(case.masks)
    numbers = {
        "shadow_recall": covered / visible if visible else math.nan,
        "false_share": false / area if area else math.nan,
        "shadow_psnr": there.psnr,
        "shadow_psnr_before": before.psnr,
        "ring_psnr": ring.psnr,
        "ms_per_frame": 1000 * staged.seconds / count,
        "cpu_ms_per_frame": 1000 * staged.work / count,
    }
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


def run_shadow_stage(refs: Sequence[tuple[str, Callable[[], Removal]]], results: Results) -> None:
    """The stage alone on every case. One that fails is reported and the rest goes on."""
    if not refs:
        return
    models = StageModels()
    for name, build in refs:
        title = stage_name(name)
        try:
            case = build()
            staged = shadow_stage(case, models)
            numbers = {key: round(value, 5) for key, value in stage_numbers(case, staged).items()}
        except Exception as error:  # noqa: BLE001 - one case must not end the run; the failure is reported
            results.fail("removal", title, OURS, error)
            continue
        results.add(Row("removal", "shadow stage", title, OURS, numbers))
        results.strips.append(_strip(title, case, staged, numbers))


def stage_name(name: str) -> str:
    """The name under which the stage alone is listed for the case "shadow/..."."""
    return name.replace("shadow/", "shadow-stage/", 1)


def visible_shadow(given: Rgb, truth: Rgb, person: Mask, shadow: Mask) -> Mask:
    """bool [H, W]: the part of `shadow` that is visible in `given`: beside the object, and not on black ground."""
    return shadow & ~_near(person, EDGE) & (_gap(_smooth(given), _smooth(truth)) > SEEN)


class _Pooled:
    """PSNR of all pixels of a clip together."""

    def __init__(self) -> None:
        self._error = self._count = 0.0

    def add(self, a: Rgb, b: Rgb, where: Mask) -> None:
        count = float(where.sum())
        if count:
            self._error += metrics.l2(a, b, where) * count
            self._count += count

    @property
    def psnr(self) -> float:
        """dB, `INVISIBLE` at most; NaN when there was no pixel."""
        return min(metrics.psnr_of(self._error / self._count), INVISIBLE) if self._count else math.nan


def _full(found: HoleFrame) -> Mask:
    return found.hole.full_area() if found.hole is not None else np.zeros(found.frame.size, bool)


def _near(mask: Mask, px: float) -> Mask:
    """bool [H, W]: `mask` and what lies within `px` of it, px of a frame of 360 rows."""
    if not mask.any():
        return np.zeros_like(mask)
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(away <= px * mask.shape[0] / 360)


def _smooth(picture: Rgb) -> NDArray[np.float32]:
    """Means over 5x5 px: a shadow is smooth, grain and what an encoder leaves are not."""
    return cv2.blur(picture.astype(np.float32), (5, 5)).astype(np.float32)


def _gap(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean absolute difference over channels, float [H, W]."""
    return np.abs(a - b).mean(-1)


def _worked() -> float:
    """Processor seconds of this process so far."""
    return sum(os.times()[:2])


def _strip(title: str, case: Removal, staged: Staged, numbers: dict[str, float]) -> Strip:
    """Before, what was added, after, truth, at the moment furthest from the truth."""
    t = worst_moment(Case(title, "removal", staged.given, case.touched, staged.truth), staged.filled)
    crop = around(case.touched[t] | staged.holes[t], 0.3)
    pictures = [
        ("given", staged.given[t]),
        ("added", marked(staged.given[t], staged.holes[t] & ~staged.masks[t])),
        ("vidrase", staged.filled[t]),
        ("truth", staged.truth[t]),
        (f"difference ×{GAIN}", difference(staged.filled[t], staged.truth[t])),
    ]
    parts = (
        [f"{numbers['shadow_recall']:.0%} of the shadow in the hole"] if "shadow_recall" in numbers else ["no shadow"]
    )
    parts += [f"{numbers.get('false_share', 0.0):.1%} of the person's area too much", f"frame {t}"]
    worth = numbers.get("shadow_psnr", numbers.get("ring_psnr", INVISIBLE))
    cropped = [(name, scaled(picture[crop])) for name, picture in pictures]
    return Strip(title, " · ".join(parts), cropped, case.public, worth)
