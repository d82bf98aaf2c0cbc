"""Suite `light`: clips whose light changes, each beside its twin without the change.

The same frames and holes are filled twice: with the change (a fade, a flash, a dissolve, coloured light, bands of mains light)
and without. The numbers are PSNR in the hole over groups of frames; the loss against the twin is what the change costs. Frames
are YCbCr 4:2:0, as decoders give them: coloured light mixes its components.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidrase import metrics
from vidrase.bench.case import Case, Mask, Rgb, as_rgb, as_video_frames, blanked
from vidrase.bench.completion import completion_cases
from vidrase.bench.evaluation import INVISIBLE
from vidrase.bench.peers import OURS, Vidrase
from vidrase.bench.results import Results, Row
from vidrase.bench.scenes import synthetic_cases

FRAMES = 36
ENDS = 10  # frames of a fade, and of a dissolve
FLASHES = (9, 23)
AROUND = 4  # frames before and after a flash or a dissolve that are judged apart
COLOURS = ((1, 1, 1), (1.15, 0.55, 0.45), (1, 1, 1), (0.45, 0.6, 1.2), (0.9, 1.1, 0.5), (1, 1, 1), (1.1, 0.45, 1.0))
"""Gains of R, G, B of the lamps that follow each other."""
COLOUR_FRAMES = 5  # frames that each of them burns
BAND_DEPTH, BANDS, BAND_SPEED = (
    0.25,
    2.5,
    0.37,
)  # gain of a band, bands in the frame's height, periods they roll in a frame
SYNTHETIC = ("pan", "static", "parallax")
REAL = ("blackswan+car-turn", "dance-twirl+tennis", "rhino+breakdance")
"""Pairs of clips; moving cameras on which the twin is filled well enough for a loss to show."""

LIGHT_MEASURES = {
    "psnr": ("hole dB", "PSNR of all hole pixels of the group's frames", 1),
    "twin": ("twin dB", "the same frames and holes without the change of light", 1),
    "loss": ("loss dB", "twin less hole dB: what the change costs", -1),
}
"""name -> (heading, meaning, +1 higher is better / -1 lower is better)."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of light."""

    name: str
    apply: Callable[[Sequence[Rgb], Sequence[Rgb]], list[Rgb]] = field(repr=False)
    """(pictures, pictures of another place, for what needs two) -> pictures under the changed light."""
    groups: Callable[[int], dict[str, list[int]]] = field(repr=False)
    """number of frames -> name -> the frames that are judged together."""
    twin: Callable[[Sequence[Rgb], Sequence[Rgb]], list[Rgb]] = field(
        default=lambda pictures, _: list(pictures), repr=False
    )


def changes() -> list[Change]:
    """All of them."""
    return [
        Change("fade-black", partial(_fade, end=0), _fade_groups),
        Change("fade-white", partial(_fade, end=255), _fade_groups),
        Change("flash", _flash, _flash_groups),
        Change("colours", _coloured, _colour_groups),
        Change("bands", _banded, lambda count: {"all": list(range(count))}),
        Change("dissolve", _dissolve, _dissolve_groups, _cut),
    ]


def _clipped(picture: NDArray) -> Rgb:
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def _fade(pictures: Sequence[Rgb], _: Sequence[Rgb], end: int) -> list[Rgb]:
    last = len(pictures) - 1
    shares = [min(min(t + 0.5, last - t + 0.5) / ENDS, 1) for t in range(len(pictures))]
    return [
        _clipped(share * picture.astype(np.float32) + (1 - share) * end)
        for share, picture in zip(shares, pictures, strict=True)
    ]


def _fade_groups(count: int) -> dict[str, list[int]]:
    ends = [t for t in range(count) if t < ENDS or t >= count - ENDS]
    return {"ends": ends, "between": [t for t in range(count) if t not in ends]}


def _flash(pictures: Sequence[Rgb], _: Sequence[Rgb]) -> list[Rgb]:
    """A flash that is brightest in the middle and burns out what is bright."""
    height, width = pictures[0].shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    near = np.exp(-(((x - width / 2) / width) ** 2 + ((y - height / 2) / height) ** 2) * 2)[..., None]
    return [
        _clipped(picture * (1 + 0.7 * near) + 50 * near) if t in FLASHES else picture
        for t, picture in enumerate(pictures)
    ]


def _flash_groups(count: int) -> dict[str, list[int]]:
    lit = [t for t in FLASHES if t < count]
    around = [t for t in range(count) if t not in lit and min(abs(t - f) for f in FLASHES) <= AROUND]
    return {"flash": lit, "around": around, "else": [t for t in range(count) if t not in lit and t not in around]}


