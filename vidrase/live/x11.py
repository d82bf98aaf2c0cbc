"""The X11 screen, taken in a process of its own: OpenCV and PyAV each bring a libxcb, and taking the screen in one process with
both ends that process.

`python x11.py DISPLAY KEY=VALUE...` writes what FFmpeg's x11grab takes to standard output, raw, in a NUT stream. It imports
nothing of vidrase, which would bring OpenCV along; it ends when nobody reads any more.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping


class ScreenProcess:
    """The process that takes the screen `display`. `url` is what FFmpeg reads it by, in the format `FORMAT`."""

    FORMAT = "nut"

    def __init__(self, display: str, options: Mapping[str, str]) -> None:
        told = [f"{key}={value}" for key, value in options.items()]
        # -P: the modules beside this file are not to be found by their bare names
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__, display, *told], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert self._process.stdout is not None
        self.url = f"pipe:{self._process.stdout.fileno()}"

    def why(self) -> str:
        """What it said before it ended; empty when it goes on running."""
        try:
            self._process.wait(1.0)  # its output may end a little before it does
        except subprocess.TimeoutExpired:
            return ""
        assert self._process.stderr is not None
        return self._process.stderr.read().decode(errors="replace").strip()

    def stop(self) -> None:
        """End it; whoever reads from it comes to the end."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End it, once nobody reads from it."""
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
        # as it comes (bgr0) NUT has no tag for it
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
        os._exit(1)  # not by way of destructors that would write to a closed pipe
