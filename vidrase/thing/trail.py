"""The way of a thing through a clip that is read once: from the frame it was pointed at on, and back to where its shot begins.

Memory holds a few small pictures; those before the box's frame wait on disk, as do the masks.
"""

from __future__ import annotations

import struct
import tempfile
import zlib
from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from vidrase.closable import Closable
from vidrase.cuts import Shots
from vidrase.errors import OptionError
from vidrase.flow import FlowModel
from vidrase.frames import Frame, Instances
from vidrase.options import Rectangle
from vidrase.streams import closing_all
from vidrase.thing.cutout import Mask, Picture, bounds, cut_out
from vidrase.thing.follower import LONG_SIDE, Follower

LABEL = "thing"
BESIDE = 2  # frames before and after, against whose the motion in the box is judged
Numbered = tuple[int, Picture]


class Trail(Closable):
    """One thing by frame index. A context manager: what it holds on disk goes with it."""

    def __init__(self) -> None:
        self._masks = _Shelf()
        self.first = self.last = -1
        """Frame indices between which it was seen, in all of them."""
        self.beginning = self.ending = ""
        """Why it was not seen any earlier, any later; empty where the clip begins, ends."""

    def close(self) -> None:
        """Let the masks on disk go."""
        self._masks.close()

    def add(self, index: int, mask: Mask, sure: float) -> None:
        """It is at `mask` bool [h, w] of the reduced picture in frame `index`, next to those known already."""
        y0, y1, x0, x1 = bounds(mask)
        head = struct.pack("<6If", *mask.shape, y0, y1, x0, x1, sure)
        self._masks.put(index, head + np.packbits(mask[y0:y1, x0:x1]).tobytes())
        self.first = index if self.first < 0 else min(self.first, index)
        self.last = max(self.last, index)

    def instances(self, index: int, size: tuple[int, int], id: int) -> Instances:
        """The thing in frame `index` of `size` (height, width) as displayed, under number `id`; none where it is not seen."""
        data = self._masks.get(index)
        if data is None:
            return Instances.none(size)
        height, width, y0, y1, x0, x1, sure = struct.unpack_from("<6If", data)
        rows, columns = y1 - y0, x1 - x0
        bits = np.frombuffer(data, np.uint8, offset=28)
        small = np.unpackbits(bits, count=rows * columns).reshape(rows, columns).astype(np.float32)
        scale_y, scale_x = size[0] / height, size[1] / width
        top, left = max(int((y0 - 1) * scale_y), 0), max(int((x0 - 1) * scale_x), 0)
        bottom = min(int(np.ceil((y1 + 1) * scale_y)), size[0])
        right = min(int(np.ceil((x1 + 1) * scale_x)), size[1])
        # beyond the mask's crop there is nothing, but beyond the picture's own border the thing goes on
        spare = ((int(y0 == 0), int(y1 == height)), (int(x0 == 0), int(x1 == width)))
        small = np.pad(small, spare, mode="edge")
        # pixel centres: frame -> reduced picture -> crop
        shift_x = (left + 0.5) / scale_x - 0.5 - x0 + (x0 == 0)
        shift_y = (top + 0.5) / scale_y - 0.5 - y0 + (y0 == 0)
        matrix = np.array([[1 / scale_x, 0, shift_x], [0, 1 / scale_y, shift_y]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        mask = cv2.warpAffine(small, matrix, (right - left, bottom - top), flags=flags) >= 0.5
        if not mask.any():
            return Instances.none(size)
        ys, ye, xs, xe = bounds(mask)
        box = np.array([[left + xs, top + ys, left + xe, top + ye]], np.float32)
        return Instances(
            np.array([id], np.int64),
            (LABEL,),
            np.array([sure], np.float32),
            box,
            (mask[ys:ye, xs:xe].copy(),),
            np.array([[top + ys, left + xs]], np.int32),
            size,
        )


def follow(frames: Iterable[Frame], index: int, box: Rectangle, size: tuple[int, int], flow: FlowModel) -> Trail:
    """What is in `box` in frame `index`, through the shot around it. Closes `frames` as soon as it has seen enough of them.

    size: (height, width) of the displayed frame. Raises OptionError when nothing stands out in the box.
    """
    found, past = Trail(), _Shelf()
    try:
        with closing_all(frames) as source:
            _walk(_pictures(source), index, box, size, flow, found, past)
    except BaseException:
        found.__exit__(None, None, None)
        raise
    finally:
        past.close()
    return found


def _walk(
    pictures: Iterator[tuple[int, Picture, bool]],
    index: int,
    box: Rectangle,
    size: tuple[int, int],
    flow: FlowModel,
    found: Trail,
    past: _Shelf,
) -> None:
    for number, picture, cut in pictures:
        if cut:
            past.clear()  # another shot: nothing there is followed
        if number == index:
            break
        past.put(number, picture.tobytes())
    ahead: list[Numbered] = []
    cut = False
    for later, following, cut in pictures:
        if cut:
            break
        ahead.append((later, following))
        if len(ahead) == BESIDE:
            break

    def before(number: int) -> Picture | None:
        data = past.get(number)
        return None if data is None else np.frombuffer(data, np.uint8).reshape(picture.shape)

    earlier = next((shown for n in range(BESIDE, 0, -1) if (shown := before(index - n)) is not None), None)
    beside = [shown for shown in (earlier, ahead[-1][1] if ahead else None) if shown is not None]
    mask = cut_out(picture, _reduced(box, size, picture.shape), beside, flow)
    if mask is None:
        raise OptionError(
            f"nothing stands out in the box {box}, and the detector knows nothing that fits it "
            "(see --list; --mask takes a drawn mask)"
        )
    found.add(index, mask, 1.0)
    follower, number = Follower(picture, mask, flow), index - 1
    while (earlier := before(number)) is not None:
        sight = follower.next(earlier)
        if sight is None:
            found.beginning = "before that it is outside the picture" if follower.left else "before that it is lost"
            break
        found.add(number, sight.mask, sight.sure)
        number -= 1
    else:
        found.beginning = "there the shot begins" if number >= 0 else ""
    follower = Follower(picture, mask, flow)

    def forwards() -> Iterator[tuple[int, Picture, bool]]:
        yield from ((later, following, False) for later, following in ahead)
        if cut:
            yield -1, picture, True
        else:
            yield from pictures

    for later, following, new in forwards():
        if new:
            found.ending = "there the shot ends"
            return
        sight = follower.next(following)
        if sight is None:
            found.ending = "then it leaves the picture" if follower.left else "then it is lost"
            return
        found.add(later, sight.mask, sight.sure)


def _pictures(frames: Iterable[Frame]) -> Iterator[tuple[int, Picture, bool]]:
    """(index, reduced picture as displayed, whether it begins another shot)."""
    number_of, last = Shots(), 0
    for frame in frames:
        height, width = frame.displayed_size
        scale = min(LONG_SIDE / max(height, width), 1.0)
        picture = frame.rgb(size=(max(round(height * scale), 1), max(round(width * scale), 1)))
        before, last = last, number_of(frame)
        yield frame.index, picture, last != before
        del frame


def _reduced(box: Rectangle, size: tuple[int, int], small: tuple[int, ...]) -> tuple[int, int, int, int]:
    """(y0, y1, x0, x1) of a frame's box in the reduced picture."""
    scale_y, scale_x = small[0] / size[0], small[1] / size[1]
    y0, y1 = max(int(box.y0 * scale_y), 0), min(int(np.ceil(box.y1 * scale_y)), small[0])
    x0, x1 = max(int(box.x0 * scale_x), 0), min(int(np.ceil(box.x1 * scale_x)), small[1])
    return y0, y1, x0, x1


class _Shelf:
    """Bytes on disk, by number."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="vidrase-")  # noqa: SIM115 - closed by close()
        self._where: dict[int, tuple[int, int]] = {}

    def put(self, number: int, data: bytes) -> None:
        packed = zlib.compress(data, 1)
        self._where[number] = (self._file.seek(0, 2), len(packed))
        self._file.write(packed)

    def get(self, number: int) -> bytes | None:
        if number not in self._where:
            return None
        start, length = self._where[number]
        self._file.seek(start)
        return zlib.decompress(self._file.read(length))

    def clear(self) -> None:
        self._where.clear()
        self._file.seek(0)
        self._file.truncate()

    def close(self) -> None:
        self._file.close()


__all__ = ["LABEL", "Trail", "follow"]
