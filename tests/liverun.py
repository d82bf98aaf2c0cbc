"""A whole live run in a thread, for tests: capture, eraser with a detector that needs no weights, what comes out collected."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
from livefakes import MagentaSegmenter

from vidrase.live.address import Address, address_of
from vidrase.live.capture import Capture
from vidrase.live.eraser import LiveEraser
from vidrase.live.loop import LiveLoop
from vidrase.live.outputs import Collector

WAIT = 12.0


class Running:
    """A live run in a thread, its pictures collected."""

    def __init__(self, url: str | Address, *outputs: object, timeout: float = 1.5, **capture: object) -> None:
        self.said: list[str] = []
        self.capture = Capture(
            address_of(url) if isinstance(url, str) else url, timeout=timeout, say=self.said.append, **capture
        )  # type: ignore[arg-type]
        self.eraser = LiveEraser("person", level=2, latency=0.1, segmenter=MagentaSegmenter(0.01))
        self.eraser.warm_up()
        self.collector = Collector(400)
        self.live = LiveLoop(self.capture, self.eraser, [self.collector, *outputs])  # type: ignore[list-item]
        self.error: BaseException | None = None
        self._others = outputs
        self._thread = threading.Thread(target=self._work, daemon=True)

    def _work(self) -> None:
        try:
            self.live.run()
        except BaseException as error:
            self.error = error

    def __enter__(self) -> Running:
        try:
            self.capture.start()
        except BaseException:
            self.__exit__()
            raise
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()
        if self._thread.ident is not None:
            self._thread.join(5)
        self.capture.close()
        self.eraser.close()
        self.collector.close()
        for output in self._others:
            output.close()  # type: ignore[attr-defined]

    def until(self, done: Callable[[], bool]) -> None:
        end = time.monotonic() + WAIT
        while not done():
            assert time.monotonic() < end, f"nothing happened; said {self.said}, error {self.error}"
            time.sleep(0.02)


def magenta(rgb: np.ndarray) -> np.ndarray:
    rgb = rgb.astype(int)
    return (rgb[..., 0] > 190) & (rgb[..., 2] > 190) & (rgb[..., 1] < 90)


def grey(rgb: np.ndarray) -> bool:
    return bool((rgb.max(2).astype(int) - rgb.min(2)).mean() < 8)
