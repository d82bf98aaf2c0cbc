"""Option texts to values: spans, lists, `auto` or a number."""

from __future__ import annotations

import math
from typing import Any, Literal

import click

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


class Number(click.FloatRange):
    """A number, which "nan" and "inf" are not; with limits as click's own type has them."""

    name = "number"

    def __init__(self, min: float | None = None, max: float | None = None) -> None:
        super().__init__(min, max)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """`value` as a float; ends with a line for the user when it is none."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"expected a number, got {value!r}.", param, ctx)
        return number

    def _describe_range(self) -> str:
        return "" if self.min is None and self.max is None else super()._describe_range()


def spans_of(texts: tuple[str, ...]) -> tuple[tuple[float, float], ...]:
    """Several spans, each option possibly a comma-separated list."""
    return tuple(span_of(part) for text in texts for part in listed("--time", text))


def listed(name: str, text: str) -> tuple[str, ...]:
    """The parts of a comma-separated list. Raises OptionError when there is none: that is no choice, and not none at all."""
    parts = tuple(part.strip() for part in text.split(",") if part.strip())
    if not parts:
        raise OptionError(f"{name} '{text}' names nothing; leave it out, or say what it is to be")
    return parts


def words_of(name: str, texts: tuple[str, ...]) -> tuple[str, ...]:
    """The words of several options, each possibly a comma-separated list."""
    return tuple(part for text in texts for part in listed(name, text))


def auto_or_int(name: str, text: str | None) -> int | None:
    """None for "auto" or nothing, else a whole number."""
    if text is None or text == "auto":
        return None
    try:
        return int(text)
    except ValueError:
        raise OptionError(f"{name}: expected a whole number or 'auto', got '{text}'") from None


def workers_of(text: str | None) -> int | Literal["auto"]:
    """A number of workers; "auto" stays, and nothing is one."""
    number = auto_or_int("--workers", text)
    return 1 if text is None else number if number is not None else "auto"
