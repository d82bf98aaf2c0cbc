"""What the stages of one run share: models, options and counters."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

from vidrase import weights
from vidrase.flow import FlowModel, load_flow
from vidrase.inpaint import Inpainter, load_inpainter
from vidrase.options import Options, Rectangle
from vidrase.report import FillStats, Note, Notes
from vidrase.segment import Segmenter, load_segmenter
from vidrase.selectionfile import SavedSelection
from vidrase.shots import ShotAnalysis
from vidrase.source import FrameTable
from vidrase.store import InstanceStore
from vidrase.timing import Clock, InFlight

Progress = Callable[[str, int, int | None], None]
"""(pass name "detecting" | "erasing", frames done, frames in all or None)."""


@dataclass(slots=True)
class Models:
    """The models of the stages; loaded once, usable for many clips."""

    flow: FlowModel
    inpainter: Inpainter
    segmenter: Segmenter | None = None

    @classmethod
    def load(cls, options: Options, note: Note, *, segmenter: bool | None = None) -> Models:
        """The models that `options` needs; the detector only when the selection needs one."""
        wanted = options.select.detects if segmenter is None else segmenter
        found = load_segmenter(options.models, note=note) if wanted else None
        fill = options.fill
        inpainter = load_inpainter(
            fill.inpainter, fill.inpainter_weights, device=options.models.device, note=note, trust=fill.trust_weights
        )
        return cls(_flow(options, note), inpainter, found)

    def described(self) -> dict[str, str]:
        """Role -> name and hash, for the report."""
        found = {"flow": self.flow.name, "inpainter": self.inpainter.name}
        return {**found, "segmenter": self.segmenter.description} if self.segmenter else found


def _flow(options: Options, note: Note) -> FlowModel:
    """RAFT when it is asked for, or when its weights are there and a GPU too; otherwise DIS, without loading torch."""
    fill = options.fill
    found = weights.find_flow(fill.flow_weights) if fill.flow != "dis" else None
    if fill.flow == "dis" or (fill.flow == "auto" and found is None):
        return load_flow("dis", note=note)
    if found is None:
        return load_flow("raft", note=note)
    from vidrase.segment.device import choose_device

    device = choose_device(options.models.device)
    if fill.flow == "auto" and fill.flow_weights is None and device.type == "cpu":
        return load_flow("dis", note=note)
    return load_flow("raft", weights=found, device=str(device), note=note)


@dataclass(slots=True)
class Run:
    """What the stages of one run share: options, models and counters."""

    options: Options
    models: Models
    notes: Notes
    stats: FillStats = field(default_factory=FillStats)
    clock: Clock = field(default_factory=Clock)
    alive: InFlight = field(default_factory=InFlight)
    progress: Progress | None = None
    followed: dict[Rectangle, int] = field(default_factory=dict)
    """Box -> id of the object in it, for boxes that match no detection."""
    saved: SavedSelection | None = None
    """Content of the selection file `options.select.selection`, as `recall` reads it."""
    explanations: dict[int, str] = field(default_factory=dict)
    """Track id -> why it is in `options`, for ids that were resolved before."""


@dataclass(slots=True)
class FirstPass:
    """Result of the first pass, for one or more second passes."""

    analysis: ShotAnalysis | None
    """None for a still."""
    seconds: array[float]
    """Presentation time of every frame, s."""
    store: InstanceStore | None = None
    """None when no detector was needed."""
    scenery: frozenset[str] = frozenset()
    """Classes that the shot analysis took for background."""
    table: FrameTable = field(default_factory=FrameTable)
    """Every frame's time and checksum, for readings that begin in the middle."""
