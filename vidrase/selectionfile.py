"""Save a selection as JSON and apply it in a later run, to the same clip or to another version of it.

Track ids depend on the detector, the tracker and their settings. So each selected track is saved with its boxes in a few frames
and found again by class and box overlap.
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
from vidrase.options import Click, Rectangle, SelectOptions
from vidrase.part import Part
from vidrase.starred import starred
from vidrase.summary import TrackSummary
from vidrase.tracklets import iou

FORMAT = "vidrase-selection"
VERSION = 1
MAX_BYTES = 64 << 20  # bytes; a selection of a thousand tracks has a few hundred kilobytes
SAVED_BOXES = 7  # frames per track whose boxes are saved
MIN_IOU = 0.4  # IoU of a saved box and a box of the same time and class, from which they belong to the same track
MAX_TIME_DIFFERENCE = 0.5  # seconds; a saved box without a frame this near is ignored


class InstanceLookup(Protocol):
    """Instances of the first pass by frame index."""

    def get(self, index: int) -> Instances:
        """Instances of frame `index`."""
        ...


@dataclass(frozen=True, slots=True)
class SavedBox:
    """A track's box at one time: seconds from the first frame, x0 y0 x1 y1 px of the displayed frame."""

    seconds: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class SavedTrack:
    """One selected track. The field names are the file's keys."""

    id: int
    label: str
    goes: bool
    """True: removed; False: kept on request."""
    first_seconds: float
    last_seconds: float
    best: SavedBox
    """Its box in its best frame."""
    places: tuple[SavedBox, ...]
    """Boxes in a few frames, in order."""
    reading: str = ""
    """Why it was selected, one sentence."""


@dataclass(frozen=True, slots=True)
class Clip:
    """Properties that identify a clip, as displayed: px, frames, seconds from the first frame to the last."""

    name: str
    width: int
    height: int
    frames: int
    seconds: float

    @classmethod
    def of(cls, info: SourceInfo, seconds: Sequence[float]) -> Clip:
        """From a source and the times of all its frames."""
        height, width = info.displayed_size
        last = seconds[-1] - seconds[0] if len(seconds) else 0.0
        return cls(Path(starred(info.url)).name or starred(info.url), width, height, len(seconds), round(last, 3))

    def matches(self, other: Clip) -> bool:
        """Whether it is the same clip; the name may differ."""
        same = (self.width, self.height, self.frames) == (other.width, other.height, other.frames)
        return same and abs(self.seconds - other.seconds) < 0.02


@dataclass(frozen=True, slots=True)
class Detection:
    """The settings that track ids depend on, besides the clip."""

    model: str
    tracker: str
    imgsz: int
    conf: float
    detect_every: int | None
    times: tuple[tuple[float, float], ...] = ()
    """The time spans of the detection pass; empty: the whole clip."""

    def differences(self, other: Detection) -> list[str]:
        """The settings that differ, each as "imgsz 640 -> 320"."""
        names = ("model", "tracker", "imgsz", "conf", "detect_every")
        pairs = [(name, getattr(self, name), getattr(other, name)) for name in names]
        words = [f"{name.replace('_', '-')} {_short(a)} -> {_short(b)}" for name, a, b in pairs if a != b]
        return words + (["time"] if self.times != other.times else [])


