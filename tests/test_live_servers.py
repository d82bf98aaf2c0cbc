"""Sources and receivers that other people's programs make: GStreamer, ffmpeg, nginx; HLS from a plain web server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from livefakes import MjpegCamera, Scene, free_port, read_stamp
from liverun import Running, magenta
from liveservers import FfmpegPusher, FfmpegReceiver, HlsServer, Relay, RtmpServer, RtspServer

from vidrase.live.record import FileOutput, PushOutput

TRANSPORT_STREAM = "-c:v libx264 -preset ultrafast -tune zerolatency -g 12 -f mpegts -flush_packets 1 "


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


def _in_order_and_without_the_person(run: Running, scene: Scene, name: str) -> float:
    """Median seconds by the clock inside the pictures."""
    seen = list(run.collector.frames)
    numbers = [read_stamp(output_frame.rgb) for _, output_frame in seen]
    assert numbers == sorted(numbers)
    assert not any(magenta(output_frame.rgb).any() for _, output_frame in seen[15:])
    late = [when - scene.made[number] for (when, _), number in zip(seen, numbers, strict=True)][15:]
    print(
        f"{name}: clock in the picture: median {np.median(late) * 1e3:.0f} ms, 95 % {np.percentile(late, 95) * 1e3:.0f} ms"
    )
    return float(np.median(late))


@pytest.mark.parametrize("transport", ["tcp", pytest.param("udp", marks=pytest.mark.slow)])
def test_an_rtsp_camera(transport: str, scene: Scene, closing: Callable, tmp_path: Path) -> None:
    server = closing(RtspServer(scene, transport=transport))
    out = FileOutput(tmp_path / "a.mkv", sound_rate=8000)
    with Running(server.url, out, timeout=3.0, sound=True) as run:
        run.until(lambda: len(run.collector.frames) > 50)
    assert _in_order_and_without_the_person(run, scene, f"rtsp over {transport}") < 1.0  # generous: a shared machine
    with av.open(str(tmp_path / "a.mkv")) as file:
        seconds = sum(frame.samples / frame.sample_rate for frame in file.decode(audio=0))
    assert seconds > 1.0


def test_an_rtsp_camera_that_is_restarted(scene: Scene) -> None:
    server = RtspServer(scene)
    try:
        with Running(server.url, timeout=1.5) as run:
            run.until(lambda: len(run.collector.frames) > 15)
            server.close()
            run.until(lambda: any("lost" in text for text in run.said))
            server = RtspServer(scene, port=server.port)
            run.until(lambda: any("is back" in text for text in run.said))
            count = len(run.collector.frames)
            run.until(lambda: len(run.collector.frames) > count + 15)
    finally:
        server.close()
    seconds = [output_frame.seconds for _, output_frame in run.collector.frames]
    assert run.error is None
    assert seconds == sorted(seconds)


@pytest.mark.slow
def test_an_rtsp_camera_that_freezes(scene: Scene, closing: Callable) -> None:
    server = closing(RtspServer(scene))
    relay = closing(Relay(server.port))
    with Running(server.url.replace(str(server.port), str(relay.port)), timeout=1.0) as run:
        run.until(lambda: len(run.collector.frames) > 15)
        relay.stalled.set()
        run.until(lambda: any("lost" in text for text in run.said))
        relay.stalled.clear()
        run.until(lambda: any("is back" in text for text in run.said))
        count = len(run.collector.frames)
        run.until(lambda: len(run.collector.frames) > count + 15)
    assert run.error is None


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (TRANSPORT_STREAM + "tcp://127.0.0.1:{port}?listen=1", "tcp://127.0.0.1:{port}"),
        pytest.param(
            TRANSPORT_STREAM + "udp://127.0.0.1:{port}?pkt_size=1316",
            "udp://127.0.0.1:{port}",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "-q:v 4 -f mpjpeg -listen 1 http://127.0.0.1:{port}/video",
            "http://127.0.0.1:{port}/video",
            marks=pytest.mark.slow,
        ),
    ],
    ids=["tcp", "udp", "mjpeg"],
)
def test_streams_from_ffmpeg(sent: str, read: str, scene: Scene, closing: Callable) -> None:
    port = free_port()
    closing(FfmpegPusher(scene, sent, port))
    time.sleep(0.8)
    with Running(read.format(port=port), timeout=4.0) as run:
        run.until(lambda: len(run.collector.frames) > 50)
    assert _in_order_and_without_the_person(run, scene, f"ffmpeg, {read.partition(':')[0]}") < 1.0


@pytest.mark.slow
def test_rtmp_in(scene: Scene, closing: Callable, tmp_path: Path) -> None:
    server = closing(RtmpServer(tmp_path))
    closing(FfmpegPusher(scene, "-c:v libx264 -preset ultrafast -tune zerolatency -g 12 -f flv " + server.url, 0))
    time.sleep(1.0)
    with Running(server.url, timeout=4.0) as run:
        run.until(lambda: len(run.collector.frames) > 50)
    _in_order_and_without_the_person(run, scene, "rtmp through nginx")


def test_live_hls_runs_evenly(scene: Scene, closing: Callable, tmp_path: Path) -> None:
    server = closing(HlsServer(scene, tmp_path, live=True))
    time.sleep(2.5)
    with Running(server.url, timeout=6.0) as run:
        run.until(lambda: len(run.collector.frames) > 65)
    seen = list(run.collector.frames)[15:]
    numbers = [read_stamp(output_frame.rgb) for _, output_frame in seen]
    assert numbers == sorted(numbers)
    gaps = np.diff([when for when, _ in seen])
    print(
        f"hls: gaps median {np.median(gaps) * 1e3:.0f} ms, worst {gaps.max() * 1e3:.0f} ms, dropped {run.capture.dropped}"
    )
    assert (
        0.02 < np.median(gaps) < 0.08
    )  # segments of a second arrive at once: played back at once they would stand still between
    assert numbers[-1] - numbers[0] < 1.2 * len(numbers)


@pytest.mark.slow
def test_a_film_over_http_plays_at_its_own_pace_and_ends(scene: Scene, closing: Callable, tmp_path: Path) -> None:
    server = closing(HlsServer(scene, tmp_path, live=False, seconds=3.0))
    with Running(server.url, timeout=4.0) as run:
        start = time.monotonic()
        run.until(lambda: run.capture.ended)
    assert time.monotonic() - start > 2.0
    assert len(run.collector.frames) > 50
    assert not run.said


@pytest.mark.parametrize(
    ("receiver", "url"),
    [
        ("-listen 1 -f flv -i rtmp://127.0.0.1:{port}/live/x", "rtmp://127.0.0.1:{port}/live/x"),
        ("-rtsp_flags listen -i rtsp://127.0.0.1:{port}/live", "rtsp://127.0.0.1:{port}/live"),
        pytest.param(
            "-f mpegts -i udp://127.0.0.1:{port}?timeout=2000000", "udp://127.0.0.1:{port}", marks=pytest.mark.slow
        ),
        pytest.param("-f mpegts -i tcp://127.0.0.1:{port}?listen=1", "tcp://127.0.0.1:{port}", marks=pytest.mark.slow),
    ],
    ids=["rtmp", "rtsp", "udp", "tcp"],
)
def test_streams_to_other_programs(receiver: str, url: str, closing: Callable, tmp_path: Path) -> None:
    from livefakes import Pusher

    port, source = free_port(), free_port()
    taken = closing(FfmpegReceiver(receiver.format(port=port), tmp_path / "taken.mkv"))
    scene = Scene()
    closing(Pusher(f"tcp://127.0.0.1:{source}", scene, sound=True))
    time.sleep(1.0)
    push = PushOutput(url.format(port=port), sound_rate=48000)
    with Running(f"tcp://127.0.0.1:{source}", push, timeout=3.0, sound=True) as run:
        run.until(lambda: len(run.collector.frames) > 75)
    assert run.error is None
    taken.finished()
    with av.open(str(taken.path)) as file:
        pictures = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    with av.open(str(taken.path)) as file:
        seconds = sum(frame.samples / frame.sample_rate for frame in file.decode(audio=0))
    assert len(pictures) > 35
    numbers = [read_stamp(picture) for picture in pictures]
    assert numbers == sorted(numbers)
    assert seconds > 0.6 * len(pictures) / 25


@pytest.mark.slow
def test_rtmp_out_and_a_server_that_comes_back(scene: Scene, closing: Callable, tmp_path: Path) -> None:
    camera = closing(MjpegCamera(scene))
    server = RtmpServer(tmp_path)
    said: list[str] = []
    push = PushOutput(server.url, say=said.append)
    try:
        with Running(camera.url, push) as run:
            run.until(lambda: len(run.collector.frames) > 15)
            with av.open(server.url, timeout=5.0) as reader:
                picture = next(reader.decode(video=0))
            assert (picture.height, picture.width) == (240, 320)
            server.close()
            run.until(lambda: push.lost > 0)
            count = len(run.collector.frames)
            run.until(lambda: len(run.collector.frames) > count + 20)
    finally:
        server.close()
    assert run.error is None
    assert "trying again" in said[0]
