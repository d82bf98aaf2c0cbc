"""One clip, looked at once, and choices about it that are tried, taken back, added to, run and run again.

`vidrase pick` is a terminal round this; another surface (a page, a window) calls the same functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from vidrase import engine, paths, picks, sheet
from vidrase.byproducts import inputs
from vidrase.closable import Closable
from vidrase.errors import OptionError
from vidrase.frames import SourceInfo
from vidrase.kept import limited
from vidrase.options import Options, SelectOptions
from vidrase.passes import choose, hole_of, recall, recorded
from vidrase.report import Note, Notes, Report
from vidrase.run import Models, Progress, Run, Seen
from vidrase.select import Selection, joined
from vidrase.sink import default_output
from vidrase.source import PICTURES, open_random, open_source
from vidrase.store import InstanceStore
from vidrase.summary import TrackSummary
from vidrase.written import box_of, click_of

SCENES = 6  # whole frames on the overview
FLASH = 0.05  # a frame that shows only things seen this much shorter than the longest is not worth a scene
WELL_SEEN = 0.6  # of its usual area, for a thing to count as shown by a scene
CROPS = 60  # things on it; the rest flashed by
MOMENTS = 4  # of the chosen, on the sheet that shows it


@dataclass(frozen=True, slots=True)
class Pick:
    """One thing that the user said, understood."""

    text: str
    asked: SelectOptions
    """As it was said, clicks as clicks and phrases as phrases."""
    remove: tuple[str, ...] = ()
    """The same as classes, `all` and `id:N`."""
    keep: tuple[str, ...] = ()
    readings: dict[int, str] = field(default_factory=dict)
    """Track -> how the words led to it."""


class Session(Closable):
    """A clip that stays open with what was found in it. A context manager; used by one thread at a time."""

    def __init__(
        self,
        where: str | Path,
        options: Options,
        *,
        models: Models | None = None,
        progress: Progress | None = None,
        say: Note | None = None,
    ) -> None:
        """Open the clip and look at it once: this takes as long as the first half of a run.

        options: how to detect, fill and write; what `options.select` names is the first pick.
        say:     called for each reading of words and each thing done in another way than expected.
        Raises a VidraseError; then nothing is left behind.
        """
        self._options, self._saved = recall(options)
        self._progress, self._say = progress, say
        self._notes = Notes(say)  # what is worth knowing is said once, however often it is chosen anew
        self._picks: list[Pick] = []
        self._results: set[Path] = set()
        with ExitStack() as stack:
            self._source = stack.enter_context(open_source(where))
            self._models = models or Models.load(options, self._note, segmenter=True)
            self._random = stack.enter_context(open_random(self._source.info))
            run = Run(self._options, self._models, self._notes, progress=progress)
            self._seen: Seen = engine.first_pass(self._source, run, stack)
            self.things: list[TrackSummary] = self._store.tracks()
            """What was found, by id."""
            self._selection = self._choose([])
            first = self._options.select
            if first.remove or first.at or first.box or first.keep:
                self.add(replace(first, selection=None, region=None, times=(), mask=()), "as given")
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Close the clip and delete what was stored about it."""
        self._stack.close()

    @property
    def info(self) -> SourceInfo:
        """The clip."""
        return self._source.info

    @property
    def picks(self) -> tuple[Pick, ...]:
        """What counts so far, in the order in which it was said."""
        return tuple(self._picks)

    @property
    def selection(self) -> Selection:
        """What goes, by these picks."""
        return self._selection

    @property
    def chosen(self) -> list[TrackSummary]:
        """The things that go."""
        return [thing for thing in self.things if thing.id in (self._selection.ids or ())]

    def pick(self, text: str) -> Pick:
        """Add what `text` says: "3", "1 4", "id:3", "person", "person on the left", "320,200@1.5", four numbers for a box;
        with "keep" before it, it stays.

        Raises OptionError, one line, for what means nothing here; the choice is then as before.
        """
        keep, asked = read(text, {thing.id for thing in self.things})
        return self.add(asked, text.strip(), keep=keep)

    def add(self, asked: SelectOptions, text: str, *, keep: bool = False) -> Pick:
        """Add words, clicks and boxes; keep: they name what stays. Raises OptionError; the choice is then as before."""
        readings: dict[int, str] = {}
        expanded = picks.expand(asked, self.things, self._store, self._seen.seconds, self._names, self._note, readings)
        if keep:
            pick = Pick(text, replace(asked, remove=(), keep=asked.remove), (), expanded.remove, readings)
        else:
            pick = Pick(text, asked, expanded.remove, expanded.keep, readings)
        self._selection = self._choose([*self._picks, pick])
        self._picks.append(pick)
        return pick

    def discard(self) -> Pick:
        """Take the last pick back. Raises OptionError when there is none."""
        if not self._picks:
            raise OptionError("there is no pick to take back")
        self._selection = self._choose(self._picks[:-1])
        return self._picks.pop()

    def clear(self) -> None:
        """Take all picks back."""
        self._selection = self._choose([])
        self._picks.clear()

    def overview(self, path: Path) -> None:
        """A picture of what is there: frames with every thing outlined and numbered, and each thing alone. PNG or JPEG.

        Raises SinkError.
        """
        scenes = [(self._random.frame(index), self._store.get(index)) for index in self._scenes()]
        shown = sorted(self.things, key=lambda thing: -thing.frames)[:CROPS]
        cells = [
            (thing.thumbnail, f"{thing.id} {thing.label}\n{thing.first_seconds:.2f}-{thing.last_seconds:.2f} s")
            for thing in sorted(shown, key=lambda thing: thing.id)
            if thing.thumbnail is not None
        ]
        sheet.overview(scenes, cells, path)

    def show(self, path: Path) -> bool:
        """A picture of what goes: a few moments before and with the hole marked. Nothing is filled for it.

        Returns False, and writes nothing, when nothing goes. Raises SinkError.
        """
        if not self.chosen:
            return False
        options, made = self._options, sheet.Sheet()
        moments = engine.moments_of(self._seen.seconds, MOMENTS, options.select.times, self._store, self._selection)
        for index in sorted(moments):
            frame, found = self._random.frame(index), self._store.get(index)
            going = [found.mask(int(k)) for k in np.flatnonzero(self._selection.chosen(found))]
            hole = hole_of(frame, np.logical_or.reduce(going), options) if going else None
            made.add(frame, limited(hole, frame, options.select.region))
        made.save(path)
        return True

    def erase(self, to: Path | None = None, *, again: bool = False) -> Report:
        """Write the clip without the chosen things; the clip is not looked at again.

        to:    None: the default name.
        again: what an earlier run of this session wrote there may be replaced.
        Raises OptionError when nothing is chosen or `to` exists, and other VidraseErrors; then no output is left behind.
        """
        if not self.chosen:
            raise OptionError("nothing is chosen yet; pick something first")
        to = to or default_output(self.info.url, self._note)
        if to.resolve() in self._results and not (again or self._options.sink.overwrite):
            raise OptionError(f"{to} is what the last run wrote; `run again` replaces it, `run NAME` writes another")
        sink = self._options.sink
        replaces = sink.overwrite or (again and to.resolve() in self._results)
        options = replace(self._with(self._picks), sink=replace(sink, overwrite=replaces))
        wishes = engine.Wishes(progress=self._progress)
        notes = Notes(self._notes)
        report = engine.erase_opened(
            self._source, to, options, notes, models=self._models, wishes=wishes, saved=self._saved, seen=self._seen
        )
        self._results.add(to.resolve())
        return report

    def save(self, path: Path, *, overwrite: bool = False) -> None:
        """Keep the choice for `--selection`. Raises OptionError when the file exists, SinkError."""
        if not self.chosen:
            raise OptionError("nothing is chosen yet; pick something first")
        saved = recorded(self._run(self._picks), self.info, self._seen, self._selection)
        said = [self._saved.asked] if self._saved is not None else []
        said += [pick.asked for pick in self._picks]
        asked = replace(
            saved.asked,
            remove=tuple(dict.fromkeys(word for part in said for word in part.remove)),
            keep=tuple(dict.fromkeys(word for part in said for word in part.keep)),
            at=tuple(dict.fromkeys(click for part in said for click in part.at)),
            box=tuple(dict.fromkeys(box for part in said for box in part.box)),
        )
        mine = path.resolve() in self._results
        name = paths.Named("the selection", path)
        paths.compare(inputs(self.info, self._options, saved=path), [name], pictures=PICTURES)
        paths.refuse_existing(name.called, path, overwrite=overwrite or mine or self._options.sink.overwrite)
        replace(saved, asked=asked).save(path)
        self._results.add(path.resolve())

    @property
    def _store(self) -> InstanceStore:
        assert self._seen.store is not None
        return self._seen.store

    @property
    def _names(self) -> dict[int, str]:
        assert self._models.segmenter is not None
        return self._models.segmenter.names

    def _note(self, text: str) -> None:
        if self._say is not None:
            self._say(text)

    def _with(self, said: Sequence[Pick]) -> Options:
        remove, keep = joined([(pick.remove, pick.keep) for pick in said], self.things, self._names)
        return replace(self._options, select=replace(self._options.select, remove=remove, keep=keep, at=(), box=()))

    def _run(self, said: Sequence[Pick], notes: Notes | None = None) -> Run:
        readings: dict[int, str] = {}
        for pick in said:
            readings |= pick.readings
        return Run(self._with(said), self._models, notes or Notes(), saved=self._saved, readings=readings)

    def _choose(self, said: Sequence[Pick]) -> Selection:
        return choose(self._run(said, self._notes), self.info, self._store, self._seen.seconds)

    def _scenes(self) -> list[int]:
        """Frames that, together, show as much as possible of what is seen long; what only flashes by has its crop."""
        there = {index: self._well_seen(index) for index in {thing.best_index for thing in self.things}}
        missing = {thing.id: thing.frames for thing in self.things}
        least = FLASH * max(missing.values(), default=0)
        scenes: list[int] = []
        while missing and len(scenes) < SCENES:
            gain, index = max((sum(missing.get(n, 0) for n in ids), -index) for index, ids in there.items())
            if gain <= least:
                break
            scenes.append(-index)
            missing = {number: frames for number, frames in missing.items() if number not in there[-index]}
        return sorted(scenes)

    def _well_seen(self, index: int) -> set[int]:
        """Ids of what shows a good part of itself in frame `index`: not just a foot at the border."""
        found, usual = self._store.get(index), {thing.id: thing.area_share for thing in self.things}
        whole = found.size[0] * found.size[1]
        shares = {int(found.ids[k]): float(np.count_nonzero(found.masks[k])) / whole for k in range(len(found))}
        return {number for number, share in shares.items() if share >= WELL_SEEN * usual.get(number, 0.0)}


