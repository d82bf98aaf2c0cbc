"""Imports go down only, each third-party library has its owners, files stay readable."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import vidrase

ROOT = Path(vidrase.__file__).parent
LAYERS = [  # top to bottom; modules of one row never import each other
    {"__main__"},
    {"cli"},
    {"bench", "train"},
    {"eraser", "session", "live", "batch"},
    {"engine"},
    {"chunks"},
    {"passes", "choice", "byproducts"},
    {"run", "protected"},
    {
        "source",
        "sink",
        "segment",
        "track",
        "select",
        "prompts",
        "selectionfile",
        "mask",
        "fill",
        "holefile",
        "store",
        "sheet",
        "streamcheck",
        "masktrack",
    },
    {"shots", "inpaint", "motion", "written", "drawn"},
    {"keyframes"},
    {"weights", "flow", "camera", "cuts", "plate", "metrics", "avplanes", "avtracks", "imagemeta"},
    {
        "streams",
        "clock",
        "timing",
        "options",
        "report",
        "labels",
        "phrase",
        "summary",
        "tracklets",
        "instancefile",
        "crew",
    },
    {"frames", "light"},
    {"colour", "crops", "part", "paths", "closable", "rules", "torchvision_ops", "pickled", "addresses"},
    {"errors"},
    {"starred"},
]
OWNERS = {
    "av": {"source", "sink", "live", "avplanes", "avtracks", "holefile", "streamcheck", "bench"},
    "PIL": {"source", "sink", "imagemeta"},
    "pillow_heif": {"source"},
    "decord": {"source", "train"},
    "ultralytics": {"segment", "track", "train", "weights", "bench"},
    "torchvision": {"torchvision_ops", "segment", "flow", "weights"},
    "click": {"cli"},
    "ray": {"batch"},
    "maxflow": {"inpaint"},
    "torch": {"torchvision_ops", "pickled", "segment", "inpaint", "weights", "train", "flow", "bench", "metrics"},
}
FILES = sorted(ROOT.rglob("*.py"))


def _module(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def _imports(path: Path) -> list[tuple[str, str]]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found += [(node.module, alias.name) for alias in node.names]
    return found


def _row(module: str) -> int:
    rows = [number for number, row in enumerate(LAYERS) if module in row]
    assert rows, f"vidrase.{module} stands in no row of LAYERS"
    return rows[0]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down_and_libraries_have_owners(path: Path) -> None:
    here = _module(path)
    for module, name in _imports(path):
        parts = module.split(".")
        if parts[0] == "vidrase":
            assert importlib.util.find_spec(module), f"{path.name} imports {module}, which is not there"
        if parts[0] == "vidrase" and here != "__init__":
            there = parts[1] if len(parts) > 1 else name
            if there != here and (ROOT / there).with_suffix(".py").exists() | (ROOT / there).is_dir():
                assert _row(here) < _row(there), f"{path.name} (vidrase.{here}) imports vidrase.{there}"
        if parts[0] in OWNERS:
            assert here in OWNERS[parts[0]], f"{path.name} imports {parts[0]}, which {OWNERS[parts[0]]} own"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_stay_readable(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= 400, f"{path.name} has {lines} lines: split it by noun"
    assert path.stem not in {"utils", "helpers", "common", "misc"}


def test_importing_vidrase_is_light() -> None:
    code = "import sys, vidrase; assert not {'torch', 'cv2', 'av', 'ultralytics'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_engine_loads_no_torch_by_itself() -> None:
    # with masks alone it is loaded once something has to be synthesized, or never
    code = "import sys, vidrase.engine; assert not {'torch', 'ultralytics'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names() -> None:
    assert all(getattr(vidrase, name) is not None for name in vidrase.__all__)
