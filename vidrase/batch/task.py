"""One clip of a batch, erased wherever this runs; what happens is told as it happens."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidrase import engine
from vidrase.chunks.pool import ChunkPool
from vidrase.errors import VidraseError
from vidrase.options import Options
from vidrase.report import Notes
from vidrase.run import Models

TELL_EVERY = 0.5  # s between two messages on how far a clip is
KEPT = (
    "frames",
    "frames_with_hole",
    "removed",
    "wall_seconds",
    "share_copied",
    "fallbacks",
    "chunks",
    "workers",
    "reused",
)
"""What the summary holds of a clip's report."""


@dataclass(frozen=True, slots=True)
class Task:
    """A clip and what becomes of it."""

    source: str
    to: Path
    options: Options


Heard = Callable[[int, dict[str, Any]], None]
"""Called with the number of a task and a message: {"pass", "frames", "of"}, {"said"}, {"died"}, and at last {"report"} or
{"failed", "code"}."""
Tell = Callable[..., None]


class Eraser:
    """Erases one clip after another with the same models."""

    def __init__(self, pool: ChunkPool | None = None) -> None:
        """pool: who fills the chunks of long clips; None: as the options say."""
        self._models: Models | None = None
        self._pool = pool

    def __call__(self, task: Task, tell: Tell) -> None:
        """Erase; the last message is the report, or that it failed."""
        last = 0.0

        def progress(name: str, done: int, total: int | None) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= TELL_EVERY:
                last = now
                tell(**{"pass": name, "frames": done, "of": total})

        by_products = engine.ByProducts(progress=progress)
        try:
            self._models = self._models or Models.load(task.options, Notes(lambda text: tell(said=text)))
            report = engine.erase(
                task.source,
                task.to,
                task.options,
                models=self._models,
                by_products=by_products,
                say=lambda text: tell(said=text),
                pool=self._pool,
            )
        except VidraseError as error:
            tell(failed=" ".join(str(error).split()), code=error.exit_code)
        except Exception as error:  # noqa: BLE001 - one clip must not end the others
            tell(failed=f"{type(error).__name__}: {' '.join(str(error).split())}", code=1)
        else:
            plain = report.as_dict()
            tell(report={name: plain[name] for name in KEPT})