def read(text: str, ids: Iterable[int]) -> tuple[bool, SelectOptions]:
    """(kept?, what is asked for) of a line such as "keep 3", "1 4", "person", "320,200@1.5", "10,20,90,120".

    ids: of the things there are; numbers that all are ids are those, not a place in the picture.
    Raises OptionError for a line that says nothing.
    """
    words, known = " ".join(text.split()), set(ids)
    keep = False
    while found := re.match(r"(keep|remove|add)\s+(?=\S)", words, re.IGNORECASE):
        keep = keep or found[1].lower() == "keep"
        words = words[found.end() :]
    if not words.strip(" ,"):
        raise OptionError("say what is meant: a number, a class, a phrase or a place x,y")
    how, _, rest = words.partition(" ")
    if how.lower() == "at" and rest:
        return keep, SelectOptions(at=(click_of(rest.replace(" ", ""), "at"),))
    if how.lower() == "box" and rest:
        return keep, SelectOptions(box=(box_of("box", rest.replace(" ", "")),))
    numbers = re.split(r"[\s,]+", words.strip(" ,"))
    if all(number.isdecimal() for number in numbers):
        commas = words.count(",")
        if commas not in (1, 3) or len(numbers) != commas + 1 or {int(number) for number in numbers} <= known:
            return keep, SelectOptions(remove=tuple(f"id:{int(number)}" for number in numbers))
    place = words.replace(" ", "")
    if re.fullmatch(r"[-+.\d]+(,[-+.\d]+)*(@.*)?", place) and ("," in place or "@" in place):
        if place.partition("@")[0].count(",") == 3:
            return keep, SelectOptions(box=(box_of("a box", place),))
        return keep, SelectOptions(at=(click_of(place, "a place"),))
    return keep, SelectOptions(remove=tuple(part.strip() for part in words.split(",") if part.strip()))
