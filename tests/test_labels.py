"""Words to classes."""

from __future__ import annotations

import pytest

from vidrase.errors import UnknownLabel
from vidrase.labels import require, resolve

NAMES = dict(
    enumerate(
        "person,bicycle,car,motorcycle,airplane,bus,train,truck,traffic light,bench,cat,dog,mouse,knife,tv,couch,"
        "sports ball,wine glass,cell phone,tie,skis,scissors,sheep".split(",")
    )
)
CASES = {
    "person": "person", "Person": "person", "People": "person", "persons": "person", "men": "person", "Woman": "person",
    "pedestrians": "person", "Dogs": "dog", "mice": "mouse", "knives": "knife", "buses": "bus", "Bus": "bus",
    "bike": "bicycle", "bikes": "bicycle", "motorbikes": "motorcycle", "plane": "airplane", "sofas": "couch",
    "traffic lights": "traffic light", "trafficlight": "traffic light", "traffic-light": "traffic light",
    "TV": "tv", "televisions": "tv", "phone": "cell phone", "0": "person", "2": "car", "benches": "bench",
    "skis": "skis", "scissors": "scissors", "sheep": "sheep", "ties": "tie", "balls": "sports ball", "glasses": "wine glass",
}  # fmt: skip


@pytest.mark.parametrize(("word", "label"), CASES.items())
def test_synonyms_and_plurals(word: str, label: str) -> None:
    assert resolve(word, NAMES) == label
    assert require(word, NAMES) == label


@pytest.mark.parametrize(
    ("word", "hint"), [("persn", "person"), ("tarin", "train"), ("bycicle", "bicycle"), ("peple", "person")]
)
def test_an_unknown_class_names_the_nearest(word: str, hint: str) -> None:
    assert resolve(word, NAMES) is None
    with pytest.raises(UnknownLabel, match=f"no class '{word}'; did you mean '{hint}'") as caught:
        require(word, NAMES)
    assert "\n" not in str(caught.value)


def test_an_unknown_class_without_a_near_match_lists_classes() -> None:
    with pytest.raises(UnknownLabel, match="this model knows person, bicycle"):
        require("flibbertigibbet", NAMES)
    with pytest.raises(UnknownLabel, match="no class 99"):
        require("99", NAMES)


def test_a_synonym_needs_a_class_of_the_model() -> None:
    assert resolve("bike", {0: "person"}) is None
    assert resolve("bat", {0: "bat"}) == "bat"
