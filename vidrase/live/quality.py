"""Quality control: lower the quality when frames take too long, raise it when there is time to spare."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QualityLevel:
    """One quality level."""

    name: str
    imgsz: int
    """Long side px of the detector's input."""
    stride: int
    """Minimum number of frames from one detection to the next."""
    flow: int
    """Long side px of the flow's input."""
    refine: bool
    """Whether masks are refined by background subtraction."""


LEVELS = (
    QualityLevel("full", 640, 1, 384, True),
    QualityLevel("high", 512, 1, 384, True),
    QualityLevel("medium", 416, 2, 320, True),
    QualityLevel("low", 320, 2, 256, True),
    QualityLevel("least", 320, 4, 192, False),
)
START_LEVEL = 1
SHED_LOAD = 0.85  # processing time / frame interval; above it the quality is lowered, because frames would be dropped
REGAIN_LOAD = 0.45  # the same ratio; below it a better level is tried
DETECTION_LATENCY_SHARE = 1.3  # detection time / allowed latency; the quality is lowered above it
WARMUP_FRAMES = 20  # frames before the first decision: caches and threads warm up
SHED_AFTER, REGAIN_AFTER = 0.7, 5.0  # seconds at a level before it is lowered, seconds of low load before it is raised


class QualityController:
    """Chooses the level; call `step` for every frame."""

    def __init__(self, *, fixed: int | None = None) -> None:
        self.index = START_LEVEL if fixed is None else fixed
        self.changes = 0
        self._fixed = fixed is not None
        self._load = 0.5
        self._frames = 0
        self._seconds_since_change = 0.0
        self._idle_seconds = 0.0
        self._regain_wait = REGAIN_AFTER

    @property
    def level(self) -> QualityLevel:
        """The current level."""
        return LEVELS[self.index]

    def step(self, work: float, interval: float, detection_seconds: float, latency: float, *, dropped: int = 0) -> None:
        """Record the timing of one frame.

        work: seconds it took.  interval: seconds between frames.  detection_seconds: seconds of one detection.
        latency: allowed seconds.  dropped: frames lost since the last call.
        """
        interval = min(max(interval, 1e-3), 1.0)
        share = max(
            work / interval,
            SHED_LOAD + 0.15 if dropped else 0.0,
            SHED_LOAD * detection_seconds / (DETECTION_LATENCY_SHARE * max(latency, 0.05)),
        )
        self._load += 0.08 * (share - self._load)
        self._seconds_since_change += interval
        self._frames += 1
        if self._fixed or self._frames < WARMUP_FRAMES:
            return
        self._idle_seconds = self._idle_seconds + interval if self._load < REGAIN_LOAD else 0.0
        if self._load > SHED_LOAD and self._seconds_since_change > SHED_AFTER and self.index < len(LEVELS) - 1:
            if self._seconds_since_change < 3 * REGAIN_AFTER:  # raised too early: wait longer next time
                self._regain_wait = min(self._regain_wait * 2, 60.0)
            self._change_to(self.index + 1)
        elif self._idle_seconds > self._regain_wait and self.index > 0:
            self._change_to(self.index - 1)

    def _change_to(self, index: int) -> None:
        self.index = index
        self.changes += 1
        self._seconds_since_change = self._idle_seconds = 0.0
        self._load = 0.5 * (SHED_LOAD + REGAIN_LOAD)
