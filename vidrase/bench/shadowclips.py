"""Clips with a pasted person who casts a shadow that was never there: the truth is the clip before pasting.

The shadow is the person's own outline, laid flat on the ground at the feet and multiplied into the background, softer the
higher the part that throws it, with a dark spot under the soles. It darkens the ground and never the person. In some cases
the person casts none: there whatever a shadow stage adds is a mistake.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.bench.case import Rgb
from vidrase.bench.clipfile import read_rgb_frames
from vidrase.bench.folders import clip_names, davis_root, read_annotations, read_clip
from vidrase.bench.pasted import COVERS, SIZE, Removal, composed, height_of, placed
from vidrase.errors import UnsupportedSource

TALL, FEET = 0.5, 0.86  # of the frame's height: the person, and where the soles stand
DARKENS = 0.01  # of the light taken away, from which on a pixel counts as shadow
SOLES, SOLES_DARK = 0.06, 0.35  # of the person's height that touches the ground; of the light that is missing there
NOISE = (1.7, 1.3)  # grey levels, standard deviation of luma and of colour: a still picture's sensor, as in samples/
TINT = np.array((0.97, 1.0, 1.04), np.float32)  # red, green, blue of what is left of the light: the sky is blue

Kind = Literal["soft", "hard", "none"]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Sun:
    """How a shadow falls."""

    ratio: float
    """Grey levels in the shadow over those in the light, in (0, 1]; 1: no shadow."""
    blur: float
    """Standard deviation of the rim, share of the frame's height, where the middle of the person throws it."""
    across: float
    """Length of the shadow to the right (below 0: to the left), in heights of the person."""
    along: float
    """The same up the picture, behind the person (below 0: down, in front)."""


SUNS: dict[str, Sun] = {
    "soft": Sun(0.75, 2.5 / 360, 0.7, 0.28),
    "hard": Sun(0.45, 1.0 / 360, -0.7, 0.16),
    "none": Sun(1.0, 0.0, 0.0, 0.0),
}


@dataclass(frozen=True, slots=True)
class _Plan:
    background: str
    person: str
    kind: Kind
    camera: Literal["moving", "held", "fixed"] = "moving"
    """moving: a DAVIS clip; held: its first frame with noise; fixed: a fixed camera's clip where nobody is in view."""
    travel: float = 0.7
    """Share of the frame's width that the person walks; 0: stands."""

    @property
    def name(self) -> str:
        pace = {0.7: "", 0.0: "-standing"}.get(self.travel, "-slow")
        held = "still-" if self.camera == "held" else ""
        return f"shadow/{held}{self.background}+{self.person}-{self.kind}{pace}"


PLANS = (
    _Plan("camel", "lucia", "soft"),
    _Plan("rhino", "tennis", "soft"),
    _Plan("camel", "dance-twirl", "hard", travel=0.25),
    _Plan("camel", "hike", "none"),
    _Plan("rhino", "lucia", "hard"),
    _Plan("intel_car", "tennis", "hard", "fixed"),
    _Plan("intel_one_by_one_person", "hike", "hard", "fixed"),
    _Plan("rhino", "hike", "hard", travel=0.0),
    _Plan("intel_one_by_one_person", "tennis", "none", "fixed"),
    _Plan("car-turn", "hike", "soft"),
    _Plan("camel", "lucia", "hard", "held"),
    _Plan("car-turn", "dance-twirl", "hard"),
    _Plan("car-turn", "lucia", "soft", travel=0.25),
    _Plan("car-turn", "tennis", "soft", "held"),
    _Plan("blackswan", "hike", "hard"),
    _Plan("rhino", "dance-twirl", "none"),
    _Plan("intel_one_by_one_person", "lucia", "soft", "fixed"),
    _Plan("car-turn", "lucia", "none", travel=0.25),
)
"""In an order of which four, evenly spread, hold a moving and a still camera, a soft and a hard shadow and none."""


def shadow_cases(data: Path, frames: int) -> list[tuple[str, Callable[[], Removal]]]:
    """(name, how it is made) of every case that the folder can give. Raises UnsupportedSource when it can give none."""
    davis = davis_root(data)
    there = set(clip_names(davis))
    found: list[tuple[str, Callable[[], Removal]]] = []
    for plan in PLANS:
        background = (
            _empty_run(data, plan.background) is not None if plan.camera == "fixed" else plan.background in there
        )
        if background and plan.person in there:
            found.append((plan.name, partial(_built, data, plan, frames)))
    if not found:
        wanted = sorted({plan.person for plan in PLANS})
        raise UnsupportedSource(
            f"{data} holds no clips for shadows; expected DAVIS clips such as camel, {', '.join(wanted)}"
        )
    return found