def _lamp(t: int) -> tuple[float, ...]:
    return COLOURS[t // COLOUR_FRAMES % len(COLOURS)]


def _coloured(pictures: Sequence[Rgb], _: Sequence[Rgb]) -> list[Rgb]:
    return [_clipped(picture * np.array(_lamp(t))) for t, picture in enumerate(pictures)]


def _colour_groups(count: int) -> dict[str, list[int]]:
    white = [t for t in range(count) if set(_lamp(t)) == {1}]
    return {"coloured": [t for t in range(count) if t not in white], "white": white}


def _banded(pictures: Sequence[Rgb], _: Sequence[Rgb]) -> list[Rgb]:
    rows = np.arange(pictures[0].shape[0]) / pictures[0].shape[0]
    return [
        _clipped(picture * (1 + BAND_DEPTH * np.sin(2 * np.pi * (BANDS * rows + BAND_SPEED * t)))[:, None, None])
        for t, picture in enumerate(pictures)
    ]


def _mixed(pictures: Sequence[Rgb], others: Sequence[Rgb], shares: Sequence[float]) -> list[Rgb]:
    return [_clipped((1 - w) * a.astype(np.float32) + w * b) for a, b, w in zip(pictures, others, shares, strict=False)]


def _dissolve(pictures: Sequence[Rgb], others: Sequence[Rgb]) -> list[Rgb]:
    first = (len(pictures) - ENDS) // 2
    return _mixed(pictures, others, [float(np.clip((t - first + 1) / (ENDS + 1), 0, 1)) for t in range(len(pictures))])


def _cut(pictures: Sequence[Rgb], others: Sequence[Rgb]) -> list[Rgb]:
    return _mixed(pictures, others, [float(t >= len(pictures) // 2) for t in range(len(pictures))])


def _dissolve_groups(count: int) -> dict[str, list[int]]:
    first = (count - ENDS) // 2
    during = list(range(first, first + ENDS))
    around = [*range(first - AROUND, first), *range(first + ENDS, first + ENDS + AROUND)]
    return {
        "during": during,
        "around": around,
        "else": [t for t in range(count) if t not in during and t not in around],
    }


def as_decoded(pictures: Sequence[Rgb]) -> list[Rgb]:
    """The pictures as the RGB of 4:2:0 frames."""
    return [as_rgb(frame) for frame in as_video_frames(pictures)]


def scenes(
    data: Path | None, frames: int = FRAMES
) -> Iterator[tuple[str, Callable[[], tuple[list[Rgb], list[Mask], list[Rgb]]]]]:
    """(name, makes the pictures, holes, and pictures of another place) of every scene."""
    made = {ref.name.split("/")[1]: ref for ref in synthetic_cases(frames, SYNTHETIC)}
    for name in SYNTHETIC:
        yield name, partial(_synthetic, made[name].build, made["rotation"].build if "rotation" in made else None)
    if data is not None:
        real = {ref.name: ref for ref in completion_cases(data, frames)}
        for name in REAL:
            if f"moving/{name}" in real:
                other = real["still/" + REAL[(REAL.index(name) + 1) % len(REAL)].split("+")[0]]
                yield name, partial(_real, real[f"moving/{name}"].build, other.build)


def _synthetic(build: Callable[[], Case], _: object) -> tuple[list[Rgb], list[Mask], list[Rgb]]:
    case = build()
    others = [picture[::-1, ::-1, ::-1] for picture in case.truth]
    return list(case.truth), list(case.holes), others


def _real(build: Callable[[], Case], other: Callable[[], Case]) -> tuple[list[Rgb], list[Mask], list[Rgb]]:
    case = build()
    return list(case.truth), list(case.holes), list(other().truth)


def filled_and_truth(pictures: Sequence[Rgb], holes: Sequence[Mask], engine: Vidrase) -> tuple[list[Rgb], list[Rgb]]:
    """(filled pictures, the truth as decoded)."""
    return engine.complete(blanked(pictures, holes), holes), as_decoded(pictures)


def group_psnr(filled: Sequence[Rgb], truth: Sequence[Rgb], holes: Sequence[Mask], frames: Sequence[int]) -> float:
    """PSNR of all hole pixels of `frames`, dB."""
    errors = weight = 0.0
    for t in frames:
        if holes[t].any():
            errors += metrics.l2(filled[t], truth[t], holes[t]) * float(holes[t].sum())
            weight += float(holes[t].sum())
    return min(metrics.psnr_of(errors / weight), INVISIBLE) if weight else float("nan")


def light_names(data: Path | None) -> list[str]:
    """Names of all cases: scene/change."""
    return [f"light/{scene}/{change.name}" for scene, _ in scenes(data) for change in changes()]


def run_light(data: Path | None, names: Sequence[str], results: Results, quality: str, device: str) -> None:
    """Every chosen case and its twin; one row for each group of frames."""
    engine = Vidrase(quality, device=device, frames_of=as_video_frames)
    for scene, build in scenes(data):
        wanted = [change for change in changes() if f"light/{scene}/{change.name}" in names]
        if not wanted:
            continue
        pictures, holes, others = build()
        twins: dict[bool, tuple[list[Rgb], list[Rgb]]] = {}
        for change in wanted:
            is_cut = change.twin is _cut
            if is_cut not in twins:
                twins[is_cut] = filled_and_truth(change.twin(pictures, others), holes, engine)
            filled, truth = filled_and_truth(change.apply(pictures, others), holes, engine)
            for group, frames in change.groups(len(filled)).items():
                psnr, twin = group_psnr(filled, truth, holes, frames), group_psnr(*twins[is_cut], holes, frames)
                numbers = {"psnr": round(psnr, 3), "twin": round(twin, 3), "loss": round(twin - psnr, 3)}
                results.add(
                    Row("light", f"{change.name}/{group}", f"light/{scene}/{change.name}/{group}", OURS, numbers)
                )
