"""Resolve prompts (phrases, clicks, boxes) to track ids, once, on whole tracks, so that the choice is the same in every frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.errors import OptionError
from vidrase.frames import Instances
from vidrase.labels import resolve
from vidrase.options import Click, Rectangle, SelectOptions
from vidrase.phrase import COLOURS, ORDERS, Phrase, parse
from vidrase.summary import TrackSummary
from vidrase.tracklets import iou

# track's frames / frames of the longest track of its class; below it the track takes no part in rankings such as "leftmost"
MIN_FRAME_SHARE = 0.15
MIN_COLOUR_SHARE = 0.22  # share of an object's pixels with a colour, from which it is called by that colour
CLICK_TOLERANCE_PX = 12  # px; maximum distance from a click to a mask
MIN_BOX_IOU = 0.3  # IoU of a drawn box and a detected box, from which they match
MAX_GAP_SECONDS = 2.0  # seconds; after a longer gap it is another object
# IoU of the boxes before and after a gap, above which it is the same object; stricter for long gaps, where others may pass
SHORT_GAP_IOU, LONG_GAP_IOU = 0.25, 0.5
SHORT_GAP_SECONDS = 0.4  # seconds; the first IoU applies up to this gap
MIN_INSIDE_SHARE = 0.7  # share of a fragment's mask inside the object's mask; above it they are the same object
# frames; two tracks of one object may overlap this long without touching, while one is being lost and the other starts
MAX_COMMON_FRAMES = 3


class InstanceLookup(Protocol):
    """Instances of the first pass by frame index."""

    def get(self, index: int) -> Instances:
        """Instances of frame `index`."""
        ...


def resolve_prompts(
    options: SelectOptions,
    tracks: Sequence[TrackSummary],
    store: InstanceLookup,
    seconds: Sequence[float],
    names: Mapping[int, str],
    say: Callable[[str], None],
    explanations: dict[int, str] | None = None,
    tracked_boxes: Mapping[Rectangle, int] = MappingProxyType({}),
) -> SelectOptions:
    """Replace every phrase, click and box in `options` by the track ids that it selects; `say` gets one sentence for each.

    seconds:  time of every frame.
    explanations: track id -> that sentence; entries are added.
    tracked_boxes: track ids of boxes around objects that the detector does not know.
    Raises OptionError for a prompt that selects nothing.
    """

    def explain(ids: set[int], sentence: str) -> list[str]:
        say(sentence)
        whole = _add_fragments(ids, tracks, store)
        if explanations is not None:
            explanations.update(dict.fromkeys(whole, sentence))
        return [f"id:{number}" for number in whole]

    def ids_of(texts: Iterable[str]) -> list[str]:
        queries: list[str] = []
        for text in texts:
            if is_phrase(text, names):
                phrase = parse(text, lambda word: resolve(word, names))
                ids = _matching_tracks(phrase, text, tracks, store)
                queries += explain(ids, f"'{text}' is read as: {phrase.reading()} -> {_id_list(ids)}")
            else:
                queries.append(text)
        return queries

    remove = ids_of(options.remove)
    for click in options.at:
        number = _clicked(click, store.get(_index(click.seconds, seconds)))
        remove += explain({number}, f"the click at {click} is on id:{number}")
    for box in options.box:
        number = tracked_boxes.get(box) or _boxed(box, store.get(_index(box.seconds, seconds)))
        remove += explain({number}, f"the box {box} holds id:{number}")
    return replace(options, remove=tuple(dict.fromkeys(remove)), keep=tuple(dict.fromkeys(ids_of(options.keep))))


def is_phrase(text: str, names: Mapping[int, str]) -> bool:
    """Whether `text` is more than a class, an id or `all`."""
    plain = text.strip().lower()
    return (
        not plain.startswith("id:")
        and plain not in ("all", "everything")
        and resolve(text, names) is None
        and " " in plain
    )


def _matching_tracks(phrase: Phrase, text: str, tracks: Sequence[TrackSummary], store: InstanceLookup) -> set[int]:
    candidates = [track for track in tracks if phrase.label in (None, track.label)]
    if not candidates:
        return set()
    most = max(track.frames for track in candidates)
    stable = [track for track in candidates if track.frames >= MIN_FRAME_SHARE * most]
    everything = not phrase.side and phrase.count is None and phrase.nth is None
    pool = candidates if everything and phrase.colour is None else stable
    if phrase.colour is not None:
        shares = {track.id: colours_of(track, store)[phrase.colour] for track in pool}
        pool = [track for track in pool if shares[track.id] >= MIN_COLOUR_SHARE]
        if not phrase.orders:
            pool.sort(key=lambda track: -shares[track.id])
    if phrase.side:
        pool = [track for track in pool if all(_on_side(track, order, stable) for order in phrase.orders)]
    elif phrase.orders:
        pool.sort(key=lambda track: sum(_rank(track, order) for order in phrase.orders))
    elif phrase.count is not None and phrase.colour is None:
        pool.sort(key=lambda track: -track.frames)
    if phrase.nth is not None:
        if not -len(pool) <= (phrase.nth if phrase.nth < 0 else phrase.nth - 1) < len(pool):
            raise OptionError(f"'{text}' wants number {phrase.nth}, but only {len(pool)} such objects are in the clip")
        pool = [pool[phrase.nth if phrase.nth < 0 else phrase.nth - 1]]
    elif phrase.count is not None:
        pool = pool[: phrase.count]
    if not pool:
        available = ", ".join(f"id:{track.id} {track.label}" for track in stable[:8])
        raise OptionError(f"nothing in the clip is '{text}'; there are {available} (see --list)")
    ids = {track.id for track in pool}
    return ids - _matching_tracks(phrase.but, text, tracks, store) if phrase.but else ids


_KEYS: dict[str, Callable[[TrackSummary], float]] = {
    "left": lambda track: track.centre[0],
    "right": lambda track: -track.centre[0],
    "top": lambda track: track.centre[1],
    "bottom": lambda track: -track.centre[1],
    "middle": lambda track: abs(track.centre[0] - 0.5),
    "front": lambda track: -(track.centre[1] + track.extent[1] / 2),  # lower in the image is nearer
    "back": lambda track: track.centre[1] + track.extent[1] / 2,
    "large": lambda track: -track.area_share,
    "small": lambda track: track.area_share,
    "tall": lambda track: -track.extent[1],
    "wide": lambda track: -track.extent[0],
    "long": lambda track: -float(track.frames),
}
assert set(_KEYS) == set(ORDERS)


def _rank(track: TrackSummary, order: str) -> float:
    return _KEYS[order](track)


def _on_side(track: TrackSummary, order: str, group: Sequence[TrackSummary]) -> bool:
    x, y = track.centre
    fixed = {"left": x < 0.5, "right": x > 0.5, "top": y < 0.5, "bottom": y > 0.5, "middle": abs(x - 0.5) < 0.2}
    if order in fixed:
        return fixed[order]
    return _rank(track, order) <= float(np.median([_rank(other, order) for other in group]))


def colours_of(track: TrackSummary, store: InstanceLookup) -> dict[str, float]:
    """Share of each colour name among the object's pixels in its best frame."""
    shares = dict.fromkeys(COLOURS, 0.0)
    if track.thumbnail is None:
        return shares
    hsv = cv2.cvtColor(np.ascontiguousarray(track.thumbnail), cv2.COLOR_RGB2HSV)[_object_pixels(track, store)]
    if not len(hsv):
        return shares
    hue, saturation, value = (hsv[:, channel].astype(int) for channel in range(3))
    dark, pale = value < 55, saturation < 50
    tone = np.select(
        [hue < 8, hue < 20, hue < 33, hue < 85, hue < 130, hue < 150, hue < 170],
        ["red", "orange", "yellow", "green", "blue", "purple", "pink"],
        "red",
    )
    tone = np.where((tone == "orange") & (value < 150), "brown", tone)
    name = np.select([dark, pale & (value > 180), pale], ["black", "white", "grey"], tone)
    names, counts = np.unique(name, return_counts=True)
    return shares | {str(n): float(c) / len(name) for n, c in zip(names, counts, strict=True)}


