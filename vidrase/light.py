"""The light of one picture against another's: a gain and an offset for R, G and B, and what varies smoothly over the picture.

A fade scales and shifts all values, a lamp scales the channels, a flash is brightest in its middle, mains light rolls over the
picture in bands of rows. All of them are one model: value = local gain * (gain * value + offset), in display (gamma) light, where
fades are exact and a change of exposure is a gain as well. It is fitted to two small pictures, one registered to the other, over
all that both show; a part of the model is used only where it explains the difference.

Invariant: pictures without a change of light give None, so that nothing is changed by a fit to noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase import colour
from vidrase.colour import PixelLayout

SAMPLE_SIDE = 96  # px: long side of the small pictures
BLUR = 1.5  # px of them, standard deviation: registration is accurate to about a pixel
MIN_CELLS = 60  # pixels that both must show; with fewer the light is not compared
MAX_CELLS = 800  # pixels that the gain and the offset are fitted to, at most about
MIDDLE = 100.0  # grey level at which a drift of light is measured
BURNT = 249.0  # grey levels: from here on a mean of pixels holds values that were cut off; it is not fitted to
REFITS = 2  # of gain and offset to light from which the local gain was taken
EVEN_ROW = 0.02  # range of the local gain within a row, up to which the row has one light
BURNT_MARGIN = 8.0  # grey levels below that at which a target is not burnt out for certain
ROUNDS = 3  # of reweighting in the robust fit
MIN_GAIN_OF_FIT = 0.6
"""Median error after the fit over the one before it, up to which the light counts as changed. Without a change of light it is
.85 to 1.02, since nothing but misregistration is left to fit."""
MIN_CHANGE = 0.8  # grey levels by which the median error must fall
MAX_LOCAL_ERROR = 0.85
"""Median error with a local gain over the one without it, up to which it is used; only where the light as a whole has changed:
where only places differ, what they show does."""
MAX_ROW_ERROR = 0.4
"""The same of a gain for each row: over neighbours of 22 clips without bands .70 and more, with bands of a tenth .07."""
MAX_AMPLIFICATION = 3.0
"""Gain above which a source cannot be used: steps of its values become visible."""
MAX_MISFIT = 0.5
"""Median error after the fit over the spread of the values (their mean deviation), above which the light is not matched."""
MIN_SPREAD = 3.0  # grey levels: a picture with less is as good as even; errors are compared with this
MAX_BURNT_SHARE = 0.03
"""Share of a source that is burnt out where the picture that it is matched to is not; above it the source is not used."""
CELL_SIDE = 4  # px of the small pictures a side of the cells of the local gain
SCALES = (6.0, 2.0, 1.0)
"""Cells: standard deviations of the averages that the local gain is made from, each an average of what the
one before leaves."""
EVEN = 2.0  # grey levels added to both sides of a ratio: of dark values it would be noise
EVIDENCE = 0.15
"""Share of a window that must be known for its own ratio to weigh as much as the wider window's."""


