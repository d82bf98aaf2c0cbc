"""Where the weights of a detector are: named by the user, pulled into the cache, or shipped inside the package.

Nothing is downloaded unless the user asks for it (`vidrase models pull NAME`): the publisher states no sha256 that could
be pinned here. What was pulled once is pinned by the hash noted then.
"""

from __future__ import annotations

import hashlib
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vidrase.errors import ModelError, WeightsCorrupt, WeightsMissing
from vidrase.weights.places import expanded, model_dir

EMBEDDED = Path(__file__).with_name("vidrase-seg.safetensors")
EMBEDDED_INPAINTER = Path(__file__).with_name("vidrase-inpaint.safetensors")
DEFAULT = "yolov8n-seg"  # of the known ones, what is looked for when the user names none
TIMEOUT_SECONDS = 30.0
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Known:
    """Weights that have a name."""

    name: str
    about: str
    licence: str
    url: str | None = None
    """None: comes with the package."""
    megabytes: float = 0.0
    kind: Literal["detector", "flow"] = "detector"


_ASSETS = "https://github.com/ultralytics/assets/releases/download/v8.3.0"
_SIZES = {"n": 6.7, "s": 22.8, "m": 52.4, "l": 88.1, "x": 137.4}  # MB as ultralytics lists them
KNOWN: dict[str, Known] = {
    "vidrase-seg": Known("vidrase-seg", "comes with vidrase", "AGPL-3.0-or-later"),
    **{
        f"yolov8{size}-seg": Known(
            f"yolov8{size}-seg",
            "Ultralytics, 80 COCO classes",
            "AGPL-3.0 (Ultralytics)",
            f"{_ASSETS}/yolov8{size}-seg.pt",
            megabytes,
        )
        for size, megabytes in _SIZES.items()
    },
    **{
        f"raft-{size}": Known(
            f"raft-{size}",
            "torchvision, motion (--flow raft)",
            "BSD-3-Clause (torchvision); trained on public flow sets",
            f"https://download.pytorch.org/models/{file}",
            megabytes,
            "flow",
        )
        for size, file, megabytes in (
            ("large", "raft_large_C_T_SKHT_V2-ff5fadd5.pth", 20.1),
            ("small", "raft_small_C_T_V2-01064c6d.pth", 3.8),
        )
    },
}


@dataclass(frozen=True, slots=True)
class Found:
    """A weights file on this machine."""

    path: Path
    name: str
    place: str
    """"given", "VIDRASE_MODEL_DIR", "cache" or "package"."""
    licence: str
    sha256: str

    def described(self) -> str:
        """Name, hash and licence in one line."""
        return f"{self.name} sha256:{self.sha256[:16]} · {self.licence}"


def find(model: str | None = None) -> Found:
    """The weights file for a path, a known name, or None for the first there is.

    Order: the path itself; then VIDRASE_MODEL_DIR, the user cache, the package. Raises WeightsMissing with the remedy,
    WeightsCorrupt when a pulled file is no longer what was pulled.
    """
    if model is not None and (os.sep in model or "/" in model or Path(model).suffix):
        path = expanded(model)
        if path.is_file():
            return _found(path, "given")
        if path.name != model:
            raise WeightsMissing(f"no weights at {model}; give the path of a .pt or .safetensors file, or a known name")
    wanted = Path(model).name if model is not None else None
    for path, place in _places(wanted):
        if path.is_file():
            return _found(path, place)
    if wanted is None:
        raise WeightsMissing(
            f"no detector weights were found; run `vidrase models pull {DEFAULT}`, give --model FILE, "
            "or set VIDRASE_MODEL_DIR to a folder that holds them"
        )
    stem = wanted.removesuffix(".pt").removesuffix(".safetensors")
    if stem in _detectors() and KNOWN[stem].url:
        raise WeightsMissing(f"{stem} is not on this machine; run `vidrase models pull {stem}` or give its path")
    raise WeightsMissing(
        f"no weights called '{model}'; known are {', '.join(_detectors())} (see `vidrase models`), or give a path"
    )


def find_flow(path: Path | None = None) -> Path | None:
    """The RAFT weights to use: the file named, else the first in VIDRASE_MODEL_DIR or the user cache, large before small.

    Raises WeightsMissing when `path` is no file, WeightsCorrupt when a pulled file is no longer what was pulled.
    """
    if path is not None:
        if not expanded(path).is_file():
            raise WeightsMissing(f"no weights at {path}; --flow-weights takes a raft_….pth of torchvision")
        return expanded(path)
    for folder, place in _folders():
        for size in ("large", "small"):
            for found in (*sorted(folder.glob(f"raft_{size}*.pth")), folder / f"raft-{size}.pt"):
                if found.is_file():
                    if place == "cache":
                        _check_pin(found, sha256_of(found))
                    return found
    return None


def _detectors() -> list[str]:
    return [known.name for known in KNOWN.values() if known.kind == "detector"]


def _places(wanted: str | None) -> list[tuple[Path, str]]:
    """Files that may hold the weights, in the order in which they are preferred."""
    folders = _folders()
    names = [DEFAULT] if wanted is None else [wanted.removesuffix(".pt").removesuffix(".safetensors")]
    spots = [
        (folder / f"{name}{end}", place)
        for folder, place in folders
        for name in names
        for end in (".pt", ".safetensors")
    ]
    if wanted is None:  # a folder that the user named for this: whatever segmenter lies in it
        spots += [
            (path, place) for folder, place in folders if place != "cache" for path in sorted(folder.glob("*-seg.*"))
        ]
    if wanted is None or names[0] == EMBEDDED.stem:
        spots.append((EMBEDDED, "package"))
    return [(path, place) for path, place in spots if path.suffix in (".pt", ".safetensors")]


