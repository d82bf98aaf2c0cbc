"""Steps of light between patches that come from different moments, evened out where they meet.

Half of the step goes to either side and fades away from the seam (a membrane), as in gradient-domain blending: Perez, Gangnet,
Blake, "Poisson image editing", SIGGRAPH 2003. Single samples of a seam tell noise and texture apart from nothing, so steps are
averaged along it first.
"""

from __future__ import annotations

import cv2
import numpy as np

from vidrase.fill.blending import Candidate, SampleSites
from vidrase.fill.membrane import membrane

ALONG = 4.0  # samples: how far steps are averaged
SEEN = 5 / 255  # of full scale: smaller steps are not seen, and evening them out would only blur
DOUBTED = 4.5 / 255  # of full scale: where the rim fits better than that the moments agree; steps there are texture
ENOUGH = 24  # seam samples; fewer are not worth the work


def blend_seams(candidate: Candidate, places: SampleSites, full: float) -> None:
    """Even out the steps between sources inside the hole of `candidate`, in all of its planes. full: largest sample value."""
    if candidate.rim_error is None or float(np.median(candidate.rim_error)) < DOUBTED * full:
        return
    area = places.hole.area
    rows, columns = np.nonzero(area)
    shape = area.shape[0] + 2, area.shape[1] + 2  # a frame of nothing round it: there the picture itself goes on
    source = np.full(shape, -1, np.int32)
    source[rows + 1, columns + 1] = candidate.source[: places.count]
    values = np.zeros((*shape, len(candidate.values)), np.float32)
    for k, value in enumerate(candidate.values):
        values[rows + 1, columns + 1, k] = value[: places.count]
    wanted = np.zeros_like(values)
    count = np.zeros(shape, np.float32)
    for here, there in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        first, second = source[here], source[there]
        seam = (first != second) & (first >= 0) & (second >= 0)
        # the later moment's side less the earlier one's: the same sign all along a seam
        turned = np.where(first < second, 1, -1).astype(np.float32)
        step = (values[there] - values[here]) * (seam * turned)[..., None]
        weight = cv2.GaussianBlur(seam.astype(np.float32), (0, 0), ALONG)
        step = cv2.GaussianBlur(step, (0, 0), ALONG).reshape(step.shape) / np.maximum(weight, 1e-4)[..., None]
        size = np.abs(step).max(2)
        seam &= size > SEEN * full
        trust = np.clip(size / (SEEN * full) - 1, 0, 1)
        step *= (seam * turned * trust / 2)[..., None]
        wanted[here] += step
        wanted[there] -= step
        count[here] += seam
        count[there] += seam
    on = count > 0
    if np.count_nonzero(on) < ENOUGH:
        return
    wanted[on] /= count[on][:, None]
    outside = np.pad(~area, 1, constant_values=True)
    even = membrane(wanted, on | outside)
    for k, value in enumerate(candidate.values):
        value[: places.count] += even[rows + 1, columns + 1, k]
