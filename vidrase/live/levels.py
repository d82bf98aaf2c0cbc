"""How much is done for each picture: shed when time runs out, taken up again when there is some to spare."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Level:
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
    Level("full", 640, 1, 384, True),
    Level("high", 512, 1, 384, True),
    Level("medium", 416, 2, 320, True),
    Level("low", 320, 2, 256, True),
    Level("least", 320, 4, 192, False),
)
START = 1
HURRY = 0.85  # share of the time between two pictures: doing more than that leads to drops
EASE = 0.45  # below it the next better level is tried
LOOK = 1.3  # looks of the detector may take this share of the latency
WARM = 20  # pictures before anything is decided: the first ones pay for caches and threads
SHED_AFTER, REGAIN_AFTER = 0.7, 5.0  # seconds


class Governor:
    """Chooses the level. `step` once a picture."""

    def __init__(self, *, fixed: int | None = None) -> None:
        self.number = START if fixed is None else fixed
        self.changes = 0
        self._fixed = fixed is not None
        self._load = 0.5
        self._seen = 0
        self._since = 0.0
        self._calm = 0.0
        self._wait = REGAIN_AFTER

    @property
    def level(self) -> Level:
        """What to do now."""
        return LEVELS[self.number]

    def step(self, work: float, interval: float, look: float, latency: float, *, dropped: int = 0) -> None:
        """Take in how the last picture went.

        work: seconds it took.  interval: seconds between pictures.  look: seconds that the detector takes.
        latency: seconds that are allowed.  dropped: pictures lost since the last call.
        """
        interval = min(max(interval, 1e-3), 1.0)
        share = max(work / interval, HURRY + 0.15 if dropped else 0.0, HURRY * look / (LOOK * max(latency, 0.05)))
        self._load += 0.08 * (share - self._load)
        self._since += interval
        self._seen += 1
        if self._fixed or self._seen < WARM:
            return
        self._calm = self._calm + interval if self._load < EASE else 0.0
        if self._load > HURRY and self._since > SHED_AFTER and self.number < len(LEVELS) - 1:
            if self._since < 3 * REGAIN_AFTER:  # it was taken up too early: wait longer next time
                self._wait = min(self._wait * 2, 60.0)
            self._to(self.number + 1)
        elif self._calm > self._wait and self.number > 0:
            self._to(self.number - 1)

    def _to(self, number: int) -> None:
        self.number = number
        self.changes += 1
        self._since = self._calm = 0.0
        self._load = 0.5 * (HURRY + EASE)
