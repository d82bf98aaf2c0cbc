"""Too little memory: one line that says what was needed and what to do, before the work where that can be known."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest

from vidrase.bench.inputs import process
from vidrase.bench.inputs.corpus import named
from vidrase.cli import memory
from vidrase.cli.main import _told

ERRORS: dict[str, BaseException] = {
    "Python's own": MemoryError(),
    "the system's": OSError(errno.ENOMEM, "Cannot allocate memory"),
    "torch's": RuntimeError("[enforce fail at alloc_cpu.cpp:119] err == 0. DefaultCPUAllocator: can't allocate memory"),
    "a thread's": RuntimeError("can't start new thread"),
    "a library's": ImportError("libtorch_cpu.so: failed to map segment from shared object"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_a_lack_of_memory_is_reported_as_one(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    consequence = OSError("cannot write o.mp4: clip.mp4 gave no frame")
    consequence.__cause__ = ERRORS[name]
    assert _told(consequence, ["clip.mp4", "--remove", "person"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("vidrase: out of memory: ")
    assert "--quality fast, a smaller --imgsz" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "helps"),
    [
        (
            ["clip.mp4", "--mask", "m.png"],
            ", or give --inpainter telea (about 300 MB less), --quality fast or a smaller picture",
        ),
        (["clip.mp4", "--mask", "m.png", "--inpainter", "telea"], ", or give --quality fast or a smaller picture"),
        (["live", "0", "--remove", "person"], ", or give --level 4 or a smaller --size"),
        (["bench"], "close other programs"),
    ],
)
def test_what_helps_is_what_the_command_has(words: list[str], helps: str) -> None:
    line = memory.lacking(MemoryError(), words)
    assert line is not None
    assert line.endswith(helps)
    assert ("--imgsz" in line) == ("--imgsz" in helps)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the address space")
@pytest.mark.parametrize("name", ["a mask at 480p in 1400 MB", "people and a mask at 480p in 1000 MB"])
def test_little_memory_is_one_line(name: str) -> None:
    outcome, faults = process.run(named(name))
    assert not faults
    assert outcome.code in (1, 2)


def test_other_errors_are_none_of_memory() -> None:
    for error in (RuntimeError("shapes differ"), ValueError("out of memory"), OSError(errno.ENOSPC, "full")):
        assert memory.lacking(error) is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the address space")
@pytest.mark.parametrize(("words", "what"), [("--mask m.png", "a run with masks"), ("--remove person", "detecting")])
def test_a_limit_that_is_too_low_is_known_before(words: str, what: str) -> None:
    code = "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))\n"
    code += f"sys.argv = ['vidrase', 'clip.mp4', *{words.split()!r}]\nfrom vidrase.__main__ import start\nstart()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("vidrase: this process may have 400 MB of memory (ulimit -v), and " + what)
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the address space")
def test_what_libraries_print_is_kept_and_understood() -> None:
    code = "import os, resource; resource.setrlimit(resource.RLIMIT_AS, 2 * (2000 << 20,))\n"
    code += "from vidrase.cli import memory\nfrom vidrase.cli.main import _told\nmemory.check(['a.mp4', '--mask', 'm.png'])\n"
    code += "os.write(2, b'x264 [error]: malloc of size 7088704 failed\\n')\n_told(OSError('Generic error'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.startswith("vidrase: out of memory: the run needs more than the limit of 2000 MB")
    assert done.stderr.count("\n") == 1
