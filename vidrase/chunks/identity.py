"""What a run depends on, as plain values: two runs whose values are equal make the same things."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vidrase import __version__, rules
from vidrase.frames import SourceInfo
from vidrase.labels import scenery
from vidrase.passes import near
from vidrase.run import FirstPass, Run
from vidrase.select import Selection

FORMAT = 1  # of the files in a work folder
ENDS = 1 << 20  # bytes of a file's head and of its tail that are hashed


def of_source(info: SourceInfo) -> dict[str, Any]:
    """The clip and the program."""
    assert info.path is not None
    files = [info.path / name for name in info.frame_names] if info.kind == "frames" else [info.path]
    return {"program": f"{__version__} ({FORMAT})", "input": _of_files(files)}


def of_detections(run: Run) -> dict[str, Any]:
    """What the detector finds in a frame."""
    segmenter, models = run.models.segmenter, run.options.models
    if segmenter is None:
        return {}
    return {"--model": segmenter.description, "--conf": float(segmenter.recommended_conf), "--imgsz": models.imgsz}


def of_first_pass(run: Run, info: SourceInfo) -> dict[str, Any]:
    """Tracks and shots, besides the detections."""
    options, segmenter = run.options, run.models.segmenter
    masks = [_of_files(_files_of(path)) for path in options.select.mask]
    found: dict[str, Any] = {"--time": near(run, info), "--mask": masks, "--mask-invert": options.select.mask_invert}
    if segmenter is not None:
        boxes = options.select.box
        found |= {
            "--tracker": options.models.tracker,
            "--detect-every": options.models.detect_every,
            "batch": options.models.batch,
            "scenery": sorted(scenery(options.select.remove, segmenter.names)),
            "--box": [str(box) for box in boxes],
            "--flow": run.models.flow.name if boxes else None,
        }
    return found


def of_second_pass(run: Run, known: FirstPass, selection: Selection | None) -> dict[str, Any]:
    """The pixels of the holes."""
    select, masks, fill = run.options.select, run.options.masks, run.options.fill
    return {
        "the objects": sorted(selection.ids or ()) if selection is not None else None,
        "--keep": sorted(query.text for query in selection.keep) if selection is not None else None,
        "scenery": sorted(known.scenery),
        "--region": str(select.region),
        "--time": select.times,
        "--dilate": masks.dilate,
        "--mask-shape": masks.shape,
        "--fill": fill.mode,
        "--quality": fill.quality,
        "--shadows": fill.shadows,
        "--flow": run.models.flow.name,
        "--inpainter": run.models.inpainter.name,
        "rules": rules.off(),
    }


def _files_of(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    folder = path if path.is_dir() else path.parent  # a pattern
    return sorted(one for one in folder.iterdir() if one.is_file()) if folder.is_dir() else []


def _of_files(files: Iterable[Path]) -> dict[str, Any]:
    """Size, time and a hash of both ends of a file; of several: their number, size, and a hash of names, sizes and times."""
    found = list(files)
    if len(found) == 1:
        stat = found[0].stat()
        digest = hashlib.sha256()
        with found[0].open("rb") as file:
            digest.update(file.read(ENDS))
            file.seek(max(stat.st_size - ENDS, 0))
            digest.update(file.read(ENDS))
        return {"bytes": stat.st_size, "modified": stat.st_mtime_ns, "ends": digest.hexdigest()}
    stats = [(path.name, path.stat()) for path in found]
    listing = "\n".join(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats)
    size = sum(stat.st_size for _, stat in stats)
    return {"files": len(stats), "bytes": size, "listing": hashlib.sha256(listing.encode()).hexdigest()}
