"""The options: frozen dataclasses, checked when made. The command line and the Python API share them."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypedDict

from vidrase.errors import OptionError

FlowName = Literal["auto", "dis", "raft"]
FillMode = Literal["auto", "plate", "flow", "image"]
Quality = Literal["fast", "default", "best"]
MaskShape = Literal["dilated", "mask", "box"]


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise OptionError(f"{name}: expected one of {', '.join(allowed)}, got '{value}'")


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise OptionError(f"{name}: expected {low} to {high}, got {value}")


def _finite(what: object, *values: float) -> None:
    if not all(map(math.isfinite, values)):
        raise OptionError(f"{what}: expected numbers, px of the picture and seconds, none of them infinite or nan")


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """The detector and where it runs."""

    segmenter: Literal["yolo", "maskrcnn"] = "yolo"
    """Kind of detector; "maskrcnn" is torchvision's and needs `model` to name its weights."""
    model: str | None = None
    """Path or known name of YOLOv8-seg weights, path of Mask R-CNN weights; None: the first found (see `vidrase models`)."""
    device: str = "auto"
    """"auto", "cpu", "cuda", "cuda:1", "mps"."""
    precision: str = "auto"
    """"auto", "fp32", "bf16", "fp16"."""
    imgsz: int = 640
    """Long side of the detector's input, px, a multiple of 32."""
    conf: float | None = None
    """Minimum confidence, 0..1; None: the model's own recommendation (0.25 for COCO weights)."""
    tracker: str = "bytetrack"
    batch: int = 4
    """Frames a detector call."""
    detect_every: int | None = None
    """Run the detector on every n-th frame and warp masks by flow between; None: chosen automatically."""

    def __post_init__(self) -> None:
        if self.conf is not None:
            _within("conf", self.conf, 0.0, 1.0)
        _one_of("segmenter", self.segmenter, ("yolo", "maskrcnn"))
        _within("imgsz", self.imgsz, 64, 4096)
        _one_of("precision", self.precision, ("auto", "fp32", "bf16", "fp16"))
        _one_of("tracker", self.tracker, ("bytetrack", "botsort"))
        if self.detect_every is not None:
            _within("detect-every", self.detect_every, 1, 1000)


@dataclass(frozen=True, slots=True)
class Click:
    """A point on an object, px of the displayed picture, at a time in seconds from the first frame."""

    x: float
    y: float
    seconds: float = 0.0

    def __post_init__(self) -> None:
        _finite(f"the point {self}", self.x, self.y, self.seconds)

    def __str__(self) -> str:
        return f"{self.x:g},{self.y:g}@{self.seconds:g}"


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A box, px of the displayed picture, x1 and y1 just outside, at a time in seconds from the first frame."""

    x0: float
    y0: float
    x1: float
    y1: float
    seconds: float = 0.0

    def __post_init__(self) -> None:
        _finite(f"the box {self}", self.x0, self.y0, self.x1, self.y1, self.seconds)
        if self.x1 <= self.x0 or self.y1 <= self.y0:
            raise OptionError(f"the box {self} has no inside; expected x0,y0,x1,y1 with x0 < x1 and y0 < y1")

    def __str__(self) -> str:
        return f"{self.x0:g},{self.y0:g},{self.x1:g},{self.y1:g}@{self.seconds:g}"


@dataclass(frozen=True, slots=True)
class SelectOptions:
    """What to remove."""

    remove: tuple[str, ...] = ()
    """Class names, class ids, `all`, instance ids `id:3`, phrases ("person on the left")."""
    keep: tuple[str, ...] = ()
    """The same, for what stays."""
    at: tuple[Click, ...] = ()
    """Clicks on objects."""
    box: tuple[Rectangle, ...] = ()
    """Boxes around objects."""
    region: Rectangle | None = None
    """Nothing outside it is changed."""
    mask: tuple[Path, ...] = ()
    """Mask files (image, folder, video; white = remove), displayed orientation."""
    mask_invert: bool = False
    """In the mask files black goes, and white stays."""
    times: tuple[tuple[float, float], ...] = ()
    """Spans in seconds from the first frame, half-open; frames outside pass unchanged. Empty: the whole clip."""
    selection: Path | None = None
    """A selection file of an earlier run: its objects are removed too; its times and region apply where none are given here."""

    def __post_init__(self) -> None:
        for start, stop in self.times:
            if not (math.isfinite(start) and start < stop):
                raise OptionError(
                    f"the time span {start:g} to {stop:g} s: expected two numbers, the start before the end"
                )

    @property
    def detects(self) -> bool:
        """Whether a detector is needed."""
        return bool(self.remove or self.at or self.box or self.selection)


@dataclass(frozen=True, slots=True)
class MaskOptions:
    """How the selected objects become holes."""

    dilate: int | None = None
    """Dilation in px of the frame; None: scaled to frame and object; 0: masks taken exactly as they are."""
    shape: MaskShape = "dilated"

    def __post_init__(self) -> None:
        if self.dilate is not None:
            _within("dilate", self.dilate, 0, 1000)
        _one_of("mask-shape", self.shape, ("dilated", "mask", "box"))


@dataclass(frozen=True, slots=True)
class FillOptions:
    """How holes are filled."""

    mode: FillMode = "auto"
    quality: Quality = "default"
    inpainter: str = "auto"
    inpainter_weights: Path | None = None
    """Of a learned inpainter: .safetensors of `vidrase train inpainter`, or a TorchScript LaMa."""
    trust_weights: bool = False
    """Whether a TorchScript file, which is a program, is run although its sha256 is not known."""
    flow: FlowName = "auto"
    """How motion is measured; "auto": RAFT on a GPU when its weights are there, else DIS."""
    flow_weights: Path | None = None
    """Of RAFT: a `.pth` of torchvision."""
    shadows: bool | None = None
    """Whether to remove cast shadows, and what else masks leave of objects, where other frames show the background. None: when
    the hole comes from a detector."""

    def __post_init__(self) -> None:
        _one_of("fill", self.mode, ("auto", "plate", "flow", "image"))
        _one_of("quality", self.quality, ("fast", "default", "best"))
        _one_of("flow", self.flow, ("auto", "dis", "raft"))


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How the clip is read."""

    strict: bool = False
    """A damaged clip or mask video is an error; else what is left of it is used, and said."""
    wait: float = 60.0
    """Seconds after which a pipe that nobody writes to is given up."""
    allow_references: bool = False
    """Whether a playlist or ffconcat list may lead out of its own folder."""

    def __post_init__(self) -> None:
        _within("wait", self.wait, 0.1, 1e6)