@dataclass(frozen=True, slots=True, eq=False)
class LightSample:
    """A small picture of a frame, to compare its light with others."""

    rgb: NDArray[np.float32]
    """[h, w, 3] 0..255, slightly blurred."""
    known: NDArray[np.bool_]
    """[h, w] where it shows the background."""
    size: tuple[int, int]
    """(height, width) of the frame, luma px."""

    @property
    def burnt(self) -> float:
        """Share of the background that is burnt out."""
        return float((~unburnt(self.rgb[self.known])).mean()) if self.known.any() else 0.0

    @classmethod
    def of(cls, planes: Sequence[NDArray], layout: PixelLayout, hidden: NDArray[np.bool_] | None) -> LightSample:
        """Of a frame's planes. hidden: bool, any size: what is not background; None: nothing."""
        height, width = planes[0].shape
        scale = min(1.0, SAMPLE_SIDE / max(height, width))
        size = max(round(height * scale), 2), max(round(width * scale), 2)
        small = [colour.shrunk(plane, size) for plane in planes[: layout.colour_planes]]
        rgb = colour.to_rgb(small, _unsubsampled(layout)) * np.float32(255)
        known = np.ones(size, bool)
        if hidden is not None and hidden.any():
            share = cv2.resize(hidden.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
            known = cv2.dilate((share > 0).astype(np.uint8), np.ones((3, 3), np.uint8)) == 0
        return cls(smoothed(rgb, known), known, (height, width))

    def seen_from(self, other: LightSample, homography: NDArray[np.float64] | None) -> LightSample:
        """This sample warped to `other`. homography: from luma px of the other's frame to those of this one's; None: the same."""
        if homography is None and self.rgb.shape == other.rgb.shape:
            return self
        to_frame, to_sample = _scaling(other, 1), _scaling(self, -1)
        matrix = to_sample @ (np.eye(3) if homography is None else homography) @ to_frame
        height, width = other.known.shape
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        rgb = cv2.warpPerspective(self.rgb, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        known = cv2.warpPerspective(self.known.astype(np.float32), matrix, (width, height), flags=flags)
        return LightSample(rgb.astype(np.float32), known > 0.99, other.size)


@dataclass(frozen=True, slots=True, eq=False)
class Light:
    """What makes one picture's values those of another's light."""

    gain: NDArray[np.float32]
    """[3] of R, G, B."""
    offset: NDArray[np.float32]
    """[3] grey levels, 0..255."""
    local: NDArray[np.float32] | None
    """[h, w, 3] gain of each place of the target after gain and offset; None: 1 everywhere."""
    size: tuple[int, int]
    """(height, width) of the target, luma px."""
    confidence: float
    """0: it cannot be matched. Else the weight of a source, 1 or less: amplified values are noisier."""

    @property
    def of_whole(self) -> bool:
        """Whether it is one light for the whole picture, or for whole rows of it: not a shadow that crosses it."""
        return self.local is None or float(np.ptp(self.local, axis=1).max()) < EVEN_ROW

    def at(self, rgb: NDArray[np.float32], x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
        """The values [N, 3] RGB 0..255 of the source in the light of the target, at its points (x, y), luma px. Cut off at 0,
        255."""
        lit = rgb * self.gain + self.offset
        if self.local is not None:
            rows, columns = self.local.shape[:2]
            height, width = self.size
            map_x = ((x + 0.5) * (columns / width) - 0.5).astype(np.float32)
            map_y = ((y + 0.5) * (rows / height) - 0.5).astype(np.float32)
            lit *= _at(self.local, map_x, map_y)
        return np.clip(lit, 0, 255)

    def relit(
        self,
        samples: NDArray[np.float32],
        layout: PixelLayout,
        x: NDArray[np.float32],
        y: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """`at` for native samples [N, colour planes] of `layout`."""
        to_rgb, from_rgb = colour.sample_matrices(layout)
        rgb = samples @ to_rgb[:, :-1].T + to_rgb[:, -1]
        lit = self.at(rgb * np.float32(255), x, y) / np.float32(255)
        return np.asarray(lit @ from_rgb[:, :-1].T + from_rgb[:, -1], np.float32)

    def relit_planes(self, planes: Sequence[NDArray], layout: PixelLayout) -> list[NDArray]:
        """Whole colour planes in the light of the target: each sample with the other components at its place."""
        lit = []
        for number, plane in enumerate(planes[: layout.colour_planes]):
            rows, columns = plane.shape
            parts = [colour.fitted(other, (rows, columns)) for other in planes[: layout.colour_planes]]
            y, x = np.indices((rows, columns), np.float32)
            shift_y, shift_x = layout.shifts(number)
            x, y = x * (1 << shift_x) + ((1 << shift_x) - 1) / 2, y * (1 << shift_y) + ((1 << shift_y) - 1) / 2
            samples = np.stack([part.ravel() for part in parts], axis=1).astype(np.float32)
            values = self.relit(samples, layout, x.ravel(), y.ravel())[:, number].reshape(rows, columns)
            lit.append(np.clip(np.rint(values), 0, (1 << layout.bits) - 1).astype(plane.dtype))
        return lit


def match_light(here: LightSample, there: LightSample, homography: NDArray[np.float64] | None = None) -> Light | None:
    """The light of `here` against that of `there`, registered by `homography` (see `LightSample.seen_from`); None: the same."""
    return compare_light(here, there, homography)[0]


def compare_light(
    here: LightSample, there: LightSample, homography: NDArray[np.float64] | None = None
) -> tuple[Light | None, float]:
    """(what `match_light` gives; by how much the fitted light moves a middle grey, levels, though it be no change for
    certain)."""
    other = there.seen_from(here, homography)
    known = here.known & other.known
    fitted = fit_gain(other.rgb[known], here.rgb[known])
    if fitted is None:
        return None, 0.0
    gain, offset, error = fitted
    drift = float((gain * MIDDLE + offset).mean() - MIDDLE)
    predicted = np.clip(other.rgb * gain + offset, 0, 255)
    before = _median_error(other.rgb, here.rgb, known)
    changed = _has_changed(error, before)
    local: NDArray[np.float32] | None = None
    of_local = _rows  # from the values themselves: bands spoil a gain that is fitted to all rows
    candidate = _rows(here.rgb, other.rgb, known)
    after, least = _median_error(np.clip(other.rgb * candidate, 0, 255), here.rgb, known), min(error, before)
    if after < MAX_ROW_ERROR * least and least - after > MIN_CHANGE:
        changed, local, error = True, candidate, after
        gain, offset = np.ones(3, np.float32), np.zeros(3, np.float32)
    elif changed:
        of_local, candidate = _places, _places(here.rgb, predicted, known)
        after = _median_error(np.clip(predicted * candidate, 0, 255), here.rgb, known)
        if after < MAX_LOCAL_ERROR * error and error - after > MIN_CHANGE / 4:
            local, error = candidate, after
    for _ in range(REFITS):  # the gain was fitted to light that varied
        again = (
            None if local is None else fit_gain(other.rgb[known], (here.rgb / local)[known], unburnt(here.rgb)[known])
        )
        if again is None:
            break
        predicted = np.clip(other.rgb * again[0] + again[1], 0, 255)
        candidate = of_local(here.rgb, predicted, known)
        after = _median_error(np.clip(predicted * candidate, 0, 255), here.rgb, known)
        if after > error:
            break
        gain, offset, local, error = again[0], again[1], candidate, after
    if not changed:
        return None, drift
    amplification = float(gain.max())
    matched = (
        error <= MAX_MISFIT * spread_of(here.rgb[known])
        and amplification <= MAX_AMPLIFICATION
        and burnt_share(other.rgb[known], here.rgb[known]) <= MAX_BURNT_SHARE
    )
    return Light(gain, offset, local, here.size, float(matched) / max(amplification, 1.0) ** 2), drift


def spread_of(values: NDArray[np.float32]) -> float:
    """Mean absolute deviation of values [N, C], grey levels; `MIN_SPREAD` at least."""
    return max(float(np.abs(values - values.mean(0)).mean()), MIN_SPREAD) if len(values) else MIN_SPREAD


def unburnt(rgb: NDArray[np.float32]) -> NDArray[np.bool_]:
    """bool [...]: where no channel of values [..., C] is burnt out."""
    return np.asarray((rgb < BURNT).all(-1), bool)


def burnt_share(source: NDArray[np.float32], target: NDArray[np.float32]) -> float:
    """Share of values [N, C] of a source that are burnt out where those of the target are well below."""
    return float((~unburnt(source) & (target < BURNT - BURNT_MARGIN).any(-1)).mean()) if len(source) else 0.0


def fit_gain(
    source: NDArray[np.float32], target: NDArray[np.float32], usable: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32], float] | None:
    """(gain [C], offset [C], median absolute error) that make `source` `target`, [N, C] values 0..255 each; None: too few.

    The gain is the ratio of the standard deviations, not a regression, which would be too small where registration is inexact.
    Values that differ after the fit, because the two show different things, lose weight.
    """
    fitted_to = unburnt(source) & (unburnt(target) if usable is None else usable)
    if np.count_nonzero(fitted_to) < MIN_CELLS:
        fitted_to[:] = True
    source, target = source[fitted_to], target[fitted_to]
    if len(source) < MIN_CELLS:
        return None
    step = max(len(source) // MAX_CELLS, 1)
    source, target = source[::step], target[::step]
    weight = np.ones((len(source), 1), np.float32)
    for _ in range(ROUNDS):
        total = weight.sum()
        mean_s, mean_t = (weight * source).sum(0) / total, (weight * target).sum(0) / total
        deviation_s = np.sqrt((weight * (source - mean_s) ** 2).sum(0) / total)
        deviation_t = np.sqrt((weight * (target - mean_t) ** 2).sum(0) / total)
        gain = deviation_t / np.maximum(deviation_s, 0.25)
        offset = mean_t - gain * mean_s
        error = np.abs(source * gain + offset - target).max(1, keepdims=True)
        weight = 1 / (1 + (error / (3 * np.median(error) + 0.5)) ** 2)
    return gain.astype(np.float32), offset.astype(np.float32), float(np.median(error))


def matched_luma(luma: NDArray[np.uint8], like: NDArray[np.uint8], where: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A registered picture, uint8 [h, w], in the light of another one, compared `where` both show the background; the same
    object where the light has not changed."""
    source, target = luma[where].astype(np.float32)[:, None], like[where].astype(np.float32)[:, None]
    fitted = fit_gain(source, target)
    if fitted is None or not _has_changed(fitted[2], float(np.median(np.abs(source - target)))):
        return luma
    table = np.clip(np.rint(np.arange(256) * fitted[0][0] + fitted[1][0]), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(luma, table), np.uint8)


def under_one_light(
    a: NDArray[np.uint8], b: NDArray[np.uint8], *, stretch: bool = True
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Two pictures, uint8 [h, w], `b` with the mean and contrast of `a`, and both without bands of mains light if these
    differ; the same objects where nothing differs. For pictures that are not registered yet: neighbours in time show nearly
    the same.

    stretch: whether dark pictures may get more contrast.
    """
    if _banded(a, b):
        a, b = _without_bands(a), _without_bands(b)
    (mean,), (deviation,) = (v.ravel() for v in cv2.meanStdDev(b))
    (mean_like,), (deviation_like,) = (v.ravel() for v in cv2.meanStdDev(a))
    gain = deviation_like / max(deviation, 0.5)
    if abs(mean - mean_like) < MAX_SAME_OFFSET and 1 / MAX_SAME_GAIN < gain < MAX_SAME_GAIN:
        return a, b
    wide = (
        max(1.0, min(MIN_CONTRAST / max(deviation_like, 0.5), MAX_STRETCH)) if stretch else 1.0
    )  # dark pictures leave the search too little to see
    table = np.clip(np.rint((np.arange(256) - mean) * gain * wide + 128), 0, 255).astype(np.uint8)
    table_like = np.clip(np.rint((np.arange(256) - mean_like) * wide + 128), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(a, table_like), np.uint8), np.asarray(cv2.LUT(b, table), np.uint8)


MAX_SAME_OFFSET, MAX_SAME_GAIN = 5.0, 1.08
"""Difference of the means in grey levels and ratio of the contrasts up to which two neighbours have the same light: what comes
into view changes both by less."""
MIN_CONTRAST, MAX_STRETCH = 40.0, 8.0
"""Standard deviation, grey levels, to which two pictures of changed light are stretched, and most times."""
BAND_CELLS = (24, 8)  # rows and columns of cells whose means are compared
MIN_BAND, MIN_BAND_RATIO = 0.04, 6.0
"""Standard deviation of the rows' logarithmic gains, and how many times the one that differences within a row make likely,
from which on two pictures differ by bands: motion changes a row's cells each by its own."""


def _banded(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> bool:
    cells = [
        cv2.resize(picture, BAND_CELLS[::-1], interpolation=cv2.INTER_AREA).astype(np.float32) + 4 for picture in (a, b)
    ]
    gains = np.log(cells[1] / cells[0])
    of_rows = float((gains.mean(1)).std())
    by_chance = float(np.sqrt(gains.var(1).mean() / BAND_CELLS[1]))
    return of_rows > MIN_BAND and of_rows > MIN_BAND_RATIO * by_chance


def _without_bands(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Every row divided by the mean of the rows around it: the picture's own, so that its motion stays what it is."""
    profile = picture.mean(1, dtype=np.float32)[:, None] + 4
    profile = cv2.GaussianBlur(profile, (1, 0), sigmaX=1e-3, sigmaY=len(picture) / 48) if len(picture) > 48 else profile
    return np.asarray(np.clip(picture * (float(profile.mean()) / profile), 0, 255), np.uint8)


def _has_changed(after: float, before: float) -> bool:
    return after < MIN_GAIN_OF_FIT * before and before - after > MIN_CHANGE


def _rows(target: NDArray[np.float32], predicted: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """[h, w, 3] gain of each row: the rolling bands of mains light."""
    weight = known[..., None].astype(np.float32)
    share = weight.mean((1, 2))
    above, below = (_down((weight * v).mean(1)) for v in (target, predicted))
    ratio = (above + EVEN) / (below + EVEN)
    seen = share > EVIDENCE
    if not seen.any():
        return np.ones(target.shape, np.float32)
    rows = np.arange(len(share))
    ratio = np.stack([np.interp(rows, rows[seen], channel[seen]) for channel in ratio.T], axis=1)
    return np.asarray(np.repeat(np.clip(ratio, 0.25, 4.0)[:, None], target.shape[1], axis=1), np.float32)


def _down(profile: NDArray[np.float32]) -> NDArray[np.float32]:
    """[h, 3] a profile averaged slightly along its length."""
    padded = np.pad(profile, ((1, 1), (0, 0)), mode="edge")
    return np.asarray((padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4, np.float32)


def _places(
    target: NDArray[np.float32], predicted: NDArray[np.float32], known: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """[h, w, 3] gain of each place: ratios of averages over windows, each narrower than the one before and shrunk to it."""
    height, width = known.shape
    size = max(width // CELL_SIDE, 1), max(height // CELL_SIDE, 1)
    weight = known.astype(np.float32)[..., None]
    above, below = (
        cv2.resize(v * weight, size, interpolation=cv2.INTER_AREA).reshape(*size[::-1], 3) for v in (target, predicted)
    )
    ratio = np.ones(above.shape, np.float32)
    for sigma in SCALES:
        sums = [cv2.GaussianBlur(v, (0, 0), sigma, borderType=cv2.BORDER_REFLECT) for v in (above, below)]
        even = EVIDENCE * (np.maximum(sums[1], 4.0) + 4.0)
        ratio = (sums[0] + even * ratio) / (sums[1] + even)
    ratio = np.clip(ratio, 0.25, 4.0).astype(np.float32)
    return np.asarray(cv2.resize(ratio, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _median_error(source: NDArray[np.float32], target: NDArray[np.float32], known: NDArray[np.bool_]) -> float:
    """Median over `known` pixels that are not burnt out of the largest difference of a channel."""
    error = np.abs(source - target).max(2)[known & unburnt(target)]
    if len(error) < MIN_CELLS:
        error = np.abs(source - target).max(2)[known]
    return float(np.median(error))


def smoothed(rgb: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """`rgb` blurred, unknown pixels left out."""
    weight = known.astype(np.float32)
    total = cv2.GaussianBlur(weight, (0, 0), BLUR)
    summed = cv2.GaussianBlur(rgb * weight[..., None], (0, 0), BLUR)
    return np.asarray(summed / np.maximum(total, 1e-3)[..., None], np.float32)


def _scaling(sample: LightSample, direction: int) -> NDArray[np.float64]:
    """Matrix from px of a sample to luma px of its frame (1), or back (-1)."""
    (rows, columns), (height, width) = sample.known.shape, sample.size
    x, y = width / columns, height / rows
    matrix = np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])
    return matrix if direction > 0 else np.linalg.inv(matrix)


def _unsubsampled(layout: PixelLayout) -> PixelLayout:
    return replace(layout, shift_x=0, shift_y=0, alpha=False)


def _at(field: NDArray[np.float32], x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
    """[N, 3] linear interpolation at any number of points."""
    out = np.empty((len(x), field.shape[2]), np.float32)
    for start in range(0, len(x), 30000):
        part = slice(start, start + 30000)
        out[part] = cv2.remap(field, x[part][None], y[part][None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
    return out
