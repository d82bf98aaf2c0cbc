"""Phrases, clicks and boxes on a synthetic clip with known objects."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import instances

from vidrase.errors import OptionError
from vidrase.frames import Instances
from vidrase.options import Click, Rectangle, SelectOptions
from vidrase.prompts import is_phrase, resolve_prompts
from vidrase.summary import TrackSummary

NAMES = {0: "person", 1: "car", 2: "dog", 3: "traffic light"}
SIZE = (100, 200)
# id -> (class, x0, y0, x1, y1, RGB); the scene stands still for ten frames
SCENE = {
    1: ("person", 10, 30, 30, 90, (200, 20, 20)),
    2: ("person", 90, 20, 105, 60, (20, 20, 200)),
    3: ("person", 150, 40, 175, 99, (20, 160, 20)),
    4: ("car", 40, 50, 80, 70, (210, 25, 25)),
    5: ("car", 110, 50, 145, 70, (240, 240, 240)),
    6: ("dog", 180, 80, 195, 95, (120, 70, 30)),
}


class Scene:
    def __init__(self, extra: dict[int, tuple] | None = None, frames: int = 10) -> None:
        self.objects = {**SCENE, **(extra or {})}
        self.frames = frames

    def get(self, index: int) -> Instances:
        masks, labels, ids = [], [], []
        for number, (label, x0, y0, x1, y1, _, *span) in self.objects.items():
            first, last = span or (0, self.frames - 1)
            if not first <= index <= last:
                continue
            mask = np.zeros(SIZE, bool)
            mask[y0:y1, x0:x1] = True
            masks.append(mask)
            labels.append(label)
            ids.append(number)
        return instances(masks, labels=labels, ids=ids, size=SIZE)

    def tracks(self) -> list[TrackSummary]:
        made = []
        for number, (label, x0, y0, x1, y1, colour, *span) in self.objects.items():
            first, last = span or (0, self.frames - 1)
            made.append(
                TrackSummary(
                    number,
                    label,
                    first,
                    last,
                    first / 10,
                    last / 10,
                    frames=last - first + 1,
                    area_share=(x1 - x0) * (y1 - y0) / (SIZE[0] * SIZE[1]),
                    centre=((x0 + x1) / 2 / SIZE[1], (y0 + y1) / 2 / SIZE[0]),
                    extent=((x1 - x0) / SIZE[1], (y1 - y0) / SIZE[0]),
                    best_index=first,
                    best_box=(x0, y0, x1, y1),
                    thumbnail=np.full((y1 - y0, x1 - x0, 3), colour, np.uint8),
                )
            )
        return made


def resolved(scene: Scene, **choices: object) -> set[str]:
    seconds = [index / 10 for index in range(scene.frames)]
    said: list[str] = []
    options = SelectOptions(**choices)  # type: ignore[arg-type]
    return set(resolve_prompts(options, scene.tracks(), scene, seconds, NAMES, said.append).remove)


CASES = {
    "person on the left": {1},
    "person on the right": {3},
    "people on the right": {3},
    "the man in the middle": {2},
    "second person from the right": {2},
    "last person": {3},
    "the largest person": {3},
    "the smallest person": {2},
    "the two people in the front": {1, 3},
    "the person in the back": {2},
    "red car": {4},
    "the white car": {5},
    "everyone except the man in the middle": {1, 3},
    "all cars but the red car": {5},
    "woman in blue": {2},
    "the nearest dog": {6},
}


@pytest.mark.parametrize("text", CASES)
def test_phrases(text: str) -> None:
    assert resolved(Scene(), remove=(text,)) == {f"id:{number}" for number in CASES[text]}


def test_plain_queries_are_unchanged() -> None:
    assert resolved(Scene(), remove=("person", "id:4", "traffic light")) == {"person", "id:4", "traffic light"}
    assert not is_phrase("traffic light", NAMES)


def test_clicks_and_boxes() -> None:
    assert resolved(Scene(), at=(Click(20, 50, 0.5),)) == {"id:1"}
    assert resolved(Scene(), at=(Click(33, 50),)) == {"id:1"}  # a near miss
    assert resolved(Scene(), box=(Rectangle(38, 45, 84, 72),)) == {"id:4"}


def test_short_tracks_are_not_ranked() -> None:
    flash = {9: ("person", 0, 0, 5, 5, (0, 0, 0), 3, 3)}
    assert resolved(Scene(flash), remove=("person on the left",)) == {"id:1"}


def test_fragments_of_an_object_are_chosen_with_it() -> None:
    later = {1: (*SCENE[1], 0, 4), 7: ("person", 11, 31, 31, 90, (200, 20, 20), 6, 9)}
    assert resolved(Scene(later), remove=("person on the left",)) == {"id:1", "id:7"}
    piece = {8: ("person", 12, 35, 28, 60, (200, 20, 20), 2, 6)}
    assert resolved(Scene(piece), at=(Click(20, 80),)) == {"id:1", "id:8"}


def test_neighbouring_people_are_not_fragments() -> None:
    # inside the near person's box but outside the mask; then a person who appears where the first one left, late and elsewhere
    far = {8: ("person", 10, 30, 14, 40, (0, 0, 0), 2, 6)}

    class Hollow(Scene):
        def get(self, index: int) -> Instances:
            there = super().get(index)
            mine = int(np.flatnonzero(there.ids == 1)[0])
            masks = [there.mask(k) for k in range(len(there.ids))]
            masks[mine][:45, :18] = False
            return instances(masks, labels=list(there.labels), ids=there.ids.tolist(), size=SIZE)

    assert resolved(Hollow(far), at=(Click(20, 80),)) == {"id:1"}
    late = {1: (*SCENE[1], 0, 2), 7: ("person", 18, 31, 38, 90, (200, 20, 20), 8, 9)}
    assert resolved(Scene(late), at=(Click(20, 80),)) == {"id:1"}


@pytest.mark.parametrize(
    ("choices", "says"),
    [
        ({"at": (Click(190, 10),)}, "nothing that the detector knows is at 190,10@0; the nearest is id:"),
        ({"at": (Click(500, 10),)}, "lies outside the picture of 200x100"),
        ({"at": (Click(20, 50, 60.0),)}, "there is no frame at 60 s"),
        ({"box": (Rectangle(0, 0, 5, 5),)}, "fits the box 0,0,5,5@0"),
        ({"remove": ("green car",)}, "nothing in the clip is 'green car'; there are id:4 car"),
        ({"remove": ("fifth person from the left",)}, "only 3 such objects"),
        ({"remove": ("person doing things",)}, "cannot read 'doing'"),
    ],
)
def test_unresolvable_prompts_raise_one_line(choices: dict, says: str) -> None:
    with pytest.raises(OptionError) as caught:
        resolved(Scene(), **choices)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_class_without_instances_is_no_error() -> None:
    scene = Scene()
    scene.objects = {1: SCENE[1]}
    assert resolved(scene, remove=("the largest dog",)) == set()
