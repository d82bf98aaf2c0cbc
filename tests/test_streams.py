"""Threads between stages: order, errors, early ends, bounds."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from vidrase.errors import OptionError
from vidrase.streams import SideBySide, prefetch, windows
from vidrase.timing import Clock, InFlight


class Item:
    def __init__(self, number: int) -> None:
        self.number = number


def test_windows_put_each_item_in_one_core() -> None:
    for core, before, after in ((1, 0, 0), (2, 1, 2), (4, 8, 4), (7, 3, 0)):
        seen = list(windows(range(10), core=core, before=before, after=after))
        assert [i for w in seen for i in w.core] == list(range(10))
        assert all(len(w.before) <= before and len(w.after) <= after for w in seen)
        assert all(
            (*w.before, *w.core, *w.after) == tuple(range(w.core[0] - len(w.before), w.core[-1] + 1 + len(w.after)))
            for w in seen
        )


def test_prefetch_keeps_order_and_ends() -> None:
    items = prefetch(iter(range(100)), depth=3, name="test")
    assert list(items) == list(range(100))
    with pytest.raises(StopIteration):
        next(items)


def test_an_error_in_the_worker_arrives_in_order() -> None:
    def broken() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("two was the last")

    items = prefetch(prefetch(broken(), depth=1, name="inner"), depth=1, name="outer")
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(ValueError, match="two was the last"):
        next(items)


def test_leaving_early_joins_the_worker_and_closes_upstream() -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            number = 0
            while True:
                yield number
                number += 1
        finally:
            closed.set()

    items = prefetch(endless(), depth=2, name="test")
    assert next(items) == 0
    begun = time.perf_counter()
    items.close()
    assert closed.is_set()
    assert time.perf_counter() - begun < 1


def test_a_pipeline_never_run_starts_no_thread() -> None:
    prefetch(iter(range(3)), depth=1, name="test")
    assert not [t for t in threading.enumerate() if t.name == "vidrase-test"]


def test_depth_zero_would_be_unbounded() -> None:
    with pytest.raises(OptionError, match="depth of at least 1"):
        prefetch(iter(()), depth=0, name="test")


def test_items_alive_stay_under_the_formula_over_ten_thousand() -> None:
    alive = InFlight()
    stages: Iterator[Item] = prefetch(alive.watch(Item(i) for i in range(10_000)), depth=4, name="a")
    stages = prefetch(stages, depth=4, name="b")
    count = 0
    for window in windows(stages, core=2, before=1, after=2):
        count += len(window.core)
        del window
    assert count == 10_000
    assert alive.peak <= 2 * (4 + 2) + (2 + 1 + 2) + 2
    assert alive.now == 0


def test_clock_counts_nested_stages_apart() -> None:
    clock = Clock()

    def slow(items: Iterator[int], seconds: float) -> Iterator[int]:
        for item in items:
            time.sleep(seconds)
            yield item

    inner = clock.stage("inner", slow(iter(range(3)), 0.02))
    assert list(clock.stage("outer", slow(inner, 0.001))) == [0, 1, 2]
    assert clock.seconds["inner"] > 0.05
    assert clock.seconds["outer"] < 0.05


def test_two_functions_run_side_by_side() -> None:
    both, met = SideBySide("test"), threading.Barrier(2, timeout=5)  # neither passes before the other has come
    assert both(lambda: (met.wait(), "a")[1], lambda: (met.wait(), "b")[1]) == ("a", "b")
    both.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("vidrase-test")]


@pytest.mark.parametrize("fails", ["first", "second"])
def test_an_error_of_either_comes_after_both_have_ended(fails: str) -> None:
    both, ended = SideBySide("test"), []

    def work(name: str) -> None:
        time.sleep(0.02)
        ended.append(name)
        if name == fails:
            raise ValueError(name)

    with pytest.raises(ValueError, match=fails):
        both(lambda: work("first"), lambda: work("second"))
    both.close()
    assert sorted(ended) == ["first", "second"]
