"""Show the live output in a window and handle keys. Runs in the loop's thread: most systems allow no other."""

from __future__ import annotations

import os
import socket
import sys
import time
from contextlib import suppress

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.errors import SinkError
from vidrase.live.eraser import LiveEraser, Result

TITLE = "vidrase live"
HELP = "q quit  space compare  f freeze  m mask  c learn anew  1-9 keep/remove"
HELP_SECONDS = 8.0
LARGEST = 1600, 900  # px; maximum size of a new window


def display_available() -> bool:
    """Whether a window can open."""
    if sys.platform in ("darwin", "win32"):
        return True
    host, _, number = os.environ.get("DISPLAY", "").rpartition(":")
    number = number.partition(".")[0]
    if not number.isdecimal():
        return False
    try:  # tested first: Qt ends the program when there is no display server
        if host in ("", "unix"):
            with socket.socket(socket.AF_UNIX) as local:
                local.settimeout(2.0)
                local.connect(f"/tmp/.X11-unix/X{number}")
        else:
            socket.create_connection((host, 6000 + int(number)), 2.0).close()
    except OSError:
        return False
    return True


class Window:
    """The window; `closed` once q was pressed or the window was closed."""

    def __init__(self) -> None:
        self.closed = False
        self.compare = self.mask = self.frozen = False
        self._since: float | None = None
        loaded = list(sys.modules)
        if sys.platform == "linux" and "av" in loaded and loaded.index("av") < loaded.index("cv2"):
            # each loads its own libxcb; with the later one the first window hangs (PyAV issue 978)
            raise SinkError("a window needs OpenCV to be loaded before PyAV: write `import cv2` above `import av`")
        os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false")  # silences warnings about missing fonts
        try:
            cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        except cv2.error as error:
            raise SinkError(
                "this OpenCV opens no windows (headless build, or no desktop); give --serve or --output"
            ) from error

    def show(self, eraser: LiveEraser, picture: NDArray[np.uint8], line: str) -> None:
        """Draw `picture` uint8 [H, W, 3] with `line` over it, and handle keys."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
            height, width = picture.shape[:2]
            scale = min(LARGEST[0] / width, LARGEST[1] / height, 1.0)
            cv2.resizeWindow(TITLE, round(width * scale), round(height * scale))
        if not self.frozen:
            drawn = with_overlay(eraser.result, picture, line, compare=self.compare, mask=self.mask)
            if now - self._since < HELP_SECONDS:
                _draw_text(drawn, HELP, (8, drawn.shape[0] - 10))
            cv2.imshow(TITLE, cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))
        self.press(cv2.waitKey(1), eraser)
        if cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1:
            self.closed = True

    def press(self, key: int, eraser: LiveEraser) -> None:
        """Handle `key` from cv2.waitKey."""
        letter = chr(key & 0xFF) if key >= 0 else ""
        if letter in ("q", "\x1b") and letter:
            self.closed = True
        elif letter == " ":
            self.compare = not self.compare
        elif letter == "f":
            self.frozen = not self.frozen
        elif letter == "m":
            self.mask = not self.mask
        elif letter == "c":
            eraser.relearn()
        elif letter.isdecimal() and letter:
            eraser.toggle(int(letter))

    def close(self) -> None:
        """Close the window."""
        with suppress(cv2.error):  # the user has closed it already
            cv2.destroyWindow(TITLE)
            cv2.waitKey(1)


def with_overlay(
    result: Result | None, picture: NDArray[np.uint8], line: str, *, compare: bool, mask: bool
) -> NDArray[np.uint8]:
    """A copy of `picture` with `line`; optionally the left half as in the input, and the mask with object ids."""
    drawn = picture.copy()
    if result is not None and result.source.shape == drawn.shape:
        if compare:
            half = drawn.shape[1] // 2
            drawn[:, :half] = result.source[:, :half]
            drawn[:, half : half + 2] = 255
        if mask:
            area = cv2.resize(result.area.astype(np.uint8), drawn.shape[1::-1], interpolation=cv2.INTER_NEAREST) > 0
            drawn[area] = result.source[area] // 2 + np.array([127, 0, 0], np.uint8)
            for number, (x0, y0, _, _) in result.boxes:
                _draw_text(drawn, str(number), (x0 + 4, y0 + 22))
    _draw_text(drawn, line, (8, 20))
    return drawn


def signal_lost_image(picture: NDArray[np.uint8], line: str) -> NDArray[np.uint8]:
    """The last frame in grey with a message."""
    gray = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    dimmed = (gray * 0.6).astype(np.uint8)
    _draw_text(dimmed, line, (8, 20))
    return dimmed


def _draw_text(picture: NDArray[np.uint8], text: str, at: tuple[int, int]) -> None:
    plain = text.encode("ascii", "replace").decode()
    x, y = at
    # outline by drawing shifted copies: OpenCV 5 draws thicker text wider
    for shifted, colour in (((x - 1, y), 0), ((x + 1, y), 0), ((x, y - 1), 0), ((x, y + 1), 0), (at, 255)):
        cv2.putText(picture, plain, shifted, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (colour,) * 3, 1, cv2.LINE_AA)
