"""Passwords and tokens in addresses are starred wherever they could be seen."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import write_clip
from synth import texture

from vidrase.cli.main import main
from vidrase.errors import OptionError, SourceError, VidraseError
from vidrase.live.address import address_of
from vidrase.live.record import PushOutput
from vidrase.report import Notes, Report
from vidrase.starred import starred

SECRETS = ("hunter2", "sesame", "tok3n")
QUERY = "token=tok3n&channel=1&auth_key=sesame"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://me:hunter2@cam/live", "rtsp://me:***@cam/live"),
        ("rtsp://me:hun@ter2@cam/live", "rtsp://me:***@cam/live"),
        ("rtsp://me:hun/ter2@cam:554/live", "rtsp://me:***@cam:554/live"),
        ("https://ghp_tok3n@host/x.mp4", "https://***@host/x.mp4"),
        ("RTSP://:hunter2@cam", "RTSP://:***@cam"),
        ("http://h/x.mp4?token=tok3n&channel=1", "http://h/x.mp4?token=***&channel=1"),
        ("http://h/x?X-Amz-Signature=abc&a=1#access_token=2", "http://h/x?X-Amz-Signature=***&a=1#access_token=***"),
        ("http://h/x?e=0123456789abcdef0123", "http://h/x?e=***"),
        ("http://h/x?0123456789abcdef0123", "http://h/x?***"),
        ("srt://h:9?passphrase=hunter2&mode=caller", "srt://h:9?passphrase=***&mode=caller"),
        ("rtmp://live.example/app/live_tok3n", "rtmp://live.example/app/***"),
        ("rtmp://live.example/app", "rtmp://live.example/app"),
        ("lost rtsp://a:b@c/d (no data); http://e:f@g: gone", "lost rtsp://a:***@c/d (no data); http://e:***@g: gone"),
        ("http://[::1]:8080/x", "http://[::1]:8080/x"),
        ("http://127.0.0.1:8080/a@b", "http://127.0.0.1:8080/a@b"),
        ("no address: a@b, me:you@x", "no address: a@b, me:you@x"),
        ("file:///clips/a.mp4", "file:///clips/a.mp4"),
    ],
)
def test_what_is_starred(text: str, shown: str) -> None:
    assert starred(text) == shown
    assert starred(shown) == shown


def test_errors_notes_reports_and_outputs_star_what_they_are_given() -> None:
    url = f"rtsp://me:hunter2@cam/live?{QUERY}"
    for error in (VidraseError(url), OptionError(url), SourceError(f"{url} does not answer")):
        assert not any(secret in str(error) + repr(error) for secret in SECRETS)
    assert SourceError("plain").args == ("plain",)
    said: list[str] = []
    notes = Notes(said.append)
    notes(f"lost {url}")
    report = json.dumps(Report(source=url, output=url, fallbacks=notes.counts).as_dict())
    address = address_of(url)
    assert address.url == url
    push = PushOutput("rtmp://me:hunter2@live.example/app/tok3n")
    push.close()
    shown = " ".join([*said, *notes.counts, report, address.text, repr(address), push.name])
    assert "***" in shown
    assert not any(secret in shown for secret in SECRETS)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    folder = tmp_path / "web"
    folder.mkdir()

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}", folder
    server.shutdown()
    server.server_close()


def test_nothing_of_a_run_shows_them(web: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    host, folder = web
    write_clip(folder / "clip.mp4", [texture(48, 64, seed) for seed in range(3)])
    cv2.imwrite(str(tmp_path / "mask.png"), np.pad(np.full((8, 8), 255, np.uint8), ((20, 20), (28, 28))))
    url = f"http://me:hunter2@{host}/clip.mp4?{QUERY}"
    out, report = tmp_path / "out.mkv", tmp_path / "report.json"
    options = ["--mask", str(tmp_path / "mask.png"), "-o", str(out), "--report", str(report), "-v"]
    with pytest.raises(SystemExit) as ended:
        main([url, *options])
    assert ended.value.code == 0
    for gone in (f"http://me:hunter2@{host}/none.mp4?{QUERY}", f"cache:{url}", f"http://me:hunter2@[::1/x?{QUERY}"):
        for more in ([], ["--debug"]):
            with pytest.raises(SystemExit) as ended:
                main([gone, *options, "-y", *more])
            assert ended.value.code in (1, 2)
    said = capsys.readouterr()
    seen = said.out + said.err + report.read_text() + out.read_bytes().decode("latin-1")
    assert "***" in seen
    assert not any(secret in seen for secret in SECRETS)
