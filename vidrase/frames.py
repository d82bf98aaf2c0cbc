"""The types that travel between stages, and the glossary of their shapes.

Letters: T frames, B batch, K instances, C channels, H height, W width. Sizes are (height, width); points are (x, y) px with pixel
centres at integers; spans are half-open. "Stored" is how a file holds its pixels, "displayed" is how a viewer turns them.
Detector, clicks, mask files and sheets are *displayed*; planes, holes and the fill are *stored*. `hole` True = to be filled.
Flow is float32 [H, W, 2] px (dx, dy); `flow_ab`: a(p) is seen at b(p + flow_ab(p)).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from vidrase import colour
from vidrase.colour import PixelLayout
from vidrase.crops import bounds
from vidrase.errors import ShapeError

Box = tuple[int, int, int, int]
"""y0, y1, x0, x1 px, half-open."""


@dataclass(frozen=True, slots=True)
class Orientation:
    """How stored pixels are turned for display: first rotated clockwise by `quarter_turns` x 90 degrees, then mirrored."""

    quarter_turns: int = 0
    mirrored: bool = False
    """Mirrored left-right after turning."""

    def to_display(self, array: NDArray) -> NDArray:
        """`array` [H, W, ...] stored -> displayed; a view where numpy can."""
        turned = np.rot90(array, -self.quarter_turns) if self.quarter_turns % 4 else array
        return turned[:, ::-1] if self.mirrored else turned

    def to_stored(self, array: NDArray) -> NDArray:
        """`array` [H, W, ...] displayed -> stored; the inverse of `to_display`."""
        unmirrored = array[:, ::-1] if self.mirrored else array
        return np.rot90(unmirrored, self.quarter_turns) if self.quarter_turns % 4 else unmirrored

    def displayed_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) as displayed, of a picture stored at `height` x `width`."""
        return (width, height) if self.quarter_turns % 2 else (height, width)

    def points_to_stored(self, height: int, width: int) -> NDArray[np.float64]:
        """Matrix float64 [3, 3] from points (x, y, 1) px as displayed to points as stored; height, width: as displayed."""
        matrix = np.eye(3)
        if self.mirrored:
            matrix = np.array([[-1.0, 0, width - 1], [0, 1, 0], [0, 0, 1]])
        for _ in range(self.quarter_turns % 4):
            matrix = np.array([[0.0, 1, 0], [-1, 0, width - 1], [0, 0, 1]]) @ matrix  # a quarter turn anticlockwise
            height, width = width, height
        return matrix

    def box_to_stored(self, box: Box, size: tuple[int, int]) -> Box:
        """A box of the displayed picture as it lies in the stored one; size: (height, width) as displayed."""
        matrix, (y0, y1, x0, x1) = self.points_to_stored(*size), box
        xs, ys, _ = np.rint(matrix @ np.array([[x0, x1 - 1], [y0, y1 - 1], [1, 1]])).astype(int)
        return int(ys.min()), int(ys.max()) + 1, int(xs.min()), int(xs.max()) + 1


