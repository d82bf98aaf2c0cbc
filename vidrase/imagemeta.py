"""What an image file holds besides its pixels: carried from the source to the sink so that the format stays as it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, eq=False)
class ImageNative:
    """`Frame.native` of a still or of a frame of a folder: everything but the samples."""

    name: str
    """File name without its folder, "frame_0007.png"; "" when it came from a pipe."""
    format: str
    """Pillow's name: "JPEG", "PNG", "WEBP", "TIFF", "BMP", ..."""
    mode: str
    """Pillow's mode as stored: "RGB", "L", "P", "CMYK", ...; for deep files what the samples are ("RGB;16", "I;16")."""
    bits: int = 8
    """Bits per sample as stored."""
    exif: bytes = b""
    """The whole block as Pillow's `save(exif=...)` takes it, thumbnail included; b"" when there is none."""
    icc: bytes = b""
    """Colour profile of the planes as they are now (dropped when a CMYK image was converted)."""
    xmp: bytes = b""
    dpi: tuple[float, float] | None = None
    comment: bytes = b""
    """JPEG or GIF comment."""
    text: Mapping[str, str] = field(default_factory=dict)
    """PNG text chunks."""
    quantisation: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """JPEG: table number -> 64 values in the order that Pillow's `save(qtables=...)` takes."""
    subsampling: int = -1
    """JPEG: 0 4:4:4, 1 4:2:2, 2 4:2:0, -1 anything else; as Pillow's `save(subsampling=...)` takes it."""
    progressive: bool = False
    """JPEG."""
    compression: str = ""
    """TIFF: Pillow's name of it ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg", ...)."""
    lossless: bool = True
    """False for JPEG, lossy WebP and JPEG in TIFF."""
    pictures: int = 1
    """How many the file holds; only the first was read."""
