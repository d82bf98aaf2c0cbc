"""Serve the live frames to browsers: MJPEG over HTTP, on loopback by default.

Frames are encoded only while there are viewers, once for all of them; a slow viewer gets fewer frames, not later ones.
Whoever connects can do no more than look: connections are few and short, and only pages of this server may show what it sends.
"""

from __future__ import annotations

import contextlib
import io
import ipaddress
import json
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2

from vidrase.errors import OptionError, SinkError
from vidrase.live.outputs import Output, OutputFrame
from vidrase.report import Note

BOUNDARY = "vidrase"
QUALITY = 85
MAX_VIEWERS = 16
MAX_CONNECTIONS = 64
REQUEST_SECONDS = 5.0  # for the whole request to arrive, however many bytes it comes in
REQUEST_BYTES = 16_384
SEND_TIMEOUT = 5.0  # seconds; a viewer that accepts no data for longer is disconnected

HEADERS = {  # other pages may neither show nor read this, and browsers take each answer for what it says it is
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; connect-src 'self'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
BUSY = b"HTTP/1.0 503 Too many connections\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>vidrase live</title>
<meta name="viewport" content="width=device-width">
<style>body{margin:0;background:#111;color:#bbb;font:14px system-ui,sans-serif;text-align:center}
img{max-width:100vw;max-height:calc(100vh - 2.5em);display:block;margin:auto}p{margin:.6em}</style>
<img src="/stream.mjpg" alt="live picture"><p id="s">&nbsp;</p>
<script>async function tell(){try{const r=await(await fetch("/stats.json")).json();
document.getElementById("s").textContent=`${r.fps.toFixed(1)} fps · ${r.latency_ms.toFixed(0)} ms · ${r.dropped} dropped`
+(r.lost?" · signal lost":"")}
catch{document.getElementById("s").textContent="vidrase has stopped"}}
tell();setInterval(tell,1000)</script></html>"""


class WebOutput(Output):
    """HTTP server: `http://HOST:PORT/` is the page; also `/stream.mjpg`, `/picture.jpg`, `/stats.json`.

    patience: seconds for a whole request to arrive.
    Raises OptionError for an invalid address, SinkError when the port is in use.
    """

    def __init__(
        self,
        address: str,
        *,
        stats: Callable[[], dict[str, Any]],
        say: Note | None = None,
        patience: float = REQUEST_SECONDS,
    ) -> None:
        host, port = parse_address(address)
        self._jpeg = b""
        self._number = 0
        self._latest: OutputFrame | None = None
        self._snapped: tuple[OutputFrame | None, bytes] = None, b""
        self._snapping = threading.Lock()
        self._viewers = 0
        self._closed = False
        self._changed = threading.Condition()
        self._stats = stats
        try:
            self._server = _Server((host, port), _handler_for(self, host, patience))
        except OSError as error:
            raise SinkError(
                f"cannot serve on {host}:{port}: {error.strerror or error}; choose another --serve port"
            ) from error
        shown = f"[{host}]" if ":" in host else host
        self.address = f"http://{shown}:{self._server.server_address[1]}/"
        self._serving = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="vidrase-live-web", daemon=True
        )
        self._serving.start()
        super().__init__(self.address, say=say)

    def write(self, output_frame: OutputFrame) -> None:
        """Make this the newest frame."""
        with self._changed:
            self._latest = output_frame
            has_viewers = self._viewers > 0
        jpeg = _jpeg(output_frame) if has_viewers else b""
        with self._changed:
            self._jpeg = jpeg
            self._number += 1
            self._changed.notify_all()

    def wait_newer(self, after: int, wait: float) -> tuple[int, bytes]:
        """(number, JPEG) of a frame newer than `after`; (`after`, empty) if none comes within `wait` seconds."""
        with self._changed:
            if (
                self._changed.wait_for(lambda: self._closed or (self._number > after and bool(self._jpeg)), wait)
                and not self._closed
            ):
                return self._number, self._jpeg
            return after, b""

    def snapshot(self) -> bytes:
        """The newest frame as JPEG, encoded once however many ask; empty before the first."""
        with self._snapping:
            with self._changed:
                latest = self._latest
            if latest is not None and latest is not self._snapped[0]:
                self._snapped = latest, _jpeg(latest)
            return self._snapped[1]

    def count_viewer(self, change: int) -> bool:
        """Add (+1) or remove (-1) a viewer; False when there are too many."""
        with self._changed:
            if change > 0 and self._viewers >= MAX_VIEWERS:
                return False
            self._viewers += change
            return True

    @property
    def closed(self) -> bool:
        """Whether the server is closing."""
        return self._closed

    def stats(self) -> dict[str, Any]:
        """Content of `/stats.json`."""
        return self._stats()

    def finish(self) -> None:
        """Disconnect all viewers and free the port."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._serving.join()


class _Server(ThreadingHTTPServer):
    """At most MAX_CONNECTIONS at a time; whoever comes then is sent away at once."""

    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False
    request_queue_size = MAX_CONNECTIONS

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._room = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Bind without asking a name server who we are."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve in a thread of its own while there is room."""
        if not self._room.acquire(blocking=False):
            request.setblocking(False)
            with contextlib.suppress(OSError):
                request.send(BUSY)
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve, then make room."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A viewer that disconnects needs no traceback."""


class _Request(io.RawIOBase):
    """What a client sends: REQUEST_BYTES at most, and until `end` (monotonic seconds), however slowly the bytes come."""

    def __init__(self, connection: socket.socket, end: float) -> None:
        self._connection, self._end, self._left = connection, end, REQUEST_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._end - time.monotonic()
        if left <= 0 or self._left <= 0:
            raise TimeoutError("the request takes too long")
        self._connection.settimeout(left)
        count = self._connection.recv_into(buffer, min(len(buffer), self._left))
        self._left -= count
        return count


def answers_to(bound: str, named: str | None) -> bool:
    """Whether a request with the header `Host: named` is meant for a server bound to `bound`.

    A page from elsewhere can have its own name lead to this machine; its requests then carry that name.
    """
    name = (named or "").strip().lower()
    host = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
    if not host:
        return False
    own, asked = _number(bound), _number(host)
    local = bound.lower() == "localhost" or (own is not None and own.is_loopback)
    if local:
        return host in ("localhost", bound.lower()) or (asked is not None and asked.is_loopback)
    if asked is not None:
        return asked == own or own is None or own.is_unspecified
    machine = socket.gethostname().lower()
    return host in {
        "localhost",
        bound.lower(),
        machine,
        machine.partition(".")[0],
        machine.partition(".")[0] + ".local",
    }


def _number(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _handler_for(web: WebOutput, bound: str, patience: float) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = SEND_TIMEOUT

        def setup(self) -> None:
            super().setup()
            self.rfile.close()
            self.rfile = io.BufferedReader(_Request(self.connection, time.monotonic() + patience))

        def parse_request(self) -> bool:
            if not super().parse_request():
                return False
            self.connection.settimeout(SEND_TIMEOUT)
            if not answers_to(bound, self.headers.get("Host")):
                self.send_error(421, "asked under a name that is not this server's")
                return False
            return True

        def send_response(self, code: int, message: str | None = None) -> None:
            """Status line alone: what serves is nobody's business."""
            self.send_response_only(code, message)

        def end_headers(self) -> None:
            for name, value in HEADERS.items():
                self.send_header(name, value)
            super().end_headers()

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/":
                self._answer(PAGE.encode(), "text/html; charset=utf-8")
            elif path == "/stats.json":
                self._answer(json.dumps(web.stats(), allow_nan=False).encode(), "application/json")
            elif path == "/picture.jpg":
                picture = web.snapshot()
                self._answer(picture, "image/jpeg") if picture else self.send_error(503, "no picture yet")
            elif path == "/stream.mjpg":
                self._stream()
            else:
                self.send_error(404)

        def _answer(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _stream(self) -> None:
            if not web.count_viewer(1):
                self.send_error(503, "too many watchers")
                return
            try:
                self.send_response(200)
                self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
                self.end_headers()
                number = 0
                while not web.closed:
                    number, jpeg = web.wait_newer(number, 1.0)
                    if jpeg:
                        head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                        self.wfile.write(head.encode() + jpeg + b"\r\n")
            except OSError:
                pass  # the viewer disconnected
            finally:
                web.count_viewer(-1)
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """No log output."""

    return Handler


def parse_address(address: str) -> tuple[str, int]:
    """(host, port) of "8080", ":8080", "127.0.0.1:8080" or "[::1]:8080"; default host: loopback."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise OptionError(f"--serve {address}: expected HOST:PORT or PORT, like 127.0.0.1:8080")
    return host.strip("[]") or "127.0.0.1", int(port)


def _jpeg(output_frame: OutputFrame) -> bytes:
    bgr = cv2.cvtColor(output_frame.rgb, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
