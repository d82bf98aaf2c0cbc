"""What the window of frames does not show, taken from the survey's album: a picture of long before or after, laid over this one.

Source numbers from `FIRST` on are pages of the album. A page is found by where it lies, laid over the frame by a homography, and
what is left of the motion (parallax, drift) is measured and completed into the hole as between neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.album import Album, Page
from vidrase.camera import CameraMotion
from vidrase.fill.complete import Link, grown
from vidrase.fill.links import Linker
from vidrase.fill.membrane import membrane
from vidrase.fill.moment import Grid, Moment, Origins
from vidrase.fill.picture import Picture
from vidrase.fill.sampling import at
from vidrase.flow import FlowModel
from vidrase.frames import Frame, Hole

FIRST = 1 << 30
"""The source number of the album's first page."""
PAGES = 3
"""Pages taken from for one frame, at most."""
WORTH = 0.02
"""Share of what is missing that a page must show to be laid over."""
SHOWN = 0.8
"""Share of what the best page shows, from which another one counts as equal."""
AGAIN = 10  # frames until a page that did not fit is tried again
BORDER = 0.03
"""What is not taken around what may be in the way in a page, as a share of the height, while its shadows are not known."""
SUPPORT = 0.25
"""Share of the surroundings that must fit the page, laid over, as a whole: little, as parallax is measured beyond it."""
BEARABLE = 20.0
"""Misfit, 0..255, up to which a pixel is taken. There copies were nearer the truth than chains of more than 8 frames on six of
six clip pairs, by up to 20 levels; beyond it on some only. Instead of an invention 14 or 32 were worse as well."""
MISFIT = 12.0
"""Median difference of brightness in the surroundings, 0..255, from which a page does not show the same place."""
APART, AGREEING = 1.5, 0.6
"""px that there and back may disagree, and the share of the surroundings that must stay below."""
HALO = 3  # px around what is hidden that are not judged by
ENOUGH = 64  # px to judge by
WORST = 72.0
AROUND = 5  # px a side over which the misfit is averaged; beyond `WORST` it counts no more


@dataclass(slots=True, eq=False)
class _Sheet:
    """A page on the working grid."""

    luma: NDArray[np.uint8]
    hidden: NDArray[np.bool_]
    """[h, w] the things and a border around them."""
    picture: Picture


