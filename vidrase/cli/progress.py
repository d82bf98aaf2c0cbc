"""A progress bar with the time left, on a terminal; silence elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

import click

LABELS = {"detecting": "detecting", "erasing": "erasing"}


class ProgressBar:
    """Callable as the engine's `progress`; one bar a pass."""

    def __init__(self, *, quiet: bool) -> None:
        self._on = not quiet and sys.stderr.isatty()
        self._bar: click.progressbar | None = None  # type: ignore[valid-type]
        self._pass = ""
        self._done = 0

    def __call__(self, name: str, done: int, total: int | None) -> None:
        """Frame `done` of `total` of the pass `name` is finished."""
        if not self._on:
            return
        if name != self._pass:
            self.finish()
            self._pass, self._done = name, 0
            self._bar = click.progressbar(  # without a length there is no end to estimate; show the count at least
                length=total or 0, label=LABELS.get(name, name), file=sys.stderr, show_eta=bool(total), show_pos=True
            )
            self._bar.__enter__()
        assert self._bar is not None
        self._bar.update(done - self._done)
        self._done = done

    def clear(self) -> None:
        """End the current bar's line, so that a message can stand on its own."""
        if self._bar is not None:
            click.echo(err=True)

    def finish(self) -> None:
        """End the current pass's bar; the next call starts another, even for a pass of the same name."""
        self._pass, self._done = "", 0
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()