@dataclass(frozen=True, slots=True)
class SavedSelection:
    """Content of a selection file."""

    clip: Clip
    detection: Detection
    request: SelectOptions
    """The user's request. Only its times and region are applied again."""
    tracks: tuple[SavedTrack, ...] = field(default=())

    def completed(self, options: SelectOptions) -> SelectOptions:
        """`options` with this selection's times and region, where it has none of its own."""
        return replace(options, times=options.times or self.request.times, region=options.region or self.request.region)

    def save(self, to: Path | Part) -> None:
        """Write it; it appears under its name only when complete. Raises SinkError."""
        request = self.request
        content = {
            "format": FORMAT,
            "version": VERSION,
            "clip": asdict(self.clip),
            "detection": {**asdict(self.detection), "times": _spans(self.detection.times)},
            "asked": {
                "remove": list(request.remove),
                "keep": list(request.keep),
                "at": [[click.x, click.y, click.seconds] for click in request.at],
                "box": [[box.x0, box.y0, box.x1, box.y1, box.seconds] for box in request.box],
                "region": [request.region.x0, request.region.y0, request.region.x1, request.region.y1]
                if request.region
                else None,
                "times": _spans(request.times),
            },
            "things": [asdict(entry) for entry in self.tracks],
        }
        part.save(to, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def make_selection(
    clip: Clip,
    detection: Detection,
    request: SelectOptions,
    ids: frozenset[int],
    explanations: Mapping[int, str],
    tracks: Sequence[TrackSummary],
    store: InstanceLookup,
    seconds: Sequence[float],
) -> SavedSelection:
    """The selection of this run. ids: removed tracks; explanations: track id -> sentence, also for tracks kept on request."""
    chosen = [track for track in tracks if track.id in ids or track.id in explanations]
    return SavedSelection(
        clip,
        detection,
        request,
        tuple(_saved_track(track, track.id in ids, explanations.get(track.id, ""), store, seconds) for track in chosen),
    )


def _saved_track(
    track: TrackSummary, goes: bool, reading: str, store: InstanceLookup, seconds: Sequence[float]
) -> SavedTrack:
    start, places = seconds[0], []
    indices = np.linspace(track.first_index, track.last_index, SAVED_BOXES).round().astype(int)
    for index in np.unique([*indices, track.best_index]).tolist():
        instances = store.get(index)
        at = np.flatnonzero(instances.ids == track.id)
        if len(at):
            places.append(SavedBox(round(seconds[index] - start, 4), _rounded(instances.boxes[int(at[0])].tolist())))
    best = SavedBox(round(seconds[track.best_index] - start, 4), _rounded(track.best_box))
    first, last = round(track.first_seconds - start, 4), round(track.last_seconds - start, 4)
    return SavedTrack(track.id, track.label, goes, first, last, best, tuple(places) or (best,), reading)


def find_saved_tracks(
    saved: SavedSelection,
    clip: Clip,
    detection: Detection,
    tracks: Sequence[TrackSummary],
    store: InstanceLookup,
    seconds: Sequence[float],
    say: Callable[[str], None],
) -> tuple[list[int], list[int]]:
    """(ids to remove, ids to keep) in this clip; reports tracks that were not found to `say`, in one line."""
    same_clip, other = saved.clip.matches(clip), saved.detection.differences(detection)
    if not same_clip or other:
        why = [] if same_clip else [f"{saved.clip.name} ({_size(saved.clip)}), now {clip.name} ({_size(clip)})"]
        why += [f"other detection ({', '.join(other)})"] if other else []
        say(f"the selection was made with {' and '.join(why)}: its things are found again by class and place")
    goes: list[int] = []
    kept: list[int] = []
    missing: list[SavedTrack] = []
    labels = {track.id: track.label for track in tracks}
    scale = (clip.width / saved.clip.width, clip.height / saved.clip.height)
    for entry in saved.tracks:
        ids = _match_saved(entry, labels, store, seconds, scale, trust_ids=same_clip and not other)
        (goes if entry.goes else kept).extend(ids)
        if not ids:
            missing.append(entry)
    if missing:
        listed = ", ".join(f"id:{t.id} ({t.label}, {t.first_seconds:.2f}-{t.last_seconds:.2f} s)" for t in missing[:8])
        more = f" and {len(missing) - 8} more" if len(missing) > 8 else ""
        say(f"of the selection, nothing in this clip is like {listed}{more}; pick anew with --list or `vidrase pick`")
    return list(dict.fromkeys(goes)), list(dict.fromkeys(kept))


def _match_saved(
    entry: SavedTrack,
    labels: Mapping[int, str],
    store: InstanceLookup,
    seconds: Sequence[float],
    scale: tuple[float, float],
    *,
    trust_ids: bool,
) -> list[int]:
    """Ids of the tracks that match `entry`; several when the track is fragmented in this run."""
    votes: Counter[int] = Counter()
    times = np.asarray(seconds) - seconds[0]
    compared = 0
    for place in entry.places:
        index = int(np.argmin(np.abs(times - place.seconds)))
        if abs(times[index] - place.seconds) > MAX_TIME_DIFFERENCE:
            continue
        compared += 1
        instances, saved_box = (
            store.get(index),
            np.array(place.box, np.float32) * np.array([*scale, *scale], np.float32),
        )
        overlaps = [
            (iou(saved_box, instances.boxes[k]), int(instances.ids[k]) == entry.id, int(instances.ids[k]))
            for k in range(len(instances))
            if labels.get(int(instances.ids[k])) == entry.label
        ]
        if overlaps and max(overlaps)[0] >= MIN_IOU:
            votes[max(overlaps)[2]] += 1
    if trust_ids and 2 * votes[entry.id] >= compared > 0:
        return [entry.id]  # same clip, same settings: the id still holds
    # a short crossing with another track is not enough
    return sorted(number for number, count in votes.items() if count >= max(compared / 4, 1))


def load(path: Path) -> SavedSelection:
    """Read a selection file. Raises OptionError, one line, for any other content."""
    try:
        if path.stat().st_size > MAX_BYTES:
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
    clip, detection, request = content["clip"], content["detection"], content["asked"]
    region = _numbers(request["region"], 4) if request["region"] is not None else None
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
            remove=tuple(str(word) for word in _list(request["remove"])),
            keep=tuple(str(word) for word in _list(request["keep"])),
            at=tuple(Click(*_numbers(click, 3)) for click in _list(request["at"])),
            box=tuple(Rectangle(*_numbers(box, 5)) for box in _list(request["box"])),
            region=Rectangle(*region) if region else None,
            times=_read_spans(request["times"]),
        ),
        tuple(_read_track(entry) for entry in _list(content["things"])),
    )


def _read_track(entry: dict[str, Any]) -> SavedTrack:
    places = tuple(_read_place(place) for place in _list(entry["places"]))
    if not places:
        raise ValueError(f"no place is known of thing {entry['id']}")
    if not isinstance(entry["goes"], bool):
        raise ValueError(f"expected true or false for 'goes', got {entry['goes']!r}")
    return SavedTrack(
        _count(entry["id"], least=1),
        str(entry["label"]),
        entry["goes"],
        _number(entry["first_seconds"]),
        _number(entry["last_seconds"]),
        _read_place(entry["best"]),
        places,
        str(entry["reading"]),
    )


def _read_place(place: dict[str, Any]) -> SavedBox:
    return SavedBox(_number(place["seconds"]), _rounded(_numbers(place["box"], 4)))


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
