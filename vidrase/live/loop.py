"""The live loop: capture → eraser → outputs, with bounded queues, until it is stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidrase.live.capture import Capture, CapturedFrame
from vidrase.live.eraser import LiveEraser
from vidrase.live.outputs import Output, OutputFrame
from vidrase.live.quality import LEVELS
from vidrase.live.stats import Stats
from vidrase.live.window import Window, signal_lost_image
from vidrase.report import Note

POLL = 0.1  # seconds; delay until Ctrl-C, a key or a lost source is noticed
GREY_AFTER = 0.5  # seconds without a frame before the last one is shown in grey
GREY_EVERY = 0.2


class LiveLoop:
    """One live run. `run` returns at the end of the source, after `stop()`, or when the window is closed.

    seconds: duration of the run; None: no limit.
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
        """Add an output; before `run`."""
        self._outputs.append(output)

    def watch(self, window: Window) -> None:
        """Also show the output in `window`; before `run`."""
        self._window = window

    def stop(self) -> None:
        """End the run soon; callable from any thread or signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Run until the end. Raises errors of the source, the detector and the outputs."""
        began = time.monotonic()
        self._quiet_since = began
        while not self._stop.is_set():
            picture = self._capture.get(POLL)
            if picture is not None:
                self._process(picture)
            elif self._capture.ended:
                self._deliver_pending()
                break
            else:
                self._handle_gap()
            if self._window is not None and self._window.closed:
                break
            if self._limit is not None and time.monotonic() - began >= self._limit:
                break

    def _process(self, picture: CapturedFrame) -> None:
        missed = self._capture.dropped - self._dropped_before
        self._dropped_before = self._capture.dropped
        if missed:
            self._eraser.report_dropped(missed)
        start = time.monotonic()
        index = self._eraser.count
        self._arrivals[index] = picture.arrived
        self._eraser.step(picture.rgb, picture.seconds)
        self._deliver(start)

    def _deliver(self, start: float) -> None:
        """Send the eraser's result, unless it was sent; `start`: monotonic seconds when its processing began."""
        result = self._eraser.result
        assert result is not None
        now = time.monotonic()
        self._quiet_since = now
        if result.index == self._sent_index:
            return  # still filling the delay
        self._sent_index = result.index
        arrived = self._arrivals.pop(result.index, now)
        for old in [number for number in self._arrivals if number < result.index]:
            del self._arrivals[old]
        self._last, self._last_seconds = result.rgb, result.seconds
        self.stats.add(
            now - arrived,
            now - start,
            known=result.known,
            hole=bool(result.area.any()),
            dropped=self._capture.dropped,
            level=self._eraser.quality.index,
        )
        self._send(result.rgb, result.seconds)

    def _deliver_pending(self) -> None:
        """Send the delayed frames."""
        for _ in self._eraser.drain():
            self._deliver(time.monotonic())

    def _send(self, picture: NDArray[np.uint8], seconds: float) -> None:
        audio = self._capture.take_audio(seconds) if self._capture.has_sound else []
        for output in self._outputs:
            output.put(OutputFrame(picture, seconds, self._capture.frame_rate, list(audio)))
            self.stats.out_dropped[output.name] = output.dropped
        if self._window is not None:
            self._window.show(self._eraser, picture, self.line())

    def _handle_gap(self) -> None:
        """Without new frames: after a while show that in the output."""
        now = time.monotonic()
        silence = now - self._quiet_since
        if silence >= GREY_AFTER and self._eraser.pending_frames:
            self._deliver_pending()  # frames from before the gap must not appear after it
            return
        if self._last is None or silence < GREY_AFTER or now - self._grey_at < GREY_EVERY:
            if self._window is not None and self._last is not None:
                self._window.show(self._eraser, self._last, self.line())
            return
        self._grey_at = now
        what = "signal lost, trying again" if self._capture.lost else "no signal"
        picture = signal_lost_image(self._last, f"{what} ({silence:.0f} s)")
        for output in self._outputs:
            output.put(OutputFrame(picture, self._last_seconds + silence, self._capture.frame_rate))
        if self._window is not None:
            self._window.show(self._eraser, picture, self.line())

    def line(self) -> str:
        """One line of statistics for the overlay."""
        level = LEVELS[self._eraser.quality.index].name
        return f"{self.stats.fps:.0f} fps  {self.stats.latency * 1e3:.0f} ms  {self._capture.dropped} dropped  {level}"

    def current_stats(self) -> dict[str, Any]:
        """Current statistics, for `/stats.json`."""
        return {
            "fps": round(self.stats.fps, 2),
            "latency_ms": round(self.stats.latency * 1e3, 1),
            "dropped": self._capture.dropped,
            "lost": self._capture.lost,
            "level": LEVELS[self._eraser.quality.index].name,
        }

    def report(self) -> dict[str, Any]:
        """The run's report, plain types."""
        detector = self._eraser.detector
        return {
            "source": self._capture.address.text,
            **self.stats.as_dict(),
            "decoded": self._capture.decoded,
            "dropped": self._capture.dropped,
            "corrupt_packets": self._capture.corrupt,
            "reconnects": self._capture.reconnects,
            "level": LEVELS[self._eraser.quality.index].name,
            "level_changes": self._eraser.quality.changes,
            "detector": {"model": detector.description, "runs": detector.runs, "ms": round(detector.seconds * 1e3, 1)},
            "notes": dict(self._eraser.notes.counts),
        }