def _object_pixels(track: TrackSummary, store: InstanceLookup) -> NDArray[np.bool_]:
    """bool, size of the thumbnail: the object's mask."""
    assert track.thumbnail is not None
    height, width = track.thumbnail.shape[:2]
    instances = store.get(track.best_index)
    at = np.flatnonzero(instances.ids == track.id)
    if not len(at):
        return np.ones((height, width), bool)
    mask, (top, left) = instances.mask(int(at[0])), instances.size
    x0, y0, x1, y1 = track.best_box
    padding = 0.08 * max(x1 - x0, y1 - y0)  # the thumbnail's margin
    rows = slice(int(max(y0 - padding, 0)), int(min(np.ceil(y1 + padding), top)))
    columns = slice(int(max(x0 - padding, 0)), int(min(np.ceil(x1 + padding), left)))
    crop = mask[rows, columns].astype(np.uint8)
    return (
        cv2.resize(crop, (width, height), interpolation=cv2.INTER_NEAREST) > 0
        if crop.size
        else np.ones((height, width), bool)
    )


def _index(when: float, seconds: Sequence[float]) -> int:
    time = seconds[0] + when
    if not seconds[0] - 1e-6 <= time <= seconds[-1] + 0.5:
        raise OptionError(f"there is no frame at {when:g} s; the clip lasts {seconds[-1] - seconds[0]:.2f} s")
    return int(np.argmin(np.abs(np.asarray(seconds) - time)))