UPRIGHT = Orientation()


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """Properties of an input, known before its first frame is decoded."""

    kind: Literal["video", "image", "frames"]
    """"video": one container; "image": one still; "frames": a folder or glob of stills."""
    path: Path | None
    """The file or folder (of a pipe: its copy on disk until the source is closed); None for a URL or frames from memory."""
    url: str
    """The input as the user gave it, for messages."""
    width: int
    height: int
    """Stored size in px."""
    layout: PixelLayout
    time_base: Fraction
    """Seconds per tick of `Frame.pts`."""
    frame_rate: Fraction | None = None
    frame_count: int | None = None
    """As the container claims; None when unknown. Only a hint: for progress, never for a decision."""
    duration_seconds: float | None = None
    orientation: Orientation = UPRIGHT
    sample_aspect_ratio: Fraction | None = None
    container: str = ""
    """FFmpeg's container name ("mov,mp4,...") or the image format ("JPEG")."""
    codec: str = ""
    bit_rate: int | None = None
    interlaced: bool = False
    field_order: Literal["", "top", "bottom"] = ""
    """Which field of an interlaced picture is shown first, where the stream says it."""
    has_audio: bool = False
    references: bool = False
    """Whether it may lead to other files and addresses (a list that its user trusts)."""
    strict: bool = False
    """Whether damage is an error, also of the tracks that are only copied."""
    rereadable: bool = True
    """False for pipes and other sources that can be read only once."""
    colour: dict[str, str] = field(default_factory=dict)
    """Colour tags as the file states them: range, primaries, transfer, matrix; missing keys are unspecified."""
    loops: int | None = None
    """Of an animated picture (GIF, PNG, WebP, AVIF): how often it is shown, 0 for ever; None: no such thing."""
    frame_names: tuple[str, ...] = ()
    """File names of a folder's frames, in order; empty for anything else."""
    notes: tuple[str, ...] = ()
    """Remarks to report once ("interlaced: ...", "gray16 shown as ...")."""

    @property
    def displayed_size(self) -> tuple[int, int]:
        """(height, width) as a viewer shows it."""
        return self.orientation.displayed_size(self.height, self.width)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Frame:
    """One picture with its time. Planes are read-only and shared between stages; `with_planes` makes the changed one."""

    planes: tuple[NDArray, ...]
    """Components as `layout` says, uint8 or uint16 [rows, columns], stored orientation, own memory (never a decoder's)."""
    layout: PixelLayout
    index: int
    """From 0, in presentation order."""
    pts: int
    """Presentation time in ticks of `time_base`."""
    time_base: Fraction
    duration: int = 0
    """In ticks; 0 when unknown."""
    orientation: Orientation = UPRIGHT
    native: object = None
    """The decoder's own frame, for side data and tags; only the source that made it and the sink may touch it."""
    edited: bool = False
    """True once `with_planes` changed it: the sink then writes `planes` into `native`, else `native` goes out untouched."""

    def __post_init__(self) -> None:
        count = self.layout.colour_planes + self.layout.alpha
        if len(self.planes) != count:
            raise ShapeError(f"expected {count} planes for {self.layout.name}, got {len(self.planes)}")
        for number, plane in enumerate(self.planes):
            wanted = self.layout.plane_shape(number, self.height, self.width)
            if plane.shape != wanted or plane.dtype != self.layout.dtype:
                seen = f"{plane.dtype} {plane.shape}"
                raise ShapeError(
                    f"expected plane {number} {np.dtype(self.layout.dtype)} {wanted} ({self.layout.name}), got {seen}"
                )
            plane.flags.writeable = False

    @property
    def height(self) -> int:
        """Stored height in px."""
        return int(self.planes[0].shape[0])

    @property
    def width(self) -> int:
        """Stored width in px."""
        return int(self.planes[0].shape[1])

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) as stored."""
        return self.height, self.width

    @property
    def displayed_size(self) -> tuple[int, int]:
        """(height, width) as displayed."""
        return self.orientation.displayed_size(self.height, self.width)

    @property
    def seconds(self) -> float:
        """Presentation time, computed once from ticks."""
        return float(self.pts * self.time_base)

    def rgb(self, *, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """uint8 [H, W, 3] RGB as displayed, C-contiguous; `size` (height, width) as displayed scales it."""
        stored = self.orientation.displayed_size(*size) if size else None
        rgb = colour.to_rgb8(self.planes, self.layout, size=stored)
        return np.ascontiguousarray(self.orientation.to_display(rgb))

    def rgb_part(self, box: Box) -> NDArray[np.uint8]:
        """uint8 [h, w, 3]: the part of `rgb()` in a box of the displayed frame."""
        y0, y1, x0, x1 = self.orientation.box_to_stored(box, self.displayed_size)
        shift_y, shift_x = self.layout.shifts(1)
        # on the chroma grid, with a margin for its interpolation
        top, left = (max((at >> shift) - 2, 0) << shift for at, shift in ((y0, shift_y), (x0, shift_x)))
        bottom, right = min(y1 + (2 << shift_y), self.height), min(x1 + (2 << shift_x), self.width)
        parts = []
        for number, plane in enumerate(self.planes[: self.layout.colour_planes]):
            shift_y, shift_x = self.layout.shifts(number)
            parts.append(plane[top >> shift_y : -(-bottom >> shift_y), left >> shift_x : -(-right >> shift_x)])
        rgb = colour.to_rgb8(parts, self.layout)[y0 - top : y1 - top, x0 - left : x1 - left]
        return np.ascontiguousarray(self.orientation.to_display(rgb))

    def luma(self, *, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """uint8 [H, W] brightness, *stored* orientation, for motion estimation; `size` (height, width) as stored."""
        return colour.to_luma8(self.planes, self.layout, size=size)

    def with_planes(self, planes: tuple[NDArray, ...]) -> Self:
        """The same frame with other pixels. `native` is kept: the sink writes the planes into it."""
        return replace(self, planes=planes, edited=True)

    def __repr__(self) -> str:
        return f"Frame({self.index}, pts={self.pts}*{self.time_base}, {self.layout.name} {self.width}x{self.height})"


@dataclass(frozen=True, slots=True, eq=False)
class Instances:
    """The objects found in one frame: struct of arrays, K of them, possibly 0; *displayed* orientation, full frame size."""

    ids: NDArray[np.int64]
    """[K], >= 1 once tracked, 0 before."""
    labels: tuple[str, ...]
    """Class names, K."""
    scores: NDArray[np.float32]
    """[K] in [0, 1]."""
    boxes: NDArray[np.float32]
    """[K, 4] x0 y0 x1 y1 px, half-open."""
    masks: tuple[NDArray[np.bool_], ...]
    """K crops: bool [y1-y0, x1-x0] of the integer box around each mask, placed at `corners`."""
    corners: NDArray[np.int32]
    """[K, 2] (y0, x0) of each crop."""
    size: tuple[int, int]
    """(height, width) of the displayed frame."""
    rivals: tuple[tuple[str, float], ...] = ()
    """K (class, confidence): what else it may be, of the classes that detectors do not confuse anyway; empty: not known."""

    def __post_init__(self) -> None:
        count = len(self.labels)
        if len(self.rivals) not in (0, count):
            raise ShapeError(f"expected {count} rivals or none, got {len(self.rivals)}")
        got = (len(self.ids), len(self.scores), self.boxes.shape, len(self.masks), self.corners.shape)
        if got != (count, count, (count, 4), count, (count, 2)):
            raise ShapeError(f"expected {count} ids, scores, boxes [K,4], masks, corners [K,2], got {got}")

    def __len__(self) -> int:
        return len(self.labels)

    def mask(self, k: int) -> NDArray[np.bool_]:
        """bool [H, W] of instance `k` at frame size."""
        full = np.zeros(self.size, bool)
        y, x = self.corners[k]
        rows, columns = self.masks[k].shape
        full[y : y + rows, x : x + columns] = self.masks[k]
        return full

    def where(self, keep: NDArray[np.bool_]) -> Instances:
        """Those for which `keep` bool [K] is True."""
        chosen = np.flatnonzero(keep)
        return Instances(
            self.ids[chosen],
            tuple(self.labels[k] for k in chosen),
            self.scores[chosen],
            self.boxes[chosen],
            tuple(self.masks[k] for k in chosen),
            self.corners[chosen],
            self.size,
            tuple(self.rivals[k] for k in chosen) if self.rivals else (),
        )

    @classmethod
    def none(cls, size: tuple[int, int]) -> Instances:
        """No instance, in a frame of `size` (height, width)."""
        return cls(
            np.zeros(0, np.int64),
            (),
            np.zeros(0, np.float32),
            np.zeros((0, 4), np.float32),
            (),
            np.zeros((0, 2), np.int32),
            size,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Hole:
    """The pixels to fill in one frame, stored orientation, cropped to their bounding box. `core` lies inside `area`."""

    y: int
    x: int
    """Position of the crops' top left pixel in the frame."""
    core: NDArray[np.bool_]
    """[h, w] the object itself: nothing of the old picture may stay here."""
    area: NDArray[np.bool_]
    """[h, w] the dilated core: where pixels may change. The ring `area & ~core` is blended."""
    size: tuple[int, int]
    """(height, width) of the stored frame."""

    def __post_init__(self) -> None:
        rows, columns = self.area.shape
        if (
            self.core.shape != self.area.shape
            or self.y < 0
            or self.x < 0
            or self.y + rows > self.size[0]
            or self.x + columns > self.size[1]
        ):
            raise ShapeError(
                f"hole crop {self.area.shape} / {self.core.shape} at ({self.y}, {self.x}) does not fit a frame of {self.size}"
            )

    @classmethod
    def of(cls, core: NDArray[np.bool_], area: NDArray[np.bool_] | None = None) -> Hole | None:
        """The hole of full-size masks bool [H, W]; `area` None means no ring. None when nothing is to be filled."""
        area = core if area is None else area | core
        box = bounds(area)
        if box is None:
            return None
        span = np.s_[box[0] : box[1], box[2] : box[3]]
        return cls(box[0], box[2], core[span].copy(), area[span].copy(), (area.shape[0], area.shape[1]))

    @property
    def span(self) -> tuple[slice, slice]:
        """Rows and columns of the crop within the frame."""
        rows, columns = self.area.shape
        return slice(self.y, self.y + rows), slice(self.x, self.x + columns)

    def full_area(self) -> NDArray[np.bool_]:
        """bool [H, W] of the whole frame: where pixels may change."""
        return self._full(self.area)

    def full_core(self) -> NDArray[np.bool_]:
        """bool [H, W] of the whole frame: the object itself."""
        return self._full(self.core)

    def _full(self, crop: NDArray[np.bool_]) -> NDArray[np.bool_]:
        full = np.zeros(self.size, bool)
        full[self.span] = crop
        return full


@dataclass(frozen=True, slots=True, eq=False)
class HoleFrame:
    """A frame and its hole; `hole` None: the frame passes as the same object."""

    frame: Frame
    hole: Hole | None = None
    passes: bool = False
    """True: the frame passes as the same object; `hole` only says which pixels other frames must not copy from it."""
    protected_hole: Hole | None = None
    """Detected objects that must stay, or None. The residual stage may add to the hole what touches it, but not these."""
    scenery: Hole | None = None
    """Detected scenery, such as a bed, or None: a hole may cover it, but it is never taken for a shadow."""
    searched: bool = True
    """False: no detection ran on this frame. An object to remove may be in it, so nothing is copied from it."""
