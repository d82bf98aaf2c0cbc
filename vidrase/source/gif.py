"""Whether a GIF is whole. FFmpeg takes what is left of a broken one for the file, without a word."""

from __future__ import annotations

from pathlib import Path

_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B


def fault(path: Path) -> str:
    """Where the blocks of the file stop making sense; "" when they lead to its end. Raises OSError."""
    data = path.read_bytes()
    images = 0
    try:
        at = 13 + _table(data, 10)
        while (kind := data[at]) != _TRAILER:
            if kind == _EXTENSION:
                at += 2
            elif kind == _IMAGE:
                at += 11 + _table(data, at + 9)
                images += 1
            else:
                return f"what follows picture {images} is none"
            while size := data[at]:
                at += 1 + size
            at += 1
    except IndexError:
        return f"cut off in or after picture {images}"
    return ""


def _table(data: bytes, flags: int) -> int:
    """Bytes of the colours that the flags there announce."""
    return 3 << ((data[flags] & 7) + 1) if data[flags] & 0x80 else 0
