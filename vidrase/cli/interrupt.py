"""Ctrl-C ends a run with exit code 130 and nothing half done, whatever moment it hits.

Python raises KeyboardInterrupt between any two steps, and some places do not stand that: an import that is broken off leaves its
lock taken (the process then hangs) or comes out as another error, and in `__del__` and the callbacks of C code the exception
is dropped. So the handler looks where the program is, and where it must not raise it comes back a little later.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from types import FrameType
from typing import Any, NoReturn

EXIT_CODE = 130
AGAIN_SECONDS = 0.02
_IMPORT = "<frozen importlib"
_CLEANING = frozenset({"__del__", "__exit__"})

_asked = False


def install() -> None:
    """From now on Ctrl-C is raised only where it does no harm."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return  # started with interrupts ignored, as by nohup
    signal.signal(signal.SIGINT, _handle)
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, _handle)
    sys.unraisablehook = _not_lost


def asked() -> bool:
    """Whether somebody pressed Ctrl-C: then any error after it is only its consequence."""
    return _asked


def ignore() -> None:
    """The run is over; what comes now is not to disturb the way out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)


def leave() -> NoReturn:
    """End the process. At once: a thread that is still in the middle of something must not hold up or crash the way out."""
    atexit._run_exitfuncs()  # files that nobody kept go here
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(EXIT_CODE)


def _handle(_: int, frame: FrameType | None) -> None:
    global _asked
    _asked = True
    if hasattr(signal, "setitimer") and _must_not_raise(frame):
        signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)
        return
    raise KeyboardInterrupt


def _must_not_raise(frame: FrameType | None) -> bool:
    while frame is not None:
        code = frame.f_code
        if code.co_name in _CLEANING or code.co_filename.startswith(_IMPORT):
            return True
        frame = frame.f_back
    return False


def _not_lost(what: Any) -> None:
    if issubclass(what.exc_type, KeyboardInterrupt) and hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)
    else:
        sys.__unraisablehook__(what)
