"""What happens to cameras and streams in real life: gaps, damage, other formats, watchers that leave."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from livefakes import MjpegCamera, Pusher, Scene, free_port, read_stamp
from liverun import Running, grey, magenta
from liveservers import Relay

from vidrase.errors import CameraTimeout, SourceError, SourceNotFound
from vidrase.live.address import Address, address_of
from vidrase.live.capture import Capture
from vidrase.live.record import FileOutput, PushOutput
from vidrase.live.serve import WebOutput


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def closing() -> Iterator[Callable]:
    opened: list = []

    def closed_later(resource):  # type: ignore[no-untyped-def]
        opened.append(resource)
        return resource

    yield closed_later
    for resource in reversed(opened):
        resource.close()


def test_a_stall_is_greyed_and_then_goes_on(scene: Scene, closing: Callable, tmp_path: Path) -> None:
    camera = closing(MjpegCamera(scene))
    relay = closing(Relay(camera.port))
    out = FileOutput(tmp_path / "a.mkv")
    with Running(f"http://127.0.0.1:{relay.port}/video", out, timeout=5.0) as run:
        run.until(lambda: len(run.collector.frames) > 15)
        relay.stalled.set()
        run.until(lambda: grey(run.collector.frames[-1][1].rgb))
        assert run.live.current_stats()["lost"] is False  # not given up yet: it only says nothing
        relay.stalled.clear()
        run.until(lambda: not grey(run.collector.frames[-1][1].rgb))
        count = len(run.collector.frames)
        run.until(lambda: len(run.collector.frames) > count + 15)
    assert not run.said
    seconds = [output_frame.seconds for _, output_frame in run.collector.frames]
    assert seconds == sorted(seconds)


def test_a_slow_camera_is_recorded_at_its_own_speed(closing: Callable, tmp_path: Path) -> None:
    camera = closing(MjpegCamera(Scene(rate=10.0)))
    out = FileOutput(tmp_path / "a.mkv")
    with Running(camera.url, out) as run:
        run.until(lambda: len(run.collector.frames) > 25)
    with av.open(str(tmp_path / "a.mkv")) as file:
        times = [frame.time for frame in file.decode(video=0)]
    assert 0.08 < np.median(np.diff(times)) < 0.12


@pytest.mark.slow
def test_a_burst_after_a_stall_is_stale(scene: Scene, closing: Callable) -> None:
    port = free_port()
    closing(Pusher(f"tcp://127.0.0.1:{port}", scene))
    relay = closing(Relay(port))
    time.sleep(0.3)
    with Running(f"tcp://127.0.0.1:{relay.port}", timeout=4.0) as run:
        run.until(lambda: len(run.collector.frames) > 25)
        relay.stalled.set()
        time.sleep(1.5)
        relay.stalled.clear()
        count = len(run.collector.frames)
        run.until(lambda: len(run.collector.frames) > count + 60)
    seen = list(run.collector.frames)[-20:]
    late = [when - scene.made[read_stamp(output_frame.rgb)] for when, output_frame in seen]
    assert np.median(late) < 0.8
    seconds = [output_frame.seconds for _, output_frame in run.collector.frames]
    assert seconds == sorted(seconds)


def test_a_recording_over_a_loss_lasts_as_long_as_it_took(scene: Scene, closing: Callable, tmp_path: Path) -> None:
    camera = closing(MjpegCamera(scene))
    relay = closing(Relay(camera.port))
    out = FileOutput(tmp_path / "a.mkv")
    with Running(f"http://127.0.0.1:{relay.port}/video", out, timeout=1.0) as run:
        run.until(lambda: len(run.collector.frames) > 15)
        start = run.collector.frames[10][0]
        relay.stalled.set()
        relay.cut()
        run.until(lambda: run.capture.lost)
        time.sleep(1.5)
        relay.stalled.clear()
        relay.cut()
        run.until(lambda: run.capture.reconnects > 0 and not run.capture.lost)
        count = len(run.collector.frames)
        run.until(lambda: len(run.collector.frames) > count + 25)
        (end, last), (_, first) = run.collector.frames[-1], run.collector.frames[10]
    assert abs((last.seconds - first.seconds) - (end - start)) < 0.5
    seconds = [output_frame.seconds for _, output_frame in run.collector.frames]
    assert seconds == sorted(seconds)
    with av.open(str(tmp_path / "a.mkv")) as file:
        times = [frame.time for frame in file.decode(video=0)]
    assert np.diff(times).max() < 0.9  # the grey pictures bridge it


def test_damaged_packets(scene: Scene, closing: Callable) -> None:
    port = free_port()
    closing(Pusher(f"tcp://127.0.0.1:{port}", scene))
    relay = closing(Relay(port))
    rng = np.random.default_rng(2)
    time.sleep(0.3)

    def damaged(data: bytes) -> bytes:
        spoilt = np.frombuffer(data, np.uint8).copy()
        spoilt[rng.integers(0, len(spoilt), max(len(spoilt) // 3000, 1))] ^= 0x55
        return spoilt.tobytes()

    with Running(f"tcp://127.0.0.1:{relay.port}", timeout=3.0) as run:
        run.until(lambda: len(run.collector.frames) > 15)
        relay.mangle = damaged
        run.until(lambda: run.capture.corrupt > 10)
        relay.mangle = bytes
        count = run.capture.corrupt + run.capture.reconnects
        assert count > 0
        before = len(run.collector.frames)
        run.until(lambda: len(run.collector.frames) > before + 30)
    assert run.error is None
    numbers = [read_stamp(output_frame.rgb) for _, output_frame in list(run.collector.frames)[-10:]]
    assert numbers == sorted(numbers)


def test_another_codec_midway(scene: Scene, closing: Callable) -> None:
    port = free_port()
    listener = socket.create_server(("127.0.0.1", port))
    stop = threading.Event()

    def send() -> None:
        """One connection after another; on the first one the codec changes."""
        codecs = ["mpeg2video", "libx264"]
        while not stop.is_set():
            try:
                listener.settimeout(0.2)
                reader, _ = listener.accept()
                with reader, reader.makefile("wb", buffering=0) as wire:
                    while codecs and not stop.is_set():
                        _send(wire, codecs[0], scene, stop, 40 if len(codecs) > 1 else 10_000)
                        codecs = codecs[1:]
            except (OSError, av.error.FFmpegError):
                if len(codecs) < 1:
                    codecs = ["libx264"]

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        with Running(f"tcp://127.0.0.1:{port}", timeout=1.5) as run:
            run.until(lambda: len(run.collector.frames) > 20)
            run.until(lambda: bool(run.collector.frames) and read_stamp(run.collector.frames[-1][1].rgb) > 90)
        assert run.error is None
    finally:
        stop.set()
        thread.join(5)
        listener.close()


def _send(wire, codec: str, scene: Scene, stop: threading.Event, count: int) -> None:  # type: ignore[no-untyped-def]
    with av.open(wire, "w", format="mpegts", options={"flush_packets": "1"}) as out:
        video = out.add_stream(codec, rate=25)
        video.height, video.width = scene.plain.shape[:2]
        video.pix_fmt, video.bit_rate = "yuv420p", 3_000_000
        video.codec_context.gop_size = 6
        if codec == "libx264":
            video.options = {"preset": "ultrafast", "tune": "zerolatency"}
        start = time.monotonic()
        for sent in range(count):
            if stop.wait(max(start + sent / 25 - time.monotonic(), 0)):
                return
            frame = av.VideoFrame.from_ndarray(scene.next(), format="rgb24")
            frame.pts, frame.time_base = sent, Fraction(1, 25)
            out.mux(video.encode(frame))


def test_a_camera_that_is_unplugged_and_plugged_in_again(tmp_path: Path) -> None:
    def camera(seconds: float) -> Address:
        """FFmpeg's own device in place of one that this machine may not have."""
        graph = f"testsrc2=size=320x240:rate=25:duration={seconds},realtime"
        return Address("0", "camera", graph, "lavfi")

    with Running(camera(1.0), timeout=1.0) as run:
        run.until(lambda: run.capture.reconnects >= 1)
        count = len(run.collector.frames)
        run.until(lambda: len(run.collector.frames) > count + 15)
    assert any("lost 0" in text for text in run.said)
    assert any("0 is back" in text for text in run.said)
    assert run.error is None


