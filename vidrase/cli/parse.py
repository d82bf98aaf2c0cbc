"""Option texts to values: spans, lists, `auto` or a number."""

from __future__ import annotations

import math

from vidrase.errors import OptionError
from vidrase.written import seconds_of


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
