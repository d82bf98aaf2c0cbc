"""How well a picture registered to a frame agrees with it, and whether it is as sharp: focus, distance and exposure change.

Both are measured beside the hole, where both pictures are visible, and interpolated into it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.fill.flow_completion import dilate
from vidrase.fill.flow_estimation import Registration
from vidrase.fill.membrane import membrane
from vidrase.fill.sampling import at
from vidrase.fill.window_frame import WindowFrame
from vidrase.light import matched_luma

# Evidence for sources.misfit, sources.defocus: `rules.py`. Values of constants without a figure have no record yet.
MAX_MEDIAN_MISFIT = 12.0
"""Median difference of brightness in the surroundings, 0..255, above which the picture shows another place."""
MAX_ROUND_TRIP, MIN_CONSISTENT = 1.5, 0.6
"""Largest forward-backward error of the flow in px, and the smallest share of the surroundings that must stay below it."""
HOLE_MARGIN = 3  # px around hidden pixels that are not compared
MIN_PIXELS = 64  # px that must be visible in both pictures
MISFIT_CAP = 72.0
MISFIT_WINDOW = 5  # px a side over which the misfit is averaged; differences are capped at `MISFIT_CAP`
SIGMAS = (0.0, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
"""Standard deviations in px of the blurs from which the one is chosen that makes a picture as sharp as the frame."""
FINE = 5  # px: detail is the difference to a mean over a box of this side
DETAIL_WINDOW = 21  # px a side over which detail is averaged
QUIET = 0.7  # levels added to both: noise on a plain wall is no detail
DETAIL_TOLERANCE = 1.3
"""A picture may have this many times the frame's detail, because both are measured at different pixels. A picture with much
more detail is blurred to the frame's detail."""


@dataclass(frozen=True, slots=True, eq=False)
class RegistrationQuality:
    """Agreement of a registered picture with a frame, in the box of the window frame."""

    misfit: NDArray[np.float32]
    """[h, w] absolute difference 0..255, after the median difference (exposure) is removed."""
    blur: NDArray[np.float32]
    """[h, w] index into `SIGMAS`, fractional, of the blur that makes the picture as sharp as the frame."""
    detail: NDArray[np.float32]
    """[h, w] detail of the unblurred picture as a share of the frame's, 0..1."""

    @classmethod
    def of(
        cls, here: WindowFrame, picture: WindowFrame, sharp: NDArray[np.uint8], registration: Registration
    ) -> RegistrationQuality | None:
        """How `picture`, registered to `here`, agrees with it; None: it shows something else, or too little is visible in both.

        sharp: uint8 [h, w] its luma, interpolated as sharply as colours are. registration: residual motion from `here` to it.
        """
        assert here.box is not None
        assert here.dilated_hole is not None
        assert picture.dilated_hole is not None
        forward = registration.forward
        height, width = forward.flow.shape[:2]
        span = np.s_[forward.y : forward.y + height, forward.x : forward.x + width]
        visible = ~(dilate(here.dilated_hole, HOLE_MARGIN) | dilate(picture.dilated_hole, HOLE_MARGIN))[span]
        rows, columns = np.nonzero(visible)
        if len(rows) < MIN_PIXELS:
            return None
        motion = forward.flow[rows, columns]
        x = (columns + forward.x + motion[:, 0]).astype(np.float32)
        y = (rows + forward.y + motion[:, 1]).astype(np.float32)
        backward, valid = registration.backward.at(x, y)
        round_trip = np.hypot(*(motion + backward)[valid].T)
        seen, own = at(picture.luma, x, y), here.luma[span][rows, columns]
        column = np.asarray(seen[:, None], np.uint8)
        lit = matched_luma(column, own[:, None], np.ones(column.shape, bool))
        if lit is not column and rules.enabled("blend.light"):
            sharp, seen = sharp.copy(), lit[:, 0]
            sharp[span] = matched_luma(sharp[span], here.luma[span], visible)
        difference = seen.astype(np.float32) - own
        difference = np.abs(difference - np.median(difference))
        # Medians over the whole surroundings, so that objects that only one of the pictures shows do not count.
        if (
            len(round_trip) < MIN_PIXELS
            or (round_trip < MAX_ROUND_TRIP).mean() < MIN_CONSISTENT
            or np.median(difference) > MAX_MEDIAN_MISFIT
        ):
            return None
        misfit = np.zeros((height, width), np.float32)
        misfit[rows, columns] = np.minimum(difference, MISFIT_CAP)
        share = cv2.blur(visible.astype(np.float32), (MISFIT_WINDOW, MISFIT_WINDOW))
        misfit = cv2.blur(misfit, (MISFIT_WINDOW, MISFIT_WINDOW)) / np.maximum(share, 1e-3)
        blur, detail = estimate_defocus(here.luma[span], sharp[span], visible)
        maps = [misfit, *([blur] if blur[visible].any() else []), *([detail] if detail[visible].min() < 1 else [])]
        completed = membrane(np.dstack(maps), visible)
        top, left = here.box.top - forward.y, here.box.left - forward.x
        completed = completed[top : top + here.box.shape[0], left : left + here.box.shape[1]]
        zeros = np.zeros(completed.shape[:2], np.float32)
        return cls(
            completed[..., 0],
            completed[..., 1] if any(map_ is blur for map_ in maps) else zeros,
            completed[..., -1] if maps[-1] is detail else zeros + 1,
        )


def estimate_defocus(
    here: NDArray[np.uint8], picture: NDArray[np.uint8], visible: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(blur, detail) of `picture` against `here`, see `RegistrationQuality`; [h, w] luma, valid where `visible`."""
    inner = cv2.erode(visible.astype(np.uint8), np.ones((FINE, FINE), np.uint8)).astype(np.float32)
    share = np.maximum(cv2.blur(inner, (DETAIL_WINDOW, DETAIL_WINDOW)), 1e-3)

    def detail(luma: NDArray[np.float32]) -> NDArray[np.float32]:
        fine = np.abs(luma - cv2.blur(luma, (FINE, FINE))) * inner
        return np.asarray(cv2.blur(fine, (DETAIL_WINDOW, DETAIL_WINDOW)) / share + QUIET, np.float32)

    target, sharp = detail(here.astype(np.float32)), picture.astype(np.float32)
    original = last = detail(sharp)
    excess = original / target
    target = target * np.clip(DETAIL_TOLERANCE - (excess - DETAIL_TOLERANCE) / 2, 1, DETAIL_TOLERANCE)
    blur = np.zeros(visible.shape, np.float32)
    for sigma in SIGMAS[1:]:
        if not (visible & (last > target)).any():
            break  # mostly at the first step
        blurred = detail(cv2.GaussianBlur(sharp, (0, 0), sigma))
        step = np.log(last / target) / np.maximum(np.log(last / np.minimum(blurred, last)), 1e-3)
        blur += np.clip(step, 0, 1)
        last = np.minimum(blurred, last)
    return blur, np.minimum(excess, 1)
