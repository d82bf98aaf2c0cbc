"""Seam blending: remove exposure steps between patches that come from different frames.

Half of the step is added on either side and fades away from the seam (a membrane), as in gradient-domain blending: Perez,
Gangnet, Blake, "Poisson image editing", SIGGRAPH 2003. A single sample cannot tell a step from noise or texture, so steps are
averaged along the seam first.
"""

from __future__ import annotations

import cv2
import numpy as np

from vidrase.fill.blending import Candidate, SampleSites
from vidrase.fill.membrane import membrane

# Evidence for blend.seams: `rules.py`. Values of constants without a figure have no record yet.
BLUR_SIGMA = 4.0  # samples: standard deviation of the Gaussian that averages steps along a seam
MIN_STEP = 5 / 255  # share of full scale: smaller steps are invisible; blending them would only blur
MIN_RIM_ERROR = 4.5 / 255  # share of full scale: below this median rim error exposures agree and steps are texture
MIN_SEAM_SAMPLES = 24  # seam samples: with fewer nothing is done


def blend_seams(candidate: Candidate, sites: SampleSites, full: float) -> None:
    """Remove the steps between sources in the hole, in all planes of `candidate`, in place. full: largest sample value."""
    if candidate.rim_error is None or float(np.median(candidate.rim_error)) < MIN_RIM_ERROR * full:
        return
    area = sites.hole.area
    rows, columns = np.nonzero(area)
    shape = area.shape[0] + 2, area.shape[1] + 2  # padded by 1: outside is the frame itself
    source = np.full(shape, -1, np.int32)
    source[rows + 1, columns + 1] = candidate.source[: sites.count]
    values = np.zeros((*shape, len(candidate.values)), np.float32)
    for k, value in enumerate(candidate.values):
        values[rows + 1, columns + 1, k] = value[: sites.count]
    offsets = np.zeros_like(values)
    count = np.zeros(shape, np.float32)
    for here, there in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        first, second = source[here], source[there]
        seam = (first != second) & (first >= 0) & (second >= 0)
        # the later frame's side less the earlier one's, so that the sign does not change along a seam
        sign = np.where(first < second, 1, -1).astype(np.float32)
        step = (values[there] - values[here]) * (seam * sign)[..., None]
        weight = cv2.GaussianBlur(seam.astype(np.float32), (0, 0), BLUR_SIGMA)
        step = cv2.GaussianBlur(step, (0, 0), BLUR_SIGMA).reshape(step.shape) / np.maximum(weight, 1e-4)[..., None]
        size = np.abs(step).max(2)
        seam &= size > MIN_STEP * full
        strength = np.clip(size / (MIN_STEP * full) - 1, 0, 1)
        step *= (seam * sign * strength / 2)[..., None]
        offsets[here] += step
        offsets[there] -= step
        count[here] += seam
        count[there] += seam
    on_seam = count > 0
    if np.count_nonzero(on_seam) < MIN_SEAM_SAMPLES:
        return
    offsets[on_seam] /= count[on_seam][:, None]
    outside = np.pad(~area, 1, constant_values=True)
    correction = membrane(offsets, on_seam | outside)
    for k, value in enumerate(candidate.values):
        value[: sites.count] += correction[rows + 1, columns + 1, k]
