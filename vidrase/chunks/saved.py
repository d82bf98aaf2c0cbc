"""The first pass in files: what a second pass needs of it, now or in another process.

Arrays and JSON only: whatever lies in a work folder is data, and nothing of it is called.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidrase.colour import PixelLayout
from vidrase.errors import SinkError
from vidrase.frames import Frame, Orientation
from vidrase.keyframes import Keyframe, KeyframeMosaic, Thumbnail
from vidrase.part import save as save_bytes
from vidrase.plate import Plate
from vidrase.run import FirstPass
from vidrase.shots import Shot, ShotAnalysis
from vidrase.source import FrameTable
from vidrase.store import InstanceStore

INSTANCES = "instances"
"""Name of the file that the store of the first pass writes into."""
_TRACKS, _FRAMES, _SHOTS = "tracks.npz", "frames.npz", "shots.json"

Arrays = dict[str, NDArray]


def save(known: FirstPass, folder: Path) -> None:
    """Write the first pass into `folder`, its list of shots last: without that it counts as not there. Raises SinkError."""
    try:
        if known.store is not None:
            known.store.save(folder / _TRACKS)
        with (folder / _FRAMES).open("wb") as file:
            np.savez(
                file,
                seconds=np.frombuffer(known.seconds, np.float64),
                pts=np.frombuffer(known.table.pts, np.int64),
                checksums=np.frombuffer(known.table.checksums, np.uint32),
            )
        save_analysis(known, folder)
    except OSError as error:
        raise SinkError(f"cannot write to {folder}: {error.strerror or error}") from error


def save_analysis(known: FirstPass, folder: Path) -> None:
    """Write the shots alone. Raises OSError, SinkError."""
    shots = known.analysis.shots if known.analysis is not None else None
    with suppress(FileNotFoundError):
        (folder / _SHOTS).unlink()
    heads = []
    for number, shot in enumerate(shots or ()):
        heads.append([shot.start, shot.stop, shot.camera, shot.plate is not None or shot.mosaic is not None])
        if heads[-1][3]:
            arrays, words = dict[str, Any](), dict[str, Any]()
            if shot.plate is not None:
                _put_plate(shot.plate, arrays, words)
            if shot.mosaic is not None:
                _put_mosaic(shot.mosaic, arrays, words)
            arrays["words"] = np.frombuffer(json.dumps(words).encode(), np.uint8)
            with (folder / f"shot-{number:05d}.npz").open("wb") as file:
                np.savez(file, **arrays)
    listed = {
        "shots": heads if shots is not None else None,
        "scenery": sorted(known.scenery),
        "detected": known.store is not None,
    }
    save_bytes(folder / _SHOTS, json.dumps(listed).encode())


def is_saved(folder: Path) -> bool:
    """Whether `folder` holds a complete first pass."""
    return (folder / _SHOTS).is_file()


def load(folder: Path, *, span: tuple[int, int] | None = None, analysis_in: Path | None = None) -> FirstPass:
    """The first pass that `save` wrote. The caller closes its store.

    span: the frames for which plates and key frames are wanted; None: all. analysis_in: folder of `save_analysis`, where the
    shots were analysed again.
    Raises OSError, ValueError or KeyError for a damaged one.
    """
    shots_in = analysis_in or folder
    listed = json.loads((shots_in / _SHOTS).read_text(encoding="utf-8"))
    analysis = None
    if listed["shots"] is not None:
        shots = []
        for number, (start, stop, camera, more) in enumerate(listed["shots"]):
            wanted = more and (span is None or (start < span[1] and stop > span[0]))
            plate, mosaic = _content(shots_in / f"shot-{number:05d}.npz") if wanted else (None, None)
            shots.append(Shot(start, stop, camera, plate, mosaic))
        analysis = ShotAnalysis(tuple(shots))
    with np.load(folder / _FRAMES, allow_pickle=False) as frames:
        seconds = array("d", frames["seconds"].tobytes())
        table = FrameTable(array("q", frames["pts"].tobytes()), array("I", frames["checksums"].tobytes()))
    store = InstanceStore.load(folder / INSTANCES, folder / _TRACKS) if listed["detected"] else None
    return FirstPass(analysis, seconds, store, frozenset(listed["scenery"]), table)


def _content(path: Path) -> tuple[Plate | None, KeyframeMosaic | None]:
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    words = json.loads(arrays["words"].tobytes())
    plate = _plate(arrays, words) if "noise" in words else None
    return plate, _mosaic(arrays, words) if "size" in words else None


def _put_plate(plate: Plate, arrays: Arrays, words: dict[str, Any]) -> None:
    words["noise"] = list(plate.noise)
    for name in ("planes", "known", "spread"):
        _put(arrays, f"plate-{name}", getattr(plate, name))


def _plate(arrays: Arrays, words: Mapping[str, Any]) -> Plate:
    planes, known, spread = (_take(arrays, f"plate-{name}") for name in ("planes", "known", "spread"))
    return Plate(planes, known, spread, tuple(words["noise"]))


def _put_mosaic(mosaic: KeyframeMosaic, arrays: Arrays, words: dict[str, Any]) -> None:
    words["size"] = mosaic.size
    words["keys"] = [_described(key) for key in mosaic.key_frames]
    words["thumbnails"] = [[one.index, one.part] for one in mosaic.thumbnails]
    for n, key in enumerate(mosaic.key_frames):
        _put(arrays, f"key-{n}", key.frame.planes)
        _put(arrays, f"key-{n}-about", (key.hole, key.luma, key.known, key.pose))
    for n, one in enumerate(mosaic.thumbnails):
        _put(arrays, f"thumbnail-{n}", (one.rgb, one.known, one.pose))
    samples, parts, poses = mosaic.samples()
    arrays |= {"samples": np.array(samples, np.int64), "parts": np.array(parts, np.int64), "poses": np.array(poses)}


def _mosaic(arrays: Arrays, words: Mapping[str, Any]) -> KeyframeMosaic:
    keys = []
    for n, said in enumerate(words["keys"]):
        hole, luma, known, pose = _take(arrays, f"key-{n}-about")
        keys.append(Keyframe(_frame(said, _take(arrays, f"key-{n}")), hole, luma, known, pose, said["part"]))
    thumbnails = []
    for n, (index, part) in enumerate(words["thumbnails"]):
        rgb, known, pose = _take(arrays, f"thumbnail-{n}")
        thumbnails.append(Thumbnail(index, rgb, known, pose, part))
    samples, parts = array("q", arrays["samples"].tobytes()), array("l", arrays["parts"].tolist())
    height, width = words["size"]
    return KeyframeMosaic(
        tuple(keys), tuple(thumbnails), (height, width), samples, parts, array("d", arrays["poses"].tobytes())
    )


def _described(key: Keyframe) -> dict[str, Any]:
    frame = key.frame
    return {
        "part": key.part,
        "layout": asdict(frame.layout),
        "index": frame.index,
        "pts": frame.pts,
        "tick": [frame.time_base.numerator, frame.time_base.denominator],
        "duration": frame.duration,
        "orientation": asdict(frame.orientation),
    }


def _frame(said: Mapping[str, Any], planes: tuple[NDArray, ...]) -> Frame:
    layout, orientation = PixelLayout(**said["layout"]), Orientation(**said["orientation"])
    return Frame(planes, layout, said["index"], said["pts"], Fraction(*said["tick"]), said["duration"], orientation)


def _put(arrays: Arrays, name: str, many: Sequence[NDArray]) -> None:
    arrays |= {f"{name}:{n}": one for n, one in enumerate(many)}


def _take(arrays: Arrays, name: str) -> tuple[NDArray, ...]:
    found: list[NDArray] = []
    while f"{name}:{len(found)}" in arrays:
        found.append(arrays[f"{name}:{len(found)}"])
    return tuple(found)
