"""Processes that work through numbered items for this one. An item whose process dies is begun again by another.

A process is told what to do on its standard input and answers on its standard output, a line of JSON for each message. It ends
with its parent, however that ends: the input is closed then. The only pickled thing it reads comes from that parent.
"""

from __future__ import annotations

import importlib
import json
import os
import pickle
import queue
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import IO, Any, cast

from vidrase import errors
from vidrase.closable import Closable
from vidrase.errors import VidraseError

ATTEMPTS = 3  # times that an item is begun before its dying processes count
_LENGTH = struct.Struct("<Q")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

Tell = Callable[..., None]
"""Called with the fields of a message to the parent."""
Serve = Callable[[Any, Iterator[int], Tell], None]
"""What a process does: (what it was told at first, the items as they are named, tell). It tells `done=number` after each."""


class Crew(Closable):
    """A thread for each process: it names items, and listens."""

    def __init__(
        self,
        serve: str,
        told: Callable[[int], object],
        items: Sequence[int],
        *,
        size: int,
        threads: int,
        heard: Callable[[int, dict[str, Any]], None],
        gave_up: Callable[[int, str], None],
    ) -> None:
        """serve: "module:function" of a `Serve`. told: number of the process -> what it is told at first, to be pickled.

        size: processes; threads: of each one's libraries.
        heard: called with an item and every message but the last, one at a time; with {"died": True} where its process died.
        gave_up: called with an item that was begun `ATTEMPTS` times, and how the process ended; may raise.
        """
        self._serve, self._told, self._threads = serve, told, threads
        self._heard, self._gave_up = heard, gave_up
        self._todo, self._done, self._attempts = deque(items), set[int](), dict.fromkeys(items, 0)
        self._error: BaseException | None = None
        self._stopped = False
        self._changed = threading.Condition(threading.RLock())
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._listeners = [
            threading.Thread(target=self._keep_one, args=(place,), name=f"vidrase-crew-{place}", daemon=True)
            for place in range(min(size, len(self._todo)))
        ]
        for thread in self._listeners:
            thread.start()

    def wait(self, item: int) -> None:
        """Until the item is done. Raises what went wrong, in any item."""
        with self._changed:
            self._changed.wait_for(lambda: item in self._done or self._error is not None)
            if self._error is not None:
                raise self._error

    def close(self) -> None:
        """End all processes."""
        with self._changed:
            self._stopped = True
            running = list(self._running.values())
        for process in running:
            with suppress(OSError, ValueError):
                cast(IO[bytes], process.stdin).close()  # at which it ends by itself
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
        for thread in self._listeners:
            thread.join()

    def _keep_one(self, place: int) -> None:
        try:
            while not self._stopped and self._todo:
                self._one_process(place)
        except BaseException as error:  # noqa: BLE001 - raised in `wait`
            with self._changed:
                self._error = self._error or error
                self._changed.notify_all()

    def _one_process(self, place: int) -> None:
        """One process, for as long as it lives and there are items."""
        process = self._started(place)
        stdin = cast(IO[bytes], process.stdin)
        try:
            data = pickle.dumps(self._told(place))
            with suppress(OSError, ValueError):  # it is dead: the item is told to have failed below
                stdin.write(_LENGTH.pack(len(data)) + data)
                stdin.flush()
            while (item := self._next()) is not None:
                with suppress(OSError, ValueError):
                    stdin.write(b"%d\n" % item)
                    stdin.flush()
                if not self._is_done(cast(IO[bytes], process.stdout), item):
                    self._failed(item, process.wait())
                    return
        finally:
            self._running.pop(place, None)
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError, ValueError):
                    cast(IO[bytes], pipe).close()
            process.kill()
            process.wait()

    def _next(self) -> int | None:
        with self._changed:
            return self._todo.popleft() if self._todo and not self._stopped else None

    def _is_done(self, stdout: IO[bytes], item: int) -> bool:
        """Listen until an item is done; False: the process died. Raises what went wrong in it."""
        for line in stdout:
            message = json.loads(line)
            if "error" in message:
                raise error_of(message)
            if message.get("done") == item:
                self._finish(item)
                return True
            with self._changed:
                self._heard(item, message)
        return False

    def _finish(self, item: int) -> None:
        with self._changed:
            self._done.add(item)
            self._changed.notify_all()

    def _failed(self, item: int, code: int) -> None:
        with self._changed:
            if self._stopped:
                return
            self._heard(item, {"died": True})
            self._attempts[item] += 1
            if self._attempts[item] < ATTEMPTS:
                self._todo.appendleft(item)
                return
            self._gave_up(item, f"signal {-code}" if code < 0 else f"code {code}")
            self._finish(item)

    def _started(self, place: int) -> subprocess.Popen[bytes]:
        code = f"import sys; sys.path[:] = {sys.path!r}; from vidrase.crew import main; main({self._serve!r})"
        env = {**os.environ, **dict.fromkeys(_THREADS, str(self._threads))}
        with self._changed:
            process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=env,
                start_new_session=True,  # a Ctrl-C is this process' to handle
            )
            self._running[place] = process
        return process


def main(serve: str) -> None:
    """A process of a crew, from its start to its end."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no message to the parent
    stdin = sys.stdin.buffer
    (length,) = _LENGTH.unpack(stdin.read(_LENGTH.size))
    told = pickle.loads(stdin.read(length))
    named: queue.Queue[int] = queue.Queue()
    threading.Thread(target=_listen, args=(stdin, named), daemon=True).start()
    lock = threading.Lock()

    def tell(**message: Any) -> None:
        with lock:
            out.write(json.dumps(message) + "\n")
            out.flush()

    module, _, function = serve.partition(":")
    try:
        getattr(importlib.import_module(module), function)(told, iter(named.get, None), tell)
    except BrokenPipeError:
        os._exit(1)
    except BaseException as error:  # noqa: BLE001 - told to the parent, who raises it
        tell(**as_message(error))
        os._exit(1)


def _listen(stdin: IO[bytes], named: queue.Queue[int]) -> None:
    for line in stdin:
        named.put(int(line))
    os._exit(0)  # the parent is gone, or wants no more


def as_message(error: BaseException) -> dict[str, Any]:
    """An error as a message."""
    kind = type(error).__name__
    if isinstance(error, OSError) and not isinstance(error, VidraseError):
        kind = "OSError"
    text = str(getattr(error, "strerror", None) or error)
    return {"error": kind, "text": text, "errno": getattr(error, "errno", None)}


def error_of(message: dict[str, Any]) -> Exception:
    """The error that `as_message` told of."""
    kind, text = message["error"], message["text"]
    known = getattr(errors, kind, None)
    if isinstance(known, type) and issubclass(known, VidraseError):
        return known(text)
    if kind == "MemoryError":
        return MemoryError(text)
    if kind == "OSError":
        return OSError(message["errno"], text)
    return RuntimeError(f"{kind} in another process: {text}")
