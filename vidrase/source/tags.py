"""What FFmpeg says about a picture in numbers, as names: colour tags, display matrix."""

from __future__ import annotations

import struct

from vidrase.frames import UPRIGHT, Orientation

_RANGE = {1: "tv", 2: "pc"}
_PRIMARIES = {
    1: "bt709",
    4: "bt470m",
    5: "bt470bg",
    6: "smpte170m",
    7: "smpte240m",
    8: "film",
    9: "bt2020",
    10: "smpte428",
    11: "smpte431",
    12: "smpte432",
    22: "ebu3213",
}
_TRANSFER = {
    1: "bt709",
    4: "gamma22",
    5: "gamma28",
    6: "smpte170m",
    7: "smpte240m",
    8: "linear",
    9: "log100",
    10: "log316",
    11: "iec61966-2-4",
    12: "bt1361e",
    13: "iec61966-2-1",
    14: "bt2020-10",
    15: "bt2020-12",
    16: "smpte2084",
    17: "smpte428",
    18: "arib-std-b67",
}
_MATRIX = {
    0: "gbr",
    1: "bt709",
    4: "fcc",
    5: "bt470bg",
    6: "smpte170m",
    7: "smpte240m",
    8: "ycgco",
    9: "bt2020nc",
    10: "bt2020c",
    11: "smpte2085",
    12: "chroma-derived-nc",
    13: "chroma-derived-c",
    14: "ictcp",
}
HDR_TRANSFERS = {"smpte2084": "PQ", "arib-std-b67": "HLG"}


def colour_tags(colour_range: int, primaries: int, transfer: int, matrix: int) -> dict[str, str]:
    """FFmpeg's names of what is specified; the keys are range, primaries, transfer and matrix."""
    named = {
        "range": _RANGE.get(colour_range),
        "primaries": _PRIMARIES.get(primaries),
        "transfer": _TRANSFER.get(transfer),
        "matrix": _MATRIX.get(matrix),
    }
    return {key: name for key, name in named.items() if name is not None}


# signs of (a, b, c, d) in x' = a x + c y, y' = b x + d y (y down) -> Orientation
_TURNS = {
    (1, 0, 0, 1): UPRIGHT,
    (0, 1, -1, 0): Orientation(1),
    (-1, 0, 0, -1): Orientation(2),
    (0, -1, 1, 0): Orientation(3),
    (-1, 0, 0, 1): Orientation(0, True),
    (0, 1, 1, 0): Orientation(1, True),
    (1, 0, 0, -1): Orientation(2, True),
    (0, -1, -1, 0): Orientation(3, True),
}


def orientation_of(matrix: bytes) -> Orientation | None:
    """The quarter turn and mirroring of a display matrix (nine native int32); None when it does anything else."""
    if len(matrix) < 36:
        return None
    a, b, _, c, d, _, _, _, _ = struct.unpack("=9i", matrix[:36])
    longest = max(abs(a), abs(b), abs(c), abs(d))
    if not longest:
        return None
    signs = []
    for value in (a, b, c, d):
        share = value / longest
        if 0.01 < abs(share) < 0.99:  # some other angle, or a stretch
            return None
        signs.append(round(share))
    return _TURNS.get((signs[0], signs[1], signs[2], signs[3]))


_EXIF = {
    1: UPRIGHT,
    2: Orientation(0, True),
    3: Orientation(2),
    4: Orientation(2, True),
    5: Orientation(1, True),
    6: Orientation(1),
    7: Orientation(3, True),
    8: Orientation(3),
}


def orientation_of_exif(value: object) -> Orientation:
    """How EXIF's orientation tag (1..8) turns the stored picture; upright for anything else."""
    return _EXIF.get(value, UPRIGHT) if isinstance(value, int) else UPRIGHT
