"""EXIF and XMP without the small pictures in them, which would still show what was removed.

Everything else stays where it is, byte for byte: camera makers' notes point into the block by offset and would break if it moved.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

_START, _END = b"\xff\xd8\xff", b"\xff\xd9"  # of a JPEG
_ORIENTATION = 0x0112
_PREVIEW = (0x0111, 0x0117), (0x0201, 0x0202)  # (offset, length) of strips and of a JPEG
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}  # of TIFF's types, bytes
_PICTURES_IN_XMP = (b"GImg:image", b"xmp:Thumbnails", b"GImage:Data", b"GDepth:Data", b"xapGImg")


def without_pictures(block: bytes) -> tuple[bytes, bool]:
    """(`block` with every small picture overwritten, whether there was one).

    block: EXIF as Pillow has it, with or without its "Exif" mark. A block that cannot be understood comes back empty.
    """
    head = 6 if block.startswith(b"Exif\0\0") else 0
    made = bytearray(block)
    try:
        found = _drop_second_directory(made, head)
    except (struct.error, IndexError):
        return b"", True  # nobody else will read it either, but a picture in it might be found
    at = made.find(_START, head)
    while at >= 0:  # previews in makers' notes
        end = made.find(_END, at)
        end = len(made) if end < 0 else end + 2
        made[at:end] = bytes(end - at)
        found = True
        at = made.find(_START, at)
    return bytes(made), found


def upright(block: bytes) -> bytes:
    """`block` saying that the picture is stored as it is to be seen."""
    head = 6 if block.startswith(b"Exif\0\0") else 0
    made = bytearray(block)
    try:
        order = _order(made, head)
        for entry in _directory(made, head, order, _first(made, head, order)):
            if entry.tag == _ORIENTATION:
                struct.pack_into(f"{order}H", made, entry.at + 8, 1)
    except (struct.error, IndexError):
        return b""
    return bytes(made)


def xmp_without_pictures(xmp: bytes) -> tuple[bytes, bool]:
    """(`xmp`, or nothing when it holds a picture; whether it did)."""
    found = any(mark in xmp for mark in _PICTURES_IN_XMP)
    return (b"" if found else xmp), found


class _Entry(NamedTuple):
    tag: int
    kind: int
    length: int
    at: int
    """Where the entry lies in the block."""
    value: int


def _order(made: bytearray, head: int) -> str:
    return ">" if made[head : head + 2] == b"MM" else "<"


def _first(made: bytearray, head: int, order: str) -> int:
    return int(struct.unpack_from(f"{order}I", made, head + 4)[0])


def _directory(made: bytearray, head: int, order: str, offset: int) -> Iterator[_Entry]:
    (count,) = struct.unpack_from(f"{order}H", made, head + offset)
    for number in range(count):
        at = head + offset + 2 + 12 * number
        tag, kind, length = struct.unpack_from(f"{order}HHI", made, at)
        short = kind == 3 and length == 1
        (value,) = struct.unpack_from(f"{order}H" if short else f"{order}I", made, at + 8)
        yield _Entry(tag, kind, length, at, value)


def _drop_second_directory(made: bytearray, head: int) -> bool:
    """Overwrite the directory that describes the thumbnail, and the thumbnail."""
    order = _order(made, head)
    first = _first(made, head, order)
    (count,) = struct.unpack_from(f"{order}H", made, head + first)
    pointer = head + first + 2 + 12 * count
    if pointer + 4 > len(made):  # Pillow ends a block without a second directory early
        return False
    (second,) = struct.unpack_from(f"{order}I", made, pointer)
    if not second:
        return False
    struct.pack_into(f"{order}I", made, pointer, 0)
    entries = {entry.tag: entry for entry in _directory(made, head, order, second)}
    for where, length in _PREVIEW:
        if where in entries and length in entries:
            for start, size in zip(
                _numbers(made, head, order, entries[where]), _numbers(made, head, order, entries[length]), strict=False
            ):
                begin, end = min(head + start, len(made)), min(head + start + size, len(made))
                made[begin:end] = bytes(end - begin)
    begin, end = head + second, min(head + second + 2 + 12 * len(entries) + 4, len(made))
    made[begin:end] = bytes(end - begin)
    return True


def _numbers(made: bytearray, head: int, order: str, entry: _Entry) -> list[int]:
    if entry.length == 1:
        return [entry.value]
    size = _SIZES.get(entry.kind, 4)
    letter = "H" if size == 2 else "I"
    at = entry.at + 8 if entry.length * size <= 4 else head + entry.value
    return list(struct.unpack_from(f"{order}{entry.length}{letter}", made, at))
