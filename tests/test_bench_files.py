"""End to end: files for the tools, what is evaluated in an output file, and children that fail."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from synth import clip

from vidrase.bench.child import measure
from vidrase.bench.clipfile import read_luma_frames, read_rgb_frames, write_clip, write_masks
from vidrase.bench.evaluation import INVISIBLE
from vidrase.bench.pasted import Removal
from vidrase.bench.removal import evaluate_removal, psnr_outside, run_removal, streams_equal
from vidrase.bench.results import Results
from vidrase.bench.spawn import ChildFailed, measured
from vidrase.errors import SourceError


def removal(frames: int = 8) -> Removal:
    shown, masks, truth = clip(frames, pan=(0, 1))
    return Removal("paste/test", shown, truth, masks)


class Copy:
    """Removes nothing."""

    name = "copy"

    def erase(self, given: Path, to: Path, what: str) -> dict[str, float]:
        to.write_bytes(given.read_bytes())
        return {"fps": 1.0}


class Perfect:
    """Knows the truth, loses the sound."""

    name = "perfect"

    def __init__(self, case: Removal) -> None:
        self._case = case

    def erase(self, given: Path, to: Path, what: str) -> dict[str, float]:
        with av.open(str(to), "w") as out:
            video = out.add_stream("libx264", rate=25, options={"crf": "8"})
            video.height, video.width = self._case.truth[0].shape[:2]
            for picture in self._case.truth:
                out.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            out.mux(video.encode(None))
        return {}


def test_a_written_clip_comes_back(tmp_path: Path) -> None:
    shown, masks, _ = clip(5)
    write_clip(tmp_path / "a.mp4", shown, crf=4)
    back = list(read_rgb_frames(tmp_path / "a.mp4"))
    assert len(back) == 5
    assert np.abs(back[2].astype(int) - shown[2]).mean() < 6
    assert len(list(read_rgb_frames(tmp_path / "a.mp4", 1, 2))) == 2
    write_masks(tmp_path / "m.mkv", masks)
    for seen, mask in zip(read_rgb_frames(tmp_path / "m.mkv"), masks, strict=True):
        assert ((seen[..., 0] > 127) == mask).all()
    (tmp_path / "junk.mp4").write_bytes(b"junk")
    with pytest.raises(SourceError, match=r"junk\.mp4 cannot be decoded"):
        list(read_rgb_frames(tmp_path / "junk.mp4"))


def test_sound_and_times_are_compared(tmp_path: Path) -> None:
    shown, _, _ = clip(6)
    for name, frames, rate in (("a", shown, 25), ("same", shown, 25), ("short", shown[:4], 25), ("slow", shown, 20)):
        write_clip(tmp_path / f"{name}.mp4", frames, rate=rate)
    a = tmp_path / "a.mp4"
    assert streams_equal(a, tmp_path / "same.mp4") == {"frames_equal": 1.0, "times_equal": 1.0, "audio_equal": 1.0}
    assert streams_equal(a, tmp_path / "short.mp4")["frames_equal"] == 0.0
    assert streams_equal(a, tmp_path / "slow.mp4")["times_equal"] == 0.0


def test_what_is_left_over_is_seen() -> None:
    case = removal()
    nothing = evaluate_removal(case, list(case.given), list(case.given))
    assert nothing["leftover"] == pytest.approx(1.0)
    right = evaluate_removal(case, list(case.given), list(case.truth))
    assert right["leftover"] == 0.0
    assert right["psnr"] == INVISIBLE
    half = [
        np.where(np.arange(t.shape[1])[None, :, None] % 2 == 0, g, t)
        for g, t in zip(case.given, case.truth, strict=True)
    ]
    assert evaluate_removal(case, list(case.given), half)["leftover"] == pytest.approx(0.5, abs=0.05)
    assert evaluate_removal(case, list(case.given), list(case.truth[:-1])) == {"frames_missing": 1.0}


def test_outside_is_luma_as_stored(tmp_path: Path) -> None:
    shown, masks, _ = clip(4)
    for name, blue in (("a", 0), ("blue", 40), ("other", 0)):
        tinted = [np.clip(picture.astype(int) + np.array([0, 0, blue]), 0, 255).astype(np.uint8) for picture in shown]
        write_clip(tmp_path / f"{name}.mp4", tinted)
    a, blue = tmp_path / "a.mp4", tmp_path / "blue.mp4"
    assert psnr_outside(a, tmp_path / "other.mp4", masks) == 100.0
    before, after = (next(iter(read_luma_frames(path))).astype(int) for path in (a, blue))
    assert before.shape == shown[0].shape[:2]
    assert 0 < (after - before).mean() < 8  # blue weighs 0.07 to 0.11 in luma
    assert psnr_outside(a, blue, [np.ones_like(mask) for mask in masks]) != psnr_outside(a, blue, masks)


def test_tools_are_evaluated_on_their_files() -> None:
    case = removal()
    results = Results(say=lambda text: None)

    class Broken:
        name = "broken"

        def erase(self, given: Path, to: Path, what: str) -> dict[str, float]:
            raise RuntimeError("gone")

    run_removal([("paste/test", lambda: case)], [Copy(), Perfect(case), Broken()], None, results)
    copy, perfect = (row.numbers for row in results.rows)
    assert copy["leftover"] > 0.9
    assert copy["audio_equal"] == copy["times_equal"] == 1.0
    assert perfect["leftover"] < 0.02
    assert perfect["psnr"] > copy["psnr"] + 10
    assert perfect["audio_equal"] == 0.0
    assert [failure["method"] for failure in results.failures] == ["broken"]


def test_a_failing_child_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ChildFailed) as failed:
        measured(tmp_path / "nothing.mp4", tmp_path / "out.mp4", {"mask": str(tmp_path / "m.png")}, runs=0)
    assert "\n" not in str(failed.value)
    assert "nothing.mp4" in str(failed.value)


@pytest.mark.slow
def test_a_measured_run_has_time_stages_and_memory(tmp_path: Path) -> None:
    shown, masks, _ = clip(6)
    write_clip(tmp_path / "a.mp4", shown)
    write_masks(tmp_path / "m.mkv", masks)
    found = measured(tmp_path / "a.mp4", tmp_path / "out.mp4", {"mask": str(tmp_path / "m.mkv")}, runs=2, threads=1)
    assert found["frames"] == 6
    assert len(found["walls"]) == len(found["works"]) == 2
    assert found["cold_seconds"] > max(found["walls"])
    assert found["peak_mib"] >= found["idle_mib"] > 20
    assert {"decode", "fill"} <= set(found["stages"][0])


def test_a_child_measures_in_process_too(tmp_path: Path) -> None:
    shown, masks, _ = clip(3)
    write_clip(tmp_path / "a.mp4", shown)
    write_masks(tmp_path / "m.mkv", masks)
    found = measure(str(tmp_path / "a.mp4"), str(tmp_path / "b.mp4"), {"mask": str(tmp_path / "m.mkv")}, 0)
    assert found["frames"] == 3
    assert streams_equal(tmp_path / "a.mp4", tmp_path / "b.mp4") == {
        "frames_equal": 1.0,
        "times_equal": 1.0,
        "audio_equal": 1.0,
    }
