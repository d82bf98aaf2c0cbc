"""An interactive session on one clip: one detection pass, then any number of picks and runs.

`vidrase pick` is its terminal front end; another front end (a web page, a window) can call the same functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from vidrase import engine, paths, prompts, sheet
from vidrase.byproducts import inputs
from vidrase.choice import choose, recall, recorded
from vidrase.closable import Closable
from vidrase.errors import OptionError
from vidrase.frames import SourceInfo
from vidrase.options import Options, SelectOptions
from vidrase.passes import hole_of
from vidrase.protected import limited_to_region
from vidrase.report import Note, Notes, Report
from vidrase.run import FirstPass, Models, Progress, Run
from vidrase.select import Selection, combine_choices
from vidrase.sink import default_output
from vidrase.source import PICTURES, open_random, open_source
from vidrase.starred import starred
from vidrase.store import InstanceStore
from vidrase.summary import TrackSummary
from vidrase.written import box_of, click_of

OVERVIEW_FRAMES = 6  # frames in the overview image
# tracked frames that a further overview frame adds / frames of the longest track; below it the frame is not added
MIN_NEW_SHARE = 0.05
# mask area / the track's mean mask area; below it a track does not count as visible in an overview frame
MIN_VISIBLE_SHARE = 0.6
OVERVIEW_CROPS = 60  # track crops in the overview, longest tracks first
PREVIEW_FRAMES = 4  # frames with chosen tracks in the preview image


@dataclass(frozen=True, slots=True)
class Pick:
    """One parsed line of the user."""

    text: str
    request: SelectOptions
    """What was asked, with clicks and phrases unresolved."""
    remove: tuple[str, ...] = ()
    """The same, resolved to classes, `all` and `id:N`."""
    keep: tuple[str, ...] = ()
    explanations: dict[int, str] = field(default_factory=dict)
    """Track id -> the prompt that selected it, one sentence."""


class Session(Closable):
    """An open clip with its detected tracks. A context manager; not thread-safe."""

    def __init__(
        self,
        where: str | Path,
        options: Options,
        *,
        models: Models | None = None,
        progress: Progress | None = None,
        say: Note | None = None,
    ) -> None:
        """Open the clip and run the detection pass, which takes as long as the first half of a run.

        options: how to detect, fill and write; `options.select` is the first pick.
        say:     called with a sentence for each resolved prompt and each fallback.
        Raises a VidraseError and cleans up.
        """
        self._options, self._saved = recall(options)
        self._progress, self._say = progress, say
        self._notes = Notes(say)  # each message is given once, however often the selection is evaluated
        self._picks: list[Pick] = []
        self._results: set[Path] = set()
        with ExitStack() as stack:
            self._source = stack.enter_context(
                open_source(
                    where,
                    strict=options.source.strict,
                    wait=options.source.wait,
                    references=options.source.allow_references,
                )
            )
            self._models = models or Models.load(options, self._note, segmenter=True)
            self._random = stack.enter_context(open_random(self._source.info))
            run = Run(self._options, self._models, self._notes, progress=progress)
            self._first_pass: FirstPass = engine.first_pass(self._source, run, stack)
            self.tracks: list[TrackSummary] = self._store.tracks()
            """All tracks, by id."""
            self._selection = self._choose([])
            initial = self._options.select
            if initial.remove or initial.at or initial.box or initial.keep:
                self.add(replace(initial, selection=None, region=None, times=(), mask=()), "as given")
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Close the clip and delete the stored instances."""
        self._stack.close()

    @property
    def info(self) -> SourceInfo:
        """Properties of the clip."""
        return self._source.info

    @property
    def picks(self) -> tuple[Pick, ...]:
        """Current picks, in order."""
        return tuple(self._picks)

    @property
    def selection(self) -> Selection:
        """The selection that the picks give."""
        return self._selection

    @property
    def chosen(self) -> list[TrackSummary]:
        """The tracks to remove."""
        return [track for track in self.tracks if track.id in (self._selection.ids or ())]

    def pick(self, text: str) -> Pick:
        """Add a pick from text: "3", "1 4", "id:3", "person", "person on the left", "320,200@1.5", four numbers for a box;
        with "keep" in front it is kept.

        Raises OptionError, one line, for text without meaning here; the picks are then unchanged.
        """
        keep, request = parse_line(text, {track.id for track in self.tracks})
        return self.add(request, text.strip(), keep=keep)

    def add(self, request: SelectOptions, text: str, *, keep: bool = False) -> Pick:
        """Add phrases, clicks and boxes; keep: they are to be kept. Raises OptionError and leaves the picks unchanged."""
        explanations: dict[int, str] = {}
        expanded = prompts.resolve_prompts(
            request, self.tracks, self._store, self._first_pass.seconds, self._names, self._note, explanations
        )
        if keep:
            pick = Pick(text, replace(request, remove=(), keep=request.remove), (), expanded.remove, explanations)
        else:
            pick = Pick(text, request, expanded.remove, expanded.keep, explanations)
        self._selection = self._choose([*self._picks, pick])
        self._picks.append(pick)
        return pick

    def discard(self) -> Pick:
        """Remove and return the last pick. Raises OptionError when there is none."""
        if not self._picks:
            raise OptionError("there is no pick to take back")
        self._selection = self._choose(self._picks[:-1])
        return self._picks.pop()

    def clear(self) -> None:
        """Remove all picks."""
        self._selection = self._choose([])
        self._picks.clear()

    def overview(self, path: Path) -> None:
        """Write an overview image, PNG or JPEG: frames with all tracks outlined and numbered, and a crop of each track.

        Raises SinkError.
        """
        frames_shown = [(self._random.frame(index), self._store.get(index)) for index in self._overview_frames()]
        listed = sorted(self.tracks, key=lambda track: -track.frames)[:OVERVIEW_CROPS]
        cells = [
            (track.thumbnail, f"{track.id} {track.label}\n{track.first_seconds:.2f}-{track.last_seconds:.2f} s")
            for track in sorted(listed, key=lambda track: track.id)
            if track.thumbnail is not None
        ]
        sheet.overview(frames_shown, cells, path)

    def show(self, path: Path) -> bool:
        """Write a preview image: a few frames, original and with the hole marked. Nothing is filled.

        Returns False and writes nothing when nothing is chosen. Raises SinkError.
        """
        if not self.chosen:
            return False
        options, preview = self._options, sheet.Sheet()
        indices = engine.sample_indices(
            self._first_pass.seconds, PREVIEW_FRAMES, options.select.times, self._store, self._selection
        )
        for index in sorted(indices):
            frame, instances = self._random.frame(index), self._store.get(index)
            going = [instances.mask(int(k)) for k in np.flatnonzero(self._selection.chosen(instances))]
            hole = hole_of(frame, np.logical_or.reduce(going), options) if going else None
            preview.add(frame, limited_to_region(hole, frame, options.select.region))
        preview.save(path)
        return True

    def erase(self, to: Path | None = None, *, again: bool = False) -> Report:
        """Write the clip without the chosen tracks, without another detection pass.

        to:    None: the default name.
        again: allow to overwrite the output of an earlier run of this session.
        Raises OptionError when nothing is chosen or `to` exists, and other VidraseErrors; no partial output remains.
        """
        if not self.chosen:
            raise OptionError("nothing is chosen yet; pick something first")
        to = to or default_output(self.info.url, self._note)
        if to.resolve() in self._results and not (again or self._options.sink.overwrite):
            raise OptionError(f"{to} is what the last run wrote; `run again` replaces it, `run NAME` writes another")
        sink = self._options.sink
        replaces = sink.overwrite or (again and to.resolve() in self._results)
        options = replace(self._with(self._picks), sink=replace(sink, overwrite=replaces))
        by_products = engine.ByProducts(progress=self._progress)
        notes = Notes(self._notes)
        report = engine.erase_opened(
            self._source,
            to,
            options,
            notes,
            models=self._models,
            by_products=by_products,
            saved=self._saved,
            known=self._first_pass,
        )
        self._results.add(to.resolve())
        return report

    def save(self, path: Path, *, overwrite: bool = False) -> None:
        """Save the selection for `--selection`. Raises OptionError when the file exists, SinkError."""
        if not self.chosen:
            raise OptionError("nothing is chosen yet; pick something first")
        saved = recorded(self._run(self._picks), self.info, self._first_pass, self._selection)
        requests = [self._saved.request] if self._saved is not None else []
        requests += [pick.request for pick in self._picks]
        request = replace(
            saved.request,
            remove=tuple(dict.fromkeys(word for part in requests for word in part.remove)),
            keep=tuple(dict.fromkeys(word for part in requests for word in part.keep)),
            at=tuple(dict.fromkeys(click for part in requests for click in part.at)),
            box=tuple(dict.fromkeys(box for part in requests for box in part.box)),
        )
        written_before = path.resolve() in self._results
        name = paths.Named("the selection", path)
        paths.compare(inputs(self.info, self._options, saved=path), [name], pictures=PICTURES)
        replaces = overwrite or written_before or self._options.sink.overwrite
        paths.refuse_existing(name.called, path, overwrite=replaces)
        replace(saved, request=request).save(path)
        self._results.add(path.resolve())

    @property
    def _store(self) -> InstanceStore:
        assert self._first_pass.store is not None
        return self._first_pass.store

    @property
    def _names(self) -> dict[int, str]:
        assert self._models.segmenter is not None
        return self._models.segmenter.names

    def _note(self, text: str) -> None:
        if self._say is not None:
            self._say(starred(text))

    def _with(self, picks: Sequence[Pick]) -> Options:
        remove, keep = combine_choices([(pick.remove, pick.keep) for pick in picks], self.tracks, self._names)
        return replace(self._options, select=replace(self._options.select, remove=remove, keep=keep, at=(), box=()))

    def _run(self, picks: Sequence[Pick], notes: Notes | None = None) -> Run:
        explanations: dict[int, str] = {}
        for pick in picks:
            explanations |= pick.explanations
        return Run(self._with(picks), self._models, notes or Notes(), saved=self._saved, explanations=explanations)

    def _choose(self, picks: Sequence[Pick]) -> Selection:
        return choose(self._run(picks, self._notes), self.info, self._store, self._first_pass.seconds)

    def _overview_frames(self) -> list[int]:
        """Choose few frames that together show most of the long tracks; short ones appear as crops only."""
        visible = {index: self._well_visible(index) for index in {track.best_index for track in self.tracks}}
        not_shown = {track.id: track.frames for track in self.tracks}
        least = MIN_NEW_SHARE * max(not_shown.values(), default=0)
        frames_shown: list[int] = []
        while not_shown and len(frames_shown) < OVERVIEW_FRAMES:
            gain, index = max((sum(not_shown.get(n, 0) for n in ids), -index) for index, ids in visible.items())
            if gain <= least:
                break
            frames_shown.append(-index)
            not_shown = {number: frames for number, frames in not_shown.items() if number not in visible[-index]}
        return sorted(frames_shown)

    def _well_visible(self, index: int) -> set[int]:
        """Ids of tracks that are mostly visible in frame `index`, not cut off by the border."""
        instances, usual_area = self._store.get(index), {track.id: track.area_share for track in self.tracks}
        frame_area = instances.size[0] * instances.size[1]
        shares = {
            int(instances.ids[k]): float(np.count_nonzero(instances.masks[k])) / frame_area
            for k in range(len(instances))
        }
        return {number for number, share in shares.items() if share >= MIN_VISIBLE_SHARE * usual_area.get(number, 0.0)}


