"""Guards that hold for every test, and the way to the optional data."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

if (
    "PYTEST_XDIST_WORKER" in os.environ
):  # as many processes as cores: threads of OpenMP would spin while they wait for a core
    os.environ.setdefault(
        "OMP_NUM_THREADS", "1"
    )  # before NumPy and PyTorch load; two training tests took three times as long

import numpy as np
import pytest

BUDGET = 300  # s: what `make test` may take on two cores
STARTED = pytest.StashKey[float]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[STARTED] = time.monotonic()


@pytest.hookimpl(trylast=True)  # after the slowest tests
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """How long the whole suite took, beside its budget; only told when it is too long, since machines differ."""
    if any(
        config.getoption(name, None) for name in ("file_or_dir", "keyword", "markexpr", "slow", "collectonly", "lf")
    ):
        return
    seconds = time.monotonic() - config.stash[STARTED]
    if seconds <= BUDGET:
        terminalreporter.write_line(f"test suite: {seconds:.0f} s of the budget of {BUDGET} s", green=True)
        return
    terminalreporter.write_line(
        f"warning: test suite: {seconds:.0f} s, over the budget of {BUDGET} s on two cores (here: {os.cpu_count()}); "
        "the slowest are listed above, what to do is in CONTRIBUTING.md, Tests",
        yellow=True,
    )


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow"):
        return
    skip = pytest.mark.skip(reason="slow: run with --slow (make test-all)")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


def required(what: str) -> bool:
    """True when VIDRASE_REQUIRE turns the skip of `what` into a failure."""
    return what in os.environ.get("VIDRASE_REQUIRE", "").split(",")


def _folder(variable: str, what: str) -> Path:
    value = os.environ.get(variable, "")
    if value and Path(value).is_dir():
        return Path(value)
    reason = f"{variable} is not set to a folder: {what}"
    if required(variable):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def model_dir() -> Path:
    """Folder with yolov8n-seg.pt."""
    return _folder("VIDRASE_MODEL_DIR", "COCO weights are not at hand")


@pytest.fixture
def data_dir() -> Path:
    """Folder with clips/, seg/, images/, masks/."""
    return _folder("VIDRASE_DATA", "the reference clips are not at hand")


@pytest.fixture(autouse=True)
def _same_random_numbers() -> Iterator[None]:
    state, legacy = random.getstate(), np.random.get_state()
    yield
    random.setstate(state)
    np.random.set_state(legacy)


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    yield
    deadline = time.monotonic() + 1.0
    while alive := [t.name for t in threading.enumerate() if t.name.startswith("vidrase-")]:
        if time.monotonic() > deadline:
            pytest.fail(f"threads still alive: {alive}")
        time.sleep(0.02)


@pytest.fixture(autouse=True)
def _no_part_left(tmp_path: Path) -> Iterator[None]:
    yield
    parts = [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.part*")]
    assert not parts, f"unfinished output left: {parts}"
