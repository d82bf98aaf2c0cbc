"""The corpus: a sample in this process on every run, all of it with --slow as processes of their own, as `vidrase bench` does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vidrase.bench.inputs import process
from vidrase.bench.inputs.case import KINDS, Case, Outcome, contents, evaluate, furnish
from vidrase.bench.inputs.corpus import CASES, GROUPS, SAMPLE, named
from vidrase.bench.inputs.measure import run_inputs
from vidrase.bench.results import Results
from vidrase.cli import main as cli


def test_names_are_unique() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 500
    assert len(SAMPLE) < 120


@pytest.mark.inputs
@pytest.mark.parametrize("case", SAMPLE, ids=lambda case: case.name)
def test_input(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    before = furnish(case, tmp_path)
    monkeypatch.chdir(tmp_path)
    capfd.readouterr()
    with pytest.raises(SystemExit) as leaving:
        cli.main(case.command)
    assert not evaluate(case, tmp_path, before, Outcome(int(leaving.value.code or 0), *capfd.readouterr()))


@pytest.mark.inputs
@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_the_whole_corpus(group: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        found = zip(GROUPS[group], pool.map(process.run, GROUPS[group]), strict=True)
        faults = [(case.name, fault) for case, (_, some) in found for fault in some]
    assert not faults


@pytest.mark.inputs
@pytest.mark.parametrize("name", ["into a folder that may not be entered", "a frame that may not be read"])
def test_permissions_hold_for_whoever_runs_this(name: str) -> None:
    outcome, faults = process.run(named(name))
    assert not faults
    assert outcome.code == 1


def faults_of(case: Case, folder: Path, outcome: Outcome, change: str = "") -> set[str]:
    before = furnish(case, folder)
    if change:
        (folder / change).write_bytes(b"other")
    return {fault.kind for fault in evaluate(case, folder, before, outcome)}


FINE = Case("fine", [], makes=("o.mp4",))
REFUSED = Case("refused", [], code=2, says="no such")
WRONG: list[tuple[Case, Outcome, str, str]] = [
    (FINE, Outcome(None, "", "", 60.0), "", "hang"),
    (FINE, Outcome(-11, "", "vidrase: x"), "", "crash"),
    (FINE, Outcome(0, "", "vidrase: internal error, TypeError"), "o.mp4", "traceback"),
    (REFUSED, Outcome(1, "", "vidrase: no such file"), "", "code"),
    (REFUSED, Outcome(2, "", "vidrase: something else"), "", "line"),
    (REFUSED, Outcome(2, "", "no such file"), "", "line"),
    (REFUSED, Outcome(2, "", "vidrase: a\nvidrase: no such file"), "", "line"),
    (REFUSED, Outcome(2, "", "vidrase: no such file"), "mask.png", "lost"),
    (REFUSED, Outcome(2, "", "vidrase: no such file"), "o.left", "left over"),
    (FINE, Outcome(0, "", ""), "other.mp4", "left over"),
    (Case("short", [], makes=("o.mp4",), frames=9), Outcome(0, "", ""), "o.mp4", "result"),
]


@pytest.mark.parametrize(("case", "outcome", "change", "kind"), WRONG, ids=lambda value: str(value)[:30])
def test_what_is_wrong_is_found(case: Case, outcome: Outcome, change: str, kind: str, tmp_path: Path) -> None:
    assert kind in KINDS
    assert kind in faults_of(case, tmp_path, outcome, change)


def test_what_is_right_has_no_fault(tmp_path: Path) -> None:
    assert not faults_of(REFUSED, tmp_path, Outcome(2, "", "vidrase: no such file"))
    assert contents(tmp_path).keys() == {"in.mp4", "mask.png"}


def test_the_suite_runs_cases_as_processes() -> None:
    results = Results(say=lambda _: None)
    run_inputs(results, ("--crf of nan", "a name that is too long", "pulled to no home"), 2)
    cases = {row.case: row for row in results.rows if row.case != "all"}
    assert {row.texts["found"][:2] for row in cases.values()} == {"1 ", "2 "}
    assert not any("vidrase-inputs-" in text for row in cases.values() for text in row.texts.values())
    assert sum(row.numbers["cases"] for row in results.rows if row.case == "all") == len(cases)
    assert not results.failures
