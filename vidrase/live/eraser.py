"""`LiveEraser`: pictures in, pictures out without the things, one at a time, in anybody's loop."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.errors import OptionError, ShapeError
from vidrase.live.cover import Cover, Covered
from vidrase.live.detect import Detection, Detector
from vidrase.live.levels import Governor
from vidrase.live.masks import Masks, Moment, paint, small_size
from vidrase.live.memory import Memory
from vidrase.live.people import Roll
from vidrase.live.pose import Pose
from vidrase.options import ModelOptions
from vidrase.report import Note, Notes
from vidrase.segment import Segmenter, load_segmenter

MOST_DELAY = 5  # pictures held back at most, whatever the frame rate
RESERVE = 0.035  # seconds of the latency that capture, painting and output need themselves
STALE = 0.1  # seconds of the source over which a mask may be carried; beyond, the picture waits for a look of its own
INSIST = 1.5  # seconds that it waits then
FIRST_LOOK = 30.0  # seconds that the first picture waits for the detector, which has to load


@dataclass(slots=True, eq=False)
class Shown:
    """The last picture that went out."""

    before: NDArray[np.uint8]
    """uint8 [H, W, 3] as it came in."""
    after: NDArray[np.uint8]
    area: NDArray[np.bool_]
    """bool [h, w], small: what was painted over."""
    seconds: float
    """Time of the picture, as given to `step`."""
    index: int
    known: float
    """Share of the hole that is real background, 0..1."""
    boxes: list[tuple[int, tuple[int, int, int, int]]]
    """(number, x0 y0 x1 y1 px) of the things last seen."""


class LiveEraser:
    """Removes things from a running camera. All state is in here; call `step` from one thread.

    remove:  class names or ids, comma-separated or several, or "all".
    keep:    what stays, of what `remove` names.
    latency: seconds that a picture may be held back, so that its mask is its own.
    learn:   seconds of empty scene at the start: nothing is looked for, everything is background.
    plate:   a background saved before, see `save_plate`.
    level:   fixes the quality (0 best .. 4); None: as much as the time between pictures allows.
    threaded: False looks for things inside `step`: repeatable, not for a live picture.
    segmenter: in place of the one that `models` name.
    Raises OptionError for classes that do not exist and ModelError for missing weights, at the first `step` at the latest.

    >>> with LiveEraser(remove="person") as eraser:  # doctest: +SKIP
    ...     for rgb in camera:
    ...         show(eraser.step(rgb))
    """

    def __init__(
        self,
        remove: str | tuple[str, ...] = "person",
        *,
        keep: str | tuple[str, ...] = (),
        latency: float = 0.1,
        models: ModelOptions | None = None,
        dilate: int | None = None,
        learn: float = 0.0,
        plate: Path | None = None,
        level: int | None = None,
        threaded: bool = True,
        segmenter: Segmenter | None = None,
        say: Note | None = None,
    ) -> None:
        if not 0.0 <= latency <= 10.0:
            raise OptionError(f"latency: expected 0 to 10 seconds, got {latency:g}")
        words, kept = _words(remove), _words(keep)
        if not words:
            raise OptionError("nothing to remove was named; give remove='person'")
        self.notes = Notes(say)
        self.governor = Governor(fixed=level)
        self.roll = Roll()
        self.shown: Shown | None = None
        self.fixed_delay: int | None = None
        """Pictures held back, when somebody else's loop knows better; None: as `latency` and the frame rate allow."""
        options = models or ModelOptions()

        def load(imgsz: int) -> Segmenter:
            if segmenter is not None:
                return segmenter
            one = ModelOptions(
                model=options.model,
                device=options.device,
                precision=options.precision,
                imgsz=imgsz,
                conf=options.conf,
                batch=1,
            )
            return load_segmenter(one, note=self.notes)

        self.detector = Detector(load, words, kept, threaded=threaded)
        self.latency = latency
        self._threaded = threaded
        self._dilate, self._learn, self._plate = dilate, learn, plate
        if plate is not None:
            Memory.load(plate)  # a wrong file is told before the camera is opened
        self._size: tuple[int, int] | None = None
        self._cover: Cover | None = None
        self._count = 0
        self._offered = -(10**6)
        self._interval = 1 / 30
        self._last_seconds: float | None = None
        self._began: float | None = None
        self._paint_seconds = 0.02
        self._dropped = 0
        self._when: dict[int, float] = {}
        self._boxes: list[tuple[int, tuple[int, int, int, int]]] = []

    @property
    def interval(self) -> float:
        """Usual seconds between pictures."""
        return self._interval

    @property
    def count(self) -> int:
        """Pictures that have come in; the next one's `Shown.index`."""
        return self._count

    @property
    def delay(self) -> int:
        """Pictures that are held back."""
        if self.fixed_delay is not None:
            return self.fixed_delay
        return int(np.clip((self.latency - RESERVE) / max(self._interval, 1e-3), 0, MOST_DELAY))

    @property
    def held(self) -> int:
        """Pictures that wait for their masks at present."""
        return len(self._pending) if self._size is not None else 0

    def warm_up(self) -> None:
        """Load the detector now and let it look once, so that no picture waits for it. Raises what is wrong with it."""
        blank = np.zeros((270, 480, 3), np.uint8)
        self.detector.offer(-1, blank, self.governor.level.imgsz)
        self.detector.wait_for(-1, FIRST_LOOK)
        self.detector.take()

    def missed(self, count: int) -> None:
        """`count` pictures were dropped before the next `step`: too much is being done."""
        self._dropped += count

    def step(self, rgb: NDArray[np.uint8], seconds: float | None = None) -> NDArray[np.uint8]:
        """One picture in, one out: an earlier one, `delay` pictures ago, without the things. The first ones repeat.

        rgb:     uint8 [H, W, 3] RGB; not changed, not to be changed by the caller later. Another size starts anew.
        seconds: its time; None: now.
        Outside the hole the result is the picture bit for bit; without a hole it is the very same array.
        """
        began = time.monotonic()
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            raise ShapeError(f"expected RGB uint8 [H, W, 3], got {rgb.dtype} {rgb.shape}")
        if self._size != rgb.shape[:2]:
            self._start((rgb.shape[0], rgb.shape[1]))
        now = began if seconds is None else seconds
        if self._last_seconds is not None and 0 < now - self._last_seconds < 1.0:
            rate = 0.3 if self._count < 10 else 0.05
            self._interval += rate * (now - self._last_seconds - self._interval)
        self._last_seconds = now
        self._began = now if self._began is None else self._began
        small = cv2.resize(rgb, self._small[::-1], interpolation=cv2.INTER_AREA)
        moment = Moment(self._count, rgb, now, began, cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), small)
        self._count += 1
        self._pending.append(moment)
        self._offer(moment)
        waited = 0.0
        while len(self._pending) > self.delay or self.shown is None:
            waited += self._render(self._pending.popleft())
            if not self._pending:
                break
        assert self.shown is not None
        work = time.monotonic() - began - waited
        self.governor.step(work, self._interval, self.detector.seconds, self.latency, dropped=self._dropped)
        self._dropped = 0
        return self.shown.after

    def drain(self) -> Iterator[Shown]:
        """The pictures that are still held back, oldest first; after the last `step`."""
        while self._size is not None and self._pending:
            self._render(self._pending.popleft())
            assert self.shown is not None
            yield self.shown

    def _start(self, size: tuple[int, int]) -> None:
        """Begin with frames of `size` (height, width)."""
        if size[0] < 16 or size[1] < 16:
            raise ShapeError(f"expected pictures of at least 16x16, got {size[1]}x{size[0]}")
        self._size, self._small = size, small_size(size)
        self._pending: deque[Moment] = deque()
        self._masks = Masks(self._small)
        if self._cover is not None:
            self._cover.texture.close()
        self._cover = Cover(size, self._small, dilate=self._dilate, threaded=self._threaded)
        self._pose = Pose()
        self.memory = Memory.load(self._plate, size) if self._plate is not None else Memory(size)
        self._busy = np.zeros(self._small, np.bool_)
        self._first = self._count
        self.shown = None

    def _learning(self, seconds: float) -> bool:
        return self._learn > 0 and self._began is not None and seconds - self._began < self._learn

    def _offer(self, moment: Moment) -> None:
        if self._learning(moment.seconds):
            return
        level = self.governor.level
        if moment.index - self._offered >= level.stride or not self._looked_at_all():
            assert moment.rgb is not None
            if self.detector.offer(moment.index, moment.rgb, level.imgsz):
                self._offered = moment.index
                self._when[moment.index] = moment.seconds
                for old in [index for index in self._when if index < moment.index - 64]:
                    del self._when[old]

    def _looked_at_all(self) -> bool:
        return self._offered >= self._first

    def _render(self, moment: Moment) -> float:
        """Erase from `moment` and make it `shown`; returns the seconds that it only waited."""
        assert moment.rgb is not None
        assert moment.small is not None
        assert self._size is not None
        assert self._cover is not None
        waited = self._await(moment)
        late = self._sort_looks(moment)
        start = time.monotonic()
        level = self.governor.level
        mask = self._masks.step(moment, list(self._pending), late, level.flow)
        sight = self._pose.step(moment.gray, self._busy | mask, self._size)
        if sight == "lost":
            self.memory.clear()
            self._masks.forget()
            self._cover.texture.forget()
            if moment.look is not None:
                mask = moment.look > 0
        elif sight == "moved" and self._pose.wandered(self._size):
            self.memory.rebase(self._pose.homography)
            self._cover.texture.forget()
            self._pose.anchor(moment.gray, mask, self._size)
            sight = "still"
        still = np.array_equal(self._pose.homography, np.eye(3))
        pose = None if still else self._pose.homography
        area = self._cover.reach(mask, self._masks.speed)
        if level.refine and sight != "unsure":
            area = self._cover.complete(area, moment.small, self.memory, pose)
        sees = self._cover.sight(area | self._busy)
        if sight != "unsure":
            self._remember(moment.rgb, sees, area | self._busy, pose)
        covered = self._cover.paint(moment.rgb, area, sees, self.memory, pose, texture=level.refine)
        if pose is None and covered.area is not None and covered.rect is not None:
            self.memory.doubt(covered.rect, covered.area)
        self._busy = area
        self._show(moment, covered, area)
        spent = time.monotonic() - start
        self._paint_seconds += 0.1 * (spent - self._paint_seconds)
        return waited

    def _await(self, moment: Moment) -> float:
        """Wait for the look that shows `moment`, as long as its time allows."""
        if not self._threaded or self._learning(moment.seconds):
            return 0.0
        start = time.monotonic()
        if self.shown is None:
            self.detector.wait_for(moment.index, FIRST_LOOK)
        else:
            left = moment.arrived + self.latency - 0.5 * RESERVE - self._paint_seconds - start
            left = min(
                left, 0.9 * self._interval - self._paint_seconds
            )  # waiting longer would only lose the next picture
            if left > 0:
                self.detector.wait_for(moment.index, left)
            self._insist(moment)
        return time.monotonic() - start

    def _insist(self, moment: Moment) -> None:
        """Rather a late picture than one whose mask is elsewhere: have `moment` looked at when the last look is too old."""
        assert moment.rgb is not None
        deadline = time.monotonic() + INSIST
        while time.monotonic() < deadline:
            newest = self.detector.newest
            if newest >= moment.index or moment.seconds - self._when.get(newest, -1e9) <= STALE:
                return
            if self._offered < moment.index and self.detector.offer(
                moment.index, moment.rgb, self.governor.level.imgsz
            ):
                self._offered = moment.index
                self._when[moment.index] = moment.seconds
            self.detector.wait_for(self._offered, deadline - time.monotonic())
            if self._offered >= moment.index and self.detector.newest < self._offered:
                return  # the detector is slower than anybody would wait

    def _sort_looks(self, moment: Moment) -> list[Detection]:
        """Give new looks to the pictures they belong to; returns those that come after their picture has gone."""
        late: list[Detection] = []
        waiting = {one.index: one for one in (moment, *self._pending)}
        for look in self.detector.take():
            if look.index < self._first:
                continue
            known = self.roll.call(look.found)
            self._boxes = self._scaled_boxes(known)
            going = Detection(look.index, self.roll.leaving(known), look.seconds)
            if look.index in waiting:
                waiting[look.index].look = paint(going, self._small)
            else:
                late.append(going)
        return late

    def _scaled_boxes(self, known) -> list[tuple[int, tuple[int, int, int, int]]]:  # type: ignore[no-untyped-def]
        assert self._size is not None
        scale = np.array([self._size[1] / known.size[1], self._size[0] / known.size[0]] * 2)
        scaled = [np.rint(box * scale).astype(int) for box in known.boxes]
        return [(int(n), (int(b[0]), int(b[1]), int(b[2]), int(b[3]))) for n, b in zip(known.ids, scaled, strict=True)]

    def _remember(
        self,
        rgb: NDArray[np.uint8],
        sees: NDArray[np.uint8],
        both: NDArray[np.bool_],
        pose: NDArray[np.float64] | None,
    ) -> None:
        assert self._size is not None
        around = None
        if both.any():
            rows, columns = np.flatnonzero(both.any(1)), np.flatnonzero(both.any(0))
            sy, sx = self._size[0] / self._small[0], self._size[1] / self._small[1]
            pad = int(0.06 * max(self._size))
            around = (
                max(int(rows[0] * sy) - pad, 0),
                min(int((rows[-1] + 1) * sy) + pad, self._size[0]),
                max(int(columns[0] * sx) - pad, 0),
                min(int((columns[-1] + 1) * sx) + pad, self._size[1]),
            )
        self.memory.learn(rgb, sees, pose, around)

    def _show(self, moment: Moment, covered: Covered, area: NDArray[np.bool_]) -> None:
        assert moment.rgb is not None
        self.shown = Shown(moment.rgb, covered.rgb, area, moment.seconds, moment.index, covered.known, self._boxes)

    def relearn(self) -> None:
        """Forget the background and learn it anew."""
        if self._size is not None:
            self._plate = None
            self.memory = Memory(self._size)
            assert self._cover is not None
            self._cover.texture.forget()

    def toggle(self, number: int) -> bool:
        """Keep thing `number` in the picture, or remove it again; returns whether it is kept now."""
        self.roll.kept ^= {number}
        return number in self.roll.kept

    def save_plate(self, path: Path) -> None:
        """Write the background learned so far; `plate=` reads it. Raises OptionError before the first picture."""
        if self._size is None:
            raise OptionError("no picture has come in yet, so there is no background to save")
        self.memory.save(path)

    def close(self) -> None:
        """Stop the threads; may be called again."""
        self.detector.close()
        if self._cover is not None:
            self._cover.texture.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _words(text: str | tuple[str, ...]) -> tuple[str, ...]:
    parts = (text,) if isinstance(text, str) else tuple(text)
    return tuple(word.strip() for part in parts for word in part.split(",") if word.strip())