def test_a_numbered_camera_where_only_opencv_knows_it(monkeypatch: pytest.MonkeyPatch, scene: Scene) -> None:
    class Camera:
        left = 40

        def __init__(self, number: int) -> None:
            self.there = number == 0

        def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
            return self.there

        def read(self):  # type: ignore[no-untyped-def]
            time.sleep(0.04)
            Camera.left -= 1
            if Camera.left == 20:
                return False, None
            return True, cv2.cvtColor(scene.next(), cv2.COLOR_RGB2BGR)

        def release(self) -> None:
            pass

    monkeypatch.setattr("vidrase.live.capture.cv2.VideoCapture", Camera)
    with Running(Address("0", "camera", "0", "opencv")) as run:
        run.until(lambda: run.capture.reconnects == 1)
        count = len(run.collector.frames)
        run.until(lambda: len(run.collector.frames) > count + 10)
    assert not any(
        magenta(output_frame.rgb).any()
        for _, output_frame in list(run.collector.frames)[12:]
        if not grey(output_frame.rgb)
    )
    with pytest.raises(SourceNotFound, match="no camera 3"):
        Capture(Address("3", "camera", "3", "opencv")).start()


@pytest.mark.slow
def test_a_source_without_a_sender(closing: Callable) -> None:
    for scheme in ("udp", "rtsp", "rtmp"):
        silent = socket.create_server(("127.0.0.1", 0))
        port = free_port() if scheme == "udp" else silent.getsockname()[1]
        began = time.monotonic()
        with pytest.raises(CameraTimeout, match="does not answer"):
            Capture(address_of(f"{scheme}://127.0.0.1:{port}/x"), timeout=0.5).start()
        assert time.monotonic() - began < 6.0
        silent.close()


