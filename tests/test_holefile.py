"""Masks read from and written to files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from clips import pictures, write_clip
from numpy.typing import NDArray
from PIL import Image

from vidrase.errors import OptionError, ShapeError, SinkError
from vidrase.frames import Hole
from vidrase.holefile import MaskWriter, open_masks
from vidrase.source import open_source

SIZE = (48, 64)


def blobs(count: int, size: tuple[int, int] = SIZE) -> list[NDArray[np.bool_]]:
    """Ragged masks, the second one empty."""
    rng = np.random.default_rng(3)
    masks = []
    for k in range(count):
        rough = cv2.GaussianBlur(rng.random(size, dtype=np.float32), (0, 0), 4)
        masks.append(rough > rough.mean() if k != 1 else np.zeros(size, bool))
    return masks


def clip(path: Path, count: int = 6, **asked) -> Path:
    write_clip(path, pictures(count, *SIZE), **asked)
    return path


def folder_of(path: Path, names: list[str], suffix: str = "") -> Path:
    path.mkdir()
    for name, shown in zip(names, pictures(len(names), *SIZE), strict=True):
        Image.fromarray(shown).save(path / name)
    return path


def saved(path: Path, masks: list[NDArray[np.bool_]], names: list[str] | None = None) -> Path:
    path.mkdir()
    for name, mask in zip(names or [f"{k:03d}.png" for k in range(len(masks))], masks, strict=True):
        Image.fromarray(mask.astype(np.uint8) * 255).save(path / name)
    return path


@contextlib.contextmanager
def reading(masks: Path, video: Path, note=pytest.fail) -> Iterator[Iterator[NDArray[np.bool_]]]:
    with open_source(video) as source, open_source(masks) as given:
        yield iter(open_masks(given, source.info, note))


def write_all(where: Path, video: Path, masks: list[NDArray[np.bool_]], **more) -> None:
    """Write `masks` (displayed) through holes, as the engine does; the ring must not show."""
    with open_source(video) as source, MaskWriter(where, source.info, **more) as writer:
        for frame, mask in zip(source, masks, strict=True):
            core = np.ascontiguousarray(frame.orientation.to_stored(mask))
            grown = cv2.dilate(core.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
            writer.write(frame, Hole.of(core, grown) if mask.any() else None)


@pytest.mark.parametrize("where", ["masks", "masks.mkv", "masks.avi"])
@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"rotation": 90},
        {"rotation": 180, "hflip": True},
        {"time_base": Fraction(1, 30000), "pts": [500, 1501, 2502, 9000, 9500, 12000]},
    ],
)
def test_what_was_saved_reads_back_exactly(where: str, asked: dict, tmp_path: Path) -> None:
    video = clip(tmp_path / "clip.mp4", **asked)
    with open_source(video) as source:
        size = source.info.displayed_size
    masks = blobs(6, size)
    write_all(tmp_path / where, video, masks)
    with reading(tmp_path / where, video) as found:
        for mask in masks:
            read = next(found)
            assert read.dtype == bool
            assert np.array_equal(read, mask)


def test_a_saved_video_has_the_times_of_the_clip(tmp_path: Path) -> None:
    stamps = [17, 50, 83, 300, 317, 400]
    video = clip(tmp_path / "clip.mkv", time_base=Fraction(1, 1000), pts=stamps)
    write_all(tmp_path / "masks.mkv", video, blobs(6))
    with av.open(str(tmp_path / "masks.mkv")) as container:
        assert [frame.pts for frame in container.decode(video=0)] == stamps
        assert container.streams.video[0].codec_context.name == "ffv1"


def test_a_still_and_a_folder_of_frames(tmp_path: Path) -> None:
    still = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pictures(1, *SIZE)[0]).save(still, exif=exif)
    mask = blobs(1, (64, 48))
    write_all(tmp_path / "m.png", still, mask)
    with reading(tmp_path / "m.png", still) as found:
        assert np.array_equal(next(found), mask[0])
    frames = folder_of(tmp_path / "in", ["shot2.jpg", "shot10.jpg", "shot1.jpg"])
    write_all(tmp_path / "out", frames, blobs(3))
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["shot1.png", "shot10.png", "shot2.png"]
    with reading(tmp_path / "out", frames) as found:
        assert all(np.array_equal(next(found), m) for m in blobs(3))


def test_one_image_serves_every_frame(tmp_path: Path) -> None:
    video = clip(tmp_path / "clip.mp4")
    mask = blobs(1)[0]
    Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "hole.png")
    with reading(tmp_path / "hole.png", video) as found:
        for _ in range(9):
            assert np.array_equal(next(found), mask)


def test_folders_go_by_name_when_names_match_else_by_number(tmp_path: Path) -> None:
    frames = folder_of(tmp_path / "in", [f"{k}.png" for k in range(1, 13)])
    masks = blobs(12)
    said: list[str] = []
    some = saved(tmp_path / "some", masks[2:5], ["3.png", "4.png", "11.png"])
    with reading(some, frames, said.append) as found:
        for k in range(1, 13):
            wanted = {3: masks[2], 4: masks[3], 11: masks[4]}.get(k, np.zeros(SIZE, bool))
            assert np.array_equal(next(found), wanted), k
    assert said == [f"9 of 12 frames have no mask in {some}: nothing goes there"]
    more = saved(tmp_path / "more", [*masks, *masks], [f"{k}.png" for k in range(24)])
    with reading(more, frames) as found:
        for k in range(12):
            assert np.array_equal(next(found), [*masks, *masks][k + 1])
    others = saved(tmp_path / "others", masks, [f"mask_{k:02d}.png" for k in range(12)])
    with reading(others, frames) as found:
        assert all(np.array_equal(next(found), m) for m in masks)
    few = saved(tmp_path / "few", masks[:5], [f"mask_{k}.png" for k in range(5)])
    with (
        pytest.raises(ShapeError, match=r"few has 5 masks, but .*in has 12 frames; give one mask a frame"),
        reading(few, frames),
    ):
        pass


def test_size_and_count_are_checked(tmp_path: Path) -> None:
    video = clip(tmp_path / "clip.mp4", rotation=90)
    Image.new("L", (64, 48)).save(tmp_path / "stored.png")
    message = r"stored\.png is 64x48, expected 48x64 like .*clip\.mp4 as it is shown"
    with pytest.raises(ShapeError, match=message) as caught, reading(tmp_path / "stored.png", video):
        pass
    assert "\n" not in str(caught.value)
    upright = clip(tmp_path / "upright.mp4")
    said: list[str] = []
    short = clip(tmp_path / "short.mkv", 4, codec="ffv1", pix_fmt="gray")
    with reading(short, upright, said.append) as found:
        for _ in range(6):
            next(found)
        with pytest.raises(ShapeError, match="has 4 masks, but"):
            next(found)
    assert set(said) == {f"{short} has only 4 masks: the last one is held for what is left"}


def test_what_counts_as_white(tmp_path: Path) -> None:
    video = clip(tmp_path / "clip.mp4", 1)
    mask = blobs(1)[0]
    grey = np.where(mask, 128, 127).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(np.where(mask[..., None], [255, 255, 255], [90, 20, 20]).astype(np.uint8)).save(
        tmp_path / "rgb.png"
    )
    Image.fromarray(np.where(mask[..., None], [250, 0, 0], [0, 0, 0]).astype(np.uint8)).save(tmp_path / "red.png")
    Image.fromarray(mask).save(tmp_path / "bits.png")
    Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "lossy.jpg", quality=90)
    cv2.imwrite(str(tmp_path / "deep.png"), np.where(mask, 32768, 32767).astype(np.uint16))
    labels = Image.fromarray(mask.astype(np.uint8), mode="P")
    labels.putpalette([0, 0, 0, 64, 0, 0, 0, 128, 0])
    labels.save(tmp_path / "labels.png")
    alpha = np.dstack([np.full((*SIZE, 3), 255, np.uint8), mask.astype(np.uint8) * 255])
    Image.fromarray(alpha).save(tmp_path / "alpha.png")
    black = np.dstack([np.zeros((*SIZE, 3), np.uint8), mask.astype(np.uint8) * 255])
    Image.fromarray(black).save(tmp_path / "brush.png")
    solid = np.dstack([np.repeat(mask[..., None] * np.uint8(255), 3, 2), np.full(SIZE, 255, np.uint8)])
    Image.fromarray(solid).save(tmp_path / "solid.png")
    for path in sorted(tmp_path.glob("*.png")) + sorted(tmp_path.glob("*.jpg")):
        said: list[str] = []
        with reading(path, video, said.append) as found:
            read = next(found)
        wrong = int((read != mask).sum())
        assert wrong == 0 or (path.suffix == ".jpg" and wrong < 40), (path.name, wrong)
        assert bool(said) == (path.name in ("labels.png", "alpha.png", "brush.png")), said
    empty = np.dstack([np.zeros((*SIZE, 3), np.uint8), np.full(SIZE, 255, np.uint8)])
    Image.fromarray(empty).save(tmp_path / "empty.png")
    with reading(tmp_path / "empty.png", video) as found:
        assert not next(found).any()


def test_masks_as_an_ordinary_video(tmp_path: Path) -> None:
    video = clip(tmp_path / "clip.mp4")
    masks = blobs(6)
    shown = [np.repeat(m[..., None] * np.uint8(255), 3, 2) for m in masks]
    write_clip(tmp_path / "masks.mp4", shown, options={"qp": "8"})
    with reading(tmp_path / "masks.mp4", video) as found:
        for mask in masks:
            assert (next(found) != mask).mean() < 0.01


def test_an_unfinished_or_refused_output_leaves_nothing(tmp_path: Path) -> None:
    video = clip(tmp_path / "clip.mp4")
    for name in ("masks", "masks.mkv"):
        with (
            open_source(video) as source,
            contextlib.suppress(KeyError),
            MaskWriter(tmp_path / name, source.info) as writer,
        ):
            writer.write(next(iter(source)), None)
            raise KeyError
        assert not (tmp_path / name).exists()
    with open_source(video) as source:
        for name in ("masks.png", "masks.mp4", "masks.txt"):
            with pytest.raises(OptionError, match="folder"):
                MaskWriter(tmp_path / name, source.info)
        (tmp_path / "file").write_text("x")
        with pytest.raises(SinkError, match="cannot be written"):
            MaskWriter(tmp_path / "file" / "masks", source.info)
    write_all(tmp_path / "masks", video, blobs(6))
    write_all(tmp_path / "masks.mkv", video, blobs(6))
    for name in ("masks", "masks.mkv"):
        with pytest.raises(SinkError, match="exists already"):
            write_all(tmp_path / name, video, blobs(6))
        write_all(tmp_path / name, video, blobs(6)[::-1], overwrite=True)
        with reading(tmp_path / name, video) as found:
            assert np.array_equal(next(found), blobs(6)[5])
    short = clip(tmp_path / "short.mp4", 3)
    write_all(tmp_path / "masks", short, blobs(3), overwrite=True)
    with reading(tmp_path / "masks", short) as found:
        assert all(np.array_equal(next(found), m) for m in blobs(3))
    short.unlink()
    (tmp_path / "masks" / "letter.txt").write_text("x")
    with pytest.raises(SinkError, match=r"holds letter\.txt"):
        write_all(tmp_path / "masks", video, blobs(6), overwrite=True)
    frames = folder_of(tmp_path / "in", ["000000.png", "000001.png"])
    with pytest.raises(SinkError, match="is the input"):
        write_all(frames, frames, blobs(2), overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip.mp4", "file", "in", "masks", "masks.mkv"]


@pytest.mark.data
def test_davis_annotations_fit_their_frames(data_dir: Path) -> None:
    davis = data_dir / "clips" / "davis"
    with reading(davis / "Annotations" / "blackswan", davis / "JPEGImages" / "blackswan") as found:
        shares = [float(next(found).mean()) for _ in range(40)]
    assert all(0.02 < share < 0.5 for share in shares)


def test_masks_of_another_size_are_scaled_when_their_shape_agrees(tmp_path: Path) -> None:
    video = clip(tmp_path / "clip.mp4")
    mask = np.zeros(SIZE, bool)
    mask[8:24, 16:40] = True
    for name, factor in {"half.png": 0.5, "double.png": 2.0}.items():
        drawn = cv2.resize(mask.astype(np.uint8) * 255, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(tmp_path / name), drawn)
        said: list[str] = []
        with reading(tmp_path / name, video, said.append) as found:
            assert np.array_equal(next(found), mask)
        assert len(said) == 1
        assert f"scaled to {SIZE[1]}x{SIZE[0]}" in said[0]
    cv2.imwrite(str(tmp_path / "bent.png"), np.zeros((SIZE[0], SIZE[1] // 2), np.uint8))
    with pytest.raises(ShapeError, match="draw it on a frame of that size"), reading(tmp_path / "bent.png", video):
        pass


def test_the_last_mask_is_held_for_two_frames(tmp_path: Path) -> None:
    video = clip(tmp_path / "clip.mp4")
    folder = saved(tmp_path / "masks", blobs(4), [f"m{k}.png" for k in range(4)])
    said: list[str] = []
    with reading(folder, video, said.append) as found:
        masks = [next(found) for _ in range(6)]
        assert np.array_equal(masks[4], masks[3])
        assert np.array_equal(masks[5], masks[3])
        with pytest.raises(ShapeError, match="has 4 masks, but"):
            next(found)
    assert set(said) == {f"{folder} has only 4 masks: the last one is held for what is left"}


def test_masks_as_people_make_them(tmp_path: Path) -> None:
    video = clip(tmp_path / "clip.mp4")
    mask = np.zeros(SIZE, bool)
    mask[10:30, 20:50] = True
    shot = np.random.default_rng(1).integers(0, 256, (*SIZE, 3), np.uint8)
    holed = np.where(mask, 0, 255).astype(np.uint8)
    ways: dict[str, tuple[np.ndarray, str]] = {
        "ones.png": (mask.astype(np.uint8), "zeros and ones"),
        "ones_rgb.png": (np.repeat(mask.astype(np.uint8)[..., None], 3, 2), "zeros and ones"),
        "erased.png": (np.dstack([shot, holed]), "what is transparent goes"),
        "black_left.png": (np.dstack([np.zeros_like(shot), holed]), "what is transparent goes"),
    }
    for name, (pixels, how) in ways.items():
        Image.fromarray(pixels).save(tmp_path / name)
        said: list[str] = []
        with reading(tmp_path / name, video, said.append) as found:
            assert np.array_equal(next(found), mask), name
        assert len(said) == 1
        assert how in said[0]


def test_a_mask_the_wrong_way_round_is_asked_about(tmp_path: Path) -> None:
    video = clip(tmp_path / "clip.mp4")
    mask = np.zeros(SIZE, bool)
    mask[10:30, 20:50] = True
    Image.fromarray(np.where(mask, 0, 255).astype(np.uint8)).save(tmp_path / "m.png")
    said: list[str] = []
    with reading(tmp_path / "m.png", video, said.append) as found:
        assert np.array_equal(next(found), ~mask)
    assert "is it the wrong way round? Then give --mask-invert" in said[0]
    with open_source(tmp_path / "m.png") as given, open_source(video) as source:
        assert np.array_equal(next(iter(open_masks(given, source.info, pytest.fail, invert=True))), mask)
