"""Ctrl-C ends a run with exit code 130, and SIGTERM with 143, and nothing half done, at any moment.

Python raises KeyboardInterrupt between any two steps, and some places do not stand that: an import that is broken off leaves its
lock taken (the process then hangs) or comes out as another error, and in `__del__` and the callbacks of C code the exception
is dropped. So the handler looks where the program is; where it must not raise it comes back a little later, and after
raising it comes back to see whether the exception was lost. A second Ctrl-C does not disturb the clean-up; a third ends at once.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from types import FrameType
from typing import Any, NoReturn

EXIT_CODE = 130
AGAIN_SECONDS = 0.02  # after a moment that must not be disturbed
LOST_SECONDS = 0.5  # after which an exception that nobody is handling counts as dropped
AT_ONCE = 3  # presses
_IMPORT = "<frozen importlib"
_CLEANING = frozenset({"__del__", "__exit__"})

_presses = 0
_ended = EXIT_CODE


def install() -> None:
    """From now on Ctrl-C is raised only where it does no harm."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return  # started with interrupts ignored, as by nohup
    signal.signal(signal.SIGINT, _handle)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:  # `kill`, a service manager, a full queue of jobs
        signal.signal(signal.SIGTERM, _handle)
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, _handle)
    sys.unraisablehook = _not_lost


def asked() -> bool:
    """Whether somebody pressed Ctrl-C: then any error after it is only its consequence."""
    return _presses > 0


def ignore() -> None:
    """Ignore further signals: the run is over, and they must not disturb the exit."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)


def leave(code: int | None = None) -> NoReturn:
    """End the process, with `code` or what the interrupt calls for.

    At once: a thread that is still in the middle of something must not hold up or crash the way out.
    """
    atexit._run_exitfuncs()  # files that nobody kept go here
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(_ended if code is None else code)


def _handle(number: int, frame: FrameType | None) -> None:
    global _presses, _ended
    _presses += number in (signal.SIGINT, signal.SIGTERM)
    if number == signal.SIGTERM:
        _ended = 128 + signal.SIGTERM
    if _presses >= AT_ONCE:
        leave()
    if not hasattr(signal, "setitimer"):
        raise KeyboardInterrupt
    if _on_its_way(sys.exc_info()[1]):
        signal.setitimer(signal.ITIMER_REAL, LOST_SECONDS)
    elif _must_not_raise(frame):
        signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)
    else:
        signal.setitimer(signal.ITIMER_REAL, LOST_SECONDS)
        raise KeyboardInterrupt


def _on_its_way(error: BaseException | None) -> bool:
    """Whether what runs now is the clean-up after a KeyboardInterrupt."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__context__
    return False


def _must_not_raise(frame: FrameType | None) -> bool:
    while frame is not None:
        code = frame.f_code
        if code.co_name in _CLEANING or code.co_filename.startswith(_IMPORT):
            return True
        frame = frame.f_back
    return False


def _not_lost(what: Any) -> None:
    if not issubclass(what.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(what)
    elif hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)