def _clicked(click: Click, instances: Instances) -> int:
    height, width = instances.size
    if not (0 <= click.x < width and 0 <= click.y < height):
        raise OptionError(f"the click {click} lies outside the picture of {width}x{height}")
    hits: list[tuple[float, int, int]] = []
    for k in range(len(instances)):
        (top, left), crop = instances.corners[k], instances.masks[k]
        if not crop.any():
            continue
        rows, columns = np.nonzero(crop)
        miss = float(np.hypot(rows + top - click.y, columns + left - click.x).min())
        hits.append((miss if miss > 0.75 else 0.0, int(np.count_nonzero(crop)), int(instances.ids[k])))
    if hits and min(hits)[0] <= CLICK_TOLERANCE_PX:
        return min(hits)[2]
    near = f"; the nearest is id:{min(hits)[2]}, {min(hits)[0]:.0f} px away" if hits else ""
    raise OptionError(f"nothing that the detector knows is at {click}{near} (see --list; --mask takes a drawn mask)")


def unmatched_boxes(
    boxes: Iterable[Rectangle], store: InstanceLookup, seconds: Sequence[float]
) -> dict[Rectangle, int]:
    """Boxes that match no detection -> index of the frame that they were drawn in.

    Raises OptionError for a box outside the picture or the clip.
    """
    unmatched: dict[Rectangle, int] = {}
    for box in boxes:
        index = _index(box.seconds, seconds)
        instances = store.get(index)
        height, width = instances.size
        if box.x1 <= 0 or box.y1 <= 0 or box.x0 >= width or box.y0 >= height:
            raise OptionError(f"the box {box} lies outside the picture of {width}x{height}")
        if _best_match(box, instances) is None:
            unmatched[box] = index
    return unmatched


def _boxed(box: Rectangle, instances: Instances) -> int:
    number = _best_match(box, instances)
    if number is None:
        raise OptionError(f"the detector knows nothing that fits the box {box} (see --list; --mask takes a drawn mask)")
    return number


def _best_match(box: Rectangle, instances: Instances) -> int | None:
    box_array = np.array([box.x0, box.y0, box.x1, box.y1], np.float32)
    overlaps = [iou(box_array, other) for other in instances.boxes]
    if overlaps and max(overlaps) >= MIN_BOX_IOU:
        return int(instances.ids[int(np.argmax(overlaps))])
    return None


def _add_fragments(ids: set[int], tracks: Sequence[TrackSummary], store: InstanceLookup) -> list[int]:
    """`ids` and the tracks that are fragments of the same objects: inside their masks, or continuing them after a gap."""
    chosen = set(ids)
    by_id = {track.id: track for track in tracks}
    grown = True
    while grown:
        grown = False
        for track in tracks:
            if track.id in chosen:
                continue
            same_class = [by_id[n] for n in chosen if n in by_id and by_id[n].label == track.label]
            same = [mate for mate in same_class if _same_object(mate, track, store)]
            # a track that is beside one of them at the same time is another object, whichever track it continues
            separate = any(_common_frames(mate, track) > MAX_COMMON_FRAMES for mate in same_class if mate not in same)
            if same and not separate:
                chosen.add(track.id)
                grown = True
    return sorted(chosen)


def _common_frames(one: TrackSummary, other: TrackSummary) -> int:
    """Number of frames in which both tracks exist."""
    return min(one.last_index, other.last_index) - max(one.first_index, other.first_index) + 1


def _same_object(known: TrackSummary, other: TrackSummary, store: InstanceLookup) -> bool:
    first, last = max(known.first_index, other.first_index), min(known.last_index, other.last_index)
    if first > last:
        a, b = (known, other) if known.last_index < other.first_index else (other, known)
        gap = b.first_seconds - a.last_seconds
        if gap > MAX_GAP_SECONDS:
            return False
        min_iou = SHORT_GAP_IOU if gap <= SHORT_GAP_SECONDS else LONG_GAP_IOU
        end, start = _box(a.id, store.get(a.last_index)), _box(b.id, store.get(b.first_index))
        return end is not None and start is not None and iou(end, start) > min_iou
    votes = []
    for index in np.unique(np.linspace(first, last, 7).round().astype(int)):
        instances = store.get(int(index))
        known_at, other_at = np.flatnonzero(instances.ids == known.id), np.flatnonzero(instances.ids == other.id)
        if len(known_at) and len(other_at):
            # compare masks: the box of a near person may contain many people further away
            mask, part = instances.mask(int(known_at[0])), instances.mask(int(other_at[0]))
            inside = int(np.count_nonzero(mask & part)) / max(int(np.count_nonzero(part)), 1)
            votes.append(inside > MIN_INSIDE_SHARE)
    return bool(votes) and sum(votes) > len(votes) / 2


def _box(number: int, instances: Instances) -> NDArray[np.float32] | None:
    at = np.flatnonzero(instances.ids == number)
    return instances.boxes[int(at[0])] if len(at) else None


def _id_list(ids: set[int]) -> str:
    return ", ".join(f"id:{number}" for number in sorted(ids)) or "nothing in this clip"
