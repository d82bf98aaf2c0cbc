"""A recording with `--serve` while a crowd of slow clients connects: a byte every other second, and again when sent away."""

from __future__ import annotations

import contextlib
import heapq
import selectors
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from vidrase.bench.paced import VIDRASE, make_clip, numbers_of, record
from vidrase.bench.peers import OURS
from vidrase.bench.results import Results, Row

CLIENTS = 1100
PAUSE = 2.0  # seconds between two bytes of a client, and before it comes back
REQUEST = b"GET /stream.mjpg HTTP/1.1\r\nX-Slow: " + b"a" * 4000


def run_crowd(
    results: Results,
    minutes: float,
    folder: Path,
    device: str = "auto",
    program: Sequence[str] = VIDRASE,
    clients: int = CLIENTS,
) -> None:
    """Two rows: the same recording without and with the crowd. folder: samples/. Raises as `run_paced`."""
    with tempfile.TemporaryDirectory(prefix="vidrase-crowd-") as made:
        clip = make_clip(folder, Path(made), minutes)
        for count in (0, clients):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            with SlowClients(port, count) as crowd:
                found = record(clip, Path(made), minutes, device, program, ("--serve", f"127.0.0.1:{port}"))
            numbers = numbers_of(found, minutes) | {"clients": count, **crowd.counts}
            results.add(Row("live", "slow clients", f"{count} slow clients", OURS, numbers))


class SlowClients:
    """Clients of a server on this machine, in one thread, from `with` to its end.

    counts: what happened to them: "connected", "refused" (no answer to a connection), "sent_away" (closed by the server),
    and "most_held", the largest number that the server held open at a time.
    """

    def __init__(self, port: int, count: int) -> None:
        self.counts: Counter[str] = Counter(connected=0, refused=0, sent_away=0, most_held=0)
        self._port, self._stop = port, threading.Event()
        self._due = [(0.0, number) for number in range(count)]  # a heap: when a client does something next
        self._open: dict[int, tuple[socket.socket, int]] = {}  # with the number of bytes it has sent
        self._thread = threading.Thread(target=self._run, name="slow-clients", daemon=True)

    def __enter__(self) -> Self:
        _allow_files(len(self._due) + 100)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for client, _sent in self._open.values():
            client.close()

    def _run(self) -> None:
        with selectors.DefaultSelector() as answers:
            while not self._stop.is_set():
                now = time.monotonic()
                while self._due and self._due[0][0] <= now and not self._stop.is_set():
                    number = heapq.heappop(self._due)[1]
                    self._act(number, answers)
                    heapq.heappush(self._due, (time.monotonic() + PAUSE, number))
                for key, _events in answers.select(0.05):
                    self._answered(key.data, answers)
                self.counts["most_held"] = max(self.counts["most_held"], len(self._open))

    def _act(self, number: int, answers: selectors.BaseSelector) -> None:
        """Connect, or send the next byte."""
        if number not in self._open:
            client = socket.socket()
            client.settimeout(0.2)
            try:
                client.connect(("127.0.0.1", self._port))
            except OSError:
                self.counts["refused"] += 1
                client.close()
                return
            self.counts["connected"] += 1
            client.setblocking(False)
            self._open[number] = client, 0
            answers.register(client, selectors.EVENT_READ, number)
        client, sent = self._open[number]
        with contextlib.suppress(OSError):
            client.send(REQUEST[sent : sent + 1])
        self._open[number] = client, sent + 1

    def _answered(self, number: int, answers: selectors.BaseSelector) -> None:
        client, _sent = self._open[number]
        try:
            more = client.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            more = b""
        if not more:
            answers.unregister(client)
            client.close()
            del self._open[number]
            self.counts["sent_away"] += 1


def _allow_files(count: int) -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY and soft < count:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard) if hard >= 0 else count, hard))
