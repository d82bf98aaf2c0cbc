"""What is missing in the middle of a damaged file: watched while it is read, told when it ends.

A gap in the times alone proves nothing: files of variable rate are full of them. It counts as a loss when something else says
so where it lies: packets that were not decoded or are marked corrupt, bytes of the file that no packet came from, sound that is
missing as well, a container whose own durations lead on to another time. A clip that is else exactly regular needs no witness
for a long gap.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av

from vidrase.clock import JUMP_SECONDS, LEAP_SECONDS

MANY = 1.5  # usual steps: more than rounding to milliseconds makes of one
SMALL = 8  # bytes: a packet that only says "as before" gives no frame and is none that was lost
QUIET = 0.1  # s of sound missing that are more than a codec's delay
REGULAR_STEPS = 24  # enough of one length to call a clip regular
REGULAR_GAPS = 3  # and more gaps than that make it irregular again
REGULAR_LOST = 5  # frames: a shorter gap in a regular clip may be pictures that a recorder dropped
UNREAD_BYTES, UNREAD_SHARE = 1024, 0.3  # of a file: more at its end than an index and remarks
SHOWN = 3  # places named in the line


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch without pictures, seconds from the first frame."""

    start: float
    end: float
    frames: int
    """How many are missing at the clip's own rate."""

    def __str__(self) -> str:
        return f"{self.start:.2f}-{self.end:.2f} s"


@dataclass(frozen=True, slots=True)
class Damage:
    """What a file has lost."""

    gaps: tuple[Gap, ...] = ()
    faulty: tuple[float, ...] = ()
    """When frames are shown that the decoder could make only in part, seconds from the first frame."""
    undecoded: int = 0
    """Packets that no frame could be made of."""
    broken: str = ""
    """Why reading ended before the file did."""
    early: Gap | None = None
    """From where it ends to where it should end by its header."""

    def __bool__(self) -> bool:
        return bool(self.gaps or self.faulty or self.undecoded or self.broken or self.early)

    @property
    def missing_frames(self) -> int:
        """About how many frames are not there, gaps and end together."""
        return sum(gap.frames for gap in (*self.gaps, *([self.early] if self.early else [])))

    def text(self) -> str:
        """All of it in one line, without the file's name."""
        parts = []
        if self.gaps:
            places = _some([str(gap) for gap in self.gaps])
            parts.append(f"about {_frames(sum(gap.frames for gap in self.gaps))} missing at {places}")
        if self.faulty:
            places = _some([f"{when:.2f} s" for when in self.faulty])
            parts.append(f"{_frames(len(self.faulty))} decoded only in part at {places}")
        if self.undecoded:
            parts.append(f"{self.undecoded} packet{'s' if self.undecoded > 1 else ''} could not be decoded")
        if self.early is not None:
            parts.append(f"ended early, at {self.early.start:.2f} s of {self.early.end:.2f} s")
        if self.broken:
            parts.append(f"damaged towards its end ({self.broken})")
        return "; ".join(parts)


