"""What is known of one thing through a clip: what `--list` shows and a selection is made from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True)
class TrackSummary:
    """One thing through the clip."""

    id: int
    label: str
    """The class it was called most often."""
    first_index: int
    last_index: int
    first_seconds: float
    last_seconds: float
    frames: int = 0
    """In how many frames it was found."""
    area_share: float = 0.0
    """Mean share of the picture that its mask covers, over those frames, 0..1."""
    score: float = 0.0
    """Mean confidence."""
    best_score: float = 1.0
    """Highest confidence it was found with."""
    centre: tuple[float, float] = (0.0, 0.0)
    """Mean (x, y) of its box's middle, shares of the displayed frame's width and height."""
    extent: tuple[float, float] = (0.0, 0.0)
    """Mean (width, height) of its box, as shares."""
    best_index: int = 0
    """The frame that shows it best."""
    best_box: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    """x0 y0 x1 y1 px there."""
    thumbnail: NDArray[np.uint8] | None = None
    """uint8 [h, w, 3] RGB: how it looks there."""
    carriers: dict[int, int] = field(default_factory=dict)
    """For things that are carried: id of a bearer -> in how many frames the two touched."""

    labels: frozenset[str] = frozenset()
    """All classes it was called."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON: everything but the picture."""
        return {
            "id": self.id,
            "class": self.label,
            "first_seconds": round(self.first_seconds, 3),
            "last_seconds": round(self.last_seconds, 3),
            "first_frame": self.first_index,
            "last_frame": self.last_index,
            "frames": self.frames,
            "area_share": round(self.area_share, 5),
            "score": round(self.score, 3),
            "best_score": round(self.best_score, 3),
            "centre": [round(value, 4) for value in self.centre],
            "extent": [round(value, 4) for value in self.extent],
            "best_frame": self.best_index,
            "best_box": [round(value, 1) for value in self.best_box],
        }
