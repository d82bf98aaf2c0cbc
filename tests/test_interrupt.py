"""Ctrl-C at awkward moments: never lost, never turned into another error, never in the middle of an import or a clean-up."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from vidrase.part import Part

DRIVER = """
import signal, sys, time
from vidrase.cli import interrupt
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background inherits "ignored"
interrupt.install()
sys.path.insert(0, {here!r})
def press(): signal.raise_signal(signal.SIGINT)
def wait():
    for _ in range(500): time.sleep(0.01)
try:
{body}
    wait()
except KeyboardInterrupt:
    print("raised", interrupt.asked())
"""
MOMENTS = {
    "plain code": "    press()\n    print('passed')",
    "an import": "    import loaded\n    print('loaded', loaded.whole)",
    "a clean-up": (
        "    class Held:\n"
        "        def __enter__(self): pass\n"
        "        def __exit__(self, *_): press(); print('closed')\n"
        "    with Held(): pass"
    ),
    "a destructor": "    class Gone:\n        def __del__(self): press(); print('gone')\n    Gone()",
    "a callback that drops errors": (
        "    import weakref\n"
        "    class Thing: pass\n"
        "    thing = Thing()\n"
        "    seen = weakref.ref(thing, lambda _: press())\n"
        "    del thing\n"
        "    print('dropped')"
    ),
    "code that swallows it": "    try: press()\n    except BaseException: print('swallowed')",
    "the clean-up after it": (
        "    try: press()\n    finally:\n        press(); time.sleep(0.6)\n        print('cleaned')"
    ),
}
SAYS = {
    "plain code": "raised True",
    "an import": "loaded True\nraised True",
    "a clean-up": "closed\nraised True",
    "a destructor": "gone\nraised True",
    "a callback that drops errors": "dropped\nraised True",
    "code that swallows it": "swallowed\nraised True",
    "the clean-up after it": "cleaned\nraised True",
}


@pytest.mark.skipif(
    not hasattr(__import__("signal"), "setitimer"), reason="needs an interval timer, which Windows lacks"
)
@pytest.mark.parametrize("moment", MOMENTS)
def test_it_is_raised_once_it_does_no_harm(moment: str, tmp_path: Path) -> None:
    (tmp_path / "loaded.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\nwhole = True\n")
    code = DRIVER.format(here=str(tmp_path), body=MOMENTS[moment])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == SAYS[moment]
    assert not done.stderr


def test_an_error_that_ctrl_c_caused_is_no_error(tmp_path: Path) -> None:
    code = (
        "import signal, sys\n"
        "from vidrase import __main__ as entry\n"
        "from vidrase.cli import main\n"
        "def broken(*_, **__):\n"
        "    try: signal.raise_signal(signal.SIGINT)\n"
        "    except KeyboardInterrupt: raise RuntimeError('made of it in C')\n"
        "main.cli.main = broken\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "entry.start()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 130
    assert done.stderr == "vidrase: interrupted; nothing half done was left behind\n"


@pytest.mark.parametrize("folder", [False, True])
def test_a_part_that_nobody_kept_goes(tmp_path: Path, folder: bool) -> None:
    part = Part(tmp_path / "o.mp4", folder=folder)
    assert part.path.exists()
    del part
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_a_part_has_room_for_long_names(tmp_path: Path) -> None:
    to = tmp_path / f"{'映' * 80}.mp4"
    part = Part(to)
    part.keep()
    assert to.exists()
    part.drop()
    assert to.exists()
