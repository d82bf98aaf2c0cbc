"""capture → eraser → outputs, until somebody says stop. Nothing between them grows."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidrase.live.capture import Capture, Picture
from vidrase.live.eraser import LiveEraser
from vidrase.live.levels import LEVELS
from vidrase.live.outputs import Output, Showing
from vidrase.live.stats import Stats
from vidrase.live.window import Window, lost
from vidrase.report import Note

POLL = 0.1  # seconds: how soon Ctrl-C, a key or a loss is noticed
GREY_AFTER = 0.5  # seconds without a picture before the last one is shown grey
GREY_EVERY = 0.2


class Live:
    """One run. `run` returns at the end of the source, after `stop()`, or when the window is closed.

    seconds: ends the run after that long; None: no limit.
    """

    def __init__(
        self,
        capture: Capture,
        eraser: LiveEraser,
        outputs: Sequence[Output],
        *,
        window: Window | None = None,
        seconds: float | None = None,
        say: Note | None = None,
    ) -> None:
        self.stats = Stats()
        self._capture, self._eraser, self._outputs, self._window = capture, eraser, list(outputs), window
        self._limit = seconds
        self._say = say or (lambda _: None)
        self._stop = threading.Event()
        self._sent_index = -1
        self._dropped_before = 0
        self._arrivals: dict[int, float] = {}
        self._last: NDArray[np.uint8] | None = None
        self._last_seconds = 0.0
        self._quiet_since = time.monotonic()
        self._grey_at = 0.0

    def add(self, output: Output) -> None:
        """One more place for the pictures; before `run`."""
        self._outputs.append(output)

    def watch(self, window: Window) -> None:
        """Show them in `window` too; before `run`."""
        self._window = window

    def stop(self) -> None:
        """End the run soon; from any thread or a signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Work until the end. Raises what the source, the detector or an output failed with."""
        began = time.monotonic()
        self._quiet_since = began
        while not self._stop.is_set():
            picture = self._capture.get(POLL)
            if picture is not None:
                self._one(picture)
            elif self._capture.ended:
                self._deliver_held()
                break
            else:
                self._nothing()
            if self._window is not None and self._window.closed:
                break
            if self._limit is not None and time.monotonic() - began >= self._limit:
                break

    def _one(self, picture: Picture) -> None:
        missed = self._capture.dropped - self._dropped_before
        self._dropped_before = self._capture.dropped
        if missed:
            self._eraser.missed(missed)
        start = time.monotonic()
        index = self._eraser.count
        self._arrivals[index] = picture.arrived
        self._eraser.step(picture.rgb, picture.seconds)
        self._deliver(start)

    def _deliver(self, start: float) -> None:
        """Send what the eraser shows now, unless it was sent; work on it began at `start`, monotonic seconds."""
        shown = self._eraser.shown
        assert shown is not None
        now = time.monotonic()
        self._quiet_since = now
        if shown.index == self._sent_index:
            return  # the pictures that are held back are still being gathered
        self._sent_index = shown.index
        arrived = self._arrivals.pop(shown.index, now)
        for old in [number for number in self._arrivals if number < shown.index]:
            del self._arrivals[old]
        self._last, self._last_seconds = shown.after, shown.seconds
        self.stats.shown(
            now - arrived,
            now - start,
            known=shown.known,
            hole=bool(shown.area.any()),
            dropped=self._capture.dropped,
            level=self._eraser.governor.number,
        )
        self._send(shown.after, shown.seconds)

    def _deliver_held(self) -> None:
        """Send the pictures that still wait for masks."""
        for _ in self._eraser.drain():
            self._deliver(time.monotonic())

    def _send(self, picture: NDArray[np.uint8], seconds: float) -> None:
        sounds = self._capture.hear(seconds) if self._capture.has_sound else []
        for output in self._outputs:
            output.put(Showing(picture, seconds, self._capture.frame_rate, list(sounds)))
            self.stats.out_dropped[output.name] = output.dropped
        if self._window is not None:
            self._window.show(self._eraser, picture, self.line())

    def _nothing(self) -> None:
        """No picture came: after a while say so in the picture itself."""
        now = time.monotonic()
        silent = now - self._quiet_since
        if silent >= GREY_AFTER and self._eraser.held:
            self._deliver_held()  # what was seen before the gap is not shown after it
            return
        if self._last is None or silent < GREY_AFTER or now - self._grey_at < GREY_EVERY:
            if self._window is not None and self._last is not None:
                self._window.show(self._eraser, self._last, self.line())
            return
        self._grey_at = now
        what = "signal lost, trying again" if self._capture.lost else "no signal"
        picture = lost(self._last, f"{what} ({silent:.0f} s)")
        for output in self._outputs:
            output.put(Showing(picture, self._last_seconds + silent, self._capture.frame_rate))
        if self._window is not None:
            self._window.show(self._eraser, picture, self.line())

    def line(self) -> str:
        """One line of figures for the overlay."""
        level = LEVELS[self._eraser.governor.number].name
        return f"{self.stats.fps:.0f} fps  {self.stats.latency * 1e3:.0f} ms  {self._capture.dropped} dropped  {level}"

    def now(self) -> dict[str, Any]:
        """The figures of this moment, for `/stats.json`."""
        return {
            "fps": round(self.stats.fps, 2),
            "latency_ms": round(self.stats.latency * 1e3, 1),
            "dropped": self._capture.dropped,
            "lost": self._capture.lost,
            "level": LEVELS[self._eraser.governor.number].name,
        }

    def report(self) -> dict[str, Any]:
        """Everything worth keeping of this run, plain types."""
        detector = self._eraser.detector
        return {
            "source": self._capture.address.text,
            **self.stats.as_dict(),
            "decoded": self._capture.decoded,
            "dropped": self._capture.dropped,
            "corrupt_packets": self._capture.corrupt,
            "reconnects": self._capture.reconnects,
            "level": LEVELS[self._eraser.governor.number].name,
            "level_changes": self._eraser.governor.changes,
            "detector": {"model": detector.description, "runs": detector.runs, "ms": round(detector.seconds * 1e3, 1)},
            "notes": dict(self._eraser.notes.counts),
        }
