"""Capture the X11 screen in a separate process: OpenCV and PyAV each load a libxcb, and a process with both crashes there.

`python x11.py DISPLAY KEY=VALUE...` writes FFmpeg's x11grab output to standard output as raw NUT. It imports nothing of vidrase,
which would load OpenCV, and ends when its reader closes the pipe.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping


class ScreenProcess:
    """The process that captures the screen `display`. FFmpeg reads it from `url` in the format `FORMAT`."""

    FORMAT = "nut"

    def __init__(self, display: str, options: Mapping[str, str]) -> None:
        told = [f"{key}={value}" for key, value in options.items()]
        # -P: the modules of this folder must not be importable by their bare names
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__, display, *told], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert self._process.stdout is not None
        self.url = f"pipe:{self._process.stdout.fileno()}"

    def why(self) -> str:
        """Its error output; empty while it runs."""
        try:
            self._process.wait(1.0)  # its output may end slightly before the process
        except subprocess.TimeoutExpired:
            return ""
        assert self._process.stderr is not None
        return self._process.stderr.read().decode(errors="replace").strip()

    def stop(self) -> None:
        """End it; its reader gets an end of file."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End it and close the pipes; call when nobody reads from it."""
        self.stop()
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()


def _take(display: str, options: dict[str, str]) -> None:
    import av

    with (
        av.open(display, format="x11grab", options=options) as screen,
        av.open(sys.stdout.buffer, "w", format=ScreenProcess.FORMAT, options={"flush_packets": "1"}) as out,
    ):
        taken = screen.streams.video[0]
        # NUT has no tag for the screen's own format (bgr0)
        stream = out.add_stream("rawvideo", rate=taken.average_rate)
        stream.width, stream.height, stream.pix_fmt = taken.width, taken.height, "rgb24"
        assert taken.time_base is not None
        stream.codec_context.time_base = taken.time_base
        for frame in screen.decode(taken):
            out.mux(stream.encode(frame.reformat(format="rgb24")))


if __name__ == "__main__":
    try:
        _take(sys.argv[1], dict(told.split("=", 1) for told in sys.argv[2:]))
    except Exception as error:  # noqa: BLE001 - said to the process that started this one
        print(error, file=sys.stderr)
        os._exit(1)  # skip destructors that would write to a closed pipe
