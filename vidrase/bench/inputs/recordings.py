"""Recordings of old cameras, editors and streams: tracks, times and fields that come out as they went in, or a word on them."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.codec.context import Flags

from vidrase.avplanes import read_planes
from vidrase.avtracks import file_url
from vidrase.bench.inputs.case import Case, draw_mask
from vidrase.bench.inputs.clips import pictures, to_av, write_clip

TICK = Fraction(1, 90000)


def _old(
    path: Path,
    form: str,
    video: str,
    audio: str,
    rate: int,
    *,
    layout: str = "stereo",
    size: tuple[int, int] = (48, 64),
    fps: int = 25,
) -> None:
    """A clip of eight frames with a tone, both coded as asked."""
    with av.open(file_url(path), "w", format=form) as out:
        stream: Any = out.add_stream(video, rate=fps)
        stream.height, stream.width = size
        stream.pix_fmt = "yuvj420p" if video == "mjpeg" else "yuv420p"
        sound: Any = out.add_stream(audio, rate=rate, layout=layout)
        if audio.startswith(("wma", "libopencore")):
            sound.bit_rate = 12200 if "amr" in audio else 128000
        kind = sound.codec_context.format.name
        resampler = av.AudioResampler(kind, layout, rate)
        for number, picture in enumerate(pictures(8, *size)):
            frame = to_av(picture, stream.pix_fmt)
            frame.pts, frame.time_base = number, Fraction(1, fps)
            out.mux(stream.encode(frame))
        wave = (8000 * np.sin(np.arange(rate * 8 // fps) / 20)).astype(np.int16)
        tone = av.AudioFrame.from_ndarray(np.repeat(wave, 1 if layout == "mono" else 2)[None], "s16", layout)
        tone.sample_rate = rate
        for block in [*resampler.resample(tone), None]:
            if block is not None and sound.codec_context.frame_size:
                fifo = av.AudioFifo()
                fifo.write(block)
                for piece in fifo.read_many(sound.codec_context.frame_size):
                    out.mux(sound.encode(piece))
            else:
                out.mux(sound.encode(block))
        out.mux(stream.encode(None))


def _samples(path: Path) -> int:
    """How many samples of sound there are."""
    with av.open(file_url(path)) as container:
        return sum(frame.samples for frame in container.decode(audio=0))


def _times(path: Path) -> list[float]:
    with av.open(file_url(path)) as container:
        return [float(frame.time or 0) for frame in container.decode(container.streams.video[0])]


def _with_sound(was: str, name: str, count: int = 8) -> Callable[[Path], None]:
    def check(folder: Path) -> None:
        assert _samples(folder / name) >= _samples(folder / was) > 1000
        assert len(_times(folder / name)) == count

    return check


def _lasting(name: str, seconds: float, start: float = 0.0) -> Callable[[Path], None]:
    """From `start` on, the last frame `seconds` later, and never backwards."""

    def check(folder: Path) -> None:
        shown = _times(folder / name)
        assert abs(shown[0] - start) < 0.05, shown[:3]
        assert abs(shown[-1] - shown[0] - seconds) < 0.02, shown[-3:]
        assert np.diff(shown).max() < 2.5 * seconds / len(shown)
        assert np.diff(shown).min() > 0

    return check


def _setback(seconds: float) -> Callable[[Path], None]:
    """A recording of two parts, 25 frames each, whose clock goes back between them."""

    def build(folder: Path) -> None:
        parts = []
        for start in (10.0, 11.0 - seconds):
            part = folder / "part.ts"
            stamps = [round((start + number / 25) / TICK) for number in range(25)]
            write_clip(part, pictures(25), time_base=TICK, pts=stamps, audio=True, mux={"mpegts_copyts": "1"})
            parts.append(part.read_bytes())
            part.unlink()
        (folder / "cut.ts").write_bytes(b"".join(parts))

    return build


def _woven(name: str, codec: str, pix_fmt: str, size: tuple[int, int]) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        draw_mask(folder / "mask.png", size)
        with av.open(file_url(folder / name), "w") as out:
            stream: Any = out.add_stream(codec, rate=25)
            stream.height, stream.width = size
            stream.pix_fmt = pix_fmt
            stream.codec_context.flags |= Flags.interlaced_dct | Flags.interlaced_me
            for number, picture in enumerate(pictures(4, *size)):
                frame = to_av(picture, pix_fmt)
                frame.pts, frame.time_base = number, Fraction(1, 25)
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))

    return build


def _fields(path: Path) -> list[str]:
    """Of each picture: which field is shown first, or that it has none."""
    found = []
    with av.open(file_url(path)) as container:
        for frame in container.decode(container.streams.video[0]):
            graph: Any = av.filter.Graph()
            source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format.name, time_base=TICK)
            split, sink = graph.add("separatefields"), graph.add("buffersink")
            source.link_to(split)
            split.link_to(sink)
            graph.configure()
            frame.pts = 0
            source.push(frame)
            first = read_planes(sink.pull())[0]
            top = np.array_equal(read_planes(frame)[0][0::2], first)
            found.append(("top" if top else "bottom") if frame.interlaced_frame else "none")
    return found


def _same_fields(was: str, name: str) -> Callable[[Path], None]:
    def check(folder: Path) -> None:
        assert _fields(folder / name) == _fields(folder / was)
        assert "none" not in _fields(folder / was)

    return check


def _thumbnail_first(folder: Path) -> None:
    with av.open(str(folder / "in.mp4")) as film, av.open(str(folder / "t.mp4"), "w") as out:
        still: Any = out.add_stream("mjpeg", rate=25)
        still.width, still.height, still.pix_fmt = 32, 24, "yuvj420p"
        copied = [out.add_stream_from_template(stream) for stream in film.streams]
        out.mux(
            still.encode(
                to_av(
                    pictures(
                        1,
                        24,
                        32,
                    )[0],
                    "yuvj420p",
                )
            )
        )
        out.mux(still.encode(None))
        for packet in film.demux():
            if packet.size:
                packet.stream = copied[packet.stream.index]
                out.mux(packet)


def _bare(name: str, codec: str, rate: int) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        write_clip(folder / name, pictures(12, 48, 64), codec=codec, rate=rate, options={"bf": "0"})

    return build


def _tape(folder: Path) -> None:
    _old(folder / "tape.dv", "dv", "dvvideo", "pcm_s16le", 48000, size=(576, 720))
    draw_mask(folder / "mask.png", (576, 720))


def _phone(folder: Path) -> None:
    _old(folder / "p.3gp", "3gp", "h263", "libopencore_amrnb", 8000, layout="mono", size=(144, 176), fps=15)
    draw_mask(folder / "mask.png", (144, 176))


def _wmv(folder: Path) -> None:
    _old(folder / "o.wmv", "asf", "wmv2", "wmav2", 44100)


def _avi(folder: Path) -> None:
    _old(folder / "c.avi", "avi", "mjpeg", "pcm_s16le", 44100)


MASK = ["--mask", "mask.png"]
CASES = [
    Case(
        "WMV keeps its sound",
        ["o.wmv", *MASK],
        _wmv,
        says=".mkv: MP4 does not hold the wmav2",
        makes=("o_erased.mkv",),
        check=_with_sound("o.wmv", "o_erased.mkv"),
    ),
    Case(
        "WMV as MP4 says what is lost",
        ["o.wmv", *MASK, "-o", "o.mp4"],
        _wmv,
        says="a name in .mkv keeps it",
        makes=("o.mp4",),
    ),
    Case(
        "3GP keeps its sound",
        ["p.3gp", *MASK],
        _phone,
        says="MP4 does not hold the amr_nb",
        makes=("p_erased.mkv",),
        check=_with_sound("p.3gp", "p_erased.mkv"),
    ),
    Case(
        "PCM without channel names to MP4",
        ["c.avi", *MASK, "-o", "c.mp4"],
        _avi,
        makes=("c.mp4",),
        check=_with_sound("c.avi", "c.mp4"),
    ),
    Case(
        "PCM without channel names to MOV",
        ["c.avi", *MASK, "-o", "c.mov"],
        _avi,
        makes=("c.mov",),
        check=_with_sound("c.avi", "c.mov"),
    ),
    Case("a DV tape", ["tape.dv", *MASK], _tape, makes=("tape_erased.mp4",), check=_lasting("tape_erased.mp4", 7 / 25)),
    *(
        Case(
            f"a clock {back} s back to {to}",
            ["cut.ts", *MASK, "--time", "0-0.1", "-o", f"o.{to}"],
            _setback(back),
            says="the clock of the video was set back 1x",
            makes=(f"o.{to}",),
            check=_lasting(f"o.{to}", 49 / 25, 10.0),
        )
        for back, to in ((0.2, "mp4"), (0.5, "mp4"), (0.9, "mkv"), (2.0, "mp4"))
    ),
    Case(
        "bare H.264 of 60 a second",
        ["pi.h264", *MASK],
        _bare("pi.h264", "libx264", 60),
        makes=("pi_erased.mp4",),
        check=_lasting("pi_erased.mp4", 11 / 60),
    ),
    Case(
        "bare HEVC of 30 a second",
        ["pi.hevc", *MASK],
        _bare("pi.hevc", "libx265", 30),
        makes=("pi_erased.mp4",),
        check=_lasting("pi_erased.mp4", 11 / 30),
    ),
    *(
        Case(
            f"from 0 to {to}", ["in.mp4", *MASK, "-o", f"o.{to}"], makes=(f"o.{to}",), check=_lasting(f"o.{to}", 5 / 25)
        )
        for to in ("flv", "ts", "mkv", "mov", "avi", "nut", "mpg", "webm")
    ),
    Case(
        "interlaced MPEG-2",
        ["d.mpg", *MASK],
        _woven("d.mpg", "mpeg2video", "yuv420p", (96, 160)),
        makes=("d_erased.mpg",),
        check=_same_fields("d.mpg", "d_erased.mpg"),
    ),
    Case(
        "interlaced MPEG-2 to H.264",
        ["d.mpg", *MASK, "-o", "d.mp4"],
        _woven("d.mpg", "mpeg2video", "yuv420p", (96, 160)),
        makes=("d.mp4",),
        check=_same_fields("d.mpg", "d.mp4"),
    ),
    Case(
        "interlaced ProRes",
        ["e.mov", *MASK],
        _woven("e.mov", "prores_ks", "yuv422p10le", (96, 160)),
        makes=("e_erased.mov",),
        check=_same_fields("e.mov", "e_erased.mov"),
    ),
    Case(
        "486 lines of 4:2:2 to H.264",
        ["n.mov", *MASK, "-o", "n.mp4"],
        _woven("n.mov", "prores_ks", "yuv422p10le", (486, 160)),
        makes=("n.mp4",),
        check=_same_fields("n.mov", "n.mp4"),
    ),
    Case(
        "486 lines of 4:2:0 to H.264 are said",
        ["n.mov", *MASK, "-o", "n.mp4", "--pix-fmt", "yuv420p"],
        _woven("n.mov", "prores_ks", "yuv422p10le", (486, 160)),
        says="cannot mark 486 interlaced lines",
        makes=("n.mp4",),
    ),
    Case(
        "interlaced to VP9 is said",
        ["d.mpg", *MASK, "-o", "d.webm"],
        _woven("d.mpg", "mpeg2video", "yuv420p", (96, 160)),
        says="does not mark interlaced pictures",
        makes=("d.webm",),
    ),
    Case(
        "a thumbnail before the film",
        ["t.mp4", *MASK],
        _thumbnail_first,
        says="holds 2 video tracks: number 1",
        makes=("t_erased.mp4",),
        check=_with_sound("t.mp4", "t_erased.mp4", 6),
    ),
    Case("an encoder that does not open", ["in.mp4", *MASK, "--codec", "h264_nvenc"], code=1),
]
