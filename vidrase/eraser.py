"""The Python API: `erase` for files, `Eraser` for frames in a caller's own loop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from vidrase import engine
from vidrase.choice import recall
from vidrase.colour import PixelLayout
from vidrase.errors import OptionError, ShapeError
from vidrase.frames import Frame, HoleFrame
from vidrase.options import Choices, Options, options_from
from vidrase.passes import complete, fill_frames, hole_of, one_pass
from vidrase.report import FillStats, Note, Notes, Report
from vidrase.run import Models, Progress, Run
from vidrase.sink import default_output
from vidrase.source import open_source

RGB8 = PixelLayout("rgb24", "rgb", 8, full_range=True)


def erase(
    source: str | Path,
    output: str | Path | None = None,
    *,
    preview: str | Path | None = None,
    save_masks: str | Path | None = None,
    save_selection: str | Path | None = None,
    progress: Progress | None = None,
    say: Note | None = None,
    **choices: Unpack[Choices],
) -> Report:
    """Remove objects from one picture or video file and write the result, as `vidrase FILE …` does.

    source:   file, folder or glob of frames, or URL.
    output:   None: `<stem>_erased<ext>` beside the source.
    preview:  also write a contact sheet (before / mask / after) there.
    save_selection: also write the selection there, for `selection=` of a later call.
    progress: called as (pass, frames done, frames in all or None).
    say:      called once for each fallback.
    choices:  options by name, e.g. remove="person", mask="hole.png", lossless=True, overwrite=True.
    Raises a VidraseError (see `vidrase.errors`); then no output is left behind.

    >>> vidrase.erase("clip.mp4", remove="person").share_copied  # doctest: +SKIP
    0.97
    """
    options = options_from(choices)
    to = Path(output) if output is not None else default_output(str(source), say)
    by_products = engine.ByProducts(
        sheet=Path(preview) if preview is not None else None,
        masks=Path(save_masks) if save_masks is not None else None,
        selection=Path(save_selection) if save_selection is not None else None,
        progress=progress,
    )
    return engine.erase(source, to, options, by_products=by_products, say=say)


class Eraser:
    """Removes objects from frames. The models are loaded once, at the first use."""

    def __init__(self, *, say: Note | None = None, **choices: Unpack[Choices]) -> None:
        """Options by name, as for `erase`; the ones about writing files have no effect here."""
        self.options: Options
        self.options, self._saved = recall(options_from(choices))
        self.notes = Notes(say)
        self.stats = FillStats()
        """Pixels copied and invented so far."""
        self._models: Models | None = None

    @property
    def models(self) -> Models:
        """Detector, flow and inpainter in use."""
        if self._models is None:
            self._models = Models.load(self.options, self.notes)
        return self._models

    def stream(self, source: str | Path | Iterable[Frame | NDArray[np.uint8]]) -> Iterator[Frame]:
        """The frames of `source` with the objects removed, one for each, in order; a frame without a hole is the same object.

        source: a file, folder or URL (two passes: the background is known before the first frame comes out), or any
                iterable of `Frame`s or RGB uint8 [H, W, 3] arrays (one pass, reading a bounded number of frames ahead).
        """
        if not self.options.select.detects and not self.options.select.mask:
            raise OptionError("nothing to remove was named; give Eraser(remove=...) or Eraser(mask=...)")
        if isinstance(source, str | Path):
            return self._two_passes(source)
        return one_pass(_as_frames(source), self._run())

    def _two_passes(self, where: str | Path) -> Iterator[Frame]:
        with ExitStack() as stack:
            source = stack.enter_context(
                open_source(
                    where,
                    note=self.notes,
                    strict=self.options.source.strict,
                    wait=self.options.source.wait,
                    references=self.options.source.allow_references,
                )
            )
            yield from stack.enter_context(closing(engine.erase_source(source, self._run())))

    def _run(self) -> Run:
        return Run(self.options, self.models, self.notes, self.stats, saved=self._saved)

    def image(self, rgb: NDArray[np.uint8], mask: NDArray[np.bool_] | None = None) -> NDArray[np.uint8]:
        """A still with the objects removed: uint8 [H, W, 3] RGB, bit for bit equal outside the hole.

        mask: bool [H, W], True = remove (dilated as `dilate` says); None: what `remove` finds in the picture.
        Raises ShapeError when the two do not fit.
        """
        frame = next(_as_frames([rgb]))
        if mask is not None and mask.shape != rgb.shape[:2]:
            raise ShapeError(f"expected mask bool {rgb.shape[:2]} like the picture, got {mask.dtype} {mask.shape}")
        if mask is None:
            results = one_pass([frame], self._run())
        else:
            found = hole_of(frame, mask.astype(bool), self.options)
            run = self._run()  # the mask is taken exactly, whatever else `remove` would find
            fill = replace(run.options.fill, shadows=bool(run.options.fill.shadows))
            run = replace(run, options=replace(run.options, fill=fill))
            results = fill_frames(complete([HoleFrame(frame, found)], run, None), run, None)
        with closing(results):
            result = next(results)
        return np.stack(result.planes, axis=2)


def _as_frames(pictures: Iterable[Frame | NDArray[np.uint8]]) -> Iterator[Frame]:
    for index, picture in enumerate(pictures):
        if isinstance(picture, Frame):
            yield picture
            continue
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise ShapeError(f"expected RGB uint8 [H, W, 3], got {picture.dtype} {picture.shape}")
        planes = tuple(np.ascontiguousarray(picture[..., channel]) for channel in range(3))
        yield Frame(planes, RGB8, index, index, Fraction(1, 25), 1)
