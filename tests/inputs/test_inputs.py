"""Every row of the tables: the right output, or one clear line, and nothing lost."""

from __future__ import annotations

from pathlib import Path

import byproducts
import filenames
import pytest
import recordings
from casetable import Case, run

CASES = [*filenames.CASES, *byproducts.CASES, *recordings.CASES]


def test_names_are_unique() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.inputs
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_input(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    run(case, tmp_path, monkeypatch, capfd)
