"""The plan of chunks: everything once, at cuts where it can, bounded in length."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidrase.chunks.plan import LEAD, LONGEST, SHORTEST, bounds, chunks_of, halo, target
from vidrase.options import Options, SelectOptions
from vidrase.shots import Shot, ShotAnalysis


def shots(*lengths: int) -> ShotAnalysis:
    made, start = [], 0
    for length in lengths:
        made.append(Shot(start, start + length, "free"))
        start += length
    return ShotAnalysis(tuple(made))


def planned(analysis: ShotAnalysis, length: int, options: Options | None = None) -> list:
    frames = analysis.shots[-1].stop
    edges = bounds(analysis, frames, length)
    return chunks_of(edges, analysis, [n / 25 for n in range(frames)], options or Options())


@given(st.lists(st.integers(1, 700), min_size=1, max_size=30), st.integers(20, 400))
def test_every_frame_is_in_one_chunk(lengths: list[int], length: int) -> None:
    chunks = planned(shots(*lengths), length)
    assert [n for chunk in chunks for n in range(chunk.start, chunk.stop)] == list(range(sum(lengths)))
    assert all(len(chunk) <= 2 * length for chunk in chunks)
    cuts = {0, *(shot.start for shot in shots(*lengths).shots)}
    for chunk in chunks:
        assert (chunk.lead == 0) == (chunk.start in cuts)
        assert chunk.first <= chunk.start - chunk.lead
        assert chunk.stop <= chunk.last


def test_chunks_end_at_cuts_and_need_no_more_there() -> None:
    chunks = planned(shots(80, 90, 100, 30), 200)
    assert [(chunk.start, chunk.stop) for chunk in chunks] == [(0, 170), (170, 300)]
    assert [(chunk.first, chunk.last) for chunk in chunks] == [(0, 170), (170, 300)]


def test_a_long_shot_is_divided_and_its_stretches_overlap() -> None:
    reach = halo(Options())
    a, b, c = planned(shots(900), 300)
    assert [(one.start, one.stop) for one in (a, b, c)] == [(0, 300), (300, 600), (600, 900)]
    assert (b.lead, b.first, b.last) == (LEAD, 300 - LEAD - reach, 600 + reach)
    assert (a.lead, a.first, c.last) == (0, 0, 900)


def test_only_what_the_times_ask_for_is_planned() -> None:
    options = Options(select=SelectOptions(times=((2.0, 4.0), (30.0, 31.0))))
    chunks = planned(shots(1000), 100, options)
    assert [(chunk.start, chunk.stop) for chunk in chunks] == [(50, 100), (750, 775)]
    assert [chunk.lead for chunk in chunks] == [0, 0]


@pytest.mark.parametrize(
    ("workers", "frames", "length"), [(1, 10**5, LONGEST), (2, 1500, 750), (2, 900, SHORTEST), (4, 8000, 1000)]
)
def test_the_length_suits_the_workers(workers: int, frames: int, length: int) -> None:
    assert target(frames, workers) == length


def test_a_clip_in_one_shot_gives_every_worker_as_many_chunks() -> None:
    for workers in (2, 3, 8):
        for frames in (20_000, 90_000):
            made = planned(shots(frames), target(frames, workers))
            assert len(made) % workers in (0, 1, workers - 1)
            assert max(map(len, made)) - min(map(len, made)) <= 1
