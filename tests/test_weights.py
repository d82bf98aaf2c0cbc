"""Finding, listing and pulling weights; no network."""

from __future__ import annotations

import io
import sys
import urllib.request
from email.message import Message
from pathlib import Path

import pytest

from vidrase import weights
from vidrase.errors import ModelError, WeightsCorrupt, WeightsMissing
from vidrase.weights.places import cache_dir, model_dir


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDRASE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("VIDRASE_MODEL_DIR", raising=False)
    monkeypatch.setattr(weights, "EMBEDDED", tmp_path / "package" / "vidrase-seg.safetensors")


class _Answer(io.BytesIO):
    def __init__(self, data: bytes, url: str, length: int) -> None:
        super().__init__(data)
        self._url = url
        self.headers = Message()
        self.headers["Content-Length"] = str(length)

    def geturl(self) -> str:
        return self._url


def serve(
    monkeypatch: pytest.MonkeyPatch, data: bytes, *, url: str = "https://there/x.pt", length: int | None = None
) -> None:
    def answer(asked: str, timeout: float) -> _Answer:
        assert asked.startswith("https://")
        assert timeout > 0
        return _Answer(data, url, len(data) if length is None else length)

    monkeypatch.setattr(urllib.request, "urlopen", answer)


def put(path: Path, text: str = "weights") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_order_of_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsMissing, match="vidrase models pull yolov8n-seg"):
        weights.find()
    put(weights.EMBEDDED)
    assert weights.find().place == "package"
    serve(monkeypatch, b"pulled")
    weights.pull("yolov8n-seg", say=lambda _: None)
    assert weights.find().place == "cache"
    put(tmp_path / "mine" / "yolov8n-seg.pt")
    monkeypatch.setenv("VIDRASE_MODEL_DIR", str(tmp_path / "mine"))
    assert weights.find().place == "VIDRASE_MODEL_DIR"
    assert weights.find("yolov8n-seg").place == "VIDRASE_MODEL_DIR"
    given = weights.find(str(put(tmp_path / "own.pt")))
    assert (given.place, given.name, given.licence) == ("given", "own", "licence not stated")
    assert weights.find("vidrase-seg").place == "package"


def test_another_segmenter_in_the_users_folder_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "mine" / "yolo11m-seg.pt")
    monkeypatch.setenv("VIDRASE_MODEL_DIR", str(tmp_path / "mine"))
    assert weights.find().name == "yolo11m-seg"
    assert weights.find("yolo11m-seg.pt").name == "yolo11m-seg"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("yolov8m-seg", "vidrase models pull yolov8m-seg"),
        ("yolov8m-seg.pt", "vidrase models pull yolov8m-seg"),
        ("nothing", "known are vidrase-seg"),
        ("folder/absent.pt", "no weights at folder/absent.pt"),
    ],
)
def test_missing_weights_name_the_remedy(model: str, message: str) -> None:
    with pytest.raises(WeightsMissing, match=message) as caught:
        weights.find(model)
    assert "\n" not in str(caught.value)


def test_pulling_says_what_it_does_and_pins(monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, b"abc" * 1000)
    said: list[str] = []
    path = weights.pull("yolov8s-seg", say=said.append)
    assert path == model_dir() / "yolov8s-seg.pt"
    assert path.read_bytes() == b"abc" * 1000
    assert all(word in said[0] for word in ("https://github.com/ultralytics", "22.8 MB", "AGPL-3.0"))
    found = weights.find("yolov8s-seg")
    assert found.sha256 in said[1]
    assert found.sha256[:16] in found.described()
    path.write_bytes(b"something else")
    with pytest.raises(WeightsCorrupt, match="no longer the file that was pulled"):
        weights.find("yolov8s-seg")
    put(model_dir() / "yolov8l-seg.pt")
    with pytest.raises(WeightsCorrupt, match="was not put there by"):
        weights.find("yolov8l-seg")


PLACES: dict[str, tuple[dict[str, str], str | None]] = {
    "named": ({"VIDRASE_CACHE_DIR": "/a/b"}, "/a/b"),
    "named in the home": ({"VIDRASE_CACHE_DIR": "~/b", "HOME": "/h"}, "/h/b"),
    "of somebody unknown": ({"VIDRASE_CACHE_DIR": "~nobody-of-that-name/b"}, None),
    "the usual": ({"XDG_CACHE_HOME": "/x"}, "/x/vidrase"),
    "the home's": ({"HOME": "/h"}, "/h/.cache/vidrase"),
    "relative": ({"XDG_CACHE_HOME": "x", "HOME": "/h"}, "/h/.cache/vidrase"),
    "a relative home": ({"HOME": "h"}, None),
}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other places")
@pytest.mark.parametrize("name", PLACES)
def test_the_cache_lies_nowhere_by_chance(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given, folder = PLACES[name]
    for variable in ("VIDRASE_CACHE_DIR", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in given.items():
        monkeypatch.setenv(variable, value)
    assert cache_dir() == (None if folder is None else Path(folder))


def test_a_cache_that_cannot_be_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("VIDRASE_CACHE_DIR", str(tmp_path / "file"))
    monkeypatch.delenv("VIDRASE_MODEL_DIR", raising=False)
    assert weights.find_flow() is None
    assert weights.table()
    with pytest.raises(ModelError, match="nothing can be kept in"):
        weights.pull("yolov8n-seg", say=lambda _: None)


def test_a_failed_pull_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for trouble in ({"length": 99}, {"url": "http://plain/x.pt"}):
        serve(monkeypatch, b"abc", **trouble)  # type: ignore[arg-type]
        with pytest.raises(ModelError, match="could not be fetched"):
            weights.pull("yolov8n-seg", say=lambda _: None)
    assert not list(model_dir().glob("*.pt*"))
    for name in ("unheard-of", "vidrase-seg"):
        with pytest.raises(ModelError, match="`vidrase models pull` fetches yolov8n-seg"):
            weights.pull(name, say=lambda _: None)


def test_the_table_lists_names_places_hashes_licences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "mine" / "other-seg.pt")
    put(tmp_path / "mine" / "yolov8n-seg.pt")
    monkeypatch.setenv("VIDRASE_MODEL_DIR", str(tmp_path / "mine"))
    lines = weights.table()
    assert any("yolov8n-seg.pt (VIDRASE_MODEL_DIR) · sha256 " in line and "AGPL" in line for line in lines)
    assert any(
        line.startswith("yolov8x-seg") and "vidrase models pull yolov8x-seg (137.4 MB)" in line for line in lines
    )
    assert any(line.startswith("other-seg") and "licence not stated" in line for line in lines)
    assert any(line.startswith("vidrase-inpaint") and "(package) · sha256 " in line for line in lines)
