"""Option texts to values: times, lists, `auto` or a number."""

from __future__ import annotations

import math
import re

from vidrase.errors import OptionError
from vidrase.options import Click, Rectangle

_CLOCK = re.compile(r"^(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d+)?)$")


def seconds_of(text: str) -> float:
    """Seconds of "75", "75.5", "1:15" or "0:01:15.5"."""
    match = _CLOCK.match(text.strip())
    if match is None:
        raise OptionError(f"cannot read the time '{text}'; expected seconds, M:SS or H:MM:SS, like 1:15.5")
    hours, minutes, seconds = match.groups()
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(seconds)


def span_of(text: str) -> tuple[float, float]:
    """(start, stop) seconds of "0:10-0:20"; an open side is the start or end of the clip."""
    start_text, dash, stop_text = text.partition("-")
    if not dash or not (start_text.strip() or stop_text.strip()):
        raise OptionError(f"cannot read the time span '{text}'; expected START-STOP, like 0:10-0:20, 0:10- or -0:20")
    start = seconds_of(start_text) if start_text.strip() else 0.0
    stop = seconds_of(stop_text) if stop_text.strip() else math.inf
    if stop <= start:
        raise OptionError(f"the time span '{text}' ends before it starts")
    return start, stop


def spans_of(texts: tuple[str, ...]) -> tuple[tuple[float, float], ...]:
    """Several spans, each option possibly a comma-separated list."""
    return tuple(span_of(part) for text in texts for part in text.split(",") if part.strip())


def words_of(texts: tuple[str, ...]) -> tuple[str, ...]:
    """The words of several options, each possibly a comma-separated list."""
    return tuple(part.strip() for text in texts for part in text.split(",") if part.strip())


def auto_or_int(name: str, text: str | None) -> int | None:
    """None for "auto" or nothing, else a whole number."""
    if text is None or text == "auto":
        return None
    try:
        return int(text)
    except ValueError:
        raise OptionError(f"{name}: expected a whole number or 'auto', got '{text}'") from None


def click_of(text: str) -> Click:
    """A point of "320,200" or "320,200@1.5"."""
    (x, y), when = _numbers("--at", text, 2)
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
