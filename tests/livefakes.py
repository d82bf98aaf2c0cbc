"""Sources with a clock in the picture, and a detector that needs no weights."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import urlsplit

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.frames import Frame, Instances

BITS = 16
CELL = 10  # px of a bit of the clock
MAGENTA = (255, 0, 255)
CLAP = 0.12  # seconds


class MagentaSegmenter:
    """Finds what is magenta and calls it a person."""

    names: ClassVar[dict[int, str]] = {0: "person", 1: "dog"}
    recommended_conf = 0.25
    description = "magenta"

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.looks = 0

    def __call__(self, frames: Sequence[Frame]) -> list[Instances]:
        time.sleep(self.seconds)
        self.looks += len(frames)
        return [self._one(frame) for frame in frames]

    def _one(self, frame: Frame) -> Instances:
        rgb = frame.rgb().astype(int)
        found = (rgb[..., 0] > 170) & (rgb[..., 2] > 170) & (rgb[..., 1] < 110)
        count, parts, stats, _ = cv2.connectedComponentsWithStats(found.astype(np.uint8))
        kept = [k for k in range(1, count) if stats[k, cv2.CC_STAT_AREA] > 12]
        boxes = np.array(
            [[stats[k, 0], stats[k, 1], stats[k, 0] + stats[k, 2], stats[k, 1] + stats[k, 3]] for k in kept], np.float32
        ).reshape(-1, 4)
        masks = tuple(
            (parts == k)[stats[k, 1] : stats[k, 1] + stats[k, 3], stats[k, 0] : stats[k, 0] + stats[k, 2]] for k in kept
        )
        corners = np.array([[stats[k, 1], stats[k, 0]] for k in kept], np.int32).reshape(-1, 2)
        n = len(kept)
        return Instances(
            np.zeros(n, np.int64),
            ("person",) * n,
            np.full(n, 0.9, np.float32),
            boxes,
            masks,
            corners,
            frame.displayed_size,
        )


def backdrop(size: tuple[int, int], seed: int = 3) -> NDArray[np.uint8]:
    """A smooth, textured scene uint8 [H, W, 3] without magenta."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 200, (size[0] // 16 + 2, size[1] // 16 + 2, 3)).astype(np.uint8)
    coarse[..., 1] = np.clip(coarse[..., 1].astype(int) + 50, 120, 240)
    return cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_LINEAR)


def with_person(scene: NDArray[np.uint8], x: int, y: int, side: int = 40) -> NDArray[np.uint8]:
    """A copy of `scene` with a magenta square, its top left corner at (x, y)."""
    out = scene.copy()
    out[max(y, 0) : max(y + side, 0), max(x, 0) : max(x + side, 0)] = MAGENTA
    return out


