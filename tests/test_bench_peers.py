"""The others: they fill the hole and nothing else, and the evaluation tells good from bad."""

from __future__ import annotations

import shutil
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch
from synth import clip

from vidrase.bench.case import Case, CaseRef, blanked
from vidrase.bench.chain import NaiveChain
from vidrase.bench.evaluation import INVISIBLE, MEASURES, Evaluation
from vidrase.bench.logo import Delogo, LogoFilter, RemoveLogo
from vidrase.bench.peers import Biharmonic, OpenCv, Peer, missing, peers
from vidrase.bench.perceptual import load_lpips
from vidrase.bench.quality import run_cases
from vidrase.bench.results import Results
from vidrase.options import Options


def case(frames: int = 8, pan: tuple[float, float] = (0.0, 2.0)) -> Case:
    _, masks, truth = clip(frames, pan=pan, step=(0, 9))
    return Case("moving/test", "moving", blanked(truth, masks), masks, truth, public=True)


@pytest.mark.parametrize("peer", [p for p in peers() if not isinstance(p, LogoFilter)], ids=lambda peer: peer.name)
def test_a_peer_changes_nothing_outside_the_hole(peer: Peer) -> None:
    given = case()
    filled = peer.complete(given.shown, given.holes)
    assert len(filled) == len(given.shown)
    for result, shown, hole in zip(filled, given.shown, given.holes, strict=True):
        assert result.dtype == np.uint8
        assert (result[~hole] == shown[~hole]).all()
        assert (result[hole] != shown[hole]).any()


def test_biharmonic_fills_a_still() -> None:
    pytest.importorskip("skimage")
    given = case(1)
    (filled,) = Biharmonic().complete(given.shown, given.holes)
    assert (filled[~given.holes[0]] == given.shown[0][~given.holes[0]]).all()
    assert Evaluation(given)([filled])["psnr"] > 12


def test_the_naive_chain_finds_what_is_visible_at_another_time() -> None:
    given = case()
    evaluate = Evaluation(given)
    naive = evaluate(NaiveChain(5).complete(given.shown, given.holes))
    telea = evaluate(OpenCv("telea", cv2.INPAINT_TELEA).complete(given.shown, given.holes))
    assert naive["psnr"] > 26
    assert naive["psnr"] > telea["psnr"] + 5
    assert naive["flicker"] < telea["flicker"]


def test_the_naive_chain_passes_frames_without_a_hole_and_all_hole() -> None:
    given = case(3)
    nothing = [np.zeros_like(hole) for hole in given.holes]
    same = NaiveChain(3).complete(given.truth, nothing)
    assert all((a == b).all() for a, b in zip(same, given.truth, strict=True))
    whole = [np.ones_like(hole) for hole in given.holes]
    assert len(NaiveChain(3).complete(given.truth, whole)) == 3


def test_the_evaluation_knows_the_truth_and_every_kind_of_fault() -> None:
    given = case()
    evaluate = Evaluation(given)
    right = evaluate(given.truth)
    assert right["psnr"] == INVISIBLE
    assert right["flicker"] == pytest.approx(1.0)
    assert right["seam"] == pytest.approx(1.0)
    assert right["changed_outside"] == 0
    assert set(right) <= set(MEASURES)

    def spoiled(change: object) -> dict[str, float]:
        frames = [truth.copy() for truth in given.truth]
        for t, (frame, hole) in enumerate(zip(frames, given.holes, strict=True)):
            change(frame, hole, t)  # type: ignore[operator]
        return evaluate(frames)

    def flat(frame: np.ndarray, hole: np.ndarray, t: int) -> None:
        frame[hole] = frame[hole].mean(0)

    def flickering(frame: np.ndarray, hole: np.ndarray, t: int) -> None:
        frame[hole] = np.clip(frame[hole].astype(int) + (30 if t % 2 else -30), 0, 255)

    def outside(frame: np.ndarray, hole: np.ndarray, t: int) -> None:
        frame[0, 0] += 1

    assert spoiled(flat)["texture"] < -0.005
    assert spoiled(flickering)["flicker"] > 2
    assert spoiled(flickering)["seam"] > 2
    assert spoiled(outside)["changed_outside"] == len(given.truth)
    assert evaluate(given.truth[:-1]) == {"frames_missing": 1.0}


def test_one_broken_method_does_not_end_the_run() -> None:
    class Broken:
        name, videos, stills = "broken", True, True

        def complete(self, shown: object, holes: object) -> list[np.ndarray]:
            raise RuntimeError("no such luck")

    results = Results(say=lambda text: None)
    run_cases([CaseRef("moving/test", case)], [Broken(), OpenCv("telea", cv2.INPAINT_TELEA)], results, "quality")
    assert [row.method for row in results.rows] == ["telea"]
    assert results.failures[0]["error"] == "RuntimeError: no such luck"


@pytest.mark.parametrize("peer", [RemoveLogo(), Delogo()], ids=lambda peer: peer.name)
def test_logo_filters_need_a_hole_that_stays(peer: LogoFilter) -> None:
    given = case(3)
    assert not peer.can(given.holes)
    still = [given.holes[0]] * 3
    assert peer.can(still)
    if not LogoFilter.here():
        pytest.skip("no ffmpeg here")
    for hole in (still[0], np.ones_like(still[0])):
        filled = peer.complete(given.truth, [hole] * 3)
        assert len(filled) == 3
        assert (filled[1][~hole] == given.truth[1][~hole]).all()
        assert (filled[1][hole] != given.truth[1][hole]).any()


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert any("no ffmpeg" in line for line in missing())
    assert not any("ffmpeg" in peer.name for peer in peers())
    assert not any("ffmpeg" in line for line in missing(stills=True))


def test_memory_lengths_exceed_every_window() -> None:
    from vidrase.bench.speed import FULL, FULL_WINDOWS, QUICK
    from vidrase.passes import max_frames_in_flight

    assert max_frames_in_flight(Options()) < FULL_WINDOWS
    assert all(length >= FULL_WINDOWS for plan in (QUICK, FULL) for length in plan.lengths[1:])


def test_lpips_is_never_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    load_lpips.cache_clear()
    assert load_lpips() is None
    load_lpips.cache_clear()


def test_lpips_is_asked_when_it_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Network(torch.nn.Module):
        def __init__(self, net: str, verbose: bool) -> None:
            super().__init__()

        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            assert a.shape == (1, 3, 40, 50)
            assert a.min() >= -1
            assert a.max() <= 1
            return (a - b).abs().mean()

    module = ModuleType("lpips")
    module.LPIPS = Network  # type: ignore[attr-defined]
    module.__spec__ = ModuleSpec("lpips", None)
    monkeypatch.setitem(sys.modules, "lpips", module)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub" / "checkpoints" / "alexnet-owt-7be5be79.pth").touch()
    load_lpips.cache_clear()
    distance = load_lpips()
    assert distance is not None
    black, white = np.zeros((40, 50, 3), np.uint8), np.full((40, 50, 3), 255, np.uint8)
    assert distance(black, white) == pytest.approx(2.0)
    assert np.isnan(distance(black[:20], white[:20]))
    load_lpips.cache_clear()
