"""Soak test: a synthetic scene in real time through the whole loop for minutes; records memory, frame rate and latency."""

from __future__ import annotations

import threading
import time
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.errors import OptionError
from vidrase.live.capture import CapturedFrame
from vidrase.live.eraser import LiveEraser
from vidrase.live.outputs import Output, OutputFrame
from vidrase.live.stats import Stats
from vidrase.options import ModelOptions
from vidrase.segment import Segmenter

BITS, CELL = 24, 12


class _Clock(Output):
    """Reads the clock in each output frame and measures the frame's age."""

    def __init__(self) -> None:
        self.made: dict[int, float] = {}
        self.ages: list[float] = []
        self.wrong = 0
        super().__init__("clock")

    def write(self, output_frame: OutputFrame) -> None:
        """Compare the frame's clock with the time now."""
        made = self.made.pop(read_clock(output_frame.rgb), None)
        if made is None:
            self.wrong += 1
        else:
            self.ages.append(time.monotonic() - made)
        for number in [n for n in self.made if n < len(self.ages) - 500]:
            del self.made[number]


def soak(
    minutes: float,
    *,
    size: tuple[int, int] = (480, 854),
    rate: float = 30.0,
    person: NDArray[np.uint8] | None = None,
    segmenter: Segmenter | None = None,
    models: ModelOptions | None = None,
) -> dict[str, Any]:
    """Run for `minutes` and report.

    size:      (height, width).  rate: frames per second.
    person:    uint8 [h, w, 4] RGBA, moved through the scene; None: an empty scene.
    segmenter: replaces the detector of `models`.
    Returns plain types: `Stats.as_dict` with its series (seconds, fps, latency_ms, dropped, memory_mib, level); `clock_ms`, the
    age of output frames by the clock in them; and `fps_by_view`, with and without a person in view.
    Raises OptionError for a duration that is not positive.
    """
    if not minutes > 0:
        raise OptionError(f"soak: expected more than 0 minutes, got {minutes:g}")
    scene = _scene(size)
    stats, clock = Stats(), _Clock()
    newest: list[CapturedFrame] = []
    ready = threading.Condition()
    counts = {"made": 0, "dropped": 0}
    views = {True: [0, 0.0], False: [0, 0.0]}  # person in view: frames, seconds
    then: float | None = None
    stop = threading.Event()

    def produce() -> None:
        start = time.monotonic()
        while not stop.wait(max(start + counts["made"] / rate - time.monotonic(), 0)):
            number = counts["made"]
            rgb = scene.copy()
            if person is not None:
                _place(rgb, person, number, rate)
            write_clock(rgb, number)
            now = time.monotonic()
            clock.made[number] = now
            with ready:
                if newest:
                    newest.clear()
                    counts["dropped"] += 1
                newest.append(CapturedFrame(rgb, number / rate, now))
                counts["made"] += 1
                ready.notify()

    with LiveEraser("person", segmenter=segmenter, models=models) as eraser:
        eraser.warm_up()
        producer = threading.Thread(target=produce, name="vidrase-live-soak", daemon=True)
        producer.start()
        arrivals: dict[int, float] = {}
        sent, before = -1, 0
        end = time.monotonic() + minutes * 60
        try:
            while time.monotonic() < end:
                with ready:
                    if not newest and not ready.wait(1.0):
                        continue
                    picture = newest.pop()
                eraser.report_dropped(counts["dropped"] - before)
                before = counts["dropped"]
                arrivals[eraser.count] = picture.arrived
                start = time.monotonic()
                eraser.step(picture.rgb, picture.seconds)
                result = eraser.result
                if result is None or result.index == sent:
                    continue
                sent = result.index
                now = time.monotonic()
                arrived = arrivals.pop(sent, now)
                for old in [n for n in arrivals if n < sent]:
                    del arrivals[old]
                stats.add(
                    now - arrived,
                    now - start,
                    known=result.known,
                    hole=bool(result.area.any()),
                    dropped=counts["dropped"],
                    level=eraser.quality.index,
                )
                views[bool(result.area.any())][0] += 1
                views[bool(result.area.any())][1] += now - then if then is not None else 0.0
                then = now
                clock.put(OutputFrame(result.rgb, result.seconds, rate))
        finally:
            stop.set()
            producer.join()
            clock.close()
    ages = np.array(clock.ages or [0.0]) * 1e3
    return {
        **stats.as_dict(),
        "made": counts["made"],
        "unreadable": clock.wrong,
        "clock_ms": {f"p{p}": round(float(np.percentile(ages, p)), 1) for p in (50, 90, 95, 99, 100)},
        "detector_ms": round(eraser.detector.seconds * 1e3, 1),
        "level_changes": eraser.quality.changes,
        "fps_by_view": {
            name: round(views[seen][0] / views[seen][1], 2)
            for name, seen in (("somebody", True), ("nobody", False))
            if views[seen][1] > 0
        },
    }


def write_clock(rgb: NDArray[np.uint8], number: int) -> None:
    """Draw `number` into the top rows as black and white cells."""
    for bit in range(BITS):
        rgb[:CELL, bit * CELL : (bit + 1) * CELL] = 235 if number >> bit & 1 else 20


def read_clock(rgb: NDArray[np.uint8]) -> int:
    """Read the number that `write_clock` drew."""
    cells = rgb[CELL // 2, CELL // 2 : BITS * CELL : CELL].mean(1)
    return sum(1 << bit for bit in range(BITS) if cells[bit] > 128)


def _scene(size: tuple[int, int]) -> NDArray[np.uint8]:
    rng = np.random.default_rng(11)
    coarse = rng.integers(60, 200, (size[0] // 24 + 2, size[1] // 24 + 2, 3)).astype(np.uint8)
    return cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_LINEAR)


def _place(rgb: NDArray[np.uint8], person: NDArray[np.uint8], number: int, rate: float) -> None:
    """Move the person through the scene in eight seconds, then leave it empty for four."""
    height, width = rgb.shape[:2]
    tall = int(height * 0.7)
    wide = max(int(person.shape[1] * tall / person.shape[0]), 1)
    phase = (number / rate) % 12 / 8
    x = int(phase * (width + wide)) - wide
    left, right = max(x, 0), min(x + wide, width)
    if right <= left:
        return
    figure = cv2.resize(person, (wide, tall), interpolation=cv2.INTER_AREA)[:, left - x : right - x]
    spot = rgb[height - tall :, left:right]
    alpha = figure[..., 3:].astype(np.float32) / 255
    spot[:] = (figure[..., :3] * alpha + spot * (1 - alpha)).astype(np.uint8)
