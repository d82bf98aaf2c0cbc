"""Whether a file of packets ends with one. FFmpeg takes the half of the last packet for a whole one, without a word.

A transport stream has packets of one size, a program stream says how long each is. Cut between two packets, neither shows
it: broadcasts begin and end anywhere, and what an end code is for most writers leave out.
"""

from __future__ import annotations

import os
from pathlib import Path

TAIL = 1 << 18  # bytes from the end that are looked at: some packets of any size
_SYNC = 0x47
_SIZES = ((188, 0), (192, 4), (204, 0))  # of a transport packet, and bytes before its sync byte
_IN_STEP = 5  # packets in a row that tell their size
_PACK, _END = 0xBA, 0xB9
_HALF = "it breaks off in the middle of a packet"


def fault(path: Path, container: str) -> str:
    """What is wrong with the end of the file, "" when nothing shows. container: FFmpeg's name. Raises OSError."""
    if container not in ("mpegts", "mpeg"):
        return ""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - TAIL, 0))
        tail = file.read(TAIL)
    return _HALF if (_transport_cut(tail) if container == "mpegts" else _program_cut(tail)) else ""


def _transport_cut(tail: bytes) -> bool:
    for size, before in _SIZES:
        for first in range(min(size, len(tail))):
            syncs = tail[first::size]
            if len(syncs) >= _IN_STEP and syncs.count(_SYNC) == len(syncs):
                last = first + (len(syncs) - 1) * size - before
                return last + size != len(tail)
    return False  # damaged there, or no packets: told elsewhere


def _program_cut(tail: bytes) -> bool:
    at = tail.find(bytes((0, 0, 1, _PACK)))
    while 0 <= at < len(tail):
        head = tail[at : at + 6]
        if not head.strip(b"\0"):
            return False  # padding to the end of a sector
        if head[:3] != b"\0\0\1"[: len(head)]:
            return False  # damaged there: told elsewhere
        if len(head) < 6:
            return head != bytes((0, 0, 1, _END))
        at += _program_step(tail, at)
    return at > len(tail)


def _program_step(tail: bytes, at: int) -> int:
    """Bytes of the part of a program stream at `at`."""
    code = tail[at + 3]
    if code == _END:
        return 4
    if code != _PACK:
        return 6 + int.from_bytes(tail[at + 4 : at + 6])
    if tail[at + 4] >> 6 != 1:  # MPEG-1
        return 12
    return 14 + (tail[at + 13] & 7 if at + 13 < len(tail) else 0)
