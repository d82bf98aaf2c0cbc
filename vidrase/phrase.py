"""Parse short English phrases: class, position, rank, size, colour and count. Works on text only.

    [all|everyone|everything] [the] [count] [ordinal] [size|colour ...] CLASS [position | from SIDE | in COLOUR] [except PHRASE]

A class alone, or with a colour, selects all of them; "the", a singular class with a position, a superlative or an ordinal selects
one; a number selects that many; a plural class with a position selects all on that side.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from vidrase.errors import OptionError


def _words(groups: dict[str, str]) -> dict[str, str]:
    """Invert name -> its words into word -> name."""
    return {word: name for name, words in groups.items() for word in (name, *words.split())}


_COLOUR_GROUPS = {
    "red": "",
    "orange": "",
    "yellow": "golden",
    "green": "",
    "blue": "",
    "purple": "violet",
    "pink": "",
    "brown": "",
    "black": "dark",
    "white": "light",
    "grey": "gray silver",
}
COLOURS = tuple(_COLOUR_GROUPS)
_COLOUR_WORDS = _words(_COLOUR_GROUPS)
ORDERS = {  # name -> text for the user
    "left": "furthest left",
    "right": "furthest right",
    "top": "highest in the picture",
    "bottom": "lowest in the picture",
    "middle": "nearest to the middle",
    "front": "nearest to the camera",
    "back": "furthest from the camera",
    "large": "largest",
    "small": "smallest",
    "tall": "tallest",
    "wide": "widest",
    "long": "longest in view",
}
_ORDER_WORDS = _words(
    {
        "left": "leftmost lefthand",
        "right": "rightmost righthand",
        "top": "upper highest topmost above",
        "bottom": "lower lowest below",
        "middle": "center centre central middlemost",
        "front": "foreground nearest closest foremost near",
        "back": "background behind rear farthest furthest",
        "large": "largest biggest big huge",
        "small": "smallest littlest little tiny",
        "tall": "tallest",
        "wide": "widest",
        "long": "longest",
    }
)
_COUNTS = {word: n for n, word in enumerate("one two three four five six seven eight nine ten".split(), 1)}
_COUNTS |= {"single": 1, "both": 2, "pair": 2}
_ORDINALS = {
    word: n for n, word in enumerate("first second third fourth fifth sixth seventh eighth ninth tenth".split(), 1)
}
_ORDINALS["last"] = -1
_ALL = {"all", "every", "any", "everyone", "everybody", "everything"}
_EVERYONE = {"everyone", "everybody"}
_EXCEPT = re.compile(r"\b(?:except(?: for)?|but not|but|apart from|other than|without)\b")
_FILLER = {
    *(
        "the a an of in on at to from with wearing who that which is are side hand part corner shirt coat dress jacket".split()
    ),
    *("clothes picture frame image edge end area scene standing walking sitting very most".split()),
}

Resolver = Callable[[str], str | None]
"""Class name of a word or words ("men" -> "person"), None when the model has no such class."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """A parsed phrase: filter by class, colour and side, rank by `orders`, then take `nth` or `count`."""

    label: str | None
    """Class name; None: any class."""
    colour: str | None = None
    orders: tuple[str, ...] = ()
    """Names from ORDERS; several ("upper left") rank together."""
    nth: int | None = None
    """1-based rank, -1 for the last; None: see `count`."""
    count: int | None = None
    """How many to take from the start of the ranking; None: all."""
    side: bool = False
    """`orders` filter by side instead of ranking ("people on the left")."""
    but: Phrase | None = None

    def reading(self) -> str:
        """The phrase as understood, for the user to check."""
        what = self.label or "thing"
        if self.colour:
            what = f"{self.colour} {what}"
        how = " and ".join(ORDERS[order] for order in self.orders)
        if self.nth is not None and how:
            place = "last" if self.nth < 0 else f"number {self.nth}"
            text = f"{what}, {place} counted from the {how}"
        elif self.side:
            text = f"every {what} on that side ({how})"
        elif self.count is not None:
            text = f"the {what if self.count == 1 else f'{self.count} x {what}'}" + (
                f" {how}" if how else " seen longest"
            )
        else:
            text = f"every {what}"
        return f"{text}, except {self.but.reading()}" if self.but else text


def parse(text: str, resolve: Resolver) -> Phrase:
    """Parse `text`. Raises OptionError naming the word that cannot be read."""
    main, *rest = _EXCEPT.split(text.lower().strip(), maxsplit=1)
    phrase = _one(main, text, resolve)
    return replace(phrase, but=_one(rest[0], text, resolve)) if rest and rest[0].strip() else phrase


def _one(part: str, whole: str, resolve: Resolver) -> Phrase:
    words = re.findall(r"[a-z0-9']+", part.replace("-", " "))
    label, plural, everyone, rest = _noun(words, whole, resolve)
    orders: list[str] = []
    colour: str | None = None
    nth: int | None = None
    count: int | None = None
    definite = superlative = False
    for word in rest:
        number = re.fullmatch(r"(\d+)(st|nd|rd|th)?", word)
        if number:
            value = int(number.group(1))
            nth, count = (value, count) if number.group(2) else (nth, value)
        elif word in _ORDINALS:
            nth = _ORDINALS[word]
        elif word in _COUNTS:
            count = _COUNTS[word]
        elif word in _COLOUR_WORDS:
            colour = _COLOUR_WORDS[word]
        elif word in _ORDER_WORDS:
            if _ORDER_WORDS[word] not in orders:
                orders.append(_ORDER_WORDS[word])
            superlative |= word.endswith(("est", "most"))
        elif word in _ALL:
            everyone = True
        elif word not in _FILLER:
            raise OptionError(_cannot_read(word, whole))
        definite |= word == "the" and rest.index("the") == 0
    if everyone:
        return Phrase(label, colour, tuple(orders), side=bool(orders))
    if nth is not None:
        return Phrase(label, colour, tuple(orders) or ("left",), nth=nth)
    if count is not None:
        return Phrase(label, colour, tuple(orders), count=count)
    if plural:
        return Phrase(
            label, colour, tuple(orders), side=bool(orders) and not superlative, count=1 if superlative else None
        )
    one = bool(orders) or definite
    return Phrase(label, colour, tuple(orders), count=1 if one else None)


def _noun(words: list[str], whole: str, resolve: Resolver) -> tuple[str | None, bool, bool, list[str]]:
    """(class, None for any; whether plural; whether everyone; the other words)."""
    for word in words:
        if word in _EVERYONE:
            return resolve("person") or "person", True, True, [w for w in words if w != word]
    for length in (3, 2, 1):  # longest first: "traffic light", "potted plant"
        for start in range(len(words) - length + 1):
            run = words[start : start + length]
            known = length == 1 and (run[0] in _ORDER_WORDS or run[0] in _COLOUR_WORDS or run[0] in _FILLER)
            name = None if known else resolve(" ".join(run))
            if name is not None:
                plural = run[-1] not in name.split() and run[-1].endswith(
                    ("s", "people", "men", "women", "children", "mice")
                )
                return name, plural, False, words[:start] + words[start + length :]
    for word in words:
        if word in ("everything", "things", "thing", "object", "objects"):
            return None, word != "thing", word == "everything", [w for w in words if w != word]
    if set(words) & _ALL:
        return None, True, True, words
    unknown = [w for w in words if w not in {*_FILLER, *_ORDER_WORDS, *_COLOUR_WORDS, *_COUNTS, *_ORDINALS}]
    raise OptionError(_cannot_read(unknown[-1] if unknown else whole, whole))


def _cannot_read(word: str, whole: str) -> str:
    known = [*_ORDER_WORDS, *_COLOUR_WORDS, *_COUNTS, *_ORDINALS, "except", "everyone"]
    near = difflib.get_close_matches(word, known, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return (
        f"cannot read '{word}' in '{whole}'{hint} I know a class with a position, rank, size, colour or number, like "
        "'person on the left', 'the largest dog', 'red car', 'second person from the right', 'everyone except the tallest man'"
    )
