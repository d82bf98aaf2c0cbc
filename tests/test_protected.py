"""What is protected beside a hole: other objects, not scenery, and all beyond a region."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import fakes
import numpy as np
import pytest
import synth
from clips import write_clip
from numpy.typing import NDArray
from test_fill_residual import _clip, _found

from vidrase import engine
from vidrase.choice import choose
from vidrase.errors import SourceError
from vidrase.flow import load_flow
from vidrase.frames import Frame, Hole, HoleFrame
from vidrase.inpaint import load_inpainter
from vidrase.labels import SCENERY, scenery
from vidrase.options import Rectangle, SelectOptions, options_from
from vidrase.passes import analysed
from vidrase.protected import protected_beyond, with_protected
from vidrase.report import Notes
from vidrase.run import FirstPass, Models, Run
from vidrase.select import select
from vidrase.source import open_source
from vidrase.summary import TrackSummary

SIZE = (96, 128)
NAMES = {0: "person", 1: "cat", 2: "dog", 3: "bed", 4: "couch", 5: "chair"}


def _box(x0: int, y0: int, x1: int, y1: int) -> NDArray[np.bool_]:
    mask = np.zeros(SIZE, bool)
    mask[y0:y1, x0:x1] = True
    return mask


CAT, TWICE, FRIEND, BED = _box(40, 30, 70, 80), _box(42, 32, 70, 80), _box(60, 40, 90, 90), _box(0, 60, 128, 96)


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        ((), FRIEND),
        (("bed",), FRIEND | BED),
        (("id:4",), FRIEND | BED),
        (("dog",), FRIEND),
        (("sofa",), FRIEND | BED),  # detectors waver between seats
    ],
)
def test_other_objects_are_protected_but_neither_scenery_nor_duplicates_of_the_removed(
    keep: tuple[str, ...], expected: NDArray[np.bool_]
) -> None:
    frame = synth.as_frames([synth.texture(*SIZE)])[0]
    found = fakes.instances([CAT, TWICE, FRIEND, BED], labels=["cat", "dog", "person", "bed"], ids=[1, 2, 3, 4])
    selection = select(SelectOptions(remove=("cat",), keep=keep), None, NAMES)
    holes = [HoleFrame(frame, Hole.of(CAT, CAT))]
    out = next(iter(with_protected(holes, lambda _: found, selection, SCENERY)))
    assert out.protected_hole is not None
    assert np.array_equal(out.protected_hole.full_area(), expected)
    assert (out.scenery is None) == (expected is not FRIEND)
    whole = next(
        iter(with_protected(holes, lambda _: found, selection, SCENERY, {4: "boat"}))
    )  # of all frames together
    assert whole.protected_hole is not None
    assert np.array_equal(whole.protected_hole.full_area(), FRIEND | BED)


def test_a_region_keeps_shadows_inside_it_too() -> None:
    clip, _ = _clip(0.55)
    region = Rectangle(0, 0, 200, 72)
    frames = [HoleFrame(f.frame, f.hole, protected_hole=protected_beyond(f, region)) for f in clip]
    assert all(not found.hole.full_area()[72:].any() for found in _found(frames) if found.hole is not None)


def test_what_a_stage_does_not_change_it_hands_on() -> None:
    clip, _ = _clip(0.55)
    region = Hole.of(_box(0, 0, 9, 9))
    frames = [replace(f, scenery=region, searched=False, passes=True) for f in clip]
    out = _found(frames)
    assert any(after.hole is not before.hole for before, after in zip(frames, out, strict=True))
    assert all(after.scenery is region and not after.searched and after.passes for after in out)
    nothing = select(SelectOptions(remove=("cat",)), None, NAMES)
    empty = fakes.instances([np.zeros(SIZE, bool)])
    out = list(with_protected(frames, lambda _: empty, nothing))
    assert all(not after.searched and after.passes for after in out)


def test_scenery_is_what_nobody_names() -> None:
    assert scenery(["person", "people, cats", "id:3"], NAMES) == SCENERY
    assert scenery(["person,0"], NAMES) == SCENERY
    assert scenery(["all"], NAMES) == frozenset()
    for word in ("sofas", "bed", "4", "person,chair"):  # detectors waver between seats
        assert scenery([word], NAMES) == SCENERY - {"bed", "couch", "bench"}


def _broken(*_: object) -> Iterator[Frame]:
    raise SourceError("gone")


def test_a_couch_is_background_until_it_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a still camera it is in the plate; once a phrase chooses it, the shots are analysed again."""
    shown, _, _ = synth.clip(40, *SIZE, step=(0, 0), size=0)
    write_clip(tmp_path / "clip.mp4", shown)
    scene = fakes.SceneSegmenter(("couch", 60, 40, 110, 80), ("person", 10, 20, 30, 70))
    scene.names = NAMES  # type: ignore[misc]
    models = Models(load_flow("dis", note=print), load_inpainter("auto"), scene)  # type: ignore[arg-type]

    def known(remove: str) -> tuple[bool, bool]:
        """(whether the first pass takes the couch for background, whether the second pass does)."""
        run = Run(options_from({"remove": remove}), models, Notes())
        with open_source(tmp_path / "clip.mp4") as source, ExitStack() as stack:
            seen = engine.first_pass(source, run, stack)
            assert seen.store is not None
            assert seen.analysis is not None
            before = seen.analysis.shots[0].plate
            again = analysed(source, run, seen, choose(run, source.info, seen.store, seen.seconds))
            assert again is not None
            after = again.shots[0].plate
            assert before is not None
            assert after is not None
            return before.known[0][50:70, 70:100].all(), after.known[0][50:70, 70:100].any()

    run = Run(options_from({"remove": "the thing on the right"}), models, Notes())
    with open_source(tmp_path / "clip.mp4") as source, ExitStack() as stack:
        seen = engine.first_pass(source, run, stack)
        assert seen.store is not None
        selection = choose(run, source.info, seen.store, seen.seconds)
        with monkeypatch.context() as broken, pytest.raises(SourceError):
            broken.setattr("vidrase.passes.decoded", _broken)
            analysed(source, run, seen, selection)
        again = analysed(source, run, seen, selection)  # what failed once counts for nothing
        assert again is not None
        assert again.shots[0].plate is not None
        assert not again.shots[0].plate.known[0][50:70, 70:100].any()
    assert known("person") == (True, True)
    assert known("couch") == (False, False)
    assert known("the thing on the right") == (True, False)


def test_an_object_once_labelled_furniture_is_no_background(monkeypatch: pytest.MonkeyPatch) -> None:
    track = TrackSummary(1, "person", 0, 9, 0.0, 1.0, 10, labels=frozenset({"person", "fire hydrant"}))
    store = SimpleNamespace(tracks=lambda: [track])
    monkeypatch.setattr("vidrase.passes.analyse_again", lambda source, run, store, times, scenery, trails: scenery)
    seen = FirstPass(None, array("d"), store, SCENERY)  # type: ignore[arg-type]
    run = SimpleNamespace(clock=SimpleNamespace(add=lambda *_: None))
    selection = SimpleNamespace(ids=frozenset({1}))
    assert analysed(None, run, seen, selection) == SCENERY - {"fire hydrant"}  # type: ignore[arg-type]