class Losses:
    """Watches the packets and frames of one reading, in the order they come."""

    def __init__(self, stream: av.VideoStream, container: str, *, times: bool) -> None:
        """times: False where the packets' times are not those of their frames (AVI)."""
        self._stream, self._times = stream, times
        self.step = 1.0
        """Usual ticks from frame to frame; to be set before the second frame."""
        self.broken = ""
        """Why the file could not be read to its end."""
        self._base = stream.time_base or Fraction(1, 90000)
        kinds = set(container.split(","))
        self._indexed = bool(kinds & {"mov", "mp4"})  # holds sizes and durations apart; its bytes lie in any order
        self._in_order = bool(kinds & {"matroska", "webm", "flv", "mpegts", "avi"})  # of bytes
        self._counted = "avi" in kinds  # its times are those of numbered frames: one that is lost leaves no gap
        # bytes between pictures that headers and padding take, and those that tables and clocks take in a second
        self._spare, self._tables = (4096, 20_000) if kinds & {"mpegts", "mpeg"} else (256, 0)
        self._fed: list[int] = []
        self._begun = False  # with a key frame: before it nothing can be decoded, and nothing is broken
        self._newest: int | None = None
        self._expected: int | None = None  # decoding time of the next packet by the container's own durations
        self._reached: int | None = None  # byte of the file
        self._size = 0  # of the packet there
        self._others: list[tuple[int, int]] = []  # (byte of the file, size) of packets of other tracks since then
        self._sound: dict[int, float] = {}
        self._suspects: list[tuple[float, float]] = []
        self._first: int | None = None
        self._last: int | None = None
        self._duration = 0
        self._regular = self._irregular = 0
        self._longest = 0.0
        self._gaps = array("q")  # start and end of each, ticks
        self._steps = array("d")  # and the step it is measured by
        self._faulty: list[int] = []
        self._undecoded = 0
        self._failed_last = False
        self._cut = False  # in the middle of the packet that was read last
        self._count = 0  # packets of the stream
        self._end = 0  # byte of the file up to which packets were read

    # what comes in

    def packet(self, packet: av.Packet) -> None:
        """A packet of any track, as it comes out of the file."""
        if not packet.size:
            return
        self._cut = packet.is_corrupt
        if packet.pos is not None:
            self._end = max(self._end, packet.pos + packet.size)
        if packet.stream is not self._stream:
            self._other(packet)
            return
        self._count += 1
        before, self._newest = self._newest, packet.pts if self._newest is None else max(packet.pts or 0, self._newest)
        self._begun |= bool(packet.is_keyframe)
        if packet.pts is None:
            return
        lo = packet.pts if before is None else min(before, packet.pts)
        if packet.is_corrupt and self._begun:
            self._suspect(lo, packet.pts)
        if self._lost_bytes(packet, float((packet.pts - lo) * self._base)) or self._jumped(packet):
            self._suspect(lo, packet.pts)
        if self._times and self._begun and not packet.is_discard and packet.size > SMALL:
            heapq.heappush(self._fed, packet.pts)

    def failed(self) -> None:
        """The decoder could not make anything of what it got."""
        if not self._begun:
            return
        self._undecoded += 1
        self._failed_last = True
        newest = self._newest if self._newest is not None else 0
        self._suspect(self._last if self._last is not None else newest, newest)

    def frame(self, native: av.VideoFrame) -> None:
        """A frame, in the order of presentation."""
        self._failed_last = False
        pts = native.pts
        if pts is None:
            return
        while self._fed and self._fed[0] <= pts:
            fed = heapq.heappop(self._fed)
            if fed < pts and self._last is not None and fed > self._last:
                self._suspect(fed, fed)
        if native.is_corrupt:
            self._faulty.append(pts)
            self._suspect(pts, pts)
        self._first = pts if self._first is None else self._first
        if self._last is not None and pts > self._last:
            self._gap(self._last, pts, max(self.step, self._duration))
        elif self._last is not None and (self._last - pts) * self._base <= JUMP_SECONDS:
            return  # out of order, as frames after a loss may come
        self._last, self._duration = pts, native.duration or 0

    def stop(self) -> None:
        """Nothing more is read: what the decoder still holds is no loss."""
        self._fed.clear()
        self._cut = self._in_order = False

    # what it comes to

    def damage(self, *, claimed: float | None, exact: bool, size: int = 0) -> Damage:
        """What was lost, now that all is read.

        size: bytes of the file, 0 where nobody knows.
        claimed: seconds that the header promises, None where it does not; exact: whether that is more than a guess.
        """
        broken = self.broken or ("it breaks off in the middle of a packet" if self._cut else "")
        if not broken and self._in_order and size - self._end > max(UNREAD_BYTES, UNREAD_SHARE * size):
            broken = f"no picture or sound in its last {size - self._end} bytes"
        if self._first is None or self._last is None:
            return Damage(undecoded=self._undecoded, broken=broken)
        gaps = list(self._missing())
        end = self._last + max(self._duration, self.step)
        if self._fed and (self._failed_last or len(self._fed) > 2):  # fed, but nothing came of it
            gaps.append(Gap(self._since(end), self._since(max(self._fed) + self.step), len(self._fed)))
            end = max(self._fed) + self.step
        lasted = self._since(end)
        early: Gap | None = None
        if claimed is not None:
            spare = [0.1, 2.5 * self.step * self._base, self._longest * self._base] if exact else [0.5, 0.02 * claimed]
            if lasted < claimed - max(map(float, spare)):
                early = Gap(lasted, claimed, max(round((claimed - lasted) / float(self.step * self._base)), 1))
        promised = self._stream.frames if self._counted else 0
        if promised > self._count and not gaps and early is None and self._suspects:
            lo, hi = self._suspects[0]
            gaps.append(Gap(self._since(lo), self._since(hi), promised - self._count))
        faulty = tuple(self._since(pts) for pts in self._faulty)
        return Damage(tuple(gaps), faulty, self._undecoded, broken, early)

    def _missing(self) -> Iterator[Gap]:
        few = len(self._steps) <= REGULAR_GAPS and not self._irregular and self._regular >= REGULAR_STEPS
        for n, step in enumerate(self._steps):
            start, end = self._gaps[2 * n], self._gaps[2 * n + 1]
            seen = any(lo <= end + 2 * step and hi >= start - 2 * step for lo, hi in self._suspects)
            alone = few and not self._indexed and end - start >= (REGULAR_LOST + 1) * step
            if seen or alone:
                yield Gap(self._since(start + step), self._since(end), max(round((end - start) / step) - 1, 1))

    def _gap(self, start: int, end: int, step: float) -> None:
        long = end - start
        if long * self._base > LEAP_SECONDS:
            return  # no gap: a clock that went wrong
        self._longest = max(self._longest, long)
        if long > MANY * step and long * self._base > 0.0015 + step * self._base:
            self._gaps.extend((start, end))
            self._steps.append(step)
            return
        if abs(long - self.step) <= max(0.1 * self.step, 1.01, 0.0011 / float(self._base)):
            self._regular += 1
        else:
            self._irregular += 1

    def _other(self, packet: av.Packet) -> None:
        before = self._others[-1][0] if self._others else self._reached or 0
        self._others.append((before if packet.pos is None else packet.pos, packet.size))
        if packet.stream.type != "audio" or packet.pts is None or not packet.time_base:
            return
        start = float(packet.pts * packet.time_base)
        expected = self._sound.get(packet.stream_index)
        length = float((packet.duration or 0) * packet.time_base)
        if expected is not None and length and start > expected + max(QUIET, 2 * length):
            self._suspect(expected / self._base, start / self._base)
        if length:
            self._sound[packet.stream_index] = start + length

    def _lost_bytes(self, packet: av.Packet, seconds: float) -> bool:
        """Whether more of the file lies between this picture and the one `seconds` before than what came out of it."""
        reached, accounted = self._reached, self._size
        self._reached, self._size = packet.pos, packet.size
        if self._indexed or packet.pos is None:
            self._others.clear()
            return False
        accounted += sum(size for at, size in self._others if at < packet.pos)
        self._others = [one for one in self._others if one[0] >= packet.pos]  # TS gives a picture when the next begins
        if reached is None:
            return False
        between = packet.pos - reached
        return between - accounted > max(self._spare + self._tables * seconds, 0.3 * between)

    def _jumped(self, packet: av.Packet) -> bool:
        """Whether a container that knows how long each picture is shown goes on at another time."""
        expected = self._expected
        known = self._indexed and packet.dts is not None and bool(packet.duration)
        self._expected = packet.dts + packet.duration if known else None  # type: ignore[operator]
        return known and expected is not None and packet.dts > expected + MANY * self.step  # type: ignore[operator]

    def _suspect(self, lo: float, hi: float) -> None:
        if self._suspects and lo <= self._suspects[-1][1] and hi >= self._suspects[-1][0]:
            before = self._suspects.pop()
            lo, hi = min(lo, before[0]), max(hi, before[1])
        self._suspects.append((lo, hi))

    def _since(self, ticks: float) -> float:
        return float((ticks - (self._first or 0)) * self._base)


def _some(places: list[str]) -> str:
    more = f" and {len(places) - SHOWN} more places" if len(places) > SHOWN else ""
    return ", ".join(places[:SHOWN]) + more


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"