def parse_line(text: str, ids: Iterable[int]) -> tuple[bool, SelectOptions]:
    """Parse a line such as "keep 3", "1 4", "person", "320,200@1.5", "10,20,90,120" into (whether to keep, request).

    ids: existing track ids; numbers that are all ids are read as ids, not as coordinates.
    Raises OptionError for an empty line.
    """
    words, known = " ".join(text.split()), set(ids)
    keep = False
    while verb := re.match(r"(keep|remove|add)\s+(?=\S)", words, re.IGNORECASE):
        keep = keep or verb[1].lower() == "keep"
        words = words[verb.end() :]
    if not words.strip(" ,"):
        raise OptionError("say what is meant: a number, a class, a phrase or a place x,y")
    command, _, rest = words.partition(" ")
    if command.lower() == "at" and rest:
        return keep, SelectOptions(at=(click_of(rest.replace(" ", ""), "at"),))
    if command.lower() == "box" and rest:
        return keep, SelectOptions(box=(box_of("box", rest.replace(" ", "")),))
    numbers = re.split(r"[\s,]+", words.strip(" ,"))
    if all(number.isdecimal() for number in numbers):
        commas = words.count(",")
        if commas not in (1, 3) or len(numbers) != commas + 1 or {int(number) for number in numbers} <= known:
            return keep, SelectOptions(remove=tuple(f"id:{int(number)}" for number in numbers))
    coordinates = words.replace(" ", "")
    if re.fullmatch(r"[-+.\d]+(,[-+.\d]+)*(@.*)?", coordinates) and ("," in coordinates or "@" in coordinates):
        if coordinates.partition("@")[0].count(",") == 3:
            return keep, SelectOptions(box=(box_of("a box", coordinates),))
        return keep, SelectOptions(at=(click_of(coordinates, "a place"),))
    return keep, SelectOptions(remove=tuple(part.strip() for part in words.split(",") if part.strip()))
