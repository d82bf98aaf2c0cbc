"""How many workers a machine takes, and what each is given."""

from __future__ import annotations

from fractions import Fraction

import pytest
import synth

from vidrase.chunks import machine
from vidrase.chunks.pool import Machine
from vidrase.frames import SourceInfo
from vidrase.options import ModelOptions, Options

VGA = SourceInfo("video", None, "clip", 640, 480, synth.YUV420, Fraction(1, 25))
UHD = SourceInfo("video", None, "clip", 3840, 2160, synth.YUV420, Fraction(1, 25))


@pytest.mark.parametrize(
    ("cores", "free", "gpus", "info", "expected"),
    [
        (2, 16000, 0, VGA, Machine(1, 2, (), "2 cores")),
        (16, 64000, 0, VGA, Machine(8, 2, (), "16 cores")),
        (16, 3000, 0, VGA, Machine(3, 5, (), "3000 MiB of free memory")),
        (16, 9000, 0, UHD, Machine(2, 8, (), "9000 MiB of free memory")),
        (64, None, 2, VGA, Machine(4, 16, ("cuda:0", "cuda:1"), "2 GPUs")),
    ],
)
def test_auto_takes_what_is_scarcest(
    monkeypatch: pytest.MonkeyPatch, cores: int, free: int | None, gpus: int, info: SourceInfo, expected: Machine
) -> None:
    monkeypatch.setattr(machine, "cores", lambda: cores)
    monkeypatch.setattr(machine, "free_mib", lambda: free)
    monkeypatch.setattr(machine, "gpus_for", lambda options: gpus)
    assert machine.choose("auto", info, Options()) == expected


def test_a_number_is_taken_as_it_is_and_gpus_are_dealt_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 8)
    monkeypatch.setattr(machine, "gpus_for", lambda options: 2)
    chosen = machine.choose(3, VGA, Options())
    assert (chosen.workers, chosen.threads, chosen.why) == (3, 2, "as asked")
    assert [chosen.device(place, "auto") for place in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    named = machine.choose(3, VGA, Options(models=ModelOptions(device="cuda:1")))
    assert [named.device(place, "cuda:1") for place in range(3)] == ["cuda:1"] * 3


def test_jobs_of_a_batch_are_no_more_than_its_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 16)
    monkeypatch.setattr(machine, "free_mib", lambda: 64000)
    assert machine.jobs(3, None) == (3, 5)
    assert machine.jobs(100, None) == (8, 2)
    assert machine.jobs(100, 5) == (5, 3)
