"""What people type: any text is either read or refused in one line, and what was read says the same when it is written again."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from vidrase import phrase, selectionfile  # noqa: E402
from vidrase.cli.parse import span_of, spans_of, words_of  # noqa: E402
from vidrase.errors import OptionError, UnsupportedSource  # noqa: E402
from vidrase.options import Click, Rectangle  # noqa: E402
from vidrase.written import box_of, click_of, seconds_of, url_of  # noqa: E402

few = settings(max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
odd = st.one_of(st.text(max_size=30), st.text("0123456789.,:@-+eEinfa ", max_size=30))
number = st.floats(-1e6, 1e6).map(lambda value: round(value, 2))


def _one_line(error: BaseException) -> None:
    assert str(error)
    assert len(str(error).encode("utf-8", "replace")) < 2000


@few
@given(odd)
def test_times_are_read_or_refused(text: str) -> None:
    for read in (seconds_of, span_of, lambda given: spans_of((given,))):
        try:
            got = read(text)
        except OptionError as error:
            _one_line(error)
            continue
        values = [got] if isinstance(got, float) else got if isinstance(got[0], float) else got[0]
        assert all(value >= 0 and not math.isnan(value) for value in values)


@few
@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_a_time_is_the_same_in_every_way_of_writing(hours: int, minutes: int, seconds: int, milli: int) -> None:
    whole = hours * 3600 + minutes * 60 + seconds + milli / 1000
    assert seconds_of(f"{hours}:{minutes:02}:{seconds:02}.{milli:03}") == pytest.approx(whole)
    assert seconds_of(f"{hours * 60 + minutes}:{seconds:02}.{milli:03}") == pytest.approx(whole)
    assert seconds_of(f"{whole:.3f}") == pytest.approx(whole)


@few
@given(odd)
def test_positions_are_read_or_refused(text: str) -> None:
    for read in (click_of, lambda given: box_of("--box", given)):
        try:
            got = read(text)
        except OptionError as error:
            _one_line(error)
            continue
        assert isinstance(got, Click | Rectangle)
        assert all(math.isfinite(value) for value in (getattr(got, name) for name in type(got).__slots__))


@few
@given(number, number, st.floats(0.01, 500), st.floats(0.01, 500), st.integers(0, 10**6))
def test_positions_read_back(x: float, y: float, width: float, height: float, when: int) -> None:
    assert click_of(f"{x!r},{y!r}@{when}") == Click(x, y, float(when))
    box = Rectangle(x, y, x + width, y + height, float(when))
    assert box_of("--box", f"{box.x0!r},{box.y0!r},{box.x1!r},{box.y1!r}@{when}") == box


WORDS = [
    "person",
    "people",
    "dog",
    "the",
    "all",
    "left",
    "right",
    "largest",
    "second",
    "2",
    "red",
    "on",
    "in",
    "except",
]


@few
@given(st.one_of(odd, st.lists(st.sampled_from([*WORDS, "everyone", "tallest", "3rd", "but", "xyzzy"])).map(" ".join)))
def test_phrases_are_understood_or_refused(text: str) -> None:
    names = {"person": "person", "people": "person", "dog": "dog"}
    try:
        found = phrase.parse(text, names.get)
    except OptionError as error:
        _one_line(error)
        return
    assert found.reading()
    assert found.label in (None, "person", "dog")


@few
@given(odd)
def test_lists_hold_something_or_are_refused(text: str) -> None:
    try:
        words = words_of("--remove", (text,))
    except OptionError as error:
        _one_line(error)
        return
    assert words
    assert all(word == word.strip() and word for word in words)


@few
@given(st.text("htps:/[]@%.?#0123456789abc", max_size=30))
def test_addresses_are_read_or_refused(text: str) -> None:
    try:
        url_of(text)
    except UnsupportedSource as error:
        _one_line(error)


leaf = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8))
tree = st.recursive(
    leaf, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner))
)
KEYS = [
    "format",
    "version",
    "clip",
    "detection",
    "asked",
    "things",
    "vidrase",
    "selection",
    "remove",
    "keep",
    "at",
    "box",
]


@few
@given(st.one_of(tree, st.dictionaries(st.sampled_from(KEYS), tree)), st.binary(max_size=40))
def test_selection_files_are_read_or_refused(tmp_path: Path, content: object, noise: bytes) -> None:
    path = tmp_path / "s.json"
    for data in (json.dumps(content).encode(), noise):
        path.write_bytes(data)
        with pytest.raises(OptionError) as caught:
            selectionfile.load(path)
        _one_line(caught.value)
        assert "s.json" in str(caught.value)
