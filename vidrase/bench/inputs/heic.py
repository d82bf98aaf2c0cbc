"""A HEIC photograph as phones store it, made by hand: one picture cut into a grid of HEVC tiles."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from vidrase.bench.inputs.clips import to_av


def write_grid(path: Path, picture: NDArray[np.uint8], rows: int, columns: int) -> None:
    """`picture` uint8 [H, W, 3] RGB as `rows` x `columns` tiles of one size, each an item of its own."""
    height, width = picture.shape[0] // rows, picture.shape[1] // columns
    tiles = [picture[y * height :, x * width :][:height, :width] for y in range(rows) for x in range(columns)]
    config, samples = _encoded(tiles)
    count, grid = len(samples), len(samples) + 1
    infe = b"".join(
        _box(b"infe", struct.pack(">HH4sB", n + 1, 0, b"hvc1", 0), full=(2 << 24) | 1) for n in range(count)
    )
    infe += _box(b"infe", struct.pack(">HH4sB", grid, 0, b"grid", 0), full=2 << 24)
    idat = _box(b"idat", struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, picture.shape[1], picture.shape[0]))
    ids = [struct.pack(">H", n + 1) for n in range(count)]
    iref = _box(b"iref", _box(b"dimg", struct.pack(">HH", grid, count), *ids), full=0)
    ipco = _box(
        b"ipco",
        _box(b"hvcC", config),
        _box(b"ispe", struct.pack(">II", width, height), full=0),
        _box(b"ispe", struct.pack(">II", picture.shape[1], picture.shape[0]), full=0),
        _box(b"pixi", b"\x03\x08\x08\x08", full=0),
    )
    ipma = struct.pack(">I", count + 1) + b"".join(struct.pack(">HBBB", n + 1, 2, 0x80 | 1, 2) for n in range(count))
    iprp = _box(b"iprp", ipco, _box(b"ipma", ipma + struct.pack(">HBBB", grid, 2, 3, 4), full=0))
    ftyp = _box(b"ftyp", b"heic", struct.pack(">I", 0), b"mif1heic")
    hdlr = _box(b"hdlr", struct.pack(">I4s", 0, b"pict"), b"\0" * 13, full=0)
    pitm = _box(b"pitm", struct.pack(">H", grid), full=0)

    def meta(at: int) -> bytes:
        items = b""
        for n, sample in enumerate(samples):
            items += struct.pack(">HHHHII", n + 1, 0, 0, 1, at, len(sample))
            at += len(sample)
        items += struct.pack(">HHHHII", grid, 1, 0, 1, 0, 8)  # in idat
        iloc = _box(b"iloc", struct.pack(">BBH", 0x44, 0, count + 1), items, full=1 << 24)
        iinf = _box(b"iinf", struct.pack(">H", count + 1), infe, full=0)
        return _box(b"meta", hdlr, pitm, iloc, iinf, iref, iprp, idat, full=0)

    path.write_bytes(ftyp + meta(len(ftyp) + len(meta(0)) + 8) + _box(b"mdat", *samples))


def _encoded(tiles: list[NDArray[np.uint8]]) -> tuple[bytes, list[bytes]]:
    """(the decoder's configuration, one sample a tile)."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        options = {"x265-params": "keyint=1:info=0:log-level=none", "crf": "8", "preset": "ultrafast"}
        stream: Any = out.add_stream("libx265", rate=1, options=options)
        stream.height, stream.width = tiles[0].shape[:2]
        stream.pix_fmt, stream.codec_context.codec_tag = "yuv420p", "hvc1"
        for number, tile in enumerate(tiles):
            frame = to_av(np.ascontiguousarray(tile), matrix=5)
            frame.pts = number
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    with av.open(io.BytesIO(file.getvalue()), "r") as back:
        config = bytes(back.streams.video[0].codec_context.extradata or b"")
        return config, [bytes(packet) for packet in back.demux(video=0) if packet.size]


def _box(kind: bytes, *parts: bytes, full: int | None = None) -> bytes:
    body = (b"" if full is None else struct.pack(">I", full)) + b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body
