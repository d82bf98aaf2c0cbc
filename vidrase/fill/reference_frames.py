"""What the window of frames does not show, taken from the survey's album: a picture of long before or after, laid over this one.

Source numbers from `FIRST` on are pages of the album. A page is found by where it lies, laid over the frame by a homography, and
what is left of the motion (parallax, drift) is measured and completed into the hole as between neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase import rules
from vidrase.camera import CameraMotion
from vidrase.fill.flow_completion import dilate
from vidrase.fill.flow_estimation import FlowEstimator
from vidrase.fill.registration_quality import SIGMAS, RegistrationQuality
from vidrase.fill.residual import residual_of_key_frame
from vidrase.fill.source_planes import SourcePlanes
from vidrase.fill.window_frame import SourceMap, WindowFrame, WorkGrid
from vidrase.flow import FlowModel
from vidrase.frames import Frame, Hole
from vidrase.keyframes import Keyframe, KeyframeMosaic

FIRST_REFERENCE = 1 << 30
"""The source number of the album's first page."""
PAGES = 3
"""Pages taken from for one frame, at most."""
WORTH = 0.02
"""Share of what is missing that a page must show to be laid over."""
SHOWN = 0.8
"""Share of what the best page shows, from which another one counts as equal."""
YIELD = 0.1
"""Share of what a page shows that must be taken, or it is no better than one that does not fit."""
LITTLE = 0.03
"""Share of the hole: pages from which less comes are laid over anew more seldom."""
SELDOM = 4  # times
AGAIN = 10  # frames until a page that did not fit is tried again
EXTENDED = 0.04
"""Share of the height: so far beside what comes from a page more is taken from it without being laid over anew."""
BORDER = 0.03
"""What is not taken around what may be in the way in a page, as a share of the height, while its shadows are not known."""
SUPPORT = 0.25
"""Share of the surroundings that must fit the page, laid over, as a whole: little, as parallax is measured beyond it."""
BEARABLE = 20.0
"""Misfit, 0..255, up to which a pixel is taken. There copies were nearer the truth than chains of more than 8 frames on six of
six clip pairs, by up to 20 levels; beyond it on some only. Instead of an invention 14 or 32 were worse as well."""
LEVEL = 1 << 20
"""A source number holds the page and, in units of this, which of `SIGMAS` it is blurred by."""
SOFT = 0.45
"""Share of the detail around the hole below which a page is out of focus: an invention looks better."""
SOFTER = 0.35
"""The same for what comes from it already."""
LAZY = 0.75
"""Steps of blur by which that must differ to change."""
BLURRED = 6
"""Blurred pages that are held."""


@dataclass(slots=True, eq=False)
class _Reference:
    """A page on the working grid."""

    luma: NDArray[np.uint8]
    hidden: NDArray[np.bool_]
    """[h, w] the things and a border around them."""
    known: NDArray[np.bool_]
    """[h, w] small, as of the page, without shadows."""
    shadow: NDArray[np.bool_]
    """[h, w] what is known of them."""
    picture: SourcePlanes