def test_a_protocol_that_this_ffmpeg_does_not_speak(scene: Scene, closing: Callable) -> None:
    camera = closing(MjpegCamera(scene))
    try:
        av.open("srt://127.0.0.1:9", timeout=0.2)
    except av.error.ProtocolNotFoundError:
        with pytest.raises(SourceError, match="does not speak srt"):
            Capture(address_of("srt://127.0.0.1:9"), timeout=0.5).start()
        with Running(camera.url, PushOutput("srt://127.0.0.1:9")) as run:
            run.until(lambda: run.error is not None)
        assert "does not speak srt" in str(run.error)
    except OSError:
        pytest.skip("this FFmpeg speaks srt")


def test_a_watcher_who_does_not_take_the_picture_holds_up_nobody(scene: Scene, closing: Callable) -> None:
    camera = closing(MjpegCamera(Scene((480, 854))))
    web = WebOutput("127.0.0.1:0", stats=dict)
    with Running(camera.url, web) as run:
        host, port = web.address.removeprefix("http://").rstrip("/").split(":")
        lazy = socket.create_connection((host, int(port)))
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.sendall(b"GET /stream.mjpg HTTP/1.0\r\nHost: localhost\r\n\r\n")
        run.until(lambda: len(run.collector.frames) > 70)
        gaps = np.diff([when for when, _ in list(run.collector.frames)[20:]])
        lazy.close()
    assert gaps.max() < 0.5
    assert run.error is None


@pytest.mark.slow
def test_a_receiver_who_accepts_but_never_reads(scene: Scene, closing: Callable) -> None:
    camera = closing(MjpegCamera(Scene((480, 854))))
    full = socket.create_server(("127.0.0.1", 0))
    full.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for scheme in ("rtmp", "tcp"):
        push = PushOutput(f"{scheme}://127.0.0.1:{full.getsockname()[1]}/live/x")
        with Running(camera.url, push) as run:
            run.until(lambda: len(run.collector.frames) > 60)
            gaps = np.diff([when for when, _ in list(run.collector.frames)[20:]])
        assert gaps.max() < 0.5
        assert run.error is None
    full.close()


def test_a_full_disk_is_one_clear_line(scene: Scene, closing: Callable) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here to stand for a full disk")
    camera = closing(MjpegCamera(scene))
    out = FileOutput(Path("/dev/shm/vidrase-full.mkv"), overwrite=True)
    out._name = lambda number: Path("/dev/full")  # type: ignore[method-assign]
    monkey = {"": "matroska"}
    from vidrase.live import record

    record.SUFFIXES.update(monkey)
    try:
        with Running(camera.url, out) as run:
            run.until(lambda: run.error is not None)
        assert "No space left" in str(run.error)
    finally:
        record.SUFFIXES.pop("")


def test_a_clip_that_is_turned_is_shown_upright_and_hd_keeps_its_colours(tmp_path: Path) -> None:
    path = tmp_path / "turned.mp4"
    picture = np.zeros((720, 1280, 3), np.uint8)
    picture[:, :640] = 200, 40, 40
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"qp": "4"})
        stream.height, stream.width, stream.pix_fmt = 720, 1280, "yuv420p"
        stream.set_display_rotation(90)
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            out.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace="ITU709")))
        out.mux(stream.encode(None))
    with Capture(address_of(str(path)), paced=False) as capture:
        first = capture.get(5.0)
        assert first is not None
        while not capture.ended:
            capture.get(1.0)
    assert np.array_equal(first.rgb.shape, (1280, 720, 3))
    assert np.abs(first.rgb[1000, 360].astype(int) - (200, 40, 40)).max() < 8  # counter-clockwise: left is below now
    assert first.rgb[200, 360].max() < 12