def stamp(picture: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """Write `number` into the top rows as black and white cells, changed in place."""
    for bit in range(BITS):
        picture[:CELL, bit * CELL : (bit + 1) * CELL] = 235 if number >> bit & 1 else 20
    return picture


def read_stamp(picture: NDArray[np.uint8]) -> int:
    """The number that `stamp` wrote."""
    middle = picture[CELL // 2, CELL // 2 : BITS * CELL : CELL].mean(1)
    return sum(1 << bit for bit in range(BITS) if middle[bit] > 128)


class Scene:
    """Makes the pictures of a live source and remembers when each one was made."""

    def __init__(self, size: tuple[int, int] = (240, 320), rate: float = 25.0) -> None:
        self.plain = backdrop(size)
        self.rate = rate
        self.made: dict[int, float] = {}
        self.count = 0
        self.claps = False
        """Whether the lower rows flash for `CLAP` seconds with every second, as the sound does."""

    def next(self) -> NDArray[np.uint8]:
        """The next picture; a person walks from left to right and back."""
        width = self.plain.shape[1]
        step = (self.count * 4) % (2 * (width - 40))
        picture = with_person(self.plain, step if step < width - 40 else 2 * (width - 40) - step, 120)
        stamp(picture, self.count)
        if self.claps:
            picture[-30:] = 250 if self.count / self.rate % 1.0 < CLAP else 5
        self.made[self.count] = time.monotonic()
        self.count += 1
        return picture


def free_port() -> int:
    """A TCP or UDP port that nobody uses just now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Pusher:
    """Sends a scene as MPEG-TS through PyAV until closed. tcp: listens for one reader, again after it left.

    Our own socket: PyAV holds the interpreter while FFmpeg waits for a caller.
    """

    def __init__(self, url: str, scene: Scene, *, sound: bool = False) -> None:
        self.url, self.scene, self.sound = url, scene, sound
        self._stop = threading.Event()
        where = urlsplit(url)
        self._listener = socket.create_server((where.hostname, where.port)) if where.scheme == "tcp" else None
        self._thread = threading.Thread(target=self._work, name="test-pusher", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                if self._listener is None:
                    with av.open(self.url, "w", format="mpegts", timeout=2.0) as out:
                        self._send(out)
                    continue
                self._listener.settimeout(0.2)
                reader, _ = self._listener.accept()
                with reader, reader.makefile("wb", buffering=0) as wire, av.open(wire, "w", format="mpegts") as out:
                    self._send(out)
            except (av.error.FFmpegError, OSError):
                if self._stop.wait(0.1):
                    return

    def _send(self, out: av.container.OutputContainer) -> None:
        height, width = self.scene.plain.shape[:2]
        video = out.add_stream("mpeg2video", rate=round(self.scene.rate))
        video.width, video.height, video.pix_fmt, video.bit_rate, video.gop_size = (
            width,
            height,
            "yuv420p",
            4_000_000,
            6,
        )
        video.codec_context.max_b_frames = 0
        audio = out.add_stream("mp2", rate=48000, layout="mono") if self.sound else None
        start, sent, heard = time.monotonic(), 0, 0
        while not self._stop.is_set():
            if self._stop.wait(max(start + sent / self.scene.rate - time.monotonic(), 0)):
                break
            frame = av.VideoFrame.from_ndarray(self.scene.next(), format="rgb24")
            frame.pts, frame.time_base = sent, Fraction(1, round(self.scene.rate))
            out.mux(video.encode(frame))
            sent += 1
            while audio is not None and heard / 48000 < sent / self.scene.rate:
                at = (heard + np.arange(1152)) / 48000
                loud = at % 1.0 < CLAP if self.scene.claps else 1.0
                tone = (8000 * loud * np.sin(2 * np.pi * 440 * at)).astype(np.int16)
                piece = av.AudioFrame.from_ndarray(tone[None], format="s16", layout="mono")
                piece.sample_rate, piece.pts, piece.time_base = 48000, heard, Fraction(1, 48000)
                heard += 1152
                out.mux(audio.encode(piece))

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5.0)
        if self._listener is not None:
            self._listener.close()


class MjpegCamera:
    """An HTTP camera: motion JPEG at `.url`, until closed."""

    def __init__(self, scene: Scene, port: int = 0, *, body: Callable[[], bytes] | None = None) -> None:
        camera = self
        self.stop = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if body is not None:
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(body())))
                    self.end_headers()
                    self.wfile.write(body())
                    return
                if self.path != "/video":
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace;boundary=frame")
                self.end_headers()
                start = time.monotonic()
                sent = 0
                try:
                    while not camera.stop.wait(max(start + sent / scene.rate - time.monotonic(), 0)):
                        sent += 1
                        _, data = cv2.imencode(".jpg", cv2.cvtColor(scene.next(), cv2.COLOR_RGB2BGR))
                        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n".encode()
                        self.wfile.write(head + data.tobytes() + b"\r\n")
                except OSError:
                    pass

            def log_message(self, format: str, *args: object) -> None:
                pass

        ThreadingHTTPServer.allow_reuse_address = True
        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/video"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.stop.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