@dataclass(slots=True, eq=False)
class ReferenceFrames:
    """The album of one shot, as the fill of this shot uses it."""

    mosaic: KeyframeMosaic
    grid: WorkGrid
    flow: FlowModel
    shadows: bool
    """Whether shadows of what is in the way are in the way as well."""
    _linker: FlowEstimator = field(init=False)
    _laid: int = 0
    """Pictures that were laid over moments."""
    _sheets: dict[int, _Reference] = field(default_factory=dict)
    _failed: dict[int, int] = field(default_factory=dict)
    """Pages that did not fit, and on which moment."""
    _numbers: dict[int, int] = field(default_factory=dict)
    _blurred: dict[int, SourcePlanes] = field(default_factory=dict)
    """By source number."""

    def __post_init__(self) -> None:
        self._linker = FlowEstimator(self.flow)
        self._numbers = {page.frame.index: number for number, page in enumerate(self.mosaic.key_frames)}

    def picture(self, source: int) -> SourcePlanes:
        """The planes that the source number `source` stands for."""
        level, number = divmod(source - FIRST_REFERENCE, LEVEL)
        if not level:
            return self._sheet(number).picture
        if source not in self._blurred:
            while len(self._blurred) >= BLURRED:
                del self._blurred[next(iter(self._blurred))]
            frame = self.mosaic.key_frames[number].frame
            self._blurred[source] = _blurred(frame, self._sheet(number).hidden, SIGMAS[level] / self.grid.scale_x)
        self._blurred[source] = self._blurred.pop(source)  # the last one used stays longest
        return self._blurred[source]

    def learn(self, frame: Frame, hole: Hole | None) -> None:
        """Take note of what goes in `frame`: if it is a page, its shadows and what hangs on things is known only now."""
        number = self._numbers.get(frame.index)
        if number is not None and hole is not None:
            sheet = self._sheet(number)
            near = dilate(self.grid.shrink(self.mosaic.key_frames[number].hidden() | hole.full_area()), 2)
            self._sheets[number] = replace(sheet, hidden=near | sheet.shadow)
            for source in [source for source in self._blurred if (source - FIRST_REFERENCE) % LEVEL == number]:
                del self._blurred[source]

    def origins(self, here: WindowFrame, missing: NDArray[np.bool_]) -> SourceMap:
        """Where pixels of `here` are seen in the album; `missing`: bool [h, w], in the box of `here`, those that are wanted."""
        assert here.box is not None
        out = SourceMap.empty(here.box)
        if self.mosaic.place(here.frame.index) is None:
            return out
        left = missing.copy()
        tried = {number for number, when in self._failed.items() if abs(here.number - when) < AGAIN}
        for _ in range(PAGES):
            best = self._best(here, left, tried)
            if best is None:
                break
            tried.add(best[0])
            before = int(np.count_nonzero(left))
            self.take(here, left, best[0], best[1], BEARABLE, out)
            left &= out.source < 0
            if before - np.count_nonzero(left) < YIELD * best[2]:
                self._failed[best[0]] = here.number  # out of focus, mostly
            if not left.any():
                break
        return out

    def correct_drift(self, here: WindowFrame, memory: SourceMap, share: float, turn: int) -> None:
        """Move what `memory` takes from the album by `share` towards where it is found in `here` now: drift does not add up.

        turn: which time it is; not every time everything is moved.
        """
        assert here.area is not None
        seldom = turn % SELDOM != 0
        for number in self._pages_of(memory):
            camera = self._to(here, self.mosaic.key_frames[number])
            own = (memory.source >= FIRST_REFERENCE) & ((memory.source - FIRST_REFERENCE) % LEVEL == number)
            if camera is None or (seldom and np.count_nonzero(own) < LITTLE * np.count_nonzero(here.area)):
                continue
            now = SourceMap.empty(memory.box)
            if not self.take(here, own, number, camera, np.inf, now, memory.source):
                continue
            both = own & (now.source >= 0)
            memory.source[own] = now.source[own]
            for name in ("dx", "dy"):
                old, new = getattr(memory, name), getattr(now, name)
                old[both] += share * (new[both] - old[both])

    @staticmethod
    def _pages_of(memory: SourceMap) -> list[int]:
        far = memory.source[memory.source >= FIRST_REFERENCE]
        return list(np.unique((far - FIRST_REFERENCE) % LEVEL).tolist())

    def grow_region(self, here: WindowFrame, memory: SourceMap, wanted: NDArray[np.bool_]) -> None:
        """Let `memory` go on by a few pixels into what is `wanted`, bool [h, w], as what lies beside it is laid over `here`.

        A thing that moves uncovers a sliver in each frame: to lay pages over for each of them takes many times as long.
        """
        far = memory.source >= FIRST_REFERENCE
        if not far.any() or not wanted.any() or not rules.enabled("sources.extend"):
            return
        away, labels = cv2.distanceTransformWithLabels(
            (~far).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
        )
        rows, columns = np.nonzero(wanted & (memory.source < 0) & (away <= EXTENDED * self.grid.height))
        nearest = np.zeros(int(labels.max()) + 1, np.intp)
        nearest[labels[far]] = np.flatnonzero(far)
        beside = nearest[labels[rows, columns]]
        sources = memory.source.ravel()[beside]
        for number in np.unique((sources - FIRST_REFERENCE) % LEVEL).tolist():
            camera = self._to(here, self.mosaic.key_frames[number])
            own = (sources - FIRST_REFERENCE) % LEVEL == number
            if camera is None:
                continue
            y0, x0 = np.divmod(beside[own], far.shape[1])
            at_rows, at_columns = rows[own], columns[own]
            points = [
                (x.astype(np.float32) + memory.box.left, y.astype(np.float32) + memory.box.top)
                for x, y in ((at_columns, at_rows), (x0, y0))
            ]
            (x, y), (x1, y1) = (camera.points(*point) for point in points)
            dx = x - points[0][0] + memory.dx[y0, x0] - (x1 - points[1][0])
            dy = y - points[0][1] + memory.dy[y0, x0] - (y1 - points[1][1])
            memory.source[at_rows, at_columns] = sources[own]
            memory.dx[at_rows, at_columns], memory.dy[at_rows, at_columns] = dx, dy

    def drop_occluded(self, memory: SourceMap) -> None:
        """Leave out of `memory` what was carried to where something is in the way in the page."""
        for number in self._pages_of(memory):
            rows, columns = np.nonzero(
                (memory.source >= FIRST_REFERENCE) & ((memory.source - FIRST_REFERENCE) % LEVEL == number)
            )
            x = columns + memory.box.left + memory.dx[rows, columns]
            y = rows + memory.box.top + memory.dy[rows, columns]
            lost = ~_visible_at(self._sheet(number), x, y)
            memory.source[rows[lost], columns[lost]] = -1

    def take(
        self,
        here: WindowFrame,
        wanted: NDArray[np.bool_],
        number: int,
        camera: CameraMotion,
        limit: float,
        out: SourceMap,
        held: NDArray[np.int32] | None = None,
    ) -> bool:
        """Put into `out` where `wanted` pixels are seen in a page. Returns whether it fits.

        camera: from `here` to the page, roughly. limit: misfit, 0..255, from which a pixel is left out.
        held: int32 [h, w] the source numbers up to now of what is known to come from there.
        """
        assert here.box is not None
        sheet = self._sheet(number)
        columns, rows = np.meshgrid(
            np.arange(here.luma.shape[1], dtype=np.float32), np.arange(here.luma.shape[0], dtype=np.float32)
        )
        x, y = camera.points(columns, rows)
        self._laid += 1
        over = WindowFrame(-self._laid, here.frame, here.hole, here.shot, cv2.remap(sheet.luma, x, y, cv2.INTER_LINEAR))
        lost = cv2.remap(sheet.hidden.astype(np.uint8), x, y, cv2.INTER_NEAREST, borderValue=1) > 0
        over.dilated_hole, over.area, over.box = lost, lost, here.box
        laid = self._linker.over(replace(here, occluder=None), over)
        sharp = cv2.remap(sheet.luma, x, y, cv2.INTER_CUBIC)
        fit = RegistrationQuality.of(here, over, sharp, laid) if laid.camera.support >= SUPPORT else None
        if fit is None:
            self._failed[number] = here.number
            return False
        at_rows, at_columns = np.nonzero(wanted)
        x0, y0 = (at_columns + here.box.left).astype(np.float32), (at_rows + here.box.top).astype(np.float32)
        rest = laid.forward.at(x0, y0)
        x, y = camera.points(x0 + rest[:, 0], y0 + rest[:, 1])
        free = _visible_at(sheet, x, y)
        if rules.enabled("sources.misfit"):
            free &= fit.misfit[at_rows, at_columns] < limit
        if rules.enabled("sources.defocus"):
            free &= fit.detail[at_rows, at_columns] > (SOFT if held is None else SOFTER)
        at_rows, at_columns = at_rows[free], at_columns[free]
        blur = fit.blur[at_rows, at_columns] * np.float32(rules.enabled("sources.defocus"))
        level = np.rint(blur).astype(np.int32)
        if held is not None:  # it changes by steps, and not to and fro
            old = (held[at_rows, at_columns] - FIRST_REFERENCE) // LEVEL
            level = np.where(np.abs(blur - old) < LAZY, old, np.clip(level, old - 1, old + 1))
        out.source[at_rows, at_columns] = FIRST_REFERENCE + number + LEVEL * level
        out.dx[at_rows, at_columns] = (x - x0)[free]
        out.dy[at_rows, at_columns] = (y - y0)[free]
        return True

    def _best(
        self, here: WindowFrame, missing: NDArray[np.bool_], tried: set[int]
    ) -> tuple[int, CameraMotion, int] | None:
        """The page that shows most of what is missing, the homography that leads to it, and how many px it shows."""
        assert here.box is not None
        rows, columns = np.nonzero(missing)
        x0, y0 = (columns + here.box.left).astype(np.float32), (rows + here.box.top).astype(np.float32)
        fits: list[tuple[int, int, CameraMotion]] = []
        for number, page in enumerate(self.mosaic.key_frames):
            camera = self._to(here, page) if number not in tried else None
            if camera is None:
                continue
            x, y = camera.points(x0, y0)
            known = self._sheet(number).known
            height, width = known.shape
            column = np.rint((x + 0.5) * width / self.grid.width - 0.5).astype(np.intp)
            row = np.rint((y + 0.5) * height / self.grid.height - 0.5).astype(np.intp)
            inside = (column >= 0) & (row >= 0) & (column < width) & (row < height)
            shown = int(np.count_nonzero(known[row[inside], column[inside]]))
            if shown > max(round(WORTH * len(rows)), 1):
                fits.append((shown, number, camera))
        if not fits:
            return None
        enough = SHOWN * max(shown for shown, _, _ in fits)
        # of those that show about as much, the nearest in time: focus, light and leaves change
        shown, number, camera = min(
            (fit for fit in fits if fit[0] >= enough),
            key=lambda fit: abs(self.mosaic.key_frames[fit[1]].frame.index - here.frame.index),
        )
        return number, camera, shown

    def _to(self, here: WindowFrame, page: Keyframe) -> CameraMotion | None:
        """From `here` to `page`, on the working grid; None: they lie in different parts."""
        way = self.mosaic.homography_to(here.frame.index, page, self.grid.size)
        if way is None:
            return None
        height, width = self.mosaic.size
        wide, high = self.grid.width / width, self.grid.height / height
        return CameraMotion(np.array([[wide, 0, (wide - 1) / 2], [0, high, (high - 1) / 2], [0, 0, 1]]) @ way, 1.0)

    def _sheet(self, number: int) -> _Reference:
        if number not in self._sheets:
            page = self.mosaic.key_frames[number]
            hidden, known, shadow = page.hidden(), page.known, np.zeros(self.grid.size, bool)
            near = dilate(self.grid.shrink(hidden), max(round(BORDER * self.grid.height), 2))
            if self.shadows and rules.enabled("sources.keyframe_shadows"):
                cast = residual_of_key_frame(page.frame, hidden, self.mosaic).astype(np.uint8)
                shadow = cv2.resize(cast, self.grid.size[::-1], interpolation=cv2.INTER_NEAREST) > 0
                known = known & (cv2.resize(cast, known.shape[::-1], interpolation=cv2.INTER_NEAREST) == 0)
            luma, picture = page.frame.luma(size=self.grid.size), SourcePlanes(page.frame.planes)
            self._sheets[number] = _Reference(luma, near | shadow, known, shadow, picture)
        return self._sheets[number]


