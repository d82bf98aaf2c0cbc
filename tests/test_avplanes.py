from __future__ import annotations

import av
import numpy as np
import pytest

from vidrase import avplanes
from vidrase.colour import to_rgb8
from vidrase.errors import ShapeError
from vidrase.frames import Frame

YUV = [f"yuv{grid}p{bits}" for grid in ("420", "422", "444") for bits in ("", "9le", "10le", "12le", "14le", "16le")]
READABLE = [
    *YUV,
    *("yuv440p", "yuv411p", "yuv410p", "yuv440p10le", "yuv440p12le"),
    *("yuvj420p", "yuvj422p", "yuvj444p", "yuvj440p", "yuvj411p"),
    *("yuva420p", "yuva422p", "yuva444p", "yuva420p10le", "yuva444p12le", "yuva444p16le"),
    *("gray", "gray9le", "gray10le", "gray12le", "gray14le", "gray16le", "ya8", "ya16le"),
    *(
        "gbrp",
        "gbrp9le",
        "gbrp10le",
        "gbrp12le",
        "gbrp14le",
        "gbrp16le",
        "gbrap",
        "gbrap10le",
        "gbrap12le",
        "gbrap16le",
    ),
    *("rgb24", "bgr24", "rgba", "bgra", "argb", "abgr", "rgb0", "bgr0", "0rgb", "0bgr"),
    *("rgb48le", "bgr48le", "rgba64le", "bgra64le"),
]
SAME_SAMPLES = [
    *("nv12", "nv21", "nv16", "nv24", "nv42", "yuyv422", "yvyu422", "uyvy422", "vuya", "vuyx", "nv20le"),
    *("p010le", "p012le", "p016le", "p210le", "p212le", "p216le", "p410le", "p412le", "p416le"),
    *(
        "y210le",
        "y212le",
        "y216le",
        "p010be",
        "nv20be",
        "yuv420p10be",
        "yuv444p16be",
        "gbrp12be",
        "gray16be",
        "rgb48be",
    ),
    *("rgba64be", "ya16be", "gray10be", "yuva420p10be"),
]


def noise(name: str, height: int = 21, width: int = 35, seed: int = 0) -> av.VideoFrame:
    """A frame full of random samples that fit its bit depth; padding bytes are random too."""
    rng = np.random.default_rng(seed)
    frame = av.VideoFrame(width, height, name)
    for plane in frame.planes:
        view = np.frombuffer(plane, np.uint8)
        view[:] = rng.integers(0, 256, view.size)
    if avplanes.readable(name):
        layout = avplanes.layout_of(frame)
        avplanes.write_planes(frame, [p & ((1 << layout.bits) - 1) for p in avplanes.read_planes(frame)])
    return frame


def raw(frame: av.VideoFrame) -> bytes:
    return b"".join(bytes(plane) for plane in frame.planes)


@pytest.mark.parametrize("name", READABLE)
def test_planes_round_trip_and_fit_the_layout(name: str) -> None:
    frame, other = noise(name), noise(name, seed=1)
    planes = avplanes.read_planes(frame)
    layout = avplanes.layout_of(frame)
    Frame(planes, layout, 0, 0, 1)  # checks shapes and dtypes
    assert len(planes) == len(av.VideoFormat(name, 8, 8).components)
    avplanes.write_planes(other, planes)
    again = avplanes.read_planes(other)
    assert all(np.array_equal(a, b) for a, b in zip(planes, again, strict=True))
    before = raw(frame)
    avplanes.write_planes(frame, planes)
    assert raw(frame) == before


def test_planes_are_own_memory() -> None:
    frame = noise("yuv420p")
    planes = avplanes.read_planes(frame)
    kept = planes[0].copy()
    np.frombuffer(frame.planes[0], np.uint8)[:] = 0
    assert np.array_equal(planes[0], kept)
    assert planes[0].flags.owndata
    assert planes[0].flags.c_contiguous


@pytest.mark.parametrize("name", [n for n in READABLE if not n.startswith(("yuv", "gray", "ya"))])
def test_red_is_the_first_plane(name: str) -> None:
    picture = av.VideoFrame.from_ndarray(np.tile(np.uint8([250, 10, 60]), (20, 32, 1)), "rgb24").reformat(format=name)
    layout = avplanes.layout_of(picture)
    planes = avplanes.read_planes(picture)
    seen = [int(plane[4, 4]) * 255 / ((1 << layout.bits) - 1) for plane in planes]
    assert np.allclose(seen[:3], [250, 10, 60], atol=1)
    assert layout.alpha == (len(planes) == 4)
    assert not layout.alpha or seen[3] == 255


@pytest.mark.parametrize("name", [n for n in READABLE if n.startswith(("yuv4", "yuvj"))])
def test_ycbcr_red_looks_red(name: str) -> None:
    picture = av.VideoFrame.from_ndarray(np.tile(np.uint8([250, 10, 60]), (64, 64, 1)), "rgb24").reformat(format=name)
    rgb = to_rgb8(avplanes.read_planes(picture), avplanes.layout_of(picture))
    assert np.abs(rgb[32, 32].astype(int) - [250, 10, 60]).max() <= 3, rgb[32, 32]


