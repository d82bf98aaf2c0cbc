"""What was chosen in a clip, as a file: JSON that a later run takes up again, on this clip or on one that is much like it.

Ids are given by detector and tracker; with other settings, or another cut of the clip, the same thing has another id. So each
thing is kept with where it was at a few moments, and found again by class and overlap of boxes.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vidrase import part
from vidrase.errors import OptionError
from vidrase.frames import Instances, SourceInfo
from vidrase.heal import iou
from vidrase.options import Click, Rectangle, SelectOptions
from vidrase.part import Part
from vidrase.summary import TrackSummary

FORMAT = "vidrase-selection"
VERSION = 1
MOST_BYTES = 64 << 20  # a selection of a thousand things has a few hundred kilobytes
PLACES = 7  # moments at which a thing's box is kept
SAME = 0.4  # IoU from which two boxes of one moment and class are the same thing
MOST_LATE = 0.5  # seconds that the frame nearest to a remembered moment may be away


class Found(Protocol):
    """What the first pass left: instances by frame index."""

    def get(self, index: int) -> Instances:
        """Those of frame `index`."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where a thing was: seconds from the first frame, box x0 y0 x1 y1 px of the displayed picture."""

    seconds: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Thing:
    """One track as it was chosen."""

    id: int
    label: str
    goes: bool
    """False: it was named to be kept."""
    first_seconds: float
    last_seconds: float
    best: Place
    """Where it is seen best."""
    places: tuple[Place, ...]
    """A few moments of its life, in order."""
    reading: str = ""
    """How it was reached, one sentence."""


@dataclass(frozen=True, slots=True)
class Clip:
    """What tells one clip from another, as displayed: px, frames, seconds from the first frame to the last."""

    name: str
    width: int
    height: int
    frames: int
    seconds: float

    @classmethod
    def of(cls, info: SourceInfo, seconds: Sequence[float]) -> Clip:
        """Of a source and the times of all its frames."""
        height, width = info.displayed_size
        last = seconds[-1] - seconds[0] if len(seconds) else 0.0
        return cls(Path(info.url).name or info.url, width, height, len(seconds), round(last, 3))

    def like(self, other: Clip) -> bool:
        """Whether it is the same clip; a file may be renamed."""
        same = (self.width, self.height, self.frames) == (other.width, other.height, other.frames)
        return same and abs(self.seconds - other.seconds) < 0.02


@dataclass(frozen=True, slots=True)
class Detection:
    """What ids depend on, besides the clip."""

    model: str
    tracker: str
    imgsz: int
    conf: float
    detect_every: int | None
    times: tuple[tuple[float, float], ...] = ()
    """The spans that were searched; empty: the whole clip."""

    def differences(self, other: Detection) -> list[str]:
        """What is not the same, each as "imgsz 640 -> 320"."""
        names = ("model", "tracker", "imgsz", "conf", "detect_every")
        pairs = [(name, getattr(self, name), getattr(other, name)) for name in names]
        words = [f"{name.replace('_', '-')} {_short(a)} -> {_short(b)}" for name, a, b in pairs if a != b]
        return words + (["time"] if self.times != other.times else [])