def cast_shadow(cover: Floats, feet: float, tall: float, sun: Sun) -> Floats:
    """What is left of the light on the ground, float32 [H, W, 3] in (0, 1], beside a person `cover` [H, W] in 0..1.

    feet: row of the soles, px; tall: height of the person, px.
    """
    height, width = cover.shape
    if sun.ratio >= 1.0 or not cover.any():
        return np.ones((height, width, 3), np.float32)
    up = ((feet - np.arange(height, dtype=np.float32)) / tall)[:, None]
    throw = np.array([[1, -sun.across, sun.across * feet], [0, sun.along, feet * (1 - sun.along)]])
    shadow = np.zeros((height, width), np.float32)
    for low, high, blur in ((-9.0, 0.3, 0.35), (0.3, 0.65, 1.0), (0.65, 9.0, 1.6)):
        share = _step(low - 0.15, low + 0.15, up) * (1 - _step(high - 0.15, high + 0.15, up))
        part = cv2.warpAffine((cover * share).astype(np.float32), throw, (width, height))
        shadow += cv2.GaussianBlur(part, (0, 0), max(blur * sun.blur * height, 0.5))
    flat = np.array([[1, 0, 0], [0, 0.35, 0.65 * feet]])  # under the soles it is dark wherever the light comes from
    soles = cv2.warpAffine((cover * (up < SOLES)).astype(np.float32), flat, (width, height))
    soles = np.clip(1.5 * cv2.GaussianBlur(soles, (0, 0), 2.5 * height / 360), 0, 1)
    dark = (1 - np.minimum(sun.ratio * TINT, 1)) * np.clip(shadow, 0, 1)[..., None]
    light = (1 - dark) * (1 - SOLES_DARK * soles[..., None])
    light[light.min(2) >= 1 - DARKENS] = 1  # beyond its mask there is no trace of the shadow
    return light.astype(np.float32)


def with_shadow(
    name: str,
    truth: Sequence[Rgb],
    actor: Sequence[Rgb],
    outlines: Sequence[NDArray[np.bool_]],
    sun: Sun,
    travel: float,
) -> Removal:
    """The person of `outlines` bool [h, w] in `actor`, walking through `truth` and casting a shadow."""
    count, size = min(len(truth), len(actor)), truth[0].shape[:2]
    height = size[0]
    scale = TALL * height / height_of(outlines)
    given, masks, shadows = [], [], []
    for t in range(count):
        across = 0.5 - travel / 2 + travel * t / max(count - 1, 1)
        colours, cover = placed(actor[t], outlines[t], (height, size[1]), scale, (across, FEET))
        light = cast_shadow(cover, FEET * height, TALL * height, sun)
        given.append(composed(truth[t] * light, colours, cover))
        masks.append(cover > COVERS)
        shadows.append(light.min(2) < 1)
    return Removal(name, given, truth[:count], masks, shadows=shadows)


def _built(data: Path, plan: _Plan, frames: int) -> Removal:
    davis = davis_root(data)
    if plan.camera == "fixed":
        start = _empty_run(data, plan.background) or 0
        video = data / "clips" / "fixed" / plan.background / "video.mp4"
        wide = (SIZE[1], SIZE[0])
        shown = read_rgb_frames(video, start, frames)
        truth = [cv2.resize(picture, wide, interpolation=cv2.INTER_AREA).astype(np.uint8) for picture in shown]
        if not truth:
            raise UnsupportedSource(
                f"{video} ends before frame {start}; expected the empty run that empty_runs.json names"
            )
    elif plan.camera == "held":
        truth = _held(read_clip(davis, plan.background, 1, SIZE)[0], frames)
    else:
        truth = read_clip(davis, plan.background, frames, SIZE)
    actor, outlines = read_clip(davis, plan.person, frames), read_annotations(davis, plan.person, frames)
    return with_shadow(plan.name, truth, actor, outlines, SUNS[plan.kind], plan.travel)


def _held(picture: Rgb, frames: int) -> list[Rgb]:
    """The same picture in every frame, with a sensor's noise that is new in each."""
    rng, shape = np.random.default_rng(5), picture.shape[:2]
    held = []
    for _ in range(frames):
        grain = NOISE[0] * rng.standard_normal((*shape, 1), np.float32)
        grain = grain + NOISE[1] * rng.standard_normal((*shape, 3), np.float32)
        held.append(np.clip(np.rint(picture + grain), 0, 255).astype(np.uint8))
    return held


def _empty_run(data: Path, name: str) -> int | None:
    """First frame of the longest stretch of a fixed camera's clip in which nobody is in view; None: there is none."""
    folder = data / "clips" / "fixed" / name
    try:
        runs = json.loads((folder / "empty_runs.json").read_text(encoding="utf-8"))["empty_frame_runs"]
        longest = max(runs, key=lambda run: run[1] - run[0])
        return int(longest[0]) if (folder / "video.mp4").is_file() else None
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def _step(low: float, high: float, value: Floats) -> Floats:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)
