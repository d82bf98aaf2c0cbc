"""How much is done for each picture: shed when time runs out, taken up again when there is some to spare."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QualityLevel:
    """One degree of quality."""

    name: str
    imgsz: int
    """Long side px that the detector sees."""
    stride: int
    """Least number of pictures from one look of the detector to the next."""
    flow: int
    """Long side px at which motion is estimated."""
    refine: bool
    """Whether the difference from the background is used to complete masks."""


LEVELS = (
    QualityLevel("full", 640, 1, 384, True),
    QualityLevel("high", 512, 1, 384, True),
    QualityLevel("medium", 416, 2, 320, True),
    QualityLevel("low", 320, 2, 256, True),
    QualityLevel("least", 320, 4, 192, False),
)
START_LEVEL = 1
SHED_LOAD = 0.85  # share of the time between two pictures: doing more than that leads to drops
REGAIN_LOAD = 0.45  # below it the next better level is tried
DETECTION_LATENCY_SHARE = 1.3  # looks of the detector may take this share of the latency
WARMUP_FRAMES = 20  # pictures before anything is decided: the first ones pay for caches and threads
SHED_AFTER, REGAIN_AFTER = 0.7, 5.0  # seconds


class QualityController:
    """Chooses the level. `step` once a picture."""

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
        """What to do now."""
        return LEVELS[self.index]

    def step(self, work: float, interval: float, detection_seconds: float, latency: float, *, dropped: int = 0) -> None:
        """Take in how the last picture went.

        work: seconds it took.  interval: seconds between pictures.  detection_seconds: seconds that the detector takes.
        latency: seconds that are allowed.  dropped: pictures lost since the last call.
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
            if self._seconds_since_change < 3 * REGAIN_AFTER:  # it was taken up too early: wait longer next time
                self._regain_wait = min(self._regain_wait * 2, 60.0)
            self._change_to(self.index + 1)
        elif self._idle_seconds > self._regain_wait and self.index > 0:
            self._change_to(self.index - 1)

    def _change_to(self, index: int) -> None:
        self.index = index
        self.changes += 1
        self._seconds_since_change = self._idle_seconds = 0.0
        self._load = 0.5 * (SHED_LOAD + REGAIN_LOAD)
