"""Serve the live frames to browsers: MJPEG over HTTP, on loopback by default.

Frames are encoded only while there are viewers, once for all of them; a slow viewer gets fewer frames, not later ones.
"""

from __future__ import annotations

import json
import threading
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
SEND_TIMEOUT = 5.0  # seconds; a viewer that accepts no data for longer is disconnected

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

    Raises OptionError for an invalid address, SinkError when the port is in use.
    """

    def __init__(self, address: str, *, stats: Callable[[], dict[str, Any]], say: Note | None = None) -> None:
        host, port = parse_address(address)
        self._jpeg = b""
        self._number = 0
        self._latest: OutputFrame | None = None
        self._viewers = 0
        self._closed = False
        self._changed = threading.Condition()
        self._stats = stats
        try:
            self._server = _Server((host, port), _handler_for(self))
        except OSError as error:
            raise SinkError(
                f"cannot serve on {host}:{port}: {error.strerror or error}; choose another --serve port"
            ) from error
        self.address = f"http://{host}:{self._server.server_address[1]}/"
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
        """The newest frame as JPEG; empty before the first."""
        with self._changed:
            latest = self._latest
        return _jpeg(latest) if latest is not None else b""

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
    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A viewer that disconnects needs no traceback."""


def _handler_for(web: WebOutput) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = SEND_TIMEOUT

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
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def _stream(self) -> None:
            if not web.count_viewer(1):
                self.send_error(503, "too many watchers")
                return
            try:
                self.send_response(200)
                self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
                self.send_header("Cache-Control", "no-store")
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
