"""The light of the frames in the window against each other, and against stored pictures.

Neighbours are compared as they come. Two frames between which nothing has changed are not compared again; others directly,
over all that both show, so that no errors add up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.fill.window_frame import WindowFrame, WorkGrid
from vidrase.light import Light, LightSample, compare_light, match_light

# Evidence for blend.light: `rules.py`.
MAX_DRIFT = 2.0
"""Grey levels by which the light may drift from neighbour to neighbour within a group of frames. Only a group's first frame is
compared with those of other groups; the rest is compensated at the rim. On hike (40 frames) 511 comparisons instead of 1575."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameLight:
    """What is kept of a frame's light, also when the frame has left the window."""

    number: int
    sample: LightSample
    pose: NDArray[np.float64]
    """From luma px of the frame to those of the first frame of its shot."""
    drift: float
    """Of the light since that frame, grey levels."""
    changes: int
    """Number of frames since then whose light is not that of the frame before."""
    first: FrameLight | None = None
    """The first frame of the group with the same light; None: this one."""

    @property
    def group(self) -> FrameLight:
        """The frame that stands for all of the same light."""
        return self.first or self


class LightMatching:
    """The light of one stream's frames."""

    def __init__(self, grid: WorkGrid) -> None:
        self._to_luma = to_luma(grid)
        self._frames: dict[int, FrameLight] = {}
        self._found: dict[tuple[int, int], Light | None] = {}
        self._relit: set[int] = set()
        self._refused: set[int] = set()

    def counted(self, number: int) -> tuple[bool, bool]:
        """(whether something was found in another light for the frame `number`, whether something was refused for its light)."""
        return number in self._relit, number in self._refused

    def count(self, here: WindowFrame, light: Light | None) -> Light | None:
        """Note a light that was found for `here`; returns it."""
        if light is not None:
            (self._relit if light.confidence > 0 else self._refused).add(here.number)
        return light

    def add(self, now: WindowFrame, previous: WindowFrame | None) -> None:
        """Add the next frame; previous: the one before it in its shot, with its flow pair; None: there is none."""
        if not rules.enabled("blend.light"):
            return
        before = self._frames.get(previous.number) if previous is not None else None
        sample, number = sample_of(now), now.number
        if before is None or previous is None:
            self._frames[number] = FrameLight(number, sample, np.eye(3), 0.0, 0)
            return
        pair = previous.flow_pair
        back = np.eye(3) if pair is None else self._on_luma(np.linalg.inv(pair.camera.homography))
        for key in [key for key in self._found if number in key]:
            del self._found[key]
        light, drift = compare_light(sample, before.sample, back)
        drift, group = before.drift + drift, before.group
        same = light is None and abs(drift - group.drift) < MAX_DRIFT
        self._frames[number] = FrameLight(
            number, sample, before.pose @ back, drift, before.changes + (light is not None), group if same else None
        )
        self._found[number, before.number] = light

    def of(self, frame: WindowFrame) -> FrameLight | None:
        """The light of a frame of the window, to be kept; None: it was not added."""
        return self._frames.get(frame.number)

    def between(self, here: WindowFrame, there: WindowFrame | FrameLight | None) -> Light | None:
        """The light of `here` against that of `there`, two frames of a shot, the first in the window; None: the same, or
        unknown."""
        own = self._frames.get(here.number)
        other = self._frames.get(there.number) if isinstance(there, WindowFrame) else there
        if own is None or other is None or own.number == other.number or own.group.number == other.group.number:
            return None
        if own.changes == other.changes and abs(own.drift - other.drift) < MAX_DRIFT:
            return None
        light = self._matched(own.group, other.group)
        if light is not None and light.local is not None and own.first is not None:
            light = self._matched(own, other.group)  # what varies over the picture moves with the camera
        return self.count(here, light)

    def _matched(self, own: FrameLight, other: FrameLight) -> Light | None:
        pair = own.number, other.number
        if pair not in self._found:
            self._found[pair] = match_light(own.sample, other.sample, np.linalg.inv(other.pose) @ own.pose)
        return self._found[pair]

    def usable(self, here: WindowFrame, there: WindowFrame) -> bool:
        """Whether the light of `there` can be made that of `here`."""
        light = self.between(here, there)
        return light is None or light.confidence > 0

    def against(self, here: WindowFrame, sample: LightSample, homography: NDArray[np.float64] | None) -> Light | None:
        """The light of `here` against that of a stored picture. homography: from `here` to it, px of the work grid; None: the
        same."""
        own = self._frames.get(here.number)
        if own is None:
            return None
        return self.count(
            here, match_light(own.sample, sample, None if homography is None else self._on_luma(homography))
        )

    def forget(self, window: Mapping[int, WindowFrame]) -> None:
        """Drop frames that have left the window."""
        for number in [number for number in self._frames if number not in window]:
            del self._frames[number]
        self._relit, self._refused = (held & window.keys() for held in (self._relit, self._refused))
        used = self._frames.keys() | {one.group.number for one in self._frames.values()}
        for pair in [pair for pair in self._found if pair[0] not in used]:
            del self._found[pair]

    def _on_luma(self, homography: NDArray[np.floating]) -> NDArray[np.float64]:
        return np.asarray(self._to_luma @ homography @ np.linalg.inv(self._to_luma))


def sample_of(frame: WindowFrame) -> LightSample:
    """The light sample of a frame, without its hole and what stays in front."""
    return LightSample.of(frame.frame.planes, frame.frame.layout, frame.area)


def to_luma(grid: WorkGrid) -> NDArray[np.float64]:
    """From px of the work grid to luma px."""
    x, y = 1 / grid.scale_x, 1 / grid.scale_y
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])
