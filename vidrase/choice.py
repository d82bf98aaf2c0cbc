"""Which tracks are removed: the request and a saved selection, resolved against the tracks of the first pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vidrase import prompts, selectionfile
from vidrase.frames import SourceInfo
from vidrase.options import Options
from vidrase.run import FirstPass, Run
from vidrase.select import Selection, combine_choices, explain, select
from vidrase.selectionfile import Clip, Detection, SavedSelection
from vidrase.store import InstanceStore


def recall(options: Options) -> tuple[Options, SavedSelection | None]:
    """(`options` with the times and region of its selection file, that file's content). Raises OptionError for another file."""
    if options.select.selection is None:
        return options, None
    saved = selectionfile.load(options.select.selection)
    return replace(options, select=saved.completed(options.select)), saved


def choose(run: Run, info: SourceInfo, store: InstanceStore, seconds: Sequence[float]) -> Selection:
    """The tracks to remove, once all are known; `seconds`: the time of every frame."""
    assert run.models.segmenter is not None
    names, tracks = run.models.segmenter.names, store.tracks()
    explanations = dict(run.explanations)
    asked = prompts.resolve_prompts(
        run.options.select, tracks, store, seconds, names, run.notes, explanations, run.followed
    )
    if run.saved is not None:
        clip, detection = Clip.of(info, seconds), _detection(run)
        removed_tracks, protected_tracks = selectionfile.find_saved_tracks(
            run.saved, clip, detection, tracks, store, seconds, run.notes
        )
        before = [f"id:{number}" for number in removed_tracks], [f"id:{number}" for number in protected_tracks]
        remove, keep = combine_choices([before, (asked.remove, asked.keep)], tracks, names)
        asked = replace(asked, remove=remove, keep=keep)
        explanations = (
            dict.fromkeys((*removed_tracks, *protected_tracks), f"taken up from {run.options.select.selection}")
            | explanations
        )
    selection = select(asked, tracks, names)
    for text in selection.notes:
        run.notes(text)
    selection.explanations = explain(selection, tracks, explanations)
    return selection


def recorded(run: Run, info: SourceInfo, first_pass: FirstPass, selection: Selection) -> SavedSelection:
    """The selection of this run in the form that `--selection` loads."""
    assert first_pass.store is not None
    asked, clip = run.options.select, Clip.of(info, first_pass.seconds)
    if run.saved is not None:
        before = run.saved.request
        asked = replace(
            asked,
            remove=tuple(dict.fromkeys((*before.remove, *asked.remove))),
            keep=tuple(dict.fromkeys((*before.keep, *asked.keep))),
            at=tuple(dict.fromkeys((*before.at, *asked.at))),
            box=tuple(dict.fromkeys((*before.box, *asked.box))),
        )
    tracks, ids = first_pass.store.tracks(), selection.ids or frozenset()
    return selectionfile.make_selection(
        clip, _detection(run), asked, ids, selection.explanations, tracks, first_pass.store, first_pass.seconds
    )


def _detection(run: Run) -> Detection:
    segmenter, models = run.models.segmenter, run.options.models
    assert segmenter is not None
    conf = round(float(segmenter.recommended_conf), 4)
    times = run.options.select.times
    model = segmenter.description.rpartition(" · ")[0] or segmenter.description  # without the device it runs on
    return Detection(model, models.tracker, models.imgsz, conf, models.detect_every, times)