@dataclass(slots=True, eq=False)
class Distant:
    """The album of one shot, as the fill of this shot uses it."""

    album: Album
    grid: Grid
    flow: FlowModel
    _sheets: dict[int, _Sheet] = field(default_factory=dict)
    _failed: dict[int, int] = field(default_factory=dict)
    """Pages that did not fit, and on which moment."""
    _numbers: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._numbers = {page.frame.index: number for number, page in enumerate(self.album.pages)}

    def picture(self, number: int) -> Picture:
        """The planes of the page with the source number `number`."""
        return self._sheet(number - FIRST).picture

    def learn(self, frame: Frame, hole: Hole | None) -> None:
        """Take note of what goes in `frame`: if it is a page, its shadows and what hangs on things is known only now."""
        number = self._numbers.get(frame.index)
        if number is not None and hole is not None:
            sheet = self._sheet(number)
            near = grown(self.grid.shrink(self.album.pages[number].hidden() | hole.full_area()), 2)
            self._sheets[number] = _Sheet(sheet.luma, near, sheet.picture)

    def origins(self, here: Moment, missing: NDArray[np.bool_]) -> Origins:
        """Where pixels of `here` are seen in the album; `missing`: bool [h, w], in the box of `here`, those that are wanted."""
        assert here.box is not None
        out = Origins.empty(here.box)
        lies = self.album.place(here.frame.index)
        if lies is None:
            return out
        part, place = lies
        left = missing.copy()
        tried = {number for number, when in self._failed.items() if abs(here.number - when) < AGAIN}
        for _ in range(PAGES):
            best = self._best(here, left, part, place, tried)
            if best is None:
                break
            tried.add(best[0])
            self.take(here, left, best[0], best[1], BEARABLE, out)
            left &= out.source < 0
            if not left.any():
                break
        return out

    def realigned(self, here: Moment, memory: Origins, share: float) -> None:
        """Move what `memory` takes from the album by `share` towards where it is found in `here` now: drift does not add up."""
        lies = self.album.place(here.frame.index)
        if lies is None:
            return
        part, place = lies
        for source in np.unique(memory.source[memory.source >= FIRST]).tolist():
            page = self.album.pages[source - FIRST]
            if page.part != part:
                continue
            now = Origins.empty(memory.box)
            self.take(here, memory.source == source, source - FIRST, self._between(place, page), np.inf, now)
            both = now.source >= 0
            for name in ("dx", "dy"):
                old, new = getattr(memory, name), getattr(now, name)
                old[both] += share * (new[both] - old[both])

    def forget_hidden(self, memory: Origins) -> None:
        """Leave out of `memory` what was carried to where something is in the way in the page."""
        for source in np.unique(memory.source[memory.source >= FIRST]).tolist():
            rows, columns = np.nonzero(memory.source == source)
            x = columns + memory.box.left + memory.dx[rows, columns]
            y = rows + memory.box.top + memory.dy[rows, columns]
            lost = ~_free(self._sheet(source - FIRST), x, y)
            memory.source[rows[lost], columns[lost]] = -1

    def take(
        self,
        here: Moment,
        wanted: NDArray[np.bool_],
        number: int,
        camera: CameraMotion,
        limit: float,
        out: Origins,
    ) -> None:
        """Put into `out` where `wanted` pixels are seen in a page, if it fits.

        camera: from `here` to the page, roughly. limit: misfit, 0..255, from which a pixel is left out.
        """
        assert here.box is not None
        sheet = self._sheet(number)
        columns, rows = np.meshgrid(
            np.arange(here.luma.shape[1], dtype=np.float32), np.arange(here.luma.shape[0], dtype=np.float32)
        )
        x, y = camera.points(columns, rows)
        over = Moment(-1 - number, here.frame, here.hole, here.shot, cv2.remap(sheet.luma, x, y, cv2.INTER_LINEAR))
        lost = cv2.remap(sheet.hidden.astype(np.uint8), x, y, cv2.INTER_NEAREST, borderValue=1) > 0
        over.blocked, over.area, over.box = lost, lost, here.box
        link = Linker(self.flow)(replace(here, front=None), over, None)
        misfit = _misfit(here, over, link) if link.camera.support >= SUPPORT else None
        if misfit is None:
            self._failed[number] = here.number
            return
        at_rows, at_columns = np.nonzero(wanted)
        x0, y0 = (at_columns + here.box.left).astype(np.float32), (at_rows + here.box.top).astype(np.float32)
        rest = link.ahead.at(x0, y0)
        x, y = camera.points(x0 + rest[:, 0], y0 + rest[:, 1])
        free = _free(sheet, x, y) & (misfit[at_rows, at_columns] < limit)
        at_rows, at_columns = at_rows[free], at_columns[free]
        out.source[at_rows, at_columns] = FIRST + number
        out.dx[at_rows, at_columns] = (x - x0)[free]
        out.dy[at_rows, at_columns] = (y - y0)[free]

    def _best(
        self, here: Moment, missing: NDArray[np.bool_], part: int, place: NDArray[np.float64], tried: set[int]
    ) -> tuple[int, CameraMotion] | None:
        """The page that shows most of what is missing, and the homography that leads to it."""
        assert here.box is not None
        rows, columns = np.nonzero(missing)
        x0, y0 = (columns + here.box.left).astype(np.float32), (rows + here.box.top).astype(np.float32)
        fits: list[tuple[int, int, CameraMotion]] = []
        for number, page in enumerate(self.album.pages):
            if page.part != part or number in tried:
                continue
            camera = self._between(place, page)
            x, y = camera.points(x0, y0)
            height, width = page.known.shape
            column = np.rint((x + 0.5) * width / self.grid.width - 0.5).astype(np.intp)
            row = np.rint((y + 0.5) * height / self.grid.height - 0.5).astype(np.intp)
            inside = (column >= 0) & (row >= 0) & (column < width) & (row < height)
            shown = int(np.count_nonzero(page.known[row[inside], column[inside]]))
            if shown > max(round(WORTH * len(rows)), 1):
                fits.append((shown, number, camera))
        if not fits:
            return None
        enough = SHOWN * max(shown for shown, _, _ in fits)
        # of those that show about as much, the nearest in time: focus, light and leaves change
        _, number, camera = min(
            (fit for fit in fits if fit[0] >= enough),
            key=lambda fit: abs(self.album.pages[fit[1]].frame.index - here.frame.index),
        )
        return number, camera

    def _between(self, place: NDArray[np.float64], page: Page) -> CameraMotion:
        """From the frame that lies at `place` to `page`, on the working grid."""
        height, width = self.album.size
        wide, high = self.grid.width / width, self.grid.height / height
        up = np.array([[wide, 0, (wide - 1) / 2], [0, high, (high - 1) / 2], [0, 0, 1]])
        return CameraMotion(up @ np.linalg.inv(page.place) @ place @ np.linalg.inv(up), 1.0)

    def _sheet(self, number: int) -> _Sheet:
        if number not in self._sheets:
            page = self.album.pages[number]
            hidden = grown(self.grid.shrink(page.hidden()), max(round(BORDER * self.grid.height), 2))
            self._sheets[number] = _Sheet(page.frame.luma(size=self.grid.size), hidden, Picture(page.frame.planes))
        return self._sheets[number]