@dataclass(frozen=True, slots=True)
class SinkOptions:
    """How the result is written."""

    codec: str | None = None
    crf: float | None = None
    preset: str | None = None
    pix_fmt: str | None = None
    lossless: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.crf is not None and not math.isfinite(self.crf):
            raise OptionError(f"crf: expected a number, got {self.crf}")
        if self.lossless and self.crf is not None:
            raise OptionError(f"--lossless and --crf {self.crf:g} exclude each other; give one of them")


@dataclass(frozen=True, slots=True)
class WorkOptions:
    """How the work is shared out and kept."""

    work: Path | None = None
    """Folder that keeps what is done, also after the run; None: a hidden one beside the result where one is needed, removed at
    the end."""
    workers: int | Literal["auto"] = 1
    """Processes that fill; 1: this one; "auto": as many as the machine takes."""
    restart: bool = False
    """Whether what an earlier run has done is left unused."""

    def __post_init__(self) -> None:
        if self.workers != "auto":
            _within("workers", self.workers, 1, 1024)


@dataclass(frozen=True, slots=True)
class Options:
    """All options of one run."""

    models: ModelOptions = field(default_factory=ModelOptions)
    select: SelectOptions = field(default_factory=SelectOptions)
    masks: MaskOptions = field(default_factory=MaskOptions)
    fill: FillOptions = field(default_factory=FillOptions)
    sink: SinkOptions = field(default_factory=SinkOptions)
    source: SourceOptions = field(default_factory=SourceOptions)
    work: WorkOptions = field(default_factory=WorkOptions)


class Choices(TypedDict, total=False):
    """Every option as a flat keyword, for the Python API; meanings and units as in the dataclasses above."""

    remove: str | Sequence[str]
    keep: str | Sequence[str]
    at: Sequence[Click]
    box: Sequence[Rectangle]
    region: Rectangle | None
    mask: str | Path | Sequence[str | Path]
    mask_invert: bool
    times: Sequence[tuple[float, float]]
    selection: str | Path | None
    dilate: int | None
    mask_shape: MaskShape
    fill: FillMode
    quality: Quality
    inpainter: str
    inpainter_weights: Path | None
    trust_weights: bool
    flow: FlowName
    flow_weights: Path | None
    shadows: bool | None
    segmenter: Literal["yolo", "maskrcnn"]
    model: str | None
    device: str
    precision: str
    imgsz: int
    conf: float | None
    tracker: str
    batch: int
    detect_every: int | None
    codec: str | None
    crf: float | None
    preset: str | None
    pix_fmt: str | None
    lossless: bool
    overwrite: bool
    strict: bool
    wait: float
    allow_references: bool
    work: str | Path | None
    workers: int | Literal["auto"]
    restart: bool


_RENAMED = {"mask_shape": "shape", "fill": "mode"}


def options_from(choices: Choices) -> Options:
    """`Options` of flat keywords. Raises OptionError for one that does not exist."""
    given: dict[str, Any] = {_RENAMED.get(name, name): value for name, value in choices.items()}
    for name in ("remove", "keep"):
        if isinstance(given.get(name), str):
            given[name] = [part.strip() for part in given[name].split(",") if part.strip()]
    for name in ("selection", "work"):
        if given.get(name) is not None:
            given[name] = Path(given[name])
    if isinstance(given.get("mask"), str | Path):
        given["mask"] = [given["mask"]]
    for name in ("remove", "keep", "at", "box", "mask", "times"):
        if name in given:
            given[name] = tuple(Path(value) if name == "mask" else value for value in given[name])
    parts: dict[str, Any] = {}
    kinds = {
        "models": ModelOptions,
        "select": SelectOptions,
        "masks": MaskOptions,
        "fill": FillOptions,
        "sink": SinkOptions,
        "source": SourceOptions,
        "work": WorkOptions,
    }
    for part, kind in kinds.items():
        names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
        parts[part] = kind(**{name: given.pop(name) for name in list(given) if name in names})
    if given:
        known = sorted(Choices.__annotations__)
        near = difflib.get_close_matches(next(iter(given)), known, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else f"; there are {', '.join(known)}"
        raise OptionError(f"no option '{next(iter(given))}'{hint}")
    return Options(**parts)
