"""Track a mask through a clip that is read once: forwards from the box's frame, and backwards to the start of its shot.

A few small images are in memory; the images before the box's frame and the masks are on disk.
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
from vidrase.masktrack.segment import Mask, Picture, bounds, segment_box
from vidrase.masktrack.tracker import LONG_SIDE, MaskTracker
from vidrase.options import Rectangle
from vidrase.streams import closing_all

LABEL = "thing"
NEIGHBOUR_DISTANCE = 2  # frames before and after; the motion in the box is measured against these
Numbered = tuple[int, Picture]


class MaskTrack(Closable):
    """Masks of one object by frame index. A context manager: closing deletes its files."""

    def __init__(self) -> None:
        self._masks = _DiskStore()
        self.first = self.last = -1
        """First and last frame index with a mask; every frame between them has one."""
        self.beginning = self.ending = ""
        """Why tracking stopped before the first and after the last frame; empty where the clip begins or ends."""

    def close(self) -> None:
        """Delete the masks on disk."""
        self._masks.close()

    def add(self, index: int, mask: Mask, confidence: float) -> None:
        """Store `mask` bool [h, w] of the reduced image of frame `index`, adjacent to a stored frame."""
        y0, y1, x0, x1 = bounds(mask)
        head = struct.pack("<6If", *mask.shape, y0, y1, x0, x1, confidence)
        self._masks.put(index, head + np.packbits(mask[y0:y1, x0:x1]).tobytes())
        self.first = index if self.first < 0 else min(self.first, index)
        self.last = max(self.last, index)

    def instances(self, index: int, size: tuple[int, int], id: int) -> Instances:
        """The object in frame `index` at `size` (height, width) as displayed, with id `id`; no instance where it has no mask."""
        data = self._masks.get(index)
        if data is None:
            return Instances.none(size)
        height, width, y0, y1, x0, x1, confidence = struct.unpack_from("<6If", data)
        rows, columns = y1 - y0, x1 - x0
        bits = np.frombuffer(data, np.uint8, offset=28)
        small = np.unpackbits(bits, count=rows * columns).reshape(rows, columns).astype(np.float32)
        scale_y, scale_x = size[0] / height, size[1] / width
        top, left_frame = max(int((y0 - 1) * scale_y), 0), max(int((x0 - 1) * scale_x), 0)
        bottom = min(int(np.ceil((y1 + 1) * scale_y)), size[0])
        right = min(int(np.ceil((x1 + 1) * scale_x)), size[1])
        # outside the crop the mask is empty, but beyond the image border the object continues
        padding = ((int(y0 == 0), int(y1 == height)), (int(x0 == 0), int(x1 == width)))
        small = np.pad(small, padding, mode="edge")
        # pixel centres: frame -> reduced picture -> crop
        shift_x = (left_frame + 0.5) / scale_x - 0.5 - x0 + (x0 == 0)
        shift_y = (top + 0.5) / scale_y - 0.5 - y0 + (y0 == 0)
        matrix = np.array([[1 / scale_x, 0, shift_x], [0, 1 / scale_y, shift_y]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        mask = cv2.warpAffine(small, matrix, (right - left_frame, bottom - top), flags=flags) >= 0.5
        if not mask.any():
            return Instances.none(size)
        ys, ye, xs, xe = bounds(mask)
        box = np.array([[left_frame + xs, top + ys, left_frame + xe, top + ye]], np.float32)
        return Instances(
            np.array([id], np.int64),
            (LABEL,),
            np.array([confidence], np.float32),
            box,
            (mask[ys:ye, xs:xe].copy(),),
            np.array([[top + ys, left_frame + xs]], np.int32),
            size,
        )


def track_box(frames: Iterable[Frame], index: int, box: Rectangle, size: tuple[int, int], flow: FlowModel) -> MaskTrack:
    """Segment the object in `box` of frame `index` and track it through its shot. Closes `frames` when done.

    size: (height, width) of the displayed frame. Raises OptionError when nothing in the box can be segmented.
    """
    result, earlier_pictures = MaskTrack(), _DiskStore()
    try:
        with closing_all(frames) as source:
            _track(_pictures(source), index, box, size, flow, result, earlier_pictures)
    except BaseException:
        result.__exit__(None, None, None)
        raise
    finally:
        earlier_pictures.close()
    return result


def _track(
    pictures: Iterator[tuple[int, Picture, bool]],
    index: int,
    box: Rectangle,
    size: tuple[int, int],
    flow: FlowModel,
    result: MaskTrack,
    earlier_pictures: _DiskStore,
) -> None:
    for number, picture, cut in pictures:
        if cut:
            earlier_pictures.clear()  # another shot: its frames are not tracked
        if number == index:
            break
        earlier_pictures.put(number, picture.tobytes())
    ahead: list[Numbered] = []
    cut = False
    for later, following, cut in pictures:
        if cut:
            break
        ahead.append((later, following))
        if len(ahead) == NEIGHBOUR_DISTANCE:
            break

    def before(number: int) -> Picture | None:
        data = earlier_pictures.get(number)
        return None if data is None else np.frombuffer(data, np.uint8).reshape(picture.shape)

    earlier = next((shown for n in range(NEIGHBOUR_DISTANCE, 0, -1) if (shown := before(index - n)) is not None), None)
    neighbours = [shown for shown in (earlier, ahead[-1][1] if ahead else None) if shown is not None]
    mask = segment_box(picture, _reduced(box, size, picture.shape), neighbours, flow)
    if mask is None:
        raise OptionError(
            f"nothing stands out in the box {box}, and the detector knows nothing that fits it "
            "(see --list; --mask takes a drawn mask)"
        )
    result.add(index, mask, 1.0)
    tracker, number = MaskTracker(picture, mask, flow), index - 1
    while (earlier := before(number)) is not None:
        observation = tracker.update(earlier)
        if observation is None:
            result.beginning = (
                "before that it is outside the picture" if tracker.left_frame else "before that it is lost"
            )
            break
        result.add(number, observation.mask, observation.confidence)
        number -= 1
    else:
        result.beginning = "there the shot begins" if number >= 0 else ""
    tracker = MaskTracker(picture, mask, flow)

    def forwards() -> Iterator[tuple[int, Picture, bool]]:
        yield from ((later, following, False) for later, following in ahead)
        if cut:
            yield -1, picture, True
        else:
            yield from pictures

    for later, following, new in forwards():
        if new:
            result.ending = "there the shot ends"
            return
        observation = tracker.update(following)
        if observation is None:
            result.ending = "then it leaves the picture" if tracker.left_frame else "then it is lost"
            return
        result.add(later, observation.mask, observation.confidence)


def _pictures(frames: Iterable[Frame]) -> Iterator[tuple[int, Picture, bool]]:
    """(index, reduced image as displayed, whether a shot begins)."""
    number_of, last = Shots(), 0
    for frame in frames:
        height, width = frame.displayed_size
        scale = min(LONG_SIDE / max(height, width), 1.0)
        picture = frame.rgb(size=(max(round(height * scale), 1), max(round(width * scale), 1)))
        before, last = last, number_of(frame)
        yield frame.index, picture, last != before
        del frame


def _reduced(box: Rectangle, size: tuple[int, int], small: tuple[int, ...]) -> tuple[int, int, int, int]:
    """(y0, y1, x0, x1) of a frame's box in the reduced image."""
    scale_y, scale_x = small[0] / size[0], small[1] / size[1]
    y0, y1 = max(int(box.y0 * scale_y), 0), min(int(np.ceil(box.y1 * scale_y)), small[0])
    x0, x1 = max(int(box.x0 * scale_x), 0), min(int(np.ceil(box.x1 * scale_x)), small[1])
    return y0, y1, x0, x1


class _DiskStore:
    """Byte strings on disk, by number."""

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


__all__ = ["LABEL", "MaskTrack", "track_box"]
