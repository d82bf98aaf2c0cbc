"""Summary of one track: the content of `--list` and the input of a selection."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True)
class TrackSummary:
    """One track through the clip."""

    id: int
    label: str
    """The most frequent class."""
    first_index: int
    last_index: int
    first_seconds: float
    last_seconds: float
    frames: int = 0
    """Number of frames with the object."""
    area_share: float = 0.0
    """Mean mask area / frame area over those frames, 0..1."""
    score: float = 0.0
    """Mean confidence."""
    best_score: float = 1.0
    """Highest confidence."""
    centre: tuple[float, float] = (0.0, 0.0)
    """Mean (x, y) of the box centre, as shares of the displayed frame's width and height."""
    extent: tuple[float, float] = (0.0, 0.0)
    """Mean (width, height) of the box, as the same shares."""
    best_index: int = 0
    """Index of the frame that shows the object best."""
    best_box: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    """x0 y0 x1 y1 px in that frame."""
    thumbnail: NDArray[np.uint8] | None = None
    """uint8 [h, w, 3] RGB: the object in that frame."""
    carriers: dict[int, int] = field(default_factory=dict)
    """For a carriable object: id of a person -> number of frames in which the two touch."""

    labels: frozenset[str] = frozenset()
    """All classes assigned to it in any frame."""
    aspect: float = 0.0
    """Mean width of the box in px over its mean height; 0: not known."""
    rival: str = ""
    """What else it may be: the class with the most evidence, in all frames together, of those that are not confused anyway."""
    doubt: float = 0.0
    """Evidence for `rival` over that for `label`, 0..1; 0: none."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON: everything except the thumbnail."""
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
