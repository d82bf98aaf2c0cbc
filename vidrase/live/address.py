"""Parse the user's source name into an FFmpeg input."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vidrase.addresses import SCHEMES
from vidrase.avtracks import file_url
from vidrase.errors import SourceError, SourceNotFound, UnsupportedSource
from vidrase.starred import starred
from vidrase.written import url_of

Kind = Literal["camera", "screen", "stream", "file"]


@dataclass(frozen=True, slots=True)
class Address:
    """One source."""

    text: str
    """The user's text, for messages, with passwords and tokens starred."""
    kind: Kind
    url: str = field(repr=False)
    """FFmpeg's input."""
    format: str | None = None
    options: dict[str, str] = field(default_factory=dict)

    @property
    def lasting(self) -> bool:
        """Whether the source is reopened after it ends."""
        return self.kind == "camera" or (self.kind == "stream" and not self.url.startswith("http"))

    @property
    def segmented(self) -> bool:
        """Whether frames arrive in segments of several seconds: HLS or DASH."""
        return self.kind == "stream" and url_of(self.url).path.endswith((".m3u8", ".mpd"))


def address_of(text: str, *, size: tuple[int, int] | None = None, rate: float | None = None) -> Address:
    """Parse `text`: a camera's number, /dev/video*, a URL, `screen`, or a file.

    size: (height, width) and rate: frames per second, both requested from a camera or screen.
    Raises SourceNotFound for a missing camera or file, UnsupportedSource for an unknown scheme.
    """
    if text.isdecimal() or re.fullmatch(r"/dev/video\d+", text):
        return _camera(text, size, rate)
    if text == "screen":
        return _screen(size, rate)
    scheme = url_of(text).scheme.lower() if "://" in text else ""
    if scheme in SCHEMES:
        options = {"flags": "low_delay", "probesize": "500000", "analyzeduration": "500000"}
        if not scheme.startswith("http"):
            options["fflags"] = "nobuffer"  # drops the packets used for probing: the start of a film
        if scheme.startswith("rtsp"):
            options |= {
                "rtsp_flags": "prefer_tcp",
                "max_delay": "100000",
            }  # UDP loses packets, but some cameras support nothing else
        if scheme == "udp":
            options |= {"fifo_size": "100000", "overrun_nonfatal": "1"}
        return Address(starred(text), "stream", text, None, options)
    if scheme == "file":
        text = url_of(text).path
    elif scheme:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise UnsupportedSource(
            f"cannot read '{scheme}://' addresses; there are {known}, a camera's number, screen or a file"
        )
    if not Path(text).exists():
        raise SourceNotFound(f"no such file, camera or stream: {text}; a camera is given as its number, like 0")
    return Address(text, "file", file_url(Path(text)))


def _camera(text: str, size: tuple[int, int] | None, rate: float | None) -> Address:
    options: dict[str, str] = {}
    if size:
        options["video_size"] = f"{size[1]}x{size[0]}"
    if rate:
        options["framerate"] = f"{rate:g}"
    if sys.platform.startswith("linux"):
        path = text if text.startswith("/") else f"/dev/video{text}"
        if not Path(path).exists():
            there = sorted(str(one) for one in Path("/dev").glob("video*"))
            raise SourceNotFound(f"no camera {text}: {path} is not there; cameras here: {', '.join(there) or 'none'}")
        return Address(text, "camera", path, "video4linux2,v4l2", options)
    if sys.platform == "darwin":
        return Address(text, "camera", f"{text}:none", "avfoundation", {"framerate": "30", **options})
    return Address(text, "camera", text, "opencv", options)  # DirectShow needs names; OpenCV accepts numbers


def _screen(size: tuple[int, int] | None, rate: float | None) -> Address:
    options = {"framerate": f"{rate or 30:g}"}
    if size:
        options["video_size"] = f"{size[1]}x{size[0]}"
    if sys.platform == "darwin":
        return Address("screen", "screen", "Capture screen 0:none", "avfoundation", options)
    if sys.platform == "win32":
        return Address("screen", "screen", "desktop", "gdigrab", options)
    display = os.environ.get("DISPLAY", "")
    if not display:
        raise SourceError("no screen to take: DISPLAY is not set; start vidrase inside a desktop session (X11)")
    return Address("screen", "screen", display, "x11grab", options)
