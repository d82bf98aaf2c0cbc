"""Stills as one-frame videos, and how to tell that a file is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

from PIL import Image

from vidrase.closable import Closable
from vidrase.errors import SourceError
from vidrase.frames import Frame, SourceInfo
from vidrase.source.losses import Damage
from vidrase.source.picture import Picture, animated_formats, is_heif, pillow, read_picture
from vidrase.source.spool import Spool

Note = Callable[[str], None]

STILL_TIME_BASE = Fraction(1, 25)
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"GIF8", b"\0\0\0\x0cjP  ")


def looks_like_image(head: bytes) -> bool:
    """True when `head`, the first 32 bytes of a file, begin one of the picture formats."""
    if head.startswith(_MAGIC) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return True
    if (
        head[:2] == b"BM"
        and len(head) >= 18
        and head[14:18] in (b"\x0c\0\0\0", b"\x28\0\0\0", b"\x6c\0\0\0", b"\x7c\0\0\0")
    ):
        return True
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3] in b" \n\r\t#":
        return True
    return is_heif(head) or (head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis"))


def loops(path: Path) -> int | None:
    """How often the animation in `path` (GIF, PNG, WebP or AVIF) is shown, 0 for ever; None: a still, or no picture."""
    try:
        with pillow(str(path)), Image.open(path, formats=animated_formats()) as image:
            if not getattr(image, "is_animated", False):
                return None
            said = image.info.get("loop")  # Pillow does not tell of AVIF
            if image.format == "GIF":  # which counts repetitions, the others showings
                return 1 if said is None else int(said) + bool(said)
            return int(said or 0)
    except SourceError:
        return None  # none of these formats, or one that is reported when it is read


class ImageSource(Closable):
    """A still: one frame at pts 0."""

    def __init__(self, path: Path, *, shown: str, note: Note, spool: Spool | None = None) -> None:
        """Read the picture. Raises as `read_picture`."""
        self._spool = spool
        self.damage = Damage()  # a picture is there or it is not
        self._note = note
        picture = read_picture(path, name=shown if spool is not None else None)
        self._frame = as_frame(picture, 0, STILL_TIME_BASE)
        self.info = SourceInfo(
            kind="image",
            path=path,
            url=shown,
            width=self._frame.width,
            height=self._frame.height,
            layout=picture.layout,
            time_base=STILL_TIME_BASE,
            frame_count=1,
            orientation=picture.orientation,
            container=picture.native.format,
            codec=picture.native.format.lower(),
            notes=picture.notes,
        )

    def __iter__(self) -> Iterator[Frame]:
        return iter((self._frame,))

    def close(self) -> None:
        """Remove a temporary copy; may be called again."""
        if self._spool is not None:
            self._spool.close()


def as_frame(picture: Picture, index: int, time_base: Fraction) -> Frame:
    """`picture` as the frame number `index` of a clip with one tick a frame."""
    return Frame(
        picture.planes,
        picture.layout,
        index,
        index,
        time_base,
        1,
        picture.orientation,
        native=picture.native,
    )
