"""Options: texts to values, and every impossible one refused in one line."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from vidrase.cli.parse import auto_or_int, span_of, spans_of, words_of
from vidrase.errors import OptionError
from vidrase.options import FillOptions, MaskOptions, ModelOptions, SinkOptions, options_from
from vidrase.written import seconds_of


@pytest.mark.parametrize(("text", "seconds"), [("75", 75), ("75.5", 75.5), ("1:15", 75), ("0:01:15.5", 75.5)])
def test_times(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


def test_spans() -> None:
    assert span_of("0:10-0:20") == (10, 20)
    assert span_of("-5") == (0, 5)
    assert span_of("5-") == (5, math.inf)
    assert spans_of(("1-2,3-4", "5-6")) == ((1, 2), (3, 4), (5, 6))


@pytest.mark.parametrize("text", ["", "-", "abc", "0:20-0:10", "1:2:3:4-5", "5"])
def test_spans_that_make_no_sense(text: str) -> None:
    with pytest.raises(OptionError, match="time"):
        span_of(text)


def test_words_and_numbers() -> None:
    assert words_of("--remove", ("person, dog", "id:3")) == ("person", "dog", "id:3")
    assert auto_or_int("--dilate", "auto") is None
    assert auto_or_int("--dilate", "0") == 0
    with pytest.raises(OptionError, match="--dilate: expected a whole number"):
        auto_or_int("--dilate", "x")


@pytest.mark.parametrize(
    "make",
    [
        lambda: ModelOptions(conf=1.5),
        lambda: ModelOptions(imgsz=3),
        lambda: ModelOptions(precision="fp8"),
        lambda: ModelOptions(detect_every=0),
        lambda: MaskOptions(dilate=-1),
        lambda: FillOptions(mode="magic"),  # type: ignore[arg-type]
        lambda: SinkOptions(lossless=True, crf=20),
    ],
)
def test_impossible_values_are_refused(make: object) -> None:
    with pytest.raises(OptionError) as caught:
        make()  # type: ignore[operator]
    assert "\n" not in str(caught.value)


def test_flat_choices_reach_their_fields() -> None:
    options = options_from(
        {
            "remove": "person, dog",
            "mask": "hole.png",
            "fill": "plate",
            "mask_shape": "box",
            "crf": 12.0,
            "device": "cpu",
        }
    )
    assert options.select.remove == ("person", "dog")
    assert options.select.mask == (Path("hole.png"),)
    assert (options.fill.mode, options.masks.shape, options.sink.crf, options.models.device) == (
        "plate",
        "box",
        12.0,
        "cpu",
    )


def test_an_unknown_choice_gets_a_hint() -> None:
    with pytest.raises(OptionError, match="did you mean 'remove'"):
        options_from({"remov": "person"})  # type: ignore[typeddict-unknown-key]