def _folders() -> list[tuple[Path, str]]:
    """(folder, "VIDRASE_MODEL_DIR" or "cache") in the order in which they are looked into."""
    named = [folder for folder in os.environ.get("VIDRASE_MODEL_DIR", "").split(os.pathsep) if folder]
    found = [(expanded(folder), "VIDRASE_MODEL_DIR") for folder in named]
    cached = model_dir()
    return found if cached is None else [*found, (cached, "cache")]


def _found(path: Path, place: str) -> Found:
    digest = sha256_of(path)
    if place == "cache":
        _check_pin(path, digest)
    known = KNOWN.get(path.stem)
    return Found(path, path.stem, place, known.licence if known else "licence not stated", digest)


def sha256_of(path: Path) -> str:
    """Hexadecimal digest of a file. Raises WeightsMissing when it cannot be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise WeightsMissing(f"{path} cannot be read ({error.strerror}); give the path of a weights file") from error


def _check_pin(path: Path, digest: str) -> None:
    try:
        pinned = json.loads(_pin(path).read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        raise WeightsCorrupt(
            f"{path} was not put there by `vidrase models pull`; pull it, or give it by --model"
        ) from None
    if pinned != digest:
        raise WeightsCorrupt(
            f"{path} is no longer the file that was pulled; run `vidrase models pull {path.stem}` again"
        )


def _pin(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def pull(name: str, *, say: Callable[[str], None]) -> Path:
    """Fetch known weights over https into the user cache and note their hash; returns the file.

    say: told what is fetched, from where, how big, under which licence, before it is, and the hash afterwards.
    Raises ModelError when there is no such name or the download fails; then nothing is left behind.
    """
    stem = name.removesuffix(".pt")
    known = KNOWN.get(stem)
    if known is None or known.url is None:
        pullable = ", ".join(k.name for k in KNOWN.values() if k.url)
        hint = " comes with the package" if known else " is not known"
        raise ModelError(f"'{name}'{hint}; `vidrase models pull` fetches {pullable}")
    folder = model_dir()
    if folder is None:
        raise ModelError("there is no home folder to keep weights in; name one in VIDRASE_CACHE_DIR")
    path = folder / f"{known.name}.pt"
    say(f"fetching {known.url} ({known.megabytes:g} MB, {known.licence}) to {path}")
    part = path.with_name(path.name + ".part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part.touch()
    except OSError as error:
        raise ModelError(
            f"nothing can be kept in {folder} ({error.strerror or error}); name another folder in VIDRASE_CACHE_DIR"
        ) from error
    try:
        digest = _download(known.url, part)
        _pin(path).write_text(json.dumps({"url": known.url, "sha256": digest}, indent=2) + "\n", encoding="utf-8")
        part.replace(path)
    except (OSError, urllib.error.URLError) as error:
        reason = getattr(error, "reason", None) or error
        raise ModelError(
            f"{known.url} could not be fetched ({reason}); try again, or fetch it yourself and use --model"
        ) from error
    finally:
        part.unlink(missing_ok=True)
    say(f"sha256 {digest} (the publisher states none to compare it with)")
    return path


def _download(url: str, part: Path) -> str:
    """Write what `url` holds to `part`; returns its sha256. Raises OSError, also when it ended early."""
    digest = hashlib.sha256()
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer, part.open("wb") as file:
        if not answer.geturl().startswith("https://"):
            raise OSError("it led away from https")
        promised = answer.headers.get("Content-Length")
        got = 0
        while chunk := answer.read(CHUNK):
            digest.update(chunk)
            file.write(chunk)
            got += len(chunk)
        if promised is not None and got != int(promised):
            raise OSError(f"it broke off after {got} of {promised} bytes")
    return digest.hexdigest()


def table() -> list[str]:
    """Lines for `vidrase models`: every known name and every file found, with place, hash and licence."""
    lines = []
    shown: set[Path] = set()
    for known in KNOWN.values():
        here = next(((path, place) for path, place in _places(known.name) if path.is_file()), None)
        if here is None:
            where = (
                f"not here; vidrase models pull {known.name} ({known.megabytes:g} MB)"
                if known.url
                else "not in this build"
            )
            lines.append(f"{known.name:<14} {where} · {known.about} · {known.licence}")
            continue
        shown.add(here[0])
        lines.append(
            f"{known.name:<14} {here[0]} ({here[1]}) · sha256 {sha256_of(here[0])} · {known.about} · {known.licence}"
        )
    for path, place in _places(None):
        if path.is_file() and path not in shown:
            shown.add(path)
            lines.append(f"{path.stem:<14} {path} ({place}) · sha256 {sha256_of(path)} · licence not stated")
    if EMBEDDED_INPAINTER.is_file():
        lines.append(
            f"{EMBEDDED_INPAINTER.stem:<14} {EMBEDDED_INPAINTER} (package) · sha256 {sha256_of(EMBEDDED_INPAINTER)} · "
            "invents what no frame shows, comes with vidrase · AGPL-3.0-or-later"
        )
    return lines
