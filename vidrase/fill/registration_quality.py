"""Whether a picture laid over a frame shows the same, and as sharply: the focus moves, somebody comes nearer, the light changes.

It is judged beside the hole, where both are seen, and goes on into it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.fill.flow_completion import dilate
from vidrase.fill.flow_estimation import Registration
from vidrase.fill.membrane import membrane
from vidrase.fill.sampling import at
from vidrase.fill.window_frame import WindowFrame

MISFIT = 12.0
"""Median difference of brightness in the surroundings, 0..255, from which a picture does not show the same place."""
APART, AGREEING = 1.5, 0.6
"""px that there and back may disagree, and the share of the surroundings that must stay below."""
HALO = 3  # px around what is hidden that are not judged by
ENOUGH = 64  # px to judge by
WORST = 72.0
AROUND = 5  # px a side over which the misfit is averaged; beyond `WORST` it counts no more
SIGMAS = (0.0, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
"""px: blurs among which the one is chosen that makes a picture as sharp as the frame."""
FINE = 5  # px: detail is what a mean over so many takes away
WIDE = 21  # px a side over which detail is averaged
QUIET = 0.7  # levels added to both: noise on a wall is no detail
SHARPER = 1.3
"""Times the frame's detail that a picture may have: it was measured on other pixels. What has much more becomes as soft."""


@dataclass(frozen=True, slots=True, eq=False)
class RegistrationQuality:
    """How well a picture fits, in the box of a moment."""

    misfit: NDArray[np.float32]
    """[h, w] 0..255, after the difference of light as a whole."""
    blur: NDArray[np.float32]
    """[h, w] which of `SIGMAS` makes it look like the frame, and between which."""
    detail: NDArray[np.float32]
    """[h, w] its detail as it is, as a share of the frame's, 0..1."""

    @classmethod
    def of(
        cls, here: WindowFrame, over: WindowFrame, sharp: NDArray[np.uint8], laid: Registration
    ) -> RegistrationQuality | None:
        """How `over`, a picture laid over `here`, fits; None: it shows something else.

        sharp: uint8 [h, w] its luma as little blurred as colours are. laid: what is left of the motion.
        """
        assert here.box is not None
        assert here.dilated_hole is not None
        assert over.dilated_hole is not None
        ahead = laid.forward
        height, width = ahead.flow.shape[:2]
        span = np.s_[ahead.y : ahead.y + height, ahead.x : ahead.x + width]
        seen = ~(dilate(here.dilated_hole, HALO) | dilate(over.dilated_hole, HALO))[span]
        rows, columns = np.nonzero(seen)
        if len(rows) < ENOUGH:
            return None
        motion = ahead.flow[rows, columns]
        x = (columns + ahead.x + motion[:, 0]).astype(np.float32)
        y = (rows + ahead.y + motion[:, 1]).astype(np.float32)
        home, sure = laid.backward.at(x, y)
        apart = np.hypot(*(motion + home)[sure].T)
        gap = at(over.luma, x, y).astype(np.float32) - here.luma[span][rows, columns]
        gap = np.abs(gap - np.median(gap))
        # of the whole, medians: things that only one of them shows are no matter
        if len(apart) < ENOUGH or (apart < APART).mean() < AGREEING or np.median(gap) > MISFIT:
            return None
        misfit = np.zeros((height, width), np.float32)
        misfit[rows, columns] = np.minimum(gap, WORST)
        share = cv2.blur(seen.astype(np.float32), (AROUND, AROUND))
        misfit = cv2.blur(misfit, (AROUND, AROUND)) / np.maximum(share, 1e-3)
        blur, detail = estimate_defocus(here.luma[span], sharp[span], seen)
        maps = [misfit, *([blur] if blur[seen].any() else []), *([detail] if detail[seen].min() < 1 else [])]
        inward = membrane(np.dstack(maps), seen)
        top, left = here.box.top - ahead.y, here.box.left - ahead.x
        inward = inward[top : top + here.box.shape[0], left : left + here.box.shape[1]]
        none = np.zeros(inward.shape[:2], np.float32)
        return cls(
            inward[..., 0],
            inward[..., 1] if any(one is blur for one in maps) else none,
            inward[..., -1] if maps[-1] is detail else none + 1,
        )


def estimate_defocus(
    here: NDArray[np.uint8], over: NDArray[np.uint8], seen: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(blur, detail) of `over` against `here`, see `Fit`; [h, w] luma, meant where `seen`."""
    inner = cv2.erode(seen.astype(np.uint8), np.ones((FINE, FINE), np.uint8)).astype(np.float32)
    share = np.maximum(cv2.blur(inner, (WIDE, WIDE)), 1e-3)

    def detail(luma: NDArray[np.float32]) -> NDArray[np.float32]:
        fine = np.abs(luma - cv2.blur(luma, (FINE, FINE))) * inner
        return np.asarray(cv2.blur(fine, (WIDE, WIDE)) / share + QUIET, np.float32)

    wanted, sharp = detail(here.astype(np.float32)), over.astype(np.float32)
    own = last = detail(sharp)
    excess = own / wanted
    wanted = wanted * np.clip(SHARPER - (excess - SHARPER) / 2, 1, SHARPER)
    blur = np.zeros(seen.shape, np.float32)
    for sigma in SIGMAS[1:]:
        if not (seen & (last > wanted)).any():
            break  # mostly at once
        now = detail(cv2.GaussianBlur(sharp, (0, 0), sigma))
        step = np.log(last / wanted) / np.maximum(np.log(last / np.minimum(now, last)), 1e-3)
        blur += np.clip(step, 0, 1)
        last = np.minimum(now, last)
    return blur, np.minimum(excess, 1)
