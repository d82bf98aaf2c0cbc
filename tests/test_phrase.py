"""Parsing of phrases."""

from __future__ import annotations

import pytest

from vidrase.errors import OptionError
from vidrase.phrase import Phrase, parse

WORDS = dict.fromkeys(("person", "people", "man", "men", "woman", "women", "persons"), "person")
WORDS |= {"dog": "dog", "dogs": "dog", "car": "car", "cars": "car", "traffic light": "traffic light", "bus": "bus"}

CASES = {
    "person": Phrase("person"),
    "people": Phrase("person"),
    "person on the left": Phrase("person", orders=("left",), count=1),
    "people on the left": Phrase("person", orders=("left",), side=True),
    "the largest dog": Phrase("dog", orders=("large",), count=1),
    "red car": Phrase("car", "red"),
    "the red car": Phrase("car", "red", count=1),
    "the two people in the back": Phrase("person", orders=("back",), count=2),
    "second person from the right": Phrase("person", orders=("right",), nth=2),
    "2nd person from the left": Phrase("person", orders=("left",), nth=2),
    "3 dogs": Phrase("dog", count=3),
    "everyone except the man in the middle": Phrase("person", but=Phrase("person", orders=("middle",), count=1)),
    "everything": Phrase(None),
    "all cars but the red car": Phrase("car", but=Phrase("car", "red", count=1)),
    "woman in red": Phrase("person", "red"),
    "traffic light": Phrase("traffic light"),
    "leftmost person": Phrase("person", orders=("left",), count=1),
    "everyone on the right side": Phrase("person", orders=("right",), side=True),
    "the person in the upper left corner": Phrase("person", orders=("top", "left"), count=1),
    "bus": Phrase("bus"),
}


@pytest.mark.parametrize("text", CASES)
def test_parsed_phrases(text: str) -> None:
    phrase = parse(text, WORDS.get)
    assert phrase == CASES[text]
    assert phrase.reading()


@pytest.mark.parametrize("text", ["person dancing wildly", "the largest", "unicorn", "red"])
def test_an_unreadable_phrase_raises_one_line(text: str) -> None:
    with pytest.raises(OptionError, match="cannot read") as caught:
        parse(text, WORDS.get)
    assert "\n" not in str(caught.value)
