"""Moments, places and addresses as people write them: "1:15.5", "320,200@1.5". For the command line and for interactive picks."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from vidrase.errors import OptionError, UnsupportedSource
from vidrase.options import Click, Rectangle

_CLOCK = re.compile(r"^(?:(?:(\d{1,9}):)?(\d{1,9}):)?(\d{1,9}(?:\.\d{1,99})?)$", re.ASCII)


def seconds_of(text: str) -> float:
    """Seconds of "75", "75.5", "1:15" or "0:01:15.5"."""
    match = _CLOCK.match(text.strip())
    if match is None:
        raise OptionError(f"cannot read the time '{text}'; expected seconds, M:SS or H:MM:SS, like 1:15.5")
    hours, minutes, seconds = match.groups()
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(seconds)


def click_of(text: str, name: str = "--at") -> Click:
    """A point of "320,200" or "320,200@1.5"; `name` is what the message of an OptionError calls it."""
    (x, y), when = _numbers(name, text, 2)
    return Click(x, y, when)


def box_of(name: str, text: str) -> Rectangle:
    """A box of "10,20,110,220" or "10,20,110,220@1.5"."""
    (x0, y0, x1, y1), when = _numbers(name, text, 4)
    return Rectangle(x0, y0, x1, y1, when)


def _numbers(name: str, text: str, count: int) -> tuple[list[float], float]:
    place, _, when = text.partition("@")
    try:
        numbers = [float(part) for part in place.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        raise OptionError(
            f"{name}: expected {count} numbers like {','.join('xy'[k % 2] for k in range(count))}, got '{text}'"
        )
    return numbers, seconds_of(when) if when else 0.0


def url_of(text: str) -> SplitResult:
    """The parts of an address. Raises UnsupportedSource when it has brackets or a port that cannot be."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        shown = re.sub(r"(://[^:/@]*):[^@/]*@", r"\1:***@", text)
        raise UnsupportedSource(f"{shown} is no address ({error}); expected SCHEME://HOST/PATH") from error
    return parts
