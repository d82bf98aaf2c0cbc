"""The picture as people see it: in a window on a desktop, in a browser, as another program's camera."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest
from livefakes import MagentaSegmenter, MjpegCamera, Scene, with_person
from liverun import Running, grey, magenta
from liveservers import program

from vidrase.errors import SinkError
from vidrase.live import LiveEraser
from vidrase.live.address import address_of
from vidrase.live.capture import Capture
from vidrase.live.outputs import OutputFrame, VirtualCamera
from vidrase.live.serve import WebOutput
from vidrase.live.window import Window, display_available, signal_lost_image, with_overlay
from vidrase.live.x11 import ScreenProcess

CHILD = Path(__file__).with_name("live_child.py")


@pytest.fixture
def desktop() -> Iterator[str]:
    """A display that nobody sees."""
    number = 90 + os.getpid() % 900
    server = subprocess.Popen(
        [program("Xvfb", "xvfb"), f":{number}", "-screen", "0", "900x700x24"], stderr=subprocess.DEVNULL
    )
    end = time.monotonic() + 5
    while not Path(f"/tmp/.X11-unix/X{number}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    yield f":{number}"
    server.terminate()  # killed, it would leave its socket behind, and the next one seem to be there at once
    server.wait()


def _shot(display: str) -> np.ndarray:
    screen = ScreenProcess(display, {"video_size": "900x700"})
    try:
        with av.open(screen.url, format=screen.FORMAT) as pictures:
            return next(pictures.decode(video=0)).to_ndarray(format="rgb24")
    finally:
        screen.close()


def _until(done: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_window_and_its_keys(desktop: str) -> None:
    xdotool = program("xdotool", "xdotool")
    there = {**os.environ, "DISPLAY": desktop}
    camera = MjpegCamera(Scene((480, 640)))
    run = subprocess.Popen(
        [sys.executable, str(CHILD), "live", camera.url, "--remove", "person", "--window"],
        env=there,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )

    def press(key: str) -> None:
        command = [xdotool, "search", "--name", "vidrase live", "windowfocus", "key", key]
        assert subprocess.run(command, env=there, capture_output=True).returncode == 0
        time.sleep(0.4)

    def person() -> int:
        return int(magenta(_shot(desktop)).sum())

    try:
        _until(lambda: _shot(desktop)[470, 630].any(), 20)  # the window has the picture's size
        _until(lambda: person() == 0)
        press("m")
        red = _shot(desktop).astype(int)
        assert ((red[..., 0] > 180) & (red[..., 1] < 90)).sum() > 1000
        press("m")
        press("1")
        _until(lambda: person() > 1000)
        press("f")
        still = _shot(desktop)
        time.sleep(0.3)
        assert np.array_equal(_shot(desktop), still)
        press("f")
        press("1")
        _until(lambda: person() == 0)
        press("space")
        _until(lambda: bool((_shot(desktop)[:480, 318:324] == 255).all(2).any(1).all()))
        press("q")
        assert run.wait(5) == 0
    finally:
        run.kill()
        out, err = run.communicate()
        camera.close()
    assert b"pictures in" in out
    assert err == b""


def test_the_screen_as_a_source(desktop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", desktop)
    with Running(address_of("screen", rate=20.0)) as run:
        run.until(lambda: len(run.collector.frames) > 10)
    assert run.collector.frames[-1][1].rgb.shape == (700, 900, 3)
    assert display_available()
    monkeypatch.setenv("DISPLAY", ":9999")
    assert not display_available()  # asking Qt for a window there would end the program
    with pytest.raises(Exception, match=r"cannot open|does not answer|no screen"):
        Capture(address_of("screen")).start()


def test_the_screen_while_opencv_is_loaded(desktop: str, tmp_path: Path) -> None:
    # in one process with OpenCV, which every run needs, PyAV's way to the screen ends in a segmentation fault
    kept = tmp_path / "screen.mkv"
    command = [sys.executable, str(CHILD), "live", "screen", "--remove", "person", "-o", str(kept), "--for", "2"]
    run = subprocess.run(command, env={**os.environ, "DISPLAY": desktop}, capture_output=True, timeout=60)
    assert run.returncode == 0, run.stderr
    with av.open(str(kept)) as clip:
        picture = next(clip.decode(video=0)).to_ndarray(format="rgb24")
    assert picture.shape == (700, 900, 3)


def test_a_window_says_when_it_would_hang() -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux builds bring two libxcb")
    code = (
        "import av, cv2\nfrom vidrase.live.window import Window\ntry:\n    Window()\nexcept OSError as e:\n    print(e)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert "before PyAV" in done.stdout


def test_keys_without_a_desktop() -> None:
    window = Window.__new__(Window)
    window.closed = window.compare = window.mask = window.frozen = False
    scene = np.full((120, 160, 3), 90, np.uint8)
    with LiveEraser("person", segmenter=MagentaSegmenter(), threaded=False, level=2) as eraser:
        for index in range(4):
            eraser.step(with_person(scene, 60, 40), index / 30)
        for key in "m f":
            window.press(ord(key), eraser)
        assert window.mask
        assert window.compare
        assert window.frozen
        window.press(-1, eraser)
        window.press(ord("1"), eraser)
        assert eraser.id_assigner.kept == {1}
        window.press(ord("c"), eraser)
        assert eraser.background.known_share() == 0
        shown = eraser.result
        assert shown is not None
        plain = with_overlay(shown, shown.rgb, "", compare=False, mask=False)
        assert np.array_equal(plain, shown.rgb)
        both = with_overlay(shown, shown.rgb, "30 fps", compare=True, mask=True)
        assert (both[100:, 80:82] == 255).all()
        window.press(ord("q"), eraser)
    assert window.closed
    assert grey(signal_lost_image(with_person(scene, 60, 40), "gone"))


def test_a_browser_shows_the_page(tmp_path: Path) -> None:
    chromium = program("chromium", "chromium")
    camera = MjpegCamera(Scene((480, 640)))
    runs: list[Running] = []
    web = WebOutput("127.0.0.1:0", stats=lambda: runs[0].live.current_stats())
    shot = tmp_path / "page.png"
    try:
        with Running(camera.url, web) as run:
            runs.append(run)
            run.until(lambda: len(run.collector.frames) > 15)
            how = "--headless=new --no-sandbox --disable-gpu --window-size=800,640 --hide-scrollbars --timeout=4000"
            command = [chromium, *how.split(), f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={shot}"]
            done = subprocess.run([*command, web.address], capture_output=True, timeout=60)
            assert shot.exists(), done.stderr.decode()[-500:]
    finally:
        camera.close()
    page = cv2.imread(str(shot))[..., ::-1]
    assert page[300, 400].max() > 60  # a picture, not the dark page
    assert page[20, 10].max() < 30
    assert len(np.unique(page[100:400, 200:600].reshape(-1, 3), axis=0)) > 1000
    assert page[484:520, 200:600].max() > 150  # the line of figures
    assert not magenta(page).any()


class _FakeLibrary:
    """Stands for pyvirtualcam, whose driver a test machine does not have."""

    def __init__(self, error: str = "") -> None:
        self.cameras: list[SimpleNamespace] = []
        self.error = error

    def Camera(self, width: int, height: int, fps: float, device: str | None = None) -> SimpleNamespace:  # noqa: N802
        if self.error:
            raise RuntimeError(self.error)
        sent: list[np.ndarray] = []
        camera = SimpleNamespace(width=width, height=height, fps=fps, device=device, sent=sent, open=True)
        camera.send = lambda picture: sent.append(picture.copy())
        camera.close = lambda: setattr(camera, "open", False)
        self.cameras.append(camera)
        return camera


def test_a_virtual_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    library = _FakeLibrary()
    monkeypatch.setitem(sys.modules, "pyvirtualcam", library)
    camera = VirtualCamera("/dev/video9")
    for size in ((240, 320), (240, 320), (120, 160)):
        camera.put(OutputFrame(np.full((*size, 3), 7, np.uint8), 0.0, 25.0))
    camera.close()
    first, second = library.cameras
    assert (first.width, first.height, first.fps, first.device) == (320, 240, 25.0, "/dev/video9")
    assert [len(first.sent), len(second.sent)] == [2, 1]
    assert first.sent[0].flags.c_contiguous
    assert not first.open
    assert not second.open


def test_no_driver_for_a_virtual_camera_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", _FakeLibrary("v4l2loopback backend: no device\nmore"))
    camera = VirtualCamera()
    camera.put(OutputFrame(np.zeros((24, 32, 3), np.uint8), 0.0, 25.0))
    _until(lambda: camera.failure() is not None)
    camera.close()
    error = camera.failure()
    assert isinstance(error, SinkError)
    assert "modprobe v4l2loopback" in str(error)
    assert "\n" not in str(error)
