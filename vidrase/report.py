"""The report of one run: counted while it runs, written as strict JSON."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vidrase import part
from vidrase.part import Part
from vidrase.starred import starred

Note = Callable[[str], None]


@dataclass(slots=True)
class FillStats:
    """Pixels of all holes by where they came from (luma pixels, core and ring)."""

    copied: int = 0
    """Copied from another frame of this clip."""
    distant: int = 0
    """Of these, those taken from key frames beyond the window, registered to the frame."""
    invented: int = 0
    """Seen in no frame: from the inpainter, or warped from an earlier inpainted frame; grey where the whole frame is hole."""
    relit: int = 0
    """Frames filled from frames in another light, which was matched."""
    light_refused: int = 0
    """Frames for which a source was left out, because its light cannot be matched."""
    modes: dict[str, int] = field(default_factory=dict)
    """Number of shots by fill mode: {"plate": 1, "flow": 2}."""
    doubtful: list[int] = field(default_factory=list)
    """Indices of frames whose result should be checked by eye."""
    self_check_db: float | None = None
    """PSNR of hidden-and-refilled visible pixels, when it was measured."""


@dataclass(slots=True)
class Report:
    """The result of a run."""

    source: str = ""
    output: str = ""
    frames: int = 0
    frames_with_hole: int = 0
    missing_frames: int = 0
    """About how many frames the damaged source has lost."""
    faulty_frames: int = 0
    """Frames of it that were decoded only in part."""
    hole_share: float = 0.0
    """Mean share of the frame that was hole, over frames with a hole."""
    removed: dict[str, int] = field(default_factory=dict)
    """Tracks removed, by class."""
    fill: FillStats = field(default_factory=FillStats)
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall seconds spent inside each stage (stages overlap: the sum may exceed `wall_seconds`)."""
    wall_seconds: float = 0.0
    peak_memory_mib: float = 0.0
    peak_frames_in_flight: int = 0
    models: dict[str, str] = field(default_factory=dict)
    """Role -> name and sha256 of what was loaded."""
    fallbacks: dict[str, int] = field(default_factory=dict)
    """Message -> count, for every fallback."""
    encoder: str = ""
    workers: int = 1
    """Processes that filled."""
    workers_by: str = ""
    """What their number follows from: "as asked", or what limits it."""
    chunks: int = 0
    """Pieces that the clip was filled in; 0: in one go."""
    reused: dict[str, int] = field(default_factory=dict)
    """What an earlier run had done: {"detected": frames, "searched": frames, "filled": chunks}."""
    work_mib: float = 0.0
    """What the work folder took on the disk in the end."""

    @property
    def share_copied(self) -> float:
        """Share of hole pixels that are real pixels of another frame, 0..1."""
        total = self.fill.copied + self.fill.invented
        return self.fill.copied / total if total else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain types only, for JSON."""
        plain = {**asdict(self), "source": starred(self.source), "output": starred(self.output)}
        return {**plain, "share_copied": round(self.share_copied, 4)}

    def save(self, to: Path | Part) -> None:
        """Write strict JSON (no NaN). Raises SinkError."""
        part.save(to, (json.dumps(self.as_dict(), indent=2, allow_nan=False) + "\n").encode())


class Notes:
    """Collects fallbacks: reports each text once through `say`, counts every call. Safe to call from any thread."""

    def __init__(self, say: Note | None = None) -> None:
        self.counts: dict[str, int] = {}
        self._say = say
        self._lock = threading.Lock()

    def tell(self, text: str) -> None:
        """Say something that is no fallback, and do not count it."""
        if self._say is not None:
            self._say(starred(text))

    def __call__(self, text: str) -> None:
        """Count `text`, its secrets starred; say it when it is new."""
        text = starred(text)
        with self._lock:
            first = text not in self.counts
            self.counts[text] = self.counts.get(text, 0) + 1
        if first and self._say is not None:
            self._say(text)
