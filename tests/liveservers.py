"""Servers that other people's programs are: started here on loopback, skipped with a reason where they are not installed."""

from __future__ import annotations

import contextlib
import functools
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import pytest
from livefakes import Scene, free_port

NGINX = """daemon off; master_process off; pid {folder}/pid; error_log {folder}/log; {load}
events {{ worker_connections 32; }}
rtmp {{ server {{ listen 127.0.0.1:{port}; application live {{ live on; record off; }} }} }}
"""
RTMP_MODULE = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")


def program(name: str, package: str) -> str:
    """Path of a program; skips the test where there is none."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if found is None:
        pytest.skip(f"no {name} here (Debian: {package})")
    return found


@functools.cache
def _python_with_gstreamer() -> str | None:
    code = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst, GstRtspServer; Gst.init(None)"
    code += (
        "; raise SystemExit(not all(map(Gst.ElementFactory.find, ('x264enc', 'rtph264pay', 'appsrc', 'rtppcmupay'))))"
    )
    for python in (sys.executable, "/usr/bin/python3"):
        if Path(python).exists() and subprocess.run([python, "-c", code], capture_output=True).returncode == 0:
            return python
    return None


class _Process:
    """A child that `close` ends for sure."""

    process: subprocess.Popen[bytes]

    def close(self) -> None:
        self.process.kill()
        self.process.wait(5)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


class Fed(_Process):
    """A child that is given a scene's pictures on its standard input, raw, at the scene's rate."""

    def __init__(self, command: list[str], scene: Scene, *, ready: bytes | None = None) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE if ready else None, stderr=subprocess.DEVNULL
        )
        if ready is not None:
            assert self.process.stdout is not None
            assert self.process.stdout.readline().strip() == ready, command
        self._scene = scene
        self._thread = threading.Thread(target=self._feed, name="test-feeder", daemon=True)
        self._thread.start()

    def _feed(self) -> None:
        assert self.process.stdin is not None
        start, sent = time.monotonic(), 0
        try:
            while self.process.poll() is None:
                time.sleep(max(start + sent / self._scene.rate - time.monotonic(), 0))
                self.process.stdin.write(self._scene.next().tobytes())
                self.process.stdin.flush()
                sent += 1
        except (OSError, ValueError):
            pass

    def close(self) -> None:
        super().close()
        self._thread.join(5)


class RtspServer(Fed):
    """GStreamer's RTSP server, with H.264 and a tone. transport: what it agrees to, "tcp" or "udp"."""

    def __init__(self, scene: Scene, *, port: int | None = None, transport: str = "tcp") -> None:
        python = _python_with_gstreamer()
        if python is None:
            pytest.skip("no GStreamer RTSP server here (Debian: gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-ugly)")
        self.port = port or free_port()
        self.url = f"rtsp://127.0.0.1:{self.port}/live"
        height, width = scene.plain.shape[:2]
        script = str(Path(__file__).with_name("rtsp_server.py"))
        command = [python, script, str(self.port), str(width), str(height), str(round(scene.rate)), transport]
        super().__init__(command, scene, ready=b"ready")


class FfmpegPusher(Fed):
    """The ffmpeg program sending a scene; `how` is what stands after the input, with {port}."""

    def __init__(self, scene: Scene, how: str, port: int) -> None:
        height, width = scene.plain.shape[:2]
        command = f"{program('ffmpeg', 'ffmpeg')} -v quiet -f rawvideo -pix_fmt rgb24 -s {width}x{height}"
        command += f" -framerate {scene.rate} -i pipe:0 -pix_fmt yuv420p " + how.format(port=port)
        super().__init__(command.split(), scene)


class FfmpegReceiver(_Process):
    """The ffmpeg program taking in a stream and keeping it as `path`; `how` is what stands before the output."""

    def __init__(self, how: str, path: Path) -> None:
        self.path = path
        command = [program("ffmpeg", "ffmpeg"), "-v", "quiet", "-y", *how.split(), "-c", "copy", str(path)]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def finished(self) -> None:
        """Wait until it has taken everything in."""
        self.process.wait(15)


