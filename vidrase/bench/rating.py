"""The rating sheet: what a person says on looking at a filled hole, in four words, with a guess to start from."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

RATINGS = {
    "good": "one would not notice",
    "okay": "one notices on looking for it",
    "striped": "edges, steps, smears or flicker give it away",
    "solid": "a flat or blurred patch, or the object itself, is left",
}


def guess(numbers: Mapping[str, float]) -> str:
    """The word that the numbers suggest; a person's eye overrules it.

    Thresholds are where pages of our own runs changed from one word to the next; they are no measurement.
    """
    if numbers.get("texture", 0.0) < -0.016 or numbers.get("leftover", 0.0) > 0.15:
        return "solid"
    if numbers.get("flicker", 1.0) > 1.4 or numbers.get("seam", 1.0) > 1.4:
        return "striped"
    if numbers.get("psnr", 0.0) >= 28.0 and numbers.get("flicker", 1.0) < 1.2 and numbers.get("leftover", 0.0) < 0.03:
        return "good"
    return "okay"


def rating_sheet(case: str, numbers: Mapping[str, float]) -> str:
    """One case's part of the form, HTML."""
    first = guess(numbers)
    boxes = "".join(
        f'<label title="{escape(meaning)}"><input type="radio" name="r-{escape(case)}" value="{word}"'
        f"{' checked' if word == first else ''}> {word}</label>"
        for word, meaning in RATINGS.items()
    )
    note = '<input type="text" placeholder="what gives it away">'
    said = f'{note} <span class="guess">guess: {first}</span>'
    return f'<fieldset data-case="{escape(case)}" data-looked="no">{boxes}{said}</fieldset>'