@pytest.mark.parametrize("name", SAME_SAMPLES)
def test_other_arrangements_keep_every_sample(name: str) -> None:
    like, exact = avplanes.readable_like(name)
    assert exact
    frame = noise(name)
    frame.pts, frame.colorspace = 7, 9
    shown = avplanes.to_readable(frame)
    assert (shown.format.name, shown.pts, shown.colorspace) == (like, 7, 9)
    samples = {int(v) for plane in avplanes.read_planes(shown) for v in plane[:4, :4].ravel()}
    words = _words(frame)
    bits = avplanes.layout_of(shown).bits
    assert all(any(s << shift in words or s in words for shift in (0, 16 - bits)) for s in samples)
    # and FFmpeg's own converter agrees to within its rounding
    try:
        theirs = avplanes.read_planes(frame.reformat(format=like, threads=1))
    except OSError:
        return  # it has no converter for this one
    if name.startswith(("nv20", "gray10", "yuv420p10be", "gbrp12be", "yuva420p10be")):
        return  # random padding bits above the value: undefined for FFmpeg
    for ours, other in zip(avplanes.read_planes(shown), theirs, strict=True):
        assert np.abs(ours.astype(int) - other.astype(int)).max() <= 1


def _words(frame: av.VideoFrame) -> set[int]:
    bits = max(component.bits for component in frame.format.components)
    dtype = "u1" if bits <= 8 else (">u2" if frame.format.is_big_endian else "<u2")
    words = {int(v) for plane in frame.planes for v in np.frombuffer(bytes(plane), dtype)}
    return words | {w >> (16 - bits) for w in words} if bits > 8 else words


def test_palette_becomes_colours() -> None:
    frame = av.VideoFrame(8, 4, "pal8")
    np.frombuffer(frame.planes[0], np.uint8)[:] = 3
    np.frombuffer(frame.planes[1], np.uint8)[12:16] = [30, 20, 10, 255]  # B G R A in memory
    planes = avplanes.read_planes(avplanes.to_readable(frame))
    assert [int(plane[2, 5]) for plane in planes] == [10, 20, 30, 255]


@pytest.mark.parametrize(
    "name", ["rgb565le", "gbrpf32le", "grayf32le", "monow", "x2rgb10le", "xyz12le", "rgb8", "v30xle"]
)
def test_anything_else_is_converted_and_says_so(name: str) -> None:
    like, exact = avplanes.readable_like(name)
    assert not exact
    assert avplanes.layout_of(avplanes.to_readable(av.VideoFrame(32, 16, name))).name == like


def test_unconvertible_formats_are_an_error_not_a_crash() -> None:
    for name in ("yaf32le", "nonsense"):
        with pytest.raises(ShapeError, match=name):
            avplanes.readable_like(name)


def test_writing_needs_planes_that_fit() -> None:
    frame = noise("yuv420p")
    planes = avplanes.read_planes(frame)
    with pytest.raises(ShapeError, match="expected 3 planes for yuv420p, got 2"):
        avplanes.write_planes(frame, planes[:2])
    with pytest.raises(ShapeError, match=r"expected plane 1 uint8 \(11, 18\)"):
        avplanes.write_planes(frame, (planes[0], planes[0], planes[2]))
    with pytest.raises(ShapeError, match="cannot be read as planes"):
        avplanes.layout_of(av.VideoFrame(8, 8, "nv12"))


def test_matrix_and_range_come_from_the_tags_else_from_the_size() -> None:
    def layout(height: int, width: int, **tags: int) -> tuple[str, bool]:
        frame = av.VideoFrame(width, height, "yuv420p")
        frame.colorspace = 2
        for key, value in tags.items():
            setattr(frame, key, value)
        found = avplanes.layout_of(frame)
        return found.matrix, found.full_range

    assert layout(480, 640) == ("bt601", False)
    assert layout(720, 640) == ("bt709", False)
    assert layout(576, 1026) == ("bt709", False)
    assert layout(480, 640, colorspace=1, color_range=2) == ("bt709", True)
    assert layout(1080, 1920, colorspace=6, color_range=1) == ("bt601", False)
    assert layout(1080, 1920, colorspace=9) == ("bt2020", False)
    assert layout(480, 640, colorspace=0) == ("bt601", False)  # "RGB" on YCbCr is a mistake of the writer


def test_bottom_up_frames_are_read_top_first(tmp_path) -> None:
    """Raw RGB in AVI is stored bottom-up, and FFmpeg hands it out with a negative line size."""
    picture = np.zeros((8, 16, 3), np.uint8)
    picture[0] = (255, 0, 0)
    path = tmp_path / "flip.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("rawvideo", rate=5)
        stream.width, stream.height, stream.pix_fmt = 16, 8, "bgr24"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="bgr24")))
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        planes = avplanes.read_planes(frame)
        assert planes[0][0].min() == 255
        assert planes[0][1:].max() == 0
        avplanes.write_planes(frame, [p // 2 for p in planes])
        assert avplanes.read_planes(frame)[0][0].max() == 127
