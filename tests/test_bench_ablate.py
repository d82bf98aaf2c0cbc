"""The ablation: what each rule is worth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from vidrase import rules
from vidrase.bench.ablate import Setting, ablation_table, measured, subjects, summary
from vidrase.bench.scenes import synthetic_cases
from vidrase.bench.subjects import Completion, Numbers


@dataclass
class Fake:
    """A case on which `flow.prior` is worth a decibel, and nothing else matters."""

    name: str = "moving/fake"
    group: str = "moving"
    parts: tuple[str, ...] = ("flow", "blend")
    runs: int = 0

    @contextmanager
    def opened(self) -> Iterator[Callable[[], Numbers]]:
        def run() -> Numbers:
            self.runs += 1
            rules.enabled("flow.lend")
            return {"psnr": 30.0 if rules.enabled("flow.prior") else 29.0, "seam": 1.2, "cpu_ms": 5.0}

        yield run


def test_a_rule_that_matters_has_its_gain_and_others_are_not_run() -> None:
    fake = Fake()
    found = measured(fake, lambda _: None)
    assert set(found) == {"", "everything", "flow", "flow.prior"}
    # warm-up, all on, everything, two groups, and of the rules only those asked for, in the group that matters
    assert fake.runs == 2 + 1 + 2 + 2
    rows = {row.method: row.numbers for row in summary([(fake, found)])}
    assert rows["gain of flow.prior"]["psnr"] == pytest.approx(1.0)
    assert rows["gain of flow.lend"]["changed"] == 0
    assert rows["gain of flow.prior"]["seam"] == 0


def test_gains_are_towards_what_is_right() -> None:
    fake = Fake()
    rows = {
        row.method: row.numbers
        for row in summary(
            [(fake, {"": {"psnr": 30.0, "seam": 0.9, "area": 1.2}, "flow": {"psnr": 30.0, "seam": 1.3, "area": 1.0}})]
        )
    }
    assert rows["gain of flow"]["seam"] == pytest.approx(0.2)
    assert rows["gain of flow"]["area"] == pytest.approx(-0.2)


def test_the_table_leaves_out_what_changed_nothing() -> None:
    fake = Fake()
    text = ablation_table(summary([(fake, measured(fake, lambda _: None))]))
    assert "flow.prior | +1.000" in text
    assert "flow.lend" not in text


def test_cases_without_data_are_synthetic_and_the_sample() -> None:
    groups = {one.group for one in subjects(Setting(None))}
    assert groups <= {"synthetic", "sample", "walk"}
    assert "synthetic" in groups


def test_a_rule_of_the_fill_is_measured_on_a_real_case() -> None:
    ref = next(ref for ref in synthetic_cases(6) if ref.name == "synthetic/pan")
    with Completion(ref).opened() as run:
        on = run()
        with rules.without("flow"):
            off = run()
    assert on["psnr"] > off["psnr"] + 1
    assert on["changed_outside"] == off["changed_outside"] == 0
