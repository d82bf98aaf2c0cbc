"""Objects unknown to the detector, with exact ground truth: segmentation in a box, tracking, and end of the track."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import write_clip
from fakes import FakeSegmenter
from numpy.typing import NDArray
from synth import as_frames, texture

from vidrase import engine
from vidrase.errors import OptionError
from vidrase.flow import load_flow
from vidrase.frames import Instances
from vidrase.inpaint import load_inpainter
from vidrase.mask import mask as mask_stage
from vidrase.masktrack import LABEL, track_box
from vidrase.masktrack.segment import segment_box
from vidrase.options import MaskOptions, Options, Rectangle, SelectOptions
from vidrase.report import Notes
from vidrase.run import Models, Run
from vidrase.source import open_source

SIZE = (144, 192)
Clip = tuple[list[NDArray[np.uint8]], list[NDArray[np.bool_]]]


def blob_clip(frames: int = 13, step: tuple[float, float] = (1.0, 5.0), start: tuple[float, float] = (60, 50)) -> Clip:
    """(images, masks) of a warm textured blob with a dent that moves by `step` (dy, dx) over a cool texture."""
    height, width = SIZE
    back = np.clip(texture(height, width, 1).astype(int) * (0.6, 0.8, 0.9), 0, 255).astype(np.uint8)
    skin = np.clip(texture(height, width, 2).astype(int) * (0.9, 0.6, 0.2) + (60, 30, 0), 0, 255).astype(np.uint8)
    shape = np.zeros(SIZE, np.uint8)
    cv2.ellipse(shape, (40, 40), (26, 19), 20, 0, 360, 1, -1)
    cv2.circle(shape, (64, 30), 9, 0, -1)
    shown, masks = [], []
    for t in range(frames):
        shift = np.float32([[1, 0, start[1] - 40 + step[1] * t], [0, 1, start[0] - 40 + step[0] * t]])
        alpha = cv2.warpAffine(shape.astype(np.float32), shift, (width, height))
        moved = cv2.warpAffine(skin, shift, (width, height), borderMode=cv2.BORDER_REFLECT)
        shown.append((back * (1 - alpha[..., None]) + moved * alpha[..., None]).astype(np.uint8))
        masks.append(alpha >= 0.5)
    return shown, masks


def box_around(mask: NDArray[np.bool_], spare: int = 4, seconds: float = 0.0) -> Rectangle:
    ys, xs = np.nonzero(mask)
    return Rectangle(xs.min() - spare, ys.min() - spare, xs.max() + 1 + spare, ys.max() + 1 + spare, seconds)


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))


def test_the_object_is_tracked_in_every_frame_and_masked() -> None:
    shown, masks = blob_clip()
    frames = as_frames(shown)
    seen: list[Instances] = []
    with track_box(iter(frames), 6, box_around(masks[6]), SIZE, load_flow("dis", note=print)) as track:
        assert (track.first, track.last, track.ending) == (0, 12, "")
        seen = [track.instances(frame.index, SIZE, 7) for frame in frames]
        double = track.instances(6, (2 * SIZE[0], 2 * SIZE[1]), 7).mask(0)
        assert len(track.instances(99, SIZE, 7)) == 0
    assert iou(double, np.kron(masks[6], np.ones((2, 2), bool))) > 0.8
    for result, truth in zip(seen, masks, strict=True):
        assert result.ids.tolist() == [7]
        assert result.labels == (LABEL,)
        assert result.scores[0] > 0.5
        assert iou(result.mask(0), truth) >= 0.8
    pairs = zip(frames, seen, strict=True)
    for hole, truth in zip(
        mask_stage(pairs, options=MaskOptions(), flow=load_flow("dis", note=print)), masks, strict=True
    ):
        assert hole.hole is not None
        assert hole.hole.full_area()[truth].mean() >= 0.99


def test_tracking_ends_at_the_image_border_and_at_occlusion() -> None:
    shown, masks = blob_clip(frames=20, step=(0.0, 8.0), start=(70, 80))
    gone = next(t for t, mask in enumerate(masks) if not mask.any())
    flow = load_flow("dis", note=print)
    with track_box(iter(as_frames(shown)), 0, box_around(masks[0]), SIZE, flow) as track:
        assert track.first == 0
        assert gone - 4 <= track.last < gone + 1
        assert "leaves the picture" in track.ending
    shown, masks = blob_clip(step=(0.0, 0.0))
    for t in range(8, 13):
        shown[t] = shown[t].copy()
        shown[t][40:100, 10:120] = texture(60, 110, 5)
    with track_box(iter(as_frames(shown)), 4, box_around(masks[4]), SIZE, flow) as track:
        assert (track.first, track.last) == (0, 7)
        assert (track.beginning, track.ending) == ("", "then it is lost")
    with track_box(iter(as_frames(shown[::-1])), 8, box_around(masks[4]), SIZE, flow) as track:
        assert (track.first, track.last) == (5, 12)
        assert (track.beginning, track.ending) == ("before that it is lost", "")


def test_tracking_stays_within_the_shot() -> None:
    shown, masks = blob_clip()
    other = [255 - texture(*SIZE, 40)] * 3
    with track_box(
        iter(as_frames(other + shown + other)), 3 + 6, box_around(masks[6]), SIZE, load_flow("dis", note=print)
    ) as track:
        assert (track.first, track.last) == (3, 15)
        assert track.beginning == "there the shot begins"
        assert track.ending == "there the shot ends"


@pytest.mark.parametrize("box", [Rectangle(20, 20, 60, 60), Rectangle(100, 100, 102, 102)])
def test_an_empty_box_raises_one_line(box: Rectangle) -> None:
    flat = [np.full((*SIZE, 3), 120, np.uint8)] * 3
    with pytest.raises(OptionError, match="nothing stands out in the box") as caught:
        track_box(iter(as_frames(flat)), 1, box, SIZE, load_flow("dis", note=print))
    assert "\n" not in str(caught.value)


def test_a_still_image_and_a_box_of_the_whole_image() -> None:
    shown, masks = blob_clip(frames=1)
    result = segment_box(shown[0], (0, *SIZE[:1], 0, SIZE[1]))
    assert result is None or result.shape == SIZE
    with track_box(iter(as_frames(shown)), 0, box_around(masks[0]), SIZE, load_flow("dis", note=print)) as track:
        assert iou(track.instances(0, SIZE, 1).mask(0), masks[0]) > 0.8


def models(masks: list[NDArray[np.bool_]]) -> Models:
    return Models(load_flow("dis", note=print), load_inpainter("auto"), FakeSegmenter(masks))


@pytest.fixture
def clip(tmp_path: Path) -> tuple[Path, list[NDArray[np.bool_]], list[NDArray[np.bool_]]]:
    """(clip of the blob and a square that the detector knows, masks of the blob, masks of the square)."""
    shown, masks = blob_clip()
    squares = []
    for picture in shown:
        square = np.zeros(SIZE, bool)
        square[110:134, 150:174] = True
        picture[square] = (20, 200, 30)
        squares.append(square)
    write_clip(tmp_path / "clip.mp4", shown, options={"qp": "4"}, pix_fmt="yuv420p")
    return tmp_path / "clip.mp4", masks, squares


def test_a_box_through_the_whole_engine(tmp_path: Path, clip: tuple[Path, list, list]) -> None:
    where, masks, squares = clip
    said: list[str] = []
    box = box_around(masks[6], seconds=6 / 25)
    options = Options(select=SelectOptions(box=(box,)))
    report = engine.erase(
        where,
        tmp_path / "out.mp4",
        options,
        models=models(squares),
        by_products=engine.ByProducts(masks=tmp_path / "m"),
        say=said.append,
    )
    assert report.removed == {LABEL: 1}
    assert report.frames_with_hole == 13
    assert any("what is there is id:2, seen from 0.00 to 0.48 s" in text for text in said)
    for t, truth in enumerate(masks):
        saved = cv2.imread(str(sorted((tmp_path / "m").iterdir())[t]), cv2.IMREAD_GRAYSCALE) > 127
        grown = cv2.dilate(saved.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0  # at least the mask stage's dilation
        assert grown[truth].mean() >= 0.99
        assert not (saved & squares[t]).any()
    with open_source(where) as source:
        found = engine.list_objects(source, Run(options, models(squares), Notes(None)))
    assert [(track.id, track.label, track.frames) for track in found] == [(1, "person", 13), (2, LABEL, 13)]
    assert found[1].thumbnail is not None


def test_a_box_on_a_detected_object_tracks_no_mask(tmp_path: Path, clip: tuple[Path, list, list]) -> None:
    where, _, squares = clip
    said: list[str] = []
    options = Options(select=SelectOptions(box=(Rectangle(148, 108, 176, 136),)))
    report = engine.erase(where, tmp_path / "out.mp4", options, models=models(squares), say=said.append)
    assert report.removed == {"person": 1}
    assert not any("knows nothing" in text for text in said)


def test_a_box_outside_the_image_leaves_no_output(tmp_path: Path, clip: tuple[Path, list, list]) -> None:
    where, _, squares = clip
    for box, message in (
        (Rectangle(500, 0, 600, 50), "lies outside the picture of 192x144"),
        (Rectangle(0, 0, 50, 50, 60.0), "there is no frame at 60 s"),
    ):
        with pytest.raises(OptionError, match=message) as caught:
            engine.erase(where, tmp_path / "out.mp4", Options(select=SelectOptions(box=(box,))), models=models(squares))
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "out.mp4").exists()


def test_a_still_with_a_box(tmp_path: Path) -> None:
    shown, masks = blob_clip(frames=1)
    cv2.imwrite(str(tmp_path / "still.png"), shown[0][..., ::-1])
    options = Options(select=SelectOptions(box=(box_around(masks[0]),)))
    report = engine.erase(tmp_path / "still.png", tmp_path / "out.png", options, models=models([masks[0] & False]))
    assert report.removed == {LABEL: 1}
    assert cv2.imread(str(tmp_path / "out.png")).shape == (*SIZE, 3)


def test_a_jump_is_tracked() -> None:
    shown, masks = blob_clip(frames=9, step=(0.0, 12.0), start=(70, 40))
    with track_box(iter(as_frames(shown)), 4, box_around(masks[4]), SIZE, load_flow("dis", note=print)) as track:
        assert (track.first, track.last) == (0, 8)
        for index, truth in enumerate(masks):
            assert iou(track.instances(index, SIZE, 1).mask(0), truth) >= 0.8