@dataclass(frozen=True, slots=True)
class SavedSelection:
    """The content of a selection file."""

    clip: Clip
    detection: Detection
    asked: SelectOptions
    """As the user said it; for reading, except times and region, which hold again."""
    things: tuple[Thing, ...] = field(default=())

    def completed(self, options: SelectOptions) -> SelectOptions:
        """`options` with the times and the region of this selection where it names none itself."""
        return replace(options, times=options.times or self.asked.times, region=options.region or self.asked.region)

    def save(self, to: Path | Part) -> None:
        """Write it; it appears under its name only when complete. Raises SinkError."""
        asked = self.asked
        content = {
            "format": FORMAT,
            "version": VERSION,
            "clip": asdict(self.clip),
            "detection": {**asdict(self.detection), "times": _spans(self.detection.times)},
            "asked": {
                "remove": list(asked.remove),
                "keep": list(asked.keep),
                "at": [[click.x, click.y, click.seconds] for click in asked.at],
                "box": [[box.x0, box.y0, box.x1, box.y1, box.seconds] for box in asked.box],
                "region": [asked.region.x0, asked.region.y0, asked.region.x1, asked.region.y1]
                if asked.region
                else None,
                "times": _spans(asked.times),
            },
            "things": [asdict(thing) for thing in self.things],
        }
        part.save(to, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def record(
    clip: Clip,
    detection: Detection,
    asked: SelectOptions,
    ids: frozenset[int],
    readings: Mapping[int, str],
    tracks: Sequence[TrackSummary],
    found: Found,
    seconds: Sequence[float],
) -> SavedSelection:
    """The selection of this run. ids: what goes; readings: id -> sentence, also of what is kept on request."""
    chosen = [track for track in tracks if track.id in ids or track.id in readings]
    return SavedSelection(
        clip,
        detection,
        asked,
        tuple(_thing(track, track.id in ids, readings.get(track.id, ""), found, seconds) for track in chosen),
    )


def _thing(track: TrackSummary, goes: bool, reading: str, found: Found, seconds: Sequence[float]) -> Thing:
    start, places = seconds[0], []
    spots = np.linspace(track.first_index, track.last_index, PLACES).round().astype(int)
    for index in np.unique([*spots, track.best_index]).tolist():
        there = found.get(index)
        where = np.flatnonzero(there.ids == track.id)
        if len(where):
            places.append(Place(round(seconds[index] - start, 4), _rounded(there.boxes[int(where[0])].tolist())))
    best = Place(round(seconds[track.best_index] - start, 4), _rounded(track.best_box))
    first, last = round(track.first_seconds - start, 4), round(track.last_seconds - start, 4)
    return Thing(track.id, track.label, goes, first, last, best, tuple(places) or (best,), reading)


def recall(
    saved: SavedSelection,
    clip: Clip,
    detection: Detection,
    tracks: Sequence[TrackSummary],
    found: Found,
    seconds: Sequence[float],
    say: Callable[[str], None],
) -> tuple[list[int], list[int]]:
    """(ids that go, ids that are kept) in this clip, of what was saved; what cannot be found again goes to `say`, in one line."""
    same_clip, other = saved.clip.like(clip), saved.detection.differences(detection)
    if not same_clip or other:
        why = [] if same_clip else [f"{saved.clip.name} ({_size(saved.clip)}), now {clip.name} ({_size(clip)})"]
        why += [f"other detection ({', '.join(other)})"] if other else []
        say(f"the selection was made with {' and '.join(why)}: its things are found again by class and place")
    goes: list[int] = []
    stays: list[int] = []
    missing: list[Thing] = []
    known = {track.id: track.label for track in tracks}
    scale = (clip.width / saved.clip.width, clip.height / saved.clip.height)
    for thing in saved.things:
        ids = _again(thing, known, found, seconds, scale, trusting=same_clip and not other)
        (goes if thing.goes else stays).extend(ids)
        if not ids:
            missing.append(thing)
    if missing:
        listed = ", ".join(f"id:{t.id} ({t.label}, {t.first_seconds:.2f}-{t.last_seconds:.2f} s)" for t in missing[:8])
        more = f" and {len(missing) - 8} more" if len(missing) > 8 else ""
        say(f"of the selection, nothing in this clip is like {listed}{more}; pick anew with --list or `vidrase pick`")
    return list(dict.fromkeys(goes)), list(dict.fromkeys(stays))


def _again(
    thing: Thing,
    known: Mapping[int, str],
    found: Found,
    seconds: Sequence[float],
    scale: tuple[float, float],
    *,
    trusting: bool,
) -> list[int]:
    """Ids of the tracks that are where `thing` was: more than one when it broke into pieces this time."""
    votes: Counter[int] = Counter()
    times = np.asarray(seconds) - seconds[0]
    cast = 0
    for place in thing.places:
        index = int(np.argmin(np.abs(times - place.seconds)))
        if abs(times[index] - place.seconds) > MOST_LATE:
            continue
        cast += 1
        there, wanted = found.get(index), np.array(place.box, np.float32) * np.array([*scale, *scale], np.float32)
        overlaps = [
            (iou(wanted, there.boxes[k]), int(there.ids[k]) == thing.id, int(there.ids[k]))
            for k in range(len(there))
            if known.get(int(there.ids[k])) == thing.label
        ]
        if overlaps and max(overlaps)[0] >= SAME:
            votes[max(overlaps)[2]] += 1
    if trusting and 2 * votes[thing.id] >= cast > 0:
        return [thing.id]  # nothing has changed: the number is the thing
    # one crossing with somebody else must not take that one along
    return sorted(number for number, count in votes.items() if count >= max(cast / 4, 1))


def load(path: Path) -> SavedSelection:
    """Read a selection file. Raises OptionError, one line, for anything that is none or that makes no sense."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise OptionError(f"{path} is too large for a selection file ({path.stat().st_size >> 20} MiB)")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(f"cannot read the selection {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, OptionError):
            raise
        raise OptionError(f"{path} is no selection file: not valid JSON ({str(error).splitlines()[0]})") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise OptionError(f'{path} is no selection file: expected "format": "{FORMAT}" (--save-selection writes one)')
    if content.get("version") != VERSION:
        raise OptionError(
            f"{path} is a selection file of version {content.get('version')!r}; this vidrase reads {VERSION}"
        )
    try:
        return _read(content)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        what = f"'{error.args[0]}' is missing" if isinstance(error, KeyError) and error.args else str(error)
        raise OptionError(f"the selection file {path} is damaged: {' '.join(what.split())[:200]}") from error


def _read(content: dict[str, Any]) -> SavedSelection:
    clip, detection, asked = content["clip"], content["detection"], content["asked"]
    region = _numbers(asked["region"], 4) if asked["region"] is not None else None
    return SavedSelection(
        Clip(
            str(clip["name"]),
            _count(clip["width"], least=1),
            _count(clip["height"], least=1),
            _count(clip["frames"]),
            _number(clip["seconds"]),
        ),
        Detection(
            str(detection["model"]),
            str(detection["tracker"]),
            _count(detection["imgsz"]),
            _number(detection["conf"]),
            None if detection["detect_every"] is None else _count(detection["detect_every"]),
            _read_spans(detection["times"]),
        ),
        SelectOptions(
            remove=tuple(str(word) for word in _list(asked["remove"])),
            keep=tuple(str(word) for word in _list(asked["keep"])),
            at=tuple(Click(*_numbers(click, 3)) for click in _list(asked["at"])),
            box=tuple(Rectangle(*_numbers(box, 5)) for box in _list(asked["box"])),
            region=Rectangle(*region) if region else None,
            times=_read_spans(asked["times"]),
        ),
        tuple(_read_thing(thing) for thing in _list(content["things"])),
    )


def _read_thing(thing: dict[str, Any]) -> Thing:
    places = tuple(_read_place(place) for place in _list(thing["places"]))
    if not places:
        raise ValueError(f"no place is known of thing {thing['id']}")
    if not isinstance(thing["goes"], bool):
        raise ValueError(f"expected true or false for 'goes', got {thing['goes']!r}")
    return Thing(
        _count(thing["id"], least=1),
        str(thing["label"]),
        thing["goes"],
        _number(thing["first_seconds"]),
        _number(thing["last_seconds"]),
        _read_place(thing["best"]),
        places,
        str(thing["reading"]),
    )


def _read_place(place: dict[str, Any]) -> Place:
    return Place(_number(place["seconds"]), _rounded(_numbers(place["box"], 4)))


def _read_spans(spans: Any) -> tuple[tuple[float, float], ...]:
    read = []
    for span in _list(spans):
        start, stop = _list(span)
        read.append((_number(start), math.inf if stop is None else _number(stop)))
    return tuple(read)


def _spans(spans: Sequence[tuple[float, float]]) -> list[list[float | None]]:
    return [[start, None if math.isinf(stop) else stop] for start, stop in spans]


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"expected a list, got {str(value)[:40]!r}")
    return value


def _numbers(value: Any, count: int) -> list[float]:
    numbers = [_number(part) for part in _list(value)]
    if len(numbers) != count:
        raise ValueError(f"expected {count} numbers, got {len(numbers)}")
    return numbers


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"expected a number, got {str(value)[:40]!r}")
    return float(value)


def _count(value: Any, *, least: int = 0) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 1 << 53:
        raise ValueError(f"expected a whole number from {least}, got {str(value)[:40]!r}")
    return value


def _rounded(box: Sequence[float]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (round(float(value), 1) for value in box)
    return x0, y0, x1, y1


def _short(value: object) -> str:
    return "auto" if value is None else str(value).partition(" · ")[0]


def _size(clip: Clip) -> str:
    return f"{clip.width}x{clip.height}, {clip.frames} frames, {clip.seconds:g} s"
