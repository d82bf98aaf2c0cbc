"""`--serve` among strangers: few connections, short requests, right names, and headers that keep other pages out."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from vidrase.live.outputs import Collector, OutputFrame
from vidrase.live.serve import MAX_CONNECTIONS, WebOutput, answers_to

PATIENCE = 1.0


@pytest.fixture
def web() -> Iterator[WebOutput]:
    output = WebOutput("127.0.0.1:0", stats=dict, patience=PATIENCE)
    yield output
    output.close()


def _port(web: WebOutput) -> int:
    return int(web.address.rsplit(":", 1)[1].strip("/"))


def _ask(
    web: WebOutput, path: str, headers: dict[str, str] | None = None, method: str = "GET"
) -> tuple[http.client.HTTPResponse, bytes]:
    """(answer with its headers, body); the connection is closed."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", _port(web), timeout=10)) as connection:
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        return answer, answer.read()


def _raw(web: WebOutput, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", _port(web)), 10) as client:
        client.sendall(request)
        return b"".join(iter(lambda: client.recv(4096), b""))


def _picture(value: int) -> OutputFrame:
    return OutputFrame(np.full((24, 32, 3), value, np.uint8), value / 25, 25.0)


def test_headers_keep_other_pages_out(web: WebOutput) -> None:
    web.put(_picture(9))
    for path, status in (("/", 200), ("/stats.json", 200), ("/nothing", 404)):
        answer, body = _ask(web, path)
        assert answer.status == status
        assert answer.getheader("Server") is None
        assert answer.getheader("X-Content-Type-Options") == "nosniff"
        assert answer.getheader("X-Frame-Options") == "DENY"
        assert answer.getheader("Cross-Origin-Resource-Policy") == "same-origin"
        assert "frame-ancestors 'none'" in str(answer.getheader("Content-Security-Policy"))
        assert b"Python" not in body
    answer, _ = _ask(web, "/", method="POST")
    assert answer.status == 501
    assert answer.getheader("Server") is None


def test_a_strange_host_is_sent_away(web: WebOutput) -> None:
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "10.0.0.1", "", "localhost.evil.example"):
        answer, _ = _ask(web, "/picture.jpg", {"Host": host})
        assert answer.status == 421, host
    assert b" 421 " in _raw(web, b"GET / HTTP/1.0\r\n\r\n")
    for host in ("localhost:1", "127.0.0.1", "[::1]:8080", "LOCALHOST"):
        assert _ask(web, "/", {"Host": host})[0].status == 200


def test_names_that_a_server_answers_to() -> None:
    assert answers_to("0.0.0.0", "192.168.1.5:8080")
    assert answers_to("::", "[fe80::1]:8080")
    assert answers_to("192.168.1.5", "192.168.1.5:8080")
    assert answers_to("camera.local", "camera.local:8080")
    assert answers_to("0.0.0.0", socket.gethostname())
    assert not answers_to("192.168.1.5", "192.168.1.6")
    assert not answers_to("0.0.0.0", "evil.example")
    assert not answers_to("0.0.0.0", None)


def test_a_byte_now_and_then_does_not_hold_a_thread(web: WebOutput) -> None:
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", _port(web)), 10) as client, contextlib.suppress(OSError):
        for byte in b"GET / HTTP/1.1\r\nX: " + b"a" * 10_000:
            client.sendall(bytes([byte]))
            client.settimeout(PATIENCE / 5)
            with contextlib.suppress(TimeoutError):
                if not client.recv(1):
                    break
            assert time.monotonic() - began < 60  # a hundred times less than what it would take to end by itself


def test_an_endless_header_is_cut_off(web: WebOutput) -> None:
    with socket.create_connection(("127.0.0.1", _port(web)), 10) as client, contextlib.suppress(OSError):
        client.sendall(b"GET / HTTP/1.1\r\n")
        for index in range(10_000):
            client.sendall(b"X-%d: %s\r\n" % (index, b"a" * 1000))
        pytest.fail("ten megabytes were taken in")


def test_slow_clients_get_in_nobodys_way(web: WebOutput) -> None:
    before = threading.active_count()
    collector = Collector(most=1000)
    clients = []
    try:
        for _ in range(MAX_CONNECTIONS + 16):
            client = socket.create_connection(("127.0.0.1", _port(web)), 10)
            client.sendall(b"GET /stream.mjpg HTT")
            clients.append(client)
        for number in range(20):
            for output in (web, collector):
                output.put(_picture(number))
            assert threading.active_count() - before <= MAX_CONNECTIONS + 1
            time.sleep(0.01)
        end = time.monotonic() + 30
        while True:  # once the slow ones are gone, whoever asks is answered
            with contextlib.suppress(OSError, http.client.HTTPException):
                if _ask(web, "/picture.jpg")[0].status == 200:
                    break
            assert time.monotonic() < end
            time.sleep(0.1)
    finally:
        for client in clients:
            client.close()
        collector.close()
    assert collector.dropped + len(collector.frames) == 20
    assert collector.frames
    assert web.failure() is None


def test_one_too_many_is_told_so(web: WebOutput) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(MAX_CONNECTIONS):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", _port(web)), 10))
            client.sendall(b"G")
        time.sleep(0.2)
        answer = b""
        with contextlib.suppress(OSError):
            answer = stack.enter_context(socket.create_connection(("127.0.0.1", _port(web)), 10)).recv(200)
        assert answer.startswith(b"HTTP/1.0 503 ") or not answer


def test_ipv6_is_served_and_shown_in_brackets() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    web = WebOutput("[::1]:0", stats=dict)
    try:
        assert web.address.startswith("http://[::1]:")
        with socket.create_connection(("::1", _port(web)), 10) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.0 200")
    finally:
        web.close()