class RtmpServer(_Process):
    """nginx with its RTMP module: whoever publishes to `url` is played to whoever asks for it."""

    def __init__(self, folder: Path) -> None:
        nginx = program("nginx", "nginx-light libnginx-mod-rtmp")
        if not RTMP_MODULE.exists():
            pytest.skip("no RTMP module for nginx here (Debian: libnginx-mod-rtmp)")
        port = free_port()
        self.url = f"rtmp://127.0.0.1:{port}/live/x"
        config = folder / "nginx.conf"
        config.write_text(NGINX.format(folder=folder, port=port, load=f"load_module {RTMP_MODULE};"))
        self.process = subprocess.Popen(
            [nginx, "-c", str(config), "-e", str(folder / "log")], stderr=subprocess.DEVNULL, cwd=folder
        )
        _until_open(port)


def _until_open(port: int) -> None:
    end = time.monotonic() + 5
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"nothing listens on port {port}")


class HlsServer:
    """A playlist and its segments over HTTP, written by PyAV. live: segments come and go with time; else all are there."""

    def __init__(self, scene: Scene, folder: Path, *, live: bool, seconds: float = 4.0) -> None:
        self._stop = threading.Event()
        self._scene, self._folder, self._live, self._seconds = scene, folder, live, seconds

        class Handler(SimpleHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/live.m3u8"
        self._serving = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._serving.start()
        self._writing = threading.Thread(target=self._write, name="test-hls", daemon=True)
        self._writing.start()
        if not live:
            self._writing.join()
        end = time.monotonic() + 10
        while not (folder / "live.m3u8").exists() and time.monotonic() < end:
            time.sleep(0.05)

    def _write(self) -> None:
        options = {"hls_time": "1", "hls_list_size": "4" if self._live else "0"}
        options |= {"hls_flags": "delete_segments+omit_endlist"} if self._live else {"hls_playlist_type": "vod"}
        rate = round(self._scene.rate)
        with av.open(str(self._folder / "live.m3u8"), "w", format="hls", options=options) as out:
            video = out.add_stream("libx264", rate=rate, options={"preset": "ultrafast", "tune": "zerolatency"})
            video.height, video.width = self._scene.plain.shape[:2]
            video.pix_fmt = "yuv420p"
            video.codec_context.gop_size = rate
            start, sent = time.monotonic(), 0
            while not self._stop.is_set() and (self._live or sent < self._seconds * rate):
                if self._live and self._stop.wait(max(start + sent / rate - time.monotonic(), 0)):
                    break
                frame = av.VideoFrame.from_ndarray(self._scene.next(), format="rgb24")
                frame.pts, frame.time_base = sent, Fraction(1, rate)
                out.mux(video.encode(frame))
                sent += 1
            out.mux(video.encode(None))

    def close(self) -> None:
        self._stop.set()
        self._writing.join(5)
        self._server.shutdown()
        self._server.server_close()
        self._serving.join()


class Relay:
    """Stands between a TCP server and its reader, and spoils what passes.

    stalled: nothing passes while it is set.  mangle: bytes in, bytes out.  `cut` hangs up on everybody; new ones may call.
    """

    def __init__(self, port: int) -> None:
        self.stalled = threading.Event()
        self.mangle: Callable[[bytes], bytes] = bytes
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: list[socket.socket] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._accept, name="test-relay", daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        self._listener.settimeout(0.1)
        while not self._stop.is_set():
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to), 2)
            except OSError:
                continue
            self._open += [near, far]
            for a, b, spoil in ((near, far, False), (far, near, True)):
                a.settimeout(0.1)
                thread = threading.Thread(target=self._pass, args=(a, b, spoil), name="test-relay", daemon=True)
                self._threads.append(thread)
                thread.start()

    def _pass(self, a: socket.socket, b: socket.socket, spoil: bool) -> None:
        try:
            while not self._stop.is_set():
                if spoil and self.stalled.is_set():
                    time.sleep(0.02)
                    continue
                try:
                    data = a.recv(65536)
                except TimeoutError:
                    continue
                if not data:
                    break
                b.sendall(self.mangle(data) if spoil else data)
        except OSError:
            pass
        finally:
            a.close()
            b.close()

    def cut(self) -> None:
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def close(self) -> None:
        self._stop.set()
        self.cut()
        for thread in self._threads:
            thread.join(3)
        self._listener.close()