def _free(sheet: _Sheet, x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.bool_]:
    """bool [N]: whether the page shows the background at the points (x, y) of the working grid."""
    height, width = sheet.hidden.shape
    column, row = np.rint(x).astype(np.intp), np.rint(y).astype(np.intp)
    inside = (column >= 0) & (row >= 0) & (column < width) & (row < height)
    inside[inside] = ~sheet.hidden[row[inside], column[inside]]
    return inside


def _misfit(here: Moment, over: Moment, link: Link) -> NDArray[np.float32] | None:
    """How badly a page laid over the frame fits, 0..255, everywhere in the box of `here`; None: it shows something else.

    It is measured beside the hole, after the difference of light as a whole, and goes on into it.
    """
    assert here.box is not None
    assert here.blocked is not None
    assert over.blocked is not None
    ahead = link.ahead
    height, width = ahead.flow.shape[:2]
    span = np.s_[ahead.y : ahead.y + height, ahead.x : ahead.x + width]
    seen = ~(grown(here.blocked, HALO) | grown(over.blocked, HALO))[span]
    rows, columns = np.nonzero(seen)
    if len(rows) < ENOUGH:
        return None
    motion = ahead.flow[rows, columns]
    x = (columns + ahead.x + motion[:, 0]).astype(np.float32)
    y = (rows + ahead.y + motion[:, 1]).astype(np.float32)
    apart = np.hypot(*(motion + link.back.at(x, y)).T)
    gap = at(over.luma, x, y).astype(np.float32) - here.luma[span][rows, columns]
    gap = np.abs(gap - np.median(gap))
    # of the whole, medians: things that only one of them shows are no matter
    if (apart < APART).mean() < AGREEING or np.median(gap) > MISFIT:
        return None
    misfit = np.zeros((height, width, 1), np.float32)
    misfit[rows, columns, 0] = np.minimum(gap, WORST)
    share = cv2.blur(seen.astype(np.float32), (AROUND, AROUND))
    misfit[..., 0] = cv2.blur(misfit[..., 0], (AROUND, AROUND)) / np.maximum(share, 1e-3)
    inward = membrane(misfit, seen)[..., 0]
    top, left = here.box.top - ahead.y, here.box.left - ahead.x
    return inward[top : top + here.box.shape[0], left : left + here.box.shape[1]]
