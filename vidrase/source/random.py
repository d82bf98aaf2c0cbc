"""Frames in any order: exact ones by seeking with PyAV, quick looks by decord where its table of times proves right.

Invariant: `frame(n)` is the n-th frame that iterating the source gives: same pts, same planes. Only times are held, no frames.
"""

from __future__ import annotations

import bisect
import itertools
from abc import abstractmethod
from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.closable import Closable
from vidrase.errors import DecodeError, OptionError
from vidrase.frames import UPRIGHT, Frame
from vidrase.source.animation import AnimationSource
from vidrase.source.folder import FolderSource
from vidrase.source.images import ImageSource
from vidrase.source.video import Decoding, VideoSource, decoding_order, transparent_decoder

Note = Callable[[str], None]

NEAR = 16  # frames: decoding on over that many is quicker than a seek and the way from its key frame
PEEK_TOLERANCE = 12.0  # mean difference of grey levels between decord's frame and ours; another frame has more


class RandomAccess(Closable):
    """A clip whose frames can be had in any order. A context manager; closing it closes the source."""

    def __init__(self, source: VideoSource | ImageSource | FolderSource | AnimationSource) -> None:
        self.info, self._source = source.info, source

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def seconds(self, index: int) -> float:
        """When frame `index` is shown, on the clip's own clock."""

    @abstractmethod
    def frame(self, index: int) -> Frame:
        """Frame `index`, exactly as iterating the source gives it. Raises OptionError outside 0..len-1."""

    @property
    def seeks(self) -> bool:
        """Whether a frame costs about as much anywhere in the clip; False: everything before it is decoded too."""
        return True

    def peek(self, index: int, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """uint8 [H, W, 3] RGB as displayed, scaled to `size` (height, width): a quick look, colours may be a shade off."""
        return self.frame(index).rgb(size=size)

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def _check(self, index: int) -> None:
        if not 0 <= index < len(self):
            raise OptionError(f"expected a frame from 0 to {len(self) - 1}, got {index}")


def random_access(source: VideoSource | ImageSource | FolderSource | AnimationSource, note: Note) -> RandomAccess:
    """`source`, which it takes over, for frames in any order. A video is demuxed once for its times (nothing is decoded)."""
    if isinstance(source, VideoSource):
        try:
            return _Video(source, note)
        except BaseException:
            source.close()
            raise
    return _Animation(source) if isinstance(source, AnimationSource) else _Stills(source)


class _Animation(RandomAccess):
    """An animated picture: each frame may need all before it, so they are counted from the first."""

    def __init__(self, source: AnimationSource) -> None:
        super().__init__(source)
        self._animation = source
        self._times = array("q", (frame.pts for frame in source))

    @property
    def seeks(self) -> bool:
        return False

    def __len__(self) -> int:
        return len(self._times)

    def seconds(self, index: int) -> float:
        self._check(index)
        return float(self._times[index] * self.info.time_base)

    def frame(self, index: int) -> Frame:
        self._check(index)
        return next(itertools.islice(self._animation, index, None))


class _Stills(RandomAccess):
    """A still or a folder: every frame is a file."""

    def __init__(self, source: ImageSource | FolderSource) -> None:
        super().__init__(source)
        self._files = source

    def __len__(self) -> int:
        return self.info.frame_count or 1

    def seconds(self, index: int) -> float:
        self._check(index)
        return float(index * self.info.time_base)

    def frame(self, index: int) -> Frame:
        self._check(index)
        return self._files.frame(index) if isinstance(self._files, FolderSource) else next(iter(self._files))


class _Video(RandomAccess):
    """A video: the nearest key frame before, then on to the wanted one."""

    def __init__(self, source: VideoSource, note: Note) -> None:
        super().__init__(source)
        self._note = note
        self._video = source
        self._decoding: Decoding | None = None
        self._coming: Iterator[av.VideoFrame] = iter(())
        self._next = 0  # index of the frame that `_coming` gives next, when it is known to be in step
        self._held: Frame | None = None
        self._decord: Any = None
        self._asked_decord = False
        self._times, self._keys = self._table()

    def _table(self) -> tuple[array[int], array[int]]:
        """(pts of every frame, pts of the key frames), in order of presentation."""
        times, keys = array("q"), array("q")
        decoding = self._video.decoding()
        first = decoding.peek()
        start = first.pts if first is not None else None  # packets before it are for the decoder only
        decoding.close()
        decoding = self._video.decoding()
        usable = start is not None and not decoding_order(decoding.container, decoding.stream)
        decoded: int | None = None
        with suppress(av.FFmpegError):  # broken off: what is before can be had
            for packet in decoding.container.demux(decoding.stream):
                if not packet.size or packet.is_discard:
                    continue
                set_back = decoded is not None and packet.dts is not None and packet.dts < decoded
                if packet.pts is None or set_back:
                    usable = False
                    break
                decoded = packet.dts
                times.append(packet.pts)
                if packet.is_keyframe:
                    keys.append(packet.pts)
        decoding.close()
        ordered = array("q", sorted(times))
        if start is not None:
            ordered = ordered[bisect.bisect_left(ordered, start) :]
        if usable and ordered and start == ordered[0] and len(set(ordered)) == len(ordered):
            return ordered, array("q", sorted(keys))
        self._note(f"{self.info.url} has no usable time stamps for going back and forth: read from its start each time")
        return array("q", (frame.pts for frame in self._video)), array("q")

    @property
    def seeks(self) -> bool:
        return bool(self._keys)

    def __len__(self) -> int:
        return len(self._times)

    def seconds(self, index: int) -> float:
        self._check(index)
        return float(self._times[index] * self.info.time_base)

    def frame(self, index: int) -> Frame:
        self._check(index)
        if self._held is not None and self._held.index == index:
            return self._held
        self._held = (self._by_time(index) if self._keys else None) or self._by_counting(index)
        return self._held

    def _by_time(self, index: int) -> Frame | None:
        """By the nearest key frame whose way forward passes the wanted time; None when none does."""
        wanted = self._times[index]
        near = self._decoding is not None and self._next <= index < self._next + NEAR
        if near and (found := self._until(wanted, index)) is not None:
            return found
        at = bisect.bisect_right(self._keys, wanted)
        for key in reversed(self._keys[max(at - 3, 0) : at]):
            if self._seek(key) and (found := self._until(wanted, index)) is not None:
                return found
        return None

    def _seek(self, key: int) -> bool:
        if self._decoding is None:
            self._decoding = self._video.decoding()
        decoding = self._decoding
        try:
            decoding.container.seek(key, stream=decoding.stream, backward=True)
        except av.FFmpegError:
            return False
        decoder = transparent_decoder(decoding.stream)
        self._coming = _decoded(decoding, decoder) if decoder else decoding.container.decode(decoding.stream)
        return True

    def _until(self, wanted: int, index: int) -> Frame | None:
        with suppress(av.FFmpegError):
            for native in self._coming:
                if native.pts == wanted:
                    self._next = index + 1
                    return self._video.frame(native, index, wanted)
                if native.pts is None or native.pts > wanted:
                    break
        self._next = len(self)  # out of step until the next seek
        return None

    def _by_counting(self, index: int) -> Frame:
        frames = iter(self._video)
        try:
            for frame in frames:
                if frame.index == index:
                    return frame
        finally:
            frames.close()  # type: ignore[attr-defined]
        raise DecodeError(f"frame {index} of {self.info.url} cannot be decoded; {len(self)} were announced")

    def peek(self, index: int, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        self._check(index)
        reader = self._quick()
        if reader is None:
            return self.frame(index).rgb(size=size)
        try:
            rgb = reader[index].asnumpy()
        except Exception as error:  # noqa: BLE001 - decord raises its own kinds, and any of them means the same
            self._give_up(str(error).splitlines()[0] if str(error) else "no reason given")
            return self.frame(index).rgb(size=size)
        if size is None or rgb.shape[:2] == size:
            return np.ascontiguousarray(rgb)
        return cv2.resize(rgb, (size[1], size[0]), interpolation=cv2.INTER_AREA)

    def _quick(self) -> Any:
        """decord's reader where it is sure to count and time frames as we do, else None."""
        if not self._asked_decord:
            self._asked_decord = True
            info = self.info
            usual = info.layout.bits == 8 and info.orientation == UPRIGHT and not info.interlaced
            if usual and info.path is not None and self._keys:
                self._decord = _decord_reader(str(info.path.absolute()), self._times, float(info.time_base))
                if self._decord is not None and not self._agrees(len(self) // 2):
                    self._give_up("its frames are not the ones at their times")
        return self._decord

    def _agrees(self, index: int) -> bool:
        try:
            theirs = cv2.resize(self._decord[index].asnumpy(), (32, 32), interpolation=cv2.INTER_AREA)
        except Exception:  # noqa: BLE001 - as above
            return False
        ours = self.frame(index).rgb(size=(32, 32))
        return float(np.abs(theirs.astype(np.float32) - ours).mean()) < PEEK_TOLERANCE

    def _give_up(self, why: str) -> None:
        self._decord = None
        self._note(f"decord is not used for {self.info.url}: {why}")

    def close(self) -> None:
        if self._decoding is not None:
            self._decoding.close()
            self._decoding = None
        self._held = self._decord = None
        super().close()


def _decoded(decoding: Decoding, decoder: av.VideoCodecContext) -> Iterator[av.VideoFrame]:
    for packet in decoding.container.demux(decoding.stream):
        yield from decoder.decode(packet)


def _decord_reader(path: str, times: array[int], tick: float) -> Any:
    """A decord reader whose every index has the same time as ours; None without decord or when any differs."""
    try:
        import decord  # has no wheels for some platforms

        reader = decord.VideoReader(path, ctx=decord.cpu(0), num_threads=1)
        if len(reader) != len(times):
            return None
        theirs = reader.get_frame_timestamp(range(len(reader)))[:, 0]
    except Exception:  # noqa: BLE001 - absent, or it cannot read this file; PyAV can
        return None
    ours = np.frombuffer(times, np.int64) * tick
    step = float(np.diff(ours).min()) if len(ours) > 1 else 1.0
    return reader if np.abs(theirs - ours).max() < step / 2 else None
