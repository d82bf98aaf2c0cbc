"""TIFF of 16 bits a sample, in colour too, which Pillow does not write."""

from __future__ import annotations

import io
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin, TiffTags

_DEFLATE = ("tiff_adobe_deflate", "tiff_deflate", "tiff_lzw", "packbits", "tiff_lzma", "zstd")
_XMP, _ICC = 700, 34675


def tiff16(
    samples: NDArray[np.uint16],
    *,
    alpha: bool,
    exif: bytes = b"",
    icc: bytes = b"",
    xmp: bytes = b"",
    dpi: tuple[float, float] | None = None,
    compression: str = "",
) -> bytes:
    """A TIFF file of one strip.

    samples: uint16 [H, W, C], C 1 or 3 colours, one more with `alpha`. compression: Pillow's name of the source's; any lossless
    one becomes Deflate. exif: block as Pillow has it; its tags are taken over.
    """
    height, width, channels = samples.shape
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    if exif:
        given = Image.Exif()
        given.load(exif)
        for tag in given:
            directory[tag] = given.get_ifd(tag) if tag in TiffTags.TAGS_V2_GROUPS else given.get(tag)
    squeezed = compression in _DEFLATE
    data = samples.astype("<u2").tobytes()
    data = zlib.compress(data, 6) if squeezed else data
    if dpi:
        directory[296], directory[282], directory[283] = 2, dpi[0], dpi[1]
    if icc:
        directory[_ICC] = icc
    if xmp:
        directory[_XMP] = xmp
    directory[256], directory[257] = width, height
    directory[258] = (16,) * channels
    directory[259] = 8 if squeezed else 1
    directory[262] = 2 if channels - alpha == 3 else 1
    directory[273] = 0  # from the end of the directory, which is where the strip goes
    directory[277], directory[278], directory[279] = channels, height, len(data)
    directory[284] = 1
    if alpha:
        directory[338] = 2
    file = io.BytesIO()
    directory.save(file)
    return file.getvalue() + data