def _blurred(frame: Frame, hidden: NDArray[np.bool_], sigma: float) -> SourcePlanes:
    """The planes of `frame` blurred by `sigma` luma px, without what is `hidden`, bool [h, w] of any size."""
    planes = []
    for number, plane in enumerate(frame.planes):
        free = cv2.resize(1 - hidden.astype(np.float32), plane.shape[::-1], interpolation=cv2.INTER_LINEAR)
        sigmas = sigma / (1 << frame.layout.shifts(number)[1]), sigma / (1 << frame.layout.shifts(number)[0])
        weight = _softened(free, *sigmas)
        soft = _softened(plane * free, *sigmas) / np.maximum(weight, 1e-3)
        planes.append(np.rint(np.where(weight > 1e-3, soft, plane)).astype(plane.dtype))
    return SourcePlanes(tuple(planes))


def _softened(plane: NDArray[np.float32], sigma_x: float, sigma_y: float) -> NDArray[np.float32]:
    """A Gaussian blur whose cost does not grow with its width."""
    step = max(int(min(sigma_x, sigma_y) / 2), 1)
    if step > 1:
        size = (-(-plane.shape[1] // step), -(-plane.shape[0] // step))
        small = cv2.resize(plane, size, interpolation=cv2.INTER_AREA)
        small = cv2.GaussianBlur(small, (0, 0), sigma_x / step, sigmaY=sigma_y / step)
        return np.asarray(cv2.resize(small, plane.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma_x, sigmaY=sigma_y), np.float32)


def _visible_at(sheet: _Reference, x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.bool_]:
    """bool [N]: whether the page shows the background at the points (x, y) of the working grid."""
    height, width = sheet.hidden.shape
    column, row = np.rint(x).astype(np.intp), np.rint(y).astype(np.intp)
    inside = (column >= 0) & (row >= 0) & (column < width) & (row < height)
    inside[inside] = ~sheet.hidden[row[inside], column[inside]]
    return inside
